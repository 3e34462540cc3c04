package gateway

import (
	"strconv"

	"github.com/heroctl/heroctl/schema"
)

// sentenceOf says in words how a request is decided and why.
func sentenceOf(who, what, path string, d schema.Decision) string {
	if who == "" {
		who = "a caller without a valid token"
	}
	if path != "" {
		what += " on " + path
	}
	verdict := who + " is denied " + what + ": "
	if d.Allow {
		verdict = who + " is allowed " + what + ": "
	}
	rule := d.Rule.Policy + ":" + strconv.Itoa(d.Rule.Line)
	most := rule + " is the most specific rule that covers the path, and it "
	switch d.Reason {
	case schema.Granted:
		if d.Rule.Policy == "" {
			return verdict + "the call needs no rule, or is answered item by item"
		}
		return verdict + most + "grants the capability"
	case schema.ExplicitDeny:
		return verdict + most + "denies everything"
	case schema.CapabilityMissing:
		return verdict + most + "does not grant the capability; broader rules do not help out"
	case schema.ConditionFailed:
		return verdict + most + "grants the capability only under a condition that does not hold (" + d.Condition + "); broader rules do not help out"
	case schema.GuardrailDenied:
		return verdict + "the guardrail " + rule + " forbids it, and no grant overrides a guardrail"
	case schema.TemplateValue:
		return verdict + "the template in " + rule + " has a value that reads as a pattern"
	case schema.NoRule:
		return verdict + "no rule of the policies in force covers the path"
	}
	return verdict + classSentence(d.Reason)
}

// classSentence says what a reason class means, without naming any rule.
func classSentence(r schema.Reason) string {
	switch r {
	case schema.Granted:
		return "allowed"
	case schema.NoRule:
		return "no rule of your policies covers the path"
	case schema.ExplicitDeny:
		return "a rule of your policies denies the path"
	case schema.CapabilityMissing:
		return "the rule that covers the path does not grant the capability"
	case schema.ConditionFailed:
		return "the rule that covers the path has a condition that does not hold"
	case schema.GuardrailDenied:
		return "a guardrail denies it"
	case schema.TemplateValue:
		return "a template of a rule has no usable value"
	case schema.EvaluationFailed:
		return "the policies could not be evaluated, so the answer is no"
	case schema.TokenExpired:
		return "the token had expired"
	case schema.TokenRevoked:
		return "the token had been revoked, or its user disabled"
	case schema.Unauthenticated:
		return "there was no valid token"
	case schema.InvalidPath:
		return "the path was not valid"
	case schema.InvalidRequest:
		return "the request was not one that the server knows"
	case schema.Sealed:
		return "the server was sealed"
	case schema.Integrity:
		return "stored data failed its integrity check"
	case schema.Unavailable:
		return "the server could not decide"
	case schema.RateLimited:
		return "there were too many requests"
	}
	return string(r)
}
