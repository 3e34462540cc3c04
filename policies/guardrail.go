package policies

import (
	"slices"

	"github.com/heroctl/heroctl/schema"
)

const lockHint = "it denies both its own update and its own delete to everyone, always; name other guardrails in the path, or add an unless block"

// locks reports whether the guardrail denies everyone, always, to change another one:
// both to update and to delete it.
func (p *Policy) locks(other *Policy) bool {
	denied := func(verb schema.Verb) bool {
		return slices.ContainsFunc(p.Rules, func(r Rule) bool {
			return r.Resource == schema.Guardrail && r.Condition == nil && slices.Contains(r.Denies, verb) &&
				r.Pattern.Matches(other.Name.Path())
		})
	}
	return denied("update") && denied("delete")
}

// Locked returns the guardrails of the set that nobody could change any more, sorted by
// name: those that lock each other. One that a changeable guardrail locks is not among
// them, for that one can be changed first.
func (s *Set) Locked() []*Policy {
	locked := s.Guardrails()
	for {
		rest := slices.DeleteFunc(slices.Clone(locked), func(p *Policy) bool {
			return !slices.ContainsFunc(locked, func(by *Policy) bool { return by.locks(p) })
		})
		if len(rest) == len(locked) {
			return rest
		}
		locked = rest
	}
}
