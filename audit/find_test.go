package audit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

// model answers queries by looking at every record.
func model(rs []Record, q Query) []schema.DecisionID {
	rows := map[schema.DecisionID]Row{}
	var order []schema.DecisionID
	for _, r := range rs {
		switch r.Kind {
		case KindDefinition:
		case KindOutcome:
			row := rows[r.Decision]
			row.Settled = &r
			rows[r.Decision] = row
		default:
			rows[r.Decision] = Row{Record: r}
			order = append(order, r.Decision)
		}
	}
	var ids []schema.DecisionID
	for _, id := range order {
		if q.selects(rows[id]) {
			ids = append(ids, id)
		}
	}
	if q.Newest {
		slices.Reverse(ids)
	}
	return ids
}

// pages collects all pages of a query.
func pages(t *testing.T, tr *Trail, q Query) []schema.DecisionID {
	t.Helper()
	var ids []schema.DecisionID
	for {
		page, err := tr.Find(ctx, q)
		if err != nil {
			t.Fatalf("Find(%+v): %v", q, err)
		}
		for _, row := range page.Rows {
			ids = append(ids, row.Decision)
		}
		if q.After = page.Next; q.After == "" {
			return ids
		}
	}
}

// The index gives what a look at every record gives, in order, for every mix of
// filters, both ways, in pages of any size, even if the clock was set back.
func TestFindAgreesWithModel(t *testing.T) {
	t.Run("short blocks", func(t *testing.T) { findAgrees(t, newRig(t, nil), time.Millisecond, 700, 150) })
	t.Run("long blocks", func(t *testing.T) { findAgrees(t, newRig(t, nil), time.Hour, 2*followBatch, 20) })
	t.Run("failing index", func(t *testing.T) {
		r := newRig(t, nil)
		r.cfg.Index = &failingKV{KV: r.cfg.Index}
		findAgrees(t, r, 5*time.Millisecond, 1500, 40)
	})
}

// failingKV fails two of five commits, one of them after it landed. A batch of
// the index is then cut off in the middle and applied again, longer.
type failingKV struct {
	storage.KV
	n atomic.Int64
}

func (f *failingKV) Commit(ctx context.Context, b storage.Batch) (schema.Revision, error) {
	switch f.n.Add(1) % 5 {
	case 0:
		return 0, fault.New(fault.Unavailable, "injected")
	case 3:
		_, err := f.KV.Commit(ctx, b)
		return 0, errors.Join(fault.New(fault.Unavailable, "injected"), err)
	}
	return f.KV.Commit(ctx, b)
}

func findAgrees(t *testing.T, r *rig, every time.Duration, records, queries int) {
	rng := seed(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	r.cfg.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Duration(rng.IntN(3000)) * time.Millisecond)
		if rng.IntN(60) == 0 {
			now = now.Add(-time.Duration(rng.IntN(120)) * time.Second)
		}
		return now
	}
	r.cfg.pace, r.cfg.SegmentBytes = quickPace, 400_000
	r.cfg.pace.indexEvery = every
	tr := r.open()
	paths := []string{"prod", "prod/db", "prod/db/main", "prod/web", "dev/db", "stage/a/b/c", "production/db"}
	for i := range records {
		user, path := users(rng.IntN(6)), paths[rng.IntN(len(paths))]
		switch rng.IntN(12) {
		case 0, 1, 2:
			intent, outcome := update(user, path, schema.Revision(i))
			r.append(tr, intent)
			if rng.IntN(4) == 0 {
				outcome.Outcome = Outcome{Code: "conflict"}
			}
			if rng.IntN(5) > 0 {
				r.append(tr, outcome)
			}
		case 3:
			r.append(tr, denied(user, path))
		case 4:
			r.append(tr, Entry{Kind: KindEvent, Method: "Server.Tick", Decision: schema.NewDecisionID()})
		default:
			e := read(user, path)
			if rng.IntN(2) == 0 {
				e.Call.Capability = schema.Capability{Resource: schema.Job, Verb: "run"}
			}
			e.Call.Principal.Roles = [][]string{nil, {"viewer"}, {"deployer", "viewer"}}[rng.IntN(3)]
			e.Call.Principal.Job = []string{"", "", "nightly"}[rng.IntN(3)]
			e.Call.Context.Source = netip.MustParseAddr(addresses[rng.IntN(len(addresses))])
			r.append(tr, e)
		}
	}
	rs := all(t, tr)
	for i := range queries {
		q := randomQuery(rng, rs, paths)
		want, got := model(rs, q), pages(t, tr, q)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("query %d %+v: %d rows, want %d (-model +index):\n%.2000s", i, q, len(got), len(want), diff)
		}
	}
	r.close(tr)
}

