package main

import (
	"context"
	"slices"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// lint lints the policies of the files; with --online beside the policies in force,
// whose texts it adds to the files.
func (a *app) lint(ctx context.Context, o checkOptions, parsed []*policies.Policy, files *[]policyFile) (policies.Findings, error) {
	if !o.online {
		return policies.Lint(parsed, policies.LintOptions{}), nil
	}
	var findings policies.Findings
	err := a.with("check online", func(cl *client.Client) error {
		inForce, err := policiesInForce(ctx, cl, files)
		if err != nil {
			return err
		}
		options, err := lintFacts(ctx, cl)
		if err != nil {
			return err
		}
		findings = policies.Lint(policies.NewSet(inForce).With(parsed, nil).All(), options)
		return nil
	})
	if err != nil || len(parsed) == 0 {
		return findings, err
	}
	return slices.DeleteFunc(findings, func(f policies.Finding) bool {
		return f.File != "" && !slices.ContainsFunc(parsed, func(p *policies.Policy) bool { return p.Span.File == f.File })
	}), nil
}

// policiesInForce reads the policies of the server that the token may describe.
func policiesInForce(ctx context.Context, cl *client.Client, files *[]policyFile) ([]*policies.Policy, error) {
	var list []*policies.Policy
	err := eachPage(func(token string) (string, error) {
		page, err := cl.Policies().ListPolicies(ctx, &heroctlv1.ListPoliciesRequest{PageSize: 1000, PageToken: token})
		if err != nil {
			return "", err
		}
		for _, p := range page.GetPolicies() {
			one, err := cl.Policies().GetPolicy(ctx, &heroctlv1.GetPolicyRequest{Name: p.GetName()})
			if err != nil {
				return "", err
			}
			name := "server:" + p.GetName()
			parsed, _ := policies.Parse(name, []byte(one.GetText())) // the server has parsed it
			list = append(list, parsed...)
			*files = append(*files, policyFile{name, []byte(one.GetText())})
		}
		return page.GetNextPageToken(), nil
	})
	return list, err
}

// lintFacts asks the server what lint can use.
func lintFacts(ctx context.Context, cl *client.Client) (policies.LintOptions, error) {
	o := policies.LintOptions{Existing: map[schema.Resource][]schema.Path{}, Attached: map[string]bool{}}
	err := eachPage(func(token string) (string, error) {
		page, err := cl.Secrets().ListSecrets(ctx, &heroctlv1.ListSecretsRequest{PageSize: 1000, PageToken: token})
		for _, s := range page.GetSecrets() {
			if path, err := schema.ParsePath(s.GetPath()); err == nil {
				o.Existing[schema.Secret] = append(o.Existing[schema.Secret], path)
			}
		}
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return o, err
	}
	held := map[string]bool{}
	err = eachPage(func(token string) (string, error) {
		page, err := cl.Access().ListTokens(ctx, &heroctlv1.ListTokensRequest{PageSize: 1000, PageToken: token})
		for _, t := range page.GetTokens() {
			for _, role := range t.GetRoles() {
				held[role] = true
			}
			for _, policy := range t.GetPolicies() {
				o.Attached[policy] = true
			}
		}
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return o, err
	}
	err = eachPage(func(token string) (string, error) {
		page, err := cl.Access().ListRoles(ctx, &heroctlv1.ListRolesRequest{PageSize: 1000, PageToken: token})
		for _, r := range page.GetRoles() {
			for _, policy := range r.GetPolicies() {
				o.Attached[policy] = true
			}
			if !r.GetBuiltIn() {
				o.Roles = append(o.Roles, policies.LintRole{Name: r.GetName(), Policies: r.GetPolicies(), Held: held[r.GetName()]})
			}
		}
		return page.GetNextPageToken(), err
	})
	return o, err
}
