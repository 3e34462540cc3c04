package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

func (a *app) newSecretCommand() *cobra.Command {
	c := &cobra.Command{Use: "secret", Short: "Keep, read and change secrets"}
	c.AddCommand(
		a.newSecretCreate(), a.newSecretList(), a.newSecretDescribe(), a.newSecretGet(), a.newSecretUpdate(),
		a.newSecretHistory(), a.newSecretRollback(), a.newSecretDelete(), a.newSecretUndelete(), a.newSecretDestroy(),
	)
	return c
}

// secretView is how a secret is listed.
var secretView = view[*heroctlv1.Secret]{
	columns: []string{"NAME", "VERSION", "AUTHOR", "CREATED", "UPDATED", "OWNER", "DESCRIPTION"},
	row: func(s *heroctlv1.Secret) []string {
		return []string{s.GetPath(), number(s.GetVersion()), s.GetAuthor(), when(s.GetCreated()), when(s.GetUpdated()), s.GetOwner(), s.GetDescription()}
	},
	name: (*heroctlv1.Secret).GetPath,
}

// secretDetails is how one secret is described.
var secretDetails = view[*heroctlv1.Secret]{
	columns: []string{"NAME", "VERSION", "AUTHOR", "CREATED", "UPDATED BY", "UPDATED", "OWNER", "DESCRIPTION", "LABELS", "WINDOW", "DELETED"},
	row: func(s *heroctlv1.Secret) []string {
		return []string{
			s.GetPath(), number(s.GetVersion()), s.GetAuthor(), when(s.GetCreated()), s.GetUpdatedBy(), when(s.GetUpdated()),
			s.GetOwner(), s.GetDescription(), labelText(s.GetLabels()), shortDuration(s.GetWindow()), when(s.GetDeleted()),
		}
	},
	name: (*heroctlv1.Secret).GetPath,
}

// versionView is how a version is listed.
var versionView = view[*heroctlv1.SecretVersion]{
	columns: []string{"VERSION", "STATE", "CREATED", "AUTHOR", "FROM", "SUPERSEDED", "EXPIRES"},
	row: func(v *heroctlv1.SecretVersion) []string {
		return []string{number(v.GetVersion()), v.GetState(), when(v.GetCreated()), v.GetAuthor(), number(v.GetSource()), when(v.GetSuperseded()), when(v.GetExpires())}
	},
	name: func(v *heroctlv1.SecretVersion) string { return number(v.GetVersion()) },
}

