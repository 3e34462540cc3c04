package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/schema"
)

// exported fills a trail and returns it with an export in lines, the key and the
// signed checkpoint.
func exported(t testing.TB, records int) (*rig, *Trail, []string, note.Verifier, Signed) {
	t.Helper()
	r := newRig(t, nil)
	r.cfg.pace, r.cfg.SegmentBytes = quickPace, 9000
	tr := r.open()
	for i := range records {
		r.append(tr, read(users(i%3), fmt.Sprintf("prod/db-%d", i)))
	}
	signed := must(tr.Sign(ctx))
	return r, tr, export(t, tr, 0, signed.Size, signed, nil), must(r.cfg.Keys.Verifier(tr.Origin())), signed
}

func export(t testing.TB, tr *Trail, after, to uint64, signed Signed, visible func(schema.Path) bool) []string {
	t.Helper()
	var lines []string
	if after > 0 {
		lines = append(lines, must(tr.ExportBefore(after)))
	}
	for after < to {
		page := must(tr.ExportLines(ctx, after, to, 7, visible))
		lines, after = append(lines, page...), after+uint64(len(page))
	}
	return append(lines, must(tr.ExportEnd(to, signed)))
}

func check(t testing.TB, lines []string, c ExportCheck) ExportReport {
	t.Helper()
	return must(VerifyExport(ctx, strings.NewReader(strings.Join(lines, "\n")+"\n"), c))
}

func (r ExportReport) good() bool { return r.Integrity.OK && r.Completeness.OK }

// TestExportProvesItself verifies whole exports, parts of one, parts joined, and
// exports with records that are not shown.
func TestExportProvesItself(t *testing.T) {
	r, tr, lines, key, signed := exported(t, 60)
	defer r.close(tr)
	pin := &signed.Checkpoint
	whole := check(t, lines, ExportCheck{Key: key, Pinned: pin})
	if !whole.good() || whole.First != 1 || whole.Last != signed.Size || whole.Records != signed.Size || whole.Root != signed.Root {
		t.Fatalf("the whole export: %+v", whole)
	}
	for after := range signed.Size {
		part := export(t, tr, after, signed.Size, signed, nil)
		if got := check(t, part, ExportCheck{Key: key}); !got.good() || got.First != after+1 || got.Root != signed.Root {
			t.Errorf("from %d: %+v", after, got)
		}
		begun := export(t, tr, 0, after, signed, nil) // an earlier end, by a consistency proof
		if got := check(t, begun, ExportCheck{Key: key}); !got.good() || got.Last != after {
			t.Errorf("to %d: %+v", after, got)
		}
		for _, joined := range [][]string{append(begun, part...), append(begun[:len(begun)-1:len(begun)-1], part...)} {
			if got := check(t, joined, ExportCheck{Key: key, Pinned: pin}); !got.good() || got.Root != signed.Root {
				t.Errorf("joined at %d: %+v", after, got)
			}
		}
	}
	some := func(p schema.Path) bool { return strings.HasSuffix(p.String(), "5") }
	hidden := export(t, tr, 0, signed.Size, signed, some)
	got := check(t, hidden, ExportCheck{Key: key, Pinned: pin})
	if !got.good() || got.Records != 6 || got.Hidden != signed.Size-6 {
		t.Errorf("with hidden records: %+v", got)
	}
	if text := strings.Join(hidden, ""); strings.Contains(text, "prod/db-14") || !strings.Contains(text, "prod/db-15") {
		t.Error("an export shows what it should not, or hides what it should show")
	}
}

