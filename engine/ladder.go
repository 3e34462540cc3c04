package engine

import (
	"slices"
	"strings"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// ladder is the blocks of some policies, or of some guardrails, in order of priority, with
// tries that find those that cover a path. It is built once and then read only.
type ladder struct {
	list      []*policies.Policy
	blocks    []block // in order of priority, then of policy name, then of line
	roots     map[schema.Resource]*node
	templates bool // some pattern has a template
	volatile  bool // some block has a condition
}

// block is one rule. Its index in ladder.blocks is its id, so that sorted ids are the
// ladder of a path: the winner first.
type block struct {
	policy *policies.Policy
	rule   policies.Rule
}

// guardBit is set in the ids of the blocks of guardrails, which tells them from those of
// policies.
const guardBit = 1 << 31

// newLadder indexes the blocks of policies that are sorted by name. The bit is set in
// their ids.
func newLadder(list []*policies.Policy, bit uint32) *ladder {
	l := &ladder{list: list, roots: map[schema.Resource]*node{}}
	var ranks []string
	var blocks []block
	for _, p := range list {
		for _, rule := range p.Rules {
			blocks, ranks = append(blocks, block{p, rule}), append(ranks, rule.Pattern.Rank())
			l.templates = l.templates || rule.Pattern.HasTemplate()
			l.volatile = l.volatile || rule.Condition != nil
		}
	}
	order := make([]int, len(ranks))
	for i := range order {
		order[i] = i
	}
	// The sort is stable, so that blocks of one pattern stay in the order of names and
	// lines.
	slices.SortStableFunc(order, func(x, y int) int { return strings.Compare(ranks[y], ranks[x]) })
	l.blocks = make([]block, len(order))
	for id, from := range order {
		b := blocks[from]
		l.blocks[id] = b
		if l.roots[b.rule.Resource] == nil {
			l.roots[b.rule.Resource] = &node{}
		}
		l.roots[b.rule.Resource].add(b.rule.Pattern, uint32(id)|bit)
	}
	return l
}

// block returns the block of an id.
func (a *attached) block(id uint32) *block {
	if id&guardBit != 0 {
		return &a.guards.blocks[id&^guardBit]
	}
	return &a.rules.blocks[id]
}

// matched appends to ids those of the blocks that cover the call's path: the policies' in
// order of priority, then the guardrails' in theirs. Plain tells that the answer depends
// on nothing of the call but these and its capability.
func (a *attached) matched(ids []uint32, t *table, c *schema.Call) (all []uint32, plain bool) {
	if t.rules != nil {
		ids = t.rules.match(ids, c.Path)
	}
	if t.guards != nil {
		ids = t.guards.match(ids, c.Path)
	}
	if !a.volatile {
		return ids, true
	}
	return a.bind(ids, c)
}

// bind takes out the ids of blocks in whose template the call has another value, and of
// guardrails that do not deny its verb. What is left is plain when no block that can settle
// the call has a condition, and none a value that reads as a pattern. The blocks below the
// most specific pattern that is there for certain cannot settle it.
func (a *attached) bind(ids []uint32, c *schema.Call) (bound []uint32, plain bool) {
	bound, plain = ids[:0], true
	var top schema.Pattern
	for _, id := range ids {
		b, binding := a.block(id), schema.Bound
		if b.rule.Pattern.HasTemplate() {
			var pattern schema.Pattern
			if pattern, binding = b.rule.Pattern.Bind(c.Principal); binding == schema.Unbound || !pattern.Matches(c.Path) {
				continue
			}
		}
		settles := top.IsZero() || top == b.rule.Pattern
		if id&guardBit != 0 {
			settles = slices.Contains(b.rule.Denies, c.Capability.Verb)
			if !settles && binding != schema.Suspect {
				continue
			}
		} else if settles && binding == schema.Bound && !(b.rule.Deny && b.rule.Condition != nil) {
			top = b.rule.Pattern
		}
		plain = plain && binding == schema.Bound && !(settles && b.rule.Condition != nil)
		bound = append(bound, id)
	}
	return bound, plain
}
