package engine

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

const readProd = `
policy "reader" {
  secret {
    path         = "prod/*"
    capabilities = ["read", "list"]
  }
  secret {
    path         = "prod/admin/*"
    capabilities = []
  }
}
`

func TestBeforeActivateEverythingIsDenied(t *testing.T) {
	e, c := New(Config{}), ask("secret:read", "prod/db", "reader")
	want := schema.Decision{Reason: schema.Unavailable}
	if d := decide(t, e, c); d != want {
		t.Errorf("Authorize = %+v; want %+v", d, want)
	}
	if d, p := e.List(t.Context(), "id", c); d != want || p != (permit.Permit{}) {
		t.Errorf("List = %+v; want %+v and no permit", d, want)
	}
	if d, p := e.Self("id", c); d != want || p != (permit.Permit{}) {
		t.Errorf("Self = %+v; want %+v and no permit", d, want)
	}
	if set, rev := e.Set(); set != nil || rev != 0 {
		t.Errorf("Set = %v, %d; want none", set, rev)
	}
}

func TestAuthorize(t *testing.T) {
	e := mustActivate(t, Config{}, mustParse(t, readProd))
	c := ask("secret:read", "prod/db", "reader")
	d, p := e.Authorize(t.Context(), "decision-1", c)
	set, _ := e.Set()
	digest := set.Find("reader").Digest
	want := schema.Decision{
		Allow: true, Reason: schema.Granted, Rule: schema.RuleRef{Policy: "reader", Digest: digest, Line: 2},
		Set: set.Digest(), Revision: 1,
	}
	if d != want {
		t.Errorf("decision %+v; want %+v", d, want)
	}
	if path, ok := p.Path(c.Capability); !ok || path != c.Path || p.ID() != "decision-1" || p.Principal().User != "ana" || !p.Time().Equal(at) {
		t.Errorf("the permit is for %v, %s, %s, %s", path, p.ID(), p.Principal().User, p.Time())
	}
	if _, ok := p.Path(schema.Capability{Resource: schema.Secret, Verb: "destroy"}); ok {
		t.Error("the permit serves another capability")
	}
	if _, ok := p.Filter(c.Capability); ok {
		t.Error("the permit carries a filter")
	}
}

func TestRefusedBeforePolicy(t *testing.T) {
	e := mustActivate(t, Config{}, policies.Builtin())
	good := ask("secret:read", "prod/db", "admin")
	if !decide(t, e, good).Allow {
		t.Fatal("admin may not read")
	}
	for name, row := range map[string]struct {
		change func(*schema.Call)
		want   schema.Reason
	}{
		"nobody":            {func(c *schema.Call) { c.Principal = schema.Principal{} }, schema.Unauthenticated},
		"no name":           {func(c *schema.Call) { c.Principal.User = "" }, schema.Unauthenticated},
		"no kind":           {func(c *schema.Call) { c.Principal.Kind = "" }, schema.Unauthenticated},
		"a system name":     {func(c *schema.Call) { c.Principal.Kind = schema.KindSystem }, schema.Unauthenticated},
		"no path":           {func(c *schema.Call) { c.Path = schema.Path{} }, schema.InvalidPath},
		"no capability":     {func(c *schema.Call) { c.Capability = schema.Capability{} }, schema.InvalidRequest},
		"unknown verb":      {func(c *schema.Call) { c.Capability.Verb = "run" }, schema.InvalidRequest},
		"nothing attached":  {func(c *schema.Call) { c.Principal.Policies = nil }, schema.NoRule},
		"unknown policy":    {func(c *schema.Call) { c.Principal.Policies = []string{"../admin", "Admin", "nobody"} }, schema.NoRule},
		"two in one string": {func(c *schema.Call) { c.Principal.Policies = []string{"nobody\nadmin"} }, schema.NoRule},
	} {
		c := good
		row.change(&c)
		if d := decide(t, e, c); d.Allow || d.Reason != row.want {
			t.Errorf("%s: %s; want %s", name, d.Reason, row.want)
		}
	}
	c := good
	c.Principal.Policies = []string{"nobody", "admin"}
	if !decide(t, e, c).Allow {
		t.Error("an unknown policy beside admin takes admin away")
	}
}

