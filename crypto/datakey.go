package crypto

import (
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"io"

	"github.com/heroctl/heroctl/schema/fault"
)

// DataKeyOverhead is what DataKey.Seal adds: nonce and tag.
const DataKeyOverhead = boxOverhead

// DataKey seals the many small records of one file, such as a segment of the
// trail: the key is wrapped once and used with a random nonce each time, which is
// several times as fast as Keyring.Seal. Seal at most 2^32 records with one key
// (NIST SP 800-38D). It is safe for concurrent use.
//
// Unlike a record of the keyring, its boxes are neither padded nor committing:
// the place belongs into aad, and the key into a wrapped record, which commits.
type DataKey struct{ aead func() cipher.AEAD }

// NewDataKey returns a fresh key, and that key wrapped under the active term and
// bound to l. Rekeying re-wraps it: the key itself stays.
func (k *Keyring) NewDataKey(l Label) (*DataKey, []byte, error) {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, nil, fault.Wrap(fault.Internal, "no random numbers", err)
	}
	defer clear(key)
	wrapped, err := k.seal(domainDataKey, l, key)
	if err != nil {
		return nil, nil, err
	}
	return newDataKey(key), wrapped, nil
}

// OpenDataKey unwraps what NewDataKey wrapped for the same label. Anything else
// is of kind fault.Integrity.
func (k *Keyring) OpenDataKey(l Label, wrapped []byte) (*DataKey, error) {
	key, err := k.open(domainDataKey, l, wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	if len(key) != keyBytes {
		return nil, fault.New(fault.Integrity, "the wrapped key has a wrong length")
	}
	return newDataKey(key), nil
}

func newDataKey(key []byte) *DataKey {
	gcm := newGCM(key)
	return &DataKey{func() cipher.AEAD { return gcm }}
}

// Seal appends nonce, ciphertext and tag to dst, which must not overlap
// plaintext.
func (d *DataKey) Seal(dst, plaintext, aad []byte) []byte {
	return d.aead().Seal(dst, nil, plaintext, aad)
}

// Open appends the plaintext of what Seal made with the same aad to dst. Anything
// else is of kind fault.Integrity.
func (d *DataKey) Open(dst, sealed, aad []byte) ([]byte, error) {
	plain, err := d.aead().Open(dst, nil, sealed, aad)
	if err != nil {
		return nil, fault.New(fault.Integrity, "the box was altered or is not from this place")
	}
	return plain, nil
}

// Format prints nothing of the key.
func (*DataKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "data key") }
