package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/examples"
	"github.com/heroctl/heroctl/gateway"
	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/pebble"
)

// node is one server's parts, built from the bottom up: the only place where
// concrete parts are picked.
type node struct {
	config  serverConfig
	gateway *gateway.Gateway
	store   *storage.Store
	closers []func() error // in the order they were opened
	made    undo           // what a new cluster consists of
}

// privateUmask keeps files and folders of the server from everyone else.
const privateUmask = 0o077

// initNode makes a new cluster: data directory, root key file, keyring, built-in
// policies and roles. It refuses, with fault.Conflict, when anything of it exists
// already; when a step fails, it takes the steps before it back.
func initNode(ctx context.Context, c serverConfig) (*node, error) {
	made, root, err := claim(c)
	if err != nil {
		return nil, errors.Join(err, made.run())
	}
	n, err := buildNode(ctx, c, root, true)
	if err != nil {
		return nil, errors.Join(err, made.run())
	}
	n.made = made
	return n, nil
}

// discard closes a new cluster that nobody can have used, and removes it.
func (n *node) discard() error { return errors.Join(n.Close(), n.made.run()) }

// openNode opens the cluster of a configuration.
func openNode(ctx context.Context, c serverConfig) (*node, error) {
	if err := checkFolder(c.DataDir); err != nil {
		return nil, err
	}
	root, err := crypto.ReadKeyFile(c.KeyFile)
	if err != nil {
		return nil, at("key_file "+c.KeyFile, err)
	}
	return buildNode(ctx, c, root, false)
}

func buildNode(ctx context.Context, c serverConfig, root crypto.RootKey, fresh bool) (n *node, err error) {
	n = &node{config: c}
	defer func() {
		if err != nil {
			_ = n.Close() // the first error tells more
		}
	}()
	kv, err := n.openKV("store", fresh)
	if err != nil {
		return n, err
	}
	if fresh {
		n.store, err = storage.Init(ctx, kv, root, time.Now())
	} else {
		n.store, err = storage.Open(ctx, kv, root)
	}
	if err != nil {
		return n, at("store in "+c.DataDir, err)
	}
	n.closers = append(n.closers, func() error { n.store.Close(); return nil })
	window, err := c.window()
	if err != nil {
		return n, err
	}
	n.store.Secrets.SetDefaultWindow(window)
	return n, n.openGateway(ctx)
}

// at says which file or folder a fault is about: the packages below leave that to
// whoever chose it.
func at(what string, err error) error {
	var f *fault.Error
	if !errors.As(err, &f) || f.Detail == "" {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fault.Wrap(f.Kind, what+": "+f.Detail, f.Cause)
}

func (n *node) openKV(name string, create bool) (storage.KV, error) {
	dir := filepath.Join(n.config.DataDir, name)
	if _, err := os.Stat(dir); err != nil && !create && errors.Is(err, os.ErrNotExist) && name == "store" {
		return nil, fault.Newf(fault.NotFound, "there is no cluster in %s; run heroctl cluster init first", n.config.DataDir)
	}
	kv, err := pebble.Open(pebble.Config{Dir: dir})
	if err != nil {
		return nil, at(dir, err)
	}
	n.closers = append(n.closers, kv.Close)
	return kv, nil
}

// openGateway puts trail, engine and gateway on the store and brings them up to
// its state.
func (n *node) openGateway(ctx context.Context) error {
	index, err := n.openKV("index", true)
	if err != nil {
		return err
	}
	durability := audit.Strict
	if n.config.Audit.Durability == "kernel" {
		durability = audit.Kernel
	}
	dir, checkpoint := filepath.Join(n.config.DataDir, "trail"), n.config.checkpoint()
	trail, err := audit.Open(ctx, audit.Config{
		Dir: dir, Keys: n.store.Keys(), Node: n.config.Node, Durability: durability, Logger: slog.Default(),
		Checkpoint: checkpoint, AcceptMissingCheckpoint: n.config.acceptMissingCheckpoint, Index: index,
	})
	if err != nil {
		return at(dir+", checkpoint "+checkpoint, err)
	}
	n.closers = append(n.closers, trail.Close)
	proxies, err := n.config.proxies()
	if err != nil {
		return err
	}
	n.gateway, err = gateway.New(gateway.Config{
		Store: n.store, Engine: engine.New(engine.Config{Log: slog.Default()}), Trail: trail,
		Node: n.config.Node, Version: version(), Durability: n.config.Audit.Durability,
		TrustedProxies: proxies, RequestsPerSecond: n.config.Limits.RequestsPerSecond, Reflection: n.config.GRPCReflection,
	})
	if err != nil {
		return err
	}
	if err := n.gateway.Start(ctx); err != nil {
		return err
	}
	n.closers = append(n.closers, func() error { return n.gateway.Stop(context.WithoutCancel(ctx)) })
	return nil
}

// Close closes what was opened, the last first.
func (n *node) Close() error {
	var all []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		all = append(all, n.closers[i]())
	}
	n.closers = nil
	return errors.Join(all...)
}

// mintAdmin makes a token with the admin role that lives for a day, with a
// system permit and on record. With it a cluster is set up, or got back into.
func (n *node) mintAdmin(ctx context.Context) (secret.Value, storage.TokenInfo, error) {
	var token secret.Value
	var info storage.TokenInfo
	create := schema.Capability{Resource: schema.Token, Verb: "create"}
	accessor := storage.NewAccessor()
	path := schema.MustPath(storage.BootstrapUser + "/" + accessor)
	done, err := n.store.Identities.Bootstrapped(ctx)
	if err != nil {
		return token, info, err
	}
	mint := n.store.Identities.Bootstrap
	if done {
		mint = n.store.Identities.AdminToken
	}
	err = n.gateway.System(ctx, "bootstrap", create, path, func(ctx context.Context, p permit.Permit) error {
		var err error
		token, info, err = mint(ctx, p)
		return err
	})
	return token, info, err
}

// applySamples puts the sample policies in force, as the admin of a throw-away
// server would.
func (n *node) applySamples(ctx context.Context) error {
	files, err := fs.Glob(examples.Policies, "policies/*.hcl")
	if err != nil {
		return err
	}
	var all []*policies.Policy
	for _, file := range files {
		if isTestFile(file) {
			continue
		}
		text, err := examples.Policies.ReadFile(file)
		if err != nil {
			return err
		}
		parsed, diagnostics := policies.Parse(file, text)
		if err := diagnostics.Err(); err != nil {
			return err
		}
		all = append(all, parsed...)
	}
	return n.gateway.Install(ctx, all)
}
