package policies

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// syntax translates what the HCL library reports. Texts of the library that repeat
// the input are replaced.
func syntax(problems hcl.Diagnostics) Diagnostics {
	var diags Diagnostics
	for _, problem := range problems {
		summary, detail := sentence(problem.Summary), sentence(problem.Detail)
		if own, echoes := ownWords[problem.Summary]; echoes {
			detail = own
		} else if strings.HasPrefix(problem.Summary, "Extra characters in") {
			summary, detail = "bad template", "policies are literal: nothing is computed"
		}
		one := Diagnostic{Severity: Error, Summary: summary, Detail: detail}
		if problem.Subject != nil {
			one.Span = span(*problem.Subject)
		}
		if n := len(diags); n > 0 && diags[n-1].Line == one.Line && diags[n-1].Column == one.Column {
			continue // the library follows up on its own report
		}
		diags = append(diags, one)
	}
	return diags
}

// ownWords replaces details of the HCL library that would repeat the input, or
// advise what policies do not allow.
var ownWords = map[string]string{
	"Attribute redefined":              "an attribute may be set only once in a block",
	"Argument definition required":     "a block on one line can hold only one attribute; put each on a line of its own",
	"Invalid legacy index syntax":      "policies are literal: nothing is computed",
	"Invalid escape sequence":          `the escape sequences are \n, \t, \", \\, \uNNNN and \UNNNNNNNN`,
	"Invalid string literal":           "policies are literal: nothing is computed",
	"Invalid template control keyword": "policies are literal: nothing is computed",
	"Unexpected end of template":       "policies are literal: nothing is computed",
	"Unexpected else directive":        "policies are literal: nothing is computed",
	"Invalid multi-line string":        `a quoted string stands on one line; write \n for a line feed`,
	"Unsupported operator":             "policies are literal: nothing is computed",
}

// sentence puts a sentence of the HCL library into the form of ours.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + strings.TrimSuffix(text[1:], ".")
}
