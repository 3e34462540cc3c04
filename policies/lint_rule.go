package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema"
)

// lone looks at each rule by itself and among those of its policy.
func (l *linter) lone() {
	for _, p := range l.policies {
		if len(p.Rules) == 0 {
			l.addPolicy(p, finding("empty-policy", Note, "the "+string(p.Kind)+" has no rules",
				"it grants nothing and denies nothing", "delete it, or write the rules"))
		}
	}
	for _, s := range l.sites {
		if l.impossible(s) {
			continue
		}
		l.prefixGlob(s)
		if s.guardrail() {
			continue
		}
		l.wildcardRead(s)
		l.impliedVerb(s)
		if !l.unreachable(s) {
			l.redundant(s)
		}
	}
}

// pathForms are the patterns of the names that a resource can have. The others take
// any path.
var pathForms = map[schema.Resource]schema.Pattern{
	schema.Policy: schema.MustPattern("+"), schema.Guardrail: schema.MustPattern("+"), schema.Role: schema.MustPattern("+"),
	schema.User: schema.MustPattern("+"), schema.Alert: schema.MustPattern("+"), schema.Backup: schema.MustPattern("+"),
	schema.Token: schema.MustPattern("+/+"), schema.Cluster: schema.MustPattern("cluster"),
}

var formWords = map[string]string{
	"+":       "its path is its name, one segment",
	"+/+":     "its path is the user and the accessor, two segments",
	"cluster": `its path is "cluster"`,
	"*":       "a path that it covers would be longer than a path may be",
}

// impossible finds rules that cover no name that their resource can have.
func (l *linter) impossible(s *site) bool {
	form, ok := pathForms[s.rule.Resource]
	if !ok {
		form = schema.MustPattern("*")
	}
	if _, some := Overlap(s.pattern(), form); some {
		return false
	}
	l.add(s, s.path, finding("impossible-path", Error, fmt.Sprintf("no %s can have such a path", s.rule.Resource),
		formWords[form.String()], `correct the path; "*" covers everything`))
	return true
}

// prefixGlob finds patterns such as prod*. A "-", "_" or "." before the star shows that
// the beginning of a name is meant.
func (l *linter) prefixGlob(s *site) {
	text, star := strings.CutSuffix(s.pattern().String(), "*")
	if !star || text == "" || strings.ContainsAny(text[len(text)-1:], "/-_.") {
		return
	}
	level := Note
	if s.rule.Resource == schema.Secret {
		level = Warning
	}
	more := "x/y"
	if strings.HasSuffix(text, "prod") {
		more = "uction/x"
	}
	f := finding("prefix-glob", level, "the pattern ends in the middle of a segment",
		fmt.Sprintf("%s* covers %s and all below it, and also %s", text, text, text+more),
		fmt.Sprintf(`write "%s/*" for what lies below %s`, text, text))
	f.Witness = text + more
	if _, err := schema.ParsePath(f.Witness); err != nil {
		f.Witness = ""
	}
	l.add(s, s.path, f)
}

// wildcardRead finds grants to read values by a wildcard.
func (l *linter) wildcardRead(s *site) {
	if s.rule.Resource != schema.Secret || s.pattern().Exact() || !slices.Contains(s.rule.Verbs, "read") {
		return
	}
	level, detail := Note, "every secret that comes to lie there can be read, too"
	if s.pattern().Literal() == "" && s.rule.Condition == nil {
		level, detail = Warning, "it reaches into every environment and team"
	}
	l.add(s, s.says, finding("wildcard-read", level, "the rule grants to read the values of secrets by a wildcard", detail,
		"jobs get their secrets by inject, and people seldom need values; name the secrets, or leave read out"))
}

// impliedVerb finds verbs that another one brings along.
func (l *linter) impliedVerb(s *site) {
	for _, v := range s.rule.Verbs {
		by := schema.Capability{Resource: s.rule.Resource, Verb: v}.ImpliedBy()
		if by != "" && slices.Contains(s.rule.Verbs, by) {
			l.add(s, s.says, finding("implied-verb", Note, fmt.Sprintf("%s adds nothing", v),
				fmt.Sprintf("%s brings %s along", by, v), fmt.Sprintf("leave %s out, or keep it for the reader's sake", v)))
		}
	}
}

