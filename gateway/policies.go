package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/storage"
)

// policiesServer is the Policies service.
type policiesServer struct {
	v1.UnsafePoliciesServer
	g *Gateway
}

// maxFileName bounds the names of policy files, which come back in diagnostics.
const maxFileName = 256

// ApplyPolicies changes the set in force: parse, check in the engine, commit,
// activate. What names the policies is their text, so it is parsed before the
// call can be decided; a caller without a token does not get that far.
func (s *policiesServer) ApplyPolicies(ctx context.Context, req *v1.ApplyPoliciesRequest) (*v1.ApplyPoliciesResponse, error) {
	c := s.g.call(v1.Policies_ApplyPolicies_FullMethodName, req)
	if err := s.g.refuseStranger(ctx, c.need); err != nil {
		return nil, err
	}
	parsed, err := parseFiles(req.GetFiles())
	if err != nil {
		return nil, s.g.turnAway(ctx, c.need, schema.InvalidRequest, err)
	}
	seen, err := s.g.store.Policies.Current(ctx)
	if err != nil {
		return nil, s.g.turnAway(ctx, c.need, schema.Unavailable, err)
	}
	s.locate(&c, parsed, seen)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.ApplyPoliciesResponse, error) {
		s.g.applying.Lock()
		defer s.g.applying.Unlock()
		a.count = len(parsed)
		before, err := s.g.store.Policies.Current(ctx)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(parsed, func(p *policies.Policy) bool { return exists(seen, p.Name) != exists(before, p.Name) }) {
			return nil, fault.New(fault.Conflict, "a policy of the request was created or deleted meanwhile; try again")
		}
		after, err := s.apply(ctx, a, parsed)
		if err != nil {
			return nil, err
		}
		return applied(parsed, before, after), nil
	})
}

func exists(m storage.PolicyManifest, name schema.Name) bool {
	_, ok := m.Get(name)
	return ok
}

// locate makes the call one about each policy or guardrail: create where there is
// none of the name, update otherwise.
func (s *policiesServer) locate(c *call, parsed []*policies.Policy, now storage.PolicyManifest) {
	for i, p := range parsed {
		t := target{cap: c.need.cap, path: p.Name.Path()}
		if !exists(now, p.Name) {
			t.cap = c.need.absent
		}
		t.cap.Resource = resourceOf(p)
		if i == 0 {
			c.cap, c.path = t.cap, t.path.String()
		} else {
			c.also = append(c.also, t)
		}
	}
}

// resourceOf returns what kind of resource a policy is; nil is one that there is not.
func resourceOf(p *policies.Policy) schema.Resource {
	if p != nil && p.Kind == policies.KindGuardrail {
		return schema.Guardrail
	}
	return schema.Policy
}

// about makes a call on the policy of a name one on the guardrail, if that is what the
// name stands for in the set in force.
func (s *policiesServer) about(c *call) {
	if set, _ := s.g.engine.Set(); set != nil {
		c.cap.Resource = resourceOf(set.Find(c.path))
	}
}

func (s *policiesServer) apply(ctx context.Context, a *act, parsed []*policies.Policy) (storage.PolicyManifest, error) {
	var changes []storage.PolicyChange
	for _, p := range parsed {
		if isBuiltin(p.Name) {
			return storage.PolicyManifest{}, fault.New(fault.Conflict, "a policy of the request has the name of one that comes with the server; apply it under a name of its own")
		}
		changes = append(changes, storage.PolicyChange{Name: p.Name, Text: p.Text, Guardrail: p.Kind == policies.KindGuardrail})
	}
	if err := s.fits(parsed); err != nil {
		return storage.PolicyManifest{}, err
	}
	if err := s.g.engine.Check(ctx, parsed); err != nil {
		return storage.PolicyManifest{}, err
	}
	after, err := s.g.store.Policies.Apply(ctx, a.all(), changes)
	if err != nil {
		return storage.PolicyManifest{}, err
	}
	set, _ := s.g.engine.Set()
	return after, s.g.activate(ctx, set.With(parsed, nil), after)
}

// fits refuses policies that would make a bad set, each good by itself.
func (s *policiesServer) fits(parsed []*policies.Policy) error {
	set, _ := s.g.engine.Set()
	for _, p := range parsed {
		if old := set.Get(p.Name); old != nil && old.Kind != p.Kind {
			return fault.New(fault.Conflict, "policies and guardrails share their names, and one of the request is taken by the other kind; choose another name, or delete that one first")
		}
	}
	if len(set.With(parsed, nil).Locked()) > 0 {
		return fault.New(fault.FailedCheck, "nobody could change the guardrails of the request any more, because each is locked by another; leave one of them open to update or delete")
	}
	return nil
}