// TestExportNotices changes an export in a thousand random ways. Each must be
// noticed, and the first bad or missing record named.
func TestExportNotices(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	r, tr, lines, key, signed := exported(t, 80)
	defer r.close(tr)
	pin := &signed.Checkpoint
	n := len(lines) - 1 // the last is the end
	for round := range 1000 {
		changed := slices.Clone(lines)
		i, j := rnd.IntN(n), rnd.IntN(n)
		var what string
		first := i + 1 // the record that must be named
		switch round % 7 {
		case 0:
			b := []byte(changed[i])
			at := rnd.IntN(len(b))
			b[at] ^= 1 << rnd.IntN(7)
			if b[at] == '\n' || b[at] == '\r' || b[at] == ' ' {
				b[at] = '~'
			}
			changed[i], what = string(b), fmt.Sprintf("flip byte %d", at)
		case 1:
			changed, what = slices.Delete(changed, i, i+1), "delete"
		case 2:
			if i == j {
				continue
			}
			changed[i], changed[j], what, first = changed[j], changed[i], "swap", min(i, j)+1
		case 3:
			changed, what = slices.Insert(changed, j, changed[i]), "repeat"
			first = 0 // any of the two
		case 4:
			changed, what = changed[:i], "truncate"
		case 5:
			changed[i], what = strings.Replace(changed[i], `"allow":true`, `"allow":false`, 1), "turn"
			if changed[i] == lines[i] {
				continue
			}
		case 6: // the tail written anew, each record linked as it should be
			changed, what = relink(t, changed, i, n), "rewrite"
			first = 0
		}
		got := check(t, changed, ExportCheck{Key: key, Pinned: pin})
		if got.good() {
			t.Errorf("round %d: %s at record %d went unnoticed", round, what, i+1)
			continue
		}
		bad := got.Integrity.Sequence
		if got.Integrity.OK || !got.Completeness.OK && got.Completeness.Sequence < bad {
			bad = got.Completeness.Sequence
		}
		undecided := round%7 == 0 && i == n-1 // which end of the last link was changed cannot be told
		if first > 0 && bad != uint64(first) && !undecided {
			t.Errorf("round %d: %s at record %d: record %d was named: %+v %+v", round, what, first, bad, got.Integrity, got.Completeness)
		}
	}
}

// relink changes a record and writes those after it anew, so that all links hold.
func relink(t testing.TB, lines []string, from, n int) []string {
	t.Helper()
	for i := from; i < n; i++ {
		text := lines[i]
		if i == from {
			text = strings.Replace(text, `"node":"node-1"`, `"node":"node-2"`, 1)
		} else {
			old := must(decode([]byte(text))).Previous
			text = strings.Replace(text, old.String(), tlog.RecordHash([]byte(lines[i-1])).String(), 1)
		}
		lines[i] = text
	}
	return lines
}

// TestExportRollback: an export that was cut off, with an older checkpoint as its
// end, is good in itself; a checkpoint kept elsewhere shows what is missing.
func TestExportRollback(t *testing.T) {
	r, tr, _, key, older := exported(t, 20)
	defer r.close(tr)
	r.append(tr, read("alice", "prod/late"))
	newer := must(tr.Sign(ctx))
	rolled := export(t, tr, 0, older.Size, older, nil)
	if got := check(t, rolled, ExportCheck{Key: key}); !got.good() {
		t.Errorf("without another checkpoint: %+v", got)
	}
	got := check(t, rolled, ExportCheck{Key: key, Pinned: &newer.Checkpoint})
	if !got.Integrity.OK || got.Completeness.OK || got.Completeness.Sequence != older.Size+1 {
		t.Errorf("with the newer checkpoint: %+v", got)
	}
	other := newRig(t, nil)
	stranger := must(other.cfg.Keys.Verifier(tr.Origin()))
	if got := check(t, rolled, ExportCheck{Key: stranger}); got.Integrity.OK {
		t.Error("an export was taken with another cluster's key")
	}
}

