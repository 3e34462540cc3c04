package policytest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// Item is one thing that a policy says and a test should touch: that a rule grants a
// capability, that it denies, that a guardrail denies, that a condition holds, and that
// it does not.
type Item struct {
	File    string
	Line    int
	Policy  string
	What    string // "grants secret:read", "denies", "condition holds"
	Covered bool
}

// Coverage is the items of a set, in the order of files and lines.
type Coverage struct {
	Items []Item
	files []File
}

// Cover returns which items of the files the results touched. A result counts whether
// or not it passed: what was asked is covered, what was answered is tested.
func Cover(files []File, set *policies.Set, results []Result) Coverage {
	c := Coverage{files: files}
	asked := newTouched(set, results)
	for _, f := range files {
		body, diags := policies.Read(f.Name, f.Text)
		if diags.HasErrors() {
			continue
		}
		for _, block := range body.Blocks {
			if len(block.Labels) != 1 {
				continue
			}
			p := set.Find(block.Labels[0])
			if p == nil {
				continue
			}
			for _, rule := range p.Rules {
				c.rule(f.Name, p, rule, blockAt(block, p.First+rule.Line-1), asked)
			}
		}
	}
	return c
}

// blockAt returns the resource block that begins on a line of the file, or nil.
func blockAt(parent *hclsyntax.Block, line int) *hclsyntax.Block {
	for _, b := range parent.Body.Blocks {
		if b.TypeRange.Start.Line == line {
			return b
		}
	}
	return nil
}

// rule adds the items of one rule.
func (c *Coverage) rule(file string, p *policies.Policy, r policies.Rule, block *hclsyntax.Block, asked touched) {
	line := p.First + r.Line - 1
	where, when := line, line
	if block != nil {
		if list := capabilityList(block); list != nil {
			where = list.SrcRange.Start.Line
		}
		for _, inner := range block.Body.Blocks {
			when = inner.TypeRange.Start.Line
		}
	}
	add := func(line int, what string) {
		key := touch{p.Name.String(), r.Line, what}
		c.Items = append(c.Items, Item{file, line, p.Name.String(), what, asked[key]})
	}
	if r.Deny {
		add(where, denied)
	}
	for _, verb := range r.Verbs {
		add(where, grants(r, verb))
	}
	if p.Kind == policies.KindGuardrail {
		add(where, guarded)
	}
	if r.Condition != nil {
		add(when, holds)
		add(when, fails)
	}
}

// What an Item says, besides grants.
const (
	denied  = "denies"
	guarded = "guardrail denies"
	holds   = "condition holds"
	fails   = "condition does not hold"
)

func grants(r policies.Rule, verb schema.Verb) string {
	return "grants " + schema.Capability{Resource: r.Resource, Verb: verb}.String()
}

// touched is what the cases of a run asked of the rules.
type touched map[touch]bool

type touch struct {
	policy string
	line   int
	what   string
}

func newTouched(set *policies.Set, results []Result) touched {
	t := touched{}
	conditional := conditionalRules(set)
	zones := policies.Zones(set.All())
	for _, r := range results {
		ref := r.Got.Rule
		switch r.Got.Reason {
		case schema.Granted:
			t[touch{ref.Policy, ref.Line, "grants " + r.Call.Capability.String()}] = true
		case schema.ExplicitDeny:
			t[touch{ref.Policy, ref.Line, denied}] = true
		case schema.GuardrailDenied:
			t[touch{ref.Policy, ref.Line, guarded}] = true
		}
		for _, one := range conditional {
			if one.asked(set, r) {
				word := fails
				if len(one.rule.Condition.Unmet(inZones(r.Call.Context, zones), one.rule.Deny)) == 0 {
					word = holds
				}
				t[touch{one.policy.Name.String(), one.rule.Line, word}] = true
			}
		}
	}
	return t
}

// inZones returns the circumstances with what the clocks of the zones show.
func inZones(c schema.Context, names []string) schema.Context {
	c.Zones = map[string]schema.LocalTime{}
	for _, name := range names {
		if zone, err := schema.LoadZone(name); err == nil {
			c.Zones[name] = schema.LocalTimeOf(c.Time, zone)
		}
	}
	return c
}

// conditional is a rule with a condition.
type conditional struct {
	policy *policies.Policy
	rule   policies.Rule
}

func conditionalRules(set *policies.Set) []conditional {
	var all []conditional
	for _, p := range set.All() {
		for _, r := range p.Rules {
			if r.Condition != nil {
				all = append(all, conditional{p, r})
			}
		}
	}
	return all
}

// asked reports whether the condition had a say in a result: the rule covers the call,
// speaks about the capability, and no more specific rule took its place.
func (c conditional) asked(set *policies.Set, r Result) bool {
	call := r.Call
	bound, binding := c.rule.Pattern.Bind(call.Principal)
	if c.rule.Resource != call.Capability.Resource || binding != schema.Bound || !bound.Matches(call.Path) {
		return false
	}
	if c.policy.Kind == policies.KindGuardrail {
		return slices.Contains(c.rule.Denies, call.Capability.Verb)
	}
	if !slices.Contains(call.Principal.Policies, c.policy.Name.String()) || r.Got.Reason == schema.GuardrailDenied {
		return false
	}
	if !c.rule.Deny && !c.rule.Allows(call.Capability.Verb) {
		return false
	}
	winner, found := ruleOf(set, r.Got.Rule)
	return !found || winner.Pattern.Compare(c.rule.Pattern) <= 0
}

// ruleOf returns the rule that a decision names.
func ruleOf(set *policies.Set, ref schema.RuleRef) (policies.Rule, bool) {
	if p := set.Find(ref.Policy); p != nil {
		for _, r := range p.Rules {
			if r.Line == ref.Line {
				return r, true
			}
		}
	}
	return policies.Rule{}, false
}

// Percent returns how many of a hundred items are covered; all of none.
func (c Coverage) Percent() float64 {
	if len(c.Items) == 0 {
		return 100
	}
	return 100 * float64(len(c.Items)-len(c.Missing())) / float64(len(c.Items))
}

// Missing returns the items that no test touched.
func (c Coverage) Missing() []Item {
	return slices.DeleteFunc(slices.Clone(c.Items), func(i Item) bool { return i.Covered })
}

// Summary is the sum: "18 of 20 covered (90.0 %)".
func (c Coverage) Summary() string {
	return fmt.Sprintf("%d of %d covered (%.1f %%)", len(c.Items)-len(c.Missing()), len(c.Items), c.Percent())
}

// line is a line of a policy file with what is known of it.
type line struct {
	Number  int
	Text    string
	Mark    string // "+" when all of it is covered, "-" when something is not, " " when it says nothing
	Missing []string
}

// lines returns the marked lines of a file.
func (c Coverage) lines(f File) []line {
	var all []line
	for i, text := range strings.Split(strings.TrimSuffix(string(f.Text), "\n"), "\n") {
		one := line{Number: i + 1, Text: strings.TrimRight(text, "\r"), Mark: " "}
		for _, item := range c.Items {
			if item.File != f.Name || item.Line != one.Number {
				continue
			}
			if one.Mark == " " {
				one.Mark = "+"
			}
			if !item.Covered {
				one.Mark = "-"
				one.Missing = append(one.Missing, item.What)
			}
		}
		all = append(all, one)
	}
	return all
}
