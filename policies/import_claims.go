package policies

import (
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema"
)

// finish turns the claims into rules. Vault decides each facet of a secret by the most
// specific path of that facet; here one rule decides all of them. So each pattern gets,
// for each facet, what the claim says that Vault would let win on the paths that the
// pattern's rule will win here. Where claims of a facet share these paths, no rule could
// say both: then the facet is not granted, and the lines are told.
func (v *vaultReader) finish(d *draft) {
	var order []schema.Pattern
	for _, c := range v.claims {
		if !slices.Contains(order, c.pattern) {
			order = append(order, c.pattern)
		}
	}
	written := len(order)
	order = crossings(order)
	for i, p := range order {
		var better []schema.Pattern
		for _, q := range order {
			if q.Compare(p) > 0 && mayMeet(p.String(), q.String()) {
				better = append(better, q)
			}
		}
		r := v.ruleOf(p, better)
		r.spare = i >= written || r.remark == holdsClosed
		d.rules = append(d.rules, r)
	}
	for i := len(d.rules) - 1; i >= 0; i-- {
		if r := d.rules[i]; r.spare && !changes(r, d.rules) {
			d.rules = slices.Delete(d.rules, i, i+1)
		}
	}
	slices.SortStableFunc(d.rules, func(a, b *draftRule) int { return strings.Compare(a.pattern.String(), b.pattern.String()) })
}

const holdsClosed = "grants nothing, and is held closed"

// changes reports whether the policy would answer otherwise without the rule: whether
// the next rule on its paths, if there is one, says something else.
func changes(r *draftRule, rules []*draftRule) bool {
	var next *draftRule
	for _, o := range rules {
		if o != r && o.pattern.Compare(r.pattern) < 0 && (next == nil || o.pattern.Compare(next.pattern) > 0) {
			if _, some := Overlap(o.pattern, r.pattern); some {
				next = o
			}
		}
	}
	if next == nil {
		return len(r.verbs) > 0
	}
	_, all := Includes(next.pattern, r.pattern)
	return !all || !slices.Equal(next.verbs, r.verbs)
}

// maxCrossings bounds the patterns that crossings adds to.
const maxCrossings = 256

// crossings adds the patterns of what two patterns share, where such a pattern is more
// specific than both: there a rule can say what both say.
func crossings(order []schema.Pattern) []schema.Pattern {
	for i := 0; i < len(order) && len(order) < maxCrossings; i++ {
		for j := range i {
			m, ok := common(order[i], order[j])
			if ok && m.Compare(order[i]) > 0 && m.Compare(order[j]) > 0 && !slices.Contains(order, m) && len(order) < maxCrossings {
				order = append(order, m)
			}
		}
	}
	return order
}

// common returns the pattern that covers exactly what both cover, if there is one.
func common(a, b schema.Pattern) (schema.Pattern, bool) {
	if _, some := Overlap(a, b); !some || a.HasTemplate() || b.HasTemplate() {
		return schema.Pattern{}, false
	}
	p, q := shapeOf(a, nil), shapeOf(b, nil)
	var text []string
	open := true
	for i := 0; i < max(len(p), len(q)); i++ {
		s, _ := p.at(i)
		t, _ := q.at(i)
		if s.kind == literal || t.kind == anyOne {
			s, t = t, s // t is the narrower of a literal, a prefix and "+"
		}
		if t.kind == prefix && s.kind == prefix && len(s.text) > len(t.text) {
			t = s
		}
		last := i == max(len(p), len(q))-1
		open = p.open() && i >= len(p)-1 && q.open() && i >= len(q)-1
		switch {
		case t.kind == literal:
			text = append(text, t.text)
		case t.kind == prefix && t.text != "" && !(last && open):
			return schema.Pattern{}, false // the beginning of a segment before the end
		case last && open:
			text = append(text, t.text+"*")
		default:
			text = append(text, "+")
		}
	}
	m, err := schema.ParsePattern(strings.Join(text, "/"))
	return m, err == nil && m.Open() == open
}

// ruleOf puts the rule of one pattern together.
func (v *vaultReader) ruleOf(p schema.Pattern, better []schema.Pattern) *draftRule {
	r := &draftRule{resource: schema.Secret, pattern: p}
	denied := 0
	for _, f := range []facet{facetData, facetMetadata, facetList, facetDelete, facetUndelete, facetDestroy} {
		c := v.winner(f, p, better)
		if c == nil {
			continue
		}
		r.lines = append(r.lines, c.lines...)
		switch {
		case c.deny:
			denied = c.lines[0]
		default:
			r.verbs = union(schema.Secret, r.verbs, c.verbs)
		}
	}
	if len(r.lines) == 0 {
		denied = v.unwon(r, better)
	}
	switch {
	case denied > 0 && len(r.verbs) > 0:
		v.note(denied, "the denial is of a part", "here a denial denies everything, so the rest is granted without it: another policy that grants on this very path would win")
	case denied == 0 && len(r.verbs) == 0 && r.remark == "":
		r.remark = holdsClosed
	}
	return r
}

// unwon fills the rule of a pattern whose paths are all won by others, here as in
// Vault, or are shared. It returns the line of a denial.
func (v *vaultReader) unwon(r *draftRule, better []schema.Pattern) (denied int) {
	r.remark = "is held closed"
	_, covered := Covered(r.pattern, better)
	for _, c := range v.claims {
		if c.pattern != r.pattern {
			continue
		}
		r.lines = append(r.lines, c.lines...)
		if covered == Yes {
			r.remark, r.verbs = "never takes effect", union(schema.Secret, r.verbs, c.verbs)
		}
		if c.deny {
			denied = c.lines[0]
		}
	}
	return denied
}

// winner returns the claim of the facet that wins on the paths of p that no better
// pattern covers, or nil if none covers them or several share them.
func (v *vaultReader) winner(f facet, p schema.Pattern, better []schema.Pattern) *claim {
	var claims []*claim
	for _, c := range v.claims {
		if c.facet == f && mayMeet(c.pattern.String(), p.String()) {
			claims = append(claims, c)
		}
	}
	slices.SortStableFunc(claims, func(a, b *claim) int { return strings.Compare(b.rank, a.rank) })
	for i, c := range claims {
		_, some := search([]schema.Pattern{p, c.pattern}, better)
		if some == none {
			continue
		}
		if _, rest := search([]schema.Pattern{p}, append(slices.Clone(better), c.pattern)); some == exists && rest == none {
			return c
		}
		v.shared(p, better, claims[i:])
		return nil
	}
	return nil
}

// shared tells which grants are lost where claims share the paths of a pattern.
func (v *vaultReader) shared(p schema.Pattern, better []schema.Pattern, claims []*claim) {
	for _, c := range claims {
		if _, some := search([]schema.Pattern{p, c.pattern}, better); some != none && len(c.verbs) > 0 {
			v.drop(c.lines[0], "the path crosses another one", "no rule could grant this on a part of that one's paths alone; it is not granted there")
		}
	}
}
