package audit

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/schema/fault"
)

// Verdict is one answer of a verification. The zero Verdict is a bad one.
type Verdict struct {
	OK       bool
	Detail   string // what is wrong, or ""
	Segment  uint64 // where, if it can be told
	Sequence uint64 // first bad or missing record, if it can be told
}

// Report is the result of a verification.
type Report struct {
	Integrity    Verdict // what is there is as it was written, in its order
	Completeness Verdict // nothing is missing: from the first record to the newest, checkpoint included
	Records      uint64
	Segments     int
	Root         tlog.Hash // of the records read, if both verdicts are good
	Checkpoint   Checkpoint
}

// Verify reads every record that was fsynced when it was called, and compares
// the chain and the tree with the signed checkpoint in its file. The error is for
// a disk that does not answer; what is wrong with the trail is in the report.
func (t *Trail) Verify(ctx context.Context) (Report, error) {
	cp, found, err := readCheckpoint(t.cfg.FS, t.cfg.Checkpoint, t.cfg.Keys)
	t.mu.Lock() // after the checkpoint was read: it may not be ahead of what is walked
	v := &verification{t: t, want: t.durable, begun: true}
	t.mu.Unlock()
	switch {
	case fault.KindOf(err) == fault.Integrity:
		v.missing(0, 0, fault.Detail(err))
	case err != nil:
		return Report{}, err
	case !found:
		v.missing(0, 0, "the checkpoint file is missing")
	case cp.Origin != t.Origin():
		v.missing(0, 0, "the checkpoint file is of another trail")
	default:
		v.cp = cp
	}
	if err := v.segments(ctx); err != nil {
		return Report{}, err
	}
	return v.report(), nil
}

// verification is a walk over all segments.
type verification struct {
	t     *Trail
	want  chain // state when the walk began
	cp    Checkpoint
	state chain

	bad, gap Verdict // first findings; Detail is empty if there are none
	begun    bool    // the walk begins with the first segment that it meets
	first    chain   // where it began
	records  uint64
	count    int
	rooted   bool // the checkpoint's root was compared
	text     []byte
}

func (v *verification) altered(segment, sequence uint64, detail string) {
	if v.bad.Detail == "" {
		v.bad = Verdict{Detail: detail, Segment: segment, Sequence: sequence}
	}
}

func (v *verification) missing(segment, sequence uint64, detail string) {
	if v.gap.Detail == "" {
		v.gap = Verdict{Detail: detail, Segment: segment, Sequence: sequence}
	}
}

func (v *verification) segments(ctx context.Context) error {
	known := v.t.shelf.list()
	if len(known) == 0 {
		return nil
	}
	shelf, err := newShelf(v.t.cfg.FS, v.t.cfg.Dir, v.t.cfg.Keys) // what is there now
	if fault.KindOf(err) == fault.Integrity {
		v.altered(0, 0, fault.Detail(err))
		return nil
	} else if err != nil {
		return err
	}
	for i, number := range shelf.list() {
		if number > known[len(known)-1] {
			break // made since
		}
		if i > 0 && number != shelf.numbers[i-1]+1 {
			v.missing(shelf.numbers[i-1]+1, v.state.size+1, fmt.Sprintf("segment %d is missing", shelf.numbers[i-1]+1))
		}
		if err := v.scan(ctx, shelf, number); err != nil {
			return errors.Join(err, shelf.close())
		}
	}
	return shelf.close()
}

// scan walks one segment and files what is wrong with it.
func (v *verification) scan(ctx context.Context, shelf *shelf, number uint64) error {
	end, err := shelf.end(number, v.want.size)
	if fault.KindOf(err) == fault.Integrity {
		end, err = v.want.size, nil // the next one's header is bad, which is found there
	}
	if err == nil {
		err = shelf.scan(number, func(seg *segment) error { return v.segment(ctx, seg, end) })
	}
	if fault.KindOf(err) == fault.Integrity {
		v.altered(number, v.state.size+1, fault.Detail(err))
		err = nil
	}
	v.count++
	return err
}

// segment walks one segment. After a finding it goes on from the next segment's
// own frontier, so that one bad record does not hide the rest.
func (v *verification) segment(ctx context.Context, seg *segment, end uint64) error {
	if seg.first > v.want.size+1 {
		return nil // begun after the walk was
	}
	if !v.begun {
		v.begun, v.first, v.state = true, seg.before, seg.before
		v.rooted = seg.before.size > 0 && v.cp.Size <= seg.before.size
	}
	switch {
	case seg.trail != v.t.id:
		return fault.New(fault.Integrity, "the segment is of another trail")
	case seg.before.size > v.state.size:
		v.missing(seg.number, v.state.size+1, fmt.Sprintf("records %d to %d are missing", v.state.size+1, seg.before.size))
		v.state = seg.before
	case !v.state.same(&seg.before):
		v.altered(seg.number, seg.first, "the segment does not continue the one before")
		v.state = seg.before
	}
	sc := seg.scan()
	for v.state.size < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := sc.next()
		if errors.Is(err, io.EOF) {
			v.missing(seg.number, v.state.size+1, "the segment ends before the next one begins")
			return nil
		}
		if err != nil {
			return missing(err, seg.number, v.state.size+1)
		}
		if err := v.record(f); err != nil {
			return damaged(err, seg.number, v.state.size+1)
		}
	}
	return nil
}

func (v *verification) record(f frame) error {
	canonical, err := expand(v.text[:0], f.packed)
	switch {
	case err != nil:
		return err
	case f.sequence != v.state.size+1:
		return fault.New(fault.Integrity, "the record is not the one that belongs here")
	case !v.state.continues(canonical, f.sequence):
		return fault.New(fault.Integrity, "the record does not continue the one before")
	}
	v.text = canonical
	if _, err := v.state.add(tlog.RecordHash(canonical), 0); err != nil {
		return err
	}
	v.records++
	if v.cp.Origin == "" || v.state.size != v.cp.Size {
		return nil
	}
	v.rooted = true
	if root, err := v.state.root(); err != nil || root != v.cp.Root {
		return errors.Join(err, fault.New(fault.Integrity, "the records up to here differ from the signed checkpoint"))
	}
	return nil
}

func (v *verification) report() Report {
	if v.cp.Origin != "" && v.cp.Size > 0 && !v.rooted {
		v.missing(0, min(v.state.size, v.cp.Size)+1, "the records do not reach the signed checkpoint without a gap")
	}
	if v.state.size < v.want.size {
		v.missing(0, v.state.size+1, "the newest records are missing")
	}
	r := Report{Integrity: v.bad, Completeness: v.gap, Records: v.records, Segments: v.count, Checkpoint: v.cp}
	r.Integrity.OK, r.Completeness.OK = v.bad.Detail == "", v.gap.Detail == ""
	if r.Integrity.OK && v.state.size == v.want.size && !v.state.same(&v.want) {
		r.Integrity = Verdict{Detail: "the records differ from what the trail wrote", Sequence: v.state.size}
	}
	if r.Integrity.OK && r.Completeness.OK {
		r.Root, _ = v.state.root()
	}
	return r
}
