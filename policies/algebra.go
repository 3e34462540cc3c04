package policies

import (
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema"
)

// Patterns are languages over segments without a star: a pattern tests one segment
// after the other, and a final "*" lets anything follow. So every question about them
// can be decided, and each "no" comes with a path that shows it. The limits of a path
// belong to the language: two patterns whose common paths would all be too long do not
// overlap. A template stands for one segment, which may be any, and is the same wherever
// the template stands; the witness has some value in its place.
//
// The zero path, "no path in particular", is covered by "*" alone. It is no witness, but
// nothing except "*" includes "*".

// Overlap returns the shortest path that both patterns cover, and whether there is one.
func Overlap(a, b schema.Pattern) (schema.Path, bool) {
	if !mayMeet(a.String(), b.String()) {
		return schema.Path{}, false
	}
	path, verdict := search([]schema.Pattern{a, b}, nil)
	return path, verdict == exists
}

// mayMeet reports false only when the patterns differ in a segment that both have. It is
// the quick answer for most pairs.
func mayMeet(a, b string) bool {
	for more := true; more; {
		var p, q string
		var moreA, moreB bool
		p, a, moreA = strings.Cut(a, "/")
		q, b, moreB = strings.Cut(b, "/")
		r, starA := strings.CutSuffix(p, "*")
		s, starB := strings.CutSuffix(q, "*")
		wild := p == "+" || q == "+" || isTemplate(p) || isTemplate(q)
		switch {
		case wild || starA && starB && (strings.HasPrefix(r, s) || strings.HasPrefix(s, r)):
		case starA && !starB && strings.HasPrefix(q, r), starB && !starA && strings.HasPrefix(p, s):
		case p != q:
			return false
		}
		if starA || starB {
			return true
		}
		if more = moreA; moreA != moreB {
			return false
		}
	}
	return true
}

// Includes reports whether a covers every path that b covers. If not, it returns the
// shortest path that b alone covers; it is zero if that is "no path in particular".
func Includes(a, b schema.Pattern) (missing schema.Path, included bool) {
	missing, covered := Covered(b, []schema.Pattern{a})
	return missing, covered == Yes
}

// Verdict is the answer to a question about several patterns. The zero Verdict says
// nothing.
type Verdict int

// The verdicts.
const (
	Undecided Verdict = iota // too many cases; see maxCases
	Yes
	No
)

// Covered reports whether the patterns together cover every path that p covers. If not,
// it returns the shortest path that they leave out; it is zero if that is "no path in
// particular". The question is hard in the worst case: with more than maxCases cases
// to look at, it stays Undecided.
func Covered(p schema.Pattern, by []schema.Pattern) (missing schema.Path, v Verdict) {
	if slices.Contains(by, p) {
		return schema.Path{}, Yes
	}
	missing, found := search([]schema.Pattern{p}, by)
	switch {
	case found == exists, found == none && p.String() == "*":
		return missing, No
	case found == none:
		return schema.Path{}, Yes
	}
	return schema.Path{}, Undecided
}

// outcome says how a search ended.
type outcome int

const (
	gaveUp outcome = iota
	exists
	none
)

// test is what a pattern asks of one segment.
type test struct {
	text string
	kind testKind
}

type testKind byte

const (
	literal testKind = iota
	anyOne           // "+"
	prefix           // the last one of an open pattern: "*" or "prod*"
)

func (t test) passes(segment string) bool {
	switch t.kind {
	case literal:
		return segment == t.text
	case prefix:
		return strings.HasPrefix(segment, t.text)
	}
	return true
}

// shape is a pattern as its tests, one for each segment. When the last one is a
// prefix, any segments may follow.
type shape []test

func shapeOf(p schema.Pattern, values map[string]string) shape {
	var s shape
	for segment := range strings.SplitSeq(p.String(), "/") {
		text, star := strings.CutSuffix(segment, "*")
		switch {
		case star:
			s = append(s, test{text, prefix})
		case segment == "+":
			s = append(s, test{"", anyOne})
		case isTemplate(segment):
			s = append(s, test{values[segment], literal})
		default:
			s = append(s, test{segment, literal})
		}
	}
	return s
}

func isTemplate(segment string) bool { return strings.HasPrefix(segment, "{{") }

// open reports whether more segments than there are tests may follow.
func (s shape) open() bool { return s[len(s)-1].kind == prefix }

// at returns the test of the i-th segment, and whether a path may have so many.
func (s shape) at(i int) (test, bool) {
	switch {
	case i < len(s):
		return s[i], true
	case s.open():
		return test{"", anyOne}, true
	}
	return test{}, false
}

// ends reports whether a path that passed the tests may end after n segments.
func (s shape) ends(n int) bool { return n == len(s) || n > len(s) && s.open() }

// search looks for the shortest path that every pattern of in covers and none of out.
func search(in, out []schema.Pattern) (schema.Path, outcome) {
	if slices.ContainsFunc(in, schema.Pattern.IsZero) {
		return schema.Path{}, none
	}
	out = slices.DeleteFunc(slices.Clone(out), schema.Pattern.IsZero)
	budget, gave := maxCases, false
	for _, values := range assignments(in, out) {
		path, result := newWalk(in, out, values, &budget).run()
		if result == exists {
			return path, exists
		}
		gave = gave || result == gaveUp
	}
	if gave {
		return schema.Path{}, gaveUp
	}
	return schema.Path{}, none
}
