package policytest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/heroctl/heroctl/engine/policytest"
	"github.com/heroctl/heroctl/policies"
)

// load reads a folder: the policies with the built-in ones, and the tests.
func load(t testing.TB, dir string) (files []policytest.File, set *policies.Set, suite *policytest.Suite) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.hcl"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	var tests []policytest.File
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		one := policytest.File{Name: filepath.Base(name), Text: text}
		if strings.HasSuffix(name, policytest.Suffix) {
			tests = append(tests, one)
			continue
		}
		files = append(files, one)
	}
	set = mustSet(t, files...)
	return files, set, mustSuite(t, set, tests...)
}

// mustSet parses policies and adds the built-in ones.
func mustSet(t testing.TB, files ...policytest.File) *policies.Set {
	t.Helper()
	list := policies.Builtin()
	for _, f := range files {
		parsed, diags := policies.Parse(f.Name, f.Text)
		if err := diags.Err(); err != nil {
			t.Fatal(err)
		}
		list = slices.Concat(list, parsed)
	}
	return policies.NewSet(list)
}

func mustSuite(t testing.TB, set *policies.Set, files ...policytest.File) *policytest.Suite {
	t.Helper()
	suite, diags := policytest.Parse(files, set)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	return suite
}

func mustRun(t testing.TB, suite *policytest.Suite, set *policies.Set) []policytest.Result {
	t.Helper()
	results, err := suite.Run(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// TestExamples runs the tests of the example policies, which must pass, touch all of
// them, and notice nearly every mistake.
func TestExamples(t *testing.T) {
	files, set, suite := load(t, "../../examples/policies")
	results := mustRun(t, suite, set)
	var text strings.Builder
	if err := (policytest.Report{Set: set, Results: results}).Text(&text); err != nil || len(policytest.Failed(results)) > 0 {
		t.Fatalf("the tests of the examples: %v\n%s", err, text.String())
	}
	coverage := policytest.Cover(files, set, results)
	if missing := coverage.Missing(); len(missing) > 0 || len(coverage.Items) < 90 {
		t.Errorf("coverage: %s, missing %v", coverage.Summary(), missing)
	}
	t.Logf("coverage: %s", coverage.Summary())
	if testing.Short() {
		t.Skip("mistakes take some seconds")
	}
	outcome, err := suite.Mutate(t.Context(), files, set)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("mutants: %s", outcome.Summary())
	if outcome.Total < 300 || outcome.Killed() < 95 {
		text.Reset()
		_ = outcome.Text(&text)
		t.Errorf("mistakes: %s", text.String())
	}
}
