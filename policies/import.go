package policies

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/heroctl/heroctl/schema"
)

// ImportShape is a form in which policies of other systems are written.
type ImportShape string

// The shapes.
const (
	ShapeLines ImportShape = "lines" // policy "x": and indented secret: blocks
	ShapeYAML  ImportShape = "yaml"  // name, description, rules
	ShapeVault ImportShape = "vault" // path "secret/data/x" { … }
)

// ImportOptions say how a text is to be read.
type ImportOptions struct {
	Shape ImportShape // "" to find it out
	// Name is the policy's name where the text has none, or another, as in Vault's form;
	// FileName is its name only where the text has none.
	Name, FileName schema.Name
	// Mounts are the mounts of Vault's KV engines whose names the paths are to lose; the
	// others keep theirs as first segment. None means "secret" alone.
	Mounts []string
	// KV1 are the mounts whose engine is of version 1.
	KV1 []string
}

// Imported is a text turned into policies.
type Imported struct {
	Shape ImportShape
	Text  []byte // formatted and valid; nil when nothing could be read
	// LeftOut is what has no equivalent, each an Error on its line. What a rule could say
	// no more is not granted: its pattern is held closed where it can be.
	LeftOut Diagnostics
	Notes   Diagnostics // what means something a little different
}

// Import turns policies of another system into ours. Nothing is left out silently, and
// nothing is granted that the text does not grant, except what read and update bring
// along. The diagnostics tell why the text could not be read at all.
func Import(file string, text []byte, o ImportOptions) (Imported, Diagnostics) {
	if o.Shape == "" {
		o.Shape = shapeOfText(text)
	}
	m := &importer{file: file, options: o}
	if len(text) <= MaxFileBytes {
		m.source = strings.Split(string(text), "\n")
	}
	var refused Diagnostics
	switch o.Shape {
	case ShapeLines:
		refused = m.readLines(text)
	case ShapeYAML:
		refused = m.readYAML(text)
	case ShapeVault:
		refused = m.readVault(text)
	default:
		refused = Diagnostics{m.at(1, Error, "the shape of the text is not known",
			`it should begin with policy "name": or name: or path "…" {; say which it is`)}
	}
	if refused.HasErrors() {
		return Imported{Shape: o.Shape}, refused.tidy()
	}
	m.leftOut, m.notes = m.leftOut.tidy(), m.notes.tidy()
	out, problem := m.render()
	if problem != nil {
		return Imported{Shape: o.Shape}, Diagnostics{*problem}
	}
	return Imported{Shape: o.Shape, Text: out, LeftOut: m.leftOut, Notes: m.notes}, nil
}

var shapes = []struct {
	shape ImportShape
	line  *regexp.Regexp
}{
	{ShapeLines, regexp.MustCompile(`^\s*policy\s+[^{]*:\s*(#.*)?$`)},
	{ShapeVault, regexp.MustCompile(`^\s*(path\s+"|name\s*=)`)},
	{ShapeYAML, regexp.MustCompile(`^(---.*|["']?(name|description|rules)["']?\s*:.*)$`)},
}

// shapeOfText finds the shape out by the first line that is no comment.
func shapeOfText(text []byte) ImportShape {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if bare := strings.TrimSpace(line); bare == "" || strings.HasPrefix(bare, "#") || strings.HasPrefix(bare, "//") {
			continue
		}
		for _, s := range shapes {
			if s.line.MatchString(line) {
				return s.shape
			}
		}
		break
	}
	return ""
}

// importer collects what is read, whatever the shape.
type importer struct {
	file    string
	source  []string // the lines
	options ImportOptions
	drafts  []*draft
	leftOut Diagnostics
	notes   Diagnostics
}

// draft is a policy to be written.
type draft struct {
	name        string
	description string
	line        int
	rules       []*draftRule
}

// draftRule is a rule to be written.
type draftRule struct {
	resource schema.Resource
	pattern  schema.Pattern
	verbs    []schema.Verb
	lines    []int // of the text that say so
	remark   string
	spare    bool // left out when it changes nothing
}

func (m *importer) at(line int, severity Severity, summary, detail string) Diagnostic {
	return Diagnostic{Span: m.span(line), Severity: severity, Summary: summary, Detail: detail}
}

// span returns the place of a line, without the blanks around it.
func (m *importer) span(line int) Span {
	at := Span{File: m.file, Line: line, Column: 1, EndLine: line, EndColumn: 2}
	if line <= len(m.source) {
		text := strings.TrimRight(m.source[line-1], " \t\r\n")
		bare := strings.TrimLeft(text, " \t")
		at.Column = 1 + utf8.RuneCountInString(text) - utf8.RuneCountInString(bare)
		at.EndColumn = max(at.Column+1, 1+utf8.RuneCountInString(text))
	}
	return at
}

