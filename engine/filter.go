package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// filter is the permit.Filter of one list: the principal's attached set, asked name by
// name. Names with the same matched blocks share an answer through the memo, and through
// that of the list itself where a block reads the clock, the address or the token, which
// are those of the list's call. Guardrails are listed among the policies; each is asked
// about as the guardrail it is. It is safe for concurrent use.
type filter struct {
	set      *policies.Set
	attached *attached
	call     schema.Call

	own        memo // of answers that hold for this call alone
	guardrails memo // the same, about guardrails
}

// Visible reports whether the principal has the list's capability on the path. The
// zero path, which is of no resource in particular, is seen only through the pattern
// "*".
func (f *filter) Visible(p schema.Path) bool { return f.Has(f.call.Capability.Verb, p) }

// Has reports whether the principal has another verb of the resource on the path. A
// verb that the resource does not have is held by nobody.
func (f *filter) Has(verb schema.Verb, p schema.Path) bool {
	c := f.call
	c.Path, c.Capability.Verb = p, verb
	if verb != f.call.Capability.Verb && !c.Capability.Valid() {
		return false
	}
	own := &f.own
	if c.Capability.Resource == schema.Policy && f.isGuardrail(p) {
		c.Capability.Resource, own = schema.Guardrail, &f.guardrails
	}
	return f.attached.decide(context.Background(), c, own).reason == schema.Granted
}

func (f *filter) isGuardrail(p schema.Path) bool {
	found := f.set.Find(p.String())
	return found != nil && found.Kind == policies.KindGuardrail
}

// Prefixes returns the literal beginnings of the patterns that grant the capability,
// sorted, without those that lie within another.
func (f *filter) Prefixes() []string {
	var all []string
	for _, b := range f.attached.rules.blocks {
		asked := b.rule.Resource == f.call.Capability.Resource ||
			b.rule.Resource == schema.Guardrail && f.call.Capability.Resource == schema.Policy
		if asked && b.rule.Allows(f.call.Capability.Verb) {
			all = append(all, b.rule.Pattern.Literal())
		}
	}
	slices.Sort(all)
	prefixes := []string{}
	for _, p := range all {
		if n := len(prefixes); n == 0 || !strings.HasPrefix(p, prefixes[n-1]) {
			prefixes = append(prefixes, p)
		}
	}
	return prefixes
}
