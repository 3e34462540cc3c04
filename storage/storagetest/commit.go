package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

func testGet(t *testing.T, k *Kit) {
	k.Lacks("a")
	rev := k.Put("a", "1")
	if rev == 0 {
		t.Error("the first commit has revision 0, which means absent")
	}
	k.Has("a", "1", rev)
	k.Lacks("A")
	k.Lacks("a\x00")
	empty := k.Put("empty", "")
	k.Has("empty", "", empty)
	k.Has("a", "1", rev) // another key's commit leaves the revision alone
}

func testOverwrite(_ *testing.T, k *Kit) {
	k.Put("a", "1")
	rev := k.Put("a", "2")
	k.Has("a", "2", rev)
	rev = k.Put("a", "2") // the same value is a change too
	k.Has("a", "2", rev)
}

func testDelete(t *testing.T, k *Kit) {
	k.Put("a", "1")
	k.Put("b", "1")
	k.Delete("a")
	k.Lacks("a")
	k.Delete("a") // absent already
	k.Lacks("a")
	if got := k.Keys("", "", 10); len(got) != 1 || got[0] != "b" {
		t.Errorf("after the delete there is %q, want b alone", got)
	}
	rev := k.Put("a", "2")
	k.Has("a", "2", rev)
}

func testRequire(_ *testing.T, k *Kit) {
	first := k.Do(storage.Batch{Require: []storage.Require{must("a", 0)}, Put: []storage.Put{put("a", "1")}})
	k.Refused(storage.Batch{Require: []storage.Require{must("a", 0)}, Put: []storage.Put{put("a", "2")}}, fault.Conflict)
	k.Refused(storage.Batch{Require: []storage.Require{must("a", first+1)}, Put: []storage.Put{put("a", "2")}}, fault.Conflict)
	k.Refused(storage.Batch{Require: []storage.Require{must("b", first)}, Put: []storage.Put{put("b", "2")}}, fault.Conflict)
	k.Has("a", "1", first)
	second := k.Do(storage.Batch{Require: []storage.Require{must("a", first), must("b", 0)}, Put: []storage.Put{put("a", "2")}})
	k.Has("a", "2", second)
	k.Refused(storage.Batch{Require: []storage.Require{must("a", first)}, Delete: [][]byte{[]byte("a")}}, fault.Conflict)
	k.Do(storage.Batch{Require: []storage.Require{must("a", second)}, Delete: [][]byte{[]byte("a")}})
	k.Refused(storage.Batch{Require: []storage.Require{must("a", second)}, Put: []storage.Put{put("a", "3")}}, fault.Conflict)
	k.Do(storage.Batch{Require: []storage.Require{must("a", 0)}, Put: []storage.Put{put("a", "3")}})
}

func testRequireBefore(_ *testing.T, k *Kit) {
	first := k.Put("a", "1")
	rev := k.Do(storage.Batch{
		Require: []storage.Require{must("a", first), must("b", 0), must("b", 0)},
		Put:     []storage.Put{put("b", "1")},
		Delete:  [][]byte{[]byte("a")},
	})
	k.Lacks("a")
	k.Has("b", "1", rev)
}

func testAtomic(_ *testing.T, k *Kit) {
	rev := k.Put("a", "1")
	k.Refused(storage.Batch{
		Require: []storage.Require{must("a", rev), must("c", 7)},
		Put:     []storage.Put{put("b", "2"), put("c", "2")},
		Delete:  [][]byte{[]byte("a")},
	}, fault.Conflict)
	k.Has("a", "1", rev)
	k.Lacks("b")
	k.Lacks("c")
	both := k.Do(storage.Batch{Put: []storage.Put{put("b", "2"), put("c", "2")}, Delete: [][]byte{[]byte("a")}})
	k.Lacks("a")
	k.Has("b", "2", both)
	k.Has("c", "2", both)
}

