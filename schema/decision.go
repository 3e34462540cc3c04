// Package schema holds the words of heroctl: the types that every other package
// speaks in. Text becomes one of these types at the edge or is refused; inside,
// a Path, a Capability or a Digest in hand is clean.
//
// A request becomes a Call: who (Principal), what (Capability) on which resource
// (Path), and under which circumstances (Context). The engine turns a Call and a
// policy set into a Decision. Nothing else enters a decision, which is what makes
// it possible to test, explain and replay one.
package schema

import (
	"net/netip"
	"time"
)

// PrincipalKind says what a principal is.
type PrincipalKind string

// The kinds of principal; append-only. The zero kind is nobody.
const (
	KindUser   PrincipalKind = "user"   // identified by a token
	KindSystem PrincipalKind = "system" // the server's own work, such as the expiry sweep
)

// Principal is who a request is decided for. The zero Principal is nobody, and
// every call of nobody is denied.
type Principal struct {
	Kind     PrincipalKind
	User     string    // the user's name, or the system task's, such as "system:sweep"
	Token    string    // accessor of the token; never the token
	Roles    []string  // names, sorted
	Policies []string  // names of every policy in force for this principal: attached and through roles; sorted, no duplicates
	Job      string    // the job acted for, or ""
	Issued   time.Time // when the token was made; zero if there is none
}

// Attached returns the digest that stands for the principal's policy list in the
// trail.
func (p Principal) Attached() Digest { return DigestOfList(p.Policies) }

// DigestOfList returns the digest of a list of names. Names are joined by a line
// feed, which no name contains.
func DigestOfList(names []string) Digest {
	var text []byte
	for _, name := range names {
		text = append(append(text, name...), '\n')
	}
	return DigestOf(text)
}

// Context is what else a decision may read.
type Context struct {
	Time        time.Time            // when the request arrived, by the gateway's clock
	Source      netip.Addr           // client address; through trusted proxies only; may be invalid (none)
	Method      string               // how the principal was identified, such as MethodToken; "" if unknown
	TokenIssued time.Time            // when the principal's token was made; zero if there is none
	Zones       map[string]LocalTime // Time in the time zones that the policies name; the engine fills it in
}

// The ways to be identified; append-only.
const MethodToken = "token" // by a bearer token

// Methods returns every way to be identified.
func Methods() []string { return []string{MethodToken} }

// Call is one question put to the engine.
type Call struct {
	Principal  Principal
	Capability Capability
	Path       Path
	Context    Context
}

// Reason is the class of a decision's reason.
type Reason string

// The reason classes; append-only. The zero Reason is no decision.
const (
	Granted           Reason = "granted"
	NoRule            Reason = "no_rule"
	ExplicitDeny      Reason = "explicit_deny"
	CapabilityMissing Reason = "capability_missing"
	ConditionFailed   Reason = "condition_failed"
	GuardrailDenied   Reason = "guardrail"
	TemplateValue     Reason = "template_value"
	EvaluationFailed  Reason = "evaluation_failed"
	TokenExpired      Reason = "token_expired"
	TokenRevoked      Reason = "token_revoked"
	Unauthenticated   Reason = "unauthenticated"
	InvalidPath       Reason = "invalid_path"
	Sealed            Reason = "sealed"
	Integrity         Reason = "integrity"
	Unavailable       Reason = "unavailable"
	RateLimited       Reason = "rate_limited"
	InvalidRequest    Reason = "invalid_request" // refused before it named a resource
)

// RuleRef names a rule exactly: the policy, the digest of its text and the line
// of the rule's block in it. The zero RuleRef is no rule.
type RuleRef struct {
	Policy string `json:"policy"`
	Digest Digest `json:"digest"`
	Line   int    `json:"line"`
}

// Decision is the answer to a Call. The zero Decision denies.
type Decision struct {
	Allow    bool
	Reason   Reason
	Rule     RuleRef  // the rule that settled it; zero for no_rule and for refusals before policy
	Set      Digest   // policy set the decision was made on
	Revision Revision // store revision of that set
	// Condition names the attributes of the rule's condition that did not hold, such as
	// "hours" or "days,source_cidrs": for condition_failed those of the grant, for guardrail
	// those of its unless block.
	Condition string
}

// Subject, Action, Resource and Context of an Input follow AuthZEN 1.0 (OpenID
// Authorization API), so that records, stock OPA and other faces share a shape.

// Input is the document a decision is a function of, as OPA sees it and as the
// trail keeps it.
type Input struct {
	Subject  InputSubject  `json:"subject"`
	Action   InputAction   `json:"action"`
	Resource InputResource `json:"resource"`
	Context  InputContext  `json:"context"`
}

// InputSubject is the principal of an Input.
type InputSubject struct {
	Type       PrincipalKind   `json:"type"`
	ID         string          `json:"id"`
	Properties InputProperties `json:"properties"`
}

// InputProperties are the attributes of the principal. Policies is left out in
// the trail, where the digest of the list stands for it.
type InputProperties struct {
	Token    string   `json:"token,omitempty"`
	Roles    []string `json:"roles,omitempty"`
	Policies []string `json:"policies,omitempty"`
	Job      string   `json:"job,omitempty"`
}

// InputAction is the capability of an Input, "secret:read".
type InputAction struct {
	Name string `json:"name"`
}

// InputResource is the resource of an Input.
type InputResource struct {
	Type Resource `json:"type"`
	ID   string   `json:"id"`
}

// InputContext is the circumstances of an Input. What is not known is left out.
type InputContext struct {
	Time       string               `json:"time"` // TimeLayout
	Source     string               `json:"source,omitempty"`
	AuthMethod string               `json:"auth_method,omitempty"`
	TokenAge   int64                `json:"token_age,omitempty"` // as Context.TokenAge
	Zones      map[string]LocalTime `json:"zones,omitempty"`     // by the name of the time zone
}

// Input returns the document for c.
func (c Call) Input() Input {
	in := Input{
		Subject: InputSubject{Type: c.Principal.Kind, ID: c.Principal.User, Properties: InputProperties{
			Token: c.Principal.Token, Roles: c.Principal.Roles, Policies: c.Principal.Policies, Job: c.Principal.Job,
		}},
		Action:   InputAction{Name: c.Capability.String()},
		Resource: InputResource{Type: c.Capability.Resource, ID: c.Path.String()},
		Context: InputContext{
			Time: FormatTime(c.Context.Time), AuthMethod: c.Context.Method, Zones: c.Context.Zones,
		},
	}
	if source := c.Context.Address(); source.IsValid() {
		in.Context.Source = source.String()
	}
	in.Context.TokenAge, _ = c.Context.TokenAge()
	return in
}
