package crypto_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema/fault"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newKeyring(t testing.TB, cluster string) *crypto.Keyring {
	t.Helper()
	k, err := crypto.NewKeyring(cluster, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRoot(t testing.TB) crypto.RootKey {
	t.Helper()
	root, err := crypto.NewRootKey()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func seal(t testing.TB, k *crypto.Keyring, l crypto.Label, plaintext string) []byte {
	t.Helper()
	sealed, err := k.Seal(l, []byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// damaged checks that err is of kind fault.Integrity and shows nothing.
func damaged(t *testing.T, what string, plaintext []byte, err error) {
	t.Helper()
	if !errors.Is(err, fault.Integrity) || plaintext != nil {
		t.Errorf("%s: %d bytes and %v, want none and %s", what, len(plaintext), err, fault.Integrity)
	}
}

var label = crypto.Label{Kind: "version", Path: "prod/db_password", Field: "value", Version: 3}

func TestSealOpen(t *testing.T) {
	k := newKeyring(t, "c")
	for _, n := range []int{0, 1, 27, 28, 29, 60, 1000, 1 << 20} {
		plaintext := bytes.Repeat([]byte{0xa5}, n)
		sealed := seal(t, k, label, string(plaintext))
		got, err := k.Open(label, sealed)
		if err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%d bytes: opened to %d bytes, %v", n, len(got), err)
		}
		if n > 20 && bytes.Contains(sealed, plaintext[:20]) {
			t.Errorf("%d bytes: the plaintext is in the record", n)
		}
		if again := seal(t, k, label, string(plaintext)); bytes.Equal(again, sealed) {
			t.Errorf("%d bytes: sealed twice to the same record", n)
		}
	}
}

// TestLengths checks that lengths come in steps, and what they cost.
func TestLengths(t *testing.T) {
	k := newKeyring(t, "c")
	size := func(n int) int { return len(seal(t, k, label, strings.Repeat("x", n))) - crypto.Overhead }
	for n, want := range map[int]int{0: 32, 4: 32, 28: 32, 29: 64, 60: 64, 61: 96, 1000: 1024, 1020: 1024, 1021: 1088, 1084: 1088, 1 << 20: 1<<20 + 1<<15} {
		if got := size(n); got != want {
			t.Errorf("%d bytes are padded to %d, want %d", n, got, want)
		}
	}
	for n := 300; n < 20_000; n += 37 {
		if got := size(n); got < n+4 || float64(got) > float64(n+4)*1.12+32 {
			t.Errorf("%d bytes are padded to %d, which is more than 12 %%", n, got)
		}
	}
}

func TestAlteredRecord(t *testing.T) {
	k := newKeyring(t, "c")
	sealed := seal(t, k, label, "a value")
	for i := range sealed {
		for _, bit := range []byte{0x01, 0x80} {
			altered := bytes.Clone(sealed)
			altered[i] ^= bit
			got, err := k.Open(label, altered)
			damaged(t, fmt.Sprintf("byte %d altered by %#x", i, bit), got, err)
		}
		got, err := k.Open(label, sealed[:i])
		damaged(t, fmt.Sprintf("cut to %d bytes", i), got, err)
	}
	got, err := k.Open(label, append(bytes.Clone(sealed), 0))
	damaged(t, "one byte more", got, err)
}

// TestMovedRecord opens a record anywhere but where it belongs.
func TestMovedRecord(t *testing.T) {
	k := newKeyring(t, "c")
	sealed := seal(t, k, label, "a value")
	for what, change := range map[string]func(l *crypto.Label){
		"kind":               func(l *crypto.Label) { l.Kind = "secret" },
		"path":               func(l *crypto.Label) { l.Path = "prod/db_passwore" },
		"field":              func(l *crypto.Label) { l.Field = "meta" },
		"version":            func(l *crypto.Label) { l.Version = 2 },
		"no path":            func(l *crypto.Label) { l.Path = "" },
		"kind and path":      func(l *crypto.Label) { l.Kind, l.Path = l.Path, l.Kind },
		"path and field":     func(l *crypto.Label) { l.Path, l.Field = l.Field, l.Path },
		"joined with a zero": func(l *crypto.Label) { l.Kind, l.Path = l.Kind+"\x00"+l.Path, "" },
	} {
		l := label
		change(&l)
		got, err := k.Open(l, sealed)
		damaged(t, "another "+what, got, err)
	}
	got, err := newKeyring(t, "c").Open(label, sealed)
	damaged(t, "another keyring", got, err)
	_, wrapped, err := k.NewDataKey(label)
	if err != nil {
		t.Fatal(err)
	}
	got, err = k.Open(label, wrapped)
	damaged(t, "a wrapped key opened as a record", got, err)
	if _, err := k.OpenDataKey(label, seal(t, k, label, strings.Repeat("k", 32))); !errors.Is(err, fault.Integrity) {
		t.Errorf("a record unwrapped as a key: %v, want %s", err, fault.Integrity)
	}
}

// TestDelimiters moves the borders between the fields of a label: each division
// is a place of its own.
func TestDelimiters(t *testing.T) {
	k := newKeyring(t, "c")
	labels := []crypto.Label{
		{Kind: "ab", Path: "c", Field: "d"},
		{Kind: "a", Path: "bc", Field: "d"},
		{Kind: "a", Path: "b", Field: "cd"},
		{Kind: "abcd"}, {Path: "abcd"}, {Field: "abcd"},
		{Kind: "a|b", Path: "c"}, {Kind: "a", Path: "b|c"},
		{Kind: "a/b", Path: "c"}, {Kind: "a", Path: "b/c"},
		{Kind: "a\x00\x00\x00\x01b"}, {Kind: "a", Path: "b"},
	}
	for i, one := range labels {
		sealed := seal(t, k, one, "x")
		for j, two := range labels {
			if _, err := k.Open(two, sealed); (err == nil) != (i == j) {
				t.Errorf("sealed for %+v, opened for %+v: %v", one, two, err)
			}
		}
	}
}

func TestNames(t *testing.T) {
	k, other := newKeyring(t, "c"), newKeyring(t, "c")
	seen := map[crypto.ID]string{}
	for _, path := range []string{"a", "b", "a/b", "b/a", "ab", "a/b/c", "A"} {
		for _, space := range []string{"secret", "user", "secreta"} {
			id, name := k.BlindPath(space, path), space+" "+path
			if twin, ok := seen[id]; ok {
				t.Errorf("%s and %s have the same id", name, twin)
			}
			seen[id] = name
			if id != k.BlindPath(space, path) {
				t.Errorf("%s has two ids", name)
			}
			if id == other.BlindPath(space, path) {
				t.Errorf("%s has the same id in another keyring", name)
			}
		}
	}
	if k.BlindPath("s", "a/b") != k.Blind("s", k.Blind("s", crypto.ID{}, "a"), "b") {
		t.Error("BlindPath is not Blind folded over the segments")
	}
}

func TestMACs(t *testing.T) {
	k := newKeyring(t, "c")
	ab := [][]byte{[]byte("a"), []byte("b")}
	macs := map[[32]byte]string{k.TokenKey([]byte("a")): "token"}
	for name, sum := range map[string][32]byte{
		"p a b":   k.MAC("p", ab...),
		"q a b":   k.MAC("q", ab...),
		"p ab":    k.MAC("p", []byte("ab")),
		"p a b -": k.MAC("p", []byte("a"), []byte("b"), nil),
		"p":       k.MAC("p"),
		"pa b":    k.MAC("pa", []byte("b")),
		"a":       k.MAC("a"),
	} {
		if twin, ok := macs[sum]; ok {
			t.Errorf("%q and %q have the same MAC", name, twin)
		}
		macs[sum] = name
	}
	if again := k.MAC("p", ab...); k.MAC("p", ab...) != again {
		t.Error("one MAC computed twice differs")
	}
}

func TestDataKey(t *testing.T) {
	k := newKeyring(t, "c")
	l := crypto.Label{Kind: "segment", Path: "node-1", Version: 7}
	d, wrapped, err := k.NewDataKey(l)
	if err != nil {
		t.Fatal(err)
	}
	again, err := k.OpenDataKey(l, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	sealed := d.Seal([]byte("head"), []byte("a record"), []byte("7"))
	if !bytes.HasPrefix(sealed, []byte("head")) || len(sealed) != 4+8+crypto.DataKeyOverhead {
		t.Errorf("Seal made %d bytes", len(sealed))
	}
	got, err := again.Open([]byte("x"), sealed[4:], []byte("7"))
	if diff := cmp.Diff("xa record", string(got)); diff != "" || err != nil {
		t.Errorf("Open: %v (-want +got):\n%s", err, diff)
	}
	for i := range sealed[4:] {
		altered := bytes.Clone(sealed[4:])
		altered[i] ^= 1
		got, err := d.Open(nil, altered, []byte("7"))
		damaged(t, fmt.Sprintf("byte %d altered", i), got, err)
		got, err = d.Open(nil, sealed[4:4+i], []byte("7"))
		damaged(t, fmt.Sprintf("cut to %d bytes", i), got, err)
	}
	got, err = d.Open(nil, sealed[4:], []byte("8"))
	damaged(t, "another place", got, err)
	for i := range wrapped {
		altered := bytes.Clone(wrapped)
		altered[i] ^= 1
		if _, err := k.OpenDataKey(l, altered); !errors.Is(err, fault.Integrity) {
			t.Errorf("byte %d of the wrapped key altered: %v, want %s", i, err, fault.Integrity)
		}
	}
	l.Version = 8
	if _, err := k.OpenDataKey(l, wrapped); !errors.Is(err, fault.Integrity) {
		t.Errorf("the wrapped key of another segment: %v, want %s", err, fault.Integrity)
	}
}
