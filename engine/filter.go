package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema"
)

// filter is the permit.Filter of one list: the principal's attached set, asked name by
// name. Names with the same matched blocks share an answer through the memo. It is safe
// for concurrent use.
type filter struct {
	attached *attached
	call     schema.Call
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
	return f.attached.decide(context.Background(), c).reason == schema.Granted
}

// Prefixes returns the literal beginnings of the patterns that grant the capability,
// sorted, without those that lie within another.
func (f *filter) Prefixes() []string {
	var all []string
	for _, b := range f.attached.blocks {
		if b.rule.Resource == f.call.Capability.Resource && b.rule.Allows(f.call.Capability.Verb) {
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
