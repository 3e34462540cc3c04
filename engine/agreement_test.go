package engine

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

var (
	seed = flag.Uint64("seed", 0, "seed of the random tests; 0 draws one")
	sets = flag.Int("sets", 1000, "random policy sets of the agreement test, with 10 requests each")
)

// newRandom returns a source whose seed is printed, so that -seed can replay it.
func newRandom(t *testing.T) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed %d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// words are few, so that patterns meet, and close to each other, so that a mistake at
// the end of a segment shows.
var words = []string{"a", "b", "ab", "a.b", "a-", "prod", "production", "db"}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func randomPath(r *rand.Rand) string {
	segments := make([]string, 1+r.IntN(4))
	for i := range segments {
		segments[i] = pick(r, words)
	}
	return strings.Join(segments, "/")
}

func randomPattern(r *rand.Rand) string {
	segments := strings.Split(randomPath(r), "/")
	for i := range segments {
		switch r.IntN(9) {
		case 0, 1, 2:
			segments[i] = "+"
		case 3:
			segments[i] = pick(r, []string{"{{user.name}}", "{{user.name}}", "{{job.name}}"})
		}
	}
	last := &segments[len(segments)-1]
	switch r.IntN(5) {
	case 0, 1:
		*last = "*"
	case 2:
		if !strings.ContainsAny(*last, "+{") {
			*last += "*"
		}
	}
	return strings.Join(segments, "/")
}

// randomCondition returns the attributes of a condition, one or two of them. Their values
// are few and meet the times and addresses of randomContext at their bounds.
func randomCondition(r *rand.Rand) string {
	zone := fmt.Sprintf("      timezone = %q\n", pick(r, []string{"UTC", "America/Sao_Paulo", "Europe/Berlin", "Asia/Kathmandu"}))
	hours := fmt.Sprintf("      hours = %q\n", pick(r, []string{"08:00-19:00", "22:00-06:00", "05:06-05:07", "05:07-05:06", "12:00-00:00", "00:00-24:00"}))
	days := fmt.Sprintf("      days = [%s]\n", pick(r, []string{`"mon"`, `"wed"`, `"tue", "sun"`, `"mon", "tue", "wed", "thu", "fri"`, `"sat", "sun"`}))
	source := fmt.Sprintf("      source_cidrs = [%s]\n", pick(r, []string{`"10.0.0.0/8"`, `"10.1.0.0/16", "2001:db8::/32"`, `"0.0.0.0/0"`, `"::/0"`, `"10.1.2.3/32"`}))
	age := fmt.Sprintf("      token_max_age = %q\n", pick(r, []string{"1h", "12h"}))
	before := fmt.Sprintf("      not_before = %q\n", pick(r, []string{"2026-03-04T05:06:07Z", "2026-03-04T02:06:08-03:00"}))
	after := fmt.Sprintf("      not_after = %q\n", pick(r, []string{"2026-03-04T05:06:07Z", "2026-03-04T05:06:06Z"}))
	return pick(r, []string{
		hours + zone, days + zone, hours + days + zone, source, age, "      auth_method = [\"token\"]\n", before, after,
		source + hours + zone, source + age, days + zone + age,
	})
}

// randomContext returns circumstances, some of which may be unknown.
func randomContext(r *rand.Rand) schema.Context {
	in := schema.Context{Time: at.Add(pick(r, []time.Duration{0, 0, time.Second, -time.Second, time.Minute, 7 * time.Hour, 20 * time.Hour, 75 * time.Hour}))}
	if r.IntN(4) > 0 {
		in.Source = netip.MustParseAddr(pick(r, []string{"10.1.2.3", "::ffff:10.1.2.3", "10.9.9.9", "192.0.2.1", "2001:db8::1", "fe80::1%eth0"}))
	}
	if r.IntN(4) > 0 {
		in.Method = "token"
		in.TokenIssued = in.Time.Add(-pick(r, []time.Duration{0, time.Hour, time.Hour + 1, 12 * time.Hour, 13 * time.Hour}))
	}
	return in
}

var verbsByResource = map[string][]string{
	"secret": {"create", "update", "read", "describe", "list", "rollback", "inject"},
	"job":    {"run", "describe", "list"},
}

// document is a random policy or guardrail.
type document struct {
	kind, name string
	blocks     []string
}

// String writes the policy.
func (d document) String() string {
	return fmt.Sprintf("%s %q {\n%s}\n", d.kind, d.name, strings.Join(d.blocks, ""))
}

// turned returns the document with its blocks in the opposite order.
func (d document) turned() document {
	d.blocks = slices.Clone(d.blocks)
	slices.Reverse(d.blocks)
	return d
}

