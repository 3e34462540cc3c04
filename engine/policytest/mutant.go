package policytest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/rogpeppe/go-internal/diff"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// Mutant is a policy file with one mistake in it, of the kind that people make.
type Mutant struct {
	File string
	Line int    // where the mistake is
	What string // "drop the rule", "add the capability delete"

	owner     string          // the policy or guardrail that changed
	guardrail bool            // the owner is a guardrail, which holds for everybody
	resource  schema.Resource // that the changed block speaks about; "" for more than one
	text      []byte          // of the file; every line stands where it stood
	shown     []byte          // of the file, as a person would have written it
	before    []byte
	set       *policies.Set
}

// Diff returns the mistake as a diff of the file.
func (m Mutant) Diff() string {
	return string(diff.Diff(m.File, m.before, m.File+" (with the mistake)", m.shown))
}

// String returns "deploy.hcl:4: drop the rule".
func (m Mutant) String() string { return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.What) }

// Mutants returns every mistake that can be made in the files, in the order of the
// text. A change is no mistake when it does not parse, or when what it compiles to is
// what was there: the same blocks in another order, or a capability that is implied.
func Mutants(files []File, set *policies.Set) []Mutant {
	var all []Mutant
	for _, f := range files {
		body, diags := policies.Read(f.Name, f.Text)
		original, more := policies.Parse(f.Name, f.Text)
		if diags.HasErrors() || more.HasErrors() {
			continue
		}
		m := mutator{file: f, meaning: meaning(original)}
		for _, block := range body.Blocks {
			m.owner, m.guardrail = block.Labels[0], block.Type == "guardrail"
			m.top(block)
		}
		slices.SortStableFunc(m.found, func(a, b Mutant) int { return a.Line - b.Line })
		for _, one := range m.found {
			if parsed, ok := m.parse(one.text); ok {
				one.set = replace(set, original, parsed)
				all = append(all, one)
			}
		}
	}
	return all
}

// mutator makes the mutants of one file.
type mutator struct {
	file      File
	meaning   string
	owner     string
	guardrail bool
	found     []Mutant
}

// parse returns the policies of a mutant, if they are some and mean something else.
func (m *mutator) parse(text []byte) ([]*policies.Policy, bool) {
	parsed, diags := policies.Parse(m.file.Name, text)
	if diags.HasErrors() {
		return nil, false
	}
	return parsed, meaning(parsed) != m.meaning
}

// replace returns the set with the policies of a file exchanged.
func replace(set *policies.Set, before, after []*policies.Policy) *policies.Set {
	var gone []schema.Name
	for _, p := range before {
		if !slices.ContainsFunc(after, func(q *policies.Policy) bool { return q.Name == p.Name }) {
			gone = append(gone, p.Name)
		}
	}
	return set.With(after, gone)
}

// meaning returns what the policies compile to, without what only names the place of a
// block, and with the blocks in one order.
func meaning(list []*policies.Policy) string {
	var all []string
	for _, p := range list {
		blocks := strings.Split(string(p.Module()), "\n\n")
		for i, block := range blocks {
			lines := slices.DeleteFunc(strings.Split(block, "\n"), func(line string) bool {
				word := strings.TrimSpace(line)
				return strings.HasPrefix(word, "#") || strings.HasPrefix(word, `"digest":`) || strings.HasPrefix(word, `"line":`)
			})
			blocks[i] = strings.TrimSpace(strings.Join(lines, "\n"))
		}
		slices.Sort(blocks[1:])
		all = append(all, strings.Join(blocks, "\n\n"))
	}
	slices.Sort(all)
	return strings.Join(all, "\n\n")
}

// edit is one exchange of text.
type edit struct {
	at   hcl.Range
	with string
}

// add keeps a mutant that comes of the edits, which do not overlap.
func (m *mutator) add(at hcl.Range, resource schema.Resource, what string, edits ...edit) {
	slices.SortFunc(edits, func(a, b edit) int { return b.at.Start.Byte - a.at.Start.Byte })
	text, shown := m.file.Text, m.file.Text
	for _, e := range edits {
		start, end := e.at.Start.Byte, e.at.End.Byte
		lost := bytes.Count(text[start:end], []byte("\n"))
		text = splice(text, start, end, e.with+strings.Repeat("\n", lost))
		if e.with == "" {
			start, end = wholeLines(shown, start, end)
		}
		shown = splice(shown, start, end, e.with)
	}
	m.found = append(m.found, Mutant{
		File: m.file.Name, Line: at.Start.Line, What: what,
		owner: m.owner, guardrail: m.guardrail, resource: resource, text: text, shown: shown, before: m.file.Text,
	})
}

func splice(text []byte, start, end int, with string) []byte {
	return slices.Concat(text[:start], []byte(with), text[end:])
}

