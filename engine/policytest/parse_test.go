package policytest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/engine/policytest"
	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// deploy is the policy that most tests here are about.
const deploy = `policy "deploy" {
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

func file(name, text string) policytest.File { return policytest.File{Name: name, Text: []byte(text)} }

func TestParse(t *testing.T) {
	set := mustSet(t, file("deploy.hcl", deploy))
	suite := mustSuite(t, set,
		file("a_test.hcl", `
test "one" {
  use       = "shared"
  policies  = ["deploy", "viewer"]
  job       = "api"
  at        = "2026-03-02T10:00:00-03:00"
  from      = "10.20.1.1"
  token_age = "2d"
  can       = "secret:read"
  path      = "prod/db"
  expect    = "deny"
  reason    = "condition_failed"
  rule      = "deploy:prod/*"
}
matrix "many" {
  roles = ["team", "viewer"]
  cases = [["job:run,stop", "api", "deny", "", "viewer"], ["job:list", "api", "allow", "granted", "deploy:7"]]
}
`),
		file("b_test.hcl", `
fixture "shared" {
  user  = "ana"
  roles = ["operator"]
}
role "team" {
  policies = ["deploy", "viewer"]
}
`))
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	ten := time.Date(2026, 3, 2, 13, 0, 0, 0, time.UTC)
	var got []string
	for _, c := range suite.Cases {
		in := c.Call
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s:%d %s | %s %s %v %v %s %s | %s %s | %s", c.File, c.Line, c.Name, in.Principal.Kind, in.Principal.User,
			in.Principal.Roles, in.Principal.Policies, in.Principal.Job, in.Context.Source, in.Capability, in.Path, c.Want)))
		when := noon
		if c.Name == "one" {
			when = ten
			if age, known := in.Context.TokenAge(); !known || age != 2*24*3600 {
				t.Errorf("the token of %s is %d seconds old, known %v", c.Name, age, known)
			}
		}
		if !in.Context.Time.Equal(when) || in.Context.Method != schema.MethodToken {
			t.Errorf("%s is asked at %s by %s; want %s by %s", c.Name, in.Context.Time, in.Context.Method, when, schema.MethodToken)
		}
	}
	want := []string{
		"a_test.hcl:2 one | user ana [operator] [deploy operator viewer] api 10.20.1.1 | secret:read prod/db | deny, condition_failed, by deploy:2",
		"a_test.hcl:17 many [1] run | user test [team viewer] [deploy viewer]  invalid IP | job:run api | deny, by viewer",
		"a_test.hcl:17 many [1] stop | user test [team viewer] [deploy viewer]  invalid IP | job:stop api | deny, by viewer",
		"a_test.hcl:17 many [2] | user test [team viewer] [deploy viewer]  invalid IP | job:list api | allow, granted, by deploy:7",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cases (-want +got):\n%s", diff)
	}
}

// TestBuiltinRoles holds the built-in roles against the policies they stand for.
func TestBuiltinRoles(t *testing.T) {
	want := map[string][]string{}
	for _, p := range policies.Builtin() {
		want[p.Name.String()] = []string{p.Name.String()}
	}
	if diff := cmp.Diff(want, policytest.BuiltinRoles()); diff != "" {
		t.Errorf("built-in roles (-want +got):\n%s", diff)
	}
}

// TestDiagnostics holds the text of every problem that a test file can have.
func TestDiagnostics(t *testing.T) {
	set := mustSet(t, file("deploy.hcl", deploy))
	inTest := func(line string) string {
		lines := map[string]string{"can": `"secret:read"`, "path": `"prod/db"`, "expect": `"allow"`}
		name, value, _ := strings.Cut(line, " = ")
		lines[name] = value
		text := "test \"t\" {\n"
		for _, word := range []string{"can", "path", "expect"} {
			if word != name {
				text += "  " + word + " = " + lines[word] + "\n"
			}
		}
		return text + "  " + line + "\n}\n"
	}
	for _, row := range []struct{ text, want string }{
		{`x = 1`, `1:1: error: attribute outside a test; a test file holds blocks of the form test "name" { … }, matrix, fixture and role`},
		{`tset "t" {}`, `1:1: error: unknown block; did you mean "test"? a test file holds blocks of the form test "name" { … }, matrix, fixture and role`},
		{`policy "p" {}`, `1:1: error: policy in a test file; policies stand in files of their own, beside this one`},
		{`test {}`, `1:1: error: the test has no name; write test "name" { … }`},
		{`test "a" "b" {}`, `1:10: error: the test has more than one name; write test "name" { … }`},
		{`test "a\u001bb" {}`, `1:6: error: bad test name; a name is of printable ASCII characters`},
		{"role \"r\" {}\nrole \"r\" {}", `2:6: error: two of one name; the first role of this name is on line 1 of x_test.hcl`},
		{`role "admin" {}`, `1:6: error: a role that comes with the server; choose another name; admin, deployer, operator and viewer are there already`},
		{"role \"r\" {\n  polices = []\n}", `2:3: error: unknown attribute; did you mean "policies"? a role has policies`},
		{"fixture \"f\" {\n  usr = \"x\"\n}", `2:3: error: unknown attribute; did you mean "user"? a fixture has user, policies, roles, job, at, from, auth_method, token_age`},
		{`test "t" {}`, `1:1: error: the test does not say can; it needs can = "secret:read", path = "prod/db" and expect = "allow" or "deny"`},
		{"role \"t\" {\n  inner {}\n}", `2:3: error: unknown block; a role has attributes, and no blocks inside`},
		{inTest(`use = "nobody"`), `5:9: error: unknown fixture; write fixture "name" { … } in any of the test files`},
		{inTest(`expct = "x"`), `5:3: error: unknown attribute; did you mean "expect"? a test has use, can, path, expect, reason, rule, user, policies, roles, job, at, from, auth_method, token_age`},
		{inTest(`can = "secrt:read"`), `4:9: error: unknown resource; did you mean "secret"? write a capability such as secret:read, several such as secret:read,list, or all as secret:*`},
		{inTest(`can = "secret:raed"`), `4:9: error: unknown capability of secret; did you mean "read"? secret has create, update, read, describe, list, rollback, delete, undelete, destroy, inject`},
		{inTest(`path = "/x"`), `4:10: error: bad path; segment 1 of the path is empty; write one "/" between segments and none at the ends`},
		{inTest(`path = "${x}"`), `4:10: error: not a quoted string; write it between double quotes, with no ${…}, variable or function`},
		{inTest(`expect = "alow"`), `4:12: error: unknown verdict; did you mean "allow"? write "allow" or "deny"`},
		{inTest(`reason = "denied"`), `5:12: error: unknown reason; the reasons are granted, no_rule, explicit_deny, capability_missing, condition_failed, guardrail, template_value, evaluation_failed`},
		{inTest(`reason = "no_rule"`), `5:12: error: verdict and reason do not fit; granted is the reason of allow, and of nothing else`},
		{inTest(`rule = "deplo:2"`), `5:10: error: unknown policy; did you mean "deploy"? write a rule as policy, policy:line or policy:pattern`},
		{inTest(`rule = "deploy:3"`), `5:10: error: the policy has no such rule; lines count from the first line of the policy's text, its comment included; its rules are on 2 (prod/*), 7 (prod/admin/*)`},
		{inTest(`policies = ["deplyo"]`), `5:15: error: unknown policy; did you mean "deploy"? it is neither in the policy files nor built in`},
		{inTest(`policies = "deploy"`), `5:14: error: not a list; write ["one", "other"]`},
		{inTest(`roles = ["amdin"]`), `5:12: error: unknown role; did you mean "admin"? write role "name" { policies = ["…"] } in any of the test files`},
		{inTest(`at = "2026-03-02"`), `5:8: error: bad time; write it with its zone, such as "2026-03-02T10:00:00Z" or "2026-03-02T10:00:00-03:00"`},
		{inTest(`from = "10.0.0.0/8"`), `5:10: error: bad address; write an address such as "10.20.1.1" or "2001:db8::1"`},
		{inTest(`auth_method = "magic"`), `5:17: error: unknown way to authenticate; the ways are token`},
		{inTest(`token_age = "soon"`), `5:15: error: bad age; write it as "90s", "15m", "12h" or "30d"`},
		{inTest(`token_age = "99999999999d"`), `5:15: error: bad age; write it as "90s", "15m", "12h" or "30d"`},
		{`matrix "m" {}`, `1:1: error: the matrix has no cases; write cases = [["secret:read", "prod/db", "allow"]], with a reason and a rule behind if you like`},
		{"matrix \"m\" {\n  cases = []\n}", `2:11: error: cases is not a list of rows; write cases = [["secret:read", "prod/db", "allow"]], with a reason and a rule behind if you like`},
		{"matrix \"m\" {\n  cases = [[\"secret:read\", \"prod\"]]\n}", `2:12: error: a row has three to five cells; write cases = [["secret:read", "prod/db", "allow"]], with a reason and a rule behind if you like`},
		{strings.Repeat("#", 64<<10+1), `1:1: error: the file is too large; it has 65537 bytes; at most 65536 are allowed, so split it into several files`},
		{"test \"t\" {\n  user = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1", `2:41: error: the text is nested too deeply; at most 32 levels, and as many operators, are allowed; a policy needs three and none`},
	} {
		suite, diags := policytest.Parse([]policytest.File{file("x_test.hcl", row.text)}, set)
		if suite != nil || len(diags) == 0 || diags[0].String() != "x_test.hcl:"+row.want {
			t.Errorf("of %.60q\ngot  %s\nwant x_test.hcl:%s", row.text, diags.Error(), row.want)
		}
	}
}

