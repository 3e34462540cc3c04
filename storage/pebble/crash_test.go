package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/pebble"
	"github.com/heroctl/heroctl/storage/storagetest"
)

// ledger remembers what was asked of a store and what it promised. Each batch
// puts three keys of its own, and "head", which all of them overwrite.
type ledger struct {
	mu    sync.Mutex
	tried map[int]bool            // by batch
	acked map[int]schema.Revision // by batch
	seen  schema.Revision         // largest revision any reader saw
	next  int
}

func newLedger() *ledger { return &ledger{tried: map[int]bool{}, acked: map[int]schema.Revision{}} }

var parts = []string{"a", "b", "c"}

func ledgerValue(batch int) string { return strings.Repeat(fmt.Sprint(batch, " "), 40) }

// commit makes the next batch.
func (l *ledger) commit(ctx context.Context, s *pebble.Store) error {
	l.mu.Lock()
	n := l.next
	l.next++
	l.tried[n] = true
	l.mu.Unlock()
	b := storage.Batch{Put: []storage.Put{{Key: []byte("head"), Value: fmt.Append(nil, n)}}}
	for _, part := range parts {
		b.Put = append(b.Put, storage.Put{Key: fmt.Appendf(nil, "%s/%06d", part, n), Value: []byte(ledgerValue(n))})
	}
	rev, err := s.Commit(ctx, b)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[n] = rev
	return nil
}

// look reads and remembers what it saw.
func (l *ledger) look(s *pebble.Store) error {
	it, err := s.Get(context.Background(), []byte("head"))
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = max(l.seen, it.Revision)
	return err
}

// snapshot returns what was promised so far.
func (l *ledger) snapshot() (acked map[int]schema.Revision, seen schema.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.acked), l.seen
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// check holds a recovered store to what was promised: everything acknowledged is
// there, everything else is there as a whole or not at all, nothing that was read
// is lost, and no revision is used again.
func (l *ledger) check(t *testing.T, s *pebble.Store, acked map[int]schema.Revision, seen schema.Revision) {
	t.Helper()
	kit := storagetest.NewKit(t, s)
	present, newest := map[string]storage.Item{}, schema.Revision(0)
	for _, it := range kit.All() {
		present[string(it.Key)], newest = it, max(newest, it.Revision)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.tried {
		revs := map[schema.Revision]bool{}
		for _, part := range parts {
			it := present[fmt.Sprintf("%s/%06d", part, n)]
			revs[it.Revision] = true
			if it.Revision != 0 && string(it.Value) != ledgerValue(n) {
				t.Errorf("batch %d has a wrong value", n)
			}
		}
		want, promised := acked[n]
		if len(revs) != 1 || promised && !revs[want] {
			t.Errorf("batch %d is at revisions %v, want one, and %d if that is not 0", n, revs, want)
		}
	}
	for _, rev := range acked {
		newest = max(newest, rev)
	}
	if head := present["head"].Revision; head < seen {
		t.Errorf("a reader saw revision %d, and after the crash there is %d", seen, head)
	}
	if rev := kit.Put("after", "x"); rev <= newest {
		t.Errorf("revision %d after the crash, want more than %d", rev, newest)
	}
}

// slowSync makes syncs of the log take a while, as on a disk, so that crashes fall
// between a write and its sync.
func slowSync(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if strings.HasSuffix(op.Path, ".log") && op.Kind >= errorfs.OpFileSync && op.Kind <= errorfs.OpFileSyncTo {
			time.Sleep(200 * time.Microsecond)
		}
		return nil
	}))
}

// TestCrash cuts the power at random moments under load, again and again on what
// the last cut left.
func TestCrash(t *testing.T) {
	const crashes = 60
	for _, percent := range []int{0, 10, 50, 90} {
		t.Run(fmt.Sprintf("%d percent of unsynced data kept", percent), func(t *testing.T) {
			rnd, fs, l := storagetest.Rand(t), vfs.NewCrashableMem(), newLedger()
			for range crashes {
				clone, acked, seen := runAndCrash(t, rnd, fs, l, percent)
				s := open(t, pebble.Config{Dir: "data", FS: clone})
				l.check(t, s, acked, seen)
				if err := s.Close(); err != nil || t.Failed() {
					t.Fatalf("Close: %v", err)
				}
				fs, l = clone, surviving(l, acked)
			}
			if len(l.acked) < crashes {
				t.Errorf("only %d commits were acknowledged", len(l.acked))
			}
		})
	}
}

// surviving is the ledger of the next round: what was not acknowledged has been
// checked once, and may be there or not.
func surviving(l *ledger, acked map[int]schema.Revision) *ledger {
	next := newLedger()
	next.next, next.acked = l.next, acked
	for n := range acked {
		next.tried[n] = true
	}
	return next
}

// runAndCrash loads the store on fs, and returns the disk as a crash would leave
// it, with what had been promised before.
func runAndCrash(t *testing.T, rnd *rand.Rand, fs *vfs.MemFS, l *ledger, percent int) (*vfs.MemFS, map[int]schema.Revision, schema.Revision) {
	s := open(t, pebble.Config{Dir: "data", FS: slowSync(fs), Memory: 64 << 10, Cache: 64 << 10})
	var all sync.WaitGroup
	stop := make(chan struct{})
	repeat := func(do func() error) {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := do(); err != nil {
					t.Errorf("under load: %v", err)
					return
				}
			}
		})
	}
	for range 3 {
		repeat(func() error { return l.commit(context.Background(), s) })
	}
	repeat(func() error { return l.look(s) })
	for goal := l.count() + rnd.IntN(20); l.count() < goal && !t.Failed(); {
		time.Sleep(100 * time.Microsecond)
	}
	time.Sleep(time.Duration(rnd.IntN(500)) * time.Microsecond)
	acked, seen := l.snapshot()
	clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rnd})
	close(stop)
	all.Wait()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return clone, acked, seen
}
