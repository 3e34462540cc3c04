package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/memory"
)

func TestOpenAgain(t *testing.T) {
	onBoth(t, func(w *world) {
		w.create("a", "one")
		again, err := storage.Open(w.ctx, w.kv, w.root)
		w.must(err)
		defer again.Close()
		if again.Cluster() != w.store.Cluster() || again.Cluster() == "" {
			w.Fatalf("cluster %q became %q", w.store.Cluster(), again.Cluster())
		}
		w.store = again
		w.reads("a", 0, "one")
		_, err = storage.Init(w.ctx, w.kv, w.root, w.now)
		w.want(err, fault.Conflict, "initialised already")
	})
}

func TestOpenRefuses(t *testing.T) {
	ctx := context.Background()
	other, err := crypto.NewRootKey()
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) func(*world) {
		return func(w *world) {
			_, err := w.kv.Commit(ctx, storage.Batch{Put: []storage.Put{{Key: []byte(key), Value: []byte(value)}}})
			w.must(err)
		}
	}
	cases := []struct {
		name   string
		harm   func(*world)
		kind   fault.Kind
		detail string
	}{
		{"another root key", func(w *world) { w.root = other }, fault.Sealed, ""},
		{"a newer format", put("f", "heroctl store 2 abc"), fault.Unsupported, "format 2 and this program reads up to 1"},
		{"a damaged format", put("f", "heroctl stor"), fault.Integrity, "format record is damaged"},
		{"another cluster's id", put("f", "heroctl store 1 another"), fault.Integrity, ""},
		{"a damaged keyring", put("k", "x"), fault.Integrity, ""},
		{"no keyring", func(w *world) {
			_, err := w.kv.Commit(ctx, storage.Batch{Delete: [][]byte{[]byte("k")}})
			w.must(err)
		}, fault.Integrity, "no keyring"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, memory.New())
			c.harm(w)
			before := w.dump()
			_, err := storage.Open(ctx, w.kv, w.root)
			w.want(err, c.kind, c.detail)
			for i, item := range w.dump() {
				if item.Revision != before[i].Revision {
					t.Fatal("the store was written to")
				}
			}
		})
	}
	_, err = storage.Open(ctx, memory.New(), other)
	if !errors.Is(err, fault.NotFound) || !strings.Contains(fault.Detail(err), "run heroctl cluster init") {
		t.Fatalf("empty store: got %v", err)
	}
}

func TestRevisionAndLanded(t *testing.T) {
	onBoth(t, func(w *world) {
		before, err := w.store.Revision(w.ctx)
		w.must(err)
		p := w.may("secret:create", "a")
		if _, landed, err := w.store.Landed(w.ctx, p.ID()); landed || err != nil {
			w.Fatalf("landed before: %v %v", landed, err)
		}
		_, err = w.store.Secrets.Create(w.ctx, p, storage.NewSecret{})
		w.must(err)
		after, err := w.store.Revision(w.ctx)
		w.must(err)
		at, landed, err := w.store.Landed(w.ctx, p.ID())
		if !landed || err != nil || at != after || at <= before {
			w.Fatalf("landed %v at %d, head %d, before %d: %v", landed, at, after, before, err)
		}
		refused := w.may("secret:create", "a")
		_, err = w.store.Secrets.Create(w.ctx, refused, storage.NewSecret{})
		w.want(err, fault.Conflict, "")
		if _, landed, _ := w.store.Landed(w.ctx, refused.ID()); landed {
			w.Fatal("a refused change has landed")
		}
	})
}

func TestPruneDecisions(t *testing.T) {
	w := newWorld(t, memory.New())
	old := w.may("secret:create", "a")
	_, err := w.store.Secrets.Create(w.ctx, old, storage.NewSecret{})
	w.must(err)
	time.Sleep(5 * time.Millisecond)
	between := time.Now()
	time.Sleep(5 * time.Millisecond)
	recent := w.may("secret:create", "b")
	_, err = w.store.Secrets.Create(w.ctx, recent, storage.NewSecret{})
	w.must(err)
	_, err = w.store.PruneDecisions(w.ctx, w.may("cluster:configure", "cluster"), between)
	w.want(err, fault.Denied, "")
	n, err := w.store.PruneDecisions(w.ctx, w.system("cluster:configure", "cluster"), between)
	w.must(err)
	_, gone, _ := w.store.Landed(w.ctx, old.ID())
	_, kept, _ := w.store.Landed(w.ctx, recent.ID())
	if n != 1 || gone || !kept {
		t.Fatalf("pruned %d, old landed %v, recent landed %v", n, gone, kept)
	}
}

