package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// oracle compares what a server shows with what was acknowledged before:
//
//   - every acknowledged change is there, with exact bytes and version number;
//   - one that was not acknowledged is there as a whole or not at all;
//   - every acknowledged change has its decision and outcome in the trail, and
//     what the trail says of the others is what came of them;
//   - no intent is without an outcome.
type oracle struct {
	server *server
	admin  *client.Client
}

// check compares what changed in the last cycle, or with deep everything.
// since is when that cycle began. Comparing again gives the same result.
func (o *oracle) check(ctx context.Context, w *writer, since time.Time, deep bool) error {
	for _, t := range append(append([]*thing{w.policy}, w.secrets...), w.tokens...) {
		if t.pending == nil && !t.touched && !deep {
			continue
		}
		if err := o.settle(ctx, t, deep); err != nil {
			return fmt.Errorf("%s %s: %w", t.kind, t.path, err)
		}
	}
	if err := o.newTokens(ctx, w); err != nil {
		return err
	}
	return o.trail(ctx, w, since, w.sent != nil && w.sent.landed)
}

// settle compares a thing with its state; if a change was not acknowledged, with
// the states before and after it, and finds out whether it landed.
func (o *oracle) settle(ctx context.Context, t *thing, deep bool) error {
	before := o.matches(ctx, t, t.state, deep || t.pending != nil)
	if before == nil {
		t.pending, t.touched = nil, false
		return nil
	}
	if t.pending == nil {
		return before
	}
	op := t.pending
	if after := o.matches(ctx, t, op.after, true); after != nil {
		return fmt.Errorf("after an unacknowledged %s: neither before (%w) nor after (%w)", op.action, before, after)
	}
	op.landed = true
	t.state, t.pending, t.touched = op.after, nil, false
	return nil
}

// matches says how a thing differs from a state; nil if it does not.
func (o *oracle) matches(ctx context.Context, t *thing, s state, deep bool) error {
	switch t.kind {
	case "secret":
		return o.secret(ctx, t, s, deep)
	case "policy":
		return o.policy(ctx, t, s)
	}
	return o.token(ctx, t, s)
}

func (o *oracle) secret(ctx context.Context, t *thing, s state, deep bool) error {
	info, err := o.admin.Secrets().DescribeSecret(ctx, &v1.DescribeSecretRequest{Path: t.path})
	switch {
	case errors.Is(err, fault.NotFound) && !s.exists:
		return nil
	case err != nil:
		return err
	case !s.exists:
		return errors.New("it is there and should not be")
	case info.GetVersion() != s.last || (info.GetDeleted() != nil) != s.deleted || info.GetDescription() != s.note:
		return fmt.Errorf("got version %d, deleted %v, note %q; want %d, %v, %q",
			info.GetVersion(), info.GetDeleted() != nil, info.GetDescription(), s.last, s.deleted, s.note)
	}
	if s.deleted {
		return o.unreadable(ctx, t.path)
	}
	first := s.last
	if deep {
		first = s.first
		if err := o.history(ctx, t.path, s); err != nil {
			return err
		}
	}
	for v := first; v <= s.last; v++ {
		got, err := o.admin.Secrets().GetSecret(ctx, &v1.GetSecretRequest{Path: t.path, Version: v})
		if err != nil {
			return fmt.Errorf("version %d: %w", v, err)
		}
		if string(got.GetValue()) != s.values[v] || got.GetVersion() != v {
			return fmt.Errorf("version %d: got %q (version %d), want %q", v, got.GetValue(), got.GetVersion(), s.values[v])
		}
	}
	return nil
}

func (o *oracle) unreadable(ctx context.Context, path string) error {
	if _, err := o.admin.Secrets().GetSecret(ctx, &v1.GetSecretRequest{Path: path}); !errors.Is(err, fault.NotFound) {
		return fmt.Errorf("reading a deleted secret: got %v, want not_found", err)
	}
	return nil
}

// history wants exactly the versions from first to last, the newest first.
func (o *oracle) history(ctx context.Context, path string, s state) error {
	got, err := o.admin.Secrets().ListSecretVersions(ctx, &v1.ListSecretVersionsRequest{Path: path})
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	want := s.last
	for _, v := range got.GetVersions() {
		if v.GetVersion() != want {
			return fmt.Errorf("history: got version %d, want %d", v.GetVersion(), want)
		}
		want--
	}
	if want != s.first-1 {
		return fmt.Errorf("history ends at version %d, want %d", want+1, s.first)
	}
	return nil
}

func (o *oracle) policy(ctx context.Context, t *thing, s state) error {
	got, err := o.admin.Policies().GetPolicy(ctx, &v1.GetPolicyRequest{Name: t.path})
	switch {
	case errors.Is(err, fault.NotFound) && !s.exists:
		return nil
	case err != nil:
		return err
	case !s.exists:
		return errors.New("it is there and should not be")
	case strings.TrimSpace(got.GetText()) != strings.TrimSpace(s.values[0]):
		return fmt.Errorf("got text\n%swant\n%s", got.GetText(), s.values[0])
	case got.GetVersion() < t.seen || got.GetVersion() == t.seen && t.touched:
		return fmt.Errorf("version %d comes after version %d", got.GetVersion(), t.seen)
	}
	t.seen = got.GetVersion()
	return nil
}

func (o *oracle) token(ctx context.Context, t *thing, s state) error {
	got, err := o.admin.Access().DescribeToken(ctx, &v1.DescribeTokenRequest{Path: t.path})
	if err != nil {
		return err
	}
	if want := map[bool]string{true: "active", false: "revoked"}[s.exists]; got.GetState() != want {
		return fmt.Errorf("it is %s, want %s", got.GetState(), want)
	}
	if t.state.note == "" { // it was never shown
		return nil
	}
	_, err = o.server.client(t.state.note).Access().WhoAmI(ctx, &v1.WhoAmIRequest{})
	if s.exists && err != nil || !s.exists && !errors.Is(err, fault.Unauthenticated) {
		return fmt.Errorf("using it: %v, and it is %s", err, got.GetState())
	}
	return nil
}

