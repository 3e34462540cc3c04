package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/pebble"
	"github.com/heroctl/heroctl/storage/storagetest"
)

const flipKeys = 400

// flipStore makes a store with tables, a manifest and a log that is not empty,
// and returns its disk, and what it holds.
func flipStore(t *testing.T) (*vfs.MemFS, map[string]string, schema.Revision) {
	fs, want := vfs.NewCrashableMem(), map[string]string{}
	var head schema.Revision
	for range 2 { // opening again flushes the first half to tables
		s := open(t, pebble.Config{Dir: "data", FS: fs, Memory: 32 << 10})
		for range flipKeys / 2 {
			key := fmt.Sprintf("key %04d", len(want))
			want[key] = strings.Repeat(key, 20)
			head = storagetest.NewKit(t, s).Put(key, want[key])
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return fs, want, head
}

// TestBitFlips flips single bits of what is stored. Whatever happens, no read may
// give a wrong value, and no commit may be gone unnoticed. A flip in a log can look
// like a crash: commits are then missing from the end, and the revision shows it, as
// the package comment says.
func TestBitFlips(t *testing.T) {
	const perKind = 150
	rnd := storagetest.Rand(t)
	fs, want, head := flipStore(t)
	names, err := fs.List("data")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]string{}
	for _, name := range names {
		kind, _, _ := strings.Cut(name, "-")
		if ext := path.Ext(name); ext != "" && !strings.HasPrefix(name, "marker") {
			kind = ext
		}
		if size(t, fs, name) > 0 {
			files[kind] = append(files[kind], name)
		}
	}
	for _, kind := range []string{".sst", ".log", "MANIFEST", ".sum", "OPTIONS"} {
		if len(files[kind]) == 0 {
			t.Fatalf("there is no %s among %q", kind, names)
		}
		outcomes := map[string]int{}
		for range perKind {
			name := files[kind][rnd.IntN(len(files[kind]))]
			outcomes[flipOne(t, fs, rnd, name, want, head)]++
		}
		t.Logf("%s: %v", kind, outcomes)
		if outcomes["lost, same revision"] > 0 || kind != ".log" && outcomes["lost"] > 0 {
			t.Errorf("%s: %v; commits are gone and nothing tells", kind, outcomes)
		}
	}
}

// flipOne flips one bit of a copy and says what came of it.
func flipOne(t *testing.T, fs *vfs.MemFS, rnd *rand.Rand, name string, want map[string]string, head schema.Revision) string {
	disk := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rnd})
	content := contentOf(t, disk, name)
	content[rnd.IntN(len(content))] ^= 1 << rnd.IntN(8)
	replace(t, disk, name, content)
	s, err := pebble.Open(pebble.Config{Dir: "data", FS: disk, Logger: quiet()})
	if err != nil {
		return "refused to open"
	}
	defer s.Close()
	lost := 0
	for _, key := range slices.Sorted(maps.Keys(want)) { // in the order of commits
		it, err := s.Get(context.Background(), []byte(key))
		switch {
		case errors.Is(err, fault.Integrity):
			return "detected"
		case errors.Is(err, fault.NotFound):
			lost++
		case err != nil:
			t.Errorf("%s: Get: %v, want %s", name, err, fault.Integrity)
		case string(it.Value) != want[key]:
			t.Errorf("%s: a flipped bit gave a wrong value", name)
		case lost > 0:
			t.Errorf("%s: %d commits are gone, and a later one is there", name, lost)
		}
	}
	if lost == 0 {
		return "harmless"
	}
	rev, err := s.Commit(context.Background(), storage.Batch{Put: []storage.Put{{Key: []byte("x")}}})
	if err != nil {
		return "detected"
	}
	if rev > head {
		return "lost, same revision"
	}
	return "lost"
}

func size(t *testing.T, fs vfs.FS, name string) int64 {
	info, err := fs.Stat(path.Join("data", name))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func contentOf(t *testing.T, fs vfs.FS, name string) []byte {
	f, err := fs.Open(path.Join("data", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func replace(t *testing.T, fs vfs.FS, name string, content []byte) {
	f, err := fs.Create(path.Join("data", name), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
