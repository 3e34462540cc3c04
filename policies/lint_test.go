package policies

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/schema"
)

// known is what the lint of testdata/lint/known.hcl knows of a server.
func known() LintOptions {
	return LintOptions{
		Existing: map[schema.Resource][]schema.Path{
			schema.Secret: {schema.MustPath("prod/db_password"), schema.MustPath("users/ana/key")},
		},
		Attached: map[string]bool{"a": true},
		Roles: []LintRole{
			{Name: "deployer", Policies: []string{"a", "gone"}, Held: true},
			{Name: "auditor", Policies: []string{"a"}},
		},
	}
}

// TestFindings renders what Lint finds in each file of testdata/lint and compares it
// with the text beside it, word for word.
func TestFindings(t *testing.T) {
	files, err := filepath.Glob("testdata/lint/*.hcl")
	if err != nil || len(files) < 9 {
		t.Fatalf("only %d files, %v", len(files), err)
	}
	seen := map[string]bool{"undecided": true} // TestUndecided
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		list, diags := Parse(filepath.Base(file), text)
		if diags != nil {
			t.Fatalf("%s:\n%v", file, diags)
		}
		options := LintOptions{}
		if filepath.Base(file) == "known.hcl" {
			options = known()
		}
		found := Lint(list, options)
		var out strings.Builder
		if err := found.Render(&out, func(string) []byte { return text }); err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			seen[f.ID] = true
			if f.Accepted != "" {
				fmt.Fprintf(&out, "accepted: %s:%d: %s: %s\n", f.File, f.Line, f.ID, f.Accepted)
			}
			checkFinding(t, f)
		}
		golden(t, strings.TrimSuffix(file, ".hcl")+".txt", []byte(out.String()))
	}
	for _, rule := range LintRules() {
		if !seen[rule.ID] {
			t.Errorf("no file of testdata/lint shows %s", rule.ID)
		}
	}
}

// checkFinding holds a finding against the table of rules.
func checkFinding(t *testing.T, f Finding) {
	t.Helper()
	i := slices.IndexFunc(LintRules(), func(r LintRule) bool { return r.ID == f.ID })
	if i < 0 {
		t.Fatalf("no rule %q", f.ID)
	}
	if gravity(f.Severity) > gravity(LintRules()[i].Level) {
		t.Errorf("%s is of severity %s; its rule says at most %s", f.ID, f.Severity, LintRules()[i].Level)
	}
	if f.Advice == "" || f.Summary == "" || f.Detail == "" {
		t.Errorf("%s lacks words: %+v", f.ID, f)
	}
}

func TestLintRulesAreSorted(t *testing.T) {
	if !slices.IsSortedFunc(LintRules(), func(a, b LintRule) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("the rules are not sorted by id")
	}
}

// TestLintDoesNotDependOnOrder shuffles policies and finds the same.
func TestLintDoesNotDependOnOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	text, err := os.ReadFile("testdata/lint/unreachable.hcl")
	if err != nil {
		t.Fatal(err)
	}
	list := mustParse(t, string(text))
	want := Lint(list, LintOptions{})
	for range 20 {
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		got := Lint(list, LintOptions{})
		for i := range got {
			got[i].Related, want[i].Related = nil, nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("another order finds something else (-want +got):\n%s", diff)
		}
	}
}

// winner decides by the definition: the rule of the most specific pattern that covers
// the path, or nil.
func winner(rules []Rule, path schema.Path) *Rule {
	var best *Rule
	for i, r := range rules {
		if r.Pattern.Matches(path) && (best == nil || r.Pattern.Compare(best.Pattern) > 0) {
			best = &rules[i]
		}
	}
	return best
}

// TestLintAgainstBruteForce lints random policies and tries every small path out (with a
// segment of each kind that the patterns tell apart, "ax" for a* without ab*): a rule
// is unreachable exactly when it wins nowhere, a denial is reopened exactly when some
// path that it covers is granted, a rule is redundant only if the answers stay without
// it.
func TestLintAgainstBruteForce(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	list, paths := everyPattern(3, "a", "ab"), universe(4, "a", "ab", "abx", "ax", "x")
	counts := map[string]int{}
	for range 300 {
		text := "policy \"p\" {\n"
		for _, i := range rng.Perm(len(list))[:2+rng.IntN(7)] {
			verbs := []string{`[]`, `["list"]`, `["inject"]`}[rng.IntN(3)]
			text += fmt.Sprintf("secret {\npath = %q\ncapabilities = %s\n}\n", list[i], verbs)
		}
		p := mustParse(t, text+"}")[0]
		found := Lint([]*Policy{p}, LintOptions{})
		has := func(id string, r Rule) bool {
			return slices.ContainsFunc(found, func(f Finding) bool { return f.ID == id && f.Line > r.Line && f.Line <= r.Line+2 })
		}
		for i, r := range p.Rules {
			checkRule(t, p, i, paths, has, counts)
			for _, id := range []string{"unreachable-rule", "reopened-deny", "redundant-rule"} {
				if has(id, r) {
					counts[id]++
				}
			}
		}
	}
	t.Log(counts)
	for _, id := range []string{"unreachable-rule", "reopened-deny", "redundant-rule"} {
		if counts[id] < 10 {
			t.Errorf("only %d findings of %s", counts[id], id)
		}
	}
}

