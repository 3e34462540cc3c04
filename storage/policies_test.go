package storage_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/memory"
)

// apply creates or updates a policy.
func (w *world) apply(policy, text string) storage.PolicyManifest {
	w.Helper()
	m, err := w.store.Policies.Current(w.ctx)
	w.must(err)
	verb := "policy:create"
	if _, ok := m.Get(name(policy)); ok {
		verb = "policy:update"
	}
	m, err = w.store.Policies.Apply(w.ctx, []permit.Permit{w.may(verb, policy)}, []storage.PolicyChange{{Name: name(policy), Text: []byte(text)}})
	w.must(err)
	return m
}

func (w *world) drop(policy string) storage.PolicyManifest {
	w.Helper()
	m, err := w.store.Policies.Apply(w.ctx, []permit.Permit{w.may("policy:delete", policy)}, []storage.PolicyChange{{Name: name(policy), Delete: true}})
	w.must(err)
	return m
}

// setOf is the digest of a policy set as package policies defines it.
func setOf(policies ...[2]string) schema.Digest {
	h := sha256.New()
	for _, p := range policies {
		digest := schema.DigestOf([]byte(p[1]))
		_ = binary.Write(h, binary.BigEndian, uint32(len(p[0])))
		h.Write([]byte(p[0]))
		h.Write(digest[:])
	}
	return schema.Digest(h.Sum(nil))
}

func TestPolicyLife(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.store.Policies
		m, err := s.Current(w.ctx)
		w.must(err)
		if m.Set != setOf() || len(m.Entries) != 0 {
			w.Fatalf("empty store: got %+v", m)
		}
		w.apply("b", "b1")
		m = w.apply("a", "a1")
		if want := setOf([2]string{"a", "a1"}, [2]string{"b", "b1"}); m.Set != want {
			w.Fatalf("set %s, want %s", m.Set, want)
		}
		first := m
		m = w.apply("a", "a2")
		e, ok := m.Get(name("a"))
		if !ok || e.Version != 2 || e.Author != "alice" || e.Digest != schema.DigestOf([]byte("a2")) || m.Revision <= first.Revision {
			w.Fatalf("got %+v at %d", e, m.Revision)
		}
		again := w.apply("a", "a2")
		if again.Revision != m.Revision {
			w.Fatal("the same text again changed the manifest")
		}
		m = w.drop("a")
		if _, ok := m.Get(name("a")); ok || m.Set != setOf([2]string{"b", "b1"}) {
			w.Fatalf("after delete: %+v", m)
		}
		_, _, err = s.Describe(w.ctx, w.may("policy:describe", "a"), 0)
		w.want(err, fault.NotFound, "no policy of this name")
		m = w.apply("a", "a1") // the set of old is in force again, by digest
		if e, _ := m.Get(name("a")); m.Set != first.Set || e.Version != 4 {
			w.Fatalf("set %s and version %d", m.Set, e.Version)
		}

		history, err := s.History(w.ctx, w.may("policy:describe", "a"))
		w.must(err)
		var line []string
		for _, e := range history {
			line = append(line, fmt.Sprint(e.Version, " ", e.Deleted, " ", e.Digest.Short()))
		}
		short := func(text string) string { return schema.DigestOf([]byte(text)).Short() }
		want := []string{"4 false " + short("a1"), "3 true ", "2 false " + short("a2"), "1 false " + short("a1")}
		if !slices.Equal(line, want) {
			w.Fatalf("history %q, want %q", line, want)
		}
		e, text, err := s.Describe(w.ctx, w.may("policy:describe", "a"), 2)
		w.must(err)
		if string(text) != "a2" || e.Version != 2 {
			w.Fatalf("revision 2: got %+v", e)
		}
		_, _, err = s.Describe(w.ctx, w.may("policy:describe", "a"), 5)
		w.want(err, fault.NotFound, "no such revision")
	})
}

func TestPastPolicySets(t *testing.T) {
	w := newWorld(t, memory.New())
	s := w.store.Policies
	past := w.apply("a", "a1")
	w.apply("a", "a2")
	explain := w.may("audit:explain", "a")
	got, err := s.ManifestAt(w.ctx, explain, past.Set)
	w.must(err)
	if len(got.Entries) != 1 || got.Entries[0].Digest != schema.DigestOf([]byte("a1")) {
		t.Fatalf("got %+v", got)
	}
	text, err := s.Text(w.ctx, explain, got.Entries[0].Digest)
	w.must(err)
	if string(text) != "a1" {
		t.Fatal("got another text")
	}
	_, err = s.ManifestAt(w.ctx, explain, schema.DigestOf(nil))
	w.want(err, fault.NotFound, "ever in force")
	_, err = s.ManifestAt(w.ctx, w.may("policy:describe", "a"), past.Set)
	w.want(err, fault.Denied, "")
	w.apply("b", "b1")
	_, err = s.Text(w.ctx, w.may("policy:describe", "a"), schema.DigestOf([]byte("b1")))
	w.want(err, fault.NotFound, "no policy text")
	_, err = s.Text(w.ctx, w.may("policy:list", "a"), schema.DigestOf([]byte("a1")))
	w.want(err, fault.Denied, "")
}