func (m *importer) drop(line int, summary, detail string) {
	m.leftOut = append(m.leftOut, m.at(line, Error, summary, detail))
}

func (m *importer) note(line int, summary, detail string) {
	m.notes = append(m.notes, m.at(line, Note, summary, detail))
}

// begin starts a policy. A name that is none is left out, with all below it.
func (m *importer) begin(name string, line int) *draft {
	d := &draft{name: name, line: line}
	if _, err := schema.ParseName(name); err != nil {
		m.drop(line, "the policy's name cannot be one here", "a name has letters, digits and . _ - alone; its rules are left out")
		return d
	}
	if i := slices.IndexFunc(m.drafts, func(o *draft) bool { return strings.EqualFold(o.name, name) }); i >= 0 {
		m.drop(line, "there are two policies of this name", fmt.Sprintf("the first is on line %d; this one is left out", m.drafts[i].line))
		return d
	}
	m.drafts = append(m.drafts, d)
	return d
}

// describe sets the description, if it can stand in a policy.
func (m *importer) describe(d *draft, text string, line int) {
	if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && unsafeRune(r) }) {
		m.drop(line, "the description has invisible control characters", "it is left out")
		return
	}
	d.description = text
}

// add adds a rule. One on the same pattern unites with it, or closes it: what denies
// wins.
func (m *importer) add(d *draft, r *draftRule) {
	i := slices.IndexFunc(d.rules, func(o *draftRule) bool { return o.resource == r.resource && o.pattern == r.pattern })
	if i < 0 {
		d.rules = append(d.rules, r)
		return
	}
	o := d.rules[i]
	m.note(r.lines[0], "the pattern is there already", fmt.Sprintf("it is united with the rule of line %d; a denial wins", o.lines[0]))
	o.lines = append(o.lines, r.lines...)
	if len(o.verbs) == 0 || len(r.verbs) == 0 {
		o.verbs = nil
		return
	}
	o.verbs = union(r.resource, o.verbs, r.verbs)
}

func union(resource schema.Resource, lists ...[]schema.Verb) []schema.Verb {
	all := slices.Concat(lists...)
	return slices.DeleteFunc(resource.Verbs(), func(v schema.Verb) bool { return !slices.Contains(all, v) })
}

// hold adds a denial in the place of a rule that could not be translated. Without it a
// broader rule would open what the rule held closed.
func (m *importer) hold(d *draft, resource schema.Resource, pattern schema.Pattern, line int) {
	m.add(d, &draftRule{resource: resource, pattern: pattern, lines: []int{line},
		remark: "has no equivalent, and is held closed"})
}

// render writes the policies.
func (m *importer) render() ([]byte, *Diagnostic) {
	if len(m.drafts) == 0 {
		d := m.at(1, Error, "there is no policy in the text", "nothing was imported")
		if len(m.leftOut) > 0 {
			d = m.leftOut[0]
		}
		return nil, &d
	}
	var b bytes.Buffer
	for _, left := range m.leftOut {
		fmt.Fprintf(&b, "# Left out, line %d: %s.\n", left.Line, left.Summary)
	}
	for _, d := range m.drafts {
		fmt.Fprintf(&b, "\npolicy %q {\n", d.name)
		if d.description != "" {
			fmt.Fprintf(&b, "  description = %s\n", hclString(d.description))
		}
		for _, r := range d.rules {
			r.write(&b)
		}
		b.WriteString("}\n")
	}
	out, diags := Format(m.file, b.Bytes())
	if !diags.HasErrors() {
		_, diags = Parse(m.file, out)
	}
	if diags.HasErrors() {
		d := m.at(1, Error, "the result would not be valid", diags[0].Summary)
		return nil, &d
	}
	return out, nil
}

func (r *draftRule) write(b *bytes.Buffer) {
	slices.Sort(r.lines)
	fmt.Fprintf(b, "\n  # %s", lineWords(slices.Compact(r.lines)))
	if r.remark != "" {
		fmt.Fprintf(b, " %s", r.remark)
	}
	var verbs []string
	for _, v := range r.verbs {
		verbs = append(verbs, fmt.Sprintf("%q", string(v)))
	}
	fmt.Fprintf(b, "\n  %s {\n    path = %s\n    capabilities = [%s]\n  }\n",
		r.resource, hclString(r.pattern.String()), strings.Join(verbs, ", "))
}

func lineWords(lines []int) string {
	if len(lines) == 1 {
		return fmt.Sprintf("Line %d", lines[0])
	}
	text := fmt.Sprintf("Lines %d", lines[0])
	for i, line := range lines[1:] {
		switch {
		case i == len(lines)-2:
			text += fmt.Sprintf(" and %d", line)
		default:
			text += fmt.Sprintf(", %d", line)
		}
	}
	return text
}

func hclString(text string) []byte {
	return hclwrite.TokensForValue(cty.StringVal(text)).Bytes()
}
