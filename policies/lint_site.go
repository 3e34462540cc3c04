package policies

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/heroctl/heroctl/schema"
)

// linter collects findings.
type linter struct {
	options  LintOptions
	policies []*Policy
	sites    []*site
	peers    map[peer][]*site // the sites by policy and resource
	accepts  []*acceptance
	findings Findings
	owners   []owner // of the findings, by index
}

// peer tells which rules compete with each other inside one policy.
type peer struct {
	policy   *Policy
	resource schema.Resource
}

func (l *linter) peersOf(s *site) []*site { return l.peers[peer{s.policy, s.rule.Resource}] }

// owner is the block whose comment may accept a finding.
type owner struct {
	policy *Policy
	site   *site // nil: the policy as a whole
}

// site is a rule in its place.
type site struct {
	policy     *Policy
	rule       Rule
	path, says Span   // the values of path, and of capabilities or deny
	line       int    // of the block, in the file
	rank       string // of the pattern
	lost       bool   // it never wins
}

// beats reports whether the rule's pattern is more specific than the other's.
func (s *site) beats(o *site) bool { return s.rank > o.rank }

func (s *site) pattern() schema.Pattern { return s.rule.Pattern }

func (s *site) guardrail() bool { return s.policy.Kind == KindGuardrail }

func (s *site) grants() bool { return !s.guardrail() && !s.rule.Deny }

func (s *site) denies() bool { return !s.guardrail() && s.rule.Deny }

// sure reports whether the rule, where its pattern is the most specific one, keeps
// broader rules out whatever the circumstances. A conditional denial that does not hold
// is not there; a conditional grant holds its pattern all the same.
func (s *site) sure() bool { return !s.rule.Deny || s.rule.Condition == nil }

// describe says what the rule does, for a place that takes part in a finding.
func (s *site) describe() string {
	text := fmt.Sprintf("%s %s ", s.rule.Resource, s.pattern())
	switch {
	case s.guardrail():
		text += "denies " + words(s.rule.Denies) + " to everyone"
	case s.rule.Deny:
		text += "denies"
	default:
		text += "grants " + words(s.rule.Verbs)
	}
	if s.rule.Condition != nil {
		text += ", under a condition"
	}
	return text + ", in " + s.policy.Name.String()
}

func words(verbs []schema.Verb) string {
	var list []string
	for _, v := range verbs {
		list = append(list, string(v))
	}
	return strings.Join(list, ", ")
}

// maxRelated bounds how many places of one finding are told.
const maxRelated = 5

// related returns the places of the rules, the first maxRelated of them.
func related(sites []*site) []Related {
	var list []Related
	for i, s := range sites {
		if i == maxRelated {
			return append(list, Related{Text: fmt.Sprintf("and %d more", len(sites)-i)})
		}
		list = append(list, Related{Span: s.path, Text: s.describe()})
	}
	return list
}

func (r Related) place() string {
	if r.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", r.File, r.Line)
}

// add records a finding about a rule.
func (l *linter) add(s *site, at Span, f Finding) {
	f.Span, f.Policy = at, s.policy.Name.String()
	l.findings, l.owners = append(l.findings, f), append(l.owners, owner{s.policy, s})
}

// addPolicy records a finding about a policy as a whole.
func (l *linter) addPolicy(p *Policy, f Finding) {
	f.Span, f.Policy = p.Span, p.Name.String()
	l.findings, l.owners = append(l.findings, f), append(l.owners, owner{policy: p})
}

// finding puts a finding together.
func finding(id string, level Severity, summary, detail, advice string) Finding {
	return Finding{ID: id, Diagnostic: Diagnostic{Severity: level, Summary: summary, Detail: detail}, Advice: advice}
}

// read finds the places of a policy's rules, and its comments that accept findings. The
// text was parsed before, so that it has one block for each rule.
func (l *linter) read(p *Policy) {
	l.policies = append(l.policies, p)
	parsed, _ := hclsyntax.ParseConfig(p.Text, p.Span.File, hcl.Pos{Line: p.First, Column: 1})
	body, ok := parsed.Body.(*hclsyntax.Body)
	if !ok || len(body.Blocks) != 1 || len(body.Blocks[0].Body.Blocks) != len(p.Rules) {
		return
	}
	block := body.Blocks[0]
	comments := l.comments(p)
	l.claim(comments, owner{policy: p}, block.TypeRange.Start.Line)
	for i, inner := range block.Body.Blocks {
		s := &site{policy: p, rule: p.Rules[i], line: inner.TypeRange.Start.Line, rank: p.Rules[i].Pattern.Rank()}
		s.path = span(inner.Body.Attributes["path"].Expr.Range())
		for _, name := range []string{"capabilities", "deny"} {
			if attr := inner.Body.Attributes[name]; attr != nil {
				s.says = span(attr.Expr.Range())
			}
		}
		l.sites = append(l.sites, s)
		at := peer{p, s.rule.Resource}
		l.peers[at] = append(l.peers[at], s)
		l.claim(comments, owner{p, s}, s.line)
	}
}

