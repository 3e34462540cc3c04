// Package audit is the trail: what was asked, by whom, what was decided, and what
// came of it, on record before the answer leaves.
//
// The door hands over an Entry; the Trail keeps it as a Record. A read, a list or
// a denial is one record. A mutation is two: an intent before the store is
// touched and an outcome after. Records are numbered without gaps, each holds the
// hash of the one before, and all of them are the leaves of one Merkle tree
// (RFC 6962), whose signed root is kept outside the data directory. So a record
// that was changed, dropped, moved or rolled back is noticed, by us at start and
// by anyone who holds a checkpoint and the public key.
//
//	Append → queue → one writer: number, link, hash, seal, write, fsync → answer
//	                                     └→ index, stored hashes, checkpoint (later, fsynced records only)
//
// On disk a record is sealed and lies in a segment, a file with a key of its own.
// Sealing is storage only: the hash is over the record's canonical bytes, the
// JSON that Record.JSON returns, so that proofs and exports outlive every key.
// FORMAT.md draws the files and says what a start does.
//
// If the trail cannot take a record, Append says so within five seconds and the
// door refuses the request; when the disk recovers, so does the trail.
package audit

import (
	"net/netip"
	"time"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Kind says what a record is about. The list is append-only.
type Kind string

// The kinds of record.
const (
	KindDecision   Kind = "decision"   // a read, a list or a denial: decision and outcome in one
	KindIntent     Kind = "intent"     // a mutation that was allowed and is about to be tried
	KindOutcome    Kind = "outcome"    // what came of an intent; same decision id
	KindEvent      Kind = "event"      // the server itself: start, stop, recovery
	KindDefinition Kind = "definition" // the names behind a digest; written by the trail, never by the door
)

// Entry is what the door hands over. It never holds a value.
type Entry struct {
	Kind     Kind
	Request  string            // request id; at most 64 printable characters are kept
	Decision schema.DecisionID // joins intent and outcome; may be empty for an event
	Method   string            // the RPC, such as "Secrets.Get", or the event
	Call     schema.Call       // principal, capability, path and context
	Version  schema.Version    // the version asked for; 0 is none or the current one
	Source   Source
	Result   schema.Decision
	Checks   []Check // further decisions that the call needed
	Outcome  Outcome // zero for an intent
	Latency  time.Duration
}

// Source is where a request came from.
type Source struct {
	Peer      string     // address and port of the connection
	Client    netip.Addr // the client's address, through trusted proxies only
	Forwarded string     // what the request claims; not trusted; only characters of addresses are kept, at most 128
	Agent     string     // user agent; at most 128 printable characters are kept
	Protocol  string     // "grpc", "rest", "system"
}

// Check is one further decision within a call, such as the right to bind a role.
type Check struct {
	Capability schema.Capability
	Path       schema.Path
	Allow      bool
	Reason     schema.Reason
	Rule       schema.RuleRef
}

// CodeOK is the Outcome.Code of success.
const CodeOK = "ok"

// Outcome is what came of a call.
type Outcome struct {
	Code     string          `json:"code"`               // CodeOK or a fault.Kind
	Revision schema.Revision `json:"revision,omitempty"` // store revision of the commit
	Count    int             `json:"count,omitempty"`    // items of a list
	Version  schema.Version  `json:"version,omitempty"`  // version read or made
}

// OutcomeOf returns the outcome for the error of a call: CodeOK for nil.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Outcome{Code: CodeOK}
	}
	return Outcome{Code: string(fault.KindOf(err))}
}

// Limits of what a client can put into a record.
const (
	maxRequest   = 64
	maxMethod    = 64
	maxPeer      = 64
	maxForwarded = 128
	maxAgent     = 128
	maxProtocol  = 16
	maxRecord    = 1 << 20 // packed bytes of one record
)

// bounded returns s cut to at most limit bytes, without the characters that keep
// refuses. It stops log injection and floods.
func bounded(s string, limit int, keep func(byte) bool) string {
	clean := len(s) <= limit
	for i := 0; clean && i < len(s); i++ {
		clean = keep(s[i])
	}
	if clean {
		return s
	}
	var b []byte
	for i := 0; i < len(s) && len(b) < limit; i++ {
		if keep(s[i]) {
			b = append(b, s[i])
		}
	}
	return string(b)
}

func printable(c byte) bool { return ' ' <= c && c <= '~' }

func ofAddress(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' ||
		c == '.' || c == ':' || c == ',' || c == ' ' || c == '[' || c == ']'
}
