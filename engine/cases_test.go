package engine

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
//	secret:read prod/db deploy at=2026-03-04T05:06:07Z from=10.1.2.3 age=1h → condition_failed by deploy line 9: hours
//
// Behind the policies may stand user, job, at, from, auth and age (of the token).
// Engine, stock OPA and the reference matcher answer the same questions. With -rewrite
// the Rego and the decisions are written anew: read the difference before committing.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(files) < 9 {
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
		c := questionOf(t, words)
		d := decide(t, e, c)
		got := verdict{d.Reason, d.Rule, d.Condition}
		if reason, rule, unmet := refDecide(list, c); got != (verdict{reason, rule, unmet}) {
			t.Errorf("%s: the reference says %s by %v (%s), the engine %v", question, reason, rule, unmet, got)
		}
		if v := stock(t, e.Complete(c)); v != got {
			t.Errorf("%s: stock OPA says %v, the engine %v", question, v, got)
		}
		fmt.Fprintf(&decisions, "%s → %s", question, d.Reason)
		if d.Rule != (schema.RuleRef{}) {
			fmt.Fprintf(&decisions, " by %s line %d", d.Rule.Policy, d.Rule.Line)
		}
		if d.Condition != "" {
			fmt.Fprintf(&decisions, ": %s", strings.ReplaceAll(d.Condition, ",", ", "))
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

// questionOf reads the words of a question.
func questionOf(t *testing.T, words []string) schema.Call {
	t.Helper()
	var attached []string
	c := ask(words[0], words[1])
	for _, word := range words[2:] {
		name, value, given := strings.Cut(word, "=")
		var err error
		switch name {
		case "user":
			c.Principal.User = value
		case "job":
			c.Principal.Job = value
		case "at":
			c.Context.Time, err = time.Parse(time.RFC3339, value)
		case "from":
			c.Context.Source, err = netip.ParseAddr(value)
		case "auth":
			c.Context.Method = value
		case "age":
			var age time.Duration
			age, err = time.ParseDuration(value)
			c.Context.TokenIssued = c.Context.Time.Add(-age)
		default:
			if given {
				t.Fatalf("unknown word %s", word)
			}
			attached = strings.Split(word, ",")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(attached)
	c.Principal.Policies = attached
	return c
}
