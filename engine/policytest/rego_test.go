package policytest_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/open-policy-agent/opa/v1/loader"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/heroctl/heroctl/engine/policytest"
	"github.com/heroctl/heroctl/policies"
)

// TestRego gives the compiled tests to OPA's own test runner. It must come to the
// verdict of policytest in every case, in those that fail, too.
func TestRego(t *testing.T) {
	_, set, suite := load(t, "../../examples/policies")
	for i := range suite.Cases { // every fourth case wants the wrong answer
		if i%4 == 0 {
			suite.Cases[i].Want = policytest.Want{Allow: !suite.Cases[i].Want.Allow}
		}
	}
	modules := policies.CompileRego(set)
	tests, err := suite.Rego(set)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(modules, tests)
	dir := t.TempDir()
	for name, text := range modules {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := loader.NewFileLoader().All([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	answers, err := tester.NewRunner().SetModules(loaded.ParsedModules()).RunTests(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stock := map[string]map[string]bool{}
	for a := range answers {
		if a.Error != nil {
			t.Fatalf("%s: %v", a.Name, a.Error)
		}
		if stock[a.Package] == nil {
			stock[a.Package] = map[string]bool{}
		}
		stock[a.Package][a.Name] = a.Pass()
	}
	passed, failed := 0, 0
	for _, verdicts := range stock {
		for _, pass := range verdicts {
			if pass {
				passed++
			} else {
				failed++
			}
		}
	}
	results := mustRun(t, suite, set)
	wrong := len(policytest.Failed(results))
	if passed != len(results)-wrong || failed != wrong || wrong < len(results)/5 {
		t.Errorf("OPA passes %d and fails %d; policytest %d and %d", passed, failed, len(results)-wrong, wrong)
	}
	compareByName(t, results, stock)
}

// compareByName holds each case against the test of OPA that carries its number.
func compareByName(t *testing.T, results []policytest.Result, stock map[string]map[string]bool) {
	t.Helper()
	number := map[string]int{}
	for _, r := range results {
		number[r.File]++
		name := policytest.NameOfTest(r.Case, number[r.File])
		pass, found := stock[policytest.PackageOf(r.File)][name]
		if !found || pass != r.Passed() {
			t.Errorf("%s %s: OPA says %v (there: %v), policytest %v", r.File, name, pass, found, r.Passed())
		}
	}
}