// FuzzParse looks for a test file that the reader does not survive, or takes half.
func FuzzParse(f *testing.F) {
	set := mustSet(f, file("deploy.hcl", deploy))
	f.Add("fixture \"f\" {\n  user = \"ana\"\n  policies = [\"deploy\"]\n  token_age = \"3d\"\n}\n")
	f.Add("test \"t\" {\n  can = \"secret:read\"\n  path = \"a\"\n  expect = \"deny\"\n  at = \"2026-03-02T10:00:00Z\"\n  from = \"::1\"\n  rule = \"deploy:2\"\n}\n")
	f.Add("matrix \"m\" {\n  cases = [[\"secret:*\", \"a\", \"allow\"], [\"job:run\", \"b\", \"deny\", \"no_rule\", \"deploy\"]]\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		suite, diags := policytest.Parse([]policytest.File{file("x_test.hcl", text)}, set)
		if (suite == nil) != diags.HasErrors() {
			t.Fatalf("a suite %v with %v", suite != nil, diags)
		}
		if suite == nil {
			return
		}
		for _, c := range suite.Cases {
			if !c.Call.Capability.Valid() || c.Call.Path.IsZero() || c.Line < 1 {
				t.Fatalf("a case of %q asks nothing: %+v", text, c)
			}
		}
	})
}
