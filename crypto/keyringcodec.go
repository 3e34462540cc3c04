package crypto

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/heroctl/heroctl/schema/fault"
)

// A sealed keyring:
//
//	offset  0  magic     'K'
//	        1  format    1
//	        2  root id   8 bytes: the RootKey it is sealed under
//	       10  version   u64, big endian
//	       18  salt, commit, nonce, ciphertext, tag: as in a record
//
// sealed under KEK = HKDF(root key, "heroctl keyring v1") with
// aad = lp("heroctl/keyring/v1") | lp(cluster) | lp(root id) | lp(version u64).
// The plaintext:
//
//	terms u32, then for each: id u32 | state u8 | created i64 | key 32 bytes
//	signing key: created i64 | Ed25519 seed 32 bytes
//
// Times are microseconds since 1970 in UTC; the key of a destroyed term is zero.
const (
	keyringMagic  = 'K'
	keyringFormat = 1

	offRootID  = 2
	offVersion = offRootID + rootIDBytes
	offSealed  = offVersion + 8

	termBytes = 4 + 1 + 8 + keyBytes
	signBytes = 8 + keyBytes
	maxTerms  = 4096
)

// Marshal returns the keyring sealed under root.
func (k *Keyring) Marshal(root RootKey) ([]byte, error) {
	kek, err := root.kek()
	if err != nil {
		return nil, err
	}
	defer clear(kek)
	sealed := append([]byte{keyringMagic, keyringFormat}, root.id[:]...)
	sealed = binary.BigEndian.AppendUint64(sealed, k.version)
	plain := k.encode()
	defer clear(plain)
	return sealBox(sealed, kek, keyringAAD(k.cluster, root, k.version), plain)
}

// OpenKeyring opens what Marshal returned. A keyring sealed under another root
// key is fault.Sealed; one that was altered, or is another cluster's, is
// fault.Integrity.
func OpenKeyring(root RootKey, cluster string, sealed []byte) (*Keyring, error) {
	kek, err := root.kek()
	if err != nil {
		return nil, err
	}
	defer clear(kek)
	if len(sealed) < offSealed || sealed[0] != keyringMagic || sealed[1] != keyringFormat {
		return nil, fault.New(fault.Integrity, "this is not a keyring of a known format")
	}
	if id := sealed[offRootID:offVersion]; !bytes.Equal(id, root.id[:]) {
		return nil, fault.Newf(fault.Sealed, "the keyring is sealed under root key %x, and the key at hand is %s; use the key file of this cluster", id, root.ID())
	}
	version := binary.BigEndian.Uint64(sealed[offVersion:])
	plain, err := openBox(sealed[offSealed:], kek, keyringAAD(cluster, root, version))
	if err != nil {
		return nil, fault.Wrap(fault.Integrity, "the keyring was altered or is another cluster's; restore it from a backup", err)
	}
	defer clear(plain)
	return decodeKeyring(cluster, version, plain)
}

func keyringAAD(cluster string, root RootKey, version uint64) []byte {
	aad := lp(lp(lp(nil, domainKeyring), cluster), root.id[:])
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(aad, 8), version)
}

// encode returns the plaintext form. The caller wipes it.
func (k *Keyring) encode() []byte {
	dst := make([]byte, 0, 4+len(k.terms)*termBytes+signBytes)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(k.terms)))
	for _, t := range k.terms {
		dst = append(binary.BigEndian.AppendUint32(dst, t.id), byte(t.state))
		dst = binary.BigEndian.AppendUint64(dst, uint64(t.created.UnixMicro()))
		t.key.Expose(func(key []byte) { dst = append(dst, key...) })
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(k.signCreated.UnixMicro()))
	k.signSeed.Expose(func(seed []byte) { dst = append(dst, seed...) })
	return dst
}

// decodeKeyring decodes what encode returned, and copies what it keeps.
func decodeKeyring(cluster string, version uint64, plain []byte) (*Keyring, error) {
	bad := fault.New(fault.Integrity, "the keyring is malformed")
	if len(plain) < 4 {
		return nil, bad
	}
	count := binary.BigEndian.Uint32(plain)
	if count == 0 || count > maxTerms || len(plain) != 4+int(count)*termBytes+signBytes {
		return nil, bad
	}
	rest, active := plain[4:], 0
	terms := make([]*term, count)
	for i := range terms {
		t := decodeTerm(rest[:termBytes])
		if t == nil || (i > 0 && t.id <= terms[i-1].id) {
			return nil, bad
		}
		if t.state == termActive {
			active++
		}
		terms[i], rest = t, rest[termBytes:]
	}
	if active != 1 {
		return nil, bad
	}
	return buildKeyring(cluster, version, terms, bytes.Clone(rest[8:]), fromMicro(rest)), nil
}

// decodeTerm decodes one term, or returns nil.
func decodeTerm(b []byte) *term {
	id, state, key := binary.BigEndian.Uint32(b), termState(b[4]), bytes.Clone(b[13:termBytes])
	zero := bytes.Equal(key, make([]byte, keyBytes))
	switch state {
	case termActive, termDecrypt:
		if zero {
			return nil
		}
	case termDestroyed:
		if !zero {
			return nil
		}
	default:
		return nil
	}
	if id == 0 {
		return nil
	}
	return newTerm(id, state, fromMicro(b[5:]), key)
}

func fromMicro(b []byte) time.Time {
	return time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC()
}
