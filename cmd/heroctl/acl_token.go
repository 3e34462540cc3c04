package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

var tokenView = view[*heroctlv1.Token]{
	columns: []string{"TOKEN", "STATE", "ROLES", "POLICIES", "EXPIRES", "CREATED", "AUTHOR", "DESCRIPTION"},
	row: func(t *heroctlv1.Token) []string {
		return []string{
			t.GetPath(), t.GetState(), strings.Join(t.GetRoles(), ", "), strings.Join(t.GetPolicies(), ", "),
			when(t.GetExpires()), when(t.GetCreated()), t.GetAuthor(), t.GetDescription(),
		}
	},
	name: (*heroctlv1.Token).GetPath,
}

// tokenDetails is how one token is described.
var tokenDetails = view[*heroctlv1.Token]{
	columns: append(append([]string{}, tokenView.columns...), "NETWORKS", "RENEWABLE UNTIL", "MADE WITH"),
	row: func(t *heroctlv1.Token) []string {
		return append(tokenView.row(t), strings.Join(t.GetCidrs(), ", "), when(t.GetExpiresAtMost()), t.GetParent())
	},
	name: tokenView.name,
}

// checkedToken parses USER/ACCESSOR before anything is sent.
func checkedToken(text string) (subject string, err error) {
	p, err := schema.ParsePath(text)
	if err == nil && len(p.Segments()) != 2 {
		err = fault.New(fault.InvalidPath, "a token is named USER/ACCESSOR; heroctl acl token list shows the names")
	}
	if err != nil {
		return "", about("token name", err)
	}
	return fmt.Sprintf("token %q", p), nil
}

// newToken are the flags of a token to be.
type newToken struct {
	roles, policies, cidrs       []string
	user, ttl, description, kind string
}

func (a *app) newTokenCreate() *cobra.Command {
	var n newToken
	c := &cobra.Command{
		Use: "create", Short: "Make a token and show it, once", Args: takes(),
		Long: `Make a token and write it to stdout, once: it is not stored and cannot be shown again. What
is known about it goes to stderr. With -o json, .token is the token and .accessor its public
name.`,
		Example: "  heroctl acl token create --user ci --role deployer --ttl 12h\n  heroctl acl token create --policy deploy-prod-secrets -o json",
	}
	flags := c.Flags()
	flags.StringVar(&n.user, "user", "", "the `NAME` of the user it belongs to; you if not given")
	flags.StringSliceVar(&n.roles, "role", nil, "a role's `NAME`; may be repeated")
	flags.StringSliceVar(&n.policies, "policy", nil, "a policy's `NAME`; may be repeated")
	flags.StringVar(&n.ttl, "ttl", "", "how long it lives, such as 12h or 30d")
	flags.StringSliceVar(&n.cidrs, "cidr", nil, "a `NETWORK` it may be used from; may be repeated")
	flags.StringVar(&n.description, "description", "", "`TEXT` about what it is for")
	flags.StringVar(&n.kind, "kind", "", "user or service; shows in its first letters")
	c.RunE = func(c *cobra.Command, _ []string) error {
		request, err := n.request()
		if err != nil {
			return err
		}
		return a.with("create token", func(cl *client.Client) error {
			answer, err := cl.Access().CreateToken(c.Context(), request)
			if err != nil {
				return err
			}
			return a.printToken(answer)
		})
	}
	return c
}

func (n newToken) request() (*heroctlv1.CreateTokenRequest, error) {
	if n.user != "" {
		if _, err := checkedName("user", n.user); err != nil {
			return nil, err
		}
	}
	if n.kind != "" && n.kind != "user" && n.kind != "service" {
		return nil, usageError("--kind must be user or service")
	}
	ttl, err := durationFlag("ttl", n.ttl)
	if err != nil {
		return nil, err
	}
	return &heroctlv1.CreateTokenRequest{
		User: n.user, Roles: n.roles, Policies: n.policies, Ttl: ttl, Cidrs: n.cidrs, Description: n.description, Kind: n.kind,
	}, nil
}

// printToken is where a token leaves the program: alone on stdout, so that a
// script can keep it.
func (a *app) printToken(answer *heroctlv1.CreateTokenResponse) error {
	format, err := a.format()
	if err != nil {
		return err
	}
	switch format {
	case formatTable:
		meta := answer.GetMetadata()
		a.say("token %s created, expires %s; it is shown this once", clean(meta.GetPath()), first(when(meta.GetExpires()), "never"))
		_, err := fmt.Fprintln(a.stdout, answer.GetToken())
		return err
	case formatName:
		_, err := fmt.Fprintln(a.stdout, clean(answer.GetMetadata().GetPath()))
		return err
	}
	text, err := encode(answer)
	if err != nil {
		return err
	}
	return a.encoded(format, text)
}

