package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

const officeHours = `
policy "office" {
  secret {
    path         = "prod/*"
    capabilities = ["read", "list"]

    condition {
      hours    = "08:00-19:00"
      timezone = "America/Sao_Paulo"
    }
  }

  secret {
    path         = "dev/*"
    capabilities = ["read", "list"]
  }

  secret {
    path         = "users/{{user.name}}/*"
    capabilities = ["list"]
  }

  policy {
    path         = "*"
    capabilities = ["list"]
  }
}

guardrail "inside" {
  secret {
    path = "*"
    deny = ["list"]

    unless {
      source_cidrs = ["10.0.0.0/8"]
    }
  }

  job {
    path = "*"
    deny = ["run"]
  }
}
`

// TestVolatileAnswersAreNotKept moves the clock, the address and the user between calls
// that match the same blocks.
func TestVolatileAnswersAreNotKept(t *testing.T) {
	e, c := mustActivate(t, Config{}, mustParse(t, officeHours)), ask("secret:read", "prod/db", "office")
	for range 2 {
		for hour, want := range map[int]schema.Reason{10: schema.ConditionFailed, 11: schema.Granted, 22: schema.ConditionFailed} {
			c.Context.Time = time.Date(2026, 3, 4, hour, 0, 0, 0, time.UTC)
			if d := decide(t, e, c); d.Reason != want {
				t.Errorf("at %d:00 %s; want %s", hour, d.Reason, want)
			}
		}
	}
	c = ask("secret:list", "dev/db", "office")
	for _, source := range []string{"10.1.2.3", "192.0.2.1", "10.1.2.3"} {
		c.Context.Source = netip.MustParseAddr(source)
		if d := decide(t, e, c); d.Allow != strings.HasPrefix(source, "10.") {
			t.Errorf("from %s %s", source, d.Reason)
		}
	}
	if n := e.Memoised(c.Principal.Policies, schema.Secret); n != 0 {
		t.Errorf("%d answers about secrets are kept; each depends on the call", n)
	}
	if d := decide(t, e, ask("secret:read", "dev/db", "office")); !d.Allow || e.Memoised(c.Principal.Policies, schema.Secret) != 1 {
		t.Errorf("an answer that no guardrail and no condition touches is not kept: %s", d.Reason)
	}
	run := ask("job:run", "api", "office")
	for _, user := range []string{"ana", "bob"} {
		run.Principal.User = user
		if d := decide(t, e, run); d.Reason != schema.GuardrailDenied || d.Condition != "" {
			t.Errorf("%s: %s (%s); want guardrail", user, d.Reason, d.Condition)
		}
	}
	if n := e.Memoised(c.Principal.Policies, schema.Job); n != 1 {
		t.Errorf("%d answers about jobs are kept; a guardrail without exception depends on the path alone", n)
	}
}

// TestTemplateAnswersAreKept by what the template stands for, not by who asks.
func TestTemplateAnswersAreKept(t *testing.T) {
	e := mustActivate(t, Config{}, mustParse(t, hclOf("own", "secret", [2]string{"users/{{user.name}}/*", "read"})))
	for range 2 {
		for user, want := range map[string]schema.Reason{"ana": schema.Granted, "bob": schema.NoRule, "*": schema.TemplateValue} {
			c := ask("secret:read", "users/ana/key", "own")
			c.Principal.User = user
			if d := decide(t, e, c); d.Reason != want {
				t.Errorf("%s: %s; want %s", user, d.Reason, want)
			}
		}
	}
	if n := e.Memoised([]string{"own"}, schema.Secret); n != 2 {
		t.Errorf("%d answers are kept; want those for the own name and for another", n)
	}
}

