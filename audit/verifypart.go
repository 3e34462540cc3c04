package audit

import (
	"context"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/schema/fault"
)

// Tree is the tree after some record.
type Tree struct {
	Size uint64
	Root tlog.Hash
}

// Part is the result of verifying some segments. A trail is verified in parts, so
// that none takes long: each must start as the one before ended.
type Part struct {
	Report
	Start, End Tree
	Next       uint64 // segment to go on with; 0 when the checkpoint's size is reached
}

// partTime is how long a part may take before it ends with its segment.
const partTime = 2 * time.Second

// SegmentAt returns the segment that holds the first record at or after a time.
func (t *Trail) SegmentAt(ctx context.Context, at time.Time) (uint64, error) {
	sequence, err := t.FirstAt(ctx, at)
	if err != nil {
		return 0, err
	}
	return t.shelf.locate(sequence)
}

// VerifyPart reads segments, from the given one on or from the first if it is 0,
// up to the size of a checkpoint, and holds them against it. What is wrong with
// the trail is in the report; the error is for a disk that does not answer, or a
// checkpoint that is not of this trail.
func (t *Trail) VerifyPart(ctx context.Context, signed []byte, from uint64) (Part, error) {
	return t.verifyPart(ctx, signed, from, partTime)
}

func (t *Trail) verifyPart(ctx context.Context, signed []byte, from uint64, within time.Duration) (Part, error) {
	verifier, err := t.cfg.Keys.Verifier(t.Origin())
	if err != nil {
		return Part{}, err
	}
	cp, err := OpenCheckpoint(signed, verifier)
	if err != nil {
		return Part{}, fault.Wrap(fault.InvalidArgument, fault.Detail(err), err)
	}
	t.mu.Lock()
	ahead := cp.Size > t.durable.size
	t.mu.Unlock()
	if ahead {
		return Part{}, fault.Newf(fault.Integrity, "the checkpoint covers %d records, which is more than the trail has", cp.Size)
	}
	v := &verification{t: t, want: chain{size: cp.Size}, cp: cp}
	v.begun = from == 0 // the whole trail begins with nothing before it
	next, err := v.part(ctx, from, within)
	if err != nil {
		return Part{}, err
	}
	return v.parted(next)
}

// part walks segments for a while and returns the one to go on with.
func (v *verification) part(ctx context.Context, from uint64, within time.Duration) (uint64, error) {
	shelf, err := newShelf(v.t.cfg.FS, v.t.cfg.Dir, v.t.cfg.Keys)
	if fault.KindOf(err) == fault.Integrity {
		v.altered(0, 0, fault.Detail(err))
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	defer func() { _ = shelf.close() }() // read only
	started, previous := time.Now(), uint64(0)
	for _, number := range shelf.list() {
		if number < from {
			continue
		}
		if v.count > 0 && time.Since(started) > within && previous+1 == number {
			return number, nil
		}
		if v.count == 0 && from > 0 && number != from || v.count > 0 && number != previous+1 {
			v.missing(previous+1, v.state.size+1, "a segment is missing")
		}
		if err := v.scan(ctx, shelf, number); err != nil {
			return 0, err
		}
		if previous = number; v.state.size >= v.want.size {
			return 0, nil
		}
	}
	return 0, nil
}

func (v *verification) parted(next uint64) (Part, error) {
	p := Part{Next: next}
	if next != 0 { // the rest is for the next part to find
		v.want.size, v.rooted = min(v.want.size, v.state.size), true
	}
	var err, failed error
	p.Start.Size, p.End.Size = v.first.size, v.state.size
	p.Start.Root, err = v.first.root()
	p.End.Root, failed = v.state.root()
	v.want = v.state // compared with the checkpoint's root, not with memory
	if v.state.size < v.cp.Size && next == 0 {
		v.missing(0, v.state.size+1, "the newest records are missing")
	}
	p.Report = v.report()
	return p, errors.Join(err, failed)
}
