// Package permit is the proof that a request was decided.
//
// The store takes a Permit in place of a path, and works on the permit's path:
// what was checked and what is used cannot differ, and a handler that forgot to
// ask has nothing to pass. Only package engine calls Issue; a test of the import
// table holds that. The zero Permit grants nothing.
package permit

import (
	"time"

	"github.com/heroctl/heroctl/schema"
)

// Filter tells which names a list may show.
type Filter interface {
	// Visible reports whether the principal has the permit's capability on p.
	Visible(p schema.Path) bool
	// Has reports whether the principal has another verb of the same resource
	// on p: which columns of the item may be shown.
	Has(verb schema.Verb, p schema.Path) bool
	// Prefixes returns sorted, disjoint literal prefixes such that every visible
	// path starts with one of them. An empty string among them means anywhere; an
	// empty list means nowhere.
	Prefixes() []string
}

// Permit is one granted call. It is immutable and safe for concurrent use.
type Permit struct{ grant *Grant }

// Grant is what a permit stands for.
type Grant struct {
	ID        schema.DecisionID
	Principal schema.Principal
	Cap       schema.Capability
	Path      schema.Path // zero for a call that names no single resource
	Time      time.Time   // when the request arrived: the only clock the store reads
	Filter    Filter      // for lists; nil otherwise
}

// Issue makes a permit. Only package engine may call it.
func Issue(g Grant) Permit { return Permit{&g} }

// Path returns the path the permit was issued for, if it was issued for the
// capability c.
func (p Permit) Path(c schema.Capability) (schema.Path, bool) {
	if p.grant == nil || p.grant.Cap != c || p.grant.Path.IsZero() {
		return schema.Path{}, false
	}
	return p.grant.Path, true
}

// Allows reports whether the permit was issued for the capability c, on whatever
// path.
func (p Permit) Allows(c schema.Capability) bool { return p.grant != nil && p.grant.Cap == c }

// Filter returns the list filter, if the permit was issued for the list
// capability c. Without one nothing may be listed.
func (p Permit) Filter(c schema.Capability) (Filter, bool) {
	if p.grant == nil || p.grant.Cap != c || p.grant.Filter == nil {
		return nil, false
	}
	return p.grant.Filter, true
}

// ID returns the decision's id, or "" for the zero Permit.
func (p Permit) ID() schema.DecisionID {
	if p.grant == nil {
		return ""
	}
	return p.grant.ID
}

// Principal returns who the permit was issued to.
func (p Permit) Principal() schema.Principal {
	if p.grant == nil {
		return schema.Principal{}
	}
	return p.grant.Principal
}

// Time returns when the permitted request arrived.
func (p Permit) Time() time.Time {
	if p.grant == nil {
		return time.Time{}
	}
	return p.grant.Time
}
