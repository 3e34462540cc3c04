package schema

import (
	"strings"

	"github.com/heroctl/heroctl/schema/fault"
)

// Limits of a path.
const (
	MaxPathBytes    = 512
	MaxPathSegments = 16
	MaxSegmentBytes = 128
)

// Path is the canonical name of a resource: 1 to 16 segments joined by "/". A
// segment is [A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_-])? of at most 128 bytes;
// the whole is at most 512. Only ParsePath makes one, so a Path in hand is
// clean. The zero Path names nothing. Paths are comparable; case matters.
type Path struct{ text string }

// ParsePath is the one parser of paths: REST, gRPC, CLI, HCL, job specs, audit
// and restore all use it. It rejects and never repairs. The error is of kind
// fault.InvalidPath and says which segment is wrong without repeating it.
func ParsePath(text string) (Path, error) {
	if text == "" {
		return Path{}, fault.New(fault.InvalidPath, "the path is empty")
	}
	if len(text) > MaxPathBytes {
		return Path{}, fault.Newf(fault.InvalidPath, "the path is %d bytes long; at most %d are allowed", len(text), MaxPathBytes)
	}
	count, rest, more := 0, text, true
	for more {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		count++
		if count > MaxPathSegments {
			return Path{}, fault.Newf(fault.InvalidPath, "the path has more than %d segments", MaxPathSegments)
		}
		if problem := CheckSegment(segment); problem != "" {
			return Path{}, fault.Newf(fault.InvalidPath, "segment %d of the path %s", count, problem)
		}
	}
	return Path{text}, nil
}

// MustPath is ParsePath for paths written in the program's own text. It panics
// on a bad one.
func MustPath(text string) Path {
	p, err := ParsePath(text)
	if err != nil {
		panic("schema: bad constant path: " + err.Error())
	}
	return p
}

// CheckSegment says what is wrong with one segment, or "".
func CheckSegment(segment string) string {
	switch {
	case segment == "":
		return `is empty; write one "/" between segments and none at the ends`
	case len(segment) > MaxSegmentBytes:
		return "is longer than 128 bytes"
	}
	for i := 0; i < len(segment); i++ {
		if !isSegmentByte(segment[i]) {
			return "has a character outside A-Z a-z 0-9 . _ -"
		}
	}
	if first := segment[0]; first == '.' || first == '-' {
		return `starts with "` + string(first) + `"; start with a letter, a digit or "_"`
	}
	if segment[len(segment)-1] == '.' {
		return `ends with "."; end with a letter, a digit, "_" or "-"`
	}
	return ""
}

func isSegmentByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '-'
}

// String returns the path as written.
func (p Path) String() string { return p.text }

// IsZero reports whether p names nothing.
func (p Path) IsZero() bool { return p.text == "" }

// Segments returns the segments in order.
func (p Path) Segments() []string {
	if p.text == "" {
		return nil
	}
	return strings.Split(p.text, "/")
}

// Fold returns the path in lower case. Two paths with the same Fold may not both
// exist.
func (p Path) Fold() string { return strings.ToLower(p.text) }

// Under reports whether p equals prefix or lies below it.
func (p Path) Under(prefix Prefix) bool {
	q := prefix.path.text
	if q == "" {
		return true
	}
	return strings.HasPrefix(p.text, q) && (len(p.text) == len(q) || p.text[len(q)] == '/')
}

// Prefix selects a subtree of paths for listing: everything, or one path and all
// below it. It is a type of its own so that it cannot be used as a Path. The
// zero Prefix selects everything.
type Prefix struct{ path Path }

// ParsePrefix parses a path as a prefix; "" selects everything. A trailing "/"
// is an error, as it is in a path.
func ParsePrefix(text string) (Prefix, error) {
	if text == "" {
		return Prefix{}, nil
	}
	p, err := ParsePath(text)
	return Prefix{p}, err
}

// String returns the prefix as written.
func (p Prefix) String() string { return p.path.text }

// Path returns the path of the prefix; it is zero for the prefix that selects
// everything.
func (p Prefix) Path() Path { return p.path }

// Name is the name of a user, role, policy or job: a path of one segment.
type Name struct{ text string }

// ParseName parses a name. The error is of kind fault.InvalidPath.
func ParseName(text string) (Name, error) {
	if problem := CheckSegment(text); problem != "" {
		return Name{}, fault.New(fault.InvalidPath, "the name "+problem)
	}
	return Name{text}, nil
}

// MustName is ParseName for names written in the program's own text.
func MustName(text string) Name {
	n, err := ParseName(text)
	if err != nil {
		panic("schema: bad constant name: " + err.Error())
	}
	return n
}

// String returns the name as written.
func (n Name) String() string { return n.text }

// IsZero reports whether n names nothing.
func (n Name) IsZero() bool { return n.text == "" }

// Path returns the name as a path.
func (n Name) Path() Path { return Path{n.text} }

// Fold returns the name in lower case. Two names with the same Fold may not both
// exist.
func (n Name) Fold() string { return strings.ToLower(n.text) }