func TestListIsFiltered(t *testing.T) {
	e := mustActivate(t, Config{}, mustParse(t, readProd+hclOf("exact", "secret", [2]string{"dev/a", "update"}, [2]string{"dev/+/b", "list"}, [2]string{"prod/x*", "list"})+
		hclOf("all", "secret", [2]string{"*", "list"})))
	c := ask("secret:list", "x", "reader", "exact")
	c.Path = schema.Path{}
	d, p := e.List(t.Context(), "id", c)
	f, ok := p.Filter(c.Capability)
	if !d.Allow || d.Reason != schema.Granted || !ok {
		t.Fatalf("decision %+v, filter %v", d, ok)
	}
	for path, want := range map[string]bool{
		"prod/db": true, "prod/admin/root": false, "prod": false, "dev/a": false, "dev/x/b": true, "dev/x/c": false, "prod/xyz": true,
	} {
		if got := f.Visible(schema.MustPath(path)); got != want {
			t.Errorf("%s is visible: %t; want %t", path, got, want)
		}
	}
	if !f.Has("describe", schema.MustPath("prod/db")) || f.Has("describe", schema.MustPath("dev/x/b")) || f.Has("nonsense", schema.MustPath("prod/db")) {
		t.Error("Has does not answer for the other verbs")
	}
	if f.Visible(schema.Path{}) {
		t.Error("the zero path is visible without a pattern *")
	}
	if got := strings.Join(f.Prefixes(), " "); got != "dev/ prod/" {
		t.Errorf("prefixes %q; want dev/ and prod/", got)
	}
	if _, ok := p.Filter(schema.Capability{Resource: schema.Job, Verb: "list"}); ok {
		t.Error("the filter serves another capability")
	}
}

func TestPrefixes(t *testing.T) {
	e := mustActivate(t, Config{}, append(policies.Builtin(), mustParse(t,
		hclOf("some", "secret", [2]string{"a/b", "update"}, [2]string{"a/b/c*", "update"}, [2]string{"a/bc", "read"}, [2]string{"z/*", "deny"}))...))
	for _, row := range []struct{ capability, policy, want string }{
		{"secret:update", "some", "[a/b]"},
		{"secret:rollback", "some", "[a/b]"},
		{"secret:describe", "some", "[a/bc]"},
		{"secret:list", "some", "[]"},
		{"job:list", "some", "[]"},
		{"secret:list", "admin", "[]…"},
		{"secret:list", "nobody", "[]"},
	} {
		c := ask(row.capability, "x", row.policy)
		_, p := e.List(t.Context(), "id", c)
		f, _ := p.Filter(c.Capability)
		got := "[" + strings.Join(f.Prefixes(), " ") + "]"
		if len(f.Prefixes()) == 1 && f.Prefixes()[0] == "" {
			got = "[]…" // the empty prefix: anywhere
		}
		if got != row.want {
			t.Errorf("prefixes of %s for %s are %s; want %s", row.policy, row.capability, got, row.want)
		}
	}
}

func TestZeroPathIsSeenThroughStarAlone(t *testing.T) {
	e := mustActivate(t, Config{}, append(policies.Builtin(), mustParse(t, hclOf("wide", "audit", [2]string{"+", "read"}, [2]string{"a*", "read"}))...))
	for policy, want := range map[string]bool{"admin": true, "wide": false} {
		c := ask("audit:read", "x", policy)
		_, p := e.List(t.Context(), "id", c)
		f, _ := p.Filter(c.Capability)
		if got := f.Visible(schema.Path{}); got != want {
			t.Errorf("%s sees the zero path: %t; want %t", policy, got, want)
		}
	}
}

func TestSelf(t *testing.T) {
	e := mustActivate(t, Config{}, nil)
	c := ask("token:renew", "ana/0a1b")
	if d, p := e.Self("id", c); !d.Allow || !p.Allows(c.Capability) {
		t.Errorf("a user may not renew its own token: %+v", d)
	}
	c.Principal = schema.Principal{}
	if d, p := e.Self("id", c); d.Allow || d.Reason != schema.Unauthenticated || p != (permit.Permit{}) {
		t.Errorf("nobody may renew a token: %+v", d)
	}
}

func TestSystem(t *testing.T) {
	e, sweep := New(Config{}), schema.Capability{Resource: schema.Secret, Verb: "destroy"}
	c, d, p := e.System("id", "sweep", sweep, schema.Path{}, at)
	if !d.Allow || c.Principal.Kind != schema.KindSystem || c.Principal.User != "system:sweep" || c.Capability != sweep {
		t.Errorf("call %+v, decision %+v", c, d)
	}
	if _, named := p.Path(sweep); named || !p.Allows(sweep) || !p.Time().Equal(at) {
		t.Error("the permit does not allow the task, or names a path")
	}
}

