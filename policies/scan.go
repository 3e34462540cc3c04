package policies

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Limits of a policy file, checked before the HCL parser sees it: the parser
// recurses without a bound of its own, and a stack overflow cannot be recovered
// from.
const (
	MaxFileBytes = 64 << 10
	MaxDepth     = 32 // of brackets, and of operators altogether
)

// scan reads the file as tokens and reports what must not reach the parser, or the
// reader. ok is false when the text is not safe to parse.
func scan(file string, text []byte) (tokens hclsyntax.Tokens, diags Diagnostics, ok bool) {
	if len(text) > MaxFileBytes {
		return nil, Diagnostics{{Span: Span{File: file, Line: 1, Column: 1, EndLine: 1, EndColumn: 1}, Severity: Error,
			Summary: "the file is too large",
			Detail:  fmt.Sprintf("it has %d bytes; at most %d are allowed, so split it into several files", len(text), MaxFileBytes)}}, false
	}
	if diags = scanRunes(file, text); len(diags) > 0 && diags[0].Summary == notUTF8 {
		return nil, diags, false
	}
	if at, heredoc := scanBytes(text); heredoc {
		return nil, append(diags, Diagnostic{Span: spanAt(file, text, at), Severity: Error, Summary: "a heredoc is not allowed",
			Detail: `write a text between double quotes on one line, with \n for a line feed`}), false
	} else if at >= 0 {
		return nil, append(diags, tooDeep(spanAt(file, text, at))), false
	}
	tokens, _ = hclsyntax.LexConfig(text, file, hcl.InitialPos) // the parser reports what the lexer finds
	if deep := scanDepth(tokens); deep != nil {
		return nil, append(diags, *deep), false
	}
	return tokens, append(diags, scanASCII(tokens)...), true
}

const notUTF8 = "the file is not UTF-8"

// scanRunes reports bytes that are not UTF-8, and control and direction characters,
// which can make a text look other than it reads.
func scanRunes(file string, text []byte) Diagnostics {
	var diags Diagnostics
	line, column := 1, 1
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		at := Span{File: file, Line: line, Column: column, EndLine: line, EndColumn: column + 1}
		switch {
		case r == utf8.RuneError && size == 1:
			return Diagnostics{{Span: at, Severity: Error, Summary: notUTF8, Detail: "save it in the encoding UTF-8"}}
		case r == '\n':
			line, column = line+1, 0
		case r == '\r' && i+1 < len(text) && text[i+1] == '\n':
		case r != '\t' && unsafeRune(r):
			diags = append(diags, Diagnostic{Span: at, Severity: Error, Summary: "invisible control character",
				Detail: "control characters and characters that change the direction of writing are not allowed, not even in comments"})
		}
		i, column = i+size, column+1
	}
	return diags
}

// unsafeRune reports whether r is a control character or changes the direction of
// writing.
func unsafeRune(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u200b' || r == '\ufeff' || r == '\u2028' || r == '\u2029'
}

// scanBytes returns where the text is clearly nested too deeply, or where a heredoc
// begins, or -1. It refuses a bomb before the lexer makes a token of each of its bytes. It
// knows comments and quoted strings; what else it takes for an operator, a policy has no
// use for.
func scanBytes(text []byte) (at int, heredoc bool) {
	depth, operators := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '#', '/':
			if end := commentEnd(text[i:]); end > 0 {
				i += end - 1
				continue
			}
			operators++
		case '"':
			end, templates := stringEnd(text[i:])
			i, operators = i+end-1, operators+templates
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			depth = max(0, depth-1)
		case '<':
			if bytes.HasPrefix(text[i:], []byte("<<")) {
				return i, true
			}
			operators++
		case '!', '-', '+', '*', '%', '?', ':', '&', '|', '>', '^', '~', '.', '$':
			operators++
		}
		if depth > MaxDepth || operators > MaxDepth {
			return i, false
		}
	}
	return -1, false
}

