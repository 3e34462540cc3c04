package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

func (a *app) newWhyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "why DECISION_ID", Short: "Explain a decision", Args: takes("DECISION_ID"),
		Long: `Explain why a request was allowed or denied. Of your own decisions everyone learns the
class of the reason; the record and the rule's text need audit:explain.`,
		RunE: func(c *cobra.Command, args []string) error {
			id, err := schema.ParseDecisionID(args[0])
			if err != nil {
				return about("decision id", err)
			}
			return a.with("decision "+string(id), func(cl *client.Client) error {
				e, err := cl.Audit().ExplainDecision(c.Context(), &heroctlv1.ExplainDecisionRequest{DecisionId: string(id)})
				if err != nil {
					return err
				}
				return a.printExplanation(e)
			})
		},
	}
}

func (a *app) printExplanation(e *heroctlv1.Explanation) error {
	format, err := a.format()
	if err != nil {
		return err
	}
	if format != formatTable {
		return printOne(a, view[*heroctlv1.Explanation]{name: (*heroctlv1.Explanation).GetDecisionId}, e)
	}
	fmt.Fprintf(a.stdout, "%s (%s)\n", clean(e.GetDecision()), clean(e.GetReason()))
	if e.GetSentence() != "" {
		fmt.Fprintln(a.stdout, clean(e.GetSentence()))
	}
	if err := a.printFacts(e); err != nil {
		return err
	}
	if e.GetRuleText() != "" {
		fmt.Fprintf(a.stdout, "\nthe rule, as it was then:\n")
		for line := range strings.Lines(e.GetRuleText()) {
			fmt.Fprintln(a.stdout, "    "+cleanLine(line))
		}
	}
	if w := e.GetWeighed(); w != nil {
		if err := a.printLadder(w); err != nil {
			return err
		}
	}
	return a.printChecks(e.GetChecks())
}

// printFacts lists the record's fields, when the caller may see them.
func (a *app) printFacts(e *heroctlv1.Explanation) error {
	r := e.GetRecord()
	if r == nil {
		return nil
	}
	fmt.Fprintln(a.stdout)
	rows := [][]string{
		{"DECISION", e.GetDecisionId()}, {"TIME", when(r.GetTime())}, {"USER", r.GetUser()}, {"TOKEN", r.GetAccessor()},
		{"ROLES", strings.Join(r.GetRoles(), ", ")}, {"POLICIES", strings.Join(e.GetPolicies(), ", ")},
		{"SOURCE", r.GetSource()}, {"ASKED", capability(r) + " on " + r.GetPath()}, {"RULE", ruleText(r.GetRule())},
		{"RESULT", resultText(r)},
	}
	return a.table(rows)
}

// printChecks lists the further decisions that the call needed.
func (a *app) printChecks(checks []*heroctlv1.Check) error {
	if len(checks) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout, "\nit also needed:")
	rows := [][]string{{"CAPABILITY", "PATH", "DECISION", "REASON", "RULE"}}
	for _, c := range checks {
		rows = append(rows, []string{c.GetCapability(), c.GetPath(), c.GetDecision(), c.GetReason(), ruleText(c.GetRule())})
	}
	return a.table(rows)
}

func capability(r *heroctlv1.Record) string { return r.GetResource() + ":" + r.GetAction() }

// ruleText names a rule as "policy:LINE (digest)".
func ruleText(r *heroctlv1.RuleRef) string {
	if r.GetPolicy() == "" {
		return ""
	}
	digest := r.GetDigest()
	return fmt.Sprintf("%s:%d (%s)", r.GetPolicy(), r.GetLine(), digest[:min(12, len(digest))])
}

// cleanLine is clean for a line of text that keeps its indentation.
func cleanLine(line string) string {
	return clean(strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    "))
}
