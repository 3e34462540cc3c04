package engine

import (
	"cmp"
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema"
)

// settled is a block that may settle a call, with what of its condition does not hold.
type settled struct {
	*block
	unmet []string
}

// settle answers from the matched blocks what the main module must answer. It serves
// Check alone: decisions are OPA's. It reads the local times of the call as they are.
func (a *attached) settle(c schema.Call) verdict {
	ids, _ := a.matched(nil, a.tables[c.Capability.Resource], &c)
	var guards, suspects, ladder []settled
	for _, id := range ids {
		b := settled{block: a.block(id)}
		if _, binding := b.rule.Pattern.Bind(c.Principal); binding == schema.Suspect {
			suspects = append(suspects, b)
			continue
		}
		b.unmet = b.rule.Condition.Unmet(c.Context, b.rule.Deny)
		switch {
		case id&guardBit != 0 && slices.Contains(b.rule.Denies, c.Capability.Verb) && (b.rule.Condition == nil || len(b.unmet) > 0):
			guards = append(guards, b)
		case id&guardBit == 0 && !(b.rule.Deny && len(b.unmet) > 0):
			ladder = append(ladder, b)
		}
	}
	switch {
	case len(guards) > 0:
		return least(topOf(guards)).verdict(schema.GuardrailDenied)
	case len(suspects) > 0:
		return slices.MinFunc(suspects, byNameAndLine).verdict(schema.TemplateValue)
	case len(ladder) == 0:
		return verdict{reason: schema.NoRule}
	}
	return settleTop(topOf(ladder), c.Capability.Verb)
}

// settleTop answers from the blocks of the winning pattern.
func settleTop(top []settled, verb schema.Verb) verdict {
	var failing []settled
	for _, b := range top {
		if b.rule.Deny {
			return b.verdict(schema.ExplicitDeny)
		}
		if b.rule.Allows(verb) && len(b.unmet) > 0 {
			failing = append(failing, b)
		}
	}
	for _, b := range top {
		if b.rule.Allows(verb) && len(b.unmet) == 0 {
			return b.verdict(schema.Granted)
		}
	}
	if len(failing) > 0 {
		return least(failing).verdict(schema.ConditionFailed)
	}
	return top[0].verdict(schema.CapabilityMissing)
}

// topOf returns the blocks of the most specific pattern, which is that of the first.
func topOf(ladder []settled) []settled {
	beaten := slices.IndexFunc(ladder, func(b settled) bool { return b.rule.Pattern != ladder[0].rule.Pattern })
	if beaten < 0 {
		return ladder
	}
	return ladder[:beaten]
}

// least returns the first by policy name, then by what does not hold.
func least(list []settled) settled {
	return slices.MinFunc(list, func(x, y settled) int {
		return cmp.Or(strings.Compare(x.policy.Name.String(), y.policy.Name.String()), slices.Compare(x.unmet, y.unmet), x.rule.Line-y.rule.Line)
	})
}

func byNameAndLine(x, y settled) int {
	return cmp.Or(strings.Compare(x.policy.Name.String(), y.policy.Name.String()), x.rule.Line-y.rule.Line)
}

func (s settled) verdict(reason schema.Reason) verdict {
	v := verdict{reason: reason, rule: s.policy.Ref(s.rule)}
	if reason == schema.GuardrailDenied || reason == schema.ConditionFailed {
		v.unmet = joinUnmet(s.unmet)
	}
	return v
}
