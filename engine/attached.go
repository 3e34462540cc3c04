package engine

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// attached is the policies of a principal and the guardrails, ready to be asked. It is
// safe for concurrent use.
type attached struct {
	engine   *Engine
	names    []string // as listed by the principal
	content  schema.Digest
	rules    *ladder // of the policies
	guards   *ladder // of the guardrails, which are those of the set
	volatile bool    // some block has a condition or a template
	zones    map[string]*time.Location
	tables   map[schema.Resource]*table

	compiling sync.Mutex // held while the program is compiled
}

// table is the blocks of one resource: what finds them and what is known of them. Every
// resource has one.
type table struct {
	rules, guards *node // nil where there is no block
	memo          memo
}

// memo is answers that are used again, by verb and matched blocks: see memoKey. The zero
// memo is empty. It is safe for concurrent use.
type memo struct {
	mu      sync.RWMutex
	answers map[string]*verdict // guarded by mu
}

// maxMemo bounds the answers kept for one attached set and resource.
const maxMemo = 1 << 16

// verdict is what OPA answers for a path and a capability.
type verdict struct {
	reason schema.Reason
	rule   schema.RuleRef
	unmet  string // as Decision.Condition
}

// newAttached indexes the blocks of the policies. Compiling waits until OPA is asked.
func newAttached(e *Engine, names []string, list []*policies.Policy, guards *ladder) *attached {
	a := &attached{
		engine: e, names: names, content: contentOf(list, guards.list), rules: newLadder(list, 0), guards: guards,
		zones: map[string]*time.Location{}, tables: map[schema.Resource]*table{},
	}
	for _, l := range []*ladder{a.rules, a.guards} {
		a.volatile = a.volatile || l.volatile || l.templates
		for _, name := range policies.Zones(l.list) {
			if zone, err := schema.LoadZone(name); err == nil { // it was known when the policy was parsed
				a.zones[name] = zone
			}
		}
	}
	for _, r := range schema.Resources() {
		a.tables[r] = &table{rules: a.rules.roots[r], guards: guards.roots[r]}
	}
	return a
}

// contentOf returns the digest that stands for lists of policies that are sorted: the
// same policies are the same program.
func contentOf(lists ...[]*policies.Policy) schema.Digest {
	h := sha256.New()
	for _, list := range lists {
		for _, p := range list {
			h.Write([]byte(p.Name.String()))
			h.Write([]byte{0})
			h.Write(p.Digest[:])
		}
		h.Write([]byte{0}) // no name is empty
	}
	return schema.Digest(h.Sum(nil))
}

// decide answers a call whose principal has this set attached. The answer is kept when
// no matched block reads more of the input than its path. Where one reads the clock, the
// address or the token, OPA is asked each time, unless now has the answer: a memo of calls
// that differ in path and verb alone.
func (a *attached) decide(ctx context.Context, c schema.Call, now *memo) *verdict {
	if a.engine.config.NoMemo {
		return a.evaluate(ctx, c)
	}
	t := a.tables[c.Capability.Resource]
	var idBuffer [32]uint32
	var keyBuffer [160]byte
	ids, plain := a.matched(idBuffer[:0], t, &c)
	m := &t.memo
	if !plain {
		m = now
	}
	if m == nil {
		return a.evaluate(ctx, c)
	}
	key := memoKey(keyBuffer[:0], c.Capability.Verb, ids)
	m.mu.RLock()
	v := m.answers[string(key)]
	m.mu.RUnlock()
	if v != nil {
		return v
	}
	v = a.evaluate(ctx, c)
	if v.reason != schema.EvaluationFailed {
		m.keep(string(key), v)
	}
	return v
}

// keep stores an answer, starting afresh when there are too many.
func (m *memo) keep(key string, v *verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil || len(m.answers) >= maxMemo {
		m.answers = map[string]*verdict{}
	}
	m.answers[key] = v
}

// memoKey appends a verb, with its length before it, and the matched blocks, four
// bytes each. The resource is the table's. Two different questions have different
// keys.
func memoKey(key []byte, verb schema.Verb, ids []uint32) []byte {
	key = append(append(key, byte(len(verb))), verb...)
	for _, id := range ids {
		key = append(key, byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	}
	return key
}

// evaluate asks OPA. Whatever is not a clean answer is a denial.
func (a *attached) evaluate(ctx context.Context, c schema.Call) *verdict {
	program, err := a.program(ctx)
	if err == nil {
		var v verdict
		if v, err = program.eval(ctx, a.engine.config.Timeout, inputTerm(a.complete(c), a.names)); err == nil {
			return &v
		}
	}
	a.engine.config.Log.Error("policy evaluation failed", "capability", c.Capability.String(), "cause", err)
	return &verdict{reason: schema.EvaluationFailed}
}

// complete gives the call the local time of every zone that the blocks name, by its own
// clock.
func (a *attached) complete(c schema.Call) schema.Call {
	c.Context.Zones = nil
	if len(a.zones) == 0 {
		return c
	}
	c.Context.Zones = make(map[string]schema.LocalTime, len(a.zones))
	for name, zone := range a.zones {
		c.Context.Zones[name] = schema.LocalTimeOf(c.Context.Time, zone)
	}
	return c
}

// program returns the compiled form, compiling it when it is not at hand.
func (a *attached) program(ctx context.Context) (*program, error) {
	if p, ok := a.engine.programs.Get(a.content); ok {
		return p, nil
	}
	a.compiling.Lock()
	defer a.compiling.Unlock()
	if p, ok := a.engine.programs.Get(a.content); ok {
		return p, nil
	}
	p, err := a.engine.compiler.compile(ctx, slices.Concat(a.rules.list, a.guards.list))
	if err != nil {
		return nil, err
	}
	a.engine.programs.Add(a.content, p)
	return p, nil
}