func TestActivateSwaps(t *testing.T) {
	list := mustParse(t, readProd+hclOf("other", "job", [2]string{"*", "run"}))
	e := mustActivate(t, Config{}, list)
	read, run := ask("secret:read", "prod/db", "reader"), ask("job:run", "api", "other")
	if !decide(t, e, read).Allow || !decide(t, e, run).Allow {
		t.Fatal("not granted at first")
	}
	set, _ := e.Set()
	next := set.With(mustParse(t, hclOf("reader", "secret", [2]string{"prod/*", "list"})), nil)
	if err := e.Activate(t.Context(), next, 2); err != nil {
		t.Fatal(err)
	}
	if d := decide(t, e, read); d.Allow || d.Set != next.Digest() || d.Revision != 2 {
		t.Errorf("after the swap %+v; want a denial on the new set", d)
	}
	if e.Memoised([]string{"other"}, schema.Job) != 1 || e.Memoised([]string{"reader"}, schema.Secret) != 1 {
		t.Error("the untouched attached set lost its memo, or the changed one kept it")
	}
	if d := decide(t, e, run); !d.Allow || d.Set != next.Digest() {
		t.Errorf("the untouched policy decides %+v; want a grant on the new set", d)
	}
	if err := e.Activate(t.Context(), next.With(nil, next.Names()), 3); err != nil {
		t.Fatal(err)
	}
	if d := decide(t, e, run); d.Reason != schema.NoRule {
		t.Errorf("after all policies are gone: %s; want no_rule", d.Reason)
	}
}

// TestNewPolicyReachesThoseWhoNamedIt makes a policy after principals carry its name.
func TestNewPolicyReachesThoseWhoNamedIt(t *testing.T) {
	e, c := mustActivate(t, Config{}, nil), ask("secret:read", "prod/db", "reader")
	if d := decide(t, e, c); d.Reason != schema.NoRule {
		t.Fatalf("%s; want no_rule", d.Reason)
	}
	set, _ := e.Set()
	if err := e.Activate(t.Context(), set.With(mustParse(t, readProd), nil), 2); err != nil {
		t.Fatal(err)
	}
	if !decide(t, e, c).Allow {
		t.Error("the new policy is not seen")
	}
}

func TestActivateRefusesWhatDoesNotAgree(t *testing.T) {
	e := mustActivate(t, Config{}, mustParse(t, readProd))
	if err := e.Break(strings.Replace(string(policies.Main()), "rank == top", "rank != top", 1)); err != nil {
		t.Fatal(err)
	}
	set, _ := e.Set()
	err := e.Activate(t.Context(), set.With(mustParse(t, hclOf("new", "secret", [2]string{"a/*", "read"}, [2]string{"a/b", "list"})), nil), 2)
	if fault.KindOf(err) != fault.Internal || fault.Detail(err) != "policy new does not compile to what it says; the policies in force are unchanged" {
		t.Errorf("Activate = %v; want a refusal", err)
	}
	if now, rev := e.Set(); now != set || rev != 1 {
		t.Error("the refused set is in force")
	}
}

// TestEvaluationFailures gives OPA a main module that answers something else, and a
// context that has ended: all are denials, and none is kept.
func TestEvaluationFailures(t *testing.T) {
	c := ask("secret:read", "prod/db", "reader")
	for name, main := range map[string]string{
		"undefined":        `answer := 1 if input.nothing`,
		"no document":      `answer := "granted"`,
		"no rules":         `answer := {"decision": true, "context": {"reason": "granted", "rules": []}}`,
		"not fitting":      `answer := {"decision": true, "context": {"reason": "no_rule", "rules": []}}`,
		"unknown reason":   `answer := {"decision": true, "context": {"reason": "fine", "rules": [1]}}`,
		"decision a word":  `answer := {"decision": "true", "context": {"reason": "granted", "rules": [1]}}`,
		"rule incomplete":  `answer := {"decision": true, "context": {"reason": "granted", "rules": [{"policy": "a"}]}}`,
		"rule digest":      `answer := {"decision": true, "context": {"reason": "granted", "rules": [{"policy": "a", "digest": "x", "line": 1}]}}`,
		"built-in error":   `answer := count(input.action)`,
		"does not compile": `answer := http.send({"method": "get", "url": "http://localhost"})`,
		"reads the clock":  `answer := time.now_ns()`,
		"conflict":         "answer := 1 if input.action\nanswer := 2 if input.resource",
	} {
		e := mustActivate(t, Config{}, mustParse(t, readProd))
		if err := e.Break("package heroctl.authz\n" + main); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := decide(t, e, c); d.Allow || d.Reason != schema.EvaluationFailed {
			t.Errorf("%s: %s; want evaluation_failed", name, d.Reason)
		}
		if e.Memoised(c.Principal.Policies, schema.Secret) != 0 {
			t.Errorf("%s: the failure was kept", name)
		}
	}
}

