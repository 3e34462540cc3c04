package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
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
			n, err := initNode(cmd.Context(), c)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "heroctl: cluster %s made in %s\n", n.store.Cluster(), c.DataDir)
			fmt.Fprintf(a.stderr, "heroctl: the root key is %s; keep a copy apart from every backup\n", c.KeyFile)
			return a.printAdmin(cmd.Context(), n)
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
			n, err := openNode(cmd.Context(), c)
			if err != nil {
				return err
			}
			return a.printAdmin(cmd.Context(), n)
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

// printAdmin mints an admin token, prints it alone on stdout and closes the node.
func (a *app) printAdmin(ctx context.Context, n *node) error {
	token, info, err := n.mintAdmin(ctx)
	if err := errors.Join(err, n.Close()); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "heroctl: admin token of user %s, valid until %s; it is shown once\n", info.User, info.Expires.UTC().Format("2006-01-02 15:04 MST"))
	token.Expose(func(b []byte) { fmt.Fprintf(a.stdout, "%s\n", b) })
	return nil
}
