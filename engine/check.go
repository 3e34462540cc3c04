package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Check makes sure of each policy that it compiles, and that trie and OPA agree on
// what its blocks cover and answer: each block is probed with a path that it covers,
// with some beside, below and above it, and with each capability of its resource. What
// passed is not checked again, so that Check before a change is stored and Activate
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

func (e *Engine) check(ctx context.Context, p *policies.Policy) error {
	program, err := e.compiler.compile(ctx, []*policies.Policy{p})
	if err != nil {
		return err
	}
	a := newAttached(e, []string{p.Name.String()}, []*policies.Policy{p})
	for _, rule := range p.Rules {
		for _, c := range questions(a.names, rule) {
			want := a.settle(c)
			got, err := program.eval(ctx, e.config.Timeout, inputTerm(c, a.names))
			if err != nil {
				return fmt.Errorf("probe %s on the block of line %d: %w", c.Capability, rule.Line, err)
			}
			if got != want {
				return fmt.Errorf("probe %s on the block of line %d: OPA says %s by line %d, the trie %s by line %d",
					c.Capability, rule.Line, got.reason, got.rule.Line, want.reason, want.rule.Line)
			}
		}
	}
	return nil
}

// questions returns the calls that try a rule: every verb on a path that it covers, and
// one verb where only the match is in question.
func questions(attached []string, rule policies.Rule) []schema.Call {
	principal := schema.Principal{Kind: schema.KindUser, User: "probe", Policies: attached}
	var calls []schema.Call
	for i, path := range probes(rule.Pattern) {
		verbs := rule.Resource.Verbs()
		if i > 0 {
			verbs = verbs[:1]
		}
		for _, verb := range verbs {
			calls = append(calls, schema.Call{Principal: principal, Capability: schema.Capability{Resource: rule.Resource, Verb: verb}, Path: path})
		}
	}
	return calls
}

// settle answers from the matched blocks what the main module must answer. It serves
// Check alone: decisions are OPA's.
func (a *attached) settle(c schema.Call) verdict {
	ids := a.matched(nil, c.Capability.Resource, c.Path)
	if len(ids) == 0 {
		return verdict{reason: schema.NoRule}
	}
	top := a.blocks[ids[0]].rule.Pattern
	beaten := slices.IndexFunc(ids, func(id uint32) bool { return a.blocks[id].rule.Pattern != top })
	if beaten >= 0 {
		ids = ids[:beaten]
	}
	pick := func(reason schema.Reason, settles func(policies.Rule) bool) (verdict, bool) {
		for _, id := range ids {
			if b := a.blocks[id]; settles(b.rule) {
				return verdict{reason, b.policy.Ref(b.rule)}, true
			}
		}
		return verdict{}, false
	}
	if v, ok := pick(schema.ExplicitDeny, func(r policies.Rule) bool { return r.Deny }); ok {
		return v
	}
	if v, ok := pick(schema.Granted, func(r policies.Rule) bool { return r.Allows(c.Capability.Verb) }); ok {
		return v
	}
	v, _ := pick(schema.CapabilityMissing, func(policies.Rule) bool { return true })
	return v
}
