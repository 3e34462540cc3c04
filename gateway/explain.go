package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/engine"
	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/storage"
)

// ExplainAccess answers "what if": how the set in force would decide somebody's
// request.
func (s *policiesServer) ExplainAccess(ctx context.Context, req *v1.ExplainAccessRequest) (*v1.AccessExplanation, error) {
	c := s.g.call(v1.Policies_ExplainAccess_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.AccessExplanation, error) {
		question, err := s.question(ctx, a, req)
		if err != nil {
			return nil, err
		}
		x := s.g.engine.Explain(ctx, question)
		return Weighed(question, x), nil
	})
}

// question makes the call that the request asks about.
func (s *policiesServer) question(ctx context.Context, a *act, req *v1.ExplainAccessRequest) (schema.Call, error) {
	capability, err := schema.ParseCapability(req.GetCapability())
	if err != nil {
		return schema.Call{}, err
	}
	who, err := s.as(ctx, a, req)
	if err != nil {
		return schema.Call{}, err
	}
	if req.GetJob() != "" {
		job, err := schema.ParseName(req.GetJob())
		if err != nil {
			return schema.Call{}, err
		}
		who.Job = job.String()
	}
	c := schema.Call{Principal: who, Capability: capability, Path: a.entry.Call.Path}
	c.Context = schema.Context{Time: a.entry.Call.Context.Time, Method: schema.MethodToken, TokenIssued: who.Issued}
	if req.GetAt() != nil {
		c.Context.Time = req.GetAt().AsTime()
	}
	if req.GetFrom() != "" {
		if c.Context.Source, err = netip.ParseAddr(req.GetFrom()); err != nil {
			return schema.Call{}, fault.New(fault.InvalidArgument, "from is an address such as 10.20.0.7")
		}
	}
	return c, nil
}

// as returns the principal that the request asks about.
func (s *policiesServer) as(ctx context.Context, a *act, req *v1.ExplainAccessRequest) (schema.Principal, error) {
	named := req.GetUser() != "" || req.GetToken() != ""
	listed := len(req.GetRoles())+len(req.GetPolicies()) > 0
	switch {
	case named == listed || req.GetUser() != "" && req.GetToken() != "":
		return schema.Principal{}, fault.New(fault.InvalidArgument, "say who asks: a user, a token, or roles and policies")
	case listed:
		return s.somebody(ctx, a, req)
	case req.GetUser() != "":
		user, err := schema.ParseName(req.GetUser())
		if err != nil {
			return schema.Principal{}, err
		}
		return s.g.store.Identities.Standing(ctx, a.permit, user, "")
	}
	path, err := schema.ParsePath(req.GetToken())
	if err != nil {
		return schema.Principal{}, err
	}
	user, accessor, err := storage.TokenPath(path)
	if err != nil {
		return schema.Principal{}, err
	}
	return s.g.store.Identities.Standing(ctx, a.permit, user, accessor)
}

// somebody is a principal that nobody is: with the given roles and policies.
func (s *policiesServer) somebody(ctx context.Context, a *act, req *v1.ExplainAccessRequest) (schema.Principal, error) {
	who := schema.Principal{Kind: schema.KindUser, User: "somebody"}
	roles, err := parseNames(req.GetRoles())
	if err != nil {
		return who, err
	}
	attached, err := parseNames(req.GetPolicies())
	if err != nil {
		return who, err
	}
	for _, role := range roles {
		held, err := s.g.store.Identities.RolePolicies(ctx, a.permit, role)
		if err != nil {
			return who, err
		}
		who.Roles, attached = append(who.Roles, role.String()), append(attached, held...)
	}
	set, _ := s.g.engine.Set()
	for _, name := range attached {
		if set.Get(name) == nil {
			return who, fault.New(fault.NotFound, "there is no policy of a name to explain with")
		}
		who.Policies = append(who.Policies, name.String())
	}
	slices.Sort(who.Roles)
	slices.Sort(who.Policies)
	who.Policies = slices.Compact(who.Policies)
	return who, nil
}

// weigh explains a recorded decision on the policy set that was in force then. It
// returns nil for calls that no rule of their own decides.
func (s *auditServer) weigh(ctx context.Context, a *act, row audit.Row) (*v1.AccessExplanation, error) {
	switch row.Record.Result.Reason {
	case schema.Granted, schema.NoRule, schema.ExplicitDeny, schema.CapabilityMissing, schema.ConditionFailed, schema.GuardrailDenied, schema.TemplateValue:
	default:
		return nil, nil
	}
	if row.Input.Subject.Type != schema.KindUser || row.Path().IsZero() || row.Input.Action.Name == "" {
		return nil, nil
	}
	entry, err := s.g.reopen(ctx, row.Record)
	if err != nil {
		return nil, err
	}
	set, err := s.setAt(ctx, a, row.Record.Result.Set)
	if err != nil {
		return nil, err
	}
	then := engine.New(engine.Config{})
	if err := then.Activate(ctx, set, row.Record.Result.Revision); err != nil {
		return nil, fmt.Errorf("weigh decision: %w", err)
	}
	x := then.Explain(ctx, entry.Call)
	// Lists, one's own token and calls that needed more than one right are not
	// settled by this ladder alone.
	if x.Decision.Allow != row.Record.Result.Allow || x.Decision.Reason != row.Record.Result.Reason || x.Decision.Rule != row.Record.Result.Rule {
		return nil, nil
	}
	return Weighed(entry.Call, x), nil
}

// setAt returns the policy set of a digest: the one in force, or a past one.
func (s *auditServer) setAt(ctx context.Context, a *act, digest schema.Digest) (*policies.Set, error) {
	now, _ := s.g.engine.Set()
	if now.Digest() == digest {
		return now, nil
	}
	m, err := s.g.store.Policies.ManifestAt(ctx, a.permit, digest)
	if err != nil {
		return nil, fmt.Errorf("policy set of the decision: %w", err)
	}
	var all []*policies.Policy
	for _, e := range m.Entries {
		if p := now.Get(e.Name); p != nil && p.Digest == e.Digest {
			all = append(all, p)
			continue
		}
		text, err := s.g.store.Policies.Text(ctx, a.permit, e.Digest)
		if err != nil {
			return nil, fmt.Errorf("policy of the decision: %w", err)
		}
		p, err := parseStored(e.Name, text)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return policies.NewSet(all), nil
}

// Weighed puts an explanation of a call into the form of the API.
func Weighed(c schema.Call, x engine.Explanation) *v1.AccessExplanation {
	out := &v1.AccessExplanation{
		Decision: allowWord(x.Decision.Allow), Reason: string(x.Decision.Reason),
		Sentence: sentenceOf(c.Principal.User, c.Capability.String(), c.Path.String(), x.Decision),
		Policies: c.Principal.Policies, SetDigest: x.Decision.Set.String(),
	}
	for _, r := range x.Ladder {
		out.Ladder = append(out.Ladder, rungToWire(r))
	}
	for _, r := range x.Guardrails {
		out.Guardrails = append(out.Guardrails, rungToWire(r))
	}
	if x.Nearest.Rule.Policy != "" {
		out.Nearest = rungToWire(x.Nearest)
	}
	return out
}

func rungToWire(r engine.Rung) *v1.Rung {
	return &v1.Rung{
		Policy: r.Rule.Policy, Digest: r.Rule.Digest.String(), Line: uint32(r.Rule.Line), Pattern: r.Pattern.String(),
		Says: string(r.Says), Unmet: r.Unmet, Beaten: r.Beaten,
	}
}
