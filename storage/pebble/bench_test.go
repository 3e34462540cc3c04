package pebble_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/pebble"
)

// BenchmarkCommit commits batches of a value of 1 KiB and a small one, from
// several goroutines; the time is per commit.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := open(b, pebble.Config{Dir: b.TempDir()})
			defer s.Close()
			var next atomic.Int64
			value := make([]byte, 1024)
			b.ResetTimer()
			var all sync.WaitGroup
			for range writers {
				all.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						key := fmt.Appendf(nil, "key/%020d", i)
						_, err := s.Commit(context.Background(), storage.Batch{
							Require: []storage.Require{{Key: key}},
							Put:     []storage.Put{{Key: key, Value: value}, {Key: append([]byte("d/"), key...), Value: key}},
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkGet reads values of 1 KiB from among 20,000.
func BenchmarkGet(b *testing.B) {
	const keys = 20_000
	s := open(b, pebble.Config{Dir: b.TempDir()})
	defer s.Close()
	key := func(i int) []byte { return fmt.Appendf(nil, "key/%020d", i) }
	for i := 0; i < keys; i += 100 {
		var batch storage.Batch
		for j := range 100 {
			batch.Put = append(batch.Put, storage.Put{Key: key(i + j), Value: make([]byte, 1024)})
		}
		if _, err := s.Commit(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := s.Get(context.Background(), key(i*7919%keys)); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
