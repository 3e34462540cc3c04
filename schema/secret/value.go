// Package secret holds plaintext so that it cannot be printed, encoded or
// compared by accident.
//
// The bytes sit behind a closure: fmt, spew and cmp walk unexported fields and
// pointers by reflection but cannot enter a function. Printing gives a mask;
// encoding fails, because a mask that gets stored is data loss.
package secret

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Mask is what every printer shows in place of a value.
const Mask = "[secret]"

// ErrEncode is returned by every encoder of a Value.
var ErrEncode = errors.New("secret: a value cannot be encoded; use Expose at the border")

// Value is a plaintext. The zero Value is empty. It is safe for concurrent
// reading; Wipe must not race with Expose.
type Value struct{ open func() []byte }

// New takes ownership of b: the caller must not use it afterwards.
func New(b []byte) Value { return Value{open: func() []byte { return b }} }

// Len returns the length in bytes.
func (v Value) Len() int {
	if v.open == nil {
		return 0
	}
	return len(v.open())
}

// Expose hands the bytes to use. It is a border crossing: keep the closure to a
// few lines, and do not let the slice outlive it.
func (v Value) Expose(use func([]byte)) {
	if v.open == nil {
		use(nil)
		return
	}
	use(v.open())
}

// Wipe overwrites the bytes with zeros. Every copy of the Value is affected.
func (v Value) Wipe() {
	if v.open != nil {
		clear(v.open())
	}
}

// Equal compares in constant time for values of equal length.
func (v Value) Equal(w Value) bool {
	var same bool
	v.Expose(func(a []byte) {
		w.Expose(func(b []byte) { same = subtle.ConstantTimeCompare(a, b) == 1 })
	})
	return same
}

// Format prints the mask for every verb.
func (Value) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, Mask) }

// String returns the mask.
func (Value) String() string { return Mask }

// GoString returns the mask.
func (Value) GoString() string { return Mask }

// LogValue makes slog print the mask.
func (Value) LogValue() slog.Value { return slog.StringValue(Mask) }

// MarshalJSON refuses.
func (Value) MarshalJSON() ([]byte, error) { return nil, ErrEncode }

// MarshalText refuses.
func (Value) MarshalText() ([]byte, error) { return nil, ErrEncode }

// MarshalBinary refuses.
func (Value) MarshalBinary() ([]byte, error) { return nil, ErrEncode }

// GobEncode refuses.
func (Value) GobEncode() ([]byte, error) { return nil, ErrEncode }

// MarshalYAML refuses.
func (Value) MarshalYAML() (any, error) { return nil, ErrEncode }
