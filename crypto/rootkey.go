package crypto

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

const (
	keyBytes    = 32
	rootIDBytes = 8

	labelRootID = "heroctl root key id v1"
	labelKEK    = "heroctl keyring v1"
)

// RootKey is the key under which a keyring is sealed. The zero RootKey opens and
// seals nothing. It is immutable and safe for concurrent use; printing shows its
// id only.
type RootKey struct {
	key secret.Value
	id  [rootIDBytes]byte
}

// NewRootKey returns a fresh random key.
func NewRootKey() (RootKey, error) {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return RootKey{}, fault.Wrap(fault.Internal, "no random numbers", err)
	}
	return newRootKey(key), nil
}

// newRootKey takes ownership of key, which has keyBytes bytes.
func newRootKey(key []byte) RootKey {
	k := RootKey{key: secret.New(key)}
	copy(k.id[:], expand(extract(key), labelRootID, rootIDBytes))
	return k
}

// ID returns the key's short public identifier, 16 hexadecimal digits derived
// from the key. It may be shown, logged and stored.
func (k RootKey) ID() string {
	if k.isZero() {
		return ""
	}
	return hex.EncodeToString(k.id[:])
}

// Format prints the id for every verb.
func (k RootKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "root key "+k.ID()) }

func (k RootKey) isZero() bool { return k.key.Len() != keyBytes }

// kek returns the key that seals the keyring.
func (k RootKey) kek() (kek []byte, err error) {
	if k.isZero() {
		return nil, fault.New(fault.Sealed, "there is no root key")
	}
	k.key.Expose(func(key []byte) { kek = expand(extract(key), labelKEK, keyBytes) })
	return kek, nil
}

// extract and expand are HKDF-SHA256 (RFC 5869) with an empty salt. They fail
// only for lengths no caller here asks for.
func extract(key []byte) []byte {
	prk, err := hkdf.Extract(sha256.New, key, nil)
	if err != nil {
		panic("crypto: hkdf extract: " + err.Error())
	}
	return prk
}

func expand(prk []byte, info string, length int) []byte {
	key, err := hkdf.Expand(sha256.New, prk, info, length)
	if err != nil {
		panic("crypto: hkdf expand: " + err.Error())
	}
	return key
}
