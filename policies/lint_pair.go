package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema"
)

// together looks at the rules of all policies side by side. What one policy denies and
// another grants meets in whoever has both.
func (l *linter) together() {
	byResource := map[schema.Resource][]*site{}
	for _, s := range l.sites {
		byResource[s.rule.Resource] = append(byResource[s.rule.Resource], s)
	}
	for _, resource := range schema.Resources() {
		sites := byResource[resource]
		for _, s := range sites {
			if s.denies() && !s.lost {
				l.reopened(s, sites)
				l.hidden(s, sites)
			}
		}
		l.equal(sites)
		l.guarded(sites)
	}
}

// meets reports where both rules cover a path and a is the one that wins it among the
// rules of their two policies.
func (l *linter) meets(a, b *site) (schema.Path, bool) {
	if _, some := Overlap(a.pattern(), b.pattern()); !some {
		return schema.Path{}, false
	}
	rivals := l.peersOf(a)
	if a.policy != b.policy {
		rivals = slices.Concat(rivals, l.peersOf(b))
	}
	var better []schema.Pattern
	for _, o := range rivals {
		if o.sure() && o.beats(a) && mayMeet(o.pattern().String(), a.pattern().String()) {
			better = append(better, o.pattern())
		}
	}
	path, result := search([]schema.Pattern{a.pattern(), b.pattern()}, better)
	return path, result == exists
}

// reopened finds denials that lose part of their paths to a more specific grant.
func (l *linter) reopened(d *site, sites []*site) {
	groups := map[Severity][]*site{}
	first := map[Severity]schema.Path{}
	for _, g := range sites {
		if !g.grants() || g.lost || !g.beats(d) {
			continue
		}
		path, some := l.meets(g, d)
		if !some {
			continue
		}
		level := reopenLevel(g, d)
		if len(groups[level]) == 0 {
			first[level] = path
		}
		groups[level] = append(groups[level], g)
	}
	for _, level := range []Severity{Error, Warning, Note} {
		if g := groups[level]; len(g) > 0 {
			f := finding("reopened-deny", level, "a more specific grant reopens the denial",
				fmt.Sprintf("%s is denied by %s and granted by %s, which is the more specific one, because %s",
					first[level], d.pattern(), g[0].pattern(), step(g[0].pattern(), d.pattern())),
				reopenAdvice[level])
			f.Witness, f.Related = first[level].String(), related(g)
			l.add(d, d.path, f)
		}
	}
}

// reopenLevel says how grave it is that g opens part of d. An exception that lies within
// the denial is written on purpose.
func reopenLevel(g, d *site) Severity {
	switch {
	case includes(d, g):
		return Note
	case g.policy == d.policy && g.rule.Condition == nil && d.rule.Condition == nil:
		return Error
	}
	return Warning
}

func includes(a, b *site) bool {
	_, all := Includes(a.pattern(), b.pattern())
	return all
}

var reopenAdvice = map[Severity]string{
	Error:   "deny the path by its full name, or in a guardrail, which no grant overrides",
	Warning: "deny the path by its full name, or in a guardrail, which no grant overrides",
	Note:    "leave it if the exception is meant; a guardrail denies without exception",
}

// hidden finds denials that win over a grant in whose policy they do not stand, or that
// only crosses them.
func (l *linter) hidden(d *site, sites []*site) {
	var from []*site
	var witness schema.Path
	for _, g := range sites {
		if !g.grants() || g.lost || !d.beats(g) {
			continue
		}
		if g.policy == d.policy && includes(g, d) {
			continue // the ordinary exception, beside its rule
		}
		path, some := l.meets(d, g)
		if !some {
			continue
		}
		if len(from) == 0 {
			witness = path
		}
		from = append(from, g)
	}
	if len(from) == 0 {
		return
	}
	f := finding("hidden-deny", Note, "the denial takes paths from a grant that does not show it",
		fmt.Sprintf("%s is granted by %s and denied here, because %s", witness, from[0].pattern(), step(d.pattern(), from[0].pattern())),
		"say so in a comment beside the grant")
	f.Witness, f.Related = witness.String(), related(from)
	l.add(d, d.path, f)
}

// equal finds rules on equal patterns: grants that a denial takes everything from, and
// grants that unite.
func (l *linter) equal(sites []*site) {
	groups := map[schema.Pattern][]*site{}
	var order []schema.Pattern
	for _, s := range sites {
		if s.guardrail() {
			continue
		}
		if groups[s.pattern()] == nil {
			order = append(order, s.pattern())
		}
		groups[s.pattern()] = append(groups[s.pattern()], s)
	}
	for _, p := range order {
		group := groups[p]
		var grants []*site
		for _, s := range group {
			if s.grants() {
				grants = append(grants, s)
				l.dead(s, group)
			}
		}
		l.duplicate(grants)
	}
}

// dead finds the denials that take everything from a grant on the equal pattern.
func (l *linter) dead(g *site, group []*site) {
	level := Warning
	var by []*site
	for _, d := range group {
		if d.rule.Deny && d.rule.Condition == nil {
			by = append(by, d)
			if d.policy == g.policy {
				level = Error
			}
		}
	}
	if len(by) == 0 {
		return
	}
	detail := "on equal patterns a denial wins, so whoever has both policies is granted nothing here"
	advice := "delete one of the two, or see to it that nobody has both policies"
	if level == Error {
		detail, advice = "on equal patterns a denial wins, so that the condition of the grant changes nothing", "delete one of the two"
	}
	f := finding("dead-grant", level, "a denial on the equal pattern takes everything from the grant", detail, advice)
	f.Related = related(by)
	l.add(g, g.path, f)
}

// duplicate finds a pattern on which several policies grant.
func (l *linter) duplicate(grants []*site) {
	for _, g := range grants[min(1, len(grants)):] {
		if g.policy == grants[0].policy {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(grants), func(s *site) bool { return s == g })
		f := finding("duplicate-pattern", Note, "several policies grant on this pattern",
			"whoever has them may do all that any of them grants", "leave it if that is meant")
		f.Related = related(others)
		l.add(g, g.path, f)
		return
	}
}

// guarded finds grants of what guardrails deny to everyone, always.
func (l *linter) guarded(sites []*site) {
	denied := map[schema.Verb][]*site{}
	for _, s := range sites {
		if s.guardrail() && s.rule.Condition == nil {
			for _, verb := range s.rule.Denies {
				denied[verb] = append(denied[verb], s)
			}
		}
	}
	for _, g := range sites {
		if g.grants() {
			l.blocked(g, denied)
		}
	}
}

func (l *linter) blocked(g *site, denied map[schema.Verb][]*site) {
	var dead []string
	var by []*site
	for _, verb := range g.rule.Grants() {
		var list []schema.Pattern
		for _, q := range denied[verb] {
			list = append(list, q.pattern())
		}
		if _, v := Covered(g.pattern(), list); v != Yes {
			continue
		}
		dead = append(dead, string(verb))
		for _, q := range denied[verb] {
			if _, some := Overlap(q.pattern(), g.pattern()); some && !slices.Contains(by, q) {
				by = append(by, q)
			}
		}
	}
	if len(dead) == 0 {
		return
	}
	level, summary := Note, "a guardrail denies part of what the rule grants"
	if len(dead) == len(g.rule.Grants()) {
		level, summary = Error, "a guardrail denies all that the rule grants"
	}
	f := finding("guardrail-blocks-grant", level, summary, "to everyone, on each of its paths: "+strings.Join(dead, ", "),
		"leave out what cannot be used, or narrow the guardrail")
	f.Related = related(by)
	l.add(g, g.says, f)
}