func TestPermitWithoutDecisionWritesNothing(t *testing.T) {
	w := newWorld(t, memory.New())
	create, err := schema.ParseCapability("secret:create")
	w.must(err)
	p := permit.Issue(permit.Grant{Cap: create, Path: schema.MustPath("a"), Time: w.now})
	_, err = w.store.Secrets.Create(w.ctx, p, storage.NewSecret{})
	w.want(err, fault.Denied, "no decision")
	w.refuses("a", 0, fault.NotFound, "no secret")
}

// TestStoreShowsNothing searches all keys and values, after a bit of everything,
// for any word that was put in.
func TestStoreShowsNothing(t *testing.T) {
	onBoth(t, func(w *world) {
		words := []string{"canary-value", "canary-path", "CANARYUSER", "canary-role", "canary-owner", "canary-text", "canary-label", "canary-key",
			"canary-policy", "canary-hcl", "secret", "policy", "alice", "10.20.0.0"}
		_, err := w.store.Secrets.Create(w.ctx, w.may("secret:create", "prod/canary-path"), storage.NewSecret{
			Value: value("canary-value"), Owner: "canary-owner", Description: "canary-text", Labels: map[string]string{"canary-key": "canary-label"},
		})
		w.must(err)
		w.update("prod/canary-path", "canary-value 2")
		w.must(w.store.Secrets.Delete(w.ctx, w.may("secret:delete", "prod/canary-path"), 0))
		w.create("canary-path", "canary-value 3")
		w.must(w.store.Secrets.Destroy(w.ctx, w.may("secret:destroy", "canary-path")))
		w.apply("canary-policy", "canary-hcl")
		token := w.bootstrap()
		words = append(words, token, token[5:48])
		w.user("CANARYUSER")
		w.role("canary-role", "canary-policy")
		child, info := w.token("CANARYUSER", storage.NewToken{
			Kind: storage.UserToken, TTL: time.Hour, Roles: []schema.Name{name("canary-role")}, Description: "canary-text", Standalone: true,
			CIDRs: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")},
		})
		words = append(words, child, info.Accessor)
		items := w.dump()
		if len(items) < 40 {
			w.Fatalf("only %d records to search", len(items))
		}
		for _, item := range items {
			for _, word := range words {
				if bytes.Contains(bytes.ToLower(item.Key), []byte(strings.ToLower(word))) || bytes.Contains(bytes.ToLower(item.Value), []byte(strings.ToLower(word))) {
					w.Errorf("record of kind %q shows %q", item.Key[:1], word)
				}
			}
		}
	})
}

// TestSwappedRecordsAreRefused exchanges the values of every two records of the
// same kind that hold a secret, and expects an integrity fault, never the other's
// value.
func TestSwappedRecordsAreRefused(t *testing.T) {
	for _, kind := range []string{"s", "v", "x", "n", "e"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, memory.New())
			w.create("a", "a1")
			w.update("a", "a2")
			w.update("a", "a3")
			w.create("b", "b1")
			w.update("b", "b2")
			items, err := w.kv.Scan(w.ctx, []byte(kind), nil, 100)
			w.must(err)
			if len(items) < 2 {
				t.Fatalf("only %d records to swap", len(items))
			}
			for i := range items {
				next := items[(i+1)%len(items)].Value
				_, err := w.kv.Commit(w.ctx, storage.Batch{Put: []storage.Put{{Key: items[i].Key, Value: next}}})
				w.must(err)
			}
			w.store.Close()
			w.store, err = storage.Open(w.ctx, w.kv, w.root) // the name index is not in memory
			w.must(err)
			s := w.store.Secrets
			switch kind {
			case "n":
				_, err = s.List(w.ctx, w.mayList("secret:list", everywhere()), storage.ListQuery{})
			case "e":
				w.now = w.now.Add(week)
				_, err = s.Sweep(w.ctx, w.system("secret:destroy", ""))
			case "v":
				_, err = s.History(w.ctx, w.may("secret:describe", "a"))
				w.want(err, fault.Integrity, "")
				_, _, err = s.Read(w.ctx, w.may("secret:read", "a"), 1)
			default:
				_, _, err = s.Read(w.ctx, w.may("secret:read", "a"), 0)
			}
			w.want(err, fault.Integrity, "")
		})
	}
}