func TestApplyIsAllOrNothing(t *testing.T) {
	w := newWorld(t, memory.New())
	before := w.apply("Old", "1")
	create := func(n string) permit.Permit { return w.may("policy:create", n) }
	change := func(n string) storage.PolicyChange { return storage.PolicyChange{Name: name(n), Text: []byte("x")} }
	cases := []struct {
		what    string
		permits []permit.Permit
		changes []storage.PolicyChange
		kind    fault.Kind
	}{
		{"no permits", nil, []storage.PolicyChange{change("a")}, fault.Denied},
		{"nothing", nil, nil, fault.Denied},
		{"one missing", []permit.Permit{create("a")}, []storage.PolicyChange{change("a"), change("b")}, fault.Denied},
		{"another path", []permit.Permit{create("a"), create("c")}, []storage.PolicyChange{change("a"), change("b")}, fault.Denied},
		{"another verb", []permit.Permit{create("a"), w.may("policy:describe", "b")}, []storage.PolicyChange{change("a"), change("b")}, fault.Denied},
		{"guardrail by policy's permit", []permit.Permit{create("a")}, []storage.PolicyChange{{Name: name("a"), Guardrail: true}}, fault.Denied},
		{"create existing", []permit.Permit{create("a"), create("Old")}, []storage.PolicyChange{change("a"), change("Old")}, fault.Conflict},
		{"update absent", []permit.Permit{create("a"), w.may("policy:update", "b")}, []storage.PolicyChange{change("a"), change("b")}, fault.NotFound},
		{"delete absent", []permit.Permit{create("a"), w.may("policy:delete", "b")}, []storage.PolicyChange{change("a"), {Name: name("b"), Delete: true}}, fault.NotFound},
		{"other case", []permit.Permit{create("a"), create("old")}, []storage.PolicyChange{change("a"), change("old")}, fault.Conflict},
		{"twice", []permit.Permit{create("a"), create("A")}, []storage.PolicyChange{change("a"), change("A")}, fault.InvalidArgument},
		{"stale", []permit.Permit{create("a"), w.may("policy:update", "Old")}, []storage.PolicyChange{change("a"), {Name: name("Old"), Text: []byte("x"), IfVersion: 7}}, fault.Conflict},
		{"built in by a user", []permit.Permit{create("a")}, []storage.PolicyChange{{Name: name("a"), Builtin: true}}, fault.Denied},
		{"too large", []permit.Permit{create("a")}, []storage.PolicyChange{{Name: name("a"), Text: make([]byte, 64<<10+1)}}, fault.TooLarge},
	}
	for _, c := range cases {
		_, err := w.store.Policies.Apply(w.ctx, c.permits, c.changes)
		if !errors.Is(err, c.kind) {
			t.Errorf("%s: got %v, want %s", c.what, err, c.kind)
		}
		after, err := w.store.Policies.Current(w.ctx)
		w.must(err)
		if after.Revision != before.Revision {
			t.Fatalf("%s: the policies have changed", c.what)
		}
	}
}

func TestBuiltinPolicies(t *testing.T) {
	w := newWorld(t, memory.New())
	change := []storage.PolicyChange{{Name: name("admin"), Text: []byte("1"), Builtin: true}}
	_, err := w.store.Policies.Apply(w.ctx, []permit.Permit{w.system("policy:create", "admin")}, change)
	w.must(err)
	_, err = w.store.Policies.Apply(w.ctx, []permit.Permit{w.may("policy:update", "admin")}, []storage.PolicyChange{{Name: name("admin"), Text: []byte("2")}})
	w.want(err, fault.FailedCheck, "comes with the server")
	_, err = w.store.Policies.Apply(w.ctx, []permit.Permit{w.may("policy:delete", "admin")}, []storage.PolicyChange{{Name: name("admin"), Delete: true}})
	w.want(err, fault.FailedCheck, "comes with the server")
	change[0].Text = []byte("3")
	_, err = w.store.Policies.Apply(w.ctx, []permit.Permit{w.system("policy:update", "admin")}, change)
	w.must(err)
}

