package audit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage/memory"
)

var quickPace = pace{
	appendWait: 2 * time.Second, syncWithin: time.Millisecond, retryAfter: time.Millisecond,
	checkpointEvery: 2 * time.Millisecond, indexEvery: time.Millisecond,
}

// seed returns a random seed, or the one of a failed run from SEED.
func seed(t *testing.T) *rand.Rand {
	n := rand.Uint64()
	if text := os.Getenv("SEED"); text != "" {
		n, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("SEED=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// all returns the records that are in effect, checked to be in order.
func all(t *testing.T, tr *Trail) []Record {
	t.Helper()
	tr.mu.Lock()
	size := tr.durable.size
	tr.mu.Unlock()
	var rs []Record
	if size == 0 {
		return nil
	}
	err := tr.shelf.walk(ctx, 1, size, func(r Record, _ place) error {
		rs = append(rs, r)
		return nil
	})
	if err != nil {
		t.Fatalf("walk: %v", err)
	}
	return rs
}

// times counts the records of each decision, definitions aside.
func times(t *testing.T, tr *Trail) map[schema.DecisionID]int {
	t.Helper()
	n := map[schema.DecisionID]int{}
	for _, r := range all(t, tr) {
		if r.Kind != KindDefinition {
			n[r.Decision]++
		}
	}
	return n
}

func verified(t *testing.T, tr *Trail) {
	t.Helper()
	rep, err := tr.Verify(ctx)
	if err != nil || !rep.Integrity.OK || !rep.Completeness.OK {
		t.Errorf("Verify = %+v, %v; want two good verdicts", rep, err)
	}
}

// ledger is what callers were told.
type ledger struct {
	mu     sync.Mutex
	acked  map[schema.DecisionID]bool // true: must be on the disk
	failed map[schema.DecisionID]bool
}

func newLedger() *ledger {
	return &ledger{acked: map[schema.DecisionID]bool{}, failed: map[schema.DecisionID]bool{}}
}

func (l *ledger) append(tr *Trail, e Entry) error {
	_, err := tr.Append(ctx, e)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed[e.Decision] = true
		return err
	}
	l.acked[e.Decision] = tr.cfg.Durability == Strict || e.Kind == KindIntent
	return nil
}

func (l *ledger) copy() map[schema.DecisionID]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := map[schema.DecisionID]bool{}
	for id, must := range l.acked {
		c[id] = must
	}
	return c
}

// A power cut at any moment loses nothing that was acknowledged as durable, and
// never leaves a checkpoint ahead of the trail.
func TestPowerCut(t *testing.T) {
	rng := seed(t)
	rounds := 25
	if testing.Short() {
		rounds = 10
	}
	for _, mode := range []Durability{Strict, Kernel} {
		for round := range rounds {
			powerCut(t, mode, rand.New(rand.NewPCG(rng.Uint64(), 1)), []int{0, 10, 50, 90, 100}[round%5])
			if t.Failed() {
				t.Fatalf("mode %d, round %d", mode, round)
			}
		}
	}
}

func powerCut(t *testing.T, mode Durability, rng *rand.Rand, percent int) {
	fs := vfs.NewCrashableMem()
	r := newRig(t, fs)
	for _, dir := range []string{"", "data", "data/audit", "keys"} {
		if err := syncDir(fs, dir); err != nil {
			t.Fatal(err)
		}
	}
	r.cfg.Durability, r.cfg.pace, r.cfg.SegmentBytes, r.cfg.Index = mode, quickPace, 20_000, nil
	tr := r.open()
	book := newLedger()
	var wg sync.WaitGroup
	var stop atomic.Bool
	for w := range 4 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				e := read(users(w), "prod/db")
				if i%5 == 0 {
					e.Kind, e.Outcome = KindIntent, Outcome{}
				}
				if err := book.append(tr, e); err != nil {
					t.Errorf("Append: %v", err)
					return
				}
			}
		})
	}
	time.Sleep(time.Duration(rng.IntN(8000)) * time.Microsecond)
	acked := book.copy()
	clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
	stop.Store(true)
	wg.Wait()
	r.close(tr)

	r.cfg.FS = clone
	for range 2 { // the second start finds what the first one made of it
		tr = r.open()
		n := times(t, tr)
		for id, must := range acked {
			if must && n[id] != 1 || n[id] > 1 {
				t.Errorf("acknowledged record %s is there %d times (durable: %v)", id, n[id], must)
			}
		}
		verified(t, tr)
		r.append(tr, read("later", "prod/db"))
		r.close(tr)
	}
}