// randomDocument returns a policy or a guardrail. A pattern may appear again for a
// resource, with another condition.
func randomDocument(r *rand.Rand, kind, name string) document {
	d := document{kind: kind, name: name}
	seen := map[string]bool{}
	pattern, when, says := randomPattern(r), "condition", "capabilities"
	if kind == "guardrail" {
		when, says = "unless", "deny"
	}
	for range r.IntN(6) {
		resource := pick(r, []string{"secret", "secret", "job"})
		if r.IntN(4) > 0 {
			pattern = randomPattern(r)
		}
		condition := ""
		if r.IntN(5) < 2 {
			condition = "    " + when + " {\n" + randomCondition(r) + "    }\n"
		}
		if seen[resource+pattern+condition] {
			continue
		}
		seen[resource+pattern+condition] = true
		d.blocks = append(d.blocks, fmt.Sprintf("  %s {\n    path = %q\n    %s = [%s]\n%s  }\n", resource, pattern, says, randomVerbs(r, kind, resource), condition))
	}
	return d
}

func randomVerbs(r *rand.Rand, kind, resource string) string {
	verbs := slices.Clone(verbsByResource[resource])
	r.Shuffle(len(verbs), func(i, j int) { verbs[i], verbs[j] = verbs[j], verbs[i] })
	verbs = verbs[:r.IntN(4)]
	switch {
	case kind == "guardrail" && len(verbs) == 0:
		verbs = []string{"list"}
	case len(verbs) == 0 && r.IntN(2) == 0:
		verbs = []string{"deny"}
	}
	for i, verb := range verbs {
		verbs[i] = fmt.Sprintf("%q", verb)
	}
	return strings.Join(verbs, ", ")
}

// randomSet returns up to four policies and up to two guardrails, and the names a principal
// may have attached.
func randomSet(r *rand.Rand) (list []document, names []string) {
	for i := range 1 + r.IntN(4) {
		name := fmt.Sprintf("p%d", i)
		list, names = append(list, randomDocument(r, "policy", name)), append(names, name)
	}
	for i := range max(0, r.IntN(5)-2) {
		name := fmt.Sprintf("g%d", i)
		list, names = append(list, randomDocument(r, "guardrail", name)), append(names, name)
	}
	return list, append(names, "nowhere")
}

func parseAll(t *testing.T, documents []document) (list []*policies.Policy) {
	t.Helper()
	for _, d := range documents {
		list = append(list, mustParse(t, d.String())...)
	}
	return list
}

// randomCall asks for any path, or for one that a rule of the list covers.
func randomCall(r *rand.Rand, list []*policies.Policy, names []string) schema.Call {
	user, job := pick(r, []string{"ana", "a", "ab", "prod", "a", "db"}), pick(r, []string{"", "", "b", "a"})
	if r.IntN(7) == 0 {
		user, job = pick(r, []string{"*", "a*", "+", "a/b", "a/*", "{{job.name}}"}), pick(r, []string{"", "b", "*"})
	}
	resource, path := pick(r, []string{"secret", "secret", "secret", "job"}), randomPath(r)
	if p := pick(r, list); r.IntN(2) == 0 && len(p.Rules) > 0 {
		rule := pick(r, p.Rules)
		resource = string(rule.Resource)
		fill := func(value string) string {
			if schema.CheckSegment(value) != "" {
				return pick(r, words)
			}
			return value
		}
		path = strings.NewReplacer("+", pick(r, words), "*", pick(r, words), "{{user.name}}", fill(user), "{{job.name}}", fill(job)).Replace(rule.Pattern.String())
	}
	attached := slices.DeleteFunc(slices.Clone(names), func(string) bool { return r.IntN(4) == 0 })
	c := ask(resource+":"+pick(r, verbsByResource[resource]), path, attached...)
	c.Principal.User, c.Principal.Job, c.Context = user, job, randomContext(r)
	return c
}

// TestAgreement holds four readers of the same policies against each other: the engine
// with its memo, the engine without it, stock OPA on the Rego of the whole set, and the
// reference above.
func TestAgreement(t *testing.T) {
	r := newRandom(t)
	count := *sets
	if testing.Short() {
		count = min(count, 100)
	}
	reasons := map[schema.Reason]int{}
	for range count {
		documents, names := randomSet(r)
		list := parseAll(t, documents)
		memo := mustActivate(t, Config{Programs: 1}, list)
		plain := mustActivate(t, Config{Programs: 1, NoMemo: true}, list)
		stock := stockOPA(t, policies.NewSet(list))
		for range 10 {
			c := randomCall(r, list, names)
			reason, rule, unmet := refDecide(list, c)
			reasons[reason]++
			set, rev := memo.Set()
			want := schema.Decision{Allow: reason == schema.Granted, Reason: reason, Rule: rule, Set: set.Digest(), Revision: rev, Condition: unmet}
			decide(t, memo, c) // the second answer may come from the memo
			for who, got := range map[string]schema.Decision{"memo": decide(t, memo, c), "no memo": decide(t, plain, c)} {
				if got != want {
					t.Fatalf("%s says %+v, the reference %+v, on %s with\n%s", who, got, want, inputOf(t, memo, c), textOf(list))
				}
			}
			if got := stock(t, memo.Complete(c)); got != (verdict{reason, rule, unmet}) {
				t.Fatalf("stock OPA says %+v, the reference %+v, on %s with\n%s", got, want, inputOf(t, memo, c), textOf(list))
			}
		}
	}
	t.Logf("%d decisions: %v", 10*count, reasons)
	if len(reasons) != 7 {
		t.Errorf("only the reasons %v came up; want all seven", reasons)
	}
}