// activate puts a set in force that the store holds already. If that fails, the
// set is read from the store afresh; until it is in force the old one decides.
func (g *Gateway) activate(ctx context.Context, set *policies.Set, m storage.PolicyManifest) error {
	ctx = context.WithoutCancel(ctx)
	if set.Digest() == m.Set {
		if err := g.engine.Activate(ctx, set, m.Revision); err == nil {
			return nil
		}
	}
	return g.LoadPolicies(ctx)
}

// LoadPolicies puts the policies of the store in force.
func (g *Gateway) LoadPolicies(ctx context.Context) error {
	m, texts, err := g.store.Policies.LoadAll(ctx)
	if err != nil {
		return fmt.Errorf("load policies: %w", err)
	}
	var all []*policies.Policy
	for _, e := range m.Entries {
		p, err := parseStored(e.Name, texts[e.Name])
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	set := policies.NewSet(all)
	if set.Digest() != m.Set {
		return fault.New(fault.Integrity, "the stored policies do not have the digest of their set")
	}
	return g.engine.Activate(ctx, set, m.Revision)
}

// parseStored parses the text of one policy as the store keeps it. It parsed when
// it was applied: if it does not now, the store is damaged.
func parseStored(name schema.Name, text []byte) (*policies.Policy, error) {
	parsed, diagnostics := policies.Parse(name.String(), text)
	if diagnostics.HasErrors() || len(parsed) != 1 || parsed[0].Name != name {
		return nil, fault.Wrap(fault.Integrity, "a stored policy does not parse", diagnostics.Err())
	}
	return parsed[0], nil
}

// parseFiles parses every file of an apply, and reports the problems of all of
// them at once.
func parseFiles(files []*v1.PolicyFile) ([]*policies.Policy, error) {
	var all []*policies.Policy
	var problems policies.Diagnostics
	for _, f := range files {
		if f.GetName() == "" || len(f.GetName()) > maxFileName {
			return nil, fault.New(fault.InvalidArgument, "each policy file needs a name of at most 256 bytes, for messages")
		}
		parsed, diagnostics := policies.Parse(f.GetName(), []byte(f.GetText()))
		all, problems = append(all, parsed...), append(problems, diagnostics...)
	}
	if problems.HasErrors() {
		return nil, problems
	}
	if len(all) == 0 {
		return nil, fault.New(fault.InvalidArgument, `there is no policy to apply; write policy "name" { … } blocks`)
	}
	if len(all) > storage.MaxDecisions {
		return nil, fault.Newf(fault.InvalidArgument, "at most %d policies can be applied at once", storage.MaxDecisions)
	}
	slices.SortStableFunc(all, func(a, b *policies.Policy) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	for i := 1; i < len(all); i++ {
		if all[i].Name.Fold() == all[i-1].Name.Fold() {
			return nil, fault.New(fault.InvalidArgument, "two policies of the request have the same name")
		}
	}
	return all, nil
}

func applied(parsed []*policies.Policy, before, after storage.PolicyManifest) *v1.ApplyPoliciesResponse {
	out := &v1.ApplyPoliciesResponse{SetDigest: after.Set.String()}
	for _, p := range parsed {
		old, existed := before.Get(p.Name)
		now, _ := after.Get(p.Name)
		action := "updated"
		switch {
		case !existed:
			action = "created"
		case old.Version == now.Version:
			action = "unchanged"
		}
		out.Policies = append(out.Policies, &v1.AppliedPolicy{Name: p.Name.String(), Action: action, Version: uint32(now.Version), Digest: now.Digest.String()})
	}
	return out
}

func (s *policiesServer) ListPolicies(ctx context.Context, req *v1.ListPoliciesRequest) (*v1.ListPoliciesResponse, error) {
	c := s.g.call(v1.Policies_ListPolicies_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.ListPoliciesResponse, error) {
		limit, after, err := s.g.namePage(a, req, req.GetPageSize(), req.GetPageToken())
		if err != nil {
			return nil, err
		}
		page, err := s.g.store.Policies.List(ctx, a.permit, storage.PolicyQuery{After: after, Limit: limit})
		if err != nil {
			return nil, err
		}
		set, _ := s.g.engine.Set()
		out := &v1.ListPoliciesResponse{SetDigest: page.Set.String()}
		for _, item := range page.Items {
			p := &v1.Policy{Name: item.Name.String()}
			if item.Entry != nil {
				p = policyToWire(*item.Entry, set.Get(item.Name))
			}
			out.Policies = append(out.Policies, p)
		}
		if page.More {
			out.NextPageToken = s.g.pageToken(a, req, page.Items[len(page.Items)-1].Name.String())
		}
		a.count = len(page.Items)
		return out, nil
	})
}

func (s *policiesServer) GetPolicy(ctx context.Context, req *v1.GetPolicyRequest) (*v1.Policy, error) {
	c := s.g.call(v1.Policies_GetPolicy_FullMethodName, req)
	s.about(&c)
	c.version = schema.Version(req.GetVersion())
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.Policy, error) {
		entry, text, err := s.g.store.Policies.Describe(ctx, a.permit, c.version)
		if err != nil {
			return nil, err
		}
		p, err := parseStored(entry.Name, text)
		if err != nil {
			return nil, err
		}
		a.version = entry.Version
		out := policyToWire(entry, p)
		out.Text = string(text)
		return out, nil
	})
}

