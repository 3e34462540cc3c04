package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/schema"
)

// snippet is a fenced block of a document.
type snippet struct {
	line       int
	kind, text string
}

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func snippetsOf(document string) []snippet {
	var all []snippet
	for _, m := range fence.FindAllStringSubmatchIndex(document, -1) {
		all = append(all, snippet{1 + strings.Count(document[:m[0]], "\n"), document[m[2]:m[3]], document[m[4]:m[5]]})
	}
	return all
}

// TestPolicyGuide writes each file of docs/policies.md, whose name is in its first line,
// and runs each command. What a command writes must be what the guide shows; a line "…"
// stands for any others.
func TestPolicyGuide(t *testing.T) {
	text, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	files, commands := 0, 0
	for _, s := range snippetsOf(string(text)) {
		switch s.kind {
		case "hcl":
			name, _, _ := strings.Cut(strings.TrimPrefix(s.text, "# "), "\n")
			if !strings.HasSuffix(name, ".hcl") {
				t.Fatalf("line %d: the first line of the snippet names no file", s.line)
			}
			if err := os.WriteFile(name, []byte(s.text), 0o600); err != nil {
				t.Fatal(err)
			}
			files++
		case "console":
			command, want, _ := strings.Cut(s.text, "\n")
			got := runInGuide(t, strings.TrimPrefix(command, "$ heroctl "))
			if diff := cmp.Diff(want, elide(want, got)); diff != "" {
				t.Errorf("line %d: %s (-want +got):\n%s\nall of it:\n%s", s.line, command, diff, got)
			}
			commands++
		default:
			t.Errorf("line %d: a snippet that is not executed", s.line)
		}
	}
	if files < 10 || commands < 8 {
		t.Errorf("found %d files and %d commands; is this the guide?", files, commands)
	}
}

// runInGuide runs a command and returns what a terminal would show.
func runInGuide(t *testing.T, command string) string {
	var screen bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &screen, stderr: &screen, env: func(string) string { return "" }}
	if code := a.run(t.Context(), strings.Fields(command)); code != exitOK {
		fmt.Fprintf(&screen, "[exit code %d]\n", code)
	}
	return regexp.MustCompile(`in [0-9.]+m?s\n`).ReplaceAllString(screen.String(), "in 3ms\n")
}

// elide puts "…" where the wanted text has it, if what stands before and behind fits.
func elide(want, got string) string {
	before, behind, some := strings.Cut(want, "…\n")
	if some && strings.HasPrefix(got, before) && strings.HasSuffix(got, behind) {
		return want
	}
	return got
}

// TestPolicyGuideReference holds the guide's tables against the program.
func TestPolicyGuideReference(t *testing.T) {
	text, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range schema.Resources() {
		var verbs []string
		for _, v := range r.Verbs() {
			verbs = append(verbs, string(v))
		}
		if row := fmt.Sprintf("| `%s` | %s |", r, strings.Join(verbs, ", ")); !slices.Contains(strings.Split(string(text), "\n"), row) {
			t.Errorf("the guide has no row %s", row)
		}
	}
}