// TestProofOfEachRecord checks the proof of each record, and that it proves no other.
func TestProofOfEachRecord(t *testing.T) {
	r, tr, _, key, signed := exported(t, 30)
	defer r.close(tr)
	for sequence := uint64(1); sequence <= signed.Size; sequence++ {
		record := must(tr.Record(ctx, sequence))
		p := Proof{sequence, record.JSON(), must(tr.Inclusion(sequence, signed.Size)), string(signed.Note)}
		text := must(json.MarshalIndent(p, "", "  "))
		var read Proof
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if got, c, err := read.Verify(key); err != nil || got.Sequence != sequence || c.Size != signed.Size {
			t.Errorf("record %d: %v", sequence, err)
		}
		for name, change := range map[string]func(*Proof){
			"record":   func(p *Proof) { p.Record = bytes.Replace(p.Record, []byte("node-1"), []byte("node-2"), 1) },
			"sequence": func(p *Proof) { p.Sequence++ },
			"proof":    func(p *Proof) { p.Proof = slices.Clone(p.Proof); p.Proof[0][3] ^= 1 },
			"shorter":  func(p *Proof) { p.Proof = p.Proof[1:] },
			"note":     func(p *Proof) { p.Checkpoint = strings.Replace(p.Checkpoint, "revision", "Revision", 1) },
			"no note":  func(p *Proof) { p.Checkpoint = "" },
		} {
			bad := p
			change(&bad)
			if _, _, err := bad.Verify(key); err == nil {
				t.Errorf("record %d: a changed %s proves it", sequence, name)
			}
		}
	}
	if _, err := tr.Record(ctx, signed.Size+1); err == nil {
		t.Error("a record that does not exist was found")
	}
	if _, err := tr.Inclusion(signed.Size+1, signed.Size); err == nil {
		t.Error("a record that does not exist was proved")
	}
}

// TestVerifyParts walks a trail part by part, and notices a changed byte in any
// segment.
func TestVerifyParts(t *testing.T) {
	r, tr, _, _, signed := exported(t, 60)
	walk := func() (integrity, complete bool, end Tree) {
		integrity, complete = true, true
		var before *Tree
		for from := uint64(0); ; {
			p := must(tr.verifyPart(ctx, signed.Note, from, 0))
			integrity, complete = integrity && p.Integrity.OK, complete && p.Completeness.OK
			if before != nil && *before != p.Start {
				integrity = false
			}
			end, before = p.End, &p.End
			if from = p.Next; from == 0 {
				return integrity, complete, end
			}
		}
	}
	if ok, whole, end := walk(); !ok || !whole || end.Root != signed.Root || end.Size != signed.Size {
		t.Fatalf("an intact trail: %v %v %+v", ok, whole, end)
	}
	if p := must(tr.VerifyPart(ctx, signed.Note, 0)); !p.Integrity.OK || p.Next != 0 || p.Records != signed.Size {
		t.Errorf("in one part: %+v", p)
	}
	segments := tr.shelf.list()
	if len(segments) < 4 {
		t.Fatalf("%d segments; more were expected", len(segments))
	}
	for _, number := range segments {
		name := r.cfg.FS.PathJoin(testDir, segmentName(number))
		b := readFile(t, r.cfg.FS, name)
		changed := bytes.Clone(b)
		changed[headerBytes+frameBytes+20] ^= 1
		writeFile(t, r.cfg.FS, name, changed)
		if ok, whole, _ := walk(); ok && whole {
			t.Errorf("a changed byte in segment %d went unnoticed", number)
		}
		writeFile(t, r.cfg.FS, name, b)
	}
	if _, err := tr.VerifyPart(ctx, []byte("no note"), 0); err == nil {
		t.Error("a checkpoint that is none was taken")
	}
	r.close(tr)
}

// TestConsistency holds that every older checkpoint is the beginning of a newer
// one, and that another tree is not.
func TestConsistency(t *testing.T) {
	r, tr, lines, _, signed := exported(t, 40)
	defer r.close(tr)
	state := chain{}
	for older := uint64(1); older < signed.Size; older++ {
		_ = must(state.add(tlog.RecordHash([]byte(lines[older-1])), 0))
		root := must(state.root())
		proof := must(tr.Consistency(older, signed.Size))
		if err := tlog.CheckTree(proof, int64(signed.Size), signed.Root, int64(older), root); err != nil {
			t.Errorf("size %d: %v", older, err)
		}
		root[0] ^= 1
		if tlog.CheckTree(proof, int64(signed.Size), signed.Root, int64(older), root) == nil {
			t.Errorf("size %d: another tree is taken for the beginning", older)
		}
	}
}