func (s *policiesServer) ListPolicyRevisions(ctx context.Context, req *v1.ListPolicyRevisionsRequest) (*v1.ListPolicyRevisionsResponse, error) {
	c := s.g.call(v1.Policies_ListPolicyRevisions_FullMethodName, req)
	s.about(&c)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.ListPolicyRevisionsResponse, error) {
		history, err := s.g.store.Policies.History(ctx, a.permit)
		if err != nil {
			return nil, err
		}
		out := &v1.ListPolicyRevisionsResponse{}
		for _, e := range history {
			out.Revisions = append(out.Revisions, &v1.PolicyRevision{
				Version: uint32(e.Version), Digest: e.Digest.String(), Created: timeToWire(e.Changed), Author: e.Author,
				DecisionId: string(e.Decision), Deleted: e.Deleted,
			})
		}
		a.count = len(history)
		return out, nil
	})
}

func (s *policiesServer) DeletePolicy(ctx context.Context, req *v1.DeletePolicyRequest) (*v1.DeletePolicyResponse, error) {
	c := s.g.call(v1.Policies_DeletePolicy_FullMethodName, req)
	s.about(&c)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.DeletePolicyResponse, error) {
		s.g.applying.Lock()
		defer s.g.applying.Unlock()
		name, err := schema.ParseName(req.GetName())
		if err != nil {
			return nil, err
		}
		if isBuiltin(name) {
			return nil, fault.New(fault.Conflict, "the policy comes with the server and cannot be deleted")
		}
		after, err := s.g.store.Policies.Apply(ctx, a.all(), []storage.PolicyChange{{Name: name, Delete: true, Guardrail: c.cap.Resource == schema.Guardrail}})
		if err != nil {
			return nil, err
		}
		set, _ := s.g.engine.Set()
		return &v1.DeletePolicyResponse{}, s.g.activate(ctx, set.With(nil, []schema.Name{name}), after)
	})
}

func isBuiltin(name schema.Name) bool {
	return slices.ContainsFunc(policies.Builtin(), func(p *policies.Policy) bool { return p.Name.Fold() == name.Fold() })
}

// policyToWire describes a revision; p is its parsed text, or nil.
func policyToWire(e storage.PolicyEntry, p *policies.Policy) *v1.Policy {
	out := &v1.Policy{
		Name: e.Name.String(), Version: uint32(e.Version), Digest: e.Digest.String(),
		Updated: timeToWire(e.Changed), UpdatedBy: e.Author, BuiltIn: e.Builtin,
	}
	if p != nil {
		out.Description, out.Rules = p.Description, uint32(len(p.Rules))
	}
	return out
}

func diagnosticsToWire(all policies.Diagnostics) []*v1.Diagnostic {
	var out []*v1.Diagnostic
	for _, d := range all {
		out = append(out, &v1.Diagnostic{
			Severity: string(d.Severity), Summary: d.Summary, Detail: d.Detail, File: d.File,
			Line: int32(d.Line), Column: int32(d.Column), EndLine: int32(d.EndLine), EndColumn: int32(d.EndColumn),
		})
	}
	return out
}
