package policies

import (
	_ "embed"
	"fmt"
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
func (p *Policy) ModuleFile() string { return "policy/" + p.Name.String() + ".rego" }

// Module compiles the policy to its Rego module, in the layout of opa fmt.
//
// Each block becomes one rule of the partial set "block". The element tells all that
// the decision needs to know of the block, in one fixed shape; the body tells which
// resources it covers. Strings enter only through quote.
func (p *Policy) Module() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Compiled from policy %s.\n", p.Name)
	fmt.Fprintf(&b, "package %s\n", packagePath(p.Name))
	for _, rule := range p.Rules {
		p.write(&b, rule)
	}
	return []byte(b.String())
}

// write appends the rule of one block.
func (p *Policy) write(b *strings.Builder, r Rule) {
	fmt.Fprintf(b, "\n# line %d: %s %s\n", r.Line, r.Resource, r.Pattern)
	b.WriteString("block contains {\n")
	fmt.Fprintf(b, "\t\"rank\": %s,\n", quote(r.Pattern.Rank()))
	b.WriteString("\t\"rule\": {\n")
	fmt.Fprintf(b, "\t\t\"policy\": %s,\n", quote(p.Name.String()))
	fmt.Fprintf(b, "\t\t\"digest\": %s,\n", quote(p.Digest.String()))
	fmt.Fprintf(b, "\t\t\"line\": %d,\n", r.Line)
	b.WriteString("\t},\n")
	fmt.Fprintf(b, "\t\"deny\": %t,\n", r.Deny)
	r.writeCapabilities(b)
	b.WriteString("} if {\n")
	fmt.Fprintf(b, "\tinput.resource.type == %s\n", quote(string(r.Resource)))
	for _, condition := range covers(r.Pattern) {
		b.WriteString("\t" + condition + "\n")
	}
	b.WriteString("}\n")
}

// writeCapabilities appends the set of capabilities that the block grants, implied
// ones too, one to a line when there are several.
func (r Rule) writeCapabilities(b *strings.Builder) {
	verbs := r.Grants()
	switch len(verbs) {
	case 0:
		b.WriteString("\t\"capabilities\": set(),\n")
		return
	case 1:
		fmt.Fprintf(b, "\t\"capabilities\": {%s},\n", r.capability(verbs[0]))
		return
	}
	b.WriteString("\t\"capabilities\": {\n")
	for _, verb := range verbs {
		fmt.Fprintf(b, "\t\t%s,\n", r.capability(verb))
	}
	b.WriteString("\t},\n")
}

func (r Rule) capability(verb schema.Verb) string {
	return quote(schema.Capability{Resource: r.Resource, Verb: verb}.String())
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
// is not a Rego word.
func packagePath(name schema.Name) string {
	return ast.Ref{ast.VarTerm("heroctl"), ast.StringTerm("policy"), ast.StringTerm(name.String())}.String()
}

// quote returns the text as a Rego string. It is the only way for a string to enter
// a module.
func quote(text string) string { return ast.String(text).String() }
