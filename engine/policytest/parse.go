package policytest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Parse reads test files against the policies they test. Fixtures and roles hold for
// all of the files. It reports every problem at once; the suite is nil when one is an
// error.
func Parse(files []File, set *policies.Set) (*Suite, policies.Diagnostics) {
	p := &parser{set: set, fixtures: map[string]facts{}, roles: builtinRoles(), places: map[string]hcl.Range{}}
	var bodies []*hclsyntax.Body
	for _, f := range files {
		body, diags := policies.Read(f.Name, f.Text)
		p.diags = append(p.diags, diags...)
		if body != nil {
			bodies = append(bodies, body)
		}
	}
	p.each(bodies, "role", p.role)
	p.each(bodies, "fixture", p.fixture)
	suite := &Suite{}
	for _, body := range bodies {
		suite.Cases = append(suite.Cases, p.file(body)...)
	}
	if p.diags = p.diags.Tidy(); p.diags.HasErrors() {
		return nil, p.diags
	}
	return suite, p.diags
}

// builtinRoles are the roles that come with the server: each holds the policy of its
// own name.
func builtinRoles() map[string][]string {
	return map[string][]string{"admin": {"admin"}, "deployer": {"deployer"}, "operator": {"operator"}, "viewer": {"viewer"}}
}

// parser checks the syntax trees of test files and collects what is wrong with them.
type parser struct {
	set      *policies.Set
	fixtures map[string]facts
	roles    map[string][]string  // role → policies
	places   map[string]hcl.Range // of what must be there once
	diags    policies.Diagnostics
}

func (p *parser) report(at hcl.Range, summary, detail string) {
	p.diags = append(p.diags, policies.Diagnostic{Span: policies.SpanOf(at), Severity: policies.Error, Summary: summary, Detail: detail})
}

// each calls read for the blocks of one type in all files.
func (p *parser) each(bodies []*hclsyntax.Body, kind string, read func(name string, block *hclsyntax.Block)) {
	for _, body := range bodies {
		for _, block := range body.Blocks {
			if block.Type != kind {
				continue
			}
			if name, ok := p.label(block); ok {
				read(name, block)
			}
		}
	}
}

// blockTypes are the blocks that a test file holds.
var blockTypes = []string{"fixture", "role", "test", "matrix"}

const fileHolds = `a test file holds blocks of the form test "name" { … }, matrix, fixture and role`

// file checks the top level of a file and returns its cases.
func (p *parser) file(body *hclsyntax.Body) []Case {
	for _, attr := range body.Attributes {
		p.report(attr.NameRange, "attribute outside a test", fileHolds)
	}
	var cases []Case
	for _, block := range body.Blocks {
		for _, inner := range block.Body.Blocks {
			p.report(inner.TypeRange, "unknown block", "a "+nounOf(block.Type)+" has attributes, and no blocks inside")
		}
		switch block.Type {
		case "fixture", "role": // read before
		case "test", "matrix":
			if name, ok := p.label(block); ok {
				cases = append(cases, p.test(name, block)...)
			}
		case "policy", "guardrail":
			p.report(block.TypeRange, block.Type+" in a test file", "policies stand in files of their own, beside this one")
		default:
			p.report(block.TypeRange, "unknown block", policies.DidYouMean(block.Type, blockTypes, fileHolds))
		}
	}
	return cases
}

func nounOf(blockType string) string {
	if slices.Contains(blockTypes, blockType) {
		return blockType
	}
	return "test"
}

// label returns the name of a block, which no other of its type has.
func (p *parser) label(block *hclsyntax.Block) (string, bool) {
	switch {
	case len(block.Labels) == 0 || block.Labels[0] == "":
		p.report(block.TypeRange, "the "+block.Type+" has no name", "write "+block.Type+` "name" { … }`)
		return "", false
	case len(block.Labels) > 1:
		p.report(block.LabelRanges[1], "the "+block.Type+" has more than one name", "write "+block.Type+` "name" { … }`)
		return "", false
	}
	if strings.ContainsFunc(block.Labels[0], func(r rune) bool { return r < ' ' || r > '~' }) {
		p.report(block.LabelRanges[0], "bad "+block.Type+" name", "a name is of printable ASCII characters")
		return "", false
	}
	key := block.Type + " " + block.Labels[0]
	if first, twice := p.places[key]; twice && first != block.LabelRanges[0] {
		p.report(block.LabelRanges[0], "two of one name", fmt.Sprintf("the first %s of this name is on line %d of %s", block.Type, first.Start.Line, first.Filename))
		return "", false
	}
	p.places[key] = block.LabelRanges[0]
	return block.Labels[0], true
}

