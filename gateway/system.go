package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// System does the server's own work: run gets a system permit for the capability
// on the path, and the work is on record like anyone's. The task names who did
// it, "system:TASK".
func (g *Gateway) System(ctx context.Context, task string, c schema.Capability, path schema.Path, run func(context.Context, permit.Permit) error) error {
	now, id := g.now(), schema.NewDecisionID()
	question, decision, p := g.engine.System(id, task, c, path, now)
	who := &caller{request: newRequestID(), arrived: now, source: audit.Source{Protocol: "internal"}}
	a := &act{permit: p, caller: who, entry: &audit.Entry{
		Request: who.request, Decision: id, Method: "System", Call: question, Result: decision, Source: who.source,
	}}
	if err := g.record(ctx, a, audit.KindIntent, nil); err != nil {
		return err
	}
	err := run(ctx, p)
	if failed := g.record(ctx, a, audit.KindOutcome, err); failed != nil {
		return failed
	}
	return err
}

// Sweep erases what is past its window, if anything is, and forgets decisions
// that are on record for long. The caller decides how often.
func (g *Gateway) Sweep(ctx context.Context) error {
	now := g.now()
	due, err := g.store.Secrets.Due(ctx, now)
	if err != nil {
		return fmt.Errorf("look for expired versions: %w", err)
	}
	if !due {
		return nil
	}
	destroy := schema.Capability{Resource: schema.Secret, Verb: "destroy"}
	return g.System(ctx, "sweep", destroy, schema.Path{}, func(ctx context.Context, p permit.Permit) error {
		erased, err := g.store.Secrets.Sweep(ctx, p)
		slog.Info("sweep", "erased", erased)
		return err
	})
}

// Prune forgets which decisions have landed, for decisions older than a day:
// their outcomes are in the trail.
func (g *Gateway) Prune(ctx context.Context) error {
	configure := schema.Capability{Resource: schema.Cluster, Verb: "configure"}
	return g.System(ctx, "prune", configure, schema.MustPath("cluster"), func(ctx context.Context, p permit.Permit) error {
		_, err := g.store.PruneDecisions(ctx, p, p.Time().Add(-24*time.Hour))
		return err
	})
}

// SweepTokens removes the records of tokens that expired long ago.
func (g *Gateway) SweepTokens(ctx context.Context) error {
	remove := schema.Capability{Resource: schema.Token, Verb: "delete"}
	return g.System(ctx, "sweep", remove, schema.Path{}, func(ctx context.Context, p permit.Permit) error {
		_, err := g.store.Identities.Sweep(ctx, p)
		return err
	})
}

// anchor refuses a store that is behind its own trail: then acknowledged changes
// are gone, by corruption or by an old copy put back.
func (g *Gateway) anchor(ctx context.Context) error {
	have, err := g.store.Revision(ctx)
	if err != nil {
		return fmt.Errorf("read the store's revision: %w", err)
	}
	if want := g.trail.LastRevision(); have < want {
		return fault.Newf(fault.Integrity,
			"the store is at revision %d and the trail has seen revision %d: changes are lost or an old copy was put back; restore a backup", have, want)
	}
	return nil
}

// resolve puts an outcome on record for every intent that a crash left without
// one. The store knows which of them landed.
func (g *Gateway) resolve(ctx context.Context) error {
	for _, intent := range g.trail.OpenIntents(ctx) {
		revision, landed, err := g.store.Landed(ctx, intent.Decision)
		if err != nil {
			return fmt.Errorf("resolve decision %s: %w", intent.Decision, err)
		}
		outcome := audit.Outcome{Code: string(fault.Canceled)}
		if landed {
			outcome = audit.Outcome{Code: audit.CodeOK, Revision: revision}
		}
		entry, err := g.reopen(ctx, intent)
		if err != nil {
			return fmt.Errorf("resolve decision %s: %w", intent.Decision, err)
		}
		entry.Kind, entry.Outcome = audit.KindOutcome, outcome
		if err := g.append(ctx, entry); err != nil {
			return fmt.Errorf("resolve decision %s: %w", intent.Decision, err)
		}
		slog.Info("resolved an intent that a crash had left open", "decision", intent.Decision, "landed", landed)
	}
	return nil
}

// reopen makes the entry that a record was made of.
func (g *Gateway) reopen(ctx context.Context, r audit.Record) (audit.Entry, error) {
	in, err := g.trail.Input(ctx, r)
	if err != nil {
		return audit.Entry{}, err
	}
	c, err := schema.ParseCapability(in.Action.Name)
	if err != nil {
		return audit.Entry{}, err
	}
	circumstances, err := in.Context.Restore()
	if err != nil {
		return audit.Entry{}, err
	}
	subject := in.Subject
	return audit.Entry{
		Request: r.Request, Decision: r.Decision, Method: r.Method, Source: r.Source, Version: r.Version, Result: r.Result, Checks: r.Checks,
		Call: schema.Call{
			Principal: schema.Principal{
				Kind: subject.Type, User: subject.ID, Token: subject.Properties.Token, Roles: subject.Properties.Roles,
				Policies: subject.Properties.Policies, Job: subject.Properties.Job,
			},
			Capability: c, Path: r.Path(), Context: circumstances,
		},
	}, nil
}
