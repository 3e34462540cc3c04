package policies

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema"
)

// Set is all policies and guardrails in force. It is immutable, safe for concurrent use, and known
// by its digest: the same policies make the same digest, in whatever order they came.
type Set struct {
	sorted []*Policy // by name, no duplicates
	digest schema.Digest
	rules  int
	guards []*Policy // the guardrails among sorted
}

// NewSet returns the set of the policies. Of several with one name the last counts.
func NewSet(list []*Policy) *Set { return (&Set{}).With(list, nil) }

// With returns the set with the deleted names taken out and the changed policies put
// in. It costs a copy of pointers, not of rules.
func (s *Set) With(changed []*Policy, deleted []schema.Name) *Set {
	replace := make(map[schema.Name]*Policy, len(changed)+len(deleted))
	for _, name := range deleted {
		replace[name] = nil
	}
	for _, p := range changed {
		replace[p.Name] = p
	}
	next := &Set{sorted: make([]*Policy, 0, len(s.sorted)+len(changed))}
	for _, p := range s.sorted {
		if _, gone := replace[p.Name]; !gone {
			next.sorted = append(next.sorted, p)
		}
	}
	for _, p := range replace {
		if p != nil {
			next.sorted = append(next.sorted, p)
		}
	}
	slices.SortFunc(next.sorted, byName)
	next.seal()
	return next
}

func byName(a, b *Policy) int { return strings.Compare(a.Name.String(), b.Name.String()) }

// seal computes what is known of the whole set.
func (s *Set) seal() {
	h := sha256.New()
	var line []byte
	for _, p := range s.sorted {
		name := p.Name.String()
		line = binary.BigEndian.AppendUint32(line[:0], uint32(len(name)))
		line = append(append(line, name...), p.Digest[:]...)
		h.Write(line)
		s.rules += len(p.Rules)
		if p.Kind == KindGuardrail {
			s.guards = append(s.guards, p)
		}
	}
	h.Sum(s.digest[:0])
}

// Digest returns the digest over the sorted names and the digests of the texts.
func (s *Set) Digest() schema.Digest { return s.digest }

// Len returns the number of policies.
func (s *Set) Len() int { return len(s.sorted) }

// Rules returns the number of rules of all policies.
func (s *Set) Rules() int { return s.rules }

// Guardrails returns the guardrails, sorted by name.
func (s *Set) Guardrails() []*Policy { return slices.Clone(s.guards) }

// Get returns the policy or guardrail of the name, or nil.
func (s *Set) Get(name schema.Name) *Policy { return s.Find(name.String()) }

// Find is Get for a name in text, which need not be one.
func (s *Set) Find(name string) *Policy {
	i, found := slices.BinarySearchFunc(s.sorted, name, func(p *Policy, name string) int {
		return strings.Compare(p.Name.String(), name)
	})
	if !found {
		return nil
	}
	return s.sorted[i]
}

// Names returns the names, sorted.
func (s *Set) Names() []schema.Name {
	names := make([]schema.Name, len(s.sorted))
	for i, p := range s.sorted {
		names[i] = p.Name
	}
	return names
}

// All returns the policies, sorted by name.
func (s *Set) All() []*Policy { return slices.Clone(s.sorted) }

// Pick returns the policies of the given names, sorted and each once; names that the
// set does not have, or has as guardrails, are left out: nothing attached to a
// principal makes a guardrail.
func (s *Set) Pick(names []string) []*Policy {
	picked := make([]*Policy, 0, len(names))
	for _, name := range names {
		if p := s.Find(name); p != nil && p.Kind != KindGuardrail {
			picked = append(picked, p)
		}
	}
	slices.SortFunc(picked, byName)
	return slices.Compact(picked)
}

// Changed returns the policies of s that before does not have with the same text.
// Both are sorted, so that one pass finds them.
func (s *Set) Changed(before *Set) []*Policy {
	var changed []*Policy
	i := 0
	for _, p := range s.sorted {
		for before != nil && i < len(before.sorted) && byName(before.sorted[i], p) < 0 {
			i++
		}
		if before == nil || i == len(before.sorted) || before.sorted[i].Name != p.Name || before.sorted[i].Digest != p.Digest {
			changed = append(changed, p)
		}
	}
	return changed
}
