package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

// target is a capability on a path.
type target struct {
	cap  schema.Capability
	path schema.Path
}

// call is one request at the door.
type call struct {
	need    *need
	cap     schema.Capability // need.cap, or need.absent where the resource does not exist
	path    string            // as it arrived; the door parses it
	version schema.Version
	also    []target // what else must be allowed for the call to be
	// hand names the policies that the call hands out: the caller must hold each
	// himself, or be allowed to bind it.
	hand []schema.Name
}

// call returns the call of the named method on the path that req names.
func (g *Gateway) call(method string, req proto.Message) call {
	n := g.needs[method]
	return call{need: n, cap: n.cap, path: n.pathText(req)}
}

// act is a call that was allowed, while it runs.
type act struct {
	permit  permit.Permit
	permits []permit.Permit // one for each of call.also
	caller  *caller
	entry   *audit.Entry
	version schema.Version // what the handler read or made, for the record
	count   int            // how many items the handler answers with
}

// all returns the permits of the call, that of the call itself first.
func (a *act) all() []permit.Permit { return append([]permit.Permit{a.permit}, a.permits...) }

// enforce is the door. Every request, whatever its protocol, passes it:
//
//	identify → decide → (mutation: record intent) → run → record outcome → answer
//
// There is no answer without a decision and none without a durable record. The
// record survives the client hanging up.
func enforce[T any](ctx context.Context, g *Gateway, c call, run func(context.Context, *act) (T, error)) (T, error) {
	var none T
	ctx, cancel := context.WithTimeout(ctx, limitOf(c.need.method).deadline)
	defer cancel()
	g.metrics.arrived()
	a, err := g.decide(ctx, c)
	if err != nil {
		return none, g.answer(a, err)
	}
	if c.cap.Mutates() {
		if err := g.record(ctx, a, audit.KindIntent, nil); err != nil {
			return none, g.answer(a, err)
		}
	}
	out, err := guarded(ctx, a, run)
	kind := audit.KindDecision
	if c.cap.Mutates() {
		kind = audit.KindOutcome
	}
	if failed := g.record(ctx, a, kind, err); failed != nil {
		return none, g.answer(a, failed)
	}
	if err != nil {
		return none, g.answer(a, err)
	}
	g.metrics.answered(a.entry, "")
	return out, nil
}