var addresses = []string{"10.20.30.40", "10.20.30.41", "10.20.31.1", "192.0.2.1", "2001:db8:1::5", "2001:db8:1:2::6", "2001:db8:2::7", "::ffff:10.20.30.42"}

// randomRest adds the filters that say more about the caller.
func randomRest(rng *rand.Rand, rs []Record, q *Query) {
	maybe := func() bool { return rng.IntN(5) == 0 }
	if maybe() {
		q.Role = []string{"viewer", "deployer", "nobody"}[rng.IntN(3)]
	}
	if maybe() {
		q.Job = []string{"nightly", "weekly"}[rng.IntN(2)]
	}
	if maybe() {
		ranges := []string{"10.20.30.40/32", "10.20.30.0/24", "10.20.30.0/25", "10.20.0.0/16", "0.0.0.0/0", "2001:db8:1::/48", "2001:db8:1:2::/64", "2001:db8::/32"}
		q.Source = netip.MustParsePrefix(ranges[rng.IntN(len(ranges))])
	}
	if maybe() {
		patterns := []string{"*", "prod/*", "prod*", "+/db", "prod/+", "prod/db", "stage/a/+/*", "no/such/*"}
		q.Pattern = schema.MustPattern(patterns[rng.IntN(len(patterns))])
	}
	if maybe() {
		q.Reason = []schema.Reason{schema.Granted, schema.NoRule, schema.TokenExpired}[rng.IntN(3)]
	}
	if maybe() {
		q.Beyond = rs[rng.IntN(len(rs))].Sequence
	}
}

func randomQuery(rng *rand.Rand, rs []Record, paths []string) Query {
	maybe := func() bool { return rng.IntN(4) == 0 }
	q := Query{Newest: rng.IntN(2) == 0, Limit: 1 + rng.IntN(200)}
	if rng.IntN(2) == 0 {
		q.Resource = []schema.Resource{schema.Secret, schema.Job}[rng.IntN(2)]
	}
	if maybe() {
		q.Path = schema.MustPath(paths[rng.IntN(len(paths))])
	}
	if maybe() {
		q.Prefix = must(schema.ParsePrefix(paths[rng.IntN(len(paths))]))
	}
	if maybe() {
		q.User = users(rng.IntN(7))
	}
	if maybe() {
		q.Token = "tk" + users(rng.IntN(6)) + "0123456789"
	}
	if maybe() {
		q.Capabilities = []schema.Capability{{Resource: schema.Secret, Verb: "read"}, {Resource: schema.Secret, Verb: "update"}}
	}
	if maybe() {
		q.Result = []Result{ResultAllow, ResultDeny, ResultFailed, ResultUnknown}[rng.IntN(4)]
	}
	if maybe() {
		q.Decision = rs[rng.IntN(len(rs))].Decision
	}
	if maybe() {
		q.Since = rs[rng.IntN(len(rs))].Time
	}
	if maybe() {
		q.Until = rs[rng.IntN(len(rs))].Time
	}
	if maybe() {
		q.Visible = func(p schema.Path) bool { return strings.HasPrefix(p.String(), "prod") }
	}
	randomRest(rng, rs, &q)
	return q
}

func TestCursorOfAnotherQuery(t *testing.T) {
	r := newRig(t, nil)
	tr := r.open()
	r.append(tr, read("alice", "prod/db"))
	for _, after := range []string{"U1", "Qx", "Z", "Q-1", "é9"} {
		if _, err := tr.Find(ctx, Query{After: after}); !errors.Is(err, fault.InvalidArgument) {
			t.Errorf("Find after %q = %v, want invalid argument", after, err)
		}
	}
	r.close(tr)
}

func TestWithoutIndex(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.Index = nil
	tr := r.open()
	r.append(tr, read("alice", "prod/db"))
	if _, err := tr.Find(ctx, Query{}); !errors.Is(err, fault.Unsupported) {
		t.Errorf("Find = %v, want unsupported", err)
	}
	rec := all(t, tr)[1]
	in, err := tr.Input(ctx, rec)
	if err != nil || !slices.Equal(in.Subject.Properties.Policies, policies) {
		t.Errorf("Input = %v, %v; want the policies from the segment", in.Subject.Properties.Policies, err)
	}
	r.close(tr)
}

