package main

import (
	"bytes"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"github.com/heroctl/heroctl/gateway/client"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// metadata are the flags for what is said about a secret.
type metadata struct {
	owner, description, window string
	labels                     []string
	flags                      *pflag.FlagSet
}

func (m *metadata) register(flags *pflag.FlagSet) {
	m.flags = flags
	flags.StringVar(&m.owner, "owner", "", "`WHO` answers for it")
	flags.StringVar(&m.description, "description", "", "`TEXT` about what it is for")
	flags.StringArrayVar(&m.labels, "label", nil, "a free label, `KEY=VALUE`; may be repeated")
	flags.StringVar(&m.window, "window", "", "how long superseded versions stay, such as 7d")
}

// parsedLabels reads the labels as a map.
func (m *metadata) parsedLabels() (map[string]string, error) {
	labels := map[string]string{}
	for _, label := range m.labels {
		key, value, ok := strings.Cut(label, "=")
		if !ok || key == "" {
			return nil, usageError("--label must be KEY=VALUE")
		}
		if _, twice := labels[key]; twice {
			return nil, usageError("--label names one key twice")
		}
		labels[key] = value
	}
	return labels, nil
}

func labelText(labels map[string]string) string {
	var pairs []string
	for key, value := range labels {
		pairs = append(pairs, key+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ", ")
}

func (a *app) newSecretCreate() *cobra.Command {
	var source valueSource
	var meta metadata
	c := &cobra.Command{
		Use: "create NAME", Short: "Create a secret", Args: takes("NAME"),
		Long: `Create a secret. The value is taken byte for byte from one of the sources; without one it
is asked for, twice, on the terminal.`,
		Example: `  heroctl secret create db_password --from-literal="s3nh4-l0nga-e-aleatoria"
  heroctl secret create tls_key --from-file=./privkey.pem
  echo -n "valor-secreto" | heroctl secret create api_token --from-stdin
  heroctl secret create session_key --generate --length 48 --owner web --label tier=front`,
	}
	source.register(c.Flags())
	meta.register(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		path, subject, err := secretPath(args[0])
		if err != nil {
			return err
		}
		request := &heroctlv1.CreateSecretRequest{Path: path, Secret: &heroctlv1.NewSecret{Owner: meta.owner, Description: meta.description}}
		if request.Secret.Labels, err = meta.parsedLabels(); err != nil {
			return err
		}
		if request.Secret.Window, err = durationFlag("window", meta.window); err != nil {
			return err
		}
		value, err := a.readValue(c.Context(), &source)
		if err != nil {
			return err
		}
		defer value.Wipe()
		value.Expose(func(b []byte) { request.Secret.Value = bytes.Clone(b) })
		defer clear(request.Secret.Value)
		return a.with(subject, func(cl *client.Client) error {
			s, err := cl.Secrets().CreateSecret(c.Context(), request)
			if err != nil {
				return err
			}
			return printDone(a, secretDetails, s, "%s created, version %d", subject, s.GetVersion())
		})
	}
	return c
}

func (a *app) newSecretUpdate() *cobra.Command {
	var source valueSource
	var meta metadata
	var ifVersion uint32
	c := &cobra.Command{
		Use: "update NAME", Short: "Store a new version, or change metadata", Args: takes("NAME"),
		Long: `Store a new version of a secret. With metadata flags alone the value and its version stay.
The version before stays for the secret's window and can be rolled back to.`,
		Example: `  heroctl secret update db_password --from-literal="senha-nova"
  heroctl secret update db_password --from-stdin --if-version 3
  heroctl secret update db_password --owner payments --window 30d`,
	}
	source.register(c.Flags())
	meta.register(c.Flags())
	c.Flags().Uint32Var(&ifVersion, "if-version", 0, "only if `VERSION` is still the current one")
	c.RunE = func(c *cobra.Command, args []string) error {
		path, subject, err := secretPath(args[0])
		if err != nil {
			return err
		}
		change, described, err := meta.change()
		if err != nil {
			return err
		}
		change.IfVersion = ifVersion
		if !described || len(source.given()) > 0 {
			value, err := a.readValue(c.Context(), &source)
			if err != nil {
				return err
			}
			defer value.Wipe()
			value.Expose(func(b []byte) { change.Value = append([]byte{}, b...) }) // never nil: that means no change
			defer clear(change.Value)
		}
		return a.with(subject, func(cl *client.Client) error {
			s, err := cl.Secrets().UpdateSecret(c.Context(), &heroctlv1.UpdateSecretRequest{Path: path, Change: change})
			if err != nil {
				return err
			}
			return printDone(a, secretDetails, s, "%s updated, version %d", subject, s.GetVersion())
		})
	}
	return c
}

// change returns the metadata that were given, and whether any were.
func (m *metadata) change() (*heroctlv1.SecretChange, bool, error) {
	var err error
	change := &heroctlv1.SecretChange{}
	if m.flags.Changed("owner") {
		change.Owner = proto.String(m.owner)
	}
	if m.flags.Changed("description") {
		change.Description = proto.String(m.description)
	}
	if m.flags.Changed("label") {
		change.SetLabels = true
		if slices.Equal(m.labels, []string{""}) {
			m.labels = nil // --label "" takes them all off
		}
		if change.Labels, err = m.parsedLabels(); err != nil {
			return nil, false, err
		}
	}
	if change.Window, err = durationFlag("window", m.window); err != nil {
		return nil, false, err
	}
	given := change.Owner != nil || change.Description != nil || change.SetLabels || change.Window != nil
	return change, given, nil
}

func (a *app) newSecretRollback() *cobra.Command {
	var to, ifVersion uint32
	c := &cobra.Command{
		Use: "rollback NAME --to-version N", Short: "Make an earlier value the newest version", Args: takes("NAME"),
		Long:    `Make an earlier value the newest version. It needs no right to read, and shows no value.`,
		Example: "  heroctl secret rollback db_password --to-version 3",
	}
	c.Flags().Uint32Var(&to, "to-version", 0, "the `VERSION` whose value comes back")
	c.Flags().Uint32Var(&ifVersion, "if-version", 0, "only if `VERSION` is still the current one")
	c.RunE = func(c *cobra.Command, args []string) error {
		path, subject, err := secretPath(args[0])
		if err != nil {
			return err
		}
		if to == 0 {
			return usageError("rollback needs --to-version", "heroctl secret history "+path+" lists the versions")
		}
		return a.with(subject, func(cl *client.Client) error {
			s, err := cl.Secrets().RollbackSecret(c.Context(), &heroctlv1.RollbackSecretRequest{
				Path: path, Rollback: &heroctlv1.SecretRollback{ToVersion: to, IfVersion: ifVersion},
			})
			if err != nil {
				return err
			}
			return printDone(a, secretDetails, s, "%s rolled back to version %d, which is now version %d", subject, to, s.GetVersion())
		})
	}
	return c
}

func (a *app) newSecretDelete() *cobra.Command {
	var yes bool
	var ifVersion uint32
	c := &cobra.Command{
		Use: "delete NAME", Short: "Hide a secret; undelete brings it back within its window", Args: takes("NAME"),
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().Uint32Var(&ifVersion, "if-version", 0, "only if `VERSION` is still the current one")
	c.RunE = func(c *cobra.Command, args []string) error {
		path, subject, err := secretPath(args[0])
		if err != nil {
			return err
		}
		if err := a.confirm(c.Context(), yes, "delete %s", subject); err != nil {
			return err
		}
		return a.with(subject, func(cl *client.Client) error {
			_, err := cl.Secrets().DeleteSecret(c.Context(), &heroctlv1.DeleteSecretRequest{Path: path, IfVersion: ifVersion})
			if err != nil {
				return err
			}
			return printDone(a, secretDetails, &heroctlv1.Secret{Path: path}, "%s deleted; heroctl secret undelete %s takes it back", subject, path)
		})
	}
	return c
}

func (a *app) newSecretUndelete() *cobra.Command {
	return &cobra.Command{
		Use: "undelete NAME", Short: "Take a delete back", Args: takes("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			path, subject, err := secretPath(args[0])
			if err != nil {
				return err
			}
			return a.with(subject, func(cl *client.Client) error {
				s, err := cl.Secrets().UndeleteSecret(c.Context(), &heroctlv1.UndeleteSecretRequest{Path: path})
				if err != nil {
					return err
				}
				return printDone(a, secretDetails, s, "%s is back, version %d", subject, s.GetVersion())
			})
		},
	}
}

func (a *app) newSecretDestroy() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "destroy NAME", Short: "Erase every value of a secret, for good", Args: takes("NAME"),
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.RunE = func(c *cobra.Command, args []string) error {
		path, subject, err := secretPath(args[0])
		if err != nil {
			return err
		}
		if err := a.confirm(c.Context(), yes, "destroy every version of %s for good", subject); err != nil {
			return err
		}
		return a.with(subject, func(cl *client.Client) error {
			if _, err := cl.Secrets().DestroySecret(c.Context(), &heroctlv1.DestroySecretRequest{Path: path}); err != nil {
				return err
			}
			return printDone(a, secretDetails, &heroctlv1.Secret{Path: path}, "%s destroyed", subject)
		})
	}
	return c
}