// inputOf writes the input of a call, for messages.
func inputOf(t *testing.T, e *Engine, c schema.Call) string {
	text, err := json.Marshal(e.Complete(c).Input())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func textOf(list []*policies.Policy) string {
	var b strings.Builder
	for _, p := range list {
		b.Write(p.Text)
		b.WriteByte('\n')
	}
	return b.String()
}

// stockOPA prepares the emitted modules the way opa eval does, and returns how to ask:
// with the input as JSON and nothing of ours between.
func stockOPA(t *testing.T, set *policies.Set) func(*testing.T, schema.Call) verdict {
	t.Helper()
	options := []func(*rego.Rego){rego.Query("data.heroctl.authz.answer"), rego.Strict(true)}
	for name, text := range policies.CompileRego(set) {
		options = append(options, rego.Module(name, string(text)))
	}
	query, err := rego.New(options...).PrepareForEval(t.Context())
	if err != nil {
		t.Fatalf("stock OPA: %v", err)
	}
	return func(t *testing.T, c schema.Call) verdict {
		t.Helper()
		text, err := json.Marshal(c.Input())
		if err != nil {
			t.Fatal(err)
		}
		var input any
		if err := json.Unmarshal(text, &input); err != nil {
			t.Fatal(err)
		}
		results, err := query.Eval(t.Context(), rego.EvalInput(input))
		if err != nil || len(results) != 1 {
			t.Fatalf("stock OPA: %d results, %v", len(results), err)
		}
		var answer struct {
			Decision bool
			Context  struct {
				Reason schema.Reason
				Rules  []schema.RuleRef
				Unmet  []string
			}
		}
		if text, err = json.Marshal(results[0].Expressions[0].Value); err == nil {
			err = json.Unmarshal(text, &answer)
		}
		if err != nil || answer.Decision != (answer.Context.Reason == schema.Granted) {
			t.Fatalf("stock OPA: %s, %v", text, err)
		}
		v := verdict{reason: answer.Context.Reason, unmet: strings.Join(answer.Context.Unmet, ",")}
		if len(answer.Context.Rules) > 0 {
			v.rule = answer.Context.Rules[0]
		}
		return v
	}
}

// TestOrderIndependence decides the same policies loaded, attached and written in other
// orders.
func TestOrderIndependence(t *testing.T) {
	r := newRandom(t)
	count := 150
	if testing.Short() {
		count = 50
	}
	for range count {
		documents, names := randomSet(r)
		list := parseAll(t, documents)
		shuffled := slices.Clone(list)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		one, other := mustActivate(t, Config{}, list), mustActivate(t, Config{}, shuffled)
		for i := range documents {
			documents[i] = documents[i].turned()
		}
		turned := mustActivate(t, Config{}, parseAll(t, documents))
		for range 5 {
			c := randomCall(r, list, names)
			want := decide(t, one, c)
			slices.Reverse(c.Principal.Policies)
			if got := decide(t, other, c); got != want {
				t.Fatalf("in another order %+v, first %+v, on %s with\n%s", got, want, inputOf(t, one, c), textOf(list))
			}
			got := decide(t, turned, c)
			if got.Reason != want.Reason || got.Rule.Policy != want.Rule.Policy || got.Condition != want.Condition {
				t.Fatalf("with rules in another order %+v, first %+v, on %s with\n%s", got, want, inputOf(t, one, c), textOf(list))
			}
		}
	}
}

// TestTrie holds the trie against asking every pattern.
func TestTrie(t *testing.T) {
	r := newRandom(t)
	for range 500 {
		var root node
		patterns := make([]schema.Pattern, 1+r.IntN(40))
		for id := range patterns {
			patterns[id] = schema.MustPattern(randomPattern(r))
			root.add(patterns[id], uint32(id))
		}
		for i := range 40 {
			path := schema.Path{}
			if i > 0 {
				path = schema.MustPath(randomPath(r))
			}
			var want []uint32
			for id, p := range patterns {
				if p.Widened().Matches(path) {
					want = append(want, uint32(id))
				}
			}
			if got := root.match(nil, path); !slices.Equal(got, want) {
				t.Fatalf("the trie of %v finds %v for %q; want %v", patterns, got, path, want)
			}
		}
	}
}