// guarded runs the handler. A panic becomes an internal error, so that the
// outcome is on record all the same.
func guarded[T any](ctx context.Context, a *act, run func(context.Context, *act) (T, error)) (out T, err error) {
	defer func() {
		if broken := recover(); broken != nil {
			slog.Error("handler panicked", "method", a.entry.Method, "type", fmt.Sprintf("%T", broken), "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "")
		}
	}()
	return run(ctx, a)
}

// identify returns who the caller is, or why he is nobody. A refused token's user
// and accessor are known when the token was real: they are for the record.
func (g *Gateway) identify(ctx context.Context, who *caller) (schema.Principal, schema.Reason) {
	if who.token == nil {
		return schema.Principal{}, schema.Unauthenticated
	}
	principal, err := g.store.Identities.Authenticate(ctx, who.token, who.arrived, who.source.Client)
	var refused *storage.AuthError
	switch {
	case err == nil:
		return principal, schema.Granted
	case errors.As(err, &refused):
		if refused.User == "" {
			return schema.Principal{}, refused.Reason
		}
		return schema.Principal{Kind: schema.KindUser, User: refused.User, Token: refused.Token}, refused.Reason
	case errors.Is(err, fault.Integrity):
		return schema.Principal{}, schema.Integrity
	}
	slog.Error("cannot look a token up", "err", err)
	return schema.Principal{}, schema.Unavailable
}

// knows puts into the account who the caller is, and how that is known of one who is
// admitted.
func (a *act) knows(who schema.Principal, reason schema.Reason) {
	a.entry.Call.Principal = who
	if reason == schema.Granted {
		a.entry.Call.Context.Method, a.entry.Call.Context.TokenIssued = schema.MethodToken, who.Issued
	}
}

// decide identifies the caller and decides the call. A refusal is on record when
// it returns.
func (g *Gateway) decide(ctx context.Context, c call) (*act, error) {
	a := g.begin(ctx, c.need.label, c.cap)
	a.version, a.entry.Version = c.version, c.version
	principal, reason := g.identify(ctx, a.caller)
	a.knows(principal, reason)
	if reason != schema.Granted {
		return a, g.refuse(ctx, a, reason, "")
	}
	if detail := g.locate(c, a); detail != "" {
		return a, g.refuse(ctx, a, schema.InvalidPath, detail)
	}
	a.entry.Call = g.engine.Complete(a.entry.Call)
	a.entry.Result, a.permit = g.ask(ctx, c, a)
	for _, t := range c.also {
		if !a.entry.Result.Allow {
			break
		}
		decision, p := g.check(ctx, a, t)
		if !decision.Allow {
			a.entry.Result = decision
		}
		a.permits = append(a.permits, p)
	}
	detail := ""
	if a.entry.Result.Allow {
		detail = g.mayHand(ctx, c, a)
	}
	if !a.entry.Result.Allow {
		return a, g.refuse(ctx, a, a.entry.Result.Reason, detail)
	}
	return a, nil
}

// begin starts the account of one request.
func (g *Gateway) begin(ctx context.Context, label string, c schema.Capability) *act {
	who := g.callerFrom(ctx)
	return &act{caller: who, entry: &audit.Entry{
		Request: who.request, Decision: schema.NewDecisionID(), Method: label, Source: who.source,
		Call: schema.Call{Capability: c, Context: schema.Context{Time: who.arrived, Source: who.source.Client}},
	}}
}

// mayHand denies a call that hands out a policy which the caller neither holds
// nor may bind: nobody gives what he does not have. It says so in words.
func (g *Gateway) mayHand(ctx context.Context, c call, a *act) string {
	for _, name := range c.hand {
		if slices.Contains(a.entry.Call.Principal.Policies, name.String()) {
			continue
		}
		if decision, _ := g.check(ctx, a, target{policyBind, name.Path()}); !decision.Allow {
			a.entry.Result = decision
			return "attaching a policy that you do not hold yourself needs policy:bind on it"
		}
	}
	return ""
}

// locate parses the call's path into the entry; it says what is wrong with it, or
// "". A call about one's own token is located by the principal.
func (g *Gateway) locate(c call, a *act) string {
	if c.need.self {
		who := a.entry.Call.Principal
		a.entry.Call.Path = schema.MustPath(who.User + "/" + who.Token)
		return ""
	}
	if c.need.filtered && (c.path == "" || c.path == "*" && c.need.strict) {
		return ""
	}
	path, err := schema.ParsePath(c.path)
	if err != nil {
		return fault.Detail(err)
	}
	a.entry.Call.Path = path
	return ""
}

// ask puts the call to the engine.
func (g *Gateway) ask(ctx context.Context, c call, a *act) (schema.Decision, permit.Permit) {
	id, question := a.entry.Decision, a.entry.Call
	switch {
	case c.need.self:
		return g.engine.Self(id, question)
	case c.need.filtered && (!c.need.strict || question.Path.IsZero()):
		decision, p := g.engine.List(ctx, id, question)
		if filter, ok := p.Filter(c.cap); c.need.strict && ok && len(filter.Prefixes()) == 0 {
			decision.Allow, decision.Reason = false, schema.NoRule
		}
		return decision, p
	}
	return g.engine.Authorize(ctx, id, question)
}

// check decides a further capability that the call needs, and keeps the answer
// for the record.
func (g *Gateway) check(ctx context.Context, a *act, t target) (schema.Decision, permit.Permit) {
	question := a.entry.Call
	question.Capability, question.Path = t.cap, t.path
	decision, p := g.engine.Authorize(ctx, a.entry.Decision, question)
	a.entry.Checks = append(a.entry.Checks, audit.Check{
		Capability: t.cap, Path: t.path, Allow: decision.Allow, Reason: decision.Reason, Rule: decision.Rule,
	})
	return decision, p
}

// refuse records a refusal and returns it as an error.
func (g *Gateway) refuse(ctx context.Context, a *act, reason schema.Reason, detail string) error {
	a.entry.Result.Allow, a.entry.Result.Reason = false, reason
	err := error(&refusal{id: a.entry.Decision, reason: reason, detail: detail})
	if kindOfReason(reason) == fault.Unauthenticated {
		if v := g.strangers.pass(a.caller.source.Client, a.caller.arrived); !v.ok {
			return g.slowDown(ctx, a, v, "too many requests without a valid token from this address; wait a second")
		}
	}
	if failed := g.record(ctx, a, audit.KindDecision, err); failed != nil {
		return failed
	}
	return err
}

// slowDown refuses a request over a rate. It is recorded once a second, with the
// number of those that were not.
func (g *Gateway) slowDown(ctx context.Context, a *act, v verdict, detail string) error {
	err := fault.New(fault.RateLimited, detail)
	if !v.record {
		return err
	}
	a.entry.Result.Allow, a.entry.Result.Reason, a.count = false, schema.RateLimited, v.unrecorded
	if failed := g.record(ctx, a, audit.KindDecision, err); failed != nil {
		return failed
	}
	return err
}

// crowd refuses a request from an address that sends more than the configuration
// allows, before anything of it is read, and returns nil for any other.
func (g *Gateway) crowd(ctx context.Context, n *need) error {
	who := g.callerFrom(ctx)
	v := g.rate.pass(who.source.Client, who.arrived)
	if v.ok {
		return nil
	}
	g.metrics.arrived()
	a := g.begin(ctx, n.label, n.cap)
	return g.answer(a, g.slowDown(ctx, a, v, "too many requests from this address"))
}

// record appends the entry to the trail. When it returns nil the record is as
// durable as the configuration asks.
func (g *Gateway) record(ctx context.Context, a *act, kind audit.Kind, err error) error {
	ctx = context.WithoutCancel(ctx)
	entry := *a.entry
	entry.Kind = kind
	if a.version != 0 {
		entry.Version = a.version
	}
	if kind != audit.KindIntent {
		entry.Outcome = g.outcome(ctx, a, kind, err)
		entry.Latency = g.now().Sub(a.caller.arrived)
	}
	if failed := g.append(ctx, entry); failed != nil {
		slog.Error("trail refused a record", "decision", entry.Decision, "err", failed)
		return fault.Wrap(fault.Unavailable, "the audit trail cannot take a record, so nothing is answered; try again", failed)
	}
	return nil
}

// append hands an entry to the trail and remembers whether it was taken, for the
// readiness check.
func (g *Gateway) append(ctx context.Context, e audit.Entry) error {
	_, err := g.trail.Append(ctx, e)
	if failed := err != nil; failed != g.trailFailed.Load() {
		g.trailFailed.Store(failed)
	}
	return err
}

// outcome says what came of the call. For a change it holds the store revision at
// which it landed, also when the handler failed after that.
func (g *Gateway) outcome(ctx context.Context, a *act, kind audit.Kind, err error) audit.Outcome {
	out := audit.Outcome{Code: audit.CodeOK, Count: a.count, Version: a.version}
	if err != nil {
		out.Code = string(fault.KindOf(err))
	}
	if kind == audit.KindOutcome {
		revision, landed, failed := g.store.Landed(ctx, a.entry.Decision)
		if failed != nil {
			slog.Error("cannot tell whether a change landed", "decision", a.entry.Decision, "err", failed)
		}
		if landed {
			out.Revision = revision
		}
	}
	return out
}

// answer turns a failure into what the caller sees, and logs what he does not.
func (g *Gateway) answer(a *act, err error) error {
	kind := fault.KindOf(err)
	var r *refusal
	if !errors.As(err, &r) && (kind == fault.Internal || kind == fault.Integrity || kind == fault.Unavailable) {
		slog.Error("request failed", "method", a.entry.Method, "decision", a.entry.Decision, "kind", kind, "err", err)
	}
	g.metrics.answered(a.entry, kind)
	return statusOf(problem(err, a.entry.Decision))
}
