package crypto

import (
	"bytes"
	"time"
)

// TermState is the state of a term.
type TermState = termState

// The states a replaced term may be in.
const (
	TermDecrypt   = termDecrypt
	TermDestroyed = termDestroyed
)

// NextTerm returns k with a new active term, and the active one in state old.
func NextTerm(k *Keyring, old TermState, now time.Time) *Keyring {
	last := make([]byte, keyBytes)
	if old != termDestroyed {
		k.active.key.Expose(func(key []byte) { copy(last, key) })
	}
	var seed []byte
	k.signSeed.Expose(func(s []byte) { seed = bytes.Clone(s) })
	terms := []*term{
		newTerm(k.active.id, old, k.active.created, last),
		newTerm(k.active.id+1, termActive, now, bytes.Repeat([]byte{7}, keyBytes)),
	}
	return buildKeyring(k.cluster, k.version+1, terms, seed, k.signCreated)
}

// EncodeKeyring returns the plaintext form of k.
func EncodeKeyring(k *Keyring) []byte { return k.encode() }

// DecodeKeyring decodes the plaintext form of a keyring.
func DecodeKeyring(cluster string, plain []byte) (*Keyring, error) {
	return decodeKeyring(cluster, 1, plain)
}

// DecodeKeyFile decodes the content of a key file.
func DecodeKeyFile(line []byte) (RootKey, error) { return decodeKeyFile(line) }

// EncodeKeyFile returns the content of a key file.
func EncodeKeyFile(k RootKey) (line []byte) {
	k.key.Expose(func(key []byte) { line = encodeKeyFile(k.ID(), key) })
	return line
}
