package storage_test

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/memory"
	"github.com/heroctl/heroctl/storage/pebble"
)

// benchBoth runs a benchmark on the memory store and on Pebble.
func benchBoth(b *testing.B, run func(*testing.B, *world)) {
	b.Run("memory", func(b *testing.B) { run(b, newWorld(b, memory.New())) })
	b.Run("pebble", func(b *testing.B) { run(b, newWorld(b, openPebble(b))) })
}

// BenchmarkRead reads the current value, 32 bytes, of one of 1,000 secrets.
func BenchmarkRead(b *testing.B) {
	benchBoth(b, func(b *testing.B, w *world) {
		var permits []permit.Permit
		for i := range 1000 {
			path := fmt.Sprintf("team%d/s%d", i%10, i)
			w.create(path, "0123456789abcdef0123456789abcdef")
			permits = append(permits, w.may("secret:read", path))
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, _, err := w.store.Secrets.Read(w.ctx, permits[i%len(permits)], 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkWrite stores new versions, durably, from 1, 8 and 32 clients on
// different secrets.
func BenchmarkWrite(b *testing.B) {
	for _, clients := range []int{1, 8, 32} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			benchBoth(b, func(b *testing.B, w *world) {
				for i := range clients {
					w.create(fmt.Sprint("s", i), "x")
				}
				var next atomic.Int64
				b.SetParallelism(max(1, clients/2)) // times GOMAXPROCS, 2 on the reference machine
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					path := fmt.Sprint("s", (next.Add(1)-1)%int64(clients))
					for pb.Next() {
						change := storage.SecretChange{Value: ptr(value("0123456789abcdef0123456789abcdef"))}
						if _, err := w.store.Secrets.Update(w.ctx, w.may("secret:update", path), change); err != nil {
							b.Error(err)
						}
					}
				})
			})
		})
	}
}

// names100k makes a store with 100,000 secrets, 100 of them under "mine/". It is
// a Pebble in memory, which takes them in seconds.
func names100k(b *testing.B) *world {
	kv, err := pebble.Open(pebble.Config{Dir: "bench", FS: vfs.NewMem()})
	if err != nil {
		b.Fatal(err)
	}
	w := newWorld(b, kv)
	for i := range 100_000 {
		path := fmt.Sprintf("team%03d/service%d/s%d", i%500, i%7, i)
		if i%1000 == 0 {
			path = fmt.Sprintf("mine/s%d", i)
		}
		w.create(path, "x")
	}
	return w
}

// BenchmarkList lists 100,000 names for a token that sees 100 of them, for one
// that sees all (a page of 1,000, and all pages), and fills the index.
func BenchmarkList(b *testing.B) {
	w := names100k(b)
	page := func(b *testing.B, f permit.Filter, q storage.ListQuery, want int) {
		p := w.mayList("secret:list", f)
		if _, err := w.store.Secrets.List(w.ctx, p, q); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			page, err := w.store.Secrets.List(w.ctx, p, q)
			if err != nil || len(page.Items) != want {
				b.Fatal(len(page.Items), err)
			}
		}
	}
	b.Run("fill", func(b *testing.B) {
		for b.Loop() {
			s, err := storage.Open(w.ctx, w.kv, w.root)
			w.must(err)
			_, err = s.Secrets.List(w.ctx, w.mayList("secret:list", everywhere()), storage.ListQuery{Limit: 1})
			w.must(err)
			s.Close()
		}
	})
	b.Run("see100", func(b *testing.B) {
		page(b, under("mine/"), storage.ListQuery{Limit: 1000}, 100)
	})
	b.Run("see100-names-only", func(b *testing.B) {
		page(b, sight{prefixes: []string{"mine/"}}, storage.ListQuery{Limit: 1000}, 100)
	})
	b.Run("see100-anywhere", func(b *testing.B) { // the filter cannot narrow: every name is asked
		page(b, narrow{sight{prefixes: []string{"mine/"}}}, storage.ListQuery{Limit: 1000}, 100)
	})
	b.Run("page-of-all", func(b *testing.B) {
		page(b, sight{prefixes: []string{""}}, storage.ListQuery{Limit: 1000}, 1000)
	})
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			if got := len(w.lists(sight{prefixes: []string{""}}, storage.ListQuery{Limit: 1000})); got != 100_000 {
				b.Fatal(got)
			}
		}
	})
	b.Run("after-write", func(b *testing.B) {
		p := w.mayList("secret:list", sight{prefixes: []string{"mine/"}})
		for i := 0; b.Loop(); i++ {
			w.create(fmt.Sprint("new/s", time.Now().UnixNano()), "x")
			_, err := w.store.Secrets.List(w.ctx, p, storage.ListQuery{Limit: 1000})
			w.must(err)
		}
	})
}

// narrow is a filter whose prefixes tell nothing, as that of "+/x" does.
type narrow struct{ sight }

func (narrow) Prefixes() []string { return []string{""} }

// BenchmarkAuthenticate looks up a token with two roles, cached and not.
func BenchmarkAuthenticate(b *testing.B) {
	w := newWorld(b, memory.New())
	w.user("u")
	w.role("r1")
	w.role("r2")
	token, _ := w.token("u", standalone("r1", "r2"))
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			_, err := w.store.Identities.Authenticate(w.ctx, []byte(token), w.now, netip.Addr{})
			w.must(err)
		}
	})
	b.Run("resolved", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			s, err := storage.Open(w.ctx, w.kv, w.root)
			w.must(err)
			b.StartTimer()
			_, err = s.Identities.Authenticate(w.ctx, []byte(token), w.now, netip.Addr{})
			w.must(err)
			b.StopTimer()
			s.Close()
			b.StartTimer()
		}
	})
}

// BenchmarkApply changes one policy among 10,000.
func BenchmarkApply(b *testing.B) {
	w := newWorld(b, memory.New())
	id, create := schema.NewDecisionID(), schema.Capability{Resource: schema.Policy, Verb: "create"}
	var permits []permit.Permit
	var changes []storage.PolicyChange
	for i := range 10_000 {
		n := name(fmt.Sprint("p", i))
		permits = append(permits, permit.Issue(permit.Grant{ID: id, Cap: create, Path: n.Path(), Time: w.now}))
		changes = append(changes, storage.PolicyChange{Name: n, Text: []byte(n.String())})
	}
	_, err := w.store.Policies.Apply(w.ctx, permits, changes)
	w.must(err)
	for i := 0; b.Loop(); i++ {
		w.apply("p77", fmt.Sprint(time.Now().UnixNano(), i))
	}
}
