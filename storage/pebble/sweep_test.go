package pebble_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage/pebble"
)

// nthFault fails the n-th operation on files, and if it is for good, all after it.
type nthFault struct {
	n       int64
	forGood bool
	count   atomic.Int64
	hits    atomic.Int64
}

func (f *nthFault) inject(errorfs.Op) error {
	if i := f.count.Add(1); i == f.n || f.forGood && i > f.n {
		f.hits.Add(1)
		return errorfs.ErrInjected
	}
	return nil
}

// TestFaultSweep fails the n-th operation on files for every n, until a run is
// over before the fault is met: opening, writing enough for flushes, opening
// again. Then the power is cut, once keeping nothing that was not synced and once
// keeping all, and what was acknowledged must be there.
func TestFaultSweep(t *testing.T) {
	for _, forGood := range []bool{false, true} {
		t.Run(fmt.Sprintf("for good %v", forGood), func(t *testing.T) {
			deaths, n := 0, int64(1)
			for ; !t.Failed(); n += stride(forGood) {
				f := &nthFault{n: n, forGood: forGood}
				if sweepOnce(t, f) {
					deaths++
				}
				if f.hits.Load() == 0 {
					break
				}
			}
			if n < 100 || deaths == 0 {
				t.Errorf("the sweep ended at fault %d with %d deaths; it cannot have tested much", n, deaths)
			}
			t.Logf("%d faults, %d ended the process", n-1, deaths)
		})
	}
}

// stride makes the sweep of faults for good, which wait for deadlines, coarser, and
// a short run coarser still.
func stride(forGood bool) int64 {
	switch {
	case testing.Short():
		return 13
	case forGood:
		return 7
	}
	return 1
}

// sweepOnce runs the scenario with one fault and reports whether the process
// would have ended.
func sweepOnce(t *testing.T, f *nthFault) (died bool) {
	fs, l := vfs.NewCrashableMem(), newLedger()
	death, done := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	exit := func() {
		if once.CompareAndSwap(false, true) {
			close(death)
		}
	}
	c := pebble.Config{Dir: "data", FS: errorfs.Wrap(fs, errorfs.InjectorFunc(f.inject)),
		Logger: quiet(), Memory: 16 << 10, Cache: 16 << 10}.Deadly(exit, 100*time.Millisecond)
	go func() {
		defer close(done)
		for range 2 {
			writeSome(t, c, l)
		}
	}()
	select {
	case <-death:
		died = true
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("fault %d: neither an end nor an answer", f.n)
	}
	acked, _ := l.snapshot()
	for _, percent := range []int{0, 100} {
		clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(1, 1))})
		s := open(t, pebble.Config{Dir: "data", FS: clone})
		l.check(t, s, acked, 0)
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if t.Failed() {
		t.Errorf("after fault %d, for good %v, died %v", f.n, f.forGood, died)
	}
	return died
}

// writeSome is the scenario. Whatever fails must say so with a kind of ours.
func writeSome(t *testing.T, c pebble.Config, l *ledger) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s, err := pebble.Open(c)
	if err != nil {
		expectKind(t, "Open", err)
		return
	}
	for range 60 {
		if err := l.commit(ctx, s); err != nil {
			expectKind(t, "Commit", err)
		}
		if err := l.look(s); err != nil {
			expectKind(t, "Get", err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err := s.Close(); err != nil {
		expectKind(t, "Close", err)
	}
}

func expectKind(t *testing.T, call string, err error) {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Integrity:
	default:
		t.Errorf("%s: %v, want %s, %s or %s", call, err, fault.Unavailable, fault.Timeout, fault.Integrity)
	}
}
