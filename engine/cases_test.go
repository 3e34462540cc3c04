package engine

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

var rewrite = flag.Bool("rewrite", false, "write the golden parts of testdata/cases anew")

// TestCases runs the files of testdata/cases. Each holds policies, the Rego that they
// compile to, and questions with their decisions, one to a line:
//
//	secret:read prod/db deploy,audit → granted by deploy line 4
//
// Engine, stock OPA and the reference matcher answer the same questions. With -rewrite
// the Rego and the decisions are written anew: read the difference before committing.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(files) < 5 {
		t.Fatalf("only %d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runCase(t, archive)
			if *rewrite {
				if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(txtar.Format(archive)), string(txtar.Format(got))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// runCase returns the archive as it must be.
func runCase(t *testing.T, archive *txtar.Archive) *txtar.Archive {
	t.Helper()
	part := func(name string) string {
		i := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == name })
		if i < 0 {
			t.Fatalf("the case has no part %s", name)
		}
		return string(archive.Files[i].Data)
	}
	text := part("policies.hcl")
	list := mustParse(t, text)
	e := mustActivate(t, Config{}, list)
	stock := stockOPA(t, policies.NewSet(list))

	var decisions strings.Builder
	for line := range strings.Lines(part("decisions")) {
		question, _, _ := strings.Cut(strings.TrimSpace(line), " → ")
		words := strings.Fields(question)
		if len(words) < 2 {
			t.Fatalf("not a question: %s", line)
		}
		var attached []string
		if len(words) > 2 {
			attached = strings.Split(words[2], ",")
		}
		c := ask(words[0], words[1], attached...)
		d := decide(t, e, c)
		if reason, rule := refDecide(list, c); reason != d.Reason || rule != d.Rule {
			t.Errorf("%s: the reference says %s by %v, the engine %s by %v", question, reason, rule, d.Reason, d.Rule)
		}
		if v := stock(t, c); v.reason != d.Reason || v.rule != d.Rule {
			t.Errorf("%s: stock OPA says %s by %v, the engine %s by %v", question, v.reason, v.rule, d.Reason, d.Rule)
		}
		fmt.Fprintf(&decisions, "%s → %s", question, d.Reason)
		if d.Rule != (schema.RuleRef{}) {
			fmt.Fprintf(&decisions, " by %s line %d", d.Rule.Policy, d.Rule.Line)
		}
		decisions.WriteByte('\n')
	}
	out := &txtar.Archive{Comment: archive.Comment, Files: []txtar.File{
		{Name: "policies.hcl", Data: []byte(text)}, {Name: "decisions", Data: []byte(decisions.String())},
	}}
	for _, p := range list {
		out.Files = append(out.Files, txtar.File{Name: p.ModuleFile(), Data: p.Module()})
	}
	return out
}
