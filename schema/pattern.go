package schema

import (
	"fmt"
	"strings"

	"github.com/heroctl/heroctl/schema/fault"
)

// Pattern selects paths. The grammar is Vault's: literal segments as in a Path;
// "+" is any one whole segment; "*" as the very last character is any rest, "/"
// included, the empty rest too. "prod/*" covers prod/db and prod/admin/key, not
// prod; "prod*" covers all of these and production/x; "*" covers everything. A
// segment may also be a Template, which stands for an attribute of the principal;
// a pattern with one covers nothing until it is bound, see Bind. Only ParsePattern
// makes one. Patterns are comparable; case matters. The zero Pattern covers
// nothing.
type Pattern struct{ text string }

// wild are the characters with which the part of a pattern begins that is not
// literal. No segment of a path has one of them.
const wild = "+*{"

// ParsePattern is the one parser of patterns. It rejects and never repairs. The
// error is of kind fault.InvalidPath and says which segment is wrong without
// repeating it.
func ParsePattern(text string) (Pattern, error) {
	if text == "" {
		return Pattern{}, fault.New(fault.InvalidPath, `the pattern is empty; write "*" for everything`)
	}
	if len(text) > MaxPathBytes {
		return Pattern{}, fault.Newf(fault.InvalidPath, "the pattern is %d bytes long; at most %d are allowed", len(text), MaxPathBytes)
	}
	segments := strings.Split(text, "/")
	if len(segments) > MaxPathSegments {
		return Pattern{}, fault.Newf(fault.InvalidPath, "the pattern has more than %d segments", MaxPathSegments)
	}
	for i, segment := range segments {
		if problem := checkPatternSegment(segment, i == len(segments)-1); problem != "" {
			return Pattern{}, fault.Newf(fault.InvalidPath, "segment %d of the pattern %s", i+1, problem)
		}
	}
	return Pattern{text}, nil
}

// MustPattern is ParsePattern for patterns written in the program's own text. It
// panics on a bad one.
func MustPattern(text string) Pattern {
	p, err := ParsePattern(text)
	if err != nil {
		panic("schema: bad constant pattern: " + err.Error())
	}
	return p
}

// checkPatternSegment says what is wrong with one segment of a pattern, or "".
func checkPatternSegment(segment string, last bool) string {
	switch {
	case segment == "+", last && segment == "*", isTemplate(segment):
		return ""
	case strings.Contains(segment, "{"), strings.Contains(segment, "}"):
		return templateProblem
	case strings.Contains(segment, "+*"):
		return `is "+*", which is not allowed; write "+/*" or "*"`
	case strings.Contains(segment, "+"):
		return `has a "+" beside other characters; "+" stands for one whole segment`
	}
	literal, star := strings.CutSuffix(segment, "*")
	if strings.Contains(literal, "*") || star && !last {
		return `has a "*" before the end; "*" may only be the very last character of the pattern`
	}
	if !star {
		return CheckSegment(segment)
	}
	// What stands before the star may be completed by more characters, so that
	// only its beginning is bound by the rules of a segment.
	if len(literal) == MaxSegmentBytes {
		literal = literal[:MaxSegmentBytes-1]
	}
	return CheckSegment(literal + "_")
}

// String returns the pattern as written.
func (p Pattern) String() string { return p.text }

// Segments returns the segments in order.
func (p Pattern) Segments() []string {
	if p.text == "" {
		return nil
	}
	return strings.Split(p.text, "/")
}

// IsZero reports whether p covers nothing.
func (p Pattern) IsZero() bool { return p.text == "" }

// Matches reports whether the pattern covers the path. It is the definition that
// everything faster is held against. The zero Path, which stands for "no path in
// particular", is covered by "*" alone.
func (p Pattern) Matches(path Path) bool {
	if path.IsZero() || p.IsZero() {
		return p.text == "*"
	}
	want, have := strings.Split(p.text, "/"), path.Segments()
	for i, segment := range want {
		if prefix, star := strings.CutSuffix(segment, "*"); star {
			return i < len(have) && strings.HasPrefix(have[i], prefix)
		}
		if i == len(have) || segment != "+" && segment != have[i] {
			return false
		}
	}
	return len(want) == len(have)
}

// Literal returns what every path that the pattern covers starts with: the text
// before the first "+", "*" or template.
func (p Pattern) Literal() string {
	if i := strings.IndexAny(p.text, wild); i >= 0 {
		return p.text[:i]
	}
	return p.text
}

// Exact reports whether the pattern has no "+", no "*" and no template, so that it
// covers one path.
func (p Pattern) Exact() bool { return !p.IsZero() && !strings.ContainsAny(p.text, wild) }

// Open reports whether the pattern ends in "*".
func (p Pattern) Open() bool { return strings.HasSuffix(p.text, "*") }

// Rank returns a text whose byte order is the order of priority: of two patterns
// that cover a path, the one with the larger Rank is the more specific and wins.
// The order is Vault's, made total: first the pattern whose first "+" or "*" comes
// later, then one that does not end in "*", then fewer "+", then the longer, then
// the lexically larger. A template is a wildcard where it begins, and is not a "+";
// the text is ranked as written.
//
//	"005 open 16 006 prod/*"
//	  │   │   │   │    └ the pattern
//	  │   │   │   └ its length
//	  │   │   └ how many of 16 segments are not "+"
//	  │   └ "open" with a final "*", else "shut"
//	  └ where the first "+", "*" or template is; 999 without
func (p Pattern) Rank() string {
	first, end := strings.IndexAny(p.text, wild), "shut"
	if first < 0 {
		first = 999
	}
	if p.Open() {
		end = "open"
	}
	return fmt.Sprintf("%03d %s %02d %03d %s", first, end, MaxPathSegments-strings.Count(p.text, "+"), len(p.text), p.text)
}

// Compare orders patterns by priority: it is negative when p is less specific than
// q, positive when it is more specific, and 0 when they are the same pattern.
func (p Pattern) Compare(q Pattern) int { return strings.Compare(p.Rank(), q.Rank()) }
