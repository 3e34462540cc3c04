package engine

import (
	"context"
	"strings"
	"time"

	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
)

// Authorize decides a call of a user on one path. When it is allowed, the permit is
// for exactly this call; otherwise the permit is zero.
func (e *Engine) Authorize(ctx context.Context, id schema.DecisionID, c schema.Call) (schema.Decision, permit.Permit) {
	now := e.current.Load()
	if reason := refuse(now, c); reason != "" {
		return now.decision(verdict{reason: reason}), permit.Permit{}
	}
	if c.Path.IsZero() {
		return now.decision(verdict{reason: schema.InvalidPath}), permit.Permit{}
	}
	d := now.decision(*now.attachedTo(c.Principal.Policies).decide(ctx, c, nil))
	if !d.Allow {
		return d, permit.Permit{}
	}
	return d, issue(id, c, nil)
}

// List allows every user to list, and gives the permit a filter: a name is shown only
// when the principal has the call's capability on it. So a list of what one may not
// see is empty, and not refused. The path may be zero.
func (e *Engine) List(_ context.Context, id schema.DecisionID, c schema.Call) (schema.Decision, permit.Permit) {
	now := e.current.Load()
	if reason := refuse(now, c); reason != "" {
		return now.decision(verdict{reason: reason}), permit.Permit{}
	}
	filter := &filter{set: now.set, attached: now.attachedTo(c.Principal.Policies), call: c}
	return now.decision(verdict{reason: schema.Granted}), issue(id, c, filter)
}

// Complete returns the call as it is decided, and so as it is to be recorded: with the
// local time of the zones that the principal's policies and the guardrails name. Deciding
// does the same, so that nothing depends on whether a call was completed before.
func (e *Engine) Complete(c schema.Call) schema.Call {
	now := e.current.Load()
	if now == nil || c.Principal.Kind != schema.KindUser {
		return c
	}
	return now.attachedTo(c.Principal.Policies).complete(c)
}

// Self allows a user what needs only authentication: to ask who one is, and to renew
// or revoke one's own token. The caller has made sure that the path is the user's own.
func (e *Engine) Self(id schema.DecisionID, c schema.Call) (schema.Decision, permit.Permit) {
	now := e.current.Load()
	if reason := refuse(now, c); reason != "" {
		return now.decision(verdict{reason: reason}), permit.Permit{}
	}
	return now.decision(verdict{reason: schema.Granted}), issue(id, c, nil)
}

// System allows the server's own work, such as "sweep", and returns the call for the
// trail. No policy is asked: there is nobody to grant the server what keeps it going,
// and it must go on before the first set is active. The path may be zero.
func (e *Engine) System(id schema.DecisionID, task string, cap schema.Capability, path schema.Path, now time.Time) (schema.Call, schema.Decision, permit.Permit) {
	c := schema.Call{
		Principal:  schema.Principal{Kind: schema.KindSystem, User: "system:" + strings.TrimPrefix(task, "system:")},
		Capability: cap,
		Path:       path,
		Context:    schema.Context{Time: now},
	}
	return c, e.current.Load().decision(verdict{reason: schema.Granted}), issue(id, c, nil)
}

// refuse returns why a call is denied before any policy is asked, or "".
func refuse(now *snapshot, c schema.Call) schema.Reason {
	switch {
	case c.Principal.Kind != schema.KindUser || c.Principal.User == "":
		return schema.Unauthenticated
	case now == nil:
		return schema.Unavailable
	case !c.Capability.Valid():
		return schema.InvalidRequest
	}
	return ""
}

// decision returns the verdict as a decision on the snapshot's set. A nil snapshot is
// no set.
func (s *snapshot) decision(v verdict) schema.Decision {
	d := schema.Decision{Allow: v.reason == schema.Granted, Reason: v.reason, Rule: v.rule, Condition: v.unmet}
	if s != nil {
		d.Set, d.Revision = s.set.Digest(), s.revision
	}
	return d
}

func issue(id schema.DecisionID, c schema.Call, f permit.Filter) permit.Permit {
	return permit.Issue(permit.Grant{
		ID: id, Principal: c.Principal, Cap: c.Capability, Path: c.Path, Time: c.Context.Time, Filter: f,
	})
}
