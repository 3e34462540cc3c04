package policies

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Read returns the syntax tree of a text under the guards that hold for policies: its
// size, its depth and its characters. It is for texts that stand beside policies, such
// as their tests, and for tools that need the place of a word. The body is nil when
// something is wrong.
func Read(file string, text []byte) (*hclsyntax.Body, Diagnostics) {
	_, diags, ok := scan(file, text)
	if !ok {
		return nil, diags.tidy()
	}
	parsed, problems := hclsyntax.ParseConfig(text, file, hcl.InitialPos)
	if diags = append(diags, syntax(problems)...).tidy(); diags.HasErrors() {
		return nil, diags
	}
	body, _ := parsed.Body.(*hclsyntax.Body)
	return body, diags
}

// Literal returns the text of a quoted string in which nothing is computed, and whether
// the expression is one.
func Literal(expr hclsyntax.Expression) (string, bool) {
	template, ok := expr.(*hclsyntax.TemplateExpr)
	if !ok {
		return "", false
	}
	var text strings.Builder
	for _, part := range template.Parts {
		value, ok := part.(*hclsyntax.LiteralValueExpr)
		if !ok || value.Val.Type() != cty.String {
			return "", false
		}
		text.WriteString(value.Val.AsString())
	}
	return text.String(), true
}

// SpanOf translates a range of the HCL library.
func SpanOf(r hcl.Range) Span { return span(r) }

// Tidy returns the diagnostics sorted by place, each told once, and no more of them than
// a person reads.
func (d Diagnostics) Tidy() Diagnostics { return d.tidy() }

// DidYouMean returns a hint with the valid word nearest to the given one before the
// fallback, or the fallback alone. The given word itself is never repeated.
func DidYouMean(given string, valid []string, fallback string) string {
	return didYouMean(given, valid, fallback)
}