// number shows a version; none is an empty cell.
func number(n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// secretPath parses the name of a secret before anything is sent.
func secretPath(text string) (path, subject string, err error) {
	p, err := schema.ParsePath(text)
	if err != nil {
		return "", "", about("secret name", err)
	}
	return p.String(), fmt.Sprintf("secret %q", p), nil
}

func (a *app) newSecretList() *cobra.Command {
	var search string
	c := &cobra.Command{
		Use: "list [PREFIX]", Short: "List the secrets your token may list", Args: takes("[PREFIX]"),
		Long: `List the secrets your token may list, in name order. Only the name is shown where it may
not describe the secret.`,
		Example: "  heroctl secret list\n  heroctl secret list prod\n  heroctl secret list --search db -o name",
	}
	c.Flags().StringVar(&search, "search", "", "only names that contain `TEXT`, whatever its case")
	c.RunE = func(c *cobra.Command, args []string) error {
		prefix, err := schema.ParsePrefix(first(args...))
		if err != nil {
			return about("prefix", err)
		}
		return a.with("list secrets", func(cl *client.Client) error {
			var all []*heroctlv1.Secret
			err := eachPage(func(token string) (string, error) {
				page, err := cl.Secrets().ListSecrets(c.Context(), &heroctlv1.ListSecretsRequest{
					Prefix: prefix.String(), Search: search, PageSize: 1000, PageToken: token,
				})
				all = append(all, page.GetSecrets()...)
				return page.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return printList(a, secretView, all)
		})
	}
	return c
}

func (a *app) newSecretDescribe() *cobra.Command {
	return &cobra.Command{
		Use: "describe NAME", Short: "Show a secret's metadata, never its value", Args: takes("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			path, subject, err := secretPath(args[0])
			if err != nil {
				return err
			}
			return a.with(subject, func(cl *client.Client) error {
				s, err := cl.Secrets().DescribeSecret(c.Context(), &heroctlv1.DescribeSecretRequest{Path: path})
				if err != nil {
					return err
				}
				return a.printSecret(c.Context(), cl, s)
			})
		},
	}
}

func (a *app) newSecretHistory() *cobra.Command {
	return &cobra.Command{
		Use: "history NAME", Short: "List a secret's versions, newest first", Args: takes("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			path, subject, err := secretPath(args[0])
			if err != nil {
				return err
			}
			return a.with(subject, func(cl *client.Client) error {
				h, err := cl.Secrets().ListSecretVersions(c.Context(), &heroctlv1.ListSecretVersionsRequest{Path: path})
				if err != nil {
					return err
				}
				return printList(a, versionView, h.GetVersions())
			})
		},
	}
}

func (a *app) newSecretGet() *cobra.Command {
	var wanted uint32
	c := &cobra.Command{
		Use: "get NAME", Short: "Write a secret's value to stdout", Args: takes("NAME"),
		Long: `Write a secret's value to stdout, byte for byte; on a terminal a line feed follows.
With -o json the value is text when it is UTF-8 and base64 otherwise; "encoding" says which.`,
		Example: "  heroctl secret get db_password\n  heroctl secret get db_password --version 3\n  heroctl secret get tls_key > key.pem",
	}
	c.Flags().Uint32Var(&wanted, "version", 0, "the `VERSION`; the current one if not given")
	c.RunE = func(c *cobra.Command, args []string) error {
		path, subject, err := secretPath(args[0])
		if err != nil {
			return err
		}
		return a.with(subject, func(cl *client.Client) error {
			v, err := cl.Secrets().GetSecret(c.Context(), &heroctlv1.GetSecretRequest{Path: path, Version: wanted})
			if err != nil {
				return err
			}
			defer clear(v.GetValue())
			return a.printValue(v)
		})
	}
	return c
}

// printValue is where a value leaves the program.
func (a *app) printValue(v *heroctlv1.SecretValue) error {
	format, err := a.format()
	if err != nil {
		return err
	}
	switch format {
	case formatTable:
		return a.printRaw(v.GetValue())
	case formatName:
		_, err := fmt.Fprintln(a.stdout, v.GetPath())
		return err
	}
	shown := struct {
		Path     string `json:"path"`
		Version  uint32 `json:"version"`
		Value    string `json:"value"`
		Encoding string `json:"encoding"`
		Created  string `json:"created,omitempty"`
	}{v.GetPath(), v.GetVersion(), base64.StdEncoding.EncodeToString(v.GetValue()), "base64", when(v.GetCreated())}
	if utf8.Valid(v.GetValue()) {
		shown.Value, shown.Encoding = string(v.GetValue()), "utf-8"
	}
	text, err := json.Marshal(shown)
	if err != nil {
		return err
	}
	return a.encoded(format, text)
}

// printRaw writes the exact bytes. A terminal gets no bytes that would steer it:
// whoever wrote the value could otherwise run the reader's terminal.
func (a *app) printRaw(value []byte) error {
	if !isTerminal(a.stdout) {
		_, err := a.stdout.Write(value)
		return err
	}
	for _, r := range string(value) {
		if r == utf8.RuneError || unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) {
			return &failure{code: exitFailure, text: "the value has bytes that would steer the terminal",
				hints: []string{"send it to a file or a program, or use -o json"}}
		}
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n", value)
	return err
}
