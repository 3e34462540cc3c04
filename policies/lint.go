package policies

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema"
)

// Note is the severity of what is worth knowing and needs no change.
const Note Severity = "note"

// Finding is something in valid policies that probably is not meant. It is decided by
// the algebra of patterns, never by trying names out: when it says that there is a path,
// Witness is one.
type Finding struct {
	Diagnostic
	ID       string    `json:"id"`                 // of the LintRule; stable
	Policy   string    `json:"policy,omitempty"`   // in which it is
	Advice   string    `json:"advice,omitempty"`   // what to do
	Witness  string    `json:"witness,omitempty"`  // a path that shows it
	Related  []Related `json:"related,omitempty"`  // what else takes part
	Accepted string    `json:"accepted,omitempty"` // the reason why someone accepts it, in a comment above the block
}

// Related is another place that takes part in a Finding.
type Related struct {
	Span
	Text string `json:"text"`
}

// LintOptions is what Lint may know besides the policies. What is not given is not
// checked.
type LintOptions struct {
	// Existing are the names there are, by resource. Resources that are not in the map
	// are not known.
	Existing map[schema.Resource][]schema.Path
	// Attached are the names of the policies that a role or token carries; nil if that is
	// not known.
	Attached map[string]bool
	// Roles are the roles; nil if they are not known.
	Roles []LintRole
}

// LintRole is what Lint needs to know of a role.
type LintRole struct {
	Name     string
	Policies []string
	Held     bool // some token carries it
}

// LintRule says what findings of one id mean.
type LintRule struct {
	ID      string
	Level   Severity // the gravest
	Summary string
}

// LintRules returns the rules, sorted by id. Ids are append-only: comments and reports
// refer to them.
func LintRules() []LintRule {
	return []LintRule{
		{"bad-acceptance", Warning, "a comment that accepts a finding has no reason, an unknown id, or the wrong place"},
		{"dead-grant", Error, "a denial on the equal pattern takes everything from a grant"},
		{"duplicate-pattern", Note, "several policies grant on the same pattern, and their capabilities unite"},
		{"empty-policy", Note, "a policy has no rules"},
		{"guardrail-blocks-grant", Error, "a guardrail denies to everyone, always, what a rule grants"},
		{"hidden-deny", Note, "a denial takes paths from a grant whose text does not show it"},
		{"implied-verb", Note, "a capability is named that another one of the list brings along"},
		{"impossible-path", Error, "no resource of the kind can have such a path"},
		{"matches-nothing", Warning, "the pattern covers nothing that exists"},
		{"missing-policy", Warning, "a role names a policy that does not exist"},
		{"prefix-glob", Warning, "a pattern such as prod* covers production/x as well as prod/x"},
		{"redundant-rule", Note, "without the rule its policy would answer the same"},
		{"reopened-deny", Error, "a more specific grant opens part of what a denial closes"},
		{"undecided", Note, "the patterns are too entangled to be decided"},
		{"unreachable-rule", Error, "more specific rules of the same policy win on every path of a rule"},
		{"unused-acceptance", Note, "a comment accepts a finding that is not there"},
		{"unused-policy", Note, "no role and no token carries a policy"},
		{"unused-role", Note, "no token carries a role"},
		{"wildcard-read", Warning, "a rule grants to read the values of secrets by a wildcard"},
	}
}

// Findings are sorted by place.
type Findings []Finding

// Lint looks through the policies for what probably is not meant. The findings are
// sorted by place; accepted ones are among them.
func Lint(list []*Policy, options LintOptions) Findings {
	l := newLinter(options)
	for _, p := range list {
		l.read(p)
	}
	l.lone()
	l.together()
	l.known()
	l.accept()
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column,
			strings.Compare(a.ID, b.ID), strings.Compare(a.Detail, b.Detail))
	})
	return l.findings
}

func newLinter(options LintOptions) *linter {
	return &linter{options: options, peers: map[peer][]*site{}}
}

// AtLeast returns the findings of the severity and graver ones that nobody accepted.
func (f Findings) AtLeast(level Severity) Findings {
	return slices.DeleteFunc(slices.Clone(f), func(one Finding) bool {
		return one.Accepted != "" || gravity(one.Severity) < gravity(level)
	})
}

// Count returns how many findings of exactly the severity nobody accepted.
func (f Findings) Count(level Severity) int {
	n := 0
	for _, one := range f {
		if one.Severity == level && one.Accepted == "" {
			n++
		}
	}
	return n
}

func gravity(s Severity) int { return slices.Index([]Severity{Note, Warning, Error}, s) }

// Render writes the findings for a person, each with its line of source, the places
// that take part and what to do. source returns the text of a file, or nil.
//
//	app.hcl:3:20: error: a more specific grant reopens the denial [reopened-deny]
//	    3 |     path         = "kv/+/db"
//	      |                    ^^^^^^^^^
//	  kv/app/db is granted by kv/app/*, …
//	  app.hcl:8: secret kv/app/* grants read
//	  advice: …
func (f Findings) Render(w io.Writer, source func(file string) []byte) error {
	var text strings.Builder
	for _, one := range f {
		headed := one.Diagnostic
		headed.Summary += " [" + one.ID + "]"
		if one.Line == 0 { // a role: it stands in no file
			fmt.Fprintf(&text, "%s: %s\n  %s\n", one.Severity, headed.Summary, one.Detail)
		} else {
			_ = Diagnostics{headed}.Render(&text, source(one.File)) // a builder takes everything
		}
		for _, other := range one.Related {
			text.WriteString("  " + other.place() + other.Text + "\n")
		}
		if one.Advice != "" {
			text.WriteString("  advice: " + one.Advice + "\n")
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}
