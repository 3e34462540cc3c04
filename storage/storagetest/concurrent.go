package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

const workers = 8

// together runs work in several goroutines and waits for all.
func together(work func(worker int)) {
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() { work(w) })
	}
	all.Wait()
}

// add adds n to the number under key, by compare-and-set, until it succeeds.
func (k *Kit) add(key string, n int) {
	for {
		it, value := k.number(key)
		_, err := k.Commit(context.Background(), storage.Batch{
			Require: []storage.Require{must(key, it.Revision)},
			Put:     []storage.Put{put(key, strconv.Itoa(value+n))},
		})
		if err == nil {
			return
		}
		if !errors.Is(err, fault.Conflict) {
			k.t.Errorf("Commit: %v", err)
			return
		}
	}
}

func (k *Kit) number(key string) (storage.Item, int) {
	it, err := k.Get(context.Background(), []byte(key))
	if err != nil && !errors.Is(err, fault.NotFound) {
		k.t.Errorf("Get: %v", err)
	}
	value, _ := strconv.Atoi(string(it.Value))
	return it, value
}

// testCounter loses no increment, and nobody who has added sees a smaller number
// than he saw before.
func testCounter(t *testing.T, k *Kit) {
	const rounds = 50
	together(func(int) {
		last := 0
		for range rounds {
			k.add("counter", 1)
			_, now := k.number("counter")
			if now <= last {
				t.Errorf("the counter went from %d to %d", last, now)
			}
			last = now
		}
	})
	if _, got := k.number("counter"); got != workers*rounds {
		t.Errorf("counter = %d, want %d", got, workers*rounds)
	}
}

// testBank moves money between two keys while others add them up: a scan never
// sees half a batch.
func testBank(t *testing.T, k *Kit) {
	k.Do(storage.Batch{Put: []storage.Put{put("bank/a", "100"), put("bank/b", "100")}})
	var done atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				items, err := k.Scan(context.Background(), []byte("bank/"), nil, 10)
				if err != nil || len(items) != 2 {
					t.Errorf("Scan: %d items, %v", len(items), err)
					return
				}
				a, _ := strconv.Atoi(string(items[0].Value))
				b, _ := strconv.Atoi(string(items[1].Value))
				if a+b != 200 {
					t.Errorf("%d + %d in the bank, want 200", a, b)
				}
			}
		})
	}
	together(func(int) {
		for range 30 {
			itA, a := k.number("bank/a")
			itB, b := k.number("bank/b")
			_, err := k.Commit(context.Background(), storage.Batch{
				Require: []storage.Require{must("bank/a", itA.Revision), must("bank/b", itB.Revision)},
				Put:     []storage.Put{put("bank/a", strconv.Itoa(a-1)), put("bank/b", strconv.Itoa(b+1))},
			})
			if err != nil && !errors.Is(err, fault.Conflict) {
				t.Errorf("Commit: %v", err)
			}
		}
	})
	done.Store(true)
	readers.Wait()
}

func testOneWinner(t *testing.T, k *Kit) {
	for round := range 20 {
		key := fmt.Sprint("race/", round)
		var winners atomic.Int32
		together(func(w int) {
			_, err := k.Commit(context.Background(), storage.Batch{
				Require: []storage.Require{must(key, 0)},
				Put:     []storage.Put{put(key, strconv.Itoa(w))},
			})
			if err == nil {
				winners.Add(1)
			} else if !errors.Is(err, fault.Conflict) {
				t.Errorf("Commit: %v", err)
			}
		})
		if got := winners.Load(); got != 1 {
			t.Errorf("%d created %s, want one", got, key)
		}
	}
}

func testRevisions(t *testing.T, k *Kit) {
	const rounds = 50
	events := k.Watching("", 0)
	var mu sync.Mutex
	var all []schema.Revision
	together(func(w int) {
		last := schema.Revision(0)
		for i := range rounds {
			rev, err := k.Commit(context.Background(), storage.Batch{Put: []storage.Put{put(fmt.Sprintf("%d/%d", w, i), "x")}})
			if err != nil || rev <= last {
				t.Errorf("revision %d after %d, %v", rev, last, err)
			}
			last = rev
			mu.Lock()
			all = append(all, rev)
			mu.Unlock()
		}
	})
	slices.Sort(all)
	if distinct := len(slices.Compact(slices.Clone(all))); distinct != workers*rounds {
		t.Errorf("%d revisions for %d commits", distinct, workers*rounds)
	}
	for _, rev := range all { // one event each, in the order of revisions
		if ev := k.Next(events); ev.Revision != rev {
			t.Fatalf("event of revision %d, want %d", ev.Revision, rev)
		}
	}
}

// testCloseUnderLoad closes the store while others use it: each call succeeds or
// says that the store is closed.
func testCloseUnderLoad(t *testing.T, k *Kit) {
	var started sync.WaitGroup
	started.Add(workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := 0; ; i++ {
				if i == 3 {
					started.Done()
				}
				key := fmt.Sprint(w)
				_, err := k.Commit(context.Background(), storage.Batch{Put: []storage.Put{put(key, "x")}})
				if err == nil {
					_, err = k.Get(context.Background(), []byte(key))
				}
				if errors.Is(err, fault.Unavailable) {
					return
				}
				if err != nil {
					t.Errorf("under Close: %v", err)
				}
			}
		})
	}
	started.Wait()
	k.Close()
	all.Wait()
}
