package policies

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/heroctl/heroctl/schema"
)

//go:embed authz.rego
var mainModule string

// Main returns the Rego module that decides; it is the same for every set. Its answer
// is data.heroctl.authz.answer.
func Main() []byte { return []byte(mainModule) }

// MainFile is the name under which CompileRego returns Main.
const MainFile = "authz.rego"

// CompileRego returns the set as Rego modules by file name: Main and one module for
// each policy. Stock OPA decides with them as heroctl does:
//
//	opa eval -d DIR -i input.json data.heroctl.authz.answer
//
// The same set gives the same bytes.
func CompileRego(s *Set) map[string][]byte {
	files := map[string][]byte{MainFile: Main()}
	for _, p := range s.sorted {
		files[p.ModuleFile()] = p.Module()
	}
	return files
}

// ModuleFile is the name under which CompileRego returns the policy's module.
func (p *Policy) ModuleFile() string { return string(p.Kind) + "/" + p.Name.String() + ".rego" }

// Module compiles the policy to its Rego module, in the layout of opa fmt.
//
// Each block becomes one rule of the partial set "block". The element tells all that
// the decision needs to know of the block, in one fixed shape; the body tells which
// resources it covers. A condition becomes one named check for each attribute. Strings
// enter only through quote.
func (p *Policy) Module() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Compiled from %s %s.\n", p.Kind, p.Name)
	fmt.Fprintf(&b, "package %s\n", packagePath(p.Kind, p.Name))
	for _, rule := range p.Rules {
		p.write(&b, rule)
		if rule.Pattern.HasTemplate() {
			p.writeSuspect(&b, rule)
		}
		rule.writeChecks(&b, p.Kind)
	}
	return []byte(b.String())
}

// write appends the rule of one block. What does not hold of the condition of a grant or
// of an exception is told in the element. A denial is there only when its condition holds,
// and a guardrail's block only when its exception does not.
func (p *Policy) write(b *strings.Builder, r Rule) {
	fmt.Fprintf(b, "\n# line %d: %s %s\n", r.Line, r.Resource, r.Pattern)
	b.WriteString("block contains {\n")
	fmt.Fprintf(b, "\t\"rank\": %s,\n", quote(r.Pattern.Rank()))
	b.WriteString("\t\"rule\": {\n")
	for _, line := range p.ref(r) {
		b.WriteString("\t\t" + line + ",\n")
	}
	b.WriteString("\t},\n")
	if p.Kind == KindGuardrail {
		r.writeCapabilities(b, "denies", r.Denies)
	} else {
		fmt.Fprintf(b, "\t\"deny\": %t,\n", r.Deny)
		r.writeCapabilities(b, "capabilities", r.Grants())
	}
	switch {
	case r.Condition != nil && !r.Deny:
		fmt.Fprintf(b, "\t\"unmet\": %s,\n", r.check("unmet"))
	case p.Kind == KindGuardrail:
		b.WriteString("\t\"unmet\": set(),\n")
	}
	b.WriteString("} if {\n")
	r.writeCovers(b)
	for i, segment := range r.Pattern.Segments() {
		if value, ok := templateValues[schema.Template(segment)]; ok {
			fmt.Fprintf(b, "\tsplit(input.resource.id, \"/\")[%d] == %s\n", i, value)
		}
	}
	if r.Deny {
		for _, name := range r.Condition.Attributes() {
			b.WriteString("\t" + r.check(name) + "\n")
		}
	}
	if p.Kind == KindGuardrail && r.Condition != nil {
		fmt.Fprintf(b, "\tcount(%s) > 0\n", r.check("unmet"))
	}
	b.WriteString("}\n")
}

