package policytest_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/engine/policytest"
)

// run returns the report of two tests of the policy deploy, of which one fails.
func run(t *testing.T) ([]policytest.File, policytest.Report) {
	t.Helper()
	files := []policytest.File{file("deploy.hcl", deploy)}
	set := mustSet(t, files...)
	suite := mustSuite(t, set, file("deploy_test.hcl", `
test "read <b>" {
  policies = ["deploy"]
  can      = "secret:read"
  path     = "prod/db"
  from     = "10.20.1.1"
  job      = "api"
  expect   = "deny"
  rule     = "deploy"
}
test "deny" {
  policies = ["deploy"]
  can      = "secret:read"
  path     = "prod/admin/root"
  expect   = "deny"
}
`))
	return files, policytest.Report{Set: set, Results: mustRun(t, suite, set), Took: 1234 * time.Microsecond}
}

func TestText(t *testing.T) {
	_, r := run(t)
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	want := `FAIL  read <b>  deploy_test.hcl:2
      secret:read prod/db as test with deploy for job api at 2026-01-01T12:00:00Z from 10.20.1.1
      got   allow, granted, by deploy:2
      want  deny, by deploy
      rule  deploy.hcl:2  secret "prod/*"
1 passed, 1 failed in 1ms
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestMachineReports(t *testing.T) {
	_, r := run(t)
	var b strings.Builder
	if err := r.TAP(&b); err != nil {
		t.Fatal(err)
	}
	want := `TAP version 13
1..2
not ok 1 - read <b>
  ---
  at: "deploy_test.hcl:2"
  got: "allow, granted, by deploy:2"
  want: "deny, by deploy"
  rule: "deploy.hcl:2"
  ...
ok 2 - deny
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("TAP (-want +got):\n%s", diff)
	}
	b.Reset()
	if err := r.JUnit(&b); err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
			} `xml:"failure"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal([]byte(b.String()), &suite); err != nil || suite.Tests != 2 || suite.Failures != 1 || len(suite.Cases) != 2 ||
		suite.Cases[0].Name != "read <b>" || suite.Cases[0].Failure == nil || suite.Cases[1].Failure != nil {
		t.Errorf("JUnit: %v\n%s", err, b.String())
	}
	b.Reset()
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var document struct {
		Passed, Failed int
		Cases          []struct {
			Passed    bool
			Got, Want struct{ Verdict, Reason, Policy, At string }
		}
	}
	if err := json.Unmarshal([]byte(b.String()), &document); err != nil || document.Passed != 1 || document.Failed != 1 ||
		document.Cases[0].Got.At != "deploy.hcl:2" || document.Cases[0].Want.Verdict != "deny" || !document.Cases[1].Passed {
		t.Errorf("JSON: %v\n%s", err, b.String())
	}
}

// conditional has every kind of thing that coverage counts.
const conditional = `policy "c" {
  secret {
    path         = "a/*"
    capabilities = ["read", "update"]

    condition {
      hours = "08:00-19:00"
    }
  }

  secret {
    path         = "a/x"
    capabilities = []

    condition {
      source_cidrs = ["10.0.0.0/8"]
    }
  }
}