// The full input comes back, whatever segment the record is in, and each segment
// defines what its records refer to.
func TestInputIsWhole(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.SegmentBytes, r.cfg.pace = 5000, quickPace
	tr := r.open()
	want := map[schema.DecisionID]schema.Input{}
	for i := range 60 {
		e := read(users(i%4), "prod/db")
		e.Call.Principal.Policies = policies[:1+i%3]
		if i%10 == 0 {
			e.Call.Principal.Policies = nil
		}
		r.append(tr, e)
		want[e.Decision] = e.Call.Input()
	}
	defined := map[uint64]map[schema.Digest]bool{}
	for _, rec := range all(t, tr) {
		if rec.Kind == KindDefinition {
			if defined[rec.segment] == nil {
				defined[rec.segment] = map[schema.Digest]bool{}
			}
			defined[rec.segment][rec.Definition.Digest] = true
			continue
		}
		if rec.Attached != (schema.Digest{}) && !defined[rec.segment][rec.Attached] {
			t.Errorf("segment %d does not define the policy list of record %d", rec.segment, rec.Sequence)
		}
		in, err := tr.Input(ctx, rec)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[rec.Decision], in); diff != "" {
			t.Errorf("input (-want +got):\n%s", diff)
		}
	}
	if len(defined) < 5 {
		t.Errorf("only %d segments were written", len(defined))
	}
	r.close(tr)
}

// Intents without an outcome are found again after a crash or a stop, however
// long ago they were, until an outcome settles them.
func TestOpenIntents(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.SegmentBytes, r.cfg.pace = 4000, quickPace
	tr := r.open()
	lost, late := update("alice", "prod/db", 5)
	r.append(tr, lost)
	for i := range 30 { // several segments and checkpoints later
		intent, outcome := update("bob", "prod/db", schema.Revision(10+i))
		r.append(tr, intent)
		r.append(tr, outcome)
	}
	other, otherOutcome := update("carol", "prod/web", 41)
	r.append(tr, other)
	if got := tr.OpenIntents(ctx); len(got) != 0 {
		t.Errorf("OpenIntents of a running trail = %d records, want those found at Open: none", len(got))
	}
	page, err := tr.Find(ctx, Query{User: "alice"})
	if err != nil || len(page.Rows) != 1 || page.Rows[0].Result() != ResultUnknown {
		t.Errorf("Find = %+v, %v; want one unknown row", page, err)
	}
	r.close(tr)
	for round := range 2 {
		tr = r.open()
		ids := []schema.DecisionID{}
		for _, rec := range tr.OpenIntents(ctx) {
			ids = append(ids, rec.Decision)
		}
		if diff := cmp.Diff([]schema.DecisionID{lost.Decision, other.Decision}, ids); diff != "" {
			t.Errorf("round %d: open intents (-want +got):\n%s", round, diff)
		}
		if tr.LastRevision() != 39 {
			t.Errorf("LastRevision = %d, want 39", tr.LastRevision())
		}
		if round == 0 {
			r.close(tr)
		}
	}
	late.Outcome = Outcome{Code: "unavailable"}
	r.append(tr, late)
	r.append(tr, otherOutcome)
	if got := tr.OpenIntents(ctx); len(got) != 0 {
		t.Errorf("OpenIntents after the outcomes = %d records, want none", len(got))
	}
	r.close(tr)
	tr = r.open()
	if got := tr.OpenIntents(ctx); len(got) != 0 || tr.LastRevision() != 41 {
		t.Errorf("after a restart: %d open intents, revision %d; want 0, 41", len(got), tr.LastRevision())
	}
	page, err = tr.Find(ctx, Query{User: "alice", Result: ResultFailed})
	if err != nil || len(page.Rows) != 1 || page.Rows[0].Settled == nil || page.Rows[0].Came().Code != "unavailable" {
		t.Errorf("Find failed = %+v, %v", page, err)
	}
	r.close(tr)
}

