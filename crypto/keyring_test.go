package crypto_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema/fault"
)

func marshal(t testing.TB, k *crypto.Keyring, root crypto.RootKey) []byte {
	t.Helper()
	sealed, err := k.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestKeyringRoundTrip(t *testing.T) {
	k, root := newKeyring(t, "cluster-1"), newRoot(t)
	again, err := crypto.OpenKeyring(root, "cluster-1", marshal(t, k, root))
	if err != nil {
		t.Fatal(err)
	}
	if again.Version() != 1 || again.Cluster() != "cluster-1" {
		t.Errorf("version %d of %s, want 1 of cluster-1", again.Version(), again.Cluster())
	}
	if got, err := again.Open(label, seal(t, k, label, "a value")); err != nil || string(got) != "a value" {
		t.Errorf("Open = %q, %v", got, err)
	}
	if again.BlindPath("s", "a/b") != k.BlindPath("s", "a/b") || again.TokenKey([]byte("t")) != k.TokenKey([]byte("t")) ||
		again.MAC("p") != k.MAC("p") || again.VerifierKey("o") != k.VerifierKey("o") {
		t.Error("the keyring gives other names, token keys, MACs or signatures after it was opened again")
	}
	if twice := marshal(t, again, root); bytes.Equal(twice, marshal(t, k, root)) {
		t.Error("sealed twice to the same bytes")
	}
}

func TestKeyringUnderWrongRoot(t *testing.T) {
	k, root, other := newKeyring(t, "c"), newRoot(t), newRoot(t)
	_, err := crypto.OpenKeyring(other, "c", marshal(t, k, root))
	if !errors.Is(err, fault.Sealed) {
		t.Errorf("under another root key: %v, want %s", err, fault.Sealed)
	}
	if detail := fault.Detail(err); !strings.Contains(detail, root.ID()) || !strings.Contains(detail, other.ID()) {
		t.Errorf("the detail %q does not name both keys", detail)
	}
	if _, err := crypto.OpenKeyring(crypto.RootKey{}, "c", marshal(t, k, root)); !errors.Is(err, fault.Sealed) {
		t.Errorf("without a root key: %v, want %s", err, fault.Sealed)
	}
	if _, err := k.Marshal(crypto.RootKey{}); !errors.Is(err, fault.Sealed) {
		t.Errorf("Marshal without a root key: %v, want %s", err, fault.Sealed)
	}
}

// TestAlteredKeyring flips every byte. Altering the id of the root key makes it
// look like another key's; everything else is damage.
func TestAlteredKeyring(t *testing.T) {
	k, root := newKeyring(t, "c"), newRoot(t)
	sealed := marshal(t, k, root)
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 0x10
		want := fault.Integrity
		if i >= 2 && i < 10 {
			want = fault.Sealed
		}
		if got, err := crypto.OpenKeyring(root, "c", altered); !errors.Is(err, want) || got != nil {
			t.Errorf("byte %d altered: %v, want %s", i, err, want)
		}
		if _, err := crypto.OpenKeyring(root, "c", sealed[:i]); !errors.Is(err, fault.Integrity) {
			t.Errorf("cut to %d bytes: %v, want %s", i, err, fault.Integrity)
		}
	}
	if _, err := crypto.OpenKeyring(root, "d", sealed); !errors.Is(err, fault.Integrity) {
		t.Errorf("as another cluster's: %v, want %s", err, fault.Integrity)
	}
}

