package policies

import (
	"bytes"
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// source returns the bytes of a policy block with the comment lines directly above
// it, and the line of the file on which they begin. Parsing what it returns gives
// the same policy with the same source.
func (p *parser) source(block *hclsyntax.Block) (text []byte, line int) {
	start, end := block.TypeRange.Start, block.CloseBraceRange.End
	if end.Byte < start.Byte { // a block that was never closed
		end = block.Body.SrcRange.End
	}
	at := p.tokenAt(start.Byte)
	for at > 0 {
		before := at - 1
		if p.tokens[before].Type == hclsyntax.TokenNewline { // behind a comment between /* and */
			before--
		}
		if before < 0 || !p.comment(before) || start.Line-p.lastLine(before) > 1 {
			break
		}
		at, start = before, p.tokens[before].Range.Start
	}
	return bytes.Clone(p.text[start.Byte:max(start.Byte, end.Byte)]), start.Line
}

// tokenAt returns the index of the token that begins at a byte.
func (p *parser) tokenAt(at int) int {
	i, _ := slices.BinarySearchFunc(p.tokens, at, func(t hclsyntax.Token, at int) int { return t.Range.Start.Byte - at })
	return i
}

// comment reports whether the i-th token is a comment with nothing before it on its
// line.
func (p *parser) comment(i int) bool {
	start := p.tokens[i].Range.Start.Byte
	line := p.text[bytes.LastIndexByte(p.text[:start], '\n')+1 : start]
	return p.tokens[i].Type == hclsyntax.TokenComment && len(bytes.TrimLeft(line, " \t")) == 0
}

// lastLine returns the line on which the i-th token's text ends. The comment from #
// or // to the end of the line has the line feed in its token.
func (p *parser) lastLine(i int) int {
	t := p.tokens[i]
	if bytes.HasSuffix(t.Bytes, []byte("\n")) {
		return t.Range.End.Line - 1
	}
	return t.Range.End.Line
}
