package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/gateway/client"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

func (a *app) newACLCommand() *cobra.Command {
	c := &cobra.Command{Use: "acl", Short: "Keep users, roles and tokens"}
	user := &cobra.Command{Use: "user", Short: "Keep users"}
	user.AddCommand(
		a.newUserCreate(), a.newUserList(), a.newUserDescribe(), a.newUserUpdate(),
		a.newUserSwitch("enable", "Let a user's tokens work again", false),
		a.newUserSwitch("disable", "Stop all of a user's tokens at once", true), a.newUserDelete(),
	)
	role := &cobra.Command{Use: "role", Short: "Keep roles"}
	role.AddCommand(a.newRoleCreate(), a.newRoleList(), a.newRoleDescribe(), a.newRoleUpdate(), a.newRoleDelete())
	token := &cobra.Command{Use: "token", Short: "Make and revoke tokens"}
	token.AddCommand(a.newTokenCreate(), a.newTokenList(), a.newTokenDescribe(), a.newTokenRenew(), a.newTokenRevoke())
	c.AddCommand(user, role, token)
	return c
}

var whoView = view[*heroctlv1.WhoAmIResponse]{
	columns: []string{"USER", "TOKEN", "ROLES", "POLICIES", "EXPIRES", "SOURCE"},
	row: func(w *heroctlv1.WhoAmIResponse) []string {
		return []string{
			w.GetUser(), w.GetAccessor(), strings.Join(w.GetRoles(), ", "), strings.Join(w.GetPolicies(), ", "),
			when(w.GetExpires()), w.GetSource(),
		}
	},
	name: (*heroctlv1.WhoAmIResponse).GetUser,
}

func (a *app) newWhoAmICommand() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Show who you are to the server", Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with("whoami", func(cl *client.Client) error {
				me, err := cl.Access().WhoAmI(c.Context(), &heroctlv1.WhoAmIRequest{})
				if err != nil {
					return err
				}
				return printOne(a, whoView, me)
			})
		},
	}
}