// newTokens finds the token whose making was not acknowledged.
func (o *oracle) newTokens(ctx context.Context, w *writer) error {
	if w.sent == nil || w.sent.thing.kind != "token" || w.sent.action != "create" {
		return nil
	}
	known := map[string]bool{}
	for _, t := range w.tokens {
		known[t.path] = true
	}
	var page string
	for {
		got, err := o.admin.Access().ListTokens(ctx, &v1.ListTokensRequest{User: w.user, PageSize: 1000, PageToken: page})
		if err != nil {
			return fmt.Errorf("list tokens: %w", err)
		}
		for _, t := range got.GetTokens() {
			if known[t.GetPath()] {
				continue
			}
			if w.sent.landed {
				return fmt.Errorf("user %s has two tokens that nobody asked for", w.user)
			}
			w.sent.landed = true
			w.tokens = append(w.tokens, &thing{kind: "token", path: t.GetPath(), state: state{exists: true}})
		}
		if page = got.GetNextPageToken(); page == "" {
			return nil
		}
	}
}

// trail compares the records of the writer's changes with what he knows of them.
func (o *oracle) trail(ctx context.Context, w *writer, since time.Time, landed bool) error {
	rows, err := o.rows(ctx, &v1.ListRecordsRequest{User: w.user, Since: timestamppb.New(since), OldestFirst: true, PageSize: 1000})
	if err != nil {
		return err
	}
	var mutations []*v1.Record
	for _, r := range rows {
		if r.GetKind() == "mutation" {
			mutations = append(mutations, r)
		}
	}
	// One after the other: records are in the order of the calls.
	for i, op := range w.acked {
		if i >= len(mutations) {
			return fmt.Errorf("trail of %s: %d changes were acknowledged, %d are on record", w.user, len(w.acked), len(mutations))
		}
		r := mutations[i]
		if r.GetAction() != op.action || r.GetPath() != op.thing.path || r.GetResult() != "ok" || r.GetDecision() != "allow" ||
			r.GetRevision() == 0 || op.version != 0 && r.GetVersion() != op.version {
			return fmt.Errorf("trail of %s, change %d: %s %s version %d was acknowledged, and on record is %v", w.user, i, op.action, op.thing.path, op.version, r)
		}
	}
	rest := mutations[len(w.acked):]
	switch {
	case len(rest) == 0 && !landed: // the last change did not even arrive
		return nil
	case len(rest) != 1 || w.sent == nil:
		return fmt.Errorf("trail of %s: %d changes on record that were not acknowledged; landed: %v", w.user, len(rest), landed)
	}
	r := rest[0]
	recorded := r.GetResult() == "ok"
	if r.GetAction() != w.sent.action || !strings.HasPrefix(r.GetPath(), w.sent.record) || !recorded && r.GetResult() != "canceled" || recorded != (r.GetRevision() != 0) {
		return fmt.Errorf("trail of %s: %s %s was not acknowledged, and on record is %v", w.user, w.sent.action, w.sent.record, r)
	}
	if w.sent.thing.kind != "shared" && recorded != landed {
		return fmt.Errorf("trail of %s: %s %s landed: %v, and the trail says %q", w.user, w.sent.action, w.sent.record, landed, r.GetResult())
	}
	return nil
}

// rows returns every record that a request selects.
func (o *oracle) rows(ctx context.Context, req *v1.ListRecordsRequest) ([]*v1.Record, error) {
	var all []*v1.Record
	for {
		page, err := o.admin.Audit().ListRecords(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("query the trail: %w", err)
		}
		all = append(all, page.GetRecords()...)
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return all, nil
		}
	}
}

// unsettled wants no intent without an outcome.
func (o *oracle) unsettled(ctx context.Context, since time.Time) error {
	rows, err := o.rows(ctx, &v1.ListRecordsRequest{Result: "unknown", Since: timestamppb.New(since), PageSize: 1000})
	if err == nil && len(rows) > 0 {
		err = fmt.Errorf("%d intents have no outcome; the first: %v", len(rows), rows[0])
	}
	return err
}

// shared compares the secret that all writers update: every acknowledged version
// has its value, and the others have one that was sent.
func (o *oracle) shared(ctx context.Context, s *shared) error {
	info, err := o.admin.Secrets().DescribeSecret(ctx, &v1.DescribeSecretRequest{Path: s.path})
	if err != nil {
		return fmt.Errorf("shared secret: %w", err)
	}
	if err := o.history(ctx, s.path, state{first: 1, last: info.GetVersion()}); err != nil {
		return err
	}
	used := map[string]bool{}
	for v := uint32(2); v <= info.GetVersion(); v++ {
		got, err := o.admin.Secrets().GetSecret(ctx, &v1.GetSecretRequest{Path: s.path, Version: v})
		if err != nil {
			return fmt.Errorf("shared secret, version %d: %w", v, err)
		}
		value := string(got.GetValue())
		if want, ok := s.ack[v]; ok && value != want {
			return fmt.Errorf("shared secret, version %d: got %q, acknowledged was %q", v, value, want)
		}
		if !s.sent[value] || used[value] {
			return fmt.Errorf("shared secret, version %d: %q was never sent, or is there twice", v, value)
		}
		used[value] = true
	}
	for v := range s.ack {
		if v > info.GetVersion() {
			return fmt.Errorf("shared secret: version %d was acknowledged; the newest is %d", v, info.GetVersion())
		}
	}
	return nil
}
