package storage

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"hash/crc32"
	"math/big"
	"strings"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// TokenKind says what a token is for. It shows in the token's prefix.
type TokenKind string

// The kinds of token; append-only.
const (
	ServiceToken   TokenKind = "service"
	UserToken      TokenKind = "user"
	BootstrapToken TokenKind = "bootstrap" // an administrator's first, short-lived
)

// A bearer's token is
//
//	"ht_" | kind: s, u or b | "_" | 43 characters of base 62: 32 random bytes | 6: CRC-32 of all before
//
// TokenPattern is for scanners that look for tokens in code and logs. The
// checksum makes a mistyped or made-up token refusable without a look-up.
const (
	TokenPattern = `ht_[sub]_[0-9A-Za-z]{49}`

	tokenPrefixLen = len("ht_s_")
	tokenBodyLen   = 43
	tokenSumLen    = 6
	tokenLen       = tokenPrefixLen + tokenBodyLen + tokenSumLen
	base62         = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// letter is the kind as it stands in a token, or 0 for an unknown kind.
func (k TokenKind) letter() byte {
	switch k {
	case ServiceToken, UserToken, BootstrapToken:
		return k[0]
	}
	return 0
}

// newBearer makes a token of a known kind.
func newBearer(kind TokenKind) secret.Value {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	text := append(make([]byte, 0, tokenLen), "ht_"...)
	text = append(text, kind.letter(), '_')
	text = appendBase62(text, new(big.Int).SetBytes(random[:]), tokenBodyLen)
	text = appendBase62(text, new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE(text))), tokenSumLen)
	clear(random[:])
	return secret.New(text)
}

// appendBase62 writes n with exactly width digits.
func appendBase62(dst []byte, n *big.Int, width int) []byte {
	start := len(dst)
	dst = append(dst, strings.Repeat("0", width)...)
	base, digit := big.NewInt(int64(len(base62))), new(big.Int)
	for i := start + width - 1; i >= start; i-- {
		n.DivMod(n, base, digit)
		dst[i] = base62[digit.Int64()]
	}
	return dst
}

// wellFormed reports whether text could be a token: exact length, alphabet, kind
// and checksum. Nothing else is looked up.
func wellFormed(text []byte) bool {
	if len(text) != tokenLen || string(text[:3]) != "ht_" || text[4] != '_' || strings.IndexByte("sub", text[3]) < 0 {
		return false
	}
	for _, c := range text[tokenPrefixLen:] {
		if strings.IndexByte(base62, c) < 0 {
			return false
		}
	}
	body, sum := text[:tokenLen-tokenSumLen], text[tokenLen-tokenSumLen:]
	want := appendBase62(nil, new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE(body))), tokenSumLen)
	return subtle.ConstantTimeCompare(sum, want) == 1
}

// accessorLen is the length of an accessor: 96 random bits in hexadecimal.
const accessorLen = 24

func newAccessor() string {
	var random [accessorLen / 2]byte
	_, _ = rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

// incarnation is a random mark that tells a user or role from an earlier one of
// the same name.
func newIncarnation() string { return newAccessor() }

// TokenPath takes the path of a token, USER/ACCESSOR, apart. The error is of kind
// fault.InvalidPath.
func TokenPath(path schema.Path) (user schema.Name, accessor string, err error) {
	segments := path.Segments()
	if len(segments) != 2 {
		return schema.Name{}, "", fault.New(fault.InvalidPath, "a token's path is its user and its accessor, USER/ACCESSOR")
	}
	user, err = schema.ParseName(segments[0])
	return user, segments[1], err
}
