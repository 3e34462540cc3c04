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

// bind takes out the ids of blocks in whose template the call has another value. What is
// left is plain when it has no condition, and no value that reads as a pattern.
func (a *attached) bind(ids []uint32, c *schema.Call) (bound []uint32, plain bool) {
	bound, plain = ids[:0], true
	for _, id := range ids {
		b := a.block(id)
		if b.rule.Pattern.HasTemplate() {
			pattern, binding := b.rule.Pattern.Bind(c.Principal)
			if binding == schema.Unbound || !pattern.Matches(c.Path) {
				continue
			}
			plain = plain && binding == schema.Bound
		}
		plain = plain && b.rule.Condition == nil
		bound = append(bound, id)
	}
	return bound, plain
}
