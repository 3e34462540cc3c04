package audit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/storage/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// rig is a trail's surroundings, which outlive it.
type rig struct {
	t   testing.TB
	cfg Config
	log *bytes.Buffer
}

const (
	testDir        = "data/audit"
	testCheckpoint = "keys/trail.checkpoint"
)

func newRig(t testing.TB, fs vfs.FS) *rig {
	t.Helper()
	keys, err := crypto.NewKeyring("9f8b7c6d-0000-4000-8000-000000000001", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if fs == nil {
		fs = vfs.NewMem()
	}
	for _, dir := range []string{"keys", testDir} {
		if err := fs.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	log := &bytes.Buffer{}
	return &rig{t, Config{
		Dir: testDir, FS: fs, Keys: keys, Node: "node-1", Checkpoint: testCheckpoint,
		Index: memory.New(), Logger: slog.New(slog.NewTextHandler(log, nil)),
	}, log}
}

func (r *rig) open() *Trail {
	r.t.Helper()
	tr, err := Open(ctx, r.cfg)
	if err != nil {
		r.t.Fatalf("Open: %v", err)
	}
	return tr
}

func (r *rig) close(tr *Trail) {
	r.t.Helper()
	if err := tr.Close(); err != nil {
		r.t.Fatalf("Close: %v", err)
	}
}

func (r *rig) append(tr *Trail, e Entry) uint64 {
	r.t.Helper()
	seq, err := tr.Append(ctx, e)
	if err != nil {
		r.t.Fatalf("Append: %v", err)
	}
	return seq
}

var policies = []string{"base", "deploy-prod-secrets", "team-payments"}

// read is a typical entry: user reads path and may.
func read(user, path string) Entry {
	client := netip.MustParseAddr("10.20.30.40")
	return Entry{
		Kind: KindDecision, Request: "019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b", Decision: schema.NewDecisionID(),
		Method: "Secrets.Get",
		Call: schema.Call{
			Principal: schema.Principal{
				Kind: schema.KindUser, User: user, Token: "tk" + user + "0123456789",
				Roles: []string{"deployer", "viewer"}, Policies: policies,
			},
			Capability: schema.Capability{Resource: schema.Secret, Verb: "read"},
			Path:       schema.MustPath(path),
			Context:    schema.Context{Time: time.Now(), Source: client},
		},
		Version: 3,
		Source: Source{
			Peer: "10.20.30.40:51234", Client: client, Agent: "heroctl/1.2.3 (linux/amd64)", Protocol: "grpc",
		},
		Result: schema.Decision{
			Allow: true, Reason: schema.Granted,
			Rule: schema.RuleRef{Policy: "deploy-prod-secrets", Digest: schema.DigestOf([]byte("p")), Line: 14},
			Set:  schema.DigestOf([]byte("set")), Revision: 123456,
		},
		Outcome: Outcome{Code: CodeOK, Version: 3},
		Latency: 734 * time.Microsecond,
	}
}

func denied(user, path string) Entry {
	e := read(user, path)
	e.Result.Allow, e.Result.Reason, e.Result.Rule = false, schema.NoRule, schema.RuleRef{}
	e.Outcome = Outcome{Code: "denied"}
	return e
}

// update is a mutation: an intent, and its outcome at a store revision.
func update(user, path string, rev schema.Revision) (intent, outcome Entry) {
	intent = read(user, path)
	intent.Kind, intent.Method = KindIntent, "Secrets.Update"
	intent.Call.Capability.Verb = "update"
	intent.Outcome = Outcome{}
	outcome = intent
	outcome.Kind, outcome.Outcome = KindOutcome, Outcome{Code: CodeOK, Revision: rev, Version: 4}
	return intent, outcome
}

func users(n int) string { return fmt.Sprintf("user-%03d", n) }

func TestAppendFindReopen(t *testing.T) {
	r := newRig(t, nil)
	tr := r.open()
	a := read("alice", "prod/payments/db")
	seq := r.append(tr, a)
	intent, outcome := update("bob", "prod/payments/db", 77)
	r.append(tr, intent)
	r.append(tr, outcome)
	r.append(tr, denied("mallory", "prod/payments/db"))
	if seq != 2 {
		t.Errorf("first record has sequence %d, want 2, after the definition of its policy list", seq)
	}
	check := func(tr *Trail) {
		t.Helper()
		page, err := tr.Find(ctx, Query{Resource: schema.Secret, Path: schema.MustPath("prod/payments/db")})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, row := range page.Rows {
			got += fmt.Sprintf("%s %s %s; ", row.Input.Subject.ID, row.Input.Action.Name, row.Result())
		}
		want := "alice secret:read allow; bob secret:update allow; mallory secret:read deny; "
		if got != want {
			t.Errorf("rows are %q, want %q", got, want)
		}
		rs, err := tr.ByDecision(ctx, intent.Decision)
		if err != nil || len(rs) != 2 || rs[0].Kind != KindIntent || rs[1].Kind != KindOutcome {
			t.Errorf("ByDecision = %v, %v; want intent and outcome", rs, err)
		}
		if got := tr.LastRevision(); got != 77 {
			t.Errorf("LastRevision = %d, want 77", got)
		}
		rep, err := tr.Verify(ctx)
		if err != nil || !rep.Integrity.OK {
			t.Errorf("Verify = %+v, %v", rep, err)
		}
	}
	check(tr)
	r.close(tr)
	tr = r.open()
	check(tr)
	r.append(tr, read("carol", "prod/x"))
	r.close(tr)
	tr = r.open()
	check(tr)
	rep, err := tr.Verify(ctx)
	if err != nil || !rep.Integrity.OK || !rep.Completeness.OK || rep.Records != 7 {
		t.Errorf("Verify = %+v, %v; want 7 good records", rep, err)
	}
	r.close(tr)
	if r.log.Len() > 0 {
		t.Errorf("log: %s", r.log)
	}
}

func contextWithTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}