// TestCallersZonesDoNotCount gives the engine local times that are not those of the clock.
func TestCallersZonesDoNotCount(t *testing.T) {
	e, c := mustActivate(t, Config{}, mustParse(t, officeHours)), ask("secret:read", "prod/db", "office")
	c.Context.Zones = map[string]schema.LocalTime{"America/Sao_Paulo": {Day: "wed", Minute: 600}, "UTC": {}}
	if d := decide(t, e, c); d.Reason != schema.ConditionFailed || d.Condition != "hours" {
		t.Errorf("%s (%s); want condition_failed by hours", d.Reason, d.Condition)
	}
	got := e.Complete(c).Context.Zones
	if len(got) != 1 || got["America/Sao_Paulo"] != (schema.LocalTime{Day: "wed", Minute: 126}) {
		t.Errorf("completed with %v", got)
	}
	c.Principal.Policies = nil
	if got := e.Complete(c).Context.Zones; got != nil {
		t.Errorf("without policies completed with %v", got)
	}
	if got := New(Config{}).Complete(c); got.Path != c.Path {
		t.Error("without a set the call is another")
	}
}

func TestListUnderConditions(t *testing.T) {
	e := mustActivate(t, Config{}, mustParse(t, officeHours))
	for _, row := range []struct {
		hour         int
		source, want string
	}{
		{12, "10.1.2.3", "prod/db dev/a users/ana/x"}, {23, "10.1.2.3", "dev/a users/ana/x"}, {12, "192.0.2.1", ""},
	} {
		c := ask("secret:list", "x", "office")
		c.Path, c.Context = schema.Path{}, schema.Context{Time: time.Date(2026, 3, 4, row.hour, 0, 0, 0, time.UTC), Source: netip.MustParseAddr(row.source)}
		d, p := e.List(t.Context(), "id", c)
		f, ok := p.Filter(c.Capability)
		if !d.Allow || !ok {
			t.Fatalf("the list is refused: %+v", d)
		}
		if got := strings.Join(f.Prefixes(), " "); got != "dev/ prod/ users/" {
			t.Errorf("prefixes %s", got)
		}
		var seen []string
		for range 2 {
			seen = nil
			for _, path := range []string{"prod/db", "dev/a", "users/ana/x", "users/bob/x", "other"} {
				if f.Visible(schema.MustPath(path)) {
					seen = append(seen, path)
				}
			}
		}
		if got := strings.Join(seen, " "); got != row.want {
			t.Errorf("at %d:00 from %s one sees %q; want %q", row.hour, row.source, got, row.want)
		}
	}
}

// TestGuardrailsAreListedAsSuch lists the policies of a set with a guardrail.
func TestGuardrailsAreListedAsSuch(t *testing.T) {
	e := mustActivate(t, Config{}, append(mustParse(t, officeHours), mustParse(t, hclOf("keeper", "guardrail", [2]string{"*", "list"}))...))
	for policy, want := range map[string]string{"office": "office keeper", "keeper": "inside"} {
		c := ask("policy:list", "x", policy)
		_, p := e.List(t.Context(), "id", c)
		f, _ := p.Filter(c.Capability)
		var seen []string
		for _, name := range []string{"inside", "office", "keeper"} {
			if f.Visible(schema.MustPath(name)) {
				seen = append(seen, name)
			}
		}
		if got := strings.Join(seen, " "); got != want || len(f.Prefixes()) == 0 {
			t.Errorf("%s lists %q; want %q", policy, got, want)
		}
	}
}

// TestGuardrailsReachEveryone changes guardrails under principals that were asked before.
func TestGuardrailsReachEveryone(t *testing.T) {
	e, c := mustActivate(t, Config{}, mustParse(t, readProd)), ask("secret:read", "prod/db", "reader")
	if !decide(t, e, c).Allow {
		t.Fatal("not granted at first")
	}
	set, _ := e.Set()
	guarded := set.With(mustParse(t, "guardrail \"g\" {\n  secret {\n    path = \"+/db\"\n    deny = [\"read\"]\n  }\n}\n"), nil)
	if err := e.Activate(t.Context(), guarded, 2); err != nil {
		t.Fatal(err)
	}
	d := decide(t, e, c)
	if d.Reason != schema.GuardrailDenied || d.Rule != guarded.Find("g").Ref(guarded.Find("g").Rules[0]) {
		t.Errorf("under the guardrail %+v", d)
	}
	if _, _, p := e.System("id", "sweep", c.Capability, c.Path, at); !p.Allows(c.Capability) {
		t.Error("the guardrail binds the server's own work")
	}
	if err := e.Activate(t.Context(), guarded.With(nil, []schema.Name{schema.MustName("g")}), 3); err != nil {
		t.Fatal(err)
	}
	if !decide(t, e, c).Allow {
		t.Error("the guardrail is gone and still denies")
	}
}

