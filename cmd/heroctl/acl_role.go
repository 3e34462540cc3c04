package main

import (
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/heroctl/heroctl/gateway/client"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

var roleView = view[*heroctlv1.Role]{
	columns: []string{"NAME", "POLICIES", "BUILT IN", "CREATED", "AUTHOR", "UPDATED", "DESCRIPTION"},
	row: func(r *heroctlv1.Role) []string {
		return []string{
			r.GetName(), strings.Join(r.GetPolicies(), ", "), yesNo(r.GetBuiltIn()), when(r.GetCreated()), r.GetAuthor(),
			when(r.GetUpdated()), r.GetDescription(),
		}
	},
	name: (*heroctlv1.Role).GetName,
}

func (a *app) newRoleCreate() *cobra.Command {
	var description string
	var policies []string
	c := &cobra.Command{
		Use: "create NAME", Short: "Create a role", Args: takes("NAME"),
		Long:    `Create a role. You must hold each policy it names, or have policy:bind on it.`,
		Example: "  heroctl acl role create pipeline --policy deploy-prod-secrets",
	}
	c.Flags().StringVar(&description, "description", "", "`TEXT` about the role")
	c.Flags().StringSliceVar(&policies, "policy", nil, "a policy's `NAME`; may be repeated")
	c.RunE = func(c *cobra.Command, args []string) error {
		subject, err := checkedName("role", args[0])
		if err != nil {
			return err
		}
		return a.with(subject, func(cl *client.Client) error {
			r, err := cl.Access().CreateRole(c.Context(), &heroctlv1.CreateRoleRequest{
				Name: args[0], Role: &heroctlv1.NewRole{Description: description, Policies: policies},
			})
			if err != nil {
				return err
			}
			return printDone(a, roleView, r, "%s created", subject)
		})
	}
	return c
}

func (a *app) newRoleList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the roles your token may list", Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with("list roles", func(cl *client.Client) error {
				var all []*heroctlv1.Role
				err := eachPage(func(token string) (string, error) {
					page, err := cl.Access().ListRoles(c.Context(), &heroctlv1.ListRolesRequest{PageSize: 1000, PageToken: token})
					all = append(all, page.GetRoles()...)
					return page.GetNextPageToken(), err
				})
				if err != nil {
					return err
				}
				return printList(a, roleView, all)
			})
		},
	}
}

func (a *app) newRoleDescribe() *cobra.Command {
	return &cobra.Command{
		Use: "describe NAME", Short: "Show a role", Args: takes("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			subject, err := checkedName("role", args[0])
			if err != nil {
				return err
			}
			return a.with(subject, func(cl *client.Client) error {
				r, err := cl.Access().DescribeRole(c.Context(), &heroctlv1.DescribeRoleRequest{Name: args[0]})
				if err != nil {
					return err
				}
				return printOne(a, roleView, r)
			})
		},
	}
}

func (a *app) newRoleUpdate() *cobra.Command {
	var description string
	c := &cobra.Command{
		Use: "update NAME --description TEXT", Short: "Change what is said about a role", Args: takes("NAME"),
		Long: `Change what is said about a role. Its policies change with "heroctl policy attach" and
"heroctl policy detach".`,
	}
	c.Flags().StringVar(&description, "description", "", "`TEXT` about the role")
	c.RunE = func(c *cobra.Command, args []string) error {
		subject, err := checkedName("role", args[0])
		if err != nil {
			return err
		}
		if !c.Flags().Changed("description") {
			return usageError("nothing to change", "--description TEXT", "heroctl policy attach and detach change its policies")
		}
		return a.with(subject, func(cl *client.Client) error {
			r, err := cl.Access().UpdateRole(c.Context(), &heroctlv1.UpdateRoleRequest{
				Name: args[0], Change: &heroctlv1.RoleChange{Description: proto.String(description)},
			})
			if err != nil {
				return err
			}
			return printDone(a, roleView, r, "%s updated", subject)
		})
	}
	return c
}

func (a *app) newRoleDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{Use: "delete NAME", Short: "Delete a role; tokens that carry it lose it", Args: takes("NAME")}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.RunE = func(c *cobra.Command, args []string) error {
		subject, err := checkedName("role", args[0])
		if err != nil {
			return err
		}
		if err := a.confirm(c.Context(), yes, "delete %s", subject); err != nil {
			return err
		}
		return a.with(subject, func(cl *client.Client) error {
			if _, err := cl.Access().DeleteRole(c.Context(), &heroctlv1.DeleteRoleRequest{Name: args[0]}); err != nil {
				return err
			}
			return printDone(a, roleView, &heroctlv1.Role{Name: args[0]}, "%s deleted", subject)
		})
	}
	return c
}
