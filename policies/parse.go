package policies

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Parse reads the policies of one file, in the order of the text. It reports every
// problem at once; the policies are nil when one of them is an error. The file name
// is only used in ranges.
func Parse(file string, text []byte) ([]*Policy, Diagnostics) {
	tokens, diags, ok := scan(file, text)
	if !ok {
		return nil, diags.tidy()
	}
	parsed, problems := hclsyntax.ParseConfig(text, file, hcl.InitialPos)
	p := parser{text: text, tokens: tokens, diags: append(diags, syntax(problems)...), broken: problems.HasErrors()}
	body, ok := parsed.Body.(*hclsyntax.Body)
	if !ok {
		return nil, p.diags.tidy()
	}
	list := p.file(body)
	if p.diags.HasErrors() {
		return nil, p.diags.tidy()
	}
	return list, p.diags.tidy()
}

// parser checks the syntax tree of one file and collects what is wrong with it.
type parser struct {
	text   []byte
	tokens hclsyntax.Tokens
	diags  Diagnostics
	broken bool // the tree has holes: do not report what is missing
}

func (p *parser) report(at hcl.Range, summary, detail string) {
	p.diags = append(p.diags, Diagnostic{Span: span(at), Severity: Error, Summary: summary, Detail: detail})
}

// missing reports what is not there, unless it may have been lost with a syntax
// error.
func (p *parser) missing(at hcl.Range, summary, detail string) {
	if !p.broken {
		p.report(at, summary, detail)
	}
}

// file checks the top level: policy and guardrail blocks and nothing else.
func (p *parser) file(body *hclsyntax.Body) []*Policy {
	for _, attr := range body.Attributes {
		p.report(attr.NameRange, "attribute outside a policy", fileHint)
	}
	var list []*Policy
	seen := map[string]hcl.Range{}
	for _, block := range body.Blocks {
		if kind := Kind(block.Type); kind != KindPolicy && kind != KindGuardrail {
			p.report(block.TypeRange, "unknown block", didYouMean(block.Type, []string{"policy", "guardrail"}, fileHint))
			continue
		}
		one := p.policy(block)
		if one.Name.IsZero() {
			continue
		}
		if first, twice := seen[one.Name.Fold()]; twice {
			p.report(block.LabelRanges[0], "two policies of one name",
				fmt.Sprintf("the first is on line %d; guardrails count as policies, and names that differ only by case count as the same", first.Start.Line))
			continue
		}
		seen[one.Name.Fold()] = block.LabelRanges[0]
		list = append(list, one)
	}
	return list
}

const fileHint = `a file holds blocks of the form policy "name" { … } or guardrail "name" { … }`

// policy checks one policy or guardrail block.
func (p *parser) policy(block *hclsyntax.Block) *Policy {
	text, first := p.source(block)
	one := &Policy{Kind: Kind(block.Type), Name: p.name(block), Text: text, Digest: schema.DigestOf(text), First: first, Span: span(block.TypeRange)}
	if len(block.LabelRanges) > 0 {
		one.Span = span(block.LabelRanges[0])
	}
	for name, attr := range block.Body.Attributes {
		if name != "description" {
			p.report(attr.NameRange, "unknown attribute", didYouMean(name, []string{"description"}, "a "+block.Type+" has a description and resource blocks"))
			continue
		}
		if value, ok := p.literal(attr.Expr, "a description"); ok {
			one.Description = p.description(attr.Expr.Range(), value)
		}
	}
	one.Rules = p.rules(one.Kind, block.Body.Blocks, first)
	if one.Kind == KindGuardrail && one.locks(one) {
		p.report(block.TypeRange, "nobody could change the guardrail any more", lockHint)
	}
	return one
}

// rules checks the resource blocks of a policy whose text begins on the given line.
func (p *parser) rules(kind Kind, blocks hclsyntax.Blocks, first int) []Rule {
	var rules []Rule
	lines := map[key]int{}
	for _, block := range blocks {
		rule, ok := p.rule(kind, block)
		if !ok {
			continue
		}
		rule.Line = block.TypeRange.Start.Line - first + 1
		id := key{rule.Resource, rule.Pattern, rule.Condition.key()}
		if line, twice := lines[id]; twice {
			p.report(p.pathRange(block), "the pattern is there already",
				fmt.Sprintf("line %d has a %s block with the same path and the same condition; write them into one block", line, rule.Resource))
			continue
		}
		lines[id] = block.TypeRange.Start.Line
		rules = append(rules, rule)
	}
	return rules
}

