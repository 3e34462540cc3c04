// Package storagetest holds every backend of package storage to the contract of
// storage.KV. A backend's test calls Run, and Compare if it keeps data over a
// restart.
package storagetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

// Run runs the suite. Each call of open returns a new, empty store, which the
// suite closes.
func Run(t *testing.T, open func(t *testing.T) storage.KV) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, kit *Kit)
	}{
		{"get", testGet},
		{"overwrite", testOverwrite},
		{"delete", testDelete},
		{"require", testRequire},
		{"require sees the state before the batch", testRequireBefore},
		{"a refused batch changes nothing", testAtomic},
		{"batches outside the contract", testBadBatches},
		{"limits", testLimits},
		{"arguments and results are not shared", testOwnership},
		{"scan order and prefix", testScan},
		{"scan pages", testScanPages},
		{"scan edges", testScanEdges},
		{"watch from the start", testWatch},
		{"watch what comes", testWatchLive},
		{"watch a prefix", testWatchPrefix},
		{"watch resumes", testWatchResume},
		{"watch ends with its context", testWatchCancel},
		{"watch ends with the store", testWatchClose},
		{"watch from a revision never reached", testWatchFuture},
		{"watch forgets", testWatchCompacted},
		{"counter", testCounter},
		{"bank", testBank},
		{"one winner", testOneWinner},
		{"revisions are unique and in order", testRevisions},
		{"context", testContext},
		{"closed", testClosed},
		{"close waits for calls", testCloseUnderLoad},
	} {
		t.Run(c.name, func(t *testing.T) {
			kit := NewKit(t, open(t))
			defer kit.Close()
			c.test(t, kit)
		})
	}
}

// Kit is a store with helpers that end the test when something fails that the
// test takes for granted.
type Kit struct {
	storage.KV
	t *testing.T
}

// NewKit wraps kv.
func NewKit(t *testing.T, kv storage.KV) *Kit { return &Kit{kv, t} }

// Close closes the store.
func (k *Kit) Close() {
	k.t.Helper()
	if err := k.KV.Close(); err != nil {
		k.t.Errorf("Close: %v", err)
	}
}

// Put commits one put and returns its revision.
func (k *Kit) Put(key, value string) schema.Revision {
	k.t.Helper()
	return k.Do(storage.Batch{Put: []storage.Put{put(key, value)}})
}

// Delete commits one delete.
func (k *Kit) Delete(key string) schema.Revision {
	k.t.Helper()
	return k.Do(storage.Batch{Delete: [][]byte{[]byte(key)}})
}

// Do commits b.
func (k *Kit) Do(b storage.Batch) schema.Revision {
	k.t.Helper()
	rev, err := k.Commit(context.Background(), b)
	if err != nil {
		k.t.Fatalf("Commit: %v", err)
	}
	return rev
}

// Refused checks that b is refused with the kind.
func (k *Kit) Refused(b storage.Batch, want fault.Kind) {
	k.t.Helper()
	rev, err := k.Commit(context.Background(), b)
	if fault.KindOf(err) != want || rev != 0 {
		k.t.Errorf("Commit gave revision %d and %v, want 0 and %s", rev, err, want)
	}
}

// Has checks that key holds value, put at revision rev.
func (k *Kit) Has(key, value string, rev schema.Revision) {
	k.t.Helper()
	it, err := k.Get(context.Background(), []byte(key))
	if err != nil {
		k.t.Fatalf("Get %q: %v", key, err)
	}
	want := storage.Item{Key: []byte(key), Value: []byte(value), Revision: rev}
	if diff := cmp.Diff(want, it, sameBytes()); diff != "" {
		k.t.Errorf("Get %q (-want +got):\n%s", key, diff)
	}
}

// Lacks checks that key is absent.
func (k *Kit) Lacks(key string) {
	k.t.Helper()
	if it, err := k.Get(context.Background(), []byte(key)); !errors.Is(err, fault.NotFound) {
		k.t.Errorf("Get %q = revision %d, %v; want %s", key, it.Revision, err, fault.NotFound)
	}
}

// Keys returns the keys a scan gives.
func (k *Kit) Keys(prefix, after string, limit int) []string {
	k.t.Helper()
	items, err := k.Scan(context.Background(), []byte(prefix), []byte(after), limit)
	if err != nil {
		k.t.Fatalf("Scan: %v", err)
	}
	keys := []string{}
	for _, it := range items {
		keys = append(keys, string(it.Key))
	}
	return keys
}

// All returns everything in the store.
func (k *Kit) All() []storage.Item {
	k.t.Helper()
	var all []storage.Item
	for after := []byte(nil); ; after = all[len(all)-1].Key {
		page, err := k.Scan(context.Background(), nil, after, 100)
		if err != nil {
			k.t.Fatalf("Scan: %v", err)
		}
		if all = append(all, page...); len(page) < 100 {
			return all
		}
	}
}

// Watching returns a watch that ends with the test.
func (k *Kit) Watching(prefix string, from schema.Revision) <-chan storage.Event {
	k.t.Helper()
	events, err := k.Watch(k.t.Context(), []byte(prefix), from)
	if err != nil {
		k.t.Fatalf("Watch from %d: %v", from, err)
	}
	return events
}

// Next returns the next event, which must come.
func (k *Kit) Next(events <-chan storage.Event) storage.Event {
	k.t.Helper()
	select {
	case ev, ok := <-events:
		if !ok {
			k.t.Fatal("the watch ended; want an event")
		}
		return ev
	case <-time.After(patience):
		k.t.Fatal("no event came")
	}
	return storage.Event{}
}

// Ended checks that the watch ends, after whatever it still delivers, and
// returns how many events that was.
func (k *Kit) Ended(events <-chan storage.Event) int {
	k.t.Helper()
	timeout := time.After(patience)
	for n := 0; ; n++ {
		select {
		case _, ok := <-events:
			if !ok {
				return n
			}
		case <-timeout:
			k.t.Fatal("the watch did not end")
		}
	}
}

func put(key, value string) storage.Put { return storage.Put{Key: []byte(key), Value: []byte(value)} }

func must(key string, rev schema.Revision) storage.Require {
	return storage.Require{Key: []byte(key), Revision: rev}
}

// sameBytes takes nil and empty byte slices for the same.
func sameBytes() cmp.Option {
	return cmp.Comparer(func(a, b []byte) bool { return string(a) == string(b) })
}

// Rand returns a random source and prints its seed. HEROCTL_SEED replays one.
func Rand(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if text := os.Getenv("HEROCTL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HEROCTL_SEED: %v", err)
		}
	}
	t.Logf("HEROCTL_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