// TestCheckProbesConditions breaks the main module, or what a probe would find, in ways that
// only a condition, a guardrail or a template shows.
func TestCheckProbesConditions(t *testing.T) {
	for name, row := range map[string]struct{ old, new, policy string }{
		"conditions are overlooked": {"; not pending(block)", "", officeHours},
		"failures are not told": {`"unmet": unmet}} if {
	[_, unmet, _, rule] := min(failing)`, `"unmet": {"x"}}} if {
	[_, _, _, rule] := min(failing)`, officeHours},
		"guardrails are overlooked": {"heroctl.guardrail[_].block", "heroctl.guardrails[_].block", officeHours},
		"values are overlooked":     {"	suspects[0]\n", "	suspects[1]\n", hclOf("own", "secret", [2]string{"users/{{user.name}}/*", "read"})},
	} {
		e := mustActivate(t, Config{}, nil)
		broken := strings.Replace(string(policies.Main()), row.old, row.new, 1)
		if broken == string(policies.Main()) {
			t.Fatalf("%s: the main module has changed", name)
		}
		if err := e.Break(broken); err != nil {
			t.Fatal(err)
		}
		if err := e.Check(t.Context(), mustParse(t, row.policy)); fault.KindOf(err) != fault.Internal {
			t.Errorf("%s: Check = %v; want a refusal", name, err)
		}
	}
}

// TestProbesTryConditionsBothWays holds the probes to meet and to fail each attribute.
func TestProbesTryConditionsBothWays(t *testing.T) {
	r := newRandom(t)
	for i := range 300 {
		text := "policy \"a\" {\n  secret {\n    path = \"*\"\n    capabilities = [\"read\"]\n    condition {\n" + randomCondition(r) + "    }\n  }\n}\n"
		c := mustParse(t, text)[0].Rules[0].Condition
		all := circumstancesOf(c)
		if unmet := c.Unmet(all[0], false); unmet != nil {
			t.Fatalf("%d: %v does not hold where it should, of\n%s", i, unmet, text)
		}
		failed := map[string]bool{}
		for _, in := range all[1:] {
			for _, name := range c.Unmet(in, true) {
				failed[name] = true
			}
		}
		for _, name := range c.Attributes() {
			whole := c.Hours != nil && c.Hours.End-c.Hours.Start == 24*60
			if !failed[name] && !(name == "hours" && whole) {
				t.Fatalf("%s is never tried where it does not hold, of\n%s", name, text)
			}
		}
	}
}

// BenchmarkConditions decides under a condition: one read by OPA each time, with the time in
// a zone.
func BenchmarkConditions(b *testing.B) {
	list, attached := fleet(b, 1000)
	list = append(list, mustParse(b, officeHours)...)
	for _, policy := range []string{"office", "nothing"} {
		b.Run("condition="+fmt.Sprint(policy == "office"), func(b *testing.B) {
			e := mustActivate(b, Config{}, list)
			c := ask("secret:read", "prod/db", append(attached, "office")...)
			if policy == "nothing" {
				c = ask("secret:read", "team0/app0/x", append(attached, "office")...)
			}
			c.Context.Time = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
			b.ReportAllocs()
			for b.Loop() {
				if d, _ := e.Authorize(b.Context(), "id", c); !d.Allow {
					b.Fatal(d)
				}
			}
		})
	}
}
