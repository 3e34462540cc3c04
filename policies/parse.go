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

// file checks the top level: policy blocks and nothing else.
func (p *parser) file(body *hclsyntax.Body) []*Policy {
	for _, attr := range body.Attributes {
		p.report(attr.NameRange, "attribute outside a policy", `a file holds blocks of the form policy "name" { … }`)
	}
	var list []*Policy
	seen := map[string]hcl.Range{}
	for _, block := range body.Blocks {
		switch block.Type {
		case "policy":
			one := p.policy(block)
			if one.Name.IsZero() {
				continue
			}
			if first, twice := seen[one.Name.Fold()]; twice {
				p.report(block.LabelRanges[0], "two policies of one name",
					fmt.Sprintf("the first is on line %d; names that differ only by case count as the same", first.Start.Line))
				continue
			}
			seen[one.Name.Fold()] = block.LabelRanges[0]
			list = append(list, one)
		case "guardrail":
			p.report(block.TypeRange, "guardrails are not part of this release", `write the denial into a policy, as a block with capabilities = []`)
		default:
			p.report(block.TypeRange, "unknown block", didYouMean(block.Type, []string{"policy"}, `a file holds blocks of the form policy "name" { … }`))
		}
	}
	return list
}

// policy checks one policy block.
func (p *parser) policy(block *hclsyntax.Block) *Policy {
	text, first := p.source(block)
	one := &Policy{Name: p.name(block), Text: text, Digest: schema.DigestOf(text), First: first, Span: span(block.TypeRange)}
	if len(block.LabelRanges) > 0 {
		one.Span = span(block.LabelRanges[0])
	}
	for name, attr := range block.Body.Attributes {
		if name != "description" {
			p.report(attr.NameRange, "unknown attribute", didYouMean(name, []string{"description"}, "a policy has a description and resource blocks"))
			continue
		}
		if value, ok := p.literal(attr.Expr, "a description"); ok {
			one.Description = p.description(attr.Expr.Range(), value)
		}
	}
	lines := map[key]int{}
	for _, inner := range block.Body.Blocks {
		rule, ok := p.rule(inner)
		if !ok {
			continue
		}
		rule.Line = inner.TypeRange.Start.Line - first + 1
		id := key{rule.Resource, rule.Pattern}
		if line, twice := lines[id]; twice {
			p.report(p.pathRange(inner), "the pattern is there already",
				fmt.Sprintf("line %d has a %s block with the same path; write its capabilities into one block", line, rule.Resource))
			continue
		}
		lines[id] = inner.TypeRange.Start.Line
		one.Rules = append(one.Rules, rule)
	}
	return one
}

// key is what a policy may hold only one rule for.
type key struct {
	resource schema.Resource
	pattern  schema.Pattern
}

// name checks the label of a policy block.
func (p *parser) name(block *hclsyntax.Block) schema.Name {
	switch len(block.Labels) {
	case 0:
		p.missing(block.TypeRange, "the policy has no name", `write policy "name" { … }`)
		return schema.Name{}
	case 1:
	default:
		p.report(block.LabelRanges[1], "the policy has more than one name", `write policy "name" { … }`)
		return schema.Name{}
	}
	name, err := schema.ParseName(block.Labels[0])
	if block.Labels[0] == "" {
		p.report(block.LabelRanges[0], "the policy has no name", `write policy "name" { … }`)
	} else if err != nil && isASCII(block.Labels[0]) {
		p.report(block.LabelRanges[0], "bad policy name", fault.Detail(err))
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

// rule checks one resource block. ok is false when it names no pattern.
func (p *parser) rule(block *hclsyntax.Block) (rule Rule, ok bool) {
	rule.Resource = schema.Resource(block.Type)
	if rule.Resource.Verbs() == nil {
		p.report(block.TypeRange, "unknown resource", didYouMean(block.Type, resourceWords(), "the resources are "+strings.Join(resourceWords(), ", ")))
		return Rule{}, false
	}
	if len(block.LabelRanges) > 0 {
		p.report(block.LabelRanges[0], "a resource block takes no name", `write the pattern inside, as path = "prod/*"`)
	}
	for _, inner := range block.Body.Blocks {
		p.innerBlock(inner)
	}
	for name, attr := range block.Body.Attributes {
		switch name {
		case "path":
			rule.Pattern = p.pattern(attr.Expr)
		case "capabilities":
			rule.Verbs, rule.Deny = p.capabilities(rule.Resource, attr.Expr)
		default:
			p.report(attr.NameRange, "unknown attribute", didYouMean(name, []string{"path", "capabilities"}, "a resource block has path and capabilities"))
		}
	}
	p.required(block, rule.Resource)
	return rule, !rule.Pattern.IsZero()
}

// required reports the attributes that a resource block lacks. A misspelt attribute is
// not missing, too.
func (p *parser) required(block *hclsyntax.Block, resource schema.Resource) {
	path, capabilities := block.Body.Attributes["path"], block.Body.Attributes["capabilities"]
	for name := range block.Body.Attributes {
		if name != "path" && name != "capabilities" {
			return
		}
	}
	if path == nil {
		p.missing(block.TypeRange, "the block has no path", `write path = "prod/*", or path = "*" for everything`)
	}
	if capabilities == nil {
		p.missing(block.TypeRange, "the block has no capabilities", `write capabilities = ["`+string(resource.Verbs()[0])+`"], or capabilities = [] to deny`)
	}
}

func (p *parser) innerBlock(block *hclsyntax.Block) {
	if block.Type == "condition" {
		p.report(block.TypeRange, "conditions are not part of this release", "leave the block out only if the rule may hold at any time and from anywhere")
		return
	}
	p.report(block.TypeRange, "unknown block", "a resource block has path and capabilities, and no blocks inside")
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
	if strings.Contains(text, "{{") {
		p.report(expr.Range(), "templates are not part of this release", "write the pattern out, with + for one segment or a final * for any rest")
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
	given := map[string]bool{}
	for _, item := range list.Exprs {
		word, ok := p.literal(item, "a capability")
		switch {
		case !ok:
		case given[word]:
			p.report(item.Range(), "the capability is there already", "name each capability once")
		case word != "deny" && !slices.Contains(resource.Verbs(), schema.Verb(word)):
			p.report(item.Range(), "unknown capability of "+string(resource), didYouMean(word, verbWords(resource), string(resource)+" has "+strings.Join(verbWords(resource), ", ")))
		default:
			given[word] = true
		}
	}
	if given["deny"] && len(list.Exprs) > 1 {
		p.report(expr.Range(), "deny beside other capabilities", `["deny"] denies everything on the path; write it alone, or leave it out`)
	}
	verbs = slices.DeleteFunc(resource.Verbs(), func(v schema.Verb) bool { return !given[string(v)] })
	return verbs, given["deny"] || len(list.Exprs) == 0
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
