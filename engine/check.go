package engine

import (
	"context"
	"fmt"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema/fault"
)

// Check makes sure of each policy that it compiles, and that trie and OPA agree on
// what its blocks cover and answer: each block is probed with a path that it covers,
// with some beside, below and above it, with each capability of its resource, with each
// attribute of its condition met, not met and not known, and with each kind of value in its
// templates. What passed is not checked again, so that Check before a change is stored and Activate
// after it cost one check. The error is of kind fault.Internal: a policy that parsed
// should pass.
func (e *Engine) Check(ctx context.Context, list []*policies.Policy) error {
	for _, p := range list {
		content := contentOf([]*policies.Policy{p})
		if e.checked.Contains(content) {
			continue
		}
		if err := e.check(ctx, p); err != nil {
			return fault.Wrap(fault.Internal, "policy "+p.Name.String()+" does not compile to what it says; the policies in force are unchanged", err)
		}
		e.checked.Add(content, struct{}{})
	}
	return nil
}

// probeTimeouts is how many times the timeout of a decision a probe may take: nobody
// waits for it but the one who applies the policy, and a busy machine must not refuse it.
const probeTimeouts = 10

func (e *Engine) check(ctx context.Context, p *policies.Policy) error {
	program, err := e.compiler.compile(ctx, []*policies.Policy{p})
	if err != nil {
		return err
	}
	a := alone(e, p)
	for _, rule := range p.Rules {
		for _, c := range questions(a.names, rule) {
			want := a.settle(c)
			got, err := program.eval(ctx, probeTimeouts*e.config.Timeout, inputTerm(c, a.names))
			if err != nil {
				return fmt.Errorf("probe %s on the block of line %d: %w", c.Capability, rule.Line, err)
			}
			if got != want {
				return fmt.Errorf("probe %s on the block of line %d: OPA says %s by line %d (%s), the trie %s by line %d (%s)",
					c.Capability, rule.Line, got.reason, got.rule.Line, got.unmet, want.reason, want.rule.Line, want.unmet)
			}
		}
	}
	return nil
}

// alone returns the policy attached and nothing else, or the guardrail over nothing.
func alone(e *Engine, p *policies.Policy) *attached {
	list, none := []*policies.Policy{p}, newLadder(nil, guardBit)
	if p.Kind == policies.KindGuardrail {
		return newAttached(e, nil, nil, newLadder(list, guardBit))
	}
	return newAttached(e, []string{p.Name.String()}, list, none)
}
