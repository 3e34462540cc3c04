package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

func (a *app) newPolicyCommand() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Write, check and apply policies"}
	c.AddCommand(
		a.newPolicyApply(), a.newPolicyList(), a.newPolicyGet(), a.newPolicyHistory(), a.newPolicyDelete(),
		a.newPolicyAttach(), a.newPolicyDetach(), a.newPolicyCheck(), a.newPolicyFmt(), a.newPolicyCompile(), a.newPolicyTest(),
		a.newPolicyExplain(), a.newPolicyImport(),
	)
	return c
}

// policyView is how a policy is listed.
var policyView = view[*heroctlv1.Policy]{
	columns: []string{"NAME", "VERSION", "RULES", "UPDATED", "UPDATED BY", "DIGEST", "BUILT IN", "DESCRIPTION"},
	row: func(p *heroctlv1.Policy) []string {
		digest := p.GetDigest()
		return []string{
			p.GetName(), number(p.GetVersion()), number(p.GetRules()), when(p.GetUpdated()), p.GetUpdatedBy(),
			digest[:min(12, len(digest))], yesNo(p.GetBuiltIn()), p.GetDescription(),
		}
	},
	name: (*heroctlv1.Policy).GetName,
}

// revisionView is how an entry of a policy's history is listed.
var revisionView = view[*heroctlv1.PolicyRevision]{
	columns: []string{"VERSION", "CREATED", "AUTHOR", "DIGEST", "DECISION"},
	row: func(r *heroctlv1.PolicyRevision) []string {
		digest := r.GetDigest()
		if digest = digest[:min(12, len(digest))]; r.GetDeleted() {
			digest = "deleted"
		}
		return []string{number(r.GetVersion()), when(r.GetCreated()), r.GetAuthor(), digest, r.GetDecisionId()}
	},
	name: func(r *heroctlv1.PolicyRevision) string { return number(r.GetVersion()) },
}

// checkedName parses the name of a policy, user or role before anything is sent.
func checkedName(noun, text string) (subject string, err error) {
	n, err := schema.ParseName(text)
	if err != nil {
		return "", about(noun+" name", err)
	}
	return fmt.Sprintf("%s %q", noun, n), nil
}

func (a *app) newPolicyList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the policies your token may list", Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with("list policies", func(cl *client.Client) error {
				var all []*heroctlv1.Policy
				err := eachPage(func(token string) (string, error) {
					page, err := cl.Policies().ListPolicies(c.Context(), &heroctlv1.ListPoliciesRequest{PageSize: 1000, PageToken: token})
					all = append(all, page.GetPolicies()...)
					return page.GetNextPageToken(), err
				})
				if err != nil {
					return err
				}
				return printList(a, policyView, all)
			})
		},
	}
}

func (a *app) newPolicyGet() *cobra.Command {
	var wanted uint32
	c := &cobra.Command{Use: "get NAME", Short: "Write a policy's text to stdout", Args: takes("NAME")}
	c.Flags().Uint32Var(&wanted, "version", 0, "the `VERSION`; the one in force if not given")
	c.RunE = func(c *cobra.Command, args []string) error {
		subject, err := checkedName("policy", args[0])
		if err != nil {
			return err
		}
		return a.with(subject, func(cl *client.Client) error {
			p, err := cl.Policies().GetPolicy(c.Context(), &heroctlv1.GetPolicyRequest{Name: args[0], Version: wanted})
			if err != nil {
				return err
			}
			if format, _ := a.format(); format != formatTable {
				return printOne(a, policyView, p)
			}
			return a.printText(p.GetText())
		})
	}
	return c
}

func (a *app) newPolicyHistory() *cobra.Command {
	return &cobra.Command{
		Use: "history NAME", Short: "List a policy's revisions, newest first", Args: takes("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			subject, err := checkedName("policy", args[0])
			if err != nil {
				return err
			}
			return a.with(subject, func(cl *client.Client) error {
				h, err := cl.Policies().ListPolicyRevisions(c.Context(), &heroctlv1.ListPolicyRevisionsRequest{Name: args[0]})
				if err != nil {
					return err
				}
				return printList(a, revisionView, h.GetRevisions())
			})
		},
	}
}

func (a *app) newPolicyDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{Use: "delete NAME", Short: "Take a policy out of force; its revisions stay", Args: takes("NAME")}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.RunE = func(c *cobra.Command, args []string) error {
		subject, err := checkedName("policy", args[0])
		if err != nil {
			return err
		}
		if err := a.confirm(c.Context(), yes, "delete %s", subject); err != nil {
			return err
		}
		return a.with(subject, func(cl *client.Client) error {
			if _, err := cl.Policies().DeletePolicy(c.Context(), &heroctlv1.DeletePolicyRequest{Name: args[0]}); err != nil {
				return err
			}
			return printDone(a, policyView, &heroctlv1.Policy{Name: args[0]}, "%s deleted", subject)
		})
	}
	return c
}

// target are the flags that say what a policy is attached to.
type target struct{ role, token string }

func (t *target) register(c *cobra.Command) {
	c.Flags().StringVar(&t.role, "role", "", "the role's `NAME`")
	c.Flags().StringVar(&t.token, "token", "", "the token, as `USER/ACCESSOR`")
}

// parse returns the target and how it is called.
func (t *target) parse() (*heroctlv1.AttachTarget, string, error) {
	switch {
	case (t.role == "") == (t.token == ""):
		return nil, "", usageError("one of --role and --token must be given")
	case t.role != "":
		subject, err := checkedName("role", t.role)
		return &heroctlv1.AttachTarget{Role: t.role}, subject, err
	}
	subject, err := checkedToken(t.token)
	return &heroctlv1.AttachTarget{Token: t.token}, subject, err
}

func (a *app) newPolicyAttach() *cobra.Command {
	var to target
	c := &cobra.Command{
		Use: "attach NAME (--role ROLE | --token USER/ACCESSOR)", Short: "Attach a policy to a role or a token", Args: takes("NAME"),
		Example: "  heroctl policy attach deploy-prod-secrets --role deployer",
	}
	to.register(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		subject, err := checkedName("policy", args[0])
		if err != nil {
			return err
		}
		where, called, err := to.parse()
		if err != nil {
			return err
		}
		return a.with(subject, func(cl *client.Client) error {
			if _, err := cl.Policies().AttachPolicy(c.Context(), &heroctlv1.AttachPolicyRequest{Name: args[0], Target: where}); err != nil {
				return err
			}
			return printDone(a, policyView, &heroctlv1.Policy{Name: args[0]}, "%s attached to %s", subject, called)
		})
	}
	return c
}

func (a *app) newPolicyDetach() *cobra.Command {
	var from target
	c := &cobra.Command{
		Use: "detach NAME (--role ROLE | --token USER/ACCESSOR)", Short: "Take a policy off a role or a token", Args: takes("NAME"),
	}
	from.register(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		subject, err := checkedName("policy", args[0])
		if err != nil {
			return err
		}
		where, called, err := from.parse()
		if err != nil {
			return err
		}
		return a.with(subject, func(cl *client.Client) error {
			if _, err := cl.Policies().DetachPolicy(c.Context(), &heroctlv1.DetachPolicyRequest{Name: args[0], Target: where}); err != nil {
				return err
			}
			return printDone(a, policyView, &heroctlv1.Policy{Name: args[0]}, "%s detached from %s", subject, called)
		})
	}
	return c
}