// neighbours returns the rules of the same policy and resource whose patterns are more
// specific than the rule's, and those that are less, the most specific first.
func (l *linter) neighbours(s *site) (above, below []*site) {
	for _, other := range l.peersOf(s) {
		if other.rank == s.rank {
			continue
		}
		if _, meet := Overlap(other.pattern(), s.pattern()); !meet {
			continue
		}
		if other.beats(s) {
			above = append(above, other)
		} else {
			below = append(below, other)
		}
	}
	for _, list := range [][]*site{above, below} {
		slices.SortStableFunc(list, func(a, b *site) int { return strings.Compare(b.rank, a.rank) })
	}
	return above, below
}

// patterns returns the patterns of the rules that surely keep broader ones out.
func patterns(sites []*site) []schema.Pattern {
	var list []schema.Pattern
	for _, s := range sites {
		if s.sure() {
			list = append(list, s.pattern())
		}
	}
	return list
}

// unreachable finds rules that never win.
func (l *linter) unreachable(s *site) bool {
	above, _ := l.neighbours(s)
	_, v := Covered(s.pattern(), patterns(above))
	if v == Undecided {
		l.undecided(s)
	}
	if s.lost = v == Yes; !s.lost {
		return false
	}
	by := winners(s, above)
	kind, advice := "grant", "delete it, or write its pattern so that it is the more specific one"
	if s.rule.Deny {
		kind, advice = "denial", "write the pattern of the denial so that it is the more specific one: what it denies is not denied now"
	}
	detail := fmt.Sprintf("each path that %s covers is won by a more specific rule of the policy", s.pattern())
	if len(by) == 1 {
		detail = fmt.Sprintf("%s covers all that %s covers, and is the more specific one, because %s",
			by[0].pattern(), s.pattern(), step(by[0].pattern(), s.pattern()))
	}
	f := finding("unreachable-rule", Error, "the "+kind+" never takes effect", detail, advice)
	f.Related = related(by)
	l.add(s, s.path, f)
	return true
}

// winners returns the one rule that covers all of s, if there is one, or else every
// sure rule.
func winners(s *site, above []*site) []*site {
	above = slices.DeleteFunc(slices.Clone(above), func(o *site) bool { return !o.sure() })
	for _, o := range above {
		if _, all := Includes(o.pattern(), s.pattern()); all {
			return []*site{o}
		}
	}
	return above
}

func (l *linter) undecided(s *site) {
	l.add(s, s.path, finding("undecided", Note, "the patterns are too entangled to be decided",
		"whether the rule ever takes effect was left open", "write fewer patterns with + in several places"))
}

// step says by which step of the order of priority a wins over b.
func step(a, b schema.Pattern) string {
	p, q := strings.SplitN(a.Rank(), " ", 5), strings.SplitN(b.Rank(), " ", 5)
	for i, reason := range []string{"its first wildcard comes later", `it does not end in "*"`, "it has fewer +", "it is longer"} {
		if p[i] != q[i] {
			return reason
		}
	}
	return "it comes later in the alphabet"
}

// redundant finds unconditional grants without which their policy, alone, would answer
// the same.
func (l *linter) redundant(s *site) {
	if s.rule.Deny || s.rule.Condition != nil {
		return
	}
	above, below := l.neighbours(s)
	out := patterns(above)
	var next []*site
	for _, o := range below {
		_, result := search([]schema.Pattern{s.pattern(), o.pattern()}, out)
		switch {
		case result == none:
			continue
		case result == gaveUp, o.rule.Condition != nil, o.rule.Deny, !slices.Equal(o.rule.Grants(), s.rule.Grants()):
			return
		}
		next, out = append(next, o), append(out, o.pattern())
	}
	if _, result := search([]schema.Pattern{s.pattern()}, out); result != none || s.pattern().String() == "*" || l.twin(s) {
		return
	}
	f := finding("redundant-rule", Note, "the rule adds nothing to its policy", "without it the policy would answer the same on each of its paths",
		"delete it, unless it is to keep the broader grants of other policies out")
	f.Related = related(next)
	l.add(s, s.path, f)
}

// twin reports whether the policy has the pattern of the rule twice, under different
// conditions.
func (l *linter) twin(s *site) bool {
	return slices.ContainsFunc(l.peersOf(s), func(o *site) bool { return o != s && o.rank == s.rank })
}
