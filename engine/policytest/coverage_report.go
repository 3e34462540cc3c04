package policytest

import (
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

// Text writes the policies with a mark before each line that says something: "+" when
// the tests touched all of it, "-" when not, and then what is missing.
//
//	deploy.hcl
//	   5 +    capabilities = ["read"]
//	  10 -    capabilities = []          ← no test: denies
//	coverage: 1 of 2 covered (50.0 %)
//
// Files that are covered are only named.
func (c Coverage) Text(w io.Writer) error {
	var b strings.Builder
	for _, f := range c.files {
		lines := c.lines(f)
		if !slices.ContainsFunc(lines, func(l line) bool { return l.Mark == "-" }) {
			fmt.Fprintf(&b, "%s  all covered\n", f.Name)
			continue
		}
		fmt.Fprintln(&b, f.Name)
		for _, l := range lines {
			text := strings.TrimRight(fmt.Sprintf("%4d %s %s", l.Number, l.Mark, l.Text), " ")
			if len(l.Missing) > 0 {
				text += "   ← no test: " + strings.Join(l.Missing, ", ")
			}
			fmt.Fprintln(&b, text)
		}
	}
	fmt.Fprintf(&b, "coverage: %s\n", c.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// page is the HTML report. It is one file and has no script.
var page = template.Must(template.New("coverage").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Policy coverage</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c1e21; background: #fff; }
pre { font: 13px/1.5 ui-monospace, monospace; border: 1px solid #d5d8dc; border-radius: 6px; padding: .5rem 0; overflow-x: auto; }
pre span { display: block; padding: 0 .75rem; white-space: pre; }
pre i { color: #83888f; font-style: normal; display: inline-block; width: 3.5em; user-select: none; }
.yes { background: #e3f6e5; } .no { background: #fde4e1; } b { color: #b3261e; font-weight: 600; }
td, th { text-align: left; padding: .15rem 1.5rem .15rem 0; }
@media (prefers-color-scheme: dark) {
body { color: #e3e5e8; background: #17191c; } pre { border-color: #3a3e44; } .yes { background: #14331b; } .no { background: #441b18; } b { color: #ff8a80; } }
</style>
</head>
<body>
<h1>Policy coverage</h1>
<p>{{.Summary}}</p>
<table>
<tr><th>File</th><th>Covered</th></tr>
{{range $i, $f := .Files}}<tr><td><a href="#f{{$i}}">{{$f.Name}}</a></td><td>{{$f.Covered}} of {{$f.Total}}</td></tr>
{{end}}</table>
{{range $i, $f := .Files}}<h2 id="f{{$i}}">{{$f.Name}}</h2>
<pre>{{range $f.Lines}}<span{{if eq .Mark "+"}} class="yes"{{else if eq .Mark "-"}} class="no"{{end}}><i>{{.Number}} {{.Mark}}</i>{{.Text}}{{if .Missing}}   <b>no test:{{range $j, $m := .Missing}}{{if $j}},{{end}} {{$m}}{{end}}</b>{{end}}</span>{{end}}</pre>
{{end}}</body>
</html>
`))

type pageFile struct {
	Name           string
	Covered, Total int
	Lines          []line
}

// HTML writes the report as one page that needs nothing else.
func (c Coverage) HTML(w io.Writer) error {
	data := struct {
		Summary string
		Files   []pageFile
	}{Summary: c.Summary()}
	for _, f := range c.files {
		one := pageFile{Name: f.Name, Lines: c.lines(f)}
		for _, item := range c.Items {
			if item.File == f.Name {
				one.Total++
				if item.Covered {
					one.Covered++
				}
			}
		}
		data.Files = append(data.Files, one)
	}
	return page.Execute(w, data)
}
