package policies

import (
	"bytes"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"github.com/heroctl/heroctl/schema"
)

// checkModule holds a module against stock OPA: it parses as Rego v1 and is laid out as
// opa fmt would.
func checkModule(t *testing.T, p *Policy) {
	t.Helper()
	module := p.Module()
	formatted, err := format.Source(p.ModuleFile(), module)
	if err != nil {
		t.Fatalf("module of %s: %v\n%s", p.Name, err, module)
	}
	if !bytes.Equal(formatted, module) {
		t.Fatalf("module of %s is not in the layout of opa fmt; want\n%s\ngot\n%s", p.Name, formatted, module)
	}
}

// TestStrict compiles whole sets under the rules of opa check --strict.
func TestStrict(t *testing.T) {
	sets := map[string][]*Policy{"nothing": nil, "built-in": Builtin(), "two": mustParse(t, twoPolicies), "whole language": mustParse(t, wholeLanguage)}
	for name, list := range sets {
		modules := map[string]*ast.Module{}
		for file, text := range CompileRego(NewSet(list)) {
			module, err := ast.ParseModuleWithOpts(file, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			modules[file] = module
		}
		if compiler := ast.NewCompiler().WithStrict(true); len(modules) != len(list)+1 {
			t.Errorf("%s: %d modules for %d policies", name, len(modules), len(list))
		} else if compiler.Compile(modules); compiler.Failed() {
			t.Errorf("%s: %v", name, compiler.Errors)
		}
		for _, p := range list {
			checkModule(t, p)
		}
	}
	formatted, err := format.Source(MainFile, Main())
	if err != nil || !bytes.Equal(formatted, Main()) {
		t.Errorf("the main module is not in the layout of opa fmt: %v; want\n%s", err, formatted)
	}
}

func TestModuleOfEveryPatternForm(t *testing.T) {
	patterns := []string{"*", "+", "a", "a/b", "a*", "a/*", "a/b*", "+/*", "a/+", "a/+/b", "a/+/*", "a/+/b*", "+/+/a.b-c_d*"}
	text := "policy \"forms.of_path-s\" {\n"
	for _, pattern := range patterns {
		text += "  secret {\n    path         = \"" + pattern + "\"\n    capabilities = [\"read\", \"create\"]\n  }\n"
	}
	p := mustParse(t, text+"}\n")[0]
	checkModule(t, p)
	golden(t, "testdata/forms.rego", p.Module())
	for i, line := range strings.Split(string(p.Module()), "\n") {
		if len(line) > 120 {
			t.Errorf("line %d is %d columns wide; want at most 120", i+1, len(line))
		}
	}
}

// wholeLanguage has every attribute of a condition, for a grant, a denial and an exception,
// and templates.
const wholeLanguage = `
policy "everything" {
  secret {
    path         = "prod/{{user.name}}/*"
    capabilities = ["read", "list"]

    condition {
      source_cidrs  = ["192.0.2.0/24", "2001:db8::/32", "10.0.0.0/8"]
      hours         = "22:00-06:00"
      days          = ["fri", "mon"]
      timezone      = "America/Sao_Paulo"
      token_max_age = "12h"
      auth_method   = ["token"]
      not_before    = "2026-03-01T00:00:00-03:00"
      not_after     = "2026-04-01T00:00:00Z"
    }
  }

  secret {
    path         = "dev/*"
    capabilities = []

    condition {
      source_cidrs  = ["192.0.2.0/24"]
      hours         = "08:00-19:00"
      days          = ["sun"]
      token_max_age = "1h"
      auth_method   = ["token"]
      not_before    = "2026-03-01T00:00:00Z"
    }
  }

  job {
    path         = "{{job.name}}"
    capabilities = ["run"]

    condition {
      hours    = "12:00-00:00"
      days     = ["sat", "sun"]
      timezone = "Etc/GMT+3"
    }
  }
}

guardrail "if" {
  secret {
    path = "{{job.name}}/{{user.name}}/*"
    deny = ["read", "inject"]

    unless {
      hours = "00:00-24:00"
    }
  }

  job {
    path = "*"
    deny = ["run"]
  }
}
`

func TestModulesOfTheWholeLanguage(t *testing.T) {
	for i, p := range mustParse(t, wholeLanguage) {
		checkModule(t, p)
		golden(t, []string{"testdata/conditions.rego", "testdata/guardrail.rego"}[i], p.Module())
		for n, line := range strings.Split(string(p.Module()), "\n") {
			if len(line) > 120 {
				t.Errorf("line %d of %s is %d columns wide; want at most 120", n+1, p.Name, len(line))
			}
		}
	}
}

// TestEveryNameIsAPackage names policies by words that mean something in Rego.
func TestEveryNameIsAPackage(t *testing.T) {
	for _, name := range []string{"a", "a-b", "a.b", "7", "_", "if", "in", "package", "default", "contains", "null", "true", "data", "input", "x_test"} {
		p := empty(t, name)[0]
		checkModule(t, p)
		module, err := ast.ParseModuleWithOpts(p.ModuleFile(), string(p.Module()), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Errorf("policy %s: %v", name, err)
			continue
		}
		if want := (ast.Ref{ast.DefaultRootDocument, ast.StringTerm("heroctl"), ast.StringTerm("policy"), ast.StringTerm(name)}); !module.Package.Path.Equal(want) {
			t.Errorf("policy %s is package %s", name, module.Package.Path)
		}
	}
}

func TestLongestPatternCompiles(t *testing.T) {
	long := strings.Repeat("a", 120)
	pattern := strings.Join([]string{long, "+", long, long, long + "*"}, "/")
	checkModule(t, mustParse(t, "policy \"a\" {\n  secret {\n    path = \""+pattern+"\"\n    capabilities = []\n  }\n}")[0])
}

func TestModuleIsDeterministic(t *testing.T) {
	for range 20 {
		a, b := CompileRego(NewSet(mustParse(t, twoPolicies))), CompileRego(NewSet(mustParse(t, twoPolicies)))
		for file := range a {
			if !bytes.Equal(a[file], b[file]) {
				t.Fatalf("%s differs from one compilation to the next", file)
			}
		}
	}
}

// TestBuiltin holds the built-in roles to what they promise.
func TestBuiltin(t *testing.T) {
	byName := map[string]*Policy{}
	for _, p := range Builtin() {
		byName[p.Name.String()] = p
	}
	if len(byName) != 4 {
		t.Fatalf("%d built-in policies; want 4", len(byName))
	}
	grants := func(policy string, c schema.Capability) bool {
		for _, r := range byName[policy].Rules {
			if r.Resource == c.Resource && r.Pattern.String() == "*" && r.Allows(c.Verb) {
				return true
			}
		}
		return false
	}
	for _, resource := range schema.Resources() {
		for _, verb := range resource.Verbs() {
			c := schema.Capability{Resource: resource, Verb: verb}
			if !grants("admin", c) {
				t.Errorf("admin lacks %s", c)
			}
			for _, policy := range []string{"operator", "deployer", "viewer"} {
				manages := resource == schema.User || resource == schema.Role || resource == schema.Token
				if grants(policy, c) && (manages || c.String() == "secret:read" || c.String() == "secret:update") {
					t.Errorf("%s has %s", policy, c)
				}
			}
		}
	}
	for policy, words := range map[string]string{
		"operator": "job:run job:stop secret:rollback secret:list cluster:rekey backup:create backup:restore",
		"deployer": "job:run job:redeploy secret:inject",
		"viewer":   "job:list job:describe cluster:status cluster:metrics",
	} {
		for word := range strings.FieldsSeq(words) {
			c, err := schema.ParseCapability(word)
			if err != nil || !grants(policy, c) {
				t.Errorf("%s lacks %s (%v)", policy, word, err)
			}
		}
	}
	for _, verb := range schema.Secret.Verbs() {
		if c := (schema.Capability{Resource: schema.Secret, Verb: verb}); grants("viewer", c) || grants("deployer", c) && verb != "inject" {
			t.Errorf("viewer or deployer has %s", c)
		}
	}
}