// acceptance is a comment that accepts a finding.
type acceptance struct {
	Span
	policy     *Policy
	of         *owner // the block below; nil if there is none
	id, reason string
	used       bool
}

var acceptComment = regexp.MustCompile(`^(?:#|//)\s*heroctl:accept\b[ \t]*(\S*)[ \t]*(.*?)\s*$`)

// comments returns the comments of the policy that have a line of their own, by line:
// nil for one that accepts nothing.
func (l *linter) comments(p *Policy) map[int]*acceptance {
	tokens, _ := hclsyntax.LexConfig(p.Text, p.Span.File, hcl.Pos{Line: p.First, Column: 1})
	found := map[int]*acceptance{}
	for _, t := range tokens {
		start := t.Range.Start.Byte
		line := p.Text[bytes.LastIndexByte(p.Text[:start], '\n')+1 : start]
		if t.Type != hclsyntax.TokenComment || len(bytes.TrimLeft(line, " \t")) > 0 {
			continue
		}
		found[t.Range.Start.Line] = nil
		if m := acceptComment.FindSubmatch(t.Bytes); m != nil {
			at := span(t.Range)
			at.EndLine, at.EndColumn = at.Line, at.Column+len([]rune(strings.TrimRight(string(t.Bytes), "\r\n")))
			a := &acceptance{Span: at, policy: p, id: string(m[1]), reason: string(m[2])}
			found[at.Line] = a
			l.accepts = append(l.accepts, a)
		}
	}
	return found
}

// claim gives the acceptances on the comment lines directly above a block to it.
func (l *linter) claim(comments map[int]*acceptance, to owner, line int) {
	for line--; ; line-- {
		a, there := comments[line]
		if !there {
			return
		}
		if a != nil {
			a.of = &to
		}
	}
}

// accept marks the findings that a comment accepts, and reports comments that are of no
// use.
func (l *linter) accept() {
	for i := range l.findings {
		for _, a := range l.accepts {
			if a.of != nil && *a.of == l.owners[i] && a.id == l.findings[i].ID && a.reason != "" {
				l.findings[i].Accepted, a.used = a.reason, true
			}
		}
	}
	for _, a := range l.accepts {
		l.judge(a)
	}
}

// judge reports what is wrong with a comment.
func (l *linter) judge(a *acceptance) {
	const form = "write # heroctl:accept ID REASON on the line above the block"
	var ids []string
	for _, rule := range LintRules() {
		ids = append(ids, rule.ID)
	}
	report := func(id string, level Severity, summary, detail, advice string) {
		l.addPolicy(a.policy, finding(id, level, summary, detail, advice))
		l.findings[len(l.findings)-1].Span = a.Span
	}
	switch {
	case a.id == "":
		report("bad-acceptance", Warning, "the comment accepts nothing", "it names no finding", form)
	case !slices.Contains(ids, a.id):
		report("bad-acceptance", Warning, "the comment accepts nothing",
			didYouMean(a.id, ids, "there is no finding with this id"), "take the id from the brackets behind the finding")
	case a.reason == "":
		report("bad-acceptance", Warning, "the comment gives no reason", "without one the finding stays",
			"say behind the id why it is right as it is")
	case a.of == nil:
		report("bad-acceptance", Warning, "the comment stands above no block", "it accepts nothing here", form)
	case !a.used && l.knows(a.id):
		report("unused-acceptance", Note, "the comment accepts a finding that is not there",
			"it would hide the finding if it came back", "delete the comment")
	}
}

// knows reports whether findings of the id could be there, given the options.
func (l *linter) knows(id string) bool {
	switch id {
	case "matches-nothing":
		return l.options.Existing != nil
	case "unused-policy":
		return l.options.Attached != nil
	}
	return true
}
