package policies

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/heroctl/heroctl/schema/fault"
)

// maxDiagnostics bounds how many problems of one file are told.
const maxDiagnostics = 50

// Severity says whether a diagnostic refuses the text. The list is append-only.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Span is a range of a file. Lines and columns count from 1; the end is just
// behind the last character. Columns count characters, not bytes. The zero Span is
// nowhere.
type Span struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndLine   int    `json:"end_line"`
	EndColumn int    `json:"end_column"`
}

// Diagnostic is one problem of a policy text. It never repeats the text: the range
// tells where to look, and the words are the language's own. That is what lets it
// travel over the API, while Render draws the line from the file at hand.
type Diagnostic struct {
	Span
	Severity Severity `json:"severity"`
	Summary  string   `json:"summary"`          // lower case, no period
	Detail   string   `json:"detail,omitempty"` // what would be right
}

// Diagnostics are the problems of one or more files, sorted by place, each told
// once. As an error they are of kind fault.InvalidPolicy.
type Diagnostics []Diagnostic

// Err returns d as an error, or nil when nothing in it refuses the text.
func (d Diagnostics) Err() error {
	if d.HasErrors() {
		return d
	}
	return nil
}

// HasErrors reports whether a diagnostic refuses the text.
func (d Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(d, func(one Diagnostic) bool { return one.Severity == Error })
}

// Error returns one line for each diagnostic.
func (d Diagnostics) Error() string {
	lines := make([]string, len(d))
	for i, one := range d {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes d match its kind.
func (d Diagnostics) Unwrap() error { return fault.InvalidPolicy }

// String returns "file:line:column: error: summary; detail".
func (d Diagnostic) String() string {
	text := d.headline()
	if d.Detail != "" {
		text += "; " + d.Detail
	}
	return text
}

func (d Diagnostic) headline() string {
	return fmt.Sprintf("%s:%d:%d: %s: %s", d.File, d.Line, d.Column, d.Severity, d.Summary)
}

// Render writes the diagnostics for a person, each with its line of source and
// carets under the range. Without source, or with one that has no such line, the
// line is left out.
//
//	deploy.hcl:5:21: error: secret has no such capability
//	    5 |   capabilities = ["raed", "list"]
//	      |                   ^^^^^^
//	  did you mean "read"?
func (d Diagnostics) Render(w io.Writer, source []byte) error {
	lines := bytes.Split(source, []byte("\n"))
	var text strings.Builder
	for _, one := range d {
		text.WriteString(one.headline() + "\n")
		if one.Line >= 1 && one.Line <= len(lines) && len(source) > 0 {
			one.renderLine(&text, strings.TrimRight(string(lines[one.Line-1]), "\r"))
		}
		if one.Detail != "" {
			text.WriteString("  " + one.Detail + "\n")
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// renderLine draws a source line and the carets below it. Characters that could
// steer a terminal or reorder the line are drawn as "?".
func (d Diagnostic) renderLine(text *strings.Builder, line string) {
	line = strings.Map(func(r rune) rune {
		if r != '\t' && unsafeRune(r) {
			return '?'
		}
		return r
	}, line)
	fmt.Fprintf(text, "%5d | %s\n      | ", d.Line, line)
	column := 1
	for _, r := range line {
		if column == d.Column {
			break
		}
		if r != '\t' {
			r = ' '
		}
		text.WriteRune(r)
		column++
	}
	width := 1
	if d.EndLine == d.Line {
		width = max(1, d.EndColumn-d.Column)
	} else if rest := len([]rune(line)) - d.Column + 1; rest > 1 {
		width = rest
	}
	text.WriteString(strings.Repeat("^", width) + "\n")
}

// span translates a range of the HCL library.
func span(r hcl.Range) Span {
	return Span{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column, EndLine: r.End.Line, EndColumn: r.End.Column}
}

// tidy sorts the diagnostics, drops repetitions and keeps the first maxDiagnostics.
func (d Diagnostics) tidy() Diagnostics {
	slices.SortStableFunc(d, func(a, b Diagnostic) int {
		return cmp.Or(
			strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column,
			strings.Compare(a.Summary, b.Summary), strings.Compare(a.Detail, b.Detail),
		)
	})
	d = slices.Compact(d)
	if len(d) <= maxDiagnostics {
		return d
	}
	last := d[maxDiagnostics]
	last.Summary, last.Detail = "too many problems", "the rest is left out; correct those above first"
	return append(d[:maxDiagnostics:maxDiagnostics], last)
}
