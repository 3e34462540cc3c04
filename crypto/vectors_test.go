package crypto_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heroctl/heroctl/crypto"
)

// Flag -rewrite makes new vectors. Do that only for a new format: old vectors are
// what says that old records still open.
var rewriteVectors = flag.Bool("rewrite", false, "write testdata/vectors.json anew")

const vectorsFile = "testdata/vectors.json"

// hexBytes are bytes, in hexadecimal in the file.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// vectors is the content of the file. Everything in it follows from the key file,
// the keyring, and the salts and nonces inside the sealed bytes.
type vectors struct {
	KeyFile string   `json:"key_file"`
	RootID  string   `json:"root_id"`
	Cluster string   `json:"cluster"`
	Keyring hexBytes `json:"keyring"`
	Records []struct {
		Domain    string       `json:"domain"`
		Label     crypto.Label `json:"label"`
		Plaintext hexBytes     `json:"plaintext"`
		Sealed    hexBytes     `json:"sealed"`
	} `json:"records"`
	DataKey struct {
		Label     crypto.Label `json:"label"`
		Wrapped   hexBytes     `json:"wrapped"`
		AAD       hexBytes     `json:"aad"`
		Plaintext hexBytes     `json:"plaintext"`
		Sealed    hexBytes     `json:"sealed"`
	} `json:"data_key"`
	Names []struct {
		Space string   `json:"space"`
		Path  string   `json:"path"`
		ID    hexBytes `json:"id"`
	} `json:"names"`
	Token struct {
		Token string   `json:"token"`
		Key   hexBytes `json:"key"`
	} `json:"token"`
	MAC struct {
		Purpose string     `json:"purpose"`
		Parts   []hexBytes `json:"parts"`
		Sum     hexBytes   `json:"sum"`
	} `json:"mac"`
	Origin   string `json:"origin"`
	Verifier string `json:"verifier"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	if *rewriteVectors {
		writeVectors(t)
	}
	text, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Records) == 0 || len(v.Names) == 0 {
		t.Fatal("the vectors are empty")
	}
	return v
}

// TestVectors opens and computes every vector with this package.
func TestVectors(t *testing.T) {
	v := readVectors(t)
	path := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(path, []byte(v.KeyFile), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := crypto.ReadKeyFile(path)
	if err != nil || root.ID() != v.RootID {
		t.Fatalf("key %s, %v; want %s", root.ID(), err, v.RootID)
	}
	k, err := crypto.OpenKeyring(root, v.Cluster, v.Keyring)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range v.Records {
		if got, err := k.Open(r.Label, r.Sealed); err != nil || !bytes.Equal(got, r.Plaintext) {
			t.Errorf("record %+v: %d bytes, %v", r.Label, len(got), err)
		}
	}
	d, err := k.OpenDataKey(v.DataKey.Label, v.DataKey.Wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Open(nil, v.DataKey.Sealed, v.DataKey.AAD); err != nil || !bytes.Equal(got, v.DataKey.Plaintext) {
		t.Errorf("data key: %d bytes, %v", len(got), err)
	}
	for _, n := range v.Names {
		if got := k.BlindPath(n.Space, n.Path); !bytes.Equal(got[:], n.ID) {
			t.Errorf("name %s %s is %x, want %x", n.Space, n.Path, got, n.ID)
		}
	}
	if got := k.TokenKey([]byte(v.Token.Token)); !bytes.Equal(got[:], v.Token.Key) {
		t.Errorf("token key %x, want %x", got, v.Token.Key)
	}
	if got := k.MAC(v.MAC.Purpose, v.macParts()...); !bytes.Equal(got[:], v.MAC.Sum) {
		t.Errorf("MAC %x, want %x", got, v.MAC.Sum)
	}
	if got := k.VerifierKey(v.Origin); got != v.Verifier {
		t.Errorf("verifier %s, want %s", got, v.Verifier)
	}
}

func (v vectors) macParts() (parts [][]byte) {
	for _, p := range v.MAC.Parts {
		parts = append(parts, p)
	}
	return parts
}

// What follows derives the vectors again from FORMAT.md, line by line, with
// nothing of this package.

func hm(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func u32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func lenPrefixed(s string) []byte { return cat(u32(len(s)), []byte(s)) }

// derive is HKDF-SHA256 written out for 32 bytes.
func derive(key []byte, info string) []byte {
	return hm(hm(make([]byte, 32), key), []byte(info), []byte{1})
}

// reseal rebuilds a sealed body from its own salt and nonce.
func reseal(key, aad, body, plaintext []byte) []byte {
	salt, nonce := body[:24], body[56:68]
	info := cat([]byte("heroctl record key v1"), u32(len(aad)), aad, salt)
	one := hm(key, info, []byte{1})
	two := hm(key, one, info, []byte{2})
	block, err := aes.NewCipher(one)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	padded := cat(u32(len(plaintext)), plaintext)
	exponent := math.Floor(math.Log2(float64(len(padded))))
	step := max(32, int(math.Exp2(exponent-math.Floor(math.Log2(exponent))-1)))
	for len(padded)%step != 0 {
		padded = append(padded, 0)
	}
	return cat(salt, two, gcm.Seal(bytes.Clone(nonce), nonce, padded, aad))
}

func TestVectorsFromTheSpecification(t *testing.T) {
	v := readVectors(t)
	same := func(what string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("%s is\n%x, want\n%x", what, got, want)
		}
	}
	// The key file.
	fields := strings.Fields(v.KeyFile)
	root, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(strings.Join(fields[:3], " ")))
	id := derive(root, "heroctl root key id v1")[:8]
	if want := "HEROKEY1 " + hex.EncodeToString(id) + " " + fields[2] + " " + hex.EncodeToString(sum[:4]) + "\n"; v.KeyFile != want {
		t.Errorf("the key file is not as specified")
	}
	// The keyring: opened first, to learn what is in it.
	kek := derive(root, "heroctl keyring v1")
	version := v.Keyring[10:18]
	aad := cat(lenPrefixed("heroctl/keyring/v1"), lenPrefixed(v.Cluster), u32(8), id, u32(8), version)
	body := v.Keyring[18:]
	block, err := aes.NewCipher(hm(kek, []byte("heroctl record key v1"), u32(len(aad)), aad, body[:24], []byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	padded, err := gcm.Open(nil, body[56:68], body[68:], aad)
	if err != nil {
		t.Fatal(err)
	}
	plain := padded[4 : 4+binary.BigEndian.Uint32(padded)]
	same("the keyring", cat([]byte{'K', 1}, id, version, reseal(kek, aad, body, plain)), v.Keyring)
	if terms := binary.BigEndian.Uint32(plain); terms != 1 || plain[8] != 1 {
		t.Fatalf("the keyring has %d terms", terms)
	}
	dataKey, seed := plain[17:49], plain[57:89]
	// The records.
	rec := derivePurpose(dataKey, "heroctl term rec v1")
	place := func(domain string, l crypto.Label) []byte {
		return cat(lenPrefixed(domain), lenPrefixed(v.Cluster), lenPrefixed(l.Kind), lenPrefixed(""), lenPrefixed(l.Path),
			u32(8), u64(l.Version), lenPrefixed(l.Field), u32(4), u32(1))
	}
	header := []byte{'H', 1, 0, 0, 0, 1}
	for _, r := range v.Records {
		same("a record", cat(header, reseal(rec, place("heroctl/rec/v1", r.Label), r.Sealed[6:], r.Plaintext)), r.Sealed)
	}
	// The data key, whose plaintext is inside its wrapping.
	w := v.DataKey.Wrapped[6:]
	aad = place("heroctl/key/v1", v.DataKey.Label)
	block, _ = aes.NewCipher(hm(rec, []byte("heroctl record key v1"), u32(len(aad)), aad, w[:24], []byte{1}))
	gcm, _ = cipher.NewGCM(block)
	if padded, err = gcm.Open(nil, w[56:68], w[68:], aad); err != nil {
		t.Fatal(err)
	}
	same("the wrapped key", cat(header, reseal(rec, aad, w, padded[4:36])), v.DataKey.Wrapped)
	block, _ = aes.NewCipher(padded[4:36])
	gcm, _ = cipher.NewGCM(block)
	nonce := v.DataKey.Sealed[:12]
	same("a box", gcm.Seal(bytes.Clone(nonce), nonce, v.DataKey.Plaintext, v.DataKey.AAD), v.DataKey.Sealed)
	// Names, token key, MAC, public key.
	for _, n := range v.Names {
		parent := make([]byte, 16)
		for _, segment := range strings.Split(n.Path, "/") {
			parent = hm(derivePurpose(dataKey, "heroctl term idx v1"), lenPrefixed(n.Space), parent, lenPrefixed(segment))[:16]
		}
		same("a name", parent, n.ID)
	}
	same("the token key", hm(derivePurpose(dataKey, "heroctl term tok v1"), []byte(v.Token.Token)), v.Token.Key)
	msg := lenPrefixed(v.MAC.Purpose)
	for _, p := range v.MAC.Parts {
		msg = cat(msg, u32(len(p)), p)
	}
	same("the MAC", hm(derivePurpose(dataKey, "heroctl term cur v1"), msg), v.MAC.Sum)
	public := cat([]byte{1}, ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	hash := sha256.Sum256(cat([]byte(v.Origin+"\n"), public))
	if want := v.Origin + "+" + hex.EncodeToString(hash[:4]) + "+" + base64.StdEncoding.EncodeToString(public); v.Verifier != want {
		t.Errorf("the verifier is %s, want %s", v.Verifier, want)
	}
}

// derivePurpose is HKDF-Expand alone: the data key is uniform already.
func derivePurpose(dataKey []byte, info string) []byte { return hm(dataKey, []byte(info), []byte{1}) }

func writeVectors(t *testing.T) {
	t.Helper()
	root, k := newRoot(t), newKeyring(t, "0f1e2d3c4b5a6978")
	v := vectors{KeyFile: string(crypto.EncodeKeyFile(root)), RootID: root.ID(), Cluster: k.Cluster(), Keyring: marshal(t, k, root)}
	v.Records = append(v.Records, make([]struct {
		Domain    string       `json:"domain"`
		Label     crypto.Label `json:"label"`
		Plaintext hexBytes     `json:"plaintext"`
		Sealed    hexBytes     `json:"sealed"`
	}, 4)...)
	for i, plaintext := range []string{"", "hunter2", strings.Repeat("x", 29), strings.Repeat("padme ", 300)} {
		r := &v.Records[i]
		r.Domain, r.Label, r.Plaintext = "heroctl/rec/v1", label, []byte(plaintext)
		r.Label.Version = uint64(i)
		r.Sealed = seal(t, k, r.Label, plaintext)
	}
	v.DataKey.Label = crypto.Label{Kind: "segment", Path: "node-1", Version: 7}
	d, wrapped, err := k.NewDataKey(v.DataKey.Label)
	if err != nil {
		t.Fatal(err)
	}
	v.DataKey.Wrapped, v.DataKey.AAD, v.DataKey.Plaintext = wrapped, []byte("place"), []byte("a record of the trail")
	v.DataKey.Sealed = d.Seal(nil, v.DataKey.Plaintext, v.DataKey.AAD)
	for _, path := range []string{"prod", "prod/db_password", "a/b/c"} {
		id := k.BlindPath("secret", path)
		v.Names = append(v.Names, struct {
			Space string   `json:"space"`
			Path  string   `json:"path"`
			ID    hexBytes `json:"id"`
		}{"secret", path, id[:]})
	}
	v.Token.Token = "ht_s_example"
	key := k.TokenKey([]byte(v.Token.Token))
	v.Token.Key = key[:]
	v.MAC.Purpose, v.MAC.Parts = "page", []hexBytes{[]byte("one"), []byte("")}
	sum := k.MAC(v.MAC.Purpose, v.macParts()...)
	v.MAC.Sum = sum[:]
	v.Origin = "heroctl.example/trail"
	v.Verifier = k.VerifierKey(v.Origin)
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorsFile, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
