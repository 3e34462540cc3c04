package storage

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Store keys are one kind byte (two within policies and identities) followed by
// blinded ids of 16 bytes, big-endian numbers and nothing else. What a reader of
// the raw store learns is how many records of each kind there are, which of them
// belong together, when they expire and their padded sizes.
//
//	f                          format: "heroctl store " | version | " " | cluster id
//	k                          keyring, sealed under the root key
//	h                          head: touched by every commit, so its revision is the newest
//	d  | decision(16)          a decision that has landed; its revision tells when
//
//	s  | id                    secret: present state and metadata of the current version
//	v  | id | version(4)       metadata of a superseded version
//	x  | id | version(4)       value of a version
//	n  | id                    name of a secret that is neither deleted nor destroyed
//	c  | id of lower case      holds a path against others that differ only by case
//	t  | id                    tombstone: the last version number of a destroyed secret
//	e  | time(8) | id | v(4)   value to erase then; version 0: deleted secret to destroy then
//	g  | id | version(4)       destroyed secret whose records up to version are being removed
//
//	ph                         head of the policies: the present manifest's root
//	ps | id of set digest      root of the manifest of a policy set, past or present
//	pm | id of page digest     page of a manifest
//	px | id of text digest     policy text
//	pr | id | n(4) | decision  revision record of a policy
//
//	ic                         token epoch of the cluster
//	ib                         set by bootstrap, so that there is one only
//	iu | id, ir | id           user, role
//	ifu| id, ifr| id           holds a user's or role's name against other cases of it
//	it | token key(32)         which token (user and accessor) a bearer's bytes stand for
//	ia | user id | accessor id token
//	il | accessor id | acc. id  child of a token
//	ju | id | n(4), jr, jt     numbered past and present states of users, roles, tokens
//	q  | time(8) | user | acc. token to remove then
const (
	kindFormat   = "f"
	kindKeyring  = "k"
	kindHead     = "h"
	kindDecision = "d"

	kindSecret    = "s"
	kindVersion   = "v"
	kindValue     = "x"
	kindName      = "n"
	kindFold      = "c"
	kindTombstone = "t"
	kindExpiry    = "e"
	kindPurge     = "g"

	kindPolicyHead = "ph"
	kindPolicySet  = "ps"
	kindPolicyPage = "pm"
	kindPolicyText = "px"
	kindPolicyRev  = "pr"

	kindIdentity     = "i" // prefix of everything that authentication depends on
	kindEpoch        = "ic"
	kindBootstrap    = "ib"
	kindUser         = "iu"
	kindRole         = "ir"
	kindUserFold     = "ifu"
	kindRoleFold     = "ifr"
	kindBearer       = "it"
	kindToken        = "ia"
	kindChild        = "il"
	kindUserHistory  = "ju"
	kindRoleHistory  = "jr"
	kindTokenHistory = "jt"
	kindTokenExpiry  = "q"
)

// idLen is the length of a blinded id in a key.
const idLen = len(crypto.ID{})

// key builds a store key from a kind and its parts.
func key(kind string, parts ...[]byte) []byte {
	k := []byte(kind)
	for _, part := range parts {
		k = append(k, part...)
	}
	return k
}

// number is a version in a key: big-endian, so that keys sort by it.
func number(v schema.Version) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }

// instant is a time in a key: big-endian microseconds, so that keys sort by it.
// Times before 1970 do not occur.
func instant(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(max(0, t.UnixMicro())))
}

// decisionKey returns the key that marks a decision as landed.
func decisionKey(id schema.DecisionID) ([]byte, error) {
	u, err := uuid.Parse(string(id))
	if err != nil {
		return nil, fault.New(fault.Denied, "the permit carries no decision")
	}
	return key(kindDecision, u[:]), nil
}

// seal encodes v as JSON and seals it. Records are JSON inside, so that fields
// can be added: a field that is absent has its zero value.
func seal(keys *crypto.Keyring, l crypto.Label, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "", err)
	}
	return keys.Seal(l, text)
}

// unseal opens and decodes what seal made.
func unseal[T any](keys *crypto.Keyring, l crypto.Label, sealed []byte) (T, error) {
	var v T
	text, err := keys.Open(l, sealed)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(text, &v); err != nil {
		var none T
		return none, fault.Wrap(fault.Integrity, "a stored record cannot be decoded", err)
	}
	return v, nil
}

// hexID writes a key's id for use as the path of a label.
func hexID(b []byte) string { return hex.EncodeToString(b) }

// absent reports whether err says that a key is not there.
func absent(err error) bool { return errors.Is(err, fault.NotFound) }

// stamp is how the store keeps a time: UTC, to the microsecond, as it is shown.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