func checkRule(t *testing.T, p *Policy, i int, paths []schema.Path, has func(string, Rule) bool, counts map[string]int) {
	t.Helper()
	r := p.Rules[i]
	wins, reopened, changes := r.Pattern.String() == "*", false, false
	rest := slices.Delete(slices.Clone(p.Rules), i, i+1)
	for _, path := range paths {
		if !r.Pattern.Matches(path) {
			continue
		}
		w := winner(p.Rules, path)
		wins = wins || w.Pattern == r.Pattern
		reopened = reopened || r.Deny && !w.Deny
		next := winner(rest, path)
		changes = changes || w.Pattern == r.Pattern && (next == nil || next.Deny != r.Deny || !slices.Equal(next.Verbs, r.Verbs))
		counts["checks"]++
	}
	if has("unreachable-rule", r) == wins {
		t.Fatalf("%s of\n%s\nwins: %t; lint says otherwise", r.Pattern, p.Text, wins)
	}
	if r.Deny && has("reopened-deny", r) != (reopened && wins) {
		t.Fatalf("%s of\n%s\nreopened: %t; lint says otherwise", r.Pattern, p.Text, reopened)
	}
	if has("redundant-rule", r) && changes {
		t.Fatalf("%s of\n%s\nis not redundant", r.Pattern, p.Text)
	}
	if !r.Deny && wins && !changes && r.Pattern.String() != "*" && !has("redundant-rule", r) {
		t.Fatalf("%s of\n%s\nis redundant; lint does not say so", r.Pattern, p.Text)
	}
}

// TestUndecided makes lint give up on a rule instead of working for ever.
func TestUndecided(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	segments := slices.Repeat([]string{"+"}, 15)
	var text strings.Builder
	fmt.Fprintf(&text, "policy \"p\" {\nsecret {\npath = %q\ncapabilities = [\"list\"]\n}\n", strings.Join(segments, "/")+"/*")
	seen := map[string]bool{}
	for len(seen) < 400 {
		one := slices.Clone(segments)
		for _, i := range rng.Perm(15)[:6] {
			one[i] = string("abc"[rng.IntN(3)])
		}
		p := strings.Join(one, "/") + "/*"
		if !seen[p] {
			seen[p] = true
			fmt.Fprintf(&text, "secret {\npath = %q\ncapabilities = [\"list\"]\n}\n", p)
		}
	}
	l := newLinter(LintOptions{})
	l.read(mustParse(t, text.String()+"}")[0])
	start := time.Now()
	l.unreachable(l.sites[0])
	t.Logf("%d findings after %v", len(l.findings), time.Since(start))
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	l.undecided(l.sites[0])
	f := l.findings[len(l.findings)-1]
	checkFinding(t, f)
	want := "test.hcl:3:8: note: the patterns are too entangled to be decided; whether the rule ever takes effect was left open"
	if f.String() != want {
		t.Errorf("got %s\nwant %s", f, want)
	}
}

func TestBuiltinPoliciesLint(t *testing.T) {
	found := Lint(Builtin(), LintOptions{})
	for _, f := range found.AtLeast(Warning) {
		if f.ID != "wildcard-read" || f.Policy != "admin" {
			t.Errorf("a built-in policy: %v [%s]", f, f.ID)
		}
	}
	if found.Count(Error) != 0 || found.Count(Warning) != 1 {
		t.Errorf("%d errors and %d warnings; want none and that admin reads everything", found.Count(Error), found.Count(Warning))
	}
}

func BenchmarkLint(b *testing.B) {
	var text strings.Builder
	var list []*Policy
	for i := range 100 {
		text.Reset()
		fmt.Fprintf(&text, "policy \"p%d\" {\n", i)
		for j := range 10 {
			verbs := `["list"]`
			if j == 9 {
				verbs = "[]"
			}
			fmt.Fprintf(&text, "secret {\npath = \"team-%d/+/app-%d/*\"\ncapabilities = %s\n}\n", i%10, j, verbs)
		}
		list = append(list, mustParse(b, text.String()+"}")...)
	}
	for b.Loop() {
		Lint(list, LintOptions{})
	}
}
