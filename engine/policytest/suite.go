// Package policytest tests policies as one tests programs.
//
// A Suite is what the test files (*_test.hcl) beside the policies say: cases, each with
// a call and the decision it wants. Run asks the real engine, the one that decides in
// the server, and returns the decisions it got. Nothing is imitated: a test that passes
// here describes what will happen there.
//
// Two questions are left once all tests pass. Which part of the policies did no test
// touch? Coverage answers it from the results alone. Would the tests notice a mistake?
// Mutate makes the mistakes, one at a time, in the text of the policies, and runs the
// tests on each: a mistake that no test notices would ship.
//
// The way of a run: Parse (files, set) → Suite → Run → Results → Cover, Mutate, and the
// reports.
package policytest

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/heroctl/heroctl/engine"
	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// File is a file as it is on this machine.
type File struct {
	Name string
	Text []byte
}

// Suite is the cases of some test files, in the order of files and lines. It is
// immutable and safe for concurrent use.
type Suite struct {
	Cases []Case
}

// Case is one question and the answer it wants.
type Case struct {
	File string
	Line int    // where the test, or the row of the matrix, begins
	Name string // of the test or matrix; a row has its number behind it
	Call schema.Call
	Want Want
}

// Want is what a case says of the decision. What it leaves out is not compared.
type Want struct {
	Allow  bool
	Reason schema.Reason // "" for any
	Policy string        // of the rule that settles it, "" for any
	Line   int           // of the rule in the text of its policy, 0 for any
}

// Result is what became of one case.
type Result struct {
	Case
	Got schema.Decision
}

// Passed reports whether the decision is the one wanted.
func (r Result) Passed() bool {
	w := r.Want
	return r.Got.Allow == w.Allow && (w.Reason == "" || r.Got.Reason == w.Reason) &&
		(w.Policy == "" || r.Got.Rule.Policy == w.Policy) && (w.Line == 0 || r.Got.Rule.Line == w.Line)
}

// String returns what is wanted, as a test file says it.
func (w Want) String() string {
	text := verdict(w.Allow)
	if w.Reason != "" {
		text += ", " + string(w.Reason)
	}
	if w.Policy != "" {
		text += ", by " + w.Policy
		if w.Line > 0 {
			text += ":" + strconv.Itoa(w.Line)
		}
	}
	return text
}

// describe returns what was decided, in the same words.
func describe(d schema.Decision) string {
	return Want{Allow: d.Allow, Reason: d.Reason, Policy: d.Rule.Policy, Line: d.Rule.Line}.String()
}

func verdict(allow bool) string {
	if allow {
		return "allow"
	}
	return "deny"
}

// Select returns the suite of the cases that keep says yes to.
func (s *Suite) Select(keep func(Case) bool) *Suite {
	next := &Suite{}
	for _, c := range s.Cases {
		if keep(c) {
			next.Cases = append(next.Cases, c)
		}
	}
	return next
}

// Run asks an engine with the set in force for every case, in order.
func (s *Suite) Run(ctx context.Context, set *policies.Set) ([]Result, error) {
	e, err := activate(ctx, set)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(s.Cases))
	for i, c := range s.Cases {
		d, _ := e.Authorize(ctx, "test", c.Call)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		results[i] = Result{c, d}
	}
	return results, nil
}

// activate returns an engine with the set in force. It has room for the compiled form of
// every list of policies that a suite attaches, and time enough for a busy machine: a
// test must not fail because of it, nor a mistake be noticed.
func activate(ctx context.Context, set *policies.Set) (*engine.Engine, error) {
	e := engine.New(engine.Config{Programs: 256, Timeout: 30 * time.Second})
	if err := e.Activate(ctx, set, 1); err != nil {
		return nil, fmt.Errorf("put the policies in force: %w", err)
	}
	return e, nil
}

// Failed returns the results that did not pass.
func Failed(results []Result) []Result {
	var failed []Result
	for _, r := range results {
		if !r.Passed() {
			failed = append(failed, r)
		}
	}
	return failed
}

// ruleAt returns the file and line of a rule that a decision names, or "".
func ruleAt(set *policies.Set, ref schema.RuleRef) string {
	p := set.Find(ref.Policy)
	if p == nil || ref.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", p.Span.File, p.First+ref.Line-1)
}

// ruleText returns the head of a rule that a decision names: secret "prod/*".
func ruleText(set *policies.Set, ref schema.RuleRef) string {
	if p := set.Find(ref.Policy); p != nil {
		for _, r := range p.Rules {
			if r.Line == ref.Line {
				return fmt.Sprintf("%s %q", r.Resource, r.Pattern)
			}
		}
	}
	return ""
}

// Suffix is how the name of a test file ends.
const Suffix = "_test.hcl"