// writeSuspect appends the rule of a block whose template would have a value with
// characters of a pattern.
func (p *Policy) writeSuspect(b *strings.Builder, r Rule) {
	fmt.Fprintf(b, "\n# line %d: a value that reads as a pattern\n", r.Line)
	b.WriteString("suspect contains {\n")
	for _, line := range p.ref(r) {
		b.WriteString("\t" + line + ",\n")
	}
	b.WriteString("} if {\n")
	r.writeCovers(b)
	var values []string
	for _, segment := range r.Pattern.Segments() {
		if value, ok := templateValues[schema.Template(segment)]; ok && !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	fmt.Fprintf(b, "\tsome value in [%s]\n", strings.Join(values, ", "))
	b.WriteString("\tsome mark in [\"*\", \"+\", \"/\"]\n\tcontains(value, mark)\n}\n")
}

// templateValues are what templates stand for in the input.
var templateValues = map[schema.Template]string{
	schema.TemplateUser: "input.subject.id",
	schema.TemplateJob:  "input.subject.properties.job",
}

// ref returns the fields that name the rule.
func (p *Policy) ref(r Rule) []string {
	return []string{
		`"policy": ` + quote(p.Name.String()),
		`"digest": ` + quote(p.Digest.String()),
		fmt.Sprintf(`"line": %d`, r.Line),
	}
}

// writeCovers appends the conditions under which the block speaks about the resource,
// whatever its templates stand for.
func (r Rule) writeCovers(b *strings.Builder) {
	fmt.Fprintf(b, "\tinput.resource.type == %s\n", quote(string(r.Resource)))
	for _, condition := range covers(r.Pattern.Widened()) {
		b.WriteString("\t" + condition + "\n")
	}
}

// writeCapabilities appends a set of capabilities, one to a line when there are
// several.
func (r Rule) writeCapabilities(b *strings.Builder, name string, verbs []schema.Verb) {
	words := make([]string, len(verbs))
	for i, verb := range verbs {
		words[i] = quote(schema.Capability{Resource: r.Resource, Verb: verb}.String())
	}
	if len(words) == 0 {
		fmt.Fprintf(b, "\t%q: set(),\n", name)
		return
	}
	fmt.Fprintf(b, "\t%q: {%s},\n", name, spread("\t", words))
}

// spread joins words by commas, one to a line when there are several.
func spread(indent string, words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return "\n" + indent + "\t" + strings.Join(words, ",\n"+indent+"\t") + ",\n" + indent
}

// covers returns the Rego conditions under which the pattern covers the resource.
// They are chosen for OPA's rule index, which knows equality, literal prefixes, and
// globs whose "*" is a whole segment. In a glob our "+" is "*", and our final "*" is
// "**". A glob's "*" takes an empty segment, too: paths have none, but the zero path,
// which only "*" covers, is one empty segment.
func covers(p schema.Pattern) []string {
	const id = "input.resource.id"
	text, literal := p.String(), p.Literal()
	var conditions []string
	switch {
	case text == "*":
		return nil
	case p.Exact():
		return []string{id + " == " + quote(text)}
	case text == "+":
		conditions = append(conditions, id+` != ""`)
	case literal != "" && p.Open():
		conditions = append(conditions, fmt.Sprintf("startswith(%s, %s)", id, quote(literal)))
	}
	if !strings.Contains(text, "+") {
		return conditions
	}
	glob := strings.ReplaceAll(text, "+", "\x00")
	glob = strings.ReplaceAll(strings.ReplaceAll(glob, "*", "**"), "\x00", "*")
	return append(conditions, fmt.Sprintf(`glob.match(%s, ["/"], %s)`, quote(glob), id))
}

// packagePath returns heroctl.policy.<name>, or heroctl.policy["<name>"] where the name
// is not a Rego word. The packages of guardrails are in heroctl.guardrail.
func packagePath(kind Kind, name schema.Name) string {
	return ast.Ref{ast.VarTerm("heroctl"), ast.StringTerm(string(kind)), ast.StringTerm(name.String())}.String()
}

// quote returns the text as a Rego string. It is the only way for a string to enter
// a module.
func quote(text string) string { return ast.String(text).String() }
