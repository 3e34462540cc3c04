package crypto

import "strings"

// ID is a blinded name: it tells equal names from different ones to who holds no
// key, and nothing else.
type ID [16]byte

// Blind returns the blinded name of one segment below parent, which is zero at
// the top. Space separates kinds of names: the same segment in two spaces gives
// unrelated ids.
//
//	HMAC-SHA256(index key, lp(space) | parent | lp(segment))[:16]
func (k *Keyring) Blind(space string, parent ID, segment string) ID {
	msg := make([]byte, 0, 8+len(space)+len(parent)+len(segment))
	msg = lp(append(lp(msg, space), parent[:]...), segment)
	sum := k.active.mac(purposeIndex, msg)
	return ID(sum[:len(ID{})])
}

// BlindPath returns the id of the last segment of path, Blind folded over the
// segments from the top.
func (k *Keyring) BlindPath(space, path string) ID {
	var id ID
	for segment := range strings.SplitSeq(path, "/") {
		id = k.Blind(space, id, segment)
	}
	return id
}

// TokenKey returns what is stored in place of a token: its HMAC under the token
// pepper.
func (k *Keyring) TokenKey(token []byte) [32]byte {
	return k.active.mac(purposeToken, token)
}

// MAC authenticates what a client hands back, such as a page token. Purpose and
// parts are length-prefixed, so that no two lists of parts share a MAC. Compare
// with crypto/subtle or hmac.Equal.
func (k *Keyring) MAC(purpose string, parts ...[]byte) [32]byte {
	msg := lp(nil, purpose)
	for _, part := range parts {
		msg = lp(msg, part)
	}
	return k.active.mac(purposeCursor, msg)
}
