package storagetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

func event(key string, rev schema.Revision, deleted bool) storage.Event {
	return storage.Event{Key: []byte(key), Revision: rev, Deleted: deleted}
}

// sees checks that the next events are exactly want.
func (k *Kit) sees(events <-chan storage.Event, want ...storage.Event) {
	k.t.Helper()
	var got []storage.Event
	for range want {
		got = append(got, k.Next(events))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		k.t.Errorf("events (-want +got):\n%s", diff)
	}
}

func testWatch(_ *testing.T, k *Kit) {
	a := k.Put("a", "1")
	both := k.Do(storage.Batch{Put: []storage.Put{put("c", "1"), put("b", "1")}, Delete: [][]byte{[]byte("a"), []byte("absent")}})
	k.Refused(storage.Batch{Require: []storage.Require{must("b", 0)}, Put: []storage.Put{put("z", "1")}}, fault.Conflict)
	k.Delete("absent")
	last := k.Put("a", "2")
	k.sees(k.Watching("", 0), event("a", a, false),
		event("a", both, true), event("b", both, false), event("c", both, false),
		event("a", last, false))
}

func testWatchLive(_ *testing.T, k *Kit) {
	head := k.Put("a", "1")
	one, two := k.Watching("", head), k.Watching("", head)
	for i := range 20 {
		key := fmt.Sprint(i)
		rev := k.Put(key, "1")
		k.sees(one, event(key, rev, false))
		k.sees(two, event(key, rev, false))
		k.Has(key, "1", rev) // what is heard of can be read
	}
}

func testWatchPrefix(_ *testing.T, k *Kit) {
	events, high := k.Watching("a/", 0), k.Watching("\xff", 0)
	k.Put("a", "1")
	one := k.Put("a/1", "1")
	k.Put("b/1", "1")
	edge := k.Put("\xff\xff", "1")
	two := k.Delete("a/1")
	k.sees(events, event("a/1", one, false), event("a/1", two, true))
	k.sees(high, event("\xff\xff", edge, false))
}

func testWatchResume(_ *testing.T, k *Kit) {
	var revs []schema.Revision
	for i := range 10 {
		revs = append(revs, k.Put(fmt.Sprint(i), "1"))
	}
	for from := range revs {
		events := k.Watching("", revs[from])
		for i := from + 1; i < len(revs); i++ {
			k.sees(events, event(fmt.Sprint(i), revs[i], false))
		}
	}
}

func testWatchCancel(t *testing.T, k *Kit) {
	ctx, cancel := context.WithCancel(context.Background())
	idle, err := k.Watch(ctx, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	busy, err := k.Watch(ctx, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	k.Put("a", "1")
	k.Next(idle)
	k.Do(storage.Batch{Put: manyPuts(100)})
	cancel()
	k.Ended(idle)
	k.Ended(busy)
	k.Put("a", "2") // the store goes on
}

func testWatchClose(_ *testing.T, k *Kit) {
	idle, busy := k.Watching("none", 0), k.Watching("", 0)
	k.Do(storage.Batch{Put: manyPuts(100)})
	k.Close()
	k.Ended(idle)
	k.Ended(busy)
}

func testWatchFuture(t *testing.T, k *Kit) {
	head := k.Put("a", "1")
	if _, err := k.Watch(t.Context(), nil, head+1); !errors.Is(err, fault.Compacted) {
		t.Errorf("Watch from a revision never reached: %v, want %s", err, fault.Compacted)
	}
}

// testWatchCompacted commits until the first change is forgotten. A receiver that
// took nothing in the meantime must not have held that up, and must be cut off
// rather than miss a change.
func testWatchCompacted(t *testing.T, k *Kit) {
	first := k.Put("first", "1")
	slow := k.Watching("", 0)
	total := 1
	var head schema.Revision
	for compacted := false; !compacted; {
		if total > 1_000_000 {
			t.Fatal("a million changes and nothing forgotten")
		}
		head = k.Do(storage.Batch{Put: manyPuts(storage.MaxBatchItems)})
		if total += storage.MaxBatchItems; total < 100_000 {
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err := k.Watch(ctx, nil, first)
		cancel()
		if compacted = errors.Is(err, fault.Compacted); err != nil && !compacted {
			t.Fatalf("Watch: %v", err)
		}
	}
	for range 10 { // what the store had already taken up for it
		head = k.Do(storage.Batch{Put: manyPuts(storage.MaxBatchItems)})
	}
	if got := k.Ended(slow); got >= total {
		t.Errorf("the slow receiver got %d of %d events, want to be cut off", got, total)
	}
	recent := k.Watching("", head-2) // what is kept can be watched
	for i := range 2 * storage.MaxBatchItems {
		want := event(fmt.Sprintf("many/%04d", i%storage.MaxBatchItems), head-1+schema.Revision(i/storage.MaxBatchItems), false)
		if diff := cmp.Diff(want, k.Next(recent)); diff != "" {
			t.Fatalf("event %d (-want +got):\n%s", i, diff)
		}
	}
}