// The n-th I/O operation fails, once or for good, for every n until a run has
// no failure: what was acknowledged is there once, what was refused at most once.
func TestFaultSweep(t *testing.T) {
	for _, mode := range []Durability{Strict, Kernel} {
		for _, lasting := range []bool{false, true} {
			clean := 0
			for n := 0; clean == 0; n++ {
				if !sweep(t, mode, int64(n), lasting) {
					clean = n
				}
				if t.Failed() {
					t.Fatalf("mode %d, lasting %v, operation %d", mode, lasting, n)
				}
			}
			if clean < 40 {
				t.Errorf("the sweep ended after %d operations; it should have met more", clean)
			}
		}
	}
}

// sweep reports whether a failure was injected.
func sweep(t *testing.T, mode Durability, n int64, lasting bool) bool {
	mem := vfs.NewMem()
	var seen atomic.Int64
	var on, hit atomic.Bool
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !on.Load() || op.Kind == errorfs.OpFileClose || op.Kind == errorfs.OpLock {
			return nil
		}
		i := seen.Add(1) - 1
		if i == n || lasting && i > n && i < n+25 {
			hit.Store(true)
			return syscall.EIO
		}
		return nil
	}))
	r := newRig(t, fs)
	r.cfg.Durability, r.cfg.pace, r.cfg.SegmentBytes = mode, quickPace, 6000
	on.Store(true)
	book := newLedger()
	tr, err := Open(ctx, r.cfg)
	for i := 0; err == nil && i < 7; i++ {
		intent, outcome := update("alice", fmt.Sprintf("prod/db-%d", i), schema.Revision(i+1))
		outcome.Decision = schema.NewDecisionID() // so that the ledger tells them apart
		if book.append(tr, intent) == nil {
			_ = book.append(tr, outcome)
		}
		_ = book.append(tr, read("bob", "prod/db"))
	}
	if err != nil && fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Open = %v, want unavailable", err)
	}
	if err == nil {
		_ = tr.Close() // may report the failure
	}
	on.Store(false)
	checkSweep(t, r, book)
	return hit.Load()
}

func checkSweep(t *testing.T, r *rig, book *ledger) {
	t.Helper()
	tr, err := Open(ctx, r.cfg)
	if err != nil {
		t.Errorf("Open after the failure: %v", err)
		return
	}
	defer r.close(tr)
	n := times(t, tr)
	for id := range book.acked {
		if n[id] != 1 {
			t.Errorf("acknowledged record %s is there %d times", id, n[id])
		}
	}
	for id := range book.failed {
		if n[id] > 1 {
			t.Errorf("refused record %s is there %d times", id, n[id])
		}
	}
	verified(t, tr)
	page, err := tr.Find(ctx, Query{User: "bob"})
	if err != nil {
		t.Errorf("Find: %v", err)
	}
	for _, row := range page.Rows {
		if n[row.Decision] != 1 {
			t.Errorf("the index shows record %s, which is not in the trail", row.Decision)
		}
	}
	want := 0
	for _, rec := range all(t, tr) {
		if rec.Input.Subject.ID == "bob" {
			want++
		}
	}
	if len(page.Rows) != want {
		t.Errorf("the index shows %d rows, want %d", len(page.Rows), want)
	}
}

