package policytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/heroctl/heroctl/policies"
)

// Rego returns the suite as Rego test modules by file name, one for each test file, to
// stand beside the modules of policies.CompileRego. Stock OPA runs them with the same
// verdicts:
//
//	opa test DIR
//
// The same suite gives the same bytes.
func (s *Suite) Rego(set *policies.Set) (map[string][]byte, error) {
	zones := policies.Zones(set.All())
	texts, order := map[string]*bytes.Buffer{}, map[string]int{}
	for _, c := range s.Cases {
		b := texts[c.File]
		if b == nil {
			b = &bytes.Buffer{}
			fmt.Fprintf(b, "# Compiled from %s.\npackage %s\n", oneLine(c.File), packageOf(c.File))
			texts[c.File] = b
		}
		order[c.File]++
		c.Call.Context = inZones(c.Call.Context, zones)
		if err := c.rego(b, order[c.File]); err != nil {
			return nil, err
		}
	}
	files, taken := map[string][]byte{}, map[string]bool{}
	for _, c := range s.Cases {
		if taken[c.File] {
			continue
		}
		taken[c.File] = true
		name := "test/" + strings.TrimSuffix(filepath.Base(c.File), ".hcl")
		for files[name+".rego"] != nil { // two folders may have files of one name
			name += "_test"
		}
		files[name+".rego"] = texts[c.File].Bytes()
	}
	return files, nil
}

// packageOf returns the Rego package of a file's tests.
func packageOf(file string) string {
	return ast.Ref{ast.VarTerm("heroctl"), ast.StringTerm("test"), ast.StringTerm(file)}.String()
}

// rego writes one case as a Rego test.
func (c Case) rego(b *bytes.Buffer, number int) error {
	input, err := json.MarshalIndent(c.Call.Input(), "\t", "\t")
	if err != nil {
		return fmt.Errorf("%s:%d: %w", c.File, c.Line, err)
	}
	fmt.Fprintf(b, "\n# line %d: %s\ntest_%s_%d if {\n", c.Line, oneLine(c.Name), slug(c.Name), number)
	fmt.Fprintf(b, "\tanswer := data.heroctl.authz.answer with input as %s\n", input)
	fmt.Fprintf(b, "\tanswer.decision == %t\n", c.Want.Allow)
	if c.Want.Reason != "" {
		fmt.Fprintf(b, "\tanswer.context.reason == %s\n", ast.String(c.Want.Reason))
	}
	if c.Want.Policy != "" {
		fmt.Fprintf(b, "\tanswer.context.rules[0].policy == %s\n", ast.String(c.Want.Policy))
	}
	if c.Want.Line > 0 {
		fmt.Fprintf(b, "\tanswer.context.rules[0].line == %d\n", c.Want.Line)
	}
	b.WriteString("}\n")
	return nil
}

// oneLine keeps a name from ending the comment it stands in.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text)
}

// slug returns a name as a word of Rego.
func slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	return strings.Trim(b.String(), "_")
}