func testBadBatches(_ *testing.T, k *Kit) {
	long := string(make([]byte, storage.MaxKeyBytes+1))
	for _, row := range []struct {
		batch storage.Batch
		want  fault.Kind
	}{
		{storage.Batch{}, fault.InvalidArgument},
		{storage.Batch{Require: []storage.Require{must("a", 0)}}, fault.InvalidArgument},
		{storage.Batch{Put: []storage.Put{put("", "1")}}, fault.InvalidArgument},
		{storage.Batch{Delete: [][]byte{nil}}, fault.InvalidArgument},
		{storage.Batch{Put: []storage.Put{put("a", "1")}, Require: []storage.Require{must("", 0)}}, fault.InvalidArgument},
		{storage.Batch{Put: []storage.Put{put("a", "1"), put("a", "2")}}, fault.InvalidArgument},
		{storage.Batch{Put: []storage.Put{put("a", "1")}, Delete: [][]byte{[]byte("a")}}, fault.InvalidArgument},
		{storage.Batch{Put: []storage.Put{put(long, "1")}}, fault.TooLarge},
		{storage.Batch{Put: manyPuts(storage.MaxBatchItems + 1)}, fault.TooLarge},
		{storage.Batch{Put: []storage.Put{put("a", "1")}, Require: make([]storage.Require, storage.MaxBatchRequires+1)}, fault.TooLarge},
		{storage.Batch{Put: []storage.Put{{Key: []byte("a"), Value: make([]byte, storage.MaxBatchBytes)}}}, fault.TooLarge},
	} {
		k.Refused(row.batch, row.want)
	}
	k.Lacks("a")
}

func manyPuts(n int) (puts []storage.Put) {
	for i := range n {
		puts = append(puts, put(fmt.Sprintf("many/%04d", i), "x"))
	}
	return puts
}

func testLimits(t *testing.T, k *Kit) {
	key := string(bytes.Repeat([]byte{0xff}, storage.MaxKeyBytes))
	value := bytes.Repeat([]byte("heroctl!"), (storage.MaxBatchBytes-storage.MaxKeyBytes)/8)
	rev := k.Put(key, string(value))
	k.Has(key, string(value), rev)
	k.Do(storage.Batch{Put: manyPuts(storage.MaxBatchItems)})
	if got := len(k.Keys("many/", "", 1000)); got != storage.MaxBatchItems {
		t.Errorf("%d keys after a batch of %d", got, storage.MaxBatchItems)
	}
	for i := range 12 { // more than a backend keeps in memory
		k.Put(fmt.Sprintf("big/%d", i), string(value))
	}
	for i := range 12 {
		it, err := k.Get(t.Context(), fmt.Appendf(nil, "big/%d", i))
		if err != nil || !bytes.Equal(it.Value, value) {
			t.Fatalf("Get big/%d: %d bytes, %v; want %d", i, len(it.Value), err, len(value))
		}
	}
}

func testOwnership(t *testing.T, k *Kit) {
	key, value := []byte("key"), []byte("value")
	rev := k.Do(storage.Batch{Put: []storage.Put{{Key: key, Value: value}}})
	clear(key)
	clear(value)
	k.Has("key", "value", rev)
	it, err := k.Get(t.Context(), []byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	clear(it.Key)
	clear(it.Value)
	items, err := k.Scan(t.Context(), nil, nil, 1)
	if err != nil || len(items) != 1 {
		t.Fatalf("Scan: %d items, %v", len(items), err)
	}
	clear(items[0].Key)
	clear(items[0].Value)
	one, two := k.Watching("", 0), k.Watching("", 0)
	clear(k.Next(one).Key)
	if ev := k.Next(two); string(ev.Key) != "key" {
		t.Errorf("a watcher got key %q, want key", ev.Key)
	}
	k.Has("key", "value", rev)
}

func testContext(t *testing.T, k *Kit) {
	rev := k.Put("a", "1")
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	for ctx, want := range map[context.Context]fault.Kind{canceled: fault.Canceled, late: fault.Timeout} {
		for name, err := range calls(ctx, k) {
			if fault.KindOf(err) != want {
				t.Errorf("%s with an ended context: %v, want %s", name, err, want)
			}
		}
	}
	k.Has("a", "1", rev)
}

func testClosed(t *testing.T, k *Kit) {
	k.Put("a", "1")
	k.Close()
	for name, err := range calls(context.Background(), k) {
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s after Close: %v, want %s", name, err, fault.Unavailable)
		}
	}
	k.Close() // again
}

// calls makes every call once and returns the errors.
func calls(ctx context.Context, k *Kit) map[string]error {
	_, get := k.Get(ctx, []byte("a"))
	_, scan := k.Scan(ctx, nil, nil, 1)
	_, commit := k.Commit(ctx, storage.Batch{Put: []storage.Put{put("a", "2")}})
	_, watch := k.Watch(ctx, nil, 0)
	return map[string]error{"Get": get, "Scan": scan, "Commit": commit, "Watch": watch}
}