func TestLoadAllAfterReopen(t *testing.T) {
	onBoth(t, func(w *world) {
		var permits []permit.Permit
		var changes []storage.PolicyChange
		id := schema.NewDecisionID()
		for i := range 1500 { // more than fit one commit, all under one decision
			n := fmt.Sprintf("p%04d", i)
			create := schema.Capability{Resource: schema.Policy, Verb: "create"}
			permits = append(permits, permit.Issue(permit.Grant{ID: id, Cap: create, Path: name(n).Path(), Time: w.now, Principal: w.who}))
			changes = append(changes, storage.PolicyChange{Name: name(n), Text: []byte("text of " + n)})
		}
		m, err := w.store.Policies.Apply(w.ctx, permits, changes)
		w.must(err)
		again, err := storage.Open(w.ctx, w.kv, w.root)
		w.must(err)
		defer again.Close()
		loaded, texts, err := again.Policies.LoadAll(w.ctx)
		w.must(err)
		if loaded.Set != m.Set || len(texts) != 1500 || string(texts[name("p0815")]) != "text of p0815" {
			w.Fatalf("loaded set %s with %d texts", loaded.Set, len(texts))
		}
		for i := range permits {
			g := schema.NewDecisionID()
			permits[i] = permit.Issue(permit.Grant{ID: g, Cap: schema.Capability{Resource: schema.Policy, Verb: "update"}, Path: changes[i].Name.Path(), Time: w.now})
		}
		_, err = w.store.Policies.Apply(w.ctx, permits, changes)
		w.want(err, fault.InvalidArgument, "at most 100 policies")
	})
}

func TestConcurrentApply(t *testing.T) {
	w := newWorld(t, memory.New())
	w.apply("shared", "0")
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			own := fmt.Sprint("own", c)
			permits := []permit.Permit{w.may("policy:create", own), w.may("policy:update", "shared")}
			_, err := w.store.Policies.Apply(w.ctx, permits, []storage.PolicyChange{
				{Name: name(own), Text: []byte(own)}, {Name: name("shared"), Text: []byte(own)},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	m, err := w.store.Policies.Current(w.ctx)
	w.must(err)
	e, _ := m.Get(name("shared"))
	if len(m.Entries) != 9 || e.Version != 9 {
		t.Fatalf("%d policies, shared at version %d; want 9 and 9", len(m.Entries), e.Version)
	}
	history, err := w.store.Policies.History(w.ctx, w.may("policy:describe", "shared"))
	w.must(err)
	for i, e := range history {
		if int(e.Version) != 9-i {
			t.Fatalf("history has version %d at place %d", e.Version, i)
		}
	}
}

func TestListPolicies(t *testing.T) {
	w := newWorld(t, memory.New())
	for _, n := range []string{"c", "a", "b", "team-x"} {
		w.apply(n, n)
	}
	page, err := w.store.Policies.List(w.ctx, w.mayList("policy:list", everywhere()), storage.PolicyQuery{Limit: 3})
	w.must(err)
	if len(page.Items) != 3 || !page.More || page.Items[0].Name != name("a") || page.Items[0].Entry == nil {
		t.Fatalf("got %+v", page)
	}
	page, err = w.store.Policies.List(w.ctx, w.mayList("policy:list", sight{prefixes: []string{"team"}}), storage.PolicyQuery{})
	w.must(err)
	if len(page.Items) != 1 || page.Items[0].Entry != nil {
		t.Fatalf("got %+v", page)
	}
}

func TestPoliciesChanged(t *testing.T) {
	w := newWorld(t, memory.New())
	notices, err := w.store.Policies.Changed(w.ctx)
	w.must(err)
	w.apply("a", "1")
	if _, ok := <-notices; !ok {
		t.Fatal("closed without a notice")
	}
}

func TestSwappedPolicyRecordsAreRefused(t *testing.T) {
	for _, kind := range []string{"px", "pm", "pr", "ps"} {
		w := newWorld(t, memory.New())
		w.apply("a", "a1")
		past := w.apply("b", "b1")
		w.apply("a", strings.Repeat("a2", 10))
		items, err := w.kv.Scan(w.ctx, []byte(kind), nil, 100)
		w.must(err)
		for i := range items {
			_, err := w.kv.Commit(w.ctx, storage.Batch{Put: []storage.Put{{Key: items[i].Key, Value: items[(i+1)%len(items)].Value}}})
			w.must(err)
		}
		w.store.Close()
		w.store, err = storage.Open(w.ctx, w.kv, w.root)
		w.must(err)
		switch kind {
		case "ps":
			_, err = w.store.Policies.ManifestAt(w.ctx, w.may("audit:explain", "a"), past.Set)
		case "pr":
			_, err = w.store.Policies.History(w.ctx, w.may("policy:describe", "a"))
		default:
			_, _, err = w.store.Policies.LoadAll(w.ctx)
		}
		w.want(err, fault.Integrity, "")
	}
}
