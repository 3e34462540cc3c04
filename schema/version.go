package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/heroctl/heroctl/schema/fault"
)

// Version numbers the values of one secret, or the revisions of one policy: 1,
// 2, 3 and so on, never reused, even after delete. Zero means the current one.
type Version uint32

// String returns the number in decimal.
func (v Version) String() string { return strconv.FormatUint(uint64(v), 10) }

// ParseVersion parses a decimal version from 1 to 4294967295.
func ParseVersion(text string) (Version, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		return 0, fault.New(fault.InvalidArgument, "a version is a whole number from 1 to 4294967295")
	}
	return Version(n), nil
}

// Revision numbers the commits of the store; it only grows. One revision covers
// secrets, policies, bindings, tokens and jobs. Zero is before the first commit.
type Revision uint64

// Digest is the SHA-256 of a text. The zero Digest is of nothing.
type Digest [sha256.Size]byte

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest { return sha256.Sum256(b) }

// String returns lower-case hexadecimal, or "" for the zero Digest.
func (d Digest) String() string {
	if d == (Digest{}) {
		return ""
	}
	return hex.EncodeToString(d[:])
}

// Short returns the first 12 hexadecimal digits, for people.
func (d Digest) Short() string {
	text := d.String()
	return text[:min(12, len(text))]
}

// ParseDigest parses what String returns.
func ParseDigest(text string) (Digest, error) {
	var d Digest
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(d) {
		return Digest{}, fault.New(fault.InvalidArgument, "a digest is 64 hexadecimal digits")
	}
	copy(d[:], b)
	return d, nil
}

// MarshalText encodes the digest as String does.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText decodes what MarshalText made.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	var err error
	*d, err = ParseDigest(string(text))
	return err
}

// DecisionID names one decision. It is a UUID of version 7 (RFC 9562), so that
// ids sort by time. The empty DecisionID names none.
type DecisionID string

// NewDecisionID returns a fresh id.
func NewDecisionID() DecisionID { return DecisionID(uuid.Must(uuid.NewV7()).String()) }

// ParseDecisionID parses an id in its canonical lower-case form.
func ParseDecisionID(text string) (DecisionID, error) {
	id, err := uuid.Parse(text)
	if err != nil || id.String() != text {
		return "", fault.New(fault.InvalidArgument, "a decision id looks like 019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b")
	}
	return DecisionID(text), nil
}

// TimeLayout is how times are written in records and answers: RFC 3339 in UTC,
// with microseconds always shown so that texts sort as times do.
const TimeLayout = "2006-01-02T15:04:05.000000Z"

// FormatTime writes t in UTC with TimeLayout.
func FormatTime(t time.Time) string { return t.UTC().Format(TimeLayout) }