// wholeLines widens a range to the lines it stands on, when nothing else does, and to
// an empty line behind.
func wholeLines(text []byte, start, end int) (int, int) {
	first := bytes.LastIndexByte(text[:start], '\n') + 1
	rest := text[end:]
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	if len(bytes.TrimSpace(text[first:start])) > 0 || len(bytes.TrimSpace(line)) > 0 {
		return start, end
	}
	end = min(len(text), end+len(line)+1)
	if end < len(text) && text[end] == '\n' {
		end++
	}
	return first, end
}

// top makes the mutants of a policy or a guardrail.
func (m *mutator) top(block *hclsyntax.Block) {
	if block.Type == "guardrail" {
		m.add(block.TypeRange, "", "drop the guardrail", edit{at: wholeBlock(block)})
	}
	for i, rule := range block.Body.Blocks {
		m.rule(block, rule)
		for _, other := range block.Body.Blocks[i+1:] {
			m.swap(rule, other)
		}
	}
}

// rule makes the mutants of one resource block.
func (m *mutator) rule(parent, block *hclsyntax.Block) {
	resource := schema.Resource(block.Type)
	what := "drop the rule"
	if list := capabilityList(block); list != nil && denies(list) {
		what = "drop the deny"
	}
	if parent.Type == "policy" || len(parent.Body.Blocks) > 1 {
		m.add(block.TypeRange, resource, what, edit{at: wholeBlock(block)})
	}
	if list := capabilityList(block); list != nil {
		m.capabilities(resource, list)
	}
	if path := block.Body.Attributes["path"]; path != nil {
		m.path(resource, path)
	}
	for _, inner := range block.Body.Blocks {
		m.condition(resource, inner)
	}
}

// capabilityList returns the list of what a block grants, or of what a guardrail denies.
func capabilityList(block *hclsyntax.Block) *hclsyntax.TupleConsExpr {
	for _, name := range []string{"capabilities", "deny"} {
		if attr := block.Body.Attributes[name]; attr != nil {
			list, _ := attr.Expr.(*hclsyntax.TupleConsExpr)
			return list
		}
	}
	return nil
}

func denies(list *hclsyntax.TupleConsExpr) bool {
	words := literals(list)
	return len(words) == 0 || slices.Equal(words, []string{"deny"})
}

func literals(list *hclsyntax.TupleConsExpr) []string {
	var words []string
	for _, item := range list.Exprs {
		word, _ := policies.Literal(item)
		words = append(words, word)
	}
	return words
}

// capabilities removes each capability of a list, and adds each that is not there.
func (m *mutator) capabilities(resource schema.Resource, list *hclsyntax.TupleConsExpr) {
	have := literals(list)
	if denies(list) {
		have = nil
	}
	for i, word := range have {
		rest := slices.Delete(slices.Clone(have), i, i+1)
		m.add(list.SrcRange, resource, "remove the capability "+word, edit{list.SrcRange, written(rest)})
	}
	for _, verb := range resource.Verbs() {
		if !slices.Contains(have, string(verb)) {
			m.add(list.SrcRange, resource, "add the capability "+string(verb), edit{list.SrcRange, written(append(slices.Clone(have), string(verb)))})
		}
	}
}

// written returns a list of words as HCL.
func written(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = `"` + word + `"`
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// path widens and narrows each segment of a pattern.
func (m *mutator) path(resource schema.Resource, attr *hclsyntax.Attribute) {
	text, ok := policies.Literal(attr.Expr)
	if !ok {
		return
	}
	segments := strings.Split(text, "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		prefix, open := strings.CutSuffix(segment, "*")
		switch {
		case segment == "*":
			m.segment(resource, attr, segments, i, "narrow", "+")
		case open:
			m.segment(resource, attr, segments, i, "widen", "*")
			m.segment(resource, attr, segments, i, "narrow", prefix)
		case segment == "+" && last:
			m.segment(resource, attr, segments, i, "widen", "*")
		case segment != "+":
			m.segment(resource, attr, segments, i, "widen", "+")
		}
	}
}

func (m *mutator) segment(resource schema.Resource, attr *hclsyntax.Attribute, segments []string, i int, how, to string) {
	changed := slices.Clone(segments)
	changed[i] = to
	m.add(attr.Expr.Range(), resource, fmt.Sprintf("%s the segment %s to %s", how, segments[i], to), edit{attr.Expr.Range(), `"` + strings.Join(changed, "/") + `"`})
}

// swap exchanges the patterns of two blocks of one resource.
func (m *mutator) swap(a, b *hclsyntax.Block) {
	one, other := a.Body.Attributes["path"], b.Body.Attributes["path"]
	if a.Type != b.Type || one == nil || other == nil {
		return
	}
	at, behind := one.Expr.Range(), other.Expr.Range()
	m.add(at, schema.Resource(a.Type), fmt.Sprintf("swap the patterns of lines %d and %d", at.Start.Line, behind.Start.Line),
		edit{at, string(behind.SliceBytes(m.file.Text))}, edit{behind, string(at.SliceBytes(m.file.Text))})
}

// wholeBlock returns the range of a block from its type to its closing brace.
func wholeBlock(block *hclsyntax.Block) hcl.Range {
	return hcl.RangeBetween(block.TypeRange, block.CloseBraceRange)
}
