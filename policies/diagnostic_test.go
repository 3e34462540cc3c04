package policies

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/schema/fault"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// golden compares got with a file under testdata, or writes it with -rewrite.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// TestDiagnostics renders what is wrong with each file of testdata/bad and compares it
// with the text beside it: what a person reads is tested word for word.
func TestDiagnostics(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.hcl")
	if err != nil || len(files) < 10 {
		t.Fatalf("only %d bad files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".hcl"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			list, diags := Parse(filepath.Base(file), text)
			if list != nil || !diags.HasErrors() {
				t.Fatal("the file parses; want it refused")
			}
			var out strings.Builder
			if err := diags.Render(&out, text); err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".hcl")+".txt", []byte(out.String()))
		})
	}
}

func TestDiagnosticsAreAnError(t *testing.T) {
	_, diags := Parse("x.hcl", []byte("policy \"x\" {\n  sercet {\n  }\n}\n"))
	err := diags.Err()
	if !errors.Is(err, fault.InvalidPolicy) || fault.KindOf(err) != fault.InvalidPolicy {
		t.Errorf("kind %q of %v; want invalid_policy", fault.KindOf(err), err)
	}
	want := `x.hcl:2:3: error: unknown resource; did you mean "secret"? ` +
		`the resources are secret, job, policy, guardrail, role, user, token, audit, alert, backup, cluster`
	if err == nil || err.Error() != want {
		t.Errorf("error is\n%v\nwant\n%s", err, want)
	}
	if (Diagnostics{{Severity: Warning}}).Err() != nil || (Diagnostics)(nil).Err() != nil {
		t.Error("a warning alone, or nothing, is an error")
	}
}

// TestDiagnosticsNeverEcho puts a word into every place of a policy where it is wrong
// and looks for it in what travels over the API.
func TestDiagnosticsNeverEcho(t *testing.T) {
	const canary = "cnryzq"
	texts := []string{
		canary, canary + ` {}`, canary + ` = 1`, `policy "` + canary + `/" {}`, `policy "a" "` + canary + `" {}`,
		`policy "a" { ` + canary + ` = 1 }`, `policy "a" { ` + canary + ` {} }`, `policy "a" { ` + canary + ` }`,
		"policy \"a\" {\n secret {\n  path = \"" + canary + "//\"\n capabilities = [\"" + canary + "\"]\n }\n}",
		"policy \"a\" {\n secret {\n  path = \"{{" + canary + "}}\"\n  capabilities = []\n  condition {\n   " + canary + " = 1\n  }\n  " + canary + " {\n  }\n }\n}",
		"policy \"a\" {\n secret {\n  path = \"a\"\n  capabilities = []\n  condition {\n   hours = \"" + canary + "\"\n   days = [\"" + canary + "\"]\n   timezone = \"" + canary +
			"\"\n   source_cidrs = [\"" + canary + "\"]\n   token_max_age = \"" + canary + "\"\n   auth_method = [\"" + canary + "\"]\n   not_before = \"" + canary + "\"\n   not_after = " + canary + "\n  }\n }\n}",
		"guardrail \"" + canary + "/\" {\n secret {\n  path = \"a\"\n  deny = [\"" + canary + "\"]\n  unless \"" + canary + "\" {\n  }\n }\n}",
		"policy \"a\" {\n secret {\n  path = " + canary + "\n capabilities = " + canary + "(1)\n }\n}",
		"policy \"a\" {\n secret {\n  path = \"${" + canary + "}\"\n capabilities = [" + canary + "]\n }\n}",
		"policy \"a\" {\n " + canary + " = 1\n " + canary + " = 2\n}", `policy "a" { description = "%{ ` + canary + ` }" }`,
		`policy "a" { description = "%{ if ` + canary + ` }x%{ endfor ` + canary + `}" }`, `policy "a" { description = "\` + canary + `" }`,
		"policy \"a\" { description = <<" + canary + "\n" + canary + "\n" + canary + "\n }", "policy \"a\" { description = a." + canary + ".0.1 }",
		"policy " + canary + "." + canary + " {}", `policy "${` + canary + `}" {}`, `policy "a" { description = { ` + canary + ` = 1 } }`,
		"policy \"a\" { description = [for " + canary + " in " + canary + "] }", `policy "a" { description = "x" "` + canary + `" }`,
		"policy \"a\" { description = \"" + canary, "policy \"" + canary + "\" {}\npolicy \"" + canary + "\" {}",
	}
	for _, text := range texts {
		_, diags := Parse("x.hcl", []byte(text))
		if diags == nil {
			t.Errorf("no problem found in\n%s", text)
		}
		if strings.Contains(diags.Error(), canary) {
			t.Errorf("the diagnostics of\n%s\nrepeat it:\n%s", text, diags)
		}
	}
}

func TestRenderWithoutSource(t *testing.T) {
	_, diags := Parse("x.hcl", []byte("policy \"x\" {\n  sercet {\n  }\n}\n"))
	var out strings.Builder
	if err := diags.Render(&out, nil); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "|") || !strings.HasPrefix(out.String(), "x.hcl:2:3: error: unknown resource\n  did you mean") {
		t.Errorf("rendered without source:\n%s", out.String())
	}
}

func TestProblemsAreBounded(t *testing.T) {
	_, diags := Parse("x.hcl", []byte(strings.Repeat("x {}\n", 200)))
	if len(diags) != maxDiagnostics+1 || diags[maxDiagnostics].Summary != "too many problems" {
		t.Errorf("%d diagnostics, the last %q; want %d and a note", len(diags), diags[len(diags)-1].Summary, maxDiagnostics)
	}
}