func TestMissingRecordsAreNoticed(t *testing.T) {
	for _, kind := range []string{"v", "x"} {
		w := newWorld(t, memory.New())
		w.create("a", "a1")
		w.update("a", "a2")
		items, err := w.kv.Scan(w.ctx, []byte(kind), nil, 1)
		w.must(err)
		_, err = w.kv.Commit(w.ctx, storage.Batch{Delete: [][]byte{items[0].Key}})
		w.must(err)
		w.refuses("a", 1, fault.Integrity, "missing")
		if kind == "v" {
			_, err = w.store.Secrets.History(w.ctx, w.may("secret:describe", "a"))
			w.want(err, fault.Integrity, "missing")
		}
	}
}

// failing is a KV whose n-th commit fails, before or after it lands.
type failing struct {
	storage.KV
	left  int
	lands bool
}

var errDisk = errors.New("disk on fire")

func (f *failing) Commit(ctx context.Context, b storage.Batch) (schema.Revision, error) {
	if f.left--; f.left != 0 {
		return f.KV.Commit(ctx, b)
	}
	if f.lands {
		if _, err := f.KV.Commit(ctx, b); err != nil {
			return 0, err
		}
	}
	return 0, fault.Wrap(fault.Internal, "", errDisk)
}

// TestEveryCommitMayFail fails the n-th commit of a scenario for every n. The
// failure must be reported, and afterwards the store must be of one piece: a
// sweep finishes what was left.
func TestEveryCommitMayFail(t *testing.T) {
	for _, lands := range []bool{false, true} {
		for n := 1; ; n++ {
			kv := &failing{KV: memory.New(), lands: lands}
			w := newWorld(t, kv)
			for i := range 3 {
				w.create(fmt.Sprint("s", i), "1")
				w.update(fmt.Sprint("s", i), "2")
			}
			for i := range 110 {
				w.update("s2", fmt.Sprint(i))
			}
			w.must(w.store.Secrets.Delete(w.ctx, w.may("secret:delete", "s0"), 0))
			kv.left = n
			w.now = w.now.Add(week)
			_, err1 := w.store.Secrets.Sweep(w.ctx, w.system("secret:destroy", ""))
			err2 := w.store.Secrets.Destroy(w.ctx, w.may("secret:destroy", "s2"))
			done := kv.left > 0
			kv.left = 0
			if !done && !errors.Is(errors.Join(err1, err2), errDisk) {
				t.Fatalf("commit %d (lands %v): the failure was not reported: %v, %v", n, lands, err1, err2)
			}
			if err := w.store.Secrets.Destroy(w.ctx, w.may("secret:destroy", "s2")); err != nil && !errors.Is(err, fault.NotFound) {
				t.Fatal(err)
			}
			w.sweep()
			w.reads("s1", 0, "2")
			for kind, want := range map[string]int{"s": 1, "x": 1, "v": 1, "e": 0, "g": 0, "t": 2, "n": 1} {
				if items, _ := kv.Scan(w.ctx, []byte(kind), nil, 1000); len(items) != want {
					t.Fatalf("commit %d (lands %v): %d records of kind %q, want %d", n, lands, len(items), kind, want)
				}
			}
			if done {
				if n < 8 {
					t.Fatalf("only %d commits to fail", n)
				}
				break
			}
		}
	}
}
