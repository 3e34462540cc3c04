package engine

import (
	"context"
	"slices"

	"github.com/heroctl/heroctl/schema"
)

// Explanation is a decision with everything that was weighed for it.
type Explanation struct {
	Decision schema.Decision
	// Guardrails are the blocks of guardrails that cover the path.
	Guardrails []Rung
	// Ladder is the blocks of the principal's policies that cover the path, the
	// most specific first. Denials whose condition does not hold stand on it, but
	// settle nothing; of the others the blocks of the first pattern settled the
	// decision, unless a guardrail did.
	Ladder []Rung
	// Nearest is, for a denial that no block settled, the pattern of the same
	// resource and capability that comes closest to the path: a typo shows.
	Nearest Rung
}

// Rung is one block with what it says to a call.
type Rung struct {
	Rule    schema.RuleRef
	Pattern schema.Pattern
	Says    Saying
	Unmet   []string // attributes of the condition that do not hold
	Beaten  string   // by which step the winning pattern beats this one; "" for its own blocks
}

// Saying is what a block says to a call.
type Saying string

// The sayings; append-only.
const (
	SaysGrant   Saying = "grants"
	SaysDeny    Saying = "denies"
	SaysNothing Saying = "does not grant the capability"
	SaysPending Saying = "would grant if its condition held"
	SaysIdle    Saying = "would deny if its condition held"
	SaysExempt  Saying = "makes an exception" // a guardrail whose unless holds
	SaysSuspect Saying = "has a template whose value reads as a pattern"
)

// Explain decides a call and tells what was weighed. The decision is Authorize's;
// no permit comes with it. It costs nothing to those who do not ask.
func (e *Engine) Explain(ctx context.Context, c schema.Call) Explanation {
	decision, _ := e.Authorize(ctx, "", c)
	x := Explanation{Decision: decision}
	now := e.current.Load()
	if refuse(now, c) != "" || c.Path.IsZero() {
		return x
	}
	a := now.attachedTo(c.Principal.Policies)
	c = a.complete(c)
	ids, _ := a.matched(nil, a.tables[c.Capability.Resource], &c)
	var top *schema.Pattern
	for _, id := range ids {
		b := a.block(id)
		if id&guardBit != 0 {
			if r := guardRung(b, c); r.Says == SaysSuspect || slices.Contains(b.rule.Denies, c.Capability.Verb) {
				x.Guardrails = append(x.Guardrails, r)
			}
			continue
		}
		r := ruleRung(b, c)
		switch {
		case r.Says == SaysIdle: // is not there
		case top == nil:
			top = &r.Pattern
		default:
			r.Beaten = top.Beats(r.Pattern)
		}
		x.Ladder = append(x.Ladder, r)
	}
	if decision.Reason == schema.NoRule {
		x.Nearest = a.nearest(c)
	}
	return x
}

// guardRung is a guardrail's block: it denies unless its condition holds.
func guardRung(b *block, c schema.Call) Rung {
	r := Rung{Rule: b.policy.Ref(b.rule), Pattern: b.rule.Pattern, Says: SaysDeny}
	if _, binding := b.rule.Pattern.Bind(c.Principal); binding == schema.Suspect {
		r.Says = SaysSuspect
		return r
	}
	if b.rule.Condition == nil {
		return r
	}
	if r.Unmet = b.rule.Condition.Unmet(c.Context, false); len(r.Unmet) == 0 {
		r.Says = SaysExempt
	}
	return r
}

func ruleRung(b *block, c schema.Call) Rung {
	r := Rung{Rule: b.policy.Ref(b.rule), Pattern: b.rule.Pattern}
	if _, binding := b.rule.Pattern.Bind(c.Principal); binding == schema.Suspect {
		r.Says = SaysSuspect
		return r
	}
	r.Unmet = b.rule.Condition.Unmet(c.Context, b.rule.Deny)
	switch holds := len(r.Unmet) == 0; {
	case b.rule.Deny && holds:
		r.Says = SaysDeny
	case b.rule.Deny:
		r.Says = SaysIdle
	case !b.rule.Allows(c.Capability.Verb):
		r.Says = SaysNothing
	case holds:
		r.Says = SaysGrant
	default:
		r.Says = SaysPending
	}
	return r
}

// nearest returns the block that grants the capability and whose pattern shares
// the longest beginning with the path; of those the first of the ladder.
func (a *attached) nearest(c schema.Call) Rung {
	var best Rung
	length := -1
	for i := range a.rules.blocks {
		b := &a.rules.blocks[i]
		if b.rule.Resource != c.Capability.Resource || !b.rule.Allows(c.Capability.Verb) {
			continue
		}
		if n := shared(b.rule.Pattern.String(), c.Path.String()); n > length {
			length, best = n, ruleRung(b, c)
		}
	}
	return best
}

// shared returns how many bytes two texts have in common at the beginning.
func shared(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
