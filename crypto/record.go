package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"

	"github.com/heroctl/heroctl/schema/fault"
)

// A record:
//
//	offset  0  magic   'H'
//	        1  format  1
//	        2  term    u32, big endian
//	        6  salt    24 random bytes
//	       30  commit  32 bytes
//	       62  nonce   12 random bytes
//	       74  ciphertext, as long as the padded plaintext
//	           tag     16 bytes
//
// Salt and label give every record a key of its own:
//
//	key32 | commit32 = HKDF-Expand(purpose key, "heroctl record key v1" | lp(aad) | salt)
//
// commit makes the record open under one key only. aad names the place:
//
//	lp(domain) | lp(cluster) | lp(kind) | lp(namespace) | lp(path) | lp(version u64) | lp(field) | lp(term u32)
//
// where lp(x) is the length of x as u32, then x. Fields are never joined by a
// separator: a separator inside a field would let one label pass for another.
const (
	recordMagic  = 'H'
	recordFormat = 1

	offTerm     = 2
	offSalt     = 6
	offCommit   = 30
	offBox      = 62 // nonce, ciphertext, tag
	saltBytes   = offCommit - offSalt
	commitBytes = offBox - offCommit
	boxOverhead = 28

	// Overhead is what sealing adds to a padded plaintext.
	Overhead = offBox + boxOverhead

	labelRecordKey = "heroctl record key v1"

	domainRecord  = "heroctl/rec/v1"
	domainDataKey = "heroctl/key/v1"
	domainKeyring = "heroctl/keyring/v1"
)

// Label says where a record belongs. It is not stored: who opens a record names
// the place he took it from, and the record opens only if it was sealed for that
// place.
type Label struct {
	Kind    string // what it is: "secret", "version", "token"
	Path    string // canonical path or name
	Field   string // which part of it, if it has several records
	Version uint64 // which version of it, or 0
}

// lp appends the length of field, then field.
func lp[T string | []byte](dst []byte, field T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(field)))
	return append(dst, field...)
}

// aad returns the associated data of a label, after lp(domain) | lp(cluster).
func (l Label) aad(domain, cluster string, term uint32) []byte {
	dst := make([]byte, 0, 8*4+12+len(domain)+len(cluster)+len(l.Kind)+len(l.Path)+len(l.Field))
	dst = lp(dst, domain)
	dst = lp(dst, cluster)
	dst = lp(dst, l.Kind)
	dst = lp(dst, "") // namespace: there is one so far
	dst = lp(dst, l.Path)
	dst = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(dst, 8), l.Version)
	dst = lp(dst, l.Field)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, 4), term)
}

// recordKeys derives the key and the commitment of one record.
func recordKeys(purpose, aad, salt []byte) (key, commit []byte) {
	info := make([]byte, 0, len(labelRecordKey)+4+len(aad)+len(salt))
	info = append(info, labelRecordKey...)
	info = append(lp(info, aad), salt...)
	both := expand(purpose, string(info), keyBytes+commitBytes)
	return both[:keyBytes], both[keyBytes:]
}

// sealBox appends salt, commit and box to dst: the part of a record after its
// header.
func sealBox(dst, purpose, aad, plaintext []byte) ([]byte, error) {
	if len(plaintext) > maxPlain {
		return nil, fault.New(fault.TooLarge, "the value is too large to seal")
	}
	var salt [saltBytes]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, fault.Wrap(fault.Internal, "no random numbers", err)
	}
	key, commit := recordKeys(purpose, aad, salt[:])
	gcm := newGCM(key)
	clear(key)
	padded := pad(make([]byte, 0, padSize(len(plaintext))), plaintext)
	dst = append(append(dst, salt[:]...), commit...)
	dst = gcm.Seal(dst, nil, padded, aad)
	clear(padded)
	return dst, nil
}

// openBox opens what sealBox appended.
func openBox(box, purpose, aad []byte) ([]byte, error) {
	if len(box) < saltBytes+commitBytes+boxOverhead {
		return nil, fault.New(fault.Integrity, "the record is too short")
	}
	salt, rest := box[:saltBytes], box[saltBytes:]
	key, commit := recordKeys(purpose, aad, salt)
	defer clear(key)
	// Without the commitment, a record could be made that opens under two keys to
	// two plaintexts.
	if subtle.ConstantTimeCompare(commit, rest[:commitBytes]) != 1 {
		return nil, fault.New(fault.Integrity, "the record was altered or is not from this place")
	}
	padded, err := newGCM(key).Open(nil, nil, rest[commitBytes:], aad)
	if err != nil {
		return nil, fault.New(fault.Integrity, "the record was altered")
	}
	return unpad(padded)
}

// newGCM returns AES-256-GCM that makes and carries its own random nonce. It
// fails only for keys of another length.
func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("crypto: aes: " + err.Error())
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("crypto: gcm: " + err.Error())
	}
	return gcm
}