// While the disk is full or broken every Append is refused in time; when it is
// well again the trail goes on by itself.
func TestDiskFailsAndRecovers(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSyncData, errorfs.OpFileSync, errorfs.OpCreate} {
		for _, mode := range []Durability{Strict, Kernel} {
			t.Run(fmt.Sprintf("op %d mode %d", kind, mode), func(t *testing.T) { failAndRecover(t, kind, mode) })
		}
	}
}

func failAndRecover(t *testing.T, kind errorfs.OpKind, mode Durability) {
	var broken atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind == kind {
			return syscall.ENOSPC
		}
		return nil
	}))
	r := newRig(t, fs)
	r.cfg.pace, r.cfg.Durability, r.cfg.SegmentBytes = quickPace, mode, 3000
	tr := r.open()
	book := newLedger()
	for range 3 {
		if err := book.append(tr, read("alice", "prod/db")); err != nil {
			t.Fatal(err)
		}
	}
	broken.Store(true)
	refused := 0
	for i := range 20 {
		e := read("alice", "prod/db")
		if i%2 == 0 {
			e.Kind = KindIntent
		}
		start := time.Now()
		err := book.append(tr, e)
		if errors.Is(err, fault.Unavailable) {
			refused++
		} else if err != nil {
			t.Errorf("Append = %v, want unavailable", err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("Append took %v", took)
		}
	}
	if refused == 0 {
		t.Error("no Append was refused while the disk was broken")
	}
	broken.Store(false)
	if mode == Strict && kind == errorfs.OpFileSyncData {
		r.append(tr, read("carol", "prod/db"))
		n := times(t, tr)
		for id := range book.failed {
			if n[id] != 0 {
				t.Errorf("refused record %s was written when the disk was well again", id)
			}
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for book.append(tr, read("bob", "prod/db")) != nil {
		if time.Now().After(deadline) {
			t.Fatal("the trail did not recover")
		}
	}
	page, err := tr.Find(ctx, Query{User: "bob"})
	if err != nil || len(page.Rows) != 1 {
		t.Errorf("Find = %d rows, %v; want 1", len(page.Rows), err)
	}
	r.close(tr)
	checkSweep(t, r, book)
}

// A disk that hangs refuses in time as well, and the record whose caller gave up
// in the queue is not written.
func TestDiskHangs(t *testing.T) {
	hold := make(chan struct{})
	var hang atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if hang.Load() && op.Kind == errorfs.OpFileSyncData {
			<-hold
		}
		return nil
	}))
	r := newRig(t, fs)
	r.cfg.pace = quickPace
	r.cfg.pace.appendWait = 50 * time.Millisecond
	tr := r.open()
	r.append(tr, read("alice", "prod/db"))
	hang.Store(true)
	for range 3 { // the first is being written, the others wait
		if _, err := tr.Append(ctx, read("bob", "prod/db")); !errors.Is(err, fault.Unavailable) {
			t.Errorf("Append = %v, want unavailable", err)
		}
	}
	hang.Store(false)
	close(hold)
	r.append(tr, read("carol", "prod/db"))
	bobs := 0
	for _, rec := range all(t, tr) {
		if rec.Input.Subject.ID == "bob" {
			bobs++
		}
	}
	if bobs != 1 {
		t.Errorf("%d records of refused calls are there, want the one that was being written", bobs)
	}
	r.close(tr)
}

func TestQueueIsBounded(t *testing.T) {
	hold := make(chan struct{})
	var hang atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if hang.Load() && op.Kind == errorfs.OpFileSyncData {
			<-hold
		}
		return nil
	}))
	r := newRig(t, fs)
	r.cfg.Queue, r.cfg.pace = 4, quickPace
	tr := r.open()
	hang.Store(true)
	var full atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if _, err := tr.Append(ctx, read("alice", "prod/db")); errors.Is(err, errFull) {
				full.Add(1)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	close(hold)
	wg.Wait()
	if full.Load() == 0 {
		t.Error("no Append met a full queue")
	}
	r.close(tr)
}

