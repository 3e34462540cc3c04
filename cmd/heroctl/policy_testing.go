package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/engine/policytest"
	"github.com/heroctl/heroctl/policies"
)

// testOptions are the flags of policy test.
type testOptions struct {
	run          string
	watch        bool
	coverage     bool
	coverageHTML string
	minCoverage  float64
	mutate       bool
	minKilled    float64

	pattern *regexp.Regexp // of run
	report  func(policytest.Report, io.Writer) error
	text    bool // the report is for people
}

func (a *app) newPolicyTest() *cobra.Command {
	var o testOptions
	c := &cobra.Command{
		Use: "test [PATH…]", Short: "Run the tests beside the policies, without a server", Args: cobra.ArbitraryArgs,
		Long: `Run the tests of folders or files, without a server; of the folder at hand if none is named. Tests
stand beside the policies, in files whose names end in _test.hcl. A folder is read with all below it.
A test file is run on the policies of its folder. The exit code is 3 if a test fails.

--coverage shows which parts of the policies no test touches; --mutate makes mistakes in the policies,
one at a time, and shows those that no test notices.`,
		Example: "  heroctl policy test examples/policies\n  heroctl policy test --mutate --min-killed 95 policies/",
	}
	f := c.Flags()
	f.StringVar(&o.run, "run", "", "only the tests whose name the `REGEX` matches")
	f.BoolVarP(&o.watch, "watch", "w", false, "run again whenever a file changes")
	f.BoolVar(&o.coverage, "coverage", false, "show what no test touches")
	f.StringVar(&o.coverageHTML, "coverage-html", "", "write the coverage as one HTML page to `FILE`")
	f.Float64Var(&o.minCoverage, "min-coverage", 0, "fail if less than `N` percent is covered")
	f.BoolVar(&o.mutate, "mutate", false, "make mistakes in the policies and show those that no test notices")
	f.Float64Var(&o.minKilled, "min-killed", 0, "fail if less than `N` percent of the mistakes are noticed")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := a.testFormat(&o); err != nil {
			return err
		}
		var err error
		if o.pattern, err = regexp.Compile(o.run); err != nil {
			return usageError("--run: the regular expression cannot be read")
		}
		if len(args) == 0 {
			args = []string{"."}
		}
		if o.watch {
			return a.watchTests(c.Context(), o, args)
		}
		return a.testPolicies(c.Context(), o, args)
	}
	return c
}

// testFormats are the output formats of policy test.
var testFormats = map[string]func(policytest.Report, io.Writer) error{
	formatTable: policytest.Report.Text, formatJSON: policytest.Report.JSON,
	"junit": policytest.Report.JUnit, "tap": policytest.Report.TAP,
}

func (a *app) testFormat(o *testOptions) error {
	name := first(a.flags.format, a.env("HEROCTL_FORMAT"), formatTable)
	report, ok := testFormats[name]
	if !ok {
		return usageError(fmt.Sprintf("there is no output format %q of tests", clean(name)), "one of table, json, junit, tap")
	}
	o.report, o.text = report, name == formatTable
	return nil
}

// testPolicies is one run: tests, coverage, mistakes.
func (a *app) testPolicies(ctx context.Context, o testOptions, args []string) error {
	in, err := a.readTests(args)
	if err != nil {
		return err
	}
	suite := in.suite.Select(func(c policytest.Case) bool { return in.chosen[c.File] && o.pattern.MatchString(c.Name) })
	if len(suite.Cases) == 0 {
		return usageError("--run matches no test")
	}
	start := time.Now()
	results, err := suite.Run(ctx, in.set)
	if err != nil {
		return err
	}
	report := policytest.Report{Set: in.set, Results: results, Took: time.Since(start)}
	if err := o.report(report, a.stdout); err != nil {
		return err
	}
	below, err := a.coverTests(o, in, results)
	if err != nil {
		return err
	}
	failed := len(policytest.Failed(results))
	if failed > 0 {
		return &failure{code: exitCheckFailed, text: fmt.Sprintf("%d %s failed", failed, plural(failed, "test"))}
	}
	if o.mutate || o.minKilled > 0 {
		outcome, err := suite.Mutate(ctx, in.files, in.set)
		if err != nil {
			return err
		}
		if err := outcome.Text(a.besides(o)); err != nil {
			return err
		}
		if outcome.Killed() < o.minKilled {
			below = append(below, fmt.Sprintf("%.1f %% of the mistakes are noticed, and at least %g %% must be", outcome.Killed(), o.minKilled))
		}
	}
	if len(below) > 0 {
		return &failure{code: exitCheckFailed, text: strings.Join(below, "; ")}
	}
	return nil
}