// TestTerms opens records of an older term, and none of a destroyed one.
func TestTerms(t *testing.T) {
	k := newKeyring(t, "c")
	old := seal(t, k, label, "old")
	for state, want := range map[crypto.TermState]fault.Kind{crypto.TermDecrypt: "", crypto.TermDestroyed: fault.Integrity} {
		next := crypto.NextTerm(k, state, epoch)
		got, err := next.Open(label, old)
		if fault.KindOf(err) != want || err == nil && string(got) != "old" {
			t.Errorf("a record of a term in state %d: %q, %v; want %q", state, got, err, want)
		}
		fresh := seal(t, next, label, "new")
		if got, err := next.Open(label, fresh); err != nil || string(got) != "new" {
			t.Errorf("a record of the new term: %q, %v", got, err)
		}
		if _, err := k.Open(label, fresh); !errors.Is(err, fault.Integrity) {
			t.Errorf("a record of an unknown term: %v, want %s", err, fault.Integrity)
		}
		root := newRoot(t)
		again, err := crypto.OpenKeyring(root, "c", marshal(t, next, root))
		if err != nil || again.Version() != 2 {
			t.Fatalf("OpenKeyring: version %d, %v; want 2", again.Version(), err)
		}
		if _, err := again.Open(label, old); fault.KindOf(err) != want {
			t.Errorf("after opening again, a record of a term in state %d: %v, want %q", state, err, want)
		}
	}
}

func TestNothingPrinted(t *testing.T) {
	k, root := newKeyring(t, "c"), newRoot(t)
	d, _, err := k.NewDataKey(label)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, row := range []struct {
			value any
			want  string
		}{
			{k, "keyring of cluster c version 1"},
			{(*crypto.Keyring)(nil), "no keyring"},
			{root, "root key " + root.ID()},
			{struct{ R crypto.RootKey }{root}, "root key " + root.ID() + "}"},
			{d, "data key"},
		} {
			if got := fmt.Sprintf(verb, row.value); !strings.HasSuffix(got, row.want) && verb != "%#v" || len(got) > 200 {
				t.Errorf("%s prints %q, want %q", verb, got, row.want)
			}
		}
	}
	if text, err := json.Marshal(struct{ K, R, D any }{k, root, d}); err != nil || len(text) > 60 {
		t.Errorf("JSON of keys is %s, %v", text, err)
	}
}

func TestSigner(t *testing.T) {
	k := newKeyring(t, "c")
	signer, err := k.Signer("heroctl.example/c")
	if err != nil {
		t.Fatal(err)
	}
	msg, err := note.Sign(&note.Note{Text: "a checkpoint\n"}, signer)
	if err != nil {
		t.Fatal(err)
	}
	public, err := note.NewVerifier(k.VerifierKey("heroctl.example/c"))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := note.Open(msg, note.VerifierList(public)); err != nil || n.Text != "a checkpoint\n" {
		t.Errorf("the note does not verify: %v", err)
	}
	foreign, err := newKeyring(t, "c").Verifier("heroctl.example/c")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(msg, note.VerifierList(foreign)); err == nil {
		t.Error("the note verifies with another keyring's key")
	}
	for _, origin := range []string{"", "a b", "a+b", "a\nb"} {
		if _, err := k.Signer(origin); !errors.Is(err, fault.InvalidArgument) {
			t.Errorf("Signer(%q): %v, want %s", origin, err, fault.InvalidArgument)
		}
		if got := k.VerifierKey(origin); got != "" {
			t.Errorf("VerifierKey(%q) = %q", origin, got)
		}
	}
}

// FuzzKeyring decodes the plaintext of a keyring: what is accepted is encoded to
// the same bytes.
func FuzzKeyring(f *testing.F) {
	k := newKeyring(f, "c")
	f.Add(crypto.EncodeKeyring(k))
	f.Add(crypto.EncodeKeyring(crypto.NextTerm(k, crypto.TermDestroyed, epoch)))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, plain []byte) {
		k, err := crypto.DecodeKeyring("c", plain)
		if err != nil {
			if !errors.Is(err, fault.Integrity) {
				t.Errorf("%v, want %s", err, fault.Integrity)
			}
			return
		}
		if got := crypto.EncodeKeyring(k); !bytes.Equal(got, plain) {
			t.Errorf("encoded to %x, want %x", got, plain)
		}
	})
}

// FuzzOpen opens arbitrary records: nothing opens but what was sealed.
func FuzzOpen(f *testing.F) {
	k := newKeyring(f, "c")
	sealed := seal(f, k, label, "a value")
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-1])
	f.Add([]byte("H\x01\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, record []byte) {
		if _, err := k.Open(label, record); err == nil != bytes.Equal(record, sealed) {
			t.Errorf("Open(%x) = %v", record, err)
		}
	})
}