func (a *app) newTokenList() *cobra.Command {
	var user string
	c := &cobra.Command{Use: "list", Short: "List the tokens your token may list", Args: takes()}
	c.Flags().StringVar(&user, "user", "", "only those of `NAME`")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with("list tokens", func(cl *client.Client) error {
			var all []*heroctlv1.Token
			err := eachPage(func(token string) (string, error) {
				page, err := cl.Access().ListTokens(c.Context(), &heroctlv1.ListTokensRequest{User: user, PageSize: 1000, PageToken: token})
				all = append(all, page.GetTokens()...)
				return page.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return printList(a, tokenView, all)
		})
	}
	return c
}

func (a *app) newTokenDescribe() *cobra.Command {
	return &cobra.Command{
		Use: "describe USER/ACCESSOR", Short: "Show what is known about a token", Args: takes("USER/ACCESSOR"),
		RunE: func(c *cobra.Command, args []string) error {
			subject, err := checkedToken(args[0])
			if err != nil {
				return err
			}
			return a.with(subject, func(cl *client.Client) error {
				t, err := cl.Access().DescribeToken(c.Context(), &heroctlv1.DescribeTokenRequest{Path: args[0]})
				if err != nil {
					return err
				}
				return printOne(a, tokenDetails, t)
			})
		},
	}
}

// oneToken reads which token a verb is about: one that is named, or one's own.
func oneToken(self bool, args []string) (subject string, err error) {
	switch {
	case self && len(args) == 0:
		return "your own token", nil
	case !self && len(args) == 1:
		return checkedToken(args[0])
	}
	return "", usageError("name a token as USER/ACCESSOR, or say --self", "heroctl acl token list")
}

func (a *app) newTokenRenew() *cobra.Command {
	var self bool
	var ttl string
	c := &cobra.Command{Use: "renew USER/ACCESSOR | --self", Short: "Extend a token", Args: takes("[USER/ACCESSOR]")}
	c.Flags().BoolVar(&self, "self", false, "the token in use")
	c.Flags().StringVar(&ttl, "ttl", "", "how long it lives from now; as long as at first if not given")
	c.RunE = func(c *cobra.Command, args []string) error {
		subject, err := oneToken(self, args)
		if err != nil {
			return err
		}
		life, err := durationFlag("ttl", ttl)
		if err != nil {
			return err
		}
		renewal := &heroctlv1.Renewal{Ttl: life}
		return a.with(subject, func(cl *client.Client) error {
			var t *heroctlv1.Token
			if self {
				t, err = cl.Access().RenewSelf(c.Context(), &heroctlv1.RenewSelfRequest{Renewal: renewal})
			} else {
				t, err = cl.Access().RenewToken(c.Context(), &heroctlv1.RenewTokenRequest{Path: args[0], Renewal: renewal})
			}
			if err != nil {
				return err
			}
			return printDone(a, tokenDetails, t, "%s renewed until %s", subject, when(t.GetExpires()))
		})
	}
	return c
}

func (a *app) newTokenRevoke() *cobra.Command {
	var self, yes bool
	c := &cobra.Command{
		Use: "revoke USER/ACCESSOR | --self", Short: "Revoke a token and those made with it, at once", Args: takes("[USER/ACCESSOR]"),
	}
	c.Flags().BoolVar(&self, "self", false, "the token in use")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.RunE = func(c *cobra.Command, args []string) error {
		subject, err := oneToken(self, args)
		if err != nil {
			return err
		}
		if err := a.confirm(c.Context(), yes, "revoke %s and the tokens made with it", subject); err != nil {
			return err
		}
		return a.with(subject, func(cl *client.Client) error {
			if self {
				if _, err := cl.Access().RevokeSelf(c.Context(), &heroctlv1.RevokeSelfRequest{}); err != nil {
					return err
				}
				a.say("%s revoked", subject)
				return nil
			}
			answer, err := cl.Access().RevokeToken(c.Context(), &heroctlv1.RevokeTokenRequest{Path: args[0]})
			if err != nil {
				return err
			}
			return printDone(a, tokenView, &heroctlv1.Token{Path: args[0]}, "%s revoked, %d in all", subject, answer.GetRevoked())
		})
	}
	return c
}