// role reads a role: a name for some policies.
func (p *parser) role(name string, block *hclsyntax.Block) {
	if _, builtin := p.roles[name]; builtin {
		p.report(block.LabelRanges[0], "a role that comes with the server", "choose another name; admin, deployer, operator and viewer are there already")
		return
	}
	p.roles[name] = nil
	for _, attr := range inOrder(block) {
		if attr.Name != "policies" {
			p.report(attr.NameRange, "unknown attribute", policies.DidYouMean(attr.Name, []string{"policies"}, "a role has policies"))
			continue
		}
		p.roles[name] = p.policyNames(attr.Expr)
	}
}

// fixture reads what several tests share.
func (p *parser) fixture(name string, block *hclsyntax.Block) {
	f := newFacts()
	for _, attr := range inOrder(block) {
		if !p.fact(&f, attr) {
			p.report(attr.NameRange, "unknown attribute", policies.DidYouMean(attr.Name, factNames, "a fixture has "+strings.Join(factNames, ", ")))
		}
	}
	p.fixtures[name] = f
}

// test reads one test or matrix.
func (p *parser) test(name string, block *hclsyntax.Block) []Case {
	given := map[string]*hclsyntax.Attribute{}
	f := newFacts()
	if attr := block.Body.Attributes["use"]; attr != nil {
		if used, ok := p.text(attr.Expr); ok {
			if f, ok = p.fixtures[used]; !ok {
				p.report(attr.Expr.Range(), "unknown fixture", policies.DidYouMean(used, slices.Sorted(maps.Keys(p.fixtures)), `write fixture "name" { … } in any of the test files`))
			}
		}
	}
	own := testNames
	if block.Type == "matrix" {
		own = matrixNames
	}
	for _, attr := range inOrder(block) {
		switch {
		case attr.Name == "use":
		case slices.Contains(own, attr.Name):
			given[attr.Name] = attr
		case !p.fact(&f, attr):
			p.report(attr.NameRange, "unknown attribute", policies.DidYouMean(attr.Name, slices.Concat(own, []string{"use"}, factNames), "a "+block.Type+" has use, "+strings.Join(slices.Concat(own, factNames), ", ")))
		}
	}
	if block.Type == "matrix" {
		return p.matrix(name, block, f, given["cases"])
	}
	for _, word := range []string{"can", "path", "expect"} {
		if given[word] == nil {
			p.report(block.TypeRange, "the test does not say "+word, `it needs can = "secret:read", path = "prod/db" and expect = "allow" or "deny"`)
			return nil
		}
	}
	var cells []hclsyntax.Expression
	for _, word := range testNames {
		if given[word] != nil {
			cells = append(cells, given[word].Expr)
		} else {
			cells = append(cells, nil)
		}
	}
	return p.cases(name, block.TypeRange, f, cells)
}

// matrix reads a table of cases.
func (p *parser) matrix(name string, block *hclsyntax.Block, f facts, cases *hclsyntax.Attribute) []Case {
	const rows = `write cases = [["secret:read", "prod/db", "allow"]], with a reason and a rule behind if you like`
	if cases == nil {
		p.report(block.TypeRange, "the matrix has no cases", rows)
		return nil
	}
	list, ok := cases.Expr.(*hclsyntax.TupleConsExpr)
	if !ok || len(list.Exprs) == 0 {
		p.report(cases.Expr.Range(), "cases is not a list of rows", rows)
		return nil
	}
	var all []Case
	for i, row := range list.Exprs {
		cells, ok := row.(*hclsyntax.TupleConsExpr)
		if !ok || len(cells.Exprs) < 3 || len(cells.Exprs) > len(testNames) {
			p.report(row.Range(), "a row has three to five cells", rows)
			continue
		}
		five := append(slices.Clone(cells.Exprs), make([]hclsyntax.Expression, len(testNames)-len(cells.Exprs))...)
		all = append(all, p.cases(fmt.Sprintf("%s [%d]", name, i+1), row.Range(), f, five)...)
	}
	return all
}

// cases reads one row: capability, path, verdict, and perhaps reason and rule. It is a
// case for each capability of its first cell.
func (p *parser) cases(name string, at hcl.Range, f facts, cells []hclsyntax.Expression) []Case {
	before := len(p.diags)
	capabilities := p.capabilities(cells[0])
	path := p.path(cells[1])
	want := p.want(cells[2], cells[3], cells[4])
	if len(p.diags) > before {
		return nil
	}
	var all []Case
	for _, c := range capabilities {
		one := Case{File: at.Filename, Line: at.Start.Line, Name: name, Want: want, Call: f.call(p.roles)}
		if len(capabilities) > 1 {
			one.Name += " " + string(c.Verb)
		}
		one.Call.Capability, one.Call.Path = c, path
		all = append(all, one)
	}
	return all
}

