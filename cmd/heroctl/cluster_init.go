package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/schema/secret"
	"github.com/heroctl/heroctl/storage"
)

// newClusterInitCommands are the cluster commands that work on the server's host,
// on the files themselves.
func newClusterInitCommands(a *app) []*cobra.Command {
	return []*cobra.Command{newInitCommand(a), newAdminTokenCommand(a)}
}

func newInitCommand(a *app) *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "init --config FILE",
		Short: "Make a new cluster: data directory, root key, one admin token",
		Long: `Make a new cluster: the data directory, the root key file (0600), the built-in
policies and roles. It prints one admin token, once; the token lives for 24 hours.
Keep a copy of the root key file apart from every backup: without it the data is lost.`,
		Example: "  heroctl cluster init --config /etc/heroctl/server.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configFlag(config)
			if err != nil {
				return err
			}
			return a.initCluster(cmd.Context(), c)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the server's configuration file")
	return cmd
}

func newAdminTokenCommand(a *app) *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "admin-token --config FILE",
		Short: "Mint another admin token, on the server's host while the server is stopped",
		Long: `Mint another admin token that lives for 24 hours. It needs to read the root key
file, so it works on the server's host only, and while the server is stopped. It is on record.`,
		Example: "  heroctl cluster admin-token --config /etc/heroctl/server.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configFlag(config)
			if err != nil {
				return err
			}
			return a.mintAdminToken(cmd.Context(), c)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the server's configuration file")
	return cmd
}

func configFlag(path string) (serverConfig, error) {
	if path == "" {
		return serverConfig{}, usageError("--config FILE is needed: the server's configuration")
	}
	c, err := readConfig(path)
	if err != nil {
		return c, usageError(err.Error())
	}
	return c, nil
}

// initCluster makes a cluster and prints its first admin token. Whatever fails
// before the token exists leaves nothing behind.
func (a *app) initCluster(ctx context.Context, c serverConfig) error {
	if err := harden(); err != nil {
		return err
	}
	n, err := initNode(ctx, c)
	if err != nil {
		return err
	}
	token, info, err := n.mintAdmin(ctx)
	if err != nil {
		return errors.Join(err, n.discard())
	}
	a.say("cluster %s made in %s", n.store.Cluster(), c.DataDir)
	a.say("the root key is %s; keep a copy apart from every backup", c.KeyFile)
	return a.printAdmin(n, token, info)
}

func (a *app) mintAdminToken(ctx context.Context, c serverConfig) error {
	if err := harden(); err != nil {
		return err
	}
	n, err := openNode(ctx, c)
	if err != nil {
		return err
	}
	token, info, err := n.mintAdmin(ctx)
	if err != nil {
		return errors.Join(err, n.Close())
	}
	return a.printAdmin(n, token, info)
}

// printAdmin closes the node and prints an admin token alone on stdout. The token
// exists whether or not it can be shown.
func (a *app) printAdmin(n *node, token secret.Value, info storage.TokenInfo) error {
	lost := func(err error) error {
		return &failure{code: exitFailure, text: "the admin token was made but not shown: " + err.Error(),
			hints: []string{"heroctl cluster admin-token mints another"}, cause: err}
	}
	if err := n.Close(); err != nil {
		return lost(err)
	}
	var err error
	token.Expose(func(b []byte) { _, err = fmt.Fprintf(a.stdout, "%s\n", b) })
	if err != nil {
		return lost(err)
	}
	a.say("admin token of user %s, valid until %s; it is shown once", info.User, info.Expires.UTC().Format("2006-01-02 15:04 MST"))
	return nil
}
