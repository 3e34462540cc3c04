package crypto

import (
	"encoding/binary"
	"math/bits"

	"github.com/heroctl/heroctl/schema/fault"
)

// A plaintext is padded before it is sealed, so that the length of a record does
// not tell a PIN from a password:
//
//	padded = length u32 | plaintext | zeros
//
// to a multiple of 32 bytes, and above 1 KiB to the steps of Padmé (at most 12 %
// more).
const (
	lengthBytes = 4
	padStep     = 32

	// maxPlain bounds a plaintext, well above any value the store takes.
	maxPlain = 64 << 20
)

// padSize returns the padded size of a plaintext of n bytes.
func padSize(n int) int {
	size := uint64(n) + lengthBytes
	if exp := bits.Len64(size) - 1; exp > 0 {
		low := uint64(1)<<(exp-bits.Len64(uint64(exp))) - 1
		size = (size + low) &^ low
	}
	return int((size + padStep - 1) &^ (padStep - 1))
}

// pad appends the padded plaintext to dst.
func pad(dst, plaintext []byte) []byte {
	size := len(dst) + padSize(len(plaintext))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(plaintext)))
	dst = append(dst, plaintext...)
	return append(dst, make([]byte, size-len(dst))...)
}

// unpad returns the plaintext in padded, which must be padded exactly as pad
// does: there is one encoding of each plaintext.
func unpad(padded []byte) ([]byte, error) {
	if len(padded) < lengthBytes {
		return nil, fault.New(fault.Integrity, "the record is too short")
	}
	n := uint64(binary.BigEndian.Uint32(padded))
	if n > maxPlain || len(padded) != padSize(int(n)) {
		return nil, fault.New(fault.Integrity, "the record is padded wrongly")
	}
	rest := padded[lengthBytes:]
	for _, b := range rest[n:] {
		if b != 0 {
			return nil, fault.New(fault.Integrity, "the record is padded wrongly")
		}
	}
	return rest[:n:n], nil
}
