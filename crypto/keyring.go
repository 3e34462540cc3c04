package crypto

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// termState says what a term's keys are for. The list is append-only: it is
// stored.
type termState byte

const (
	termActive    termState = 1 // seals and opens
	termDecrypt   termState = 2 // opens only
	termDestroyed termState = 3 // its key is gone; the entry tells why
)

// purpose names a derived key.
type purpose int

const (
	purposeRecord purpose = iota // records
	purposeIndex                 // blinded names
	purposeToken                 // token pepper
	purposeAudit                 // value fingerprints
	purposeBackup                // backup keys
	purposeCursor                // page tokens
	purposes
)

// purposeLabels are the HKDF labels of the purposes: one key, one purpose.
var purposeLabels = [purposes]string{
	purposeRecord: "heroctl term rec v1",
	purposeIndex:  "heroctl term idx v1",
	purposeToken:  "heroctl term tok v1",
	purposeAudit:  "heroctl term audh v1",
	purposeBackup: "heroctl term bak v1",
	purposeCursor: "heroctl term cur v1",
}

// term is one generation of data keys. What is derived sits behind closures, so
// that nothing prints it.
type term struct {
	id      uint32
	state   termState
	created time.Time
	key     secret.Value               // the data key; all zero when destroyed
	derived func(p purpose) []byte     // key of a purpose
	macs    func(p purpose) *sync.Pool // of hash.Hash: HMAC-SHA256 under that key
}

func newTerm(id uint32, state termState, created time.Time, key []byte) *term {
	var keys [purposes][]byte
	var macs [purposes]sync.Pool
	for p, label := range purposeLabels {
		if state == termDestroyed {
			break
		}
		derived := expand(key, label, keyBytes)
		keys[p], macs[p].New = derived, func() any { return hmac.New(sha256.New, derived) }
	}
	return &term{id, state, created, secret.New(key),
		func(p purpose) []byte { return keys[p] },
		func(p purpose) *sync.Pool { return &macs[p] }}
}

// mac authenticates msg under the key of purpose p. The keyed hash is used again,
// which saves half the work for short messages.
func (t *term) mac(p purpose, msg []byte) (sum [32]byte) {
	pool := t.macs(p)
	h := pool.Get().(hash.Hash)
	h.Reset()
	h.Write(msg)
	h.Sum(sum[:0])
	pool.Put(h)
	return sum
}

// Keyring holds the keys of one cluster. It is immutable and safe for concurrent
// use; printing shows cluster and version only.
type Keyring struct {
	cluster string
	version uint64
	terms   []*term // by id; exactly one is active
	active  *term

	signSeed    secret.Value // Ed25519 seed
	signCreated time.Time
	sign        func(msg []byte) []byte
	public      ed25519.PublicKey
}

// NewKeyring makes the first keyring of a cluster: version 1, with one term and
// one signing key.
func NewKeyring(cluster string, now time.Time) (*Keyring, error) {
	fresh := make([]byte, 2*keyBytes)
	if _, err := rand.Read(fresh); err != nil {
		return nil, fault.Wrap(fault.Internal, "no random numbers", err)
	}
	first := newTerm(1, termActive, now.UTC().Truncate(time.Microsecond), fresh[:keyBytes:keyBytes])
	return buildKeyring(cluster, 1, []*term{first}, fresh[keyBytes:], now.UTC().Truncate(time.Microsecond)), nil
}

// buildKeyring takes ownership of seed. One of the terms is active.
func buildKeyring(cluster string, version uint64, terms []*term, seed []byte, signCreated time.Time) *Keyring {
	private := ed25519.NewKeyFromSeed(seed)
	k := &Keyring{
		cluster: cluster, version: version, terms: terms,
		signSeed: secret.New(seed), signCreated: signCreated,
		sign:   func(msg []byte) []byte { return ed25519.Sign(private, msg) },
		public: private.Public().(ed25519.PublicKey),
	}
	for _, t := range terms {
		if t.state == termActive {
			k.active = t
		}
	}
	return k
}

// Version returns the keyring's version. It grows with every change; a keyring
// older than one seen before is a sign of rollback.
func (k *Keyring) Version() uint64 { return k.version }

// Cluster returns the id of the cluster whose keys these are.
func (k *Keyring) Cluster() string { return k.cluster }

// Format prints cluster and version for every verb.
func (k *Keyring) Format(s fmt.State, _ rune) {
	if k == nil {
		_, _ = io.WriteString(s, "no keyring")
		return
	}
	_, _ = fmt.Fprintf(s, "keyring of cluster %s version %d", k.cluster, k.version)
}

// Seal pads and encrypts plaintext under a key of its own, bound to l. The
// plaintext stays the caller's.
func (k *Keyring) Seal(l Label, plaintext []byte) ([]byte, error) {
	return k.seal(domainRecord, l, plaintext)
}

// Open returns the plaintext of what Seal made with the same label. Anything
// else is of kind fault.Integrity.
func (k *Keyring) Open(l Label, sealed []byte) ([]byte, error) {
	return k.open(domainRecord, l, sealed)
}

func (k *Keyring) seal(domain string, l Label, plaintext []byte) ([]byte, error) {
	rec := make([]byte, 0, Overhead+padSize(len(plaintext)))
	rec = append(rec, recordMagic, recordFormat)
	rec = binary.BigEndian.AppendUint32(rec, k.active.id)
	return sealBox(rec, k.active.derived(purposeRecord), l.aad(domain, k.cluster, k.active.id), plaintext)
}

func (k *Keyring) open(domain string, l Label, sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, fault.New(fault.Integrity, "the record is too short")
	}
	if sealed[0] != recordMagic || sealed[1] != recordFormat {
		return nil, fault.New(fault.Integrity, "this is not a record of a known format")
	}
	id := binary.BigEndian.Uint32(sealed[offTerm:])
	t := k.term(id)
	if t == nil {
		return nil, fault.New(fault.Integrity, "the record is of an unknown term")
	}
	return openBox(sealed[offSalt:], t.derived(purposeRecord), l.aad(domain, k.cluster, id))
}

// term returns the term with the id if it can still open records, or nil.
func (k *Keyring) term(id uint32) *term {
	for _, t := range k.terms {
		if t.id == id && t.state != termDestroyed {
			return t
		}
	}
	return nil
}
