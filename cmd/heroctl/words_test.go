package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * 24 * time.Hour, "12h": 12 * time.Hour, "2w": 14 * 24 * time.Hour,
		"1d12h": 36 * time.Hour, "90s": 90 * time.Second, "1500ms": 1500 * time.Millisecond, "15m": 15 * time.Minute,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("parseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0s", "30", "d", "-3d", "3 d", "3D", "1.5h", "3y", "99999999999999999999d", "9999999999w", "1d-2h", "5dh"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %v; want an error", text, got)
		}
	}
	for want, d := range map[string]time.Duration{"7d": 168 * time.Hour, "36h": 36 * time.Hour, "1h30m0s": 90 * time.Minute} {
		if got := shortDuration(durationpb.New(d)); got != want {
			t.Errorf("shortDuration(%v) = %q; want %q", d, got, want)
		}
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"30d":                       "2026-10-24T13:00:00Z",
		"2026-11-01":                "2026-11-01T00:00:00Z",
		"2026-11-01T10:00:00+02:00": "2026-11-01T08:00:00Z",
	} {
		if got, err := timeFlag("since", text, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("timeFlag(%q) = %v, %v; want %s", text, got, err, want)
		}
	}
	if _, err := timeFlag("since", "yesterday", now); err == nil || err.Error() != "--since: the time cannot be read" {
		t.Errorf("got %v", err)
	}
}

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		`plain "text" \ ção`: `plain "text" \ ção`,
		"a\x1b]0;title\x07b": `a\x1b]0;title\ab`,
		"one\ntwo":           `one\ntwo`,
		"rtl\u202eevil":      `rtl\u202eevil`,
		"bad\xffbyte":        `bad\xffbyte`,
	} {
		if got := clean(text); got != want {
			t.Errorf("clean(%q) = %q; want %q", text, got, want)
		}
	}
}

// TestTableStaysATable puts cells into a table that would break it.
func TestTableStaysATable(t *testing.T) {
	var out strings.Builder
	a := &app{stdout: &out}
	if err := a.table([][]string{{"NAME", "OWNER"}, {"a", "x\ty\nz\x1b[31m"}, {"longer", ""}}); err != nil {
		t.Fatal(err)
	}
	want := "NAME    OWNER\na       x\\ty\\nz\\x1b[31m\nlonger  -\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestGeneratedValues(t *testing.T) {
	for name, alphabet := range charsets {
		counts := map[byte]int{}
		const length = 4096
		v, err := generateValue(length, alphabet)
		if err != nil {
			t.Fatal(err)
		}
		v.Expose(func(b []byte) {
			for _, c := range b {
				counts[c]++
			}
		})
		if v.Len() != length {
			t.Errorf("%s: got %d characters", name, v.Len())
		}
		// Every character at its share, within six standard deviations.
		mean := float64(length) / float64(len(alphabet))
		for c, n := range counts {
			if !strings.ContainsRune(alphabet, rune(c)) || math.Abs(float64(n)-mean) > 6*math.Sqrt(mean) {
				t.Errorf("%s: character %q came %d times; %f were expected", name, c, n, mean)
			}
		}
		again, err := generateValue(length, alphabet)
		if err != nil || v.Equal(again) {
			t.Errorf("%s: the same value twice (%v)", name, err)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"list", "describe", "destroy", "delete", "undelete"}
	for given, want := range map[string]string{"lst": "list", "descibe": "describe", "destory": "destroy", "xyz": "", "": ""} {
		if got := nearest(given, words); got != want {
			t.Errorf("nearest(%q) = %q; want %q", given, got, want)
		}
	}
}
