package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/heroctl/heroctl/schema"
)

// benchRig is a rig on the real disk.
func benchRig(b *testing.B, mode Durability) *rig {
	r := newRig(b, nil)
	dir := b.TempDir()
	r.cfg.FS, r.cfg.Durability = nil, mode
	r.cfg.Dir, r.cfg.Checkpoint = filepath.Join(dir, "audit"), filepath.Join(dir, "checkpoint")
	return r
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFsync is the raw rate of the disk: 600 bytes appended and fsynced.
func BenchmarkFsync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 600)
	for b.Loop() {
		if _, err := f.Write(buf); err != nil {
			b.Fatal(err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "fsync/s")
}

// BenchmarkAppend measures records with index, stored hashes and checkpoint.
func BenchmarkAppend(b *testing.B) {
	for _, mode := range []Durability{Strict, Kernel} {
		for _, writers := range []int{1, 8, 64, 256} {
			name := map[Durability]string{Strict: "strict", Kernel: "kernel"}[mode]
			b.Run(fmt.Sprintf("%s/%d", name, writers), func(b *testing.B) { benchAppend(b, mode, writers) })
		}
	}
}

func benchAppend(b *testing.B, mode Durability, writers int) {
	r := benchRig(b, mode)
	tr := r.open()
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, writers)
	var wg sync.WaitGroup
	b.ResetTimer()
	cpu := cpuTime()
	for w := range writers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				e := read(users(w%50), fmt.Sprintf("prod/app-%02d/db_password", w%97))
				start := time.Now()
				if _, err := tr.Append(ctx, e); err != nil {
					b.Error(err)
					return
				}
				took[w] = append(took[w], time.Since(start))
			}
		})
	}
	wg.Wait()
	elapsed := b.Elapsed()
	if _, err := tr.Find(ctx, Query{User: "user-001", Limit: 1}); err != nil { // waits for the index
		b.Error(err)
	}
	cpu = cpuTime() - cpu
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "records/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N)/1000, "cpu-us/record")
	r.close(tr)
}

// BenchmarkFind measures a page of 100 in a trail of many records.
func BenchmarkFind(b *testing.B) {
	r := newRig(b, nil)
	tr := r.open()
	const records = 100_000
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < records; i += 64 {
				e := read(users(i%1000), fmt.Sprintf("prod/app-%03d/key-%d", i%200, i%7))
				if i%5000 == 0 {
					e = denied("mallory", "prod/root")
				}
				if _, err := tr.Append(ctx, e); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for tr.caughtUp(ctx) != nil { // a backlog of 100,000 may take longer than a query waits
	}
	secret := schema.Secret
	for name, q := range map[string]Query{
		"path":   {Resource: secret, Path: schema.MustPath("prod/app-003/key-3")},
		"user":   {User: "user-017"},
		"deny":   {Result: ResultDeny},
		"prefix": {Resource: secret, Prefix: must(schema.ParsePrefix("prod/app-003"))},
		"all":    {},
	} {
		for _, newest := range []bool{false, true} {
			q.Newest = newest
			b.Run(fmt.Sprintf("%s/newest=%v", name, newest), func(b *testing.B) {
				rows := 0
				for b.Loop() {
					page, err := tr.Find(ctx, q)
					if err != nil {
						b.Fatal(err)
					}
					rows = len(page.Rows)
				}
				b.ReportMetric(float64(rows), "rows")
			})
		}
	}
	r.close(tr)
}

// BenchmarkOpen measures a start on a full segment.
func BenchmarkOpen(b *testing.B) {
	r := newRig(b, nil)
	tr := r.open()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 800 {
				_, _ = tr.Append(ctx, read("alice", "prod/db"))
			}
		})
	}
	wg.Wait()
	r.close(tr)
	r.cfg.Index = nil
	for b.Loop() {
		r.close(r.open())
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// BenchmarkVerifyExport measures the offline verification of an export, for each
// record.
func BenchmarkVerifyExport(b *testing.B) {
	r, tr, lines, key, _ := exported(b, 5000)
	text := strings.Join(lines, "\n") + "\n"
	r.close(tr)
	for b.Loop() {
		got, err := VerifyExport(ctx, strings.NewReader(text), ExportCheck{Key: key})
		if err != nil || !got.Integrity.OK {
			b.Fatal(err, got.Integrity)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(lines)), "us/record")
}
