package engine

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// maxMemo bounds the answers kept for one attached set and resource.
const maxMemo = 1 << 16

// attached is the policies of a principal, ready to be asked. It is safe for
// concurrent use.
type attached struct {
	engine   *Engine
	names    []string // as listed by the principal
	content  schema.Digest
	policies []*policies.Policy
	blocks   []block // in order of priority, then of policy name
	tables   map[schema.Resource]*table

	compiling sync.Mutex // held while the program is compiled
}

// block is one rule of the attached set. Its index in attached.blocks is its id, so
// that sorted ids are the ladder of a path: the winner first.
type block struct {
	policy *policies.Policy
	rule   policies.Rule
}

// table is the blocks of one resource: what finds them and what is known of them. Every
// resource has one.
type table struct {
	root node

	mu   sync.RWMutex
	memo map[string]*verdict // by verb and matched blocks, see memoKey; guarded by mu
}

// verdict is what OPA answers for a path and a capability.
type verdict struct {
	reason schema.Reason
	rule   schema.RuleRef
}

// newAttached indexes the blocks of the policies. Compiling waits until OPA is asked.
func newAttached(e *Engine, names []string, list []*policies.Policy) *attached {
	a := &attached{engine: e, names: names, policies: list, content: contentOf(list), tables: map[schema.Resource]*table{}}
	for _, r := range schema.Resources() {
		a.tables[r] = &table{}
	}
	var ranks []string
	for _, p := range list {
		for _, rule := range p.Rules {
			a.blocks = append(a.blocks, block{p, rule})
			ranks = append(ranks, rule.Pattern.Rank())
		}
	}
	order := make([]int, len(ranks))
	for i := range order {
		order[i] = i
	}
	// The sort is stable and the policies come by name, each with a pattern of a
	// resource once, so that blocks of one pattern stay in the order of names.
	slices.SortStableFunc(order, func(x, y int) int { return strings.Compare(ranks[y], ranks[x]) })
	sorted := make([]block, len(order))
	for id, from := range order {
		sorted[id] = a.blocks[from]
		a.tables[sorted[id].rule.Resource].root.add(sorted[id].rule.Pattern, uint32(id))
	}
	a.blocks = sorted
	return a
}

// contentOf returns the digest that stands for a sorted list of policies: the same
// policies are the same program.
func contentOf(list []*policies.Policy) schema.Digest {
	h := sha256.New()
	for _, p := range list {
		h.Write([]byte(p.Name.String()))
		h.Write([]byte{0})
		h.Write(p.Digest[:])
	}
	return schema.Digest(h.Sum(nil))
}

// matched appends to ids those of the blocks that cover the path, in order of
// priority. This is the ladder: the first block has the winning pattern, the rest are
// beaten or stand beside it.
func (a *attached) matched(ids []uint32, r schema.Resource, path schema.Path) []uint32 {
	return a.tables[r].root.match(ids, path)
}

// decide answers a call whose principal has this set attached. An answer may be kept
// because no block reads more of the input than its path: a block that read the clock or
// the address would have to be asked each time.
func (a *attached) decide(ctx context.Context, c schema.Call) *verdict {
	t := a.tables[c.Capability.Resource]
	if a.engine.config.NoMemo {
		return a.evaluate(ctx, c)
	}
	var idBuffer [32]uint32
	var keyBuffer [160]byte
	key := memoKey(keyBuffer[:0], c.Capability.Verb, t.root.match(idBuffer[:0], c.Path))
	t.mu.RLock()
	v := t.memo[string(key)]
	t.mu.RUnlock()
	if v != nil {
		return v
	}
	v = a.evaluate(ctx, c)
	if v.reason != schema.EvaluationFailed {
		t.keep(string(key), v)
	}
	return v
}

// keep stores an answer, starting afresh when there are too many.
func (t *table) keep(key string, v *verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.memo == nil || len(t.memo) >= maxMemo {
		t.memo = map[string]*verdict{}
	}
	t.memo[key] = v
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
		if v, err = program.eval(ctx, a.engine.config.Timeout, inputTerm(c, a.names)); err == nil {
			return &v
		}
	}
	a.engine.config.Log.Error("policy evaluation failed", "capability", c.Capability.String(), "cause", err)
	return &verdict{reason: schema.EvaluationFailed}
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
	p, err := a.engine.compiler.compile(ctx, a.policies)
	if err != nil {
		return nil, err
	}
	a.engine.programs.Add(a.content, p)
	return p, nil
}