// The log of a failure is for the operator and names no path or user.
func TestFailureIsLogged(t *testing.T) {
	var broken atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind == errorfs.OpFileSyncData {
			return syscall.ENOSPC
		}
		return nil
	}))
	r := newRig(t, fs)
	tr := r.open()
	broken.Store(true)
	_, err := tr.Append(ctx, read("alice", "prod/db"))
	if want := "unavailable: the audit trail cannot be written now"; err == nil || err.Error() != want {
		t.Errorf("Append = %v, want %q", err, want)
	}
	broken.Store(false)
	r.append(tr, read("bob", "prod/db"))
	r.close(tr)
	if log := r.log.String(); !strings.Contains(log, "the trail cannot be written; requests are refused until it can") ||
		strings.Contains(log, "alice") || strings.Contains(log, "prod") {
		t.Errorf("log: %s", log)
	}
}

// An index that fails, hangs or is lost delays nobody and comes back.
func TestIndexIsLost(t *testing.T) {
	r := newRig(t, nil)
	tr := r.open()
	for i := range 50 {
		r.append(tr, read(users(i%5), "prod/db"))
	}
	r.close(tr)
	for range 2 {
		r.cfg.Index = memory.New() // lost
		tr = r.open()
		page, err := tr.Find(ctx, Query{User: users(3)})
		if err != nil || len(page.Rows) != 10 {
			t.Errorf("Find after the index was lost = %d rows, %v; want 10", len(page.Rows), err)
		}
		r.close(tr)
	}
	tr = r.open()
	if err := r.cfg.Index.Close(); err != nil {
		t.Fatal(err)
	}
	r.append(tr, read("alice", "prod/db")) // the index is gone, the trail goes on
	short, cancel := contextWithTimeout(50 * time.Millisecond)
	defer cancel()
	if _, err := tr.Find(short, Query{}); err == nil {
		t.Error("Find without an index store answered")
	}
	r.close(tr)
}

// A server that is killed leaves records that only the kernel has. The next start
// may not take them for durable: a power cut after it must not leave a checkpoint
// that speaks of records which the disk never got.
func TestKillThenPowerCut(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var dead atomic.Bool
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if dead.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose {
			return syscall.EIO
		}
		return nil
	}))
	r := newRig(t, fs)
	for _, dir := range []string{"", "data", "data/audit", "keys"} {
		if err := syncDir(mem, dir); err != nil {
			t.Fatal(err)
		}
	}
	r.cfg.pace, r.cfg.Durability = quickPace, Kernel
	r.cfg.pace.syncWithin = time.Hour
	tr := r.open()
	intent, _ := update("alice", "prod/db", 1)
	r.append(tr, intent) // fsynced
	for range 5 {
		r.append(tr, read("bob", "prod/db")) // with the kernel only
	}
	dead.Store(true)
	_ = tr.Close() // the kill: nothing reaches the disk any more
	dead.Store(false)

	tr = r.open()
	if n := len(times(t, tr)); n != 6 {
		t.Fatalf("%d records after the kill, want all 6", n)
	}
	time.Sleep(20 * time.Millisecond) // a checkpoint or two
	r.cfg.FS = mem.CrashClone(vfs.CrashCloneCfg{})
	r.close(tr)
	tr = r.open()
	if n := len(times(t, tr)); n != 6 {
		t.Fatalf("%d records after the power cut, want all 6: the start wrote them again", n)
	}
	verified(t, tr)
	in, err := tr.Input(ctx, all(t, tr)[3])
	if err != nil || len(in.Subject.Properties.Policies) != len(policies) {
		t.Errorf("Input of a record that was written again = %v, %v", in, err)
	}
	r.close(tr)
}
