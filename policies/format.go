package policies

import (
	"bytes"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format returns the text in its canonical layout: HCL's own, with Unix line ends
// and one at the end. Formatting what Format returned changes nothing. Text that is
// not HCL is left alone and comes back as diagnostics; text that is HCL but not a
// valid policy is formatted.
func Format(file string, text []byte) ([]byte, Diagnostics) {
	if _, diags, ok := scan(file, text); !ok {
		return nil, diags.tidy()
	}
	if _, problems := hclsyntax.ParseConfig(text, file, hcl.InitialPos); problems.HasErrors() {
		return nil, syntax(problems).tidy()
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	// The layout of a line may depend on that of the lines around it; it settles
	// after a pass or two.
	for range 8 {
		next := append(bytes.Trim(hclwrite.Format(text), "\n"), '\n')
		if bytes.Equal(next, text) {
			break
		}
		text = next
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	return text, nil
}
