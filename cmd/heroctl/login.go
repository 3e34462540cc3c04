package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/schema/secret"
)

// defaultContext is the context that login makes when none is named.
const defaultContext = "default"

func (a *app) newLoginCommand() *cobra.Command {
	var stdin bool
	c := &cobra.Command{
		Use: "login", Short: "Check a token and keep it for this server", Args: takes(),
		Long: `Check a token with the server and keep it in the context file, which only you can read.
The token is asked for on the terminal, or taken from stdin. --context names the context,
--addr the server.`,
		Example: "  heroctl login --addr https://vault.example:8420 --context prod\n  heroctl login --token-stdin < token",
	}
	c.Flags().BoolVar(&stdin, "token-stdin", false, "take the token from stdin")
	c.RunE = func(c *cobra.Command, _ []string) error { return a.login(c.Context(), stdin) }
	return c
}

func (a *app) login(ctx context.Context, stdin bool) error {
	file, err := a.loadContexts()
	if err != nil {
		return err
	}
	user := a.loginContext(file)
	if err := checkContextName(user.Name); err != nil {
		return err
	}
	token, err := a.readToken(ctx, stdin)
	if err != nil {
		return err
	}
	user.Token = stored{token}
	cl, err := a.dial(settings{addr: user.Addr, token: user.Token.reveal(), caCert: user.CACert})
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	me, err := cl.Access().WhoAmI(ctx, &heroctlv1.WhoAmIRequest{})
	if err != nil {
		return about("login", err)
	}
	file.put(user)
	if err := a.saveContexts(file); err != nil {
		return about("context file", err)
	}
	a.say("logged in to %s as %s, context %s", clean(user.Addr), clean(me.GetUser()), clean(user.Name))
	if a.env("HEROCTL_TOKEN") != "" || a.env("HEROCTL_TOKEN_FILE") != "" {
		a.say("the environment names a token too, and it goes first")
	}
	return nil
}

// loginContext returns the context to log in to: what it has already, and what
// flags and environment say over it.
func (a *app) loginContext(file contextFile) serverUser {
	user := serverUser{Name: first(a.flags.context, a.env("HEROCTL_CONTEXT"), file.Current, defaultContext), Addr: defaultAddr}
	if old := file.find(user.Name); old != nil {
		user = *old
	}
	user.Addr = first(a.flags.addr, a.env("HEROCTL_ADDR"), user.Addr)
	user.CACert = first(a.flags.caCert, a.env("HEROCTL_CACERT"), user.CACert)
	return user
}

func (a *app) readToken(ctx context.Context, stdin bool) (secret.Value, error) {
	if stdin {
		value, err := wait(ctx, func() (secret.Value, error) { return readBounded(a.stdin, "--token-stdin") })
		if err != nil {
			return secret.Value{}, err
		}
		var text string
		value.Expose(func(b []byte) { text = strings.TrimSpace(string(b)) })
		if text == "" {
			return secret.Value{}, usageError("stdin holds no token")
		}
		return secret.New([]byte(text)), nil
	}
	t := a.openTerminal()
	if t == nil {
		return secret.Value{}, usageError("there is no terminal to ask for the token on", "--token-stdin")
	}
	defer t.Close()
	token, err := t.askSecret(ctx, "token")
	if err == nil && token.Len() == 0 {
		return secret.Value{}, usageError("no token was given")
	}
	return token, err
}

func (a *app) newLogoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Forget the token of a context; it stays valid", Args: takes(),
		Long: `Forget the token of the current context, or of the one --context names. The token stays
valid; "heroctl acl token revoke --self" ends it.`,
		RunE: func(*cobra.Command, []string) error {
			chosen, err := a.chosenContext()
			if err != nil {
				return err
			}
			if chosen == nil || chosen.Token.Len() == 0 {
				a.say("not logged in")
				return nil
			}
			file, err := a.loadContexts()
			if err != nil {
				return err
			}
			file.find(chosen.Name).Token = stored{}
			if err := a.saveContexts(file); err != nil {
				return about("context file", err)
			}
			a.say("logged out of context %s", clean(chosen.Name))
			return nil
		},
	}
}
