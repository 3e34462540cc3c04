// Package policies reads the policy language and compiles it to Rego.
//
// A policy is a named HCL block of rules; a rule is a block that names a resource,
// a pattern and capabilities, and may name a Condition under which it holds. A
// guardrail is the same with denials in place of capabilities: it binds everyone, and
// no policy overrides it. Parse turns text into checked policies or into
// diagnostics, never both half-way. A Policy keeps the bytes it was written in and
// is known by their digest, so that a decision can name the very line that settled
// it. A Set is all policies in force, immutable and known by its digest.
//
// Rego is the truth of what a policy means: Module compiles one policy to a module
// with one rule per block, and the fixed module authz.rego picks the winner among
// the blocks that match. The package decides nothing itself; package engine asks
// OPA.
//
// The path of a text: Parse (scan, then HCL, then check) → Policy → Set → Module.
package policies

import (
	"slices"

	"github.com/heroctl/heroctl/schema"
)

// Kind says what a Policy is.
type Kind string

// The kinds, as they are written.
const (
	KindPolicy    Kind = "policy"    // grants and denies to those it is attached to
	KindGuardrail Kind = "guardrail" // denies to everyone
)

// Policy is one checked policy or guardrail. It is immutable and safe for concurrent
// use; the slices belong to it. Policies and guardrails share their names.
type Policy struct {
	Kind        Kind
	Name        schema.Name
	Description string
	Text        []byte        // the block as written, with the comment lines directly above it
	Digest      schema.Digest // of Text
	Rules       []Rule        // in the order of the text
	Span        Span          // where the name stands in the file it was parsed from
	First       int           // line of that file on which Text begins
}

// Rule is one resource block of a policy. Everything that may decide a request is
// here: what it speaks about (Resource, Pattern), what it answers (Deny, Verbs or
// Denies) and when (Condition).
type Rule struct {
	Resource  schema.Resource
	Pattern   schema.Pattern
	Deny      bool          // an explicit deny of every verb; then Verbs is empty
	Verbs     []schema.Verb // as granted by the text, in the order of the resource's verbs
	Denies    []schema.Verb // of a guardrail, in place of Deny and Verbs: what it denies, and nothing implied
	Condition *Condition    // under which a policy's rule holds, or unless which a guardrail's; nil for always
	Line      int           // of the block in the policy's Text, from 1
}

// Grants returns the verbs that the rule grants, the implied ones too, in the order
// of the resource's verbs.
func (r Rule) Grants() []schema.Verb {
	return slices.DeleteFunc(r.Resource.Verbs(), func(v schema.Verb) bool { return !r.Allows(v) })
}

// Allows reports whether the rule grants the verb, by its own name or by one that
// implies it.
func (r Rule) Allows(verb schema.Verb) bool {
	if r.Deny {
		return false
	}
	implied := schema.Capability{Resource: r.Resource, Verb: verb}.ImpliedBy()
	return slices.Contains(r.Verbs, verb) || implied != "" && slices.Contains(r.Verbs, implied)
}

// Ref names the rule exactly.
func (p *Policy) Ref(r Rule) schema.RuleRef {
	return schema.RuleRef{Policy: p.Name.String(), Digest: p.Digest, Line: r.Line}
}
