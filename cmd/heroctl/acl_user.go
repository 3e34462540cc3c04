package main

import (
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/heroctl/heroctl/gateway/client"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

var userView = view[*heroctlv1.User]{
	columns: []string{"NAME", "DISABLED", "CREATED", "AUTHOR", "UPDATED", "DESCRIPTION"},
	row: func(u *heroctlv1.User) []string {
		return []string{u.GetName(), yesNo(u.GetDisabled()), when(u.GetCreated()), u.GetAuthor(), when(u.GetUpdated()), u.GetDescription()}
	},
	name: (*heroctlv1.User).GetName,
}

func (a *app) newUserCreate() *cobra.Command {
	var description string
	c := &cobra.Command{Use: "create NAME", Short: "Create a user", Args: takes("NAME")}
	c.Flags().StringVar(&description, "description", "", "`TEXT` about the user")
	c.RunE = func(c *cobra.Command, args []string) error {
		subject, err := checkedName("user", args[0])
		if err != nil {
			return err
		}
		return a.with(subject, func(cl *client.Client) error {
			u, err := cl.Access().CreateUser(c.Context(), &heroctlv1.CreateUserRequest{
				Name: args[0], User: &heroctlv1.NewUser{Description: description},
			})
			if err != nil {
				return err
			}
			return printDone(a, userView, u, "%s created", subject)
		})
	}
	return c
}

func (a *app) newUserList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the users your token may list", Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with("list users", func(cl *client.Client) error {
				var all []*heroctlv1.User
				err := eachPage(func(token string) (string, error) {
					page, err := cl.Access().ListUsers(c.Context(), &heroctlv1.ListUsersRequest{PageSize: 1000, PageToken: token})
					all = append(all, page.GetUsers()...)
					return page.GetNextPageToken(), err
				})
				if err != nil {
					return err
				}
				return printList(a, userView, all)
			})
		},
	}
}

func (a *app) newUserDescribe() *cobra.Command {
	return &cobra.Command{
		Use: "describe NAME", Short: "Show a user", Args: takes("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			subject, err := checkedName("user", args[0])
			if err != nil {
				return err
			}
			return a.with(subject, func(cl *client.Client) error {
				u, err := cl.Access().DescribeUser(c.Context(), &heroctlv1.DescribeUserRequest{Name: args[0]})
				if err != nil {
					return err
				}
				return printOne(a, userView, u)
			})
		},
	}
}

func (a *app) newUserUpdate() *cobra.Command {
	var description string
	c := &cobra.Command{Use: "update NAME --description TEXT", Short: "Change what is said about a user", Args: takes("NAME")}
	c.Flags().StringVar(&description, "description", "", "`TEXT` about the user")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !c.Flags().Changed("description") {
			return usageError("nothing to change", "--description TEXT")
		}
		return a.changeUser(c, args[0], &heroctlv1.UserChange{Description: proto.String(description)}, "updated")
	}
	return c
}

func (a *app) newUserSwitch(verb, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: takes("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.changeUser(c, args[0], &heroctlv1.UserChange{Disabled: proto.Bool(disabled)}, verb+"d")
		},
	}
}

func (a *app) changeUser(c *cobra.Command, name string, change *heroctlv1.UserChange, done string) error {
	subject, err := checkedName("user", name)
	if err != nil {
		return err
	}
	return a.with(subject, func(cl *client.Client) error {
		u, err := cl.Access().UpdateUser(c.Context(), &heroctlv1.UpdateUserRequest{Name: name, Change: change})
		if err != nil {
			return err
		}
		return printDone(a, userView, u, "%s %s", subject, done)
	})
}

func (a *app) newUserDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{Use: "delete NAME", Short: "Delete a user and revoke his tokens for good", Args: takes("NAME")}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.RunE = func(c *cobra.Command, args []string) error {
		subject, err := checkedName("user", args[0])
		if err != nil {
			return err
		}
		if err := a.confirm(c.Context(), yes, "delete %s and revoke his tokens", subject); err != nil {
			return err
		}
		return a.with(subject, func(cl *client.Client) error {
			if _, err := cl.Access().DeleteUser(c.Context(), &heroctlv1.DeleteUserRequest{Name: args[0]}); err != nil {
				return err
			}
			return printDone(a, userView, &heroctlv1.User{Name: args[0]}, "%s deleted", subject)
		})
	}
	return c
}