// capabilities reads secret:read, secret:read,list or secret:*.
func (p *parser) capabilities(expr hclsyntax.Expression) []schema.Capability {
	text, ok := p.text(expr)
	if !ok {
		return nil
	}
	resource, list, _ := strings.Cut(text, ":")
	valid := schema.Resource(resource).Verbs()
	if valid == nil {
		p.report(expr.Range(), "unknown resource", policies.DidYouMean(resource, words(schema.Resources()), "write a capability such as secret:read, several such as secret:read,list, or all as secret:*"))
		return nil
	}
	var all []schema.Capability
	for _, verb := range strings.Split(list, ",") {
		switch {
		case verb == "*":
			for _, v := range valid {
				all = append(all, schema.Capability{Resource: schema.Resource(resource), Verb: v})
			}
		case !slices.Contains(valid, schema.Verb(verb)):
			p.report(expr.Range(), "unknown capability of "+resource, policies.DidYouMean(verb, words(valid), resource+" has "+strings.Join(words(valid), ", ")))
			return nil
		default:
			all = append(all, schema.Capability{Resource: schema.Resource(resource), Verb: schema.Verb(verb)})
		}
	}
	return all
}

func words[T ~string](list []T) []string {
	texts := make([]string, len(list))
	for i, one := range list {
		texts[i] = string(one)
	}
	return texts
}

func (p *parser) path(expr hclsyntax.Expression) schema.Path {
	text, ok := p.text(expr)
	if !ok {
		return schema.Path{}
	}
	path, err := schema.ParsePath(text)
	if err != nil {
		p.report(expr.Range(), "bad path", fault.Detail(err))
	}
	return path
}

// want reads the last three cells of a row, of which the last two may be nil.
func (p *parser) want(expect, reason, rule hclsyntax.Expression) (w Want) {
	if text, ok := p.text(expect); ok {
		w.Allow = text == "allow"
		if text != "allow" && text != "deny" {
			p.report(expect.Range(), "unknown verdict", policies.DidYouMean(text, []string{"allow", "deny"}, `write "allow" or "deny"`))
		}
	}
	if reason != nil {
		if text, ok := p.text(reason); ok && text != "" {
			w.Reason = schema.Reason(text)
			if !slices.Contains(reasons, w.Reason) {
				p.report(reason.Range(), "unknown reason", policies.DidYouMean(text, words(reasons), "the reasons are "+strings.Join(words(reasons), ", ")))
			} else if w.Allow != (w.Reason == schema.Granted) {
				p.report(reason.Range(), "verdict and reason do not fit", "granted is the reason of allow, and of nothing else")
			}
		}
	}
	if rule != nil {
		if text, ok := p.text(rule); ok {
			w.Policy, w.Line = p.rule(rule.Range(), text)
		}
	}
	return w
}

// reasons are those that policies give.
var reasons = []schema.Reason{
	schema.Granted, schema.NoRule, schema.ExplicitDeny, schema.CapabilityMissing,
	schema.ConditionFailed, schema.GuardrailDenied, schema.TemplateValue, schema.EvaluationFailed,
}

// rule reads policy, policy:line or policy:pattern.
func (p *parser) rule(at hcl.Range, text string) (policy string, line int) {
	policy, place, exact := strings.Cut(text, ":")
	found := p.set.Find(policy)
	if found == nil {
		p.report(at, "unknown policy", policies.DidYouMean(policy, p.names(), `write a rule as policy, policy:line or policy:pattern`))
		return "", 0
	}
	if !exact {
		return policy, 0
	}
	number, err := strconv.Atoi(place)
	var lines []string
	for _, r := range found.Rules {
		if err == nil && r.Line == number || err != nil && r.Pattern.String() == place {
			return policy, r.Line
		}
		lines = append(lines, fmt.Sprintf("%d (%s)", r.Line, r.Pattern))
	}
	p.report(at, "the policy has no such rule", "lines count from the first line of the policy's text, its comment included; its rules are on "+strings.Join(lines, ", "))
	return "", 0
}

func (p *parser) names() []string {
	var names []string
	for _, n := range p.set.Names() {
		names = append(names, n.String())
	}
	return names
}

// text returns a literal.
func (p *parser) text(expr hclsyntax.Expression) (string, bool) {
	text, ok := policies.Literal(expr)
	if !ok {
		p.report(expr.Range(), "not a quoted string", "write it between double quotes, with no ${…}, variable or function")
	}
	return text, ok
}

// texts returns a list of literals.
func (p *parser) texts(expr hclsyntax.Expression) []string {
	list, ok := expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		p.report(expr.Range(), "not a list", `write ["one", "other"]`)
		return nil
	}
	var all []string
	for _, item := range list.Exprs {
		if text, ok := p.text(item); ok {
			all = append(all, text)
		}
	}
	return all
}

// inOrder returns the attributes of a block as they are written.
func inOrder(block *hclsyntax.Block) []*hclsyntax.Attribute {
	return slices.SortedFunc(maps.Values(block.Body.Attributes), func(a, b *hclsyntax.Attribute) int {
		return a.NameRange.Start.Byte - b.NameRange.Start.Byte
	})
}