// besides is where coverage and mistakes are written: beside data they would not be
// part of it.
func (a *app) besides(o testOptions) io.Writer {
	if o.text {
		return a.stdout
	}
	return a.stderr
}

// coverTests reports the coverage, and what is below the minimum.
func (a *app) coverTests(o testOptions, in testInput, results []policytest.Result) (below []string, err error) {
	if !o.coverage && o.coverageHTML == "" && o.minCoverage <= 0 {
		return nil, nil
	}
	coverage := policytest.Cover(in.files, in.set, results)
	if o.coverage {
		if err := coverage.Text(a.besides(o)); err != nil {
			return nil, err
		}
	}
	if o.coverageHTML != "" {
		f, err := os.Create(o.coverageHTML)
		if err != nil {
			return nil, fileFailure("--coverage-html", err)
		}
		defer f.Close()
		if err := coverage.HTML(f); err != nil {
			return nil, fileFailure("--coverage-html", err)
		}
	}
	if coverage.Percent() < o.minCoverage {
		below = append(below, fmt.Sprintf("%.1f %% is covered, and at least %g %% must be", coverage.Percent(), o.minCoverage))
	}
	return below, nil
}

// testInput is what a run reads.
type testInput struct {
	files  []policytest.File // with policies
	set    *policies.Set     // of the files, and the built-in policies
	suite  *policytest.Suite
	chosen map[string]bool // test files that are run; others only lend their fixtures
}

// readTests reads policies and tests, and draws what is wrong with them.
func (a *app) readTests(args []string) (testInput, error) {
	in := testInput{chosen: map[string]bool{}}
	policyNames, testNames, err := testTree(args, in.chosen)
	if err != nil {
		return in, err
	}
	if len(in.chosen) == 0 {
		return in, usageError("there are no tests", "tests stand beside the policies, in files whose names end in "+policytest.Suffix)
	}
	texts, err := readAll(policyNames)
	if err != nil {
		return in, err
	}
	parsed, found := a.parsePolicies(texts)
	a.renderDiagnostics(found, texts)
	if found.HasErrors() {
		return in, refused(found)
	}
	in.set = policies.NewSet(slices.Concat(policies.Builtin(), parsed))
	in.files = testFiles(texts)
	tests, err := readAll(testNames)
	if err != nil {
		return in, err
	}
	in.suite, found = policytest.Parse(testFiles(tests), in.set)
	a.renderDiagnostics(found, tests)
	if found.HasErrors() {
		n := len(found)
		return in, &failure{code: exitCheckFailed, text: fmt.Sprintf("%d %s in the tests; none was run", n, plural(n, "error")), cause: found}
	}
	return in, nil
}

func readAll(names []string) ([]policyFile, error) {
	var all []policyFile
	for _, name := range names {
		text, err := readPolicyFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, policyFile{name, text})
	}
	return all, nil
}

func testFiles(files []policyFile) []policytest.File {
	var all []policytest.File
	for _, f := range files {
		all = append(all, policytest.File{Name: f.name, Text: f.text})
	}
	return all
}

// testTree returns the policy files and the test files that the arguments name, sorted.
// A file stands for its folder: its tests need the policies and the fixtures beside it.
func testTree(args []string, chosen map[string]bool) (policyNames, testNames []string, err error) {
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, nil, fileFailure("policy file", err)
		}
		folder, only := arg, ""
		if !info.IsDir() {
			folder, only = filepath.Dir(arg), filepath.Clean(arg)
		}
		names, err := hclNames(folder)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range names {
			switch {
			case only != "" && filepath.Dir(name) != filepath.Clean(folder):
			case !isTestFile(name):
				policyNames = append(policyNames, name)
			default:
				testNames = append(testNames, name)
				if only == "" || name == only || !isTestFile(only) {
					chosen[name] = true
				}
			}
		}
	}
	slices.Sort(policyNames)
	slices.Sort(testNames)
	return slices.Compact(policyNames), slices.Compact(testNames), nil
}

// watchTests runs the tests, and again after each change, until it is interrupted.
func (a *app) watchTests(ctx context.Context, o testOptions, args []string) error {
	const often = 300 * time.Millisecond
	seen := ""
	for {
		if now := stampOf(args); now != seen {
			seen = now
			if err := a.testPolicies(ctx, o, args); err != nil {
				a.report(err)
			}
			a.say("waiting for a change")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(often):
		}
	}
}

// stampOf tells one state of the files from another, by names, sizes and times.
func stampOf(args []string) string {
	policyNames, testNames, err := testTree(args, map[string]bool{})
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, name := range slices.Concat(policyNames, testNames) {
		if info, err := os.Stat(name); err == nil {
			fmt.Fprintln(&b, name, info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}
