package storage

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// Limits of what is stored with a secret, user, role or token.
const (
	MaxValueBytes       = 1 << 20
	MaxDescriptionBytes = 1 << 10
	MaxOwnerBytes       = 128
	MaxLabels           = 32
	MaxLabelKeyBytes    = 63
	MaxLabelValueBytes  = 256
	MinWindow           = time.Second
	MaxWindow           = 10 * 365 * 24 * time.Hour
)

func checkValue(v secret.Value) error {
	if v.Len() > MaxValueBytes {
		return fault.New(fault.TooLarge, "the value is larger than 1 MiB")
	}
	return nil
}

func checkDescription(text string) error {
	if len(text) > MaxDescriptionBytes {
		return fault.New(fault.TooLarge, "the description is longer than 1024 bytes")
	}
	if !printable(text, "\n\t") {
		return fault.New(fault.InvalidArgument, "the description has a control character or is not UTF-8")
	}
	return nil
}

func checkOwner(text string) error {
	if len(text) > MaxOwnerBytes {
		return fault.New(fault.TooLarge, "the owner is longer than 128 bytes")
	}
	if !printable(text, "") {
		return fault.New(fault.InvalidArgument, "the owner has a control character or is not UTF-8")
	}
	return nil
}

// checkLabels holds labels to the alphabets that selectors and tables can show.
func checkLabels(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return fault.Newf(fault.TooLarge, "there are more than %d labels", MaxLabels)
	}
	for name, value := range labels {
		if !labelKey(name) {
			return fault.New(fault.InvalidArgument,
				"a label's key is 1 to 63 characters of a-z 0-9 . _ / -, and starts and ends with a letter or digit")
		}
		if len(value) > MaxLabelValueBytes {
			return fault.New(fault.TooLarge, "a label's value is longer than 256 bytes")
		}
		if !printable(value, "") {
			return fault.New(fault.InvalidArgument, "a label's value has a control character or is not UTF-8")
		}
	}
	return nil
}

func labelKey(text string) bool {
	if text == "" || len(text) > MaxLabelKeyBytes {
		return false
	}
	for i := range len(text) {
		c := text[i]
		alphanumeric := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		inside := i > 0 && i < len(text)-1
		if !alphanumeric && !(inside && strings.IndexByte("._/-", c) >= 0) {
			return false
		}
	}
	return true
}

func checkWindow(d time.Duration) error {
	if d != 0 && (d < MinWindow || d > MaxWindow) {
		return fault.New(fault.InvalidArgument, "the window is shorter than 1 second or longer than 10 years")
	}
	return nil
}

// printable reports whether text is UTF-8 without control characters, except
// those allowed, and without characters that change the direction of text: a
// terminal would show something other than what is stored.
func printable(text, allowed string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) && !strings.ContainsRune(allowed, r) {
			return false
		}
	}
	return true
}
