package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/gateway/client"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"

	"github.com/heroctl/heroctl/policies"
)

// appliedView is how the result of apply is listed.
var appliedView = view[*heroctlv1.AppliedPolicy]{
	columns: []string{"NAME", "ACTION", "VERSION", "DIGEST"},
	row: func(p *heroctlv1.AppliedPolicy) []string {
		digest := p.GetDigest()
		return []string{p.GetName(), p.GetAction(), number(p.GetVersion()), digest[:min(12, len(digest))]}
	},
	name: (*heroctlv1.AppliedPolicy).GetName,
}

func (a *app) newPolicyApply() *cobra.Command {
	return &cobra.Command{
		Use: "apply FILE|DIR…", Short: "Put policies in force, all or none", Args: takes("FILE|DIR…"),
		Long: `Put the policies of files, of the .hcl files below directories, or of stdin ("-") in force:
all of them or, if anything is wrong with one, none.`,
		Example: "  heroctl policy apply examples/policies\n  heroctl policy apply - < deploy.hcl",
		RunE: func(c *cobra.Command, args []string) error {
			files, err := a.readPolicyFiles(c.Context(), args)
			if err != nil {
				return err
			}
			request := &heroctlv1.ApplyPoliciesRequest{}
			for _, f := range files {
				request.Files = append(request.Files, &heroctlv1.PolicyFile{Name: f.name, Text: string(f.text)})
			}
			return a.with("apply policies", func(cl *client.Client) error {
				answer, err := cl.Policies().ApplyPolicies(c.Context(), request)
				if found := diagnosticsOf(err); len(found) > 0 {
					a.renderDiagnostics(found, files)
					return refused(found)
				}
				if err != nil {
					return err
				}
				return printList(a, appliedView, answer.GetPolicies())
			})
		},
	}
}

// diagnosticsOf returns what the server found wrong with policy texts.
func diagnosticsOf(err error) policies.Diagnostics {
	var e *client.Error
	if !errors.As(err, &e) {
		return nil
	}
	var all policies.Diagnostics
	for _, d := range e.Problem.GetDiagnostics() {
		all = append(all, policies.Diagnostic{
			Span: policies.Span{
				File: d.GetFile(), Line: int(d.GetLine()), Column: int(d.GetColumn()),
				EndLine: int(d.GetEndLine()), EndColumn: int(d.GetEndColumn()),
			},
			Severity: policies.Severity(d.GetSeverity()), Summary: clean(d.GetSummary()), Detail: clean(d.GetDetail()),
		})
	}
	return all
}