// key is what a policy may hold only one rule for.
type key struct {
	resource  schema.Resource
	pattern   schema.Pattern
	condition string
}

// name checks the label of a policy block.
func (p *parser) name(block *hclsyntax.Block) schema.Name {
	switch len(block.Labels) {
	case 0:
		p.missing(block.TypeRange, "the "+block.Type+" has no name", "write "+block.Type+` "name" { … }`)
		return schema.Name{}
	case 1:
	default:
		p.report(block.LabelRanges[1], "the "+block.Type+" has more than one name", "write "+block.Type+` "name" { … }`)
		return schema.Name{}
	}
	name, err := schema.ParseName(block.Labels[0])
	if block.Labels[0] == "" {
		p.report(block.LabelRanges[0], "the "+block.Type+" has no name", "write "+block.Type+` "name" { … }`)
	} else if err != nil && isASCII(block.Labels[0]) {
		p.report(block.LabelRanges[0], "bad "+block.Type+" name", fault.Detail(err))
	}
	return name
}

// description checks what a literal may hide behind an escape sequence. What it does
// not hide was reported with the text.
func (p *parser) description(at hcl.Range, value string) string {
	unseen := func(r rune) bool { return r != '\n' && r != '\t' && unsafeRune(r) }
	if strings.ContainsFunc(value, unseen) && !bytes.ContainsFunc(at.SliceBytes(p.text), unseen) {
		p.report(at, "invisible control character", "control characters and characters that change the direction of writing are not allowed")
	}
	return value
}

// form is how the resource blocks of a kind are written.
type form struct {
	says  string // the attribute that says what the block does
	when  string // the block that says when
	other string // what the other kind has in place of when
	hint  string
}

var forms = map[Kind]form{
	KindPolicy:    {"capabilities", "condition", "unless", "a resource block of a policy has path, capabilities and a block condition"},
	KindGuardrail: {"deny", "unless", "condition", "a resource block of a guardrail has path, deny and a block unless"},
}

// rule checks one resource block. ok is false when it names no pattern.
func (p *parser) rule(kind Kind, block *hclsyntax.Block) (rule Rule, ok bool) {
	rule.Resource = schema.Resource(block.Type)
	if rule.Resource.Verbs() == nil {
		p.report(block.TypeRange, "unknown resource", didYouMean(block.Type, resourceWords(), "the resources are "+strings.Join(resourceWords(), ", ")))
		return Rule{}, false
	}
	if len(block.LabelRanges) > 0 {
		p.report(block.LabelRanges[0], "a resource block takes no name", `write the pattern inside, as path = "prod/*"`)
	}
	form := forms[kind]
	for name, attr := range block.Body.Attributes {
		switch {
		case name == "path":
			rule.Pattern = p.pattern(attr.Expr)
		case name != form.says:
			p.report(attr.NameRange, "unknown attribute", didYouMean(name, []string{"path", form.says}, form.hint))
		case kind == KindGuardrail:
			rule.Denies = p.denies(rule.Resource, attr.Expr)
		default:
			rule.Verbs, rule.Deny = p.capabilities(rule.Resource, attr.Expr)
		}
	}
	rule.Condition = p.when(form, block.Body.Blocks)
	p.required(block, rule.Resource, form)
	return rule, !rule.Pattern.IsZero()
}

// when checks the blocks inside a resource block: at most one, its condition.
func (p *parser) when(form form, blocks hclsyntax.Blocks) *Condition {
	var c *Condition
	for _, block := range blocks {
		switch {
		case block.Type == form.when && c != nil:
			p.report(block.TypeRange, "the block has two conditions", "all attributes of one must hold; for one condition or another, write the "+
				"resource block twice")
		case block.Type == form.when:
			c = p.condition(block)
		case block.Type == form.other:
			p.report(block.TypeRange, "the block does not belong here", "a policy's rule has a condition under which it holds, a guardrail's the circumstances unless which it denies")
		default:
			p.report(block.TypeRange, "unknown block", didYouMean(block.Type, []string{form.when}, form.hint))
		}
	}
	return c
}

