// Package fault is the closed list of ways a request can fail.
//
// A Kind is itself an error, so errors.Is(err, fault.NotFound) holds through any
// wrapping. An Error adds two parts to its kind: a detail, which may be shown to
// the caller and therefore never contains input or a value, and a cause, which
// is for the operator's log only. Translation to HTTP, gRPC and exit codes
// happens in one file of the gateway; nothing else decides status codes.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Kind is a class of failure. The list is append-only: kinds are stored in the
// trail and sent over the wire.
type Kind string

// The kinds. The text is the wire form.
const (
	InvalidArgument Kind = "invalid_argument"    // a request that can never succeed as written
	InvalidPath     Kind = "invalid_path"        // a path or name outside the grammar
	InvalidPolicy   Kind = "invalid_policy"      // policy text with diagnostics
	Unauthenticated Kind = "unauthenticated"     // no valid token
	Denied          Kind = "denied"              // decided: no
	NotFound        Kind = "not_found"           // permitted, and not there
	Conflict        Kind = "conflict"            // exists already, or compare-and-set lost
	FailedCheck     Kind = "failed_precondition" // permitted, but the present state forbids it
	TooLarge        Kind = "too_large"           // over a size limit
	RateLimited     Kind = "rate_limited"        // over a rate; try again later
	Unsupported     Kind = "unsupported"         // method, media type or feature this server does not have
	Unavailable     Kind = "unavailable"         // cannot answer now; nothing was done
	Sealed          Kind = "sealed"              // the root key is not at hand
	Integrity       Kind = "integrity"           // stored data failed authentication
	Compacted       Kind = "compacted"           // a resume point older than what is kept
	Canceled        Kind = "canceled"            // the caller went away
	Timeout         Kind = "timeout"             // the deadline passed
	Internal        Kind = "internal"            // a defect; the cause is in the server's log
)

// Error returns the wire form.
func (k Kind) Error() string { return string(k) }

// Error is a failure of some kind, with a detail fit for the caller and a cause
// that is not.
type Error struct {
	Kind   Kind
	Detail string // lower case, no period, no input; may be empty
	Cause  error  // for the operator only; may be nil
}

// Error gives kind, detail and cause. It is for logs: the edge shows Kind and
// Detail only.
func (e *Error) Error() string {
	text := string(e.Kind)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap makes the error match both its kind and its cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// New returns an error of the kind with a detail for the caller.
func New(kind Kind, detail string) error { return &Error{Kind: kind, Detail: detail} }

// Newf is New with formatting. The arguments must be fit for the caller.
func Newf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// Wrap returns an error of the kind with a detail for the caller and a cause for
// the operator. A nil cause is allowed.
func Wrap(kind Kind, detail string, cause error) error {
	return &Error{Kind: kind, Detail: detail, Cause: cause}
}

// KindOf returns the kind of err: that of the outermost Error or Kind in its
// tree, Canceled or Timeout for the context's errors, and Internal for foreign
// errors. It returns "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Internal
}

// Detail returns the part of err that may be shown to the caller, or "".
func Detail(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return ""
}