// commentEnd returns the length of the comment at the start of the text, or 0.
func commentEnd(text []byte) int {
	closing := ""
	switch {
	case text[0] == '#', bytes.HasPrefix(text, []byte("//")):
		closing = "\n"
	case bytes.HasPrefix(text, []byte("/*")):
		closing = "*/"
	default:
		return 0
	}
	if end := bytes.Index(text[1:], []byte(closing)); end >= 0 {
		return 1 + end + len(closing)
	}
	return len(text)
}

// stringEnd returns the length of the quoted string at the start of the text, and how
// many templates begin in it.
func stringEnd(text []byte) (length, templates int) {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '{':
			if text[i-1] == '$' || text[i-1] == '%' {
				templates++
			}
		case '"', '\n':
			return i + 1, templates
		}
	}
	return len(text), templates
}

// spanAt returns the place of one byte.
func spanAt(file string, text []byte, at int) Span {
	start := bytes.LastIndexByte(text[:at], '\n') + 1
	line, column := 1+bytes.Count(text[:at], []byte("\n")), 1+utf8.RuneCount(text[start:at])
	return Span{File: file, Line: line, Column: column, EndLine: line, EndColumn: column + 1}
}

// scanDepth reports nesting that is too deep for the parser. Operators count
// altogether, because chains of some of them nest in the parser without brackets;
// policies need none.
func scanDepth(tokens hclsyntax.Tokens) *Diagnostic {
	depth, operators := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen:
			depth = max(0, depth-1)
		case hclsyntax.TokenTemplateSeqEnd:
			depth = max(0, depth-1)
		case hclsyntax.TokenTemplateControl:
			depth++
			operators++
		default:
			if !plain[t.Type] {
				operators++
			}
		}
		if depth > MaxDepth || operators > MaxDepth {
			deep := tooDeep(span(t.Range))
			return &deep
		}
	}
	return nil
}

func tooDeep(at Span) Diagnostic {
	return Diagnostic{Span: at, Severity: Error, Summary: "the text is nested too deeply",
		Detail: fmt.Sprintf("at most %d levels, and as many operators, are allowed; a policy needs three and none", MaxDepth)}
}

// plain are the tokens that cannot make the parser recurse.
var plain = map[hclsyntax.TokenType]bool{
	hclsyntax.TokenIdent: true, hclsyntax.TokenEqual: true, hclsyntax.TokenComma: true, hclsyntax.TokenNumberLit: true,
	hclsyntax.TokenOQuote: true, hclsyntax.TokenCQuote: true, hclsyntax.TokenQuotedLit: true, hclsyntax.TokenStringLit: true,
	hclsyntax.TokenOHeredoc: true, hclsyntax.TokenCHeredoc: true, hclsyntax.TokenComment: true, hclsyntax.TokenNewline: true,
	hclsyntax.TokenEOF: true, hclsyntax.TokenApostrophe: true, hclsyntax.TokenBacktick: true, hclsyntax.TokenSemicolon: true,
	hclsyntax.TokenTabs: true, hclsyntax.TokenInvalid: true, hclsyntax.TokenBadUTF8: true, hclsyntax.TokenQuotedNewline: true,
	hclsyntax.TokenColon: true, hclsyntax.TokenDot: true,
}

// scanASCII reports characters beyond ASCII outside comments and descriptions. HCL
// turns strings into Unicode's composed form, so that a rule written in the
// decomposed form would cover another path than its text shows.
func scanASCII(tokens hclsyntax.Tokens) Diagnostics {
	var diags Diagnostics
	for i, t := range tokens {
		if t.Type == hclsyntax.TokenComment || t.Type == hclsyntax.TokenInvalid || isASCII(t.Bytes) || inDescription(tokens, i) {
			continue
		}
		diags = append(diags, Diagnostic{Span: span(t.Range), Severity: Error, Summary: "character outside ASCII",
			Detail: "letters with accents and the like may stand in comments and in descriptions only"})
	}
	return diags
}

func inDescription(tokens hclsyntax.Tokens, i int) bool {
	return i >= 3 && tokens[i].Type == hclsyntax.TokenQuotedLit && tokens[i-1].Type == hclsyntax.TokenOQuote &&
		tokens[i-2].Type == hclsyntax.TokenEqual && string(tokens[i-3].Bytes) == "description"
}

func isASCII[T string | []byte](text T) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
