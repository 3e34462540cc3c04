package storage_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/memory"
	"github.com/heroctl/heroctl/storage/pebble"
)

// world is a store with a clock and someone who asks.
type world struct {
	testing.TB
	ctx   context.Context
	kv    storage.KV
	root  crypto.RootKey
	store *storage.Store
	now   time.Time
	who   schema.Principal
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newWorld(tb testing.TB, kv storage.KV) *world {
	tb.Helper()
	w := &world{TB: tb, ctx: context.Background(), kv: kv, now: epoch, who: schema.Principal{Kind: schema.KindUser, User: "alice"}}
	var err error
	w.root, err = crypto.NewRootKey()
	w.must(err)
	w.store, err = storage.Init(w.ctx, kv, w.root, w.now)
	w.must(err)
	tb.Cleanup(func() {
		w.store.Close()
		w.must(kv.Close())
	})
	return w
}

// onBoth runs a test on the memory store and on Pebble.
func onBoth(t *testing.T, test func(*world)) {
	t.Run("memory", func(t *testing.T) { test(newWorld(t, memory.New())) })
	t.Run("pebble", func(t *testing.T) { test(newWorld(t, openPebble(t))) })
}

func openPebble(tb testing.TB) storage.KV {
	tb.Helper()
	kv, err := pebble.Open(pebble.Config{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	return kv
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// want checks the kind of an error, and that its detail has a text in it.
func (w *world) want(err error, kind fault.Kind, detail string) {
	w.Helper()
	if !errors.Is(err, kind) || !strings.Contains(fault.Detail(err), detail) {
		w.Fatalf("got error %v, want %s with %q", err, kind, detail)
	}
}

// may issues a permit: may("secret:read", "prod/db").
func (w *world) may(capability, path string) permit.Permit {
	w.Helper()
	c, err := schema.ParseCapability(capability)
	w.must(err)
	g := permit.Grant{ID: schema.NewDecisionID(), Principal: w.who, Cap: c, Time: w.now}
	if path != "" {
		g.Path, err = schema.ParsePath(path)
		w.must(err)
	}
	return permit.Issue(g)
}

// mayList issues a list permit with a filter.
func (w *world) mayList(capability string, f permit.Filter) permit.Permit {
	w.Helper()
	c, err := schema.ParseCapability(capability)
	w.must(err)
	return permit.Issue(permit.Grant{ID: schema.NewDecisionID(), Principal: w.who, Cap: c, Time: w.now, Filter: f})
}

// system issues a permit to the server itself.
func (w *world) system(capability, path string) permit.Permit {
	w.Helper()
	human := w.who
	w.who = schema.Principal{Kind: schema.KindSystem, User: "system:test"}
	defer func() { w.who = human }()
	return w.may(capability, path)
}

// sight is a filter of literal prefixes.
type sight struct {
	prefixes []string
	describe bool
	asked    *int // counts Visible
}

func everywhere() sight                               { return sight{prefixes: []string{""}, describe: true} }
func under(prefixes ...string) sight                  { return sight{prefixes: prefixes, describe: true} }
func (f sight) Prefixes() []string                    { return f.prefixes }
func (f sight) Has(v schema.Verb, p schema.Path) bool { return f.describe && v == "describe" }

func (f sight) Visible(p schema.Path) bool {
	if f.asked != nil {
		*f.asked++
	}
	for _, prefix := range f.prefixes {
		if strings.HasPrefix(p.String(), prefix) {
			return true
		}
	}
	return false
}

func value(text string) secret.Value { return secret.New([]byte(text)) }

func name(text string) schema.Name { return schema.MustName(text) }

func ptr[T any](v T) *T { return &v }

// create makes a secret.
func (w *world) create(path, text string) storage.SecretInfo {
	w.Helper()
	info, err := w.store.Secrets.Create(w.ctx, w.may("secret:create", path), storage.NewSecret{Value: value(text)})
	w.must(err)
	return info
}

// update stores a new version.
func (w *world) update(path, text string) storage.SecretInfo {
	w.Helper()
	info, err := w.store.Secrets.Update(w.ctx, w.may("secret:update", path), storage.SecretChange{Value: ptr(value(text))})
	w.must(err)
	return info
}

// reads checks the value of a version.
func (w *world) reads(path string, v schema.Version, text string) storage.VersionInfo {
	w.Helper()
	got, info, err := w.store.Secrets.Read(w.ctx, w.may("secret:read", path), v)
	w.must(err)
	if !got.Equal(value(text)) {
		w.Fatalf("version %d of the secret has another value than wanted", v)
	}
	return info
}

// refuses checks that a version cannot be read.
func (w *world) refuses(path string, v schema.Version, kind fault.Kind, detail string) {
	w.Helper()
	_, _, err := w.store.Secrets.Read(w.ctx, w.may("secret:read", path), v)
	w.want(err, kind, detail)
}

// lists returns the visible names, all pages of them.
func (w *world) lists(f permit.Filter, q storage.ListQuery) []string {
	w.Helper()
	var names []string
	for {
		page, err := w.store.Secrets.List(w.ctx, w.mayList("secret:list", f), q)
		w.must(err)
		for _, item := range page.Items {
			names = append(names, item.Path.String())
			q.After = item.Path
		}
		if !page.More {
			return names
		}
	}
}

func (w *world) sweep() int {
	w.Helper()
	n, err := w.store.Secrets.Sweep(w.ctx, w.system("secret:destroy", ""))
	w.must(err)
	return n
}

// dump returns every key and value of the store, joined.
func (w *world) dump() []storage.Item {
	w.Helper()
	var all []storage.Item
	var after []byte
	for {
		items, err := w.kv.Scan(w.ctx, nil, after, 1000)
		w.must(err)
		if len(items) == 0 {
			return all
		}
		all = append(all, items...)
		after = items[len(items)-1].Key
	}
}
