package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/policies"
)

// formatSARIF is the format of findings that code review tools read; policy check
// alone has it.
const formatSARIF = "sarif"

// checkOptions are the flags of policy check.
type checkOptions struct {
	level  string
	strict bool
	online bool
}

func (a *app) newPolicyCheck() *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use: "check [FILE|DIR…]", Short: "Check policies for errors and for what probably is not meant",
		Args: takes("[FILE|DIR…]"),
		Long: `Check policy files, without a server; of the folder at hand if none is named. Every error is told
at once, with its line. Then the rules are held against each other: rules that never win, denials that a
more specific grant reopens, grants that nobody can use, and the like. What is found is decided, not
guessed, and shown with a path where there is one.

--level note shows everything. The exit code is 3 if there is an error, with --strict also for a warning.
A finding is accepted by a comment on the line above its block, with a reason:

  # heroctl:accept prefix-glob the names prod-eu and prod-us are meant

--online asks the server, too: which names exist, which policies and roles are used, and what the policies
in force say beside yours; without a file it checks the policies in force.`,
		Example: "  heroctl policy check policies/\n  heroctl policy check --strict -o sarif policies/ > findings.sarif",
	}
	f := c.Flags()
	f.StringVar(&o.level, "level", string(policies.Warning), "show findings from this `LEVEL` on: error, warning or note")
	f.BoolVar(&o.strict, "strict", false, "fail for a warning, too")
	f.BoolVar(&o.online, "online", false, "hold the policies against the server, too")
	c.RunE = func(c *cobra.Command, args []string) error {
		format, err := a.checkFormat(o)
		if err != nil {
			return err
		}
		if len(args) == 0 && !o.online {
			args = []string{"."}
		}
		files, err := a.readPolicyFiles(c.Context(), args)
		if err != nil {
			return err
		}
		parsed, found := a.parsePolicies(files)
		if found.HasErrors() {
			if err := a.printFindings(format, syntaxFindings(found), files); err != nil {
				return err
			}
			return refused(found)
		}
		findings, err := a.lint(c.Context(), o, parsed, &files)
		if err != nil {
			return err
		}
		return a.reportFindings(format, o, parsed, findings, files)
	}
	return c
}

// checkFormat returns the output format, which may be one more than elsewhere.
func (a *app) checkFormat(o checkOptions) (string, error) {
	switch policies.Severity(o.level) {
	case policies.Error, policies.Warning, policies.Note:
	default:
		return "", usageError("--level must be error, warning or note")
	}
	if first(a.flags.format, a.env("HEROCTL_FORMAT")) == formatSARIF {
		return formatSARIF, nil
	}
	return a.format()
}

// syntaxFindings puts what the parser found into the form of findings.
func syntaxFindings(found policies.Diagnostics) policies.Findings {
	findings := make(policies.Findings, len(found))
	for i, d := range found {
		findings[i] = policies.Finding{Diagnostic: d, ID: syntaxID}
	}
	return findings
}

// syntaxID is the id of what the parser finds.
const syntaxID = "syntax"

// reportFindings writes the findings from the level on, and fails if there are grave
// ones.
func (a *app) reportFindings(format string, o checkOptions, parsed []*policies.Policy, all policies.Findings, files []policyFile) error {
	shown := all.AtLeast(policies.Severity(o.level))
	if format == formatSARIF {
		shown = all // the reader chooses, and sees what was accepted
	}
	if err := a.printFindings(format, shown, files); err != nil {
		return err
	}
	rules := policies.NewSet(parsed).Rules()
	text := fmt.Sprintf("%d %s with %d %s", len(parsed), plural2(len(parsed), "policy", "policies"), rules, plural(rules, "rule"))
	var counts []string
	for _, level := range []policies.Severity{policies.Error, policies.Warning, policies.Note} {
		if n := shown.Count(level); n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, plural(n, string(level))))
		}
	}
	if len(counts) == 0 {
		text += ", no errors"
	} else {
		text += ": " + strings.Join(counts, ", ")
	}
	if all.Count(policies.Error) > 0 || o.strict && all.Count(policies.Warning) > 0 {
		return &failure{code: exitCheckFailed, text: text}
	}
	a.say("%s", text)
	return nil
}

// printFindings draws findings on stderr, or writes them as data.
func (a *app) printFindings(format string, findings policies.Findings, files []policyFile) error {
	switch format {
	case formatSARIF:
		return a.document(formatJSON, sarifOf(findings))
	case formatTable, formatName:
		a.drawFindings(findings, files)
		return nil
	}
	lines := make([]json.RawMessage, len(findings))
	for i, f := range findings {
		line, err := json.Marshal(f)
		if err != nil {
			return err
		}
		lines[i] = line
	}
	if format == formatJSONL {
		return a.jsonLines(lines...)
	}
	return a.document(format, lines)
}

func (a *app) drawFindings(findings policies.Findings, files []policyFile) {
	var text strings.Builder
	_ = findings.Render(&text, func(name string) []byte { // a builder takes everything
		for _, f := range files {
			if f.name == name {
				return f.text
			}
		}
		return nil
	})
	colors := a.colors(a.stderr)
	for line := range strings.Lines(strings.ReplaceAll(text.String(), " ["+syntaxID+"]\n", "\n")) {
		if colors {
			line = colored(line)
		}
		fmt.Fprint(a.stderr, line)
	}
}
