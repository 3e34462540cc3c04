package crypto_test

import (
	"fmt"
	"testing"
)

func BenchmarkSeal(b *testing.B) {
	k := newKeyring(b, "c")
	for _, n := range []int{64, 1024, 64 << 10} {
		b.Run(fmt.Sprintf("bytes=%d", n), func(b *testing.B) {
			plaintext := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Seal(label, plaintext); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	k := newKeyring(b, "c")
	for _, n := range []int{64, 1024, 64 << 10} {
		b.Run(fmt.Sprintf("bytes=%d", n), func(b *testing.B) {
			sealed, err := k.Seal(label, make([]byte, n))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Open(label, sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDataKey(b *testing.B) {
	d, _, err := newKeyring(b, "c").NewDataKey(label)
	if err != nil {
		b.Fatal(err)
	}
	plaintext, aad := make([]byte, 500), []byte("node-1 0000000000000007")
	sealed := d.Seal(nil, plaintext, aad)
	b.Run("seal", func(b *testing.B) {
		dst := make([]byte, 0, 1024)
		b.ReportAllocs()
		for b.Loop() {
			d.Seal(dst, plaintext, aad)
		}
	})
	b.Run("open", func(b *testing.B) {
		dst := make([]byte, 0, 1024)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Open(dst, sealed, aad); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkBlindPath(b *testing.B) {
	k := newKeyring(b, "c")
	b.ReportAllocs()
	for b.Loop() {
		k.BlindPath("secret", "prod/payments/db_password")
	}
}

func BenchmarkTokenKey(b *testing.B) {
	k, token := newKeyring(b, "c"), make([]byte, 54)
	b.ReportAllocs()
	for b.Loop() {
		k.TokenKey(token)
	}
}