func TestEndedContextIsDeniedAndNotKept(t *testing.T) {
	e, c := mustActivate(t, Config{}, mustParse(t, readProd)), ask("secret:read", "prod/db", "reader")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if d, _ := e.Authorize(ended, "id", c); d.Allow || d.Reason != schema.EvaluationFailed {
		t.Errorf("%s; want evaluation_failed", d.Reason)
	}
	if !decide(t, e, c).Allow {
		t.Error("the failure was kept")
	}
}

func TestTimeout(t *testing.T) {
	e := mustActivate(t, Config{Timeout: 20 * time.Millisecond}, mustParse(t, readProd))
	slow := "package heroctl.authz\nanswer := count([1 | some a in xs; some b in xs; some c in xs; some d in xs; some e in xs; some f in xs; a + b + c + d + e + f < 0])\n" +
		"xs := [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]"
	e.compiler.capabilities = ast.CapabilitiesForThisVersion()
	if err := e.Break(slow); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if d := decide(t, e, ask("secret:read", "prod/db", "reader")); d.Reason != schema.EvaluationFailed {
		t.Errorf("%s; want evaluation_failed", d.Reason)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the evaluation ran for %v", took)
	}
}

// TestBounds asks for more attached sets and programs than are kept.
func TestBounds(t *testing.T) {
	e := mustActivate(t, Config{Programs: 1, Attached: 2}, mustParse(t, readProd+hclOf("other", "secret", [2]string{"*", "list"})))
	for range 3 {
		for _, names := range [][]string{{"reader"}, {"other"}, {"other", "reader"}, {"nobody"}} {
			want := len(names) == 2 || names[0] == "reader"
			if d := decide(t, e, ask("secret:read", "prod/db", names...)); d.Allow != want {
				t.Errorf("%v: %s", names, d.Reason)
			}
		}
	}
	if now := e.current.Load(); len(now.attached) > 2 || e.programs.Len() > 1 {
		t.Errorf("%d attached sets and %d programs are kept", len(now.attached), e.programs.Len())
	}
}

// TestInputTerm holds the input built by hand against the JSON form.
func TestInputTerm(t *testing.T) {
	full := ask("secret:read", "prod/db", "a", "b")
	full.Principal.Token, full.Principal.Roles, full.Principal.Job = "0a1b", []string{"deployer", "viewer"}, "api"
	full.Context.Source, full.Context.Method, full.Context.TokenIssued = netip.MustParseAddr("::ffff:10.1.2.3"), "token", at.Add(-90*time.Minute)
	full.Context.Zones = map[string]schema.LocalTime{"UTC": {Day: "wed", Minute: 306}, "Europe/Berlin": {Day: "wed", Minute: 0}}
	for _, c := range []schema.Call{full, ask("job:run", "api"), {}} {
		text, err := json.Marshal(c.Input())
		if err != nil {
			t.Fatal(err)
		}
		want, err := ast.ValueFromReader(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if got := inputTerm(c, c.Principal.Policies); got.Value.Compare(want) != 0 {
			t.Errorf("input\n%s\nwant\n%s", got, want)
		}
	}
}

// TestMemoKey holds that different questions have different keys.
func TestMemoKey(t *testing.T) {
	seen := map[string]bool{}
	for _, verb := range []schema.Verb{"read", "readable", "list"} {
		for _, ids := range [][]uint32{nil, {1}, {256}, {1, 2}, {2, 1}, {1 << 24}, {0, 0}} {
			seen[string(memoKey(nil, verb, ids))] = true
		}
	}
	if len(seen) != 21 {
		t.Errorf("%d keys for 21 questions", len(seen))
	}
}

// TestConcurrentUse decides, lists and activates at once; each decision must fit the set
// it names.
func TestConcurrentUse(t *testing.T) {
	open := policies.NewSet(mustParse(t, readProd))
	shut := open.With(mustParse(t, hclOf("reader", "secret", [2]string{"prod/*", "list"})), nil)
	e, c := mustActivate(t, Config{Programs: 1}, open.All()), ask("secret:read", "prod/db", "reader")
	stop := make(chan struct{})
	var deciders sync.WaitGroup
	for range 4 {
		deciders.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				d, p := e.Authorize(t.Context(), "id", c)
				if _, ok := p.Path(c.Capability); d.Allow != (d.Set == open.Digest()) || ok != d.Allow {
					t.Errorf("%+v is not what its set says", d)
					return
				}
			}
		})
	}
	for i := range 50 {
		set := []*policies.Set{shut, open}[i%2]
		if err := e.Activate(t.Context(), set, schema.Revision(i+2)); err != nil {
			t.Error(err)
		}
		if d := decide(t, e, c); d.Set != set.Digest() {
			t.Error("a call after Activate was decided on the old set")
		}
	}
	close(stop)
	deciders.Wait()
}
