package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/policies"
)

// TestLintGuide writes each file of docs/policies-lint-import.md, whose name is in its
// first line, and runs each command. What a command writes must be what the guide shows.
func TestLintGuide(t *testing.T) {
	text, err := os.ReadFile("../../docs/policies-lint-import.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	commands := 0
	for _, s := range snippetsOf(string(text)) {
		if s.kind != "console" {
			name, body, _ := strings.Cut(strings.TrimPrefix(s.text, "# "), "\n")
			if err := os.WriteFile(name, []byte("\n"+body), 0o600); err != nil { // the same lines
				t.Fatal(err)
			}
			continue
		}
		commands++
		command, want, _ := strings.Cut(s.text, "\n")
		got := runInGuide(t, strings.TrimPrefix(command, "$ heroctl "))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("line %d: %s (-want +got):\n%s\nall of it:\n%s", s.line, command, diff, got)
		}
	}
	if commands < 6 {
		t.Errorf("only %d commands; is this the guide?", commands)
	}
}

// TestLintGuideReference holds the guide's table against the program.
func TestLintGuideReference(t *testing.T) {
	text, err := os.ReadFile("../../docs/policies-lint-import.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range policies.LintRules() {
		if row := fmt.Sprintf("| `%s` | %s | %s |", r.ID, r.Level, r.Summary); !slices.Contains(strings.Split(string(text), "\n"), row) {
			t.Errorf("the guide has no row %s", row)
		}
	}
}

// TestSARIFHoldsTogether holds each result of a report against its rule and its place.
func TestSARIFHoldsTogether(t *testing.T) {
	list, diags := policies.Parse("dir/a b.hcl", []byte("policy \"p\" {\n  secret {\n    path         = \"kv/+/db\"\n    capabilities = []\n  }\n"+
		"  secret {\n    path         = \"kv/app/*\"\n    capabilities = [\"read\"]\n  }\n}\n"))
	if diags != nil {
		t.Fatal(diags)
	}
	findings := policies.Lint(list, policies.LintOptions{Roles: []policies.LintRole{{Name: "r"}}})
	text, err := json.Marshal(sarifOf(findings))
	if err != nil {
		t.Fatal(err)
	}
	var log sarifLog
	if err := json.Unmarshal(text, &log); err != nil || log.Version != "2.1.0" || len(log.Runs) != 1 {
		t.Fatalf("%v, version %s, %d runs", err, log.Version, len(log.Runs))
	}
	run := log.Runs[0]
	if len(run.Results) != len(findings) || len(findings) < 3 {
		t.Fatalf("%d results of %d findings", len(run.Results), len(findings))
	}
	for _, r := range run.Results {
		if run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || r.Message.Text == "" {
			t.Errorf("result %+v does not fit its rule", r)
		}
		for _, at := range slices.Concat(r.Locations, r.Related) {
			region := at.Physical.Region
			if at.Physical.Artifact.URI != "dir/a%20b.hcl" || region.StartLine < 1 || region.StartColumn < 1 || region.EndColumn <= region.StartColumn {
				t.Errorf("%s is nowhere: %+v", r.RuleID, at)
			}
		}
		if placed := r.RuleID != "unused-role"; placed != (len(r.Locations) == 1) {
			t.Errorf("%s has %d places", r.RuleID, len(r.Locations))
		}
	}
}
