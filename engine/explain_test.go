package engine

import (
	"context"
	"testing"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// TestExplainAgrees explains random decisions: each has a known reason, the rule
// that settled it stands on the ladder or among the guardrails and says what the
// decision says, and the ladder is in order.
func TestExplainAgrees(t *testing.T) {
	r := newRandom(t)
	cases := min(*sets, 300) // each compiles afresh
	if testing.Short() {
		cases = min(cases, 50)
	}
	for range cases {
		documents, names := randomSet(r)
		list := parseAll(t, documents)
		e := New(Config{})
		if err := e.Activate(context.Background(), policies.NewSet(list), 1); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			c := randomCall(r, list, names)
			x := e.Explain(context.Background(), c)
			if want := decide(t, e, c); x.Decision != want {
				t.Fatalf("explained %+v, decided %+v\n%s", x.Decision, want, textOf(list))
			}
			if problem := flawOf(x); problem != "" {
				t.Fatalf("%s: %+v\nladder %+v\nguardrails %+v\n%s", problem, x.Decision, x.Ladder, x.Guardrails, textOf(list))
			}
		}
	}
}

// flawOf says what is wrong with an explanation, or "".
func flawOf(x Explanation) string {
	var top *Rung
	for i, rung := range x.Ladder {
		if i > 0 && x.Ladder[i-1].Pattern.Compare(rung.Pattern) < 0 {
			return "the ladder is out of order"
		}
		if rung.Says == SaysIdle {
			continue
		}
		if top == nil {
			top = &rung
		}
		if (rung.Beaten == "") != (rung.Pattern == top.Pattern) {
			return "a rung is beaten by its own pattern, or not by a better one"
		}
	}
	says := map[schema.Reason]Saying{
		schema.Granted: SaysGrant, schema.ExplicitDeny: SaysDeny, schema.ConditionFailed: SaysPending, schema.CapabilityMissing: "",
		schema.TemplateValue: SaysSuspect, schema.GuardrailDenied: SaysDeny,
	}
	want, known := says[x.Decision.Reason]
	switch {
	case x.Decision.Reason == schema.NoRule:
		return ""
	case !known:
		return "the reason is not known"
	}
	rungs := x.Ladder
	if x.Decision.Reason == schema.GuardrailDenied {
		rungs = x.Guardrails
	}
	if x.Decision.Reason == schema.TemplateValue {
		rungs = append(rungs, x.Guardrails...)
	}
	for _, rung := range rungs {
		if rung.Rule == x.Decision.Rule && (want == "" || rung.Says == want) {
			return ""
		}
	}
	return "the rule of the decision is not a rung that says so"
}

// TestExplainNearest holds that a typo in the path shows the rule that was meant.
func TestExplainNearest(t *testing.T) {
	list := mustParse(t, hclOf("p", "secret", [2]string{"prod/db/*", "read"}, [2]string{"dev/*", "read"}, [2]string{"prodd/*", "list"}))
	e := mustActivate(t, Config{}, list)
	x := e.Explain(context.Background(), ask("secret:read", "prod/dv/x", "p"))
	if x.Decision.Reason != schema.NoRule || x.Nearest.Pattern.String() != "prod/db/*" {
		t.Errorf("nearest to prod/dv/x is %q after %s, want prod/db/* after no_rule", x.Nearest.Pattern, x.Decision.Reason)
	}
}

// TestBeats says each step of the order of priority in words.
func TestBeats(t *testing.T) {
	for _, c := range []struct{ winner, loser, because string }{
		{"a/b/*", "a/*", "its first wildcard comes later"},
		{"a/+", "a/*", `it does not end in "*"`},
		{"+/b/c", "+/+/c", `it has fewer "+"`},
		{"+/bbb", "+/b", "it is longer"},
		{"+/c", "+/b", "it sorts later as text"},
		{"a/*", "a/b/*", ""},
		{"a/*", "a/*", ""},
	} {
		if got := schema.MustPattern(c.winner).Beats(schema.MustPattern(c.loser)); got != c.because {
			t.Errorf("%s beats %s because %q, want %q", c.winner, c.loser, got, c.because)
		}
	}
}