// required reports the attributes that a resource block lacks. A misspelt attribute is
// not missing, too.
func (p *parser) required(block *hclsyntax.Block, resource schema.Resource, form form) {
	path, says := block.Body.Attributes["path"], block.Body.Attributes[form.says]
	for name := range block.Body.Attributes {
		if name != "path" && name != form.says {
			return
		}
	}
	if path == nil {
		p.missing(block.TypeRange, "the block has no path", `write path = "prod/*", or path = "*" for everything`)
	}
	if says == nil {
		hint := "write " + form.says + ` = ["` + string(resource.Verbs()[0]) + `"]`
		if form.says == "capabilities" {
			hint += ", or capabilities = [] to deny"
		}
		p.missing(block.TypeRange, "the block has no "+form.says, hint)
	}
}

func (p *parser) pathRange(block *hclsyntax.Block) hcl.Range {
	return block.Body.Attributes["path"].Expr.Range()
}

// pattern checks a path attribute.
func (p *parser) pattern(expr hclsyntax.Expression) schema.Pattern {
	text, ok := p.literal(expr, "a path")
	if !ok || !isASCII(text) {
		return schema.Pattern{}
	}
	pattern, err := schema.ParsePattern(text)
	if err != nil {
		p.report(expr.Range(), "bad path", fault.Detail(err))
	}
	return pattern
}

// capabilities checks a list of verbs. The empty list and ["deny"] deny.
func (p *parser) capabilities(resource schema.Resource, expr hclsyntax.Expression) (verbs []schema.Verb, deny bool) {
	list, ok := expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		p.report(expr.Range(), "capabilities is not a list", `write a list such as ["`+string(resource.Verbs()[0])+`"], or [] to deny`)
		return nil, false
	}
	given := p.verbs(resource, list, true)
	if given["deny"] && len(list.Exprs) > 1 {
		p.report(expr.Range(), "deny beside other capabilities", `["deny"] denies everything on the path; write it alone, or leave it out`)
	}
	return inOrder(resource, given), given["deny"] || len(list.Exprs) == 0
}

// denies checks the list of verbs that a guardrail denies.
func (p *parser) denies(resource schema.Resource, expr hclsyntax.Expression) []schema.Verb {
	list, ok := expr.(*hclsyntax.TupleConsExpr)
	if !ok || len(list.Exprs) == 0 {
		p.report(expr.Range(), "deny names no capability", `write a list such as ["`+string(resource.Verbs()[0])+`"]; a guardrail denies only what it names`)
		return nil
	}
	return inOrder(resource, p.verbs(resource, list, false))
}

// verbs checks the words of a list of verbs, among which "deny" may be.
func (p *parser) verbs(resource schema.Resource, list *hclsyntax.TupleConsExpr, deny bool) map[string]bool {
	given := map[string]bool{}
	for _, item := range list.Exprs {
		word, ok := p.literal(item, "a capability")
		switch {
		case !ok:
		case given[word]:
			p.report(item.Range(), "the capability is there already", "name each capability once")
		case !(deny && word == "deny") && !slices.Contains(resource.Verbs(), schema.Verb(word)):
			p.report(item.Range(), "unknown capability of "+string(resource), didYouMean(word, verbWords(resource), string(resource)+" has "+strings.Join(verbWords(resource), ", ")))
		default:
			given[word] = true
		}
	}
	return given
}

func inOrder(resource schema.Resource, given map[string]bool) []schema.Verb {
	return slices.DeleteFunc(resource.Verbs(), func(v schema.Verb) bool { return !given[string(v)] })
}

// literal returns the text of a quoted string without interpolation. Nothing in a
// policy is computed: what stands there is what holds.
func (p *parser) literal(expr hclsyntax.Expression, what string) (string, bool) {
	template, ok := expr.(*hclsyntax.TemplateExpr)
	if !ok {
		p.missing(expr.Range(), what+" is a quoted string", `write it between double quotes, with no ${…}, variable or function`)
		return "", false
	}
	var text strings.Builder
	for _, part := range template.Parts {
		value, ok := part.(*hclsyntax.LiteralValueExpr)
		if !ok || value.Val.Type() != cty.String {
			p.report(part.Range(), "interpolation is not allowed", `policies are literal: nothing is computed; for a dollar sign itself write "$${"`)
			return "", false
		}
		text.WriteString(value.Val.AsString())
	}
	return text.String(), true
}
