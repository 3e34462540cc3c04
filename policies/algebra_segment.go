package policies

import (
	"maps"
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema"
)

// kinds returns the shortest segment of each kind among those that begin with start:
// two segments are of one kind when they pass the same tests. There is one kind for each
// literal, and one for each prefix: what begins with it, with no longer prefix, and is
// no literal.
func kinds(start string, tests []test) []string {
	var found []string
	starts := []string{start}
	for _, t := range tests {
		switch {
		case !strings.HasPrefix(t.text, start):
		case t.kind == literal:
			found = append(found, t.text)
		case t.text != start:
			starts = append(starts, t.text)
		}
	}
	for _, s := range starts {
		if segment := shortest(s, tests); segment != "" {
			found = append(found, segment)
		}
	}
	return found
}

// alphabet are the characters of segments, those first that read well in a witness.
const alphabet = "xyzabcdefghijklmnopqrstuvw0123456789_-ABCDEFGHIJKLMNOPQRSTUVWXYZ."

// shortest returns the shortest segment that begins with start, equals no literal and
// begins with no longer prefix of the tests, or "". The beginnings of one length that
// are no segments of their own are at most as many as the tests and a dot's, so that
// the search is short.
func shortest(start string, tests []test) string {
	literals, prefixes := map[string]bool{}, map[string]bool{}
	for _, t := range tests {
		switch {
		case t.kind == literal:
			literals[t.text] = true
		case t.kind == prefix && len(t.text) > len(start):
			prefixes[t.text] = true
		}
	}
	for frontier := []string{start}; len(frontier) > 0; {
		var next []string
		for _, s := range frontier {
			if prefixes[s] || !begins(s) {
				continue
			}
			if s != "" && !literals[s] && schema.CheckSegment(s) == "" {
				return s
			}
			for i := range len(alphabet) {
				longer := s + alphabet[i:i+1]
				if !prefixes[longer] && !literals[longer] && schema.CheckSegment(longer) == "" {
					return longer
				}
				next = append(next, longer)
			}
		}
		frontier = next
	}
	return ""
}

// begins reports whether a segment can begin with the text.
func begins(text string) bool {
	if len(text) >= schema.MaxSegmentBytes {
		return schema.CheckSegment(text) == ""
	}
	return schema.CheckSegment(text+"_") == ""
}

// assignments returns the values of templates under which a path that every pattern of
// in covers and none of out is to be looked for. A value that occurs nowhere is covered
// by the fewest patterns, so that it is enough, except where the patterns of in ask for
// another in its place. No templates, no values: then it is one empty assignment.
func assignments(in, out []schema.Pattern) []map[string]string {
	fresh := freshValues(in, out)
	all := []map[string]string{fresh}
	pool := demanded(in, out, fresh)
	for _, t := range schema.Templates() {
		if _, used := fresh[string(t)]; !used {
			continue
		}
		for _, values := range slices.Clone(all) {
			for _, value := range pool {
				if value != values[string(t)] {
					all = append(all, with(values, string(t), value))
				}
			}
		}
	}
	return all
}

func with(values map[string]string, name, value string) map[string]string {
	next := maps.Clone(values)
	next[name] = value
	return next
}

// freshValues gives each template of the patterns a value that no pattern speaks of.
func freshValues(in, out []schema.Pattern) map[string]string {
	values := map[string]string{}
	var tests []test
	for _, p := range slices.Concat(in, out) {
		if p.HasTemplate() {
			for _, t := range p.Templates() {
				values[string(t)] = ""
			}
		}
	}
	if len(values) == 0 {
		return values
	}
	for _, p := range slices.Concat(in, out) {
		tests = append(tests, shapeOf(p, nil)...)
	}
	for _, t := range schema.Templates() {
		if _, used := values[string(t)]; used {
			value := shortest("", tests)
			values[string(t)] = value
			tests = append(tests, test{value, literal})
		}
	}
	return values
}

// demanded returns the values that the patterns of in may ask of a template: the
// literals, prefixes and other templates that stand in the place of one.
func demanded(in, out []schema.Pattern, fresh map[string]string) []string {
	if len(fresh) == 0 {
		return nil
	}
	var tests []test
	for _, p := range slices.Concat(in, out) {
		tests = append(tests, shapeOf(p, fresh)...)
	}
	var values []string
	for _, p := range in {
		for i := range p.Templates() {
			for _, q := range in {
				switch t, ok := shapeOf(q, fresh).at(i); {
				case !ok || t.text == "":
				case t.kind == literal:
					values = append(values, t.text)
				default:
					values = append(values, t.text, shortest(t.text, tests))
				}
			}
		}
	}
	slices.Sort(values)
	return slices.DeleteFunc(slices.Compact(values), func(v string) bool { return schema.CheckSegment(v) != "" })
}