guardrail "g" {
  secret {
    path = "a/*"
    deny = ["destroy"]

    unless {
      token_max_age = "1h"
    }
  }
}
`

// TestCoverage runs one case after the other and says what each adds.
func TestCoverage(t *testing.T) {
	files := []policytest.File{file("c.hcl", conditional)}
	set := mustSet(t, files...)
	rows := []struct{ test, adds string }{
		{`["secret:read", "b", "deny"]`, ""},
		{`["secret:read", "a/b", "allow"]`, "c.hcl:4 grants secret:read; c.hcl:6 condition holds"},
		{`["secret:describe", "a/b", "allow"]`, ""},
		{`["secret:list", "a/b", "deny"]`, ""},
		{`["secret:read", "a/x", "deny"]`, "c.hcl:13 denies; c.hcl:15 condition holds"},
		{`["secret:destroy", "a/b", "deny"]`, "c.hcl:24 guardrail denies; c.hcl:26 condition does not hold"},
	}
	text, covered := "", map[string]bool{}
	for i, row := range rows {
		text += fmt.Sprintf("matrix \"m%d\" {\n  policies = [\"c\"]\n  cases = [%s]\n}\n", i, row.test)
		suite := mustSuite(t, set, file("c_test.hcl", text))
		var added []string
		for _, item := range policytest.Cover(files, set, mustRun(t, suite, set)).Items {
			what := fmt.Sprintf("%s:%d %s", item.File, item.Line, item.What)
			if item.Covered && !covered[what] {
				covered[what] = true
				added = append(added, what)
			}
		}
		if got := strings.Join(added, "; "); got != row.adds {
			t.Errorf("%s adds %q; want %q", row.test, got, row.adds)
		}
	}
	night := "matrix \"night\" {\n  policies = [\"c\"]\n  at = \"2026-01-01T22:00:00Z\"\n  from = \"192.0.2.1\"\n  token_age = \"1m\"\n" +
		"  cases = [[\"secret:read,update\", \"a/b\", \"deny\"], [\"secret:read\", \"a/x\", \"deny\"], [\"secret:destroy\", \"a/b\", \"deny\"]]\n}\n"
	suite := mustSuite(t, set, file("c_test.hcl", text+night))
	c := policytest.Cover(files, set, mustRun(t, suite, set))
	if len(c.Items) != 10 || len(c.Missing()) != 1 || c.Missing()[0].What != "grants secret:update" {
		t.Errorf("of %d items %v are missing", len(c.Items), c.Missing())
	}
}

func TestCoverageReports(t *testing.T) {
	files, r := run(t)
	c := policytest.Cover(files, r.Set, r.Results)
	var b strings.Builder
	if err := c.Text(&b); err != nil {
		t.Fatal(err)
	}
	want := `deploy.hcl
   1   policy "deploy" {
   2     secret {
   3       path         = "prod/*"
   4 -     capabilities = ["read", "list"]   ← no test: grants secret:list
   5     }
   6
   7     secret {
   8       path         = "prod/admin/*"
   9 +     capabilities = []
  10     }
  11   }
coverage: 2 of 3 covered (66.7 %)
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	b.Reset()
	files[0].Text = append(files[0].Text, "# <script>alert(1)</script>\n"...)
	if err := policytest.Cover(files, r.Set, r.Results).HTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, part := range []string{`<span class="no"><i>4 -</i>`, `<b>no test: grants secret:list</b>`, `<span class="yes"><i>9 &#43;</i>`, `&lt;script&gt;`} {
		if !strings.Contains(page, part) {
			t.Errorf("the page has no %s", part)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "http") {
		t.Error("the page has a script, or needs something from outside")
	}
}

// BenchmarkThousand runs a thousand cases on the example policies, reading and coverage
// included.
func BenchmarkThousand(b *testing.B) {
	files, set, _ := load(b, "../../examples/policies")
	var tests []policytest.File
	for i := range 10 {
		var text strings.Builder
		fmt.Fprintf(&text, "matrix \"m%d\" {\n  policies = [\"developers\", \"payments-oncall\"]\n  cases = [\n", i)
		for j := range 100 {
			fmt.Fprintf(&text, "    [\"secret:read\", \"prod/team%d/key%d\", \"deny\"],\n", i, j)
		}
		text.WriteString("  ]\n}\n")
		tests = append(tests, file(fmt.Sprintf("m%d_test.hcl", i), text.String()))
	}
	for b.Loop() {
		suite := mustSuite(b, set, tests...)
		if len(suite.Cases) != 1000 {
			b.Fatalf("%d cases", len(suite.Cases))
		}
		if results := mustRun(b, suite, set); len(policytest.Failed(results)) > 0 || policytest.Cover(files, set, results).Items == nil {
			b.Fatal("a case fails")
		}
	}
}
