package engine

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// snapshot is a policy set in force with the attached sets that were asked for so
// far. It is safe for concurrent use.
type snapshot struct {
	engine   *Engine
	set      *policies.Set
	revision schema.Revision
	guards   *ladder // the guardrails of the set

	mu       sync.RWMutex
	attached map[string]*attached // by the names, each with its length before it; guarded by mu
}

// next returns the snapshot of a set that follows s, which may be nil. The attached
// sets that the change does not touch go on with it, memo and all; a change of a guardrail
// touches all of them.
func (s *snapshot) next(e *Engine, set *policies.Set, rev schema.Revision) *snapshot {
	guards := set.Guardrails()
	next := &snapshot{engine: e, set: set, revision: rev, attached: map[string]*attached{}}
	if s == nil || contentOf(guards) != contentOf(s.guards.list) {
		next.guards = newLadder(guards, guardBit)
		return next
	}
	next.guards = s.guards
	s.mu.RLock()
	defer s.mu.RUnlock()
	for key, a := range s.attached {
		if a.content == contentOf(set.Pick(a.names), guards) {
			next.attached[key] = a
		}
	}
	return next
}

// attachedTo returns the attached set of a list of policy names. Names that the set
// does not have are simply not there.
func (s *snapshot) attachedTo(names []string) *attached {
	var buffer [512]byte
	key := buffer[:0]
	for _, name := range names {
		key = binary.BigEndian.AppendUint32(key, uint32(len(name)))
		key = append(key, name...)
	}
	s.mu.RLock()
	a := s.attached[string(key)]
	s.mu.RUnlock()
	if a != nil {
		return a
	}
	a = newAttached(s.engine, slices.Clone(names), s.set.Pick(names), s.guards)
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.attached[string(key)]; other != nil {
		return other
	}
	if len(s.attached) >= s.engine.config.Attached {
		for old := range s.attached {
			delete(s.attached, old)
			break
		}
	}
	s.attached[string(key)] = a
	return a
}
