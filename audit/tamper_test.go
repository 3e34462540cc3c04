package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage/memory"
)

func readFile(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, category)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// snapshot returns a copy of a folder's files.
func snapshot(t testing.TB, fs vfs.FS, dir string) map[string][]byte {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		if name != "LOCK" {
			files[name] = readFile(t, fs, fs.PathJoin(dir, name))
		}
	}
	return files
}

func restore(t testing.TB, fs vfs.FS, dir string, files map[string][]byte) {
	t.Helper()
	for name := range snapshot(t, fs, dir) {
		if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range files {
		writeFile(t, fs, fs.PathJoin(dir, name), b)
	}
}

// filled returns a rig whose closed trail has several segments.
func filled(t testing.TB, records int) *rig {
	r := newRig(t, nil)
	r.cfg.pace, r.cfg.SegmentBytes = quickPace, 9000
	tr := r.open()
	for i := range records {
		r.append(tr, read(users(i%3), fmt.Sprintf("prod/db-%d", i)))
	}
	r.close(tr)
	return r
}

// frames returns where the frames of a segment file begin, and its end.
func frames(b []byte) []int {
	at := []int{headerBytes}
	for i := headerBytes; i+frameBytes <= len(b); {
		h, _ := decodeFrameHead(b[i:])
		i += frameBytes + int(h.length)
		at = append(at, i)
	}
	return at
}

// noticed reports what Open or else Verify says about a changed trail.
func noticed(t *testing.T, r *rig) string {
	t.Helper()
	r.cfg.Index = memory.New()
	tr, err := Open(ctx, r.cfg)
	if err != nil {
		if !errors.Is(err, fault.Integrity) {
			t.Errorf("Open = %v, want integrity", err)
		}
		return "open: " + fault.Detail(err)
	}
	defer r.close(tr)
	rep, err := tr.Verify(ctx)
	switch {
	case err != nil:
		t.Errorf("Verify: %v", err)
	case !rep.Integrity.OK:
		return fmt.Sprintf("integrity: segment %d record %d: %s", rep.Integrity.Segment, rep.Integrity.Sequence, rep.Integrity.Detail)
	case !rep.Completeness.OK:
		return fmt.Sprintf("completeness: segment %d record %d: %s", rep.Completeness.Segment, rep.Completeness.Sequence, rep.Completeness.Detail)
	}
	return ""
}

func TestTampering(t *testing.T) {
	r := filled(t, 60)
	fs := r.cfg.FS
	clean := snapshot(t, fs, testDir)
	if got := noticed(t, r); got != "" {
		t.Fatalf("untouched trail: %s", got)
	}
	restore(t, fs, testDir, clean)
	last := ""
	for name := range clean {
		if strings.HasSuffix(name, segmentSuffix) {
			last = max(last, name)
		}
	}
	first, second := segmentName(1), segmentName(2)
	at := frames(clean[first])
	cut := func(b []byte, from, to int) []byte { return append(bytes.Clone(b[:from]), b[to:]...) }
	flip := func(b []byte, i int) []byte { b = bytes.Clone(b); b[i] ^= 1; return b }
	for _, c := range []struct {
		what string
		do   func(map[string][]byte)
		want string
	}{
		{"edit a record", func(f map[string][]byte) { f[first] = flip(f[first], at[4]+40) }, "integrity: segment 1 record 5"},
		{"edit a frame's sequence", func(f map[string][]byte) { f[first] = flip(f[first], at[4]+11) }, "integrity: segment 1 record 5"},
		{"edit a frame's length", func(f map[string][]byte) { f[first] = flip(f[first], at[4]+3) }, "integrity: segment 1 record 5"},
		{"edit the header", func(f map[string][]byte) { f[first] = flip(f[first], 60) }, "open: the audit trail is damaged in segment 1: "},
		{"edit the wrapped key", func(f map[string][]byte) { f[first] = flip(f[first], boundBytes+60) }, "open: the audit trail is damaged in segment 1: "},
		{"delete a record", func(f map[string][]byte) { f[first] = cut(f[first], at[3], at[4]) }, "integrity: segment 1 record 4"},
		{"reorder records", func(f map[string][]byte) {
			b := f[first]
			f[first] = bytes.Join([][]byte{b[:at[3]], b[at[4]:at[5]], b[at[3]:at[4]], b[at[5]:]}, nil)
		}, "integrity: segment 1 record 4"},
		{"duplicate a record", func(f map[string][]byte) {
			b := f[first]
			f[first] = bytes.Join([][]byte{b[:at[4]], b[at[3]:at[4]], b[at[4]:]}, nil)
		}, "integrity: segment 1 record 5"},
		{"move a record between segments", func(f map[string][]byte) {
			b := f[first]
			f[second] = bytes.Join([][]byte{f[second][:headerBytes], b[at[3]:at[4]], f[second][headerBytes:]}, nil)
		}, "integrity: segment 2 record"},
		{"truncate an old segment", func(f map[string][]byte) { f[first] = f[first][:at[5]] }, "completeness: segment 1 record 6"},
		{"truncate the last segment", func(f map[string][]byte) { f[last] = f[last][:len(f[last])-1] }, "open: the audit trail is damaged in segment"},
		{"cut the last record", func(f map[string][]byte) { a := frames(f[last]); f[last] = f[last][:a[len(a)-2]] }, "open: the audit trail ends at record"},
		{"empty the last segment", func(f map[string][]byte) { f[last] = nil }, "open: the audit trail ends at record"},
		{"drop the first segment", func(f map[string][]byte) { delete(f, first) }, "completeness: segment 2 record 1: records 1 to"},
		{"drop a middle segment", func(f map[string][]byte) { delete(f, second) }, "open: segment 2 of the audit trail is missing"},
		{"drop the last segment", func(f map[string][]byte) { delete(f, last) }, "open: the audit trail ends at record"},
		{"drop all segments", func(f map[string][]byte) { clear(f) }, "open: the audit trail is lost: its checkpoint speaks of"},
		{"swap two segments", func(f map[string][]byte) { f[first], f[second] = f[second], f[first] }, "open: the audit trail is damaged in segment 1: "},
		{"edit the last segment", func(f map[string][]byte) { f[last] = flip(f[last], frames(f[last])[1]+20) }, "open: the audit trail is damaged in segment"},
		{"an alien file name", func(f map[string][]byte) { f["x.seg"] = nil }, "open: the trail's folder has a segment with a malformed name"},
	} {
		t.Run(c.what, func(t *testing.T) {
			files := map[string][]byte{}
			for name, b := range clean {
				files[name] = bytes.Clone(b)
			}
			c.do(files)
			restore(t, fs, testDir, files)
			if got := noticed(t, r); !strings.HasPrefix(got, c.want) {
				t.Errorf("noticed %q, want %q…", got, c.want)
			}
		})
	}
}

// Every flipped bit in any file of the trail is noticed, or is in a part that
// means nothing, such as the hashes that are made anew.
func TestFlippedBits(t *testing.T) {
	r := filled(t, 40)
	fs, rng := r.cfg.FS, seed(t)
	clean := snapshot(t, fs, testDir)
	checkpoint := readFile(t, fs, testCheckpoint)
	var names []string
	for name := range clean {
		names = append(names, name)
	}
	silent := 0
	const flips = 300
	for range flips {
		files := map[string][]byte{}
		for name, b := range clean {
			files[name] = b
		}
		name := names[rng.IntN(len(names))]
		b := bytes.Clone(files[name])
		i := rng.IntN(len(b))
		b[i] ^= 1 << rng.IntN(8)
		files[name] = b
		restore(t, fs, testDir, files)
		writeFile(t, fs, testCheckpoint, checkpoint)
		if noticed(t, r) != "" {
			continue
		}
		wrapped := 2 + int(clean[segmentName(1)][boundBytes+1])
		if name != treeName && (i < boundBytes || i >= headerBytes || i < boundBytes+wrapped) {
			t.Errorf("a flip of byte %d of %s was not noticed", i, name)
		}
		silent++
	}
	if silent > flips*3/4 {
		t.Errorf("%d of %d flips were in parts that mean nothing", silent, flips)
	}
}

func TestRollback(t *testing.T) {
	r := filled(t, 20)
	fs := r.cfg.FS
	old, oldCheckpoint := snapshot(t, fs, testDir), readFile(t, fs, testCheckpoint)
	tr := r.open()
	for range 20 {
		r.append(tr, read("alice", "prod/db"))
	}
	r.close(tr)
	fresh, freshCheckpoint := snapshot(t, fs, testDir), readFile(t, fs, testCheckpoint)

	restore(t, fs, testDir, old)
	if got := noticed(t, r); !strings.Contains(got, "records are lost or were rolled back") {
		t.Errorf("rolled-back folder: %q", got)
	}
	// An older checkpoint with the newer trail is only late.
	restore(t, fs, testDir, fresh)
	writeFile(t, fs, testCheckpoint, oldCheckpoint)
	if got := noticed(t, r); got != "" {
		t.Errorf("late checkpoint: %q", got)
	}
	// The old folder goes on in another way: same length, other records.
	restore(t, fs, testDir, old)
	writeFile(t, fs, testCheckpoint, oldCheckpoint)
	tr = r.open()
	for range 40 {
		r.append(tr, read("mallory", "prod/other"))
	}
	r.close(tr)
	writeFile(t, fs, testCheckpoint, freshCheckpoint)
	if got := noticed(t, r); !strings.Contains(got, "differs from its checkpoint") {
		t.Errorf("forked trail: %q", got)
	}
	// No checkpoint at all.
	restore(t, fs, testDir, fresh)
	if err := fs.Remove(testCheckpoint); err != nil {
		t.Fatal(err)
	}
	if got := noticed(t, r); !strings.Contains(got, "its checkpoint file is missing") {
		t.Errorf("missing checkpoint: %q", got)
	}
	r.cfg.AcceptMissingCheckpoint = true
	if got := noticed(t, r); got != "" {
		t.Errorf("accepted missing checkpoint: %q", got)
	}
	// A checkpoint that was edited, or is another cluster's.
	writeFile(t, fs, testCheckpoint, bytes.Replace(freshCheckpoint, []byte("\nrevision 0"), []byte("\nrevision 9"), 1))
	if got := noticed(t, r); !strings.Contains(got, "signature does not hold") {
		t.Errorf("edited checkpoint: %q", got)
	}
	writeFile(t, fs, testCheckpoint, readFile(t, newClosed(t).cfg.FS, testCheckpoint))
	if got := noticed(t, r); got == "" {
		t.Error("another trail's checkpoint was taken")
	}
}

func newClosed(t *testing.T) *rig {
	r := newRig(t, nil)
	r.close(r.open())
	return r
}

// What a thief of the folder and the index reads: no name, no path, no policy.
func TestNothingReadable(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.SegmentBytes = 20_000
	tr := r.open()
	words := []string{"CANARYUSER", "CANARYPATH", "CANARYROLE", "CANARYPOLICY", "CANARYAGENT", "CANARYTOKEN", "CANARYNODE", "granted", "secret:read"}
	for i := range 40 {
		e := read("CANARYUSER", fmt.Sprintf("prod/CANARYPATH-%d", i))
		e.Call.Principal.Roles = []string{"CANARYROLE"}
		e.Call.Principal.Policies = []string{"CANARYPOLICY", fmt.Sprintf("p%d", i%3)}
		e.Call.Principal.Token = "CANARYTOKEN"
		e.Source.Agent = "CANARYAGENT"
		r.append(tr, e)
	}
	if page, err := tr.Find(ctx, Query{User: "CANARYUSER"}); err != nil || len(page.Rows) != 40 {
		t.Fatalf("Find = %d rows, %v", len(page.Rows), err)
	}
	r.close(tr)
	var raw []byte
	for _, b := range snapshot(t, r.cfg.FS, testDir) {
		raw = append(raw, b...)
	}
	raw = append(raw, readFile(t, r.cfg.FS, testCheckpoint)...)
	items, err := r.cfg.Index.Scan(ctx, nil, nil, 1_000_000)
	if err != nil || len(items) < 40 {
		t.Fatalf("%d index entries, %v", len(items), err)
	}
	for _, item := range items {
		raw = append(append(raw, item.Key...), item.Value...)
	}
	raw = append(raw, r.log.Bytes()...)
	for _, word := range words {
		if bytes.Contains(raw, []byte(word)) {
			t.Errorf("%q can be read", word)
		}
	}
}

// A torn tail is cut; a hole in what had been fsynced is damage, even after the
// last checkpoint.
func TestTornTailAndHole(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.pace = quickPace
	r.cfg.pace.checkpointEvery = 1 << 40
	tr := r.open()
	for range 10 {
		r.append(tr, read("alice", "prod/db")) // one group each
	}
	fs := r.cfg.FS
	live := snapshot(t, fs, testDir)
	checkpoint := readFile(t, fs, testCheckpoint)
	r.close(tr)
	again := func(change func(b []byte, at []int) []byte) string {
		files := map[string][]byte{}
		for name, b := range live {
			files[name] = b
		}
		name := segmentName(1)
		files[name] = change(bytes.Clone(files[name]), frames(files[name]))
		restore(t, fs, testDir, files)
		writeFile(t, fs, testCheckpoint, checkpoint)
		return noticed(t, r)
	}
	if got := again(func(b []byte, at []int) []byte { return b }); got != "" {
		t.Errorf("killed server: %q", got)
	}
	if got := again(func(b []byte, at []int) []byte { return b[:len(b)-7] }); got != "" {
		t.Errorf("torn last frame: %q", got)
	}
	if got := again(func(b []byte, at []int) []byte { return append(b, make([]byte, 5000)...) }); got != "" {
		t.Errorf("zeros after the last frame: %q", got)
	}
	got := again(func(b []byte, at []int) []byte { clear(b[at[4]:at[5]]); return b })
	if want := "open: the audit trail is damaged in segment 1 at record 5: "; !strings.HasPrefix(got, want) {
		t.Errorf("hole: %q, want %q…", got, want)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	got = again(func(b []byte, at []int) []byte { b[at[3]+rng.IntN(at[4]-at[3])] ^= 4; return b })
	if want := "open: the audit trail is damaged in segment 1 at record 4: "; !strings.HasPrefix(got, want) {
		t.Errorf("flipped bit: %q, want %q…", got, want)
	}
}

func TestKeyringRolledBack(t *testing.T) {
	r := newClosed(t)
	c, found, err := readCheckpoint(r.cfg.FS, testCheckpoint, r.cfg.Keys)
	if err != nil || !found {
		t.Fatalf("readCheckpoint: %v, %v", found, err)
	}
	c.Keyring, c.Revision = r.cfg.Keys.Version()+1, schema.Revision(5)
	if err := writeCheckpoint(r.cfg.FS, testCheckpoint, r.cfg.Keys, c); err != nil {
		t.Fatal(err)
	}
	if got := noticed(t, r); !strings.Contains(got, "the keyring is older than the audit trail's checkpoint") {
		t.Errorf("noticed %q", got)
	}
}
