package engine

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

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
		if r.IntN(3) == 0 {
			segments[i] = "+"
		}
	}
	last := &segments[len(segments)-1]
	switch r.IntN(5) {
	case 0, 1:
		*last = "*"
	case 2:
		if *last != "+" {
			*last += "*"
		}
	}
	return strings.Join(segments, "/")
}

var verbsByResource = map[string][]string{
	"secret": {"create", "update", "read", "describe", "list", "rollback", "inject"},
	"job":    {"run", "describe", "list"},
}

// randomPolicy returns a policy text. A pattern appears once for each resource.
func randomPolicy(r *rand.Rand, name string) string {
	var blocks []string
	seen := map[string]bool{}
	for range r.IntN(6) {
		resource := pick(r, []string{"secret", "secret", "job"})
		pattern := randomPattern(r)
		if seen[resource+pattern] {
			continue
		}
		seen[resource+pattern] = true
		verbs := slices.Clone(verbsByResource[resource])
		r.Shuffle(len(verbs), func(i, j int) { verbs[i], verbs[j] = verbs[j], verbs[i] })
		verbs = verbs[:r.IntN(4)]
		if len(verbs) == 0 && r.IntN(2) == 0 {
			verbs = []string{"deny"}
		}
		blocks = append(blocks, hclOf("x", resource, [2]string{pattern, strings.Join(verbs, " ")}))
	}
	text := "policy \"" + name + "\" {\n"
	for _, block := range blocks {
		block = strings.TrimPrefix(block, "policy \"x\" {\n")
		text += strings.TrimSuffix(block, "}\n")
	}
	return text + "}\n"
}

// randomSet returns up to four policies, and the names a principal may have attached.
func randomSet(t *testing.T, r *rand.Rand) (list []*policies.Policy, names []string) {
	for i := range 1 + r.IntN(4) {
		name := fmt.Sprintf("p%d", i)
		list = append(list, mustParse(t, randomPolicy(r, name))...)
		names = append(names, name)
	}
	return list, append(names, "nowhere")
}

// randomCall asks for any path, or for one that a rule of the list covers.
func randomCall(r *rand.Rand, list []*policies.Policy, names []string) schema.Call {
	resource, path := pick(r, []string{"secret", "secret", "secret", "job"}), randomPath(r)
	if p := pick(r, list); r.IntN(2) == 0 && len(p.Rules) > 0 {
		rule := pick(r, p.Rules)
		resource = string(rule.Resource)
		path = strings.ReplaceAll(rule.Pattern.String(), "+", pick(r, words))
		path = strings.ReplaceAll(path, "*", pick(r, words))
	}
	attached := slices.DeleteFunc(slices.Clone(names), func(string) bool { return r.IntN(4) == 0 })
	return ask(resource+":"+pick(r, verbsByResource[resource]), path, attached...)
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
		list, names := randomSet(t, r)
		memo := mustActivate(t, Config{Programs: 1}, list)
		plain := mustActivate(t, Config{Programs: 1, NoMemo: true}, list)
		stock := stockOPA(t, policies.NewSet(list))
		for range 10 {
			c := randomCall(r, list, names)
			reason, rule := refDecide(list, c)
			reasons[reason]++
			set, rev := memo.Set()
			want := schema.Decision{Allow: reason == schema.Granted, Reason: reason, Rule: rule, Set: set.Digest(), Revision: rev}
			decide(t, memo, c) // the second answer comes from the memo
			for who, got := range map[string]schema.Decision{"memo": decide(t, memo, c), "no memo": decide(t, plain, c)} {
				if got != want {
					t.Fatalf("%s says %+v, the reference %+v, on %s %s with\n%s", who, got, want, c.Capability, c.Path, textOf(list))
				}
			}
			if got := stock(t, c); got.reason != reason || got.rule != rule {
				t.Fatalf("stock OPA says %+v, the reference %+v, on %s %s with\n%s", got, want, c.Capability, c.Path, textOf(list))
			}
		}
	}
	t.Logf("%d decisions: %v", 10*count, reasons)
	if len(reasons) != 4 {
		t.Errorf("only the reasons %v came up; want all four", reasons)
	}
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
			}
		}
		if text, err = json.Marshal(results[0].Expressions[0].Value); err == nil {
			err = json.Unmarshal(text, &answer)
		}
		if err != nil || answer.Decision != (answer.Context.Reason == schema.Granted) {
			t.Fatalf("stock OPA: %s, %v", text, err)
		}
		v := verdict{reason: answer.Context.Reason}
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
	for range 150 {
		list, names := randomSet(t, r)
		shuffled := slices.Clone(list)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		one, other := mustActivate(t, Config{}, list), mustActivate(t, Config{}, shuffled)
		turned := mustActivate(t, Config{}, turnRules(t, list))
		for range 5 {
			c := randomCall(r, list, names)
			want := decide(t, one, c)
			slices.Reverse(c.Principal.Policies)
			if got := decide(t, other, c); got != want {
				t.Fatalf("in another order %+v, first %+v, on %s %s with\n%s", got, want, c.Capability, c.Path, textOf(list))
			}
			got := decide(t, turned, c)
			if got.Reason != want.Reason || got.Rule.Policy != want.Rule.Policy {
				t.Fatalf("with rules in another order %+v, first %+v, on %s %s with\n%s", got, want, c.Capability, c.Path, textOf(list))
			}
		}
	}
}

// turnRules returns the policies with their blocks written in the opposite order.
func turnRules(t *testing.T, list []*policies.Policy) []*policies.Policy {
	var turned []*policies.Policy
	for _, p := range list {
		text := "policy \"" + p.Name.String() + "\" {\n"
		for _, rule := range slices.Backward(p.Rules) {
			words := make([]string, len(rule.Verbs))
			for i, v := range rule.Verbs {
				words[i] = string(v)
			}
			block := hclOf("x", string(rule.Resource), [2]string{rule.Pattern.String(), strings.Join(words, " ")})
			text += strings.TrimSuffix(strings.TrimPrefix(block, "policy \"x\" {\n"), "}\n")
		}
		turned = append(turned, mustParse(t, text+"}\n")...)
	}
	return turned
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
				if p.Matches(path) {
					want = append(want, uint32(id))
				}
			}
			if got := root.match(nil, path); !slices.Equal(got, want) {
				t.Fatalf("the trie of %v finds %v for %q; want %v", patterns, got, path, want)
			}
		}
	}
}
