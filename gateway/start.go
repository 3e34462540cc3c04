package gateway

import (
	"context"
	"fmt"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/storage"
)

// Start brings trail, store and engine into step, and then puts the policies in
// force: before, every request is denied. A store behind its trail is refused.
func (g *Gateway) Start(ctx context.Context) error {
	steps := []func(context.Context) error{g.anchor, g.resolve, g.installBuiltins, g.LoadPolicies}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return g.event(ctx, "start")
}

// Stop puts the end of service on record. The caller closes trail and store.
func (g *Gateway) Stop(ctx context.Context) error { return g.event(ctx, "stop") }

// event records something about the server itself.
func (g *Gateway) event(ctx context.Context, what string) error {
	now := g.now()
	entry := audit.Entry{
		Kind: audit.KindEvent, Request: newRequestID(), Method: what, Source: audit.Source{Protocol: "internal"},
		Call: schema.Call{
			Principal: schema.Principal{Kind: schema.KindSystem, User: "system:server"},
			Context:   schema.Context{Time: now},
		},
		Outcome: audit.Outcome{Code: audit.CodeOK},
	}
	if err := g.append(ctx, entry); err != nil {
		return fmt.Errorf("record the server's %s: %w", what, err)
	}
	return nil
}

// installBuiltins puts the policies that come with the program into the store,
// where they are missing or those of another version of the program.
func (g *Gateway) installBuiltins(ctx context.Context) error {
	return g.install(ctx, policies.Builtin(), true)
}

// Install applies policies as the server itself, on record, and puts them in
// force: the samples of a throw-away server.
func (g *Gateway) Install(ctx context.Context, list []*policies.Policy) error {
	if err := g.install(ctx, list, false); err != nil {
		return err
	}
	return g.LoadPolicies(ctx)
}

func (g *Gateway) install(ctx context.Context, list []*policies.Policy, builtin bool) error {
	now, err := g.store.Policies.Current(ctx)
	if err != nil {
		return fmt.Errorf("read policies: %w", err)
	}
	for _, p := range list {
		have, exists := now.Get(p.Name)
		if exists && have.Digest == p.Digest && have.Builtin == builtin {
			continue
		}
		c := schema.Capability{Resource: schema.Policy, Verb: "create"}
		if exists {
			c.Verb = "update"
		}
		change := storage.PolicyChange{Name: p.Name, Text: p.Text, Builtin: builtin}
		err := g.System(ctx, "install", c, p.Name.Path(), func(ctx context.Context, permitted permit.Permit) error {
			_, err := g.store.Policies.Apply(ctx, []permit.Permit{permitted}, []storage.PolicyChange{change})
			return err
		})
		if err != nil {
			return fmt.Errorf("install the policy %s: %w", p.Name, err)
		}
	}
	return nil
}
