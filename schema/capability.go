package schema

import (
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema/fault"
)

// Resource is a kind of thing that policies speak about.
type Resource string

// The resources. The list is append-only: their names are stored in policies and
// in the trail.
const (
	Secret    Resource = "secret"
	Job       Resource = "job"
	Policy    Resource = "policy"
	Guardrail Resource = "guardrail"
	Role      Resource = "role"
	User      Resource = "user"
	Token     Resource = "token"
	Audit     Resource = "audit"
	Alert     Resource = "alert"
	Backup    Resource = "backup"
	Cluster   Resource = "cluster"
)

// Verb is what may be done to a resource.
type Verb string

// Capability is a verb on a resource, written "secret:read". The zero Capability
// is none.
type Capability struct {
	Resource Resource
	Verb     Verb
}

// verbs lists the capabilities of each resource, in the order they are shown.
var verbs = []struct {
	resource Resource
	verbs    []Verb
}{
	{Secret, []Verb{"create", "update", "read", "describe", "list", "rollback", "delete", "undelete", "destroy", "inject"}},
	{Job, []Verb{"run", "redeploy", "stop", "describe", "list", "logs"}},
	{Policy, []Verb{"create", "update", "describe", "list", "delete", "attach", "test", "explain", "bind"}},
	{Guardrail, []Verb{"create", "update", "describe", "list", "delete", "attach", "test", "explain"}},
	{Role, []Verb{"create", "update", "describe", "list", "delete", "bind"}},
	{User, []Verb{"create", "update", "describe", "list", "delete"}},
	{Token, []Verb{"create", "update", "describe", "list", "delete", "revoke", "renew"}},
	{Audit, []Verb{"read", "export", "verify", "explain"}},
	{Alert, []Verb{"describe", "list", "acknowledge"}},
	{Backup, []Verb{"create", "list", "verify", "restore"}},
	{Cluster, []Verb{"status", "rekey", "configure", "metrics"}},
}

// Resources returns every resource, in the order they are shown.
func Resources() []Resource {
	all := make([]Resource, len(verbs))
	for i, row := range verbs {
		all[i] = row.resource
	}
	return all
}

// Verbs returns the verbs of a resource, in the order they are shown, or nil for
// an unknown resource.
func (r Resource) Verbs() []Verb {
	for _, row := range verbs {
		if row.resource == r {
			return slices.Clone(row.verbs)
		}
	}
	return nil
}

// ParseCapability parses "resource:verb".
func ParseCapability(text string) (Capability, error) {
	resource, verb, ok := strings.Cut(text, ":")
	c := Capability{Resource(resource), Verb(verb)}
	if !ok || !c.Valid() {
		return Capability{}, fault.New(fault.InvalidArgument, "unknown capability; write resource:verb, such as secret:read")
	}
	return c, nil
}

// Valid reports whether the resource has the verb.
func (c Capability) Valid() bool {
	for _, row := range verbs {
		if row.resource == c.Resource {
			return slices.Contains(row.verbs, c.Verb)
		}
	}
	return false
}

// String returns "resource:verb", or "" for none.
func (c Capability) String() string {
	if c == (Capability{}) {
		return ""
	}
	return string(c.Resource) + ":" + string(c.Verb)
}

// ImpliedBy returns the verb that, when granted, grants c as well: read implies
// describe and update implies rollback; nothing else is implied. It returns "" if
// there is none.
func (c Capability) ImpliedBy() Verb {
	switch {
	case c == Capability{Secret, "describe"}:
		return "read"
	case c == Capability{Secret, "rollback"}:
		return "update"
	}
	return ""
}

// Mutates reports whether using c changes something. A change is recorded twice:
// its intent before, its outcome after. Anything else is one record.
func (c Capability) Mutates() bool {
	switch c.Verb {
	case "read", "describe", "list", "inject", "logs", "test", "explain", "export", "verify", "status", "metrics":
		return false
	}
	return c.Valid()
}