// Many writers: every record once, in one chain, numbers as they were told.
func TestConcurrentAppend(t *testing.T) {
	for _, mode := range []Durability{Strict, Kernel} {
		r := newRig(t, nil)
		r.cfg.Durability, r.cfg.SegmentBytes, r.cfg.pace = mode, 50_000, quickPace
		tr := r.open()
		told := make([]map[uint64]schema.DecisionID, 32)
		var wg sync.WaitGroup
		for w := range told {
			told[w] = map[uint64]schema.DecisionID{}
			wg.Go(func() {
				for i := range 40 {
					e := read(users(w), "prod/db")
					if i%7 == 0 {
						e.Kind = KindIntent
					}
					seq, err := tr.Append(ctx, e)
					if err != nil {
						t.Error(err)
						return
					}
					told[w][seq] = e.Decision
					if i%20 == 0 {
						rs, err := tr.ByDecision(ctx, e.Decision)
						if err != nil || len(rs) != 1 || rs[0].Sequence != seq {
							t.Errorf("ByDecision right after Append = %v, %v", rs, err)
						}
					}
				}
			})
		}
		wg.Wait()
		r.close(tr)
		tr = r.open()
		rs := all(t, tr)
		for _, numbers := range told {
			for seq, id := range numbers {
				if rs[seq-1].Sequence != seq || rs[seq-1].Decision != id {
					t.Errorf("record %d is %s, want %s", seq, rs[seq-1].Decision, id)
				}
			}
		}
		for i := 1; i < len(rs); i++ {
			if !rs[i].Time.After(rs[i-1].Time) {
				t.Errorf("record %d is not later than the one before", rs[i].Sequence)
			}
		}
		verified(t, tr)
		r.close(tr)
	}
}

// Anyone with the public key can check a record against a checkpoint, with the
// tools of package tlog and the record's JSON.
func TestProof(t *testing.T) {
	r := filled(t, 30)
	tr := r.open()
	signed := readFile(t, r.cfg.FS, testCheckpoint)
	verifier, err := note.NewVerifier(r.cfg.Keys.VerifierKey(tr.Origin()))
	if err != nil {
		t.Fatal(err)
	}
	cp, err := OpenCheckpoint(signed, verifier)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range all(t, tr) {
		proof, err := tlog.ProveRecord(int64(cp.Size), int64(rec.Sequence-1), tr.Hashes())
		if err != nil {
			t.Fatal(err)
		}
		leaf := tlog.RecordHash(rec.JSON())
		if err := tlog.CheckRecord(proof, int64(cp.Size), cp.Root, int64(rec.Sequence-1), leaf); err != nil {
			t.Errorf("record %d: %v", rec.Sequence, err)
		}
	}
	r.close(tr)
	if err := r.cfg.FS.Remove(r.cfg.FS.PathJoin(testDir, treeName)); err != nil { // made anew
		t.Fatal(err)
	}
	tr = r.open()
	if err := tr.follow[0].wait(ctx, cp.Size, true); err != nil {
		t.Fatal(err)
	}
	if root, err := tlog.TreeHash(int64(cp.Size), tr.Hashes()); err != nil || root != cp.Root {
		t.Errorf("rebuilt tree has root %v, %v; want %v", root, err, cp.Root)
	}
	r.close(tr)
}

func TestCheckpointText(t *testing.T) {
	c := Checkpoint{Origin: "heroctl/c/t", Size: 7, Root: tlog.RecordHash(nil), Revision: 3, Keyring: 2, Open: []uint64{4, 6}}
	want := fmt.Sprintf("heroctl/c/t\n7\n%s\nrevision 3\nkeyring 2\nopen 4 6\n", tlog.RecordHash(nil))
	if c.text() != want {
		t.Errorf("text is %q, want %q", c.text(), want)
	}
	got, err := parseCheckpoint(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
}

func TestConfigIsChecked(t *testing.T) {
	r := newRig(t, nil)
	for want, change := range map[string]func(*Config){
		"the trail needs a folder, a checkpoint path and a keyring":    func(c *Config) { c.Checkpoint = "" },
		"the trail's durability is strict or kernel":                   func(c *Config) { c.Durability = 2 },
		"a segment of the trail is at most 1 GiB long":                 func(c *Config) { c.SegmentBytes = 2 << 30 },
		"the node name has a character outside A-Z a-z 0-9 . _ -":      func(c *Config) { c.Node = "a b" },
		"the trail's folder cannot be used, or another server uses it": func(c *Config) { c.Dir = "busy" },
	} {
		cfg := r.cfg
		change(&cfg)
		var other *Trail
		if cfg.Dir == "busy" {
			first := cfg
			first.Checkpoint = "keys/busy"
			other = must(Open(ctx, first))
		}
		if _, err := Open(ctx, cfg); fault.Detail(err) != want {
			t.Errorf("Open = %v, want %q", err, want)
		}
		if other != nil {
			r.close(other)
		}
	}
}

func TestClosed(t *testing.T) {
	r := newRig(t, nil)
	tr := r.open()
	r.append(tr, read("alice", "prod/db"))
	r.close(tr)
	r.close(tr)
	if _, err := tr.Append(ctx, read("alice", "prod/db")); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Append after Close = %v, want unavailable", err)
	}
	if _, err := tr.Find(ctx, Query{}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Find after Close = %v, want unavailable", err)
	}
}
