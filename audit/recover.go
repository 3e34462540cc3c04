package audit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// recovery reads what a start must know. It begins with the segment that the
// checkpoint's last record lies in, so its work is bounded by the segment's size
// and the second or so that a checkpoint lags behind.
type recovery struct {
	t     *Trail
	cp    Checkpoint
	have  bool // there is a checkpoint
	state chain

	outcomes map[schema.DecisionID]bool // of records after the checkpoint

	// Of the last segment:
	base   chain // before its first record
	kept   []*pending
	synced uint64 // newest sequence known to have been fsynced
	lists  map[schema.Digest]*Definition
}

// recover verifies the tail of the trail and returns a writer to go on with.
func (t *Trail) recover(ctx context.Context) (*writer, error) {
	r := &recovery{t: t, lists: map[schema.Digest]*Definition{}, outcomes: map[schema.DecisionID]bool{}}
	var err error
	if r.cp, r.have, err = readCheckpoint(t.cfg.FS, t.cfg.Checkpoint, t.cfg.Keys); err != nil {
		return nil, err
	}
	if r.have && r.cp.Keyring > t.cfg.Keys.Version() {
		return nil, fault.New(fault.Integrity, "the keyring is older than the audit trail's checkpoint")
	}
	if err := r.dropTorn(); err != nil {
		return nil, err
	}
	numbers := t.shelf.list()
	if len(numbers) == 0 {
		return r.fresh()
	}
	if !r.have && !t.cfg.AcceptMissingCheckpoint {
		return nil, fault.New(fault.Integrity, "the audit trail has records, but its checkpoint file is missing")
	}
	if err := r.read(ctx, numbers); err != nil {
		return nil, err
	}
	return r.finish(ctx)
}

// dropTorn forgets a last segment whose creation was cut off.
func (r *recovery) dropTorn() error {
	numbers := r.t.shelf.list()
	if len(numbers) == 0 {
		return nil
	}
	_, err := r.t.shelf.first(numbers[len(numbers)-1])
	if errors.Is(err, errTornHeader) {
		r.t.shelf.drop()
		return nil
	}
	return damaged(err, numbers[len(numbers)-1], 0)
}

// fresh starts an empty trail. Its checkpoint is written before its first record,
// so that a crash in the first second does not look like a lost checkpoint.
func (r *recovery) fresh() (*writer, error) {
	t := r.t
	if r.have && r.cp.Size > 0 {
		return nil, fault.Newf(fault.Integrity, "the audit trail is lost: its checkpoint speaks of %d records", r.cp.Size)
	}
	rand.Read(t.id[:])
	t.signed = Checkpoint{}
	if err := t.checkpoint(); err != nil {
		return nil, err
	}
	return &writer{t: t}, nil
}

// read verifies from the checkpoint's segment to the end.
func (r *recovery) read(ctx context.Context, numbers []uint64) error {
	start := len(numbers) - 1
	for ; start > 0; start-- {
		first, err := r.t.shelf.first(numbers[start])
		if err != nil {
			return damaged(err, numbers[start], 0)
		}
		if r.have && first-1 <= r.cp.Size {
			break
		}
	}
	for i, number := range numbers[start:] {
		if err := r.open(ctx, number, i == 0); err != nil {
			return damaged(err, number, r.state.size+1)
		}
	}
	if r.have && r.cp.Origin != r.t.Origin() {
		return fault.New(fault.Integrity, "the checkpoint file is of another trail")
	}
	if r.have && r.state.size < r.cp.Size {
		return fault.Newf(fault.Integrity, "the audit trail ends at record %d, but its checkpoint speaks of %d: records are lost or were rolled back",
			r.state.size, r.cp.Size)
	}
	return nil
}

func (r *recovery) open(ctx context.Context, number uint64, isFirst bool) error {
	end, err := r.t.shelf.end(number, noEnd)
	if err != nil {
		return err
	}
	return r.t.shelf.scan(number, func(seg *segment) error {
		if isFirst {
			r.state, r.t.id = seg.before, seg.trail
		}
		return r.segment(ctx, seg, end)
	})
}

// segment verifies one segment, up to the record it ends with; noEnd if it is the
// last.
func (r *recovery) segment(ctx context.Context, seg *segment, end uint64) error {
	if !r.state.same(&seg.before) || seg.trail != r.t.id {
		return fault.New(fault.Integrity, "the segment does not continue the one before")
	}
	if err := r.checkRoot(); err != nil {
		return err
	}
	r.base, r.kept, r.synced = seg.before, nil, max(seg.before.size, r.cp.Size)
	sc := seg.scan()
	for r.state.size < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := sc.next()
		if err == nil && f.sequence != r.state.size+1 {
			err = errTorn
		}
		if end == noEnd && (errors.Is(err, io.EOF) || errors.Is(err, errTorn)) {
			return r.tail(seg, sc.offset, !errors.Is(err, io.EOF))
		}
		if err != nil {
			return missing(err, seg.number, r.state.size+1)
		}
		if err := r.record(f, seg.number); err != nil {
			return err
		}
	}
	return nil
}

// record verifies one record and follows its link.
func (r *recovery) record(f frame, segment uint64) error {
	canonical, err := expand(make([]byte, 0, 3*len(f.packed)), f.packed)
	if err != nil {
		return err
	}
	p := &pending{packed: f.packed}
	p.leaf, p.place = tlog.RecordHash(canonical), place{segment, f.offset, f.length}
	p.gist.sequence = f.sequence
	isDefinition := bytes.Contains(canonical[:min(len(canonical), 128)], []byte(`"kind":"definition"`))
	if f.sequence > r.cp.Size || isDefinition {
		if err := r.study(p, canonical, segment); err != nil {
			return err
		}
	}
	if !r.state.continues(canonical, f.sequence) {
		return fault.New(fault.Integrity, "the record does not continue the one before")
	}
	if p.gist.time == 0 { // not decoded
		p.gist.time = r.state.time
	}
	if _, err := r.state.add(p.leaf, p.gist.time); err != nil {
		return err
	}
	r.kept = append(r.kept, p)
	r.synced = max(r.synced, f.sequence-uint64(f.lag))
	return r.checkRoot()
}

// study takes from a record what the checkpoint does not say yet.
func (r *recovery) study(p *pending, canonical []byte, segment uint64) error {
	rec, err := decode(canonical)
	if err != nil {
		return err
	}
	rec.segment = segment
	p.gist = gistOf(rec)
	if p.gist.defines {
		r.lists[p.gist.list] = &rec.Definition
	}
	p.list = r.lists[p.gist.list]
	if p.gist.sequence <= r.cp.Size {
		return nil
	}
	r.t.settle(p.gist)
	switch rec.Kind {
	case KindOutcome:
		r.outcomes[rec.Decision] = true
	case KindIntent:
		r.t.recovered[rec.Decision] = rec
	}
	return nil
}

// checkRoot compares with the checkpoint at its size.
func (r *recovery) checkRoot() error {
	if !r.have || r.state.size != r.cp.Size {
		return nil
	}
	root, err := r.state.root()
	if err != nil {
		return err
	}
	if root != r.cp.Root {
		return fault.Newf(fault.Integrity, "the audit trail differs from its checkpoint of %d records", r.cp.Size)
	}
	return nil
}

// tail decides about the end of the last segment. Beyond the last whole frame
// there may be what a crash left of a group that was never confirmed. A frame
// that had been fsynced, says a later one, cannot be torn: it is damaged.
func (r *recovery) tail(seg *segment, offset int64, torn bool) error {
	next := r.state.size + 1
	damage := fault.New(fault.Integrity, "a record that was on the disk is missing or altered")
	if next <= r.cp.Size {
		if torn {
			return damaged(damage, seg.number, next)
		}
		return nil // read reports the shorter trail
	}
	if !torn {
		return nil
	}
	rest := make([]byte, seg.size-offset)
	if _, err := seg.file.ReadAt(rest, offset); err != nil && !errors.Is(err, io.EOF) {
		return diskFault("a segment cannot be read", err)
	}
	for i := 1; i+frameBytes <= len(rest); i++ {
		h, ok := decodeFrameHead(rest[i:])
		end := i + frameBytes + int(h.length)
		if !ok || end > len(rest) || h.sequence < next || h.sequence-uint64(h.lag) < next {
			continue
		}
		if _, err := seg.openFrame(rest[i:end], offset+int64(i)); err == nil {
			return damaged(damage, seg.number, next)
		}
	}
	r.t.cfg.Logger.Warn("audit: the end of the trail was torn by a crash; it was never confirmed",
		"segment", seg.number, "bytes", len(rest), "next", next)
	return nil
}

// finish makes the writer. Records after the last that is known to be on the disk
// may only be in the kernel's memory: they are written again, into a new segment.
func (r *recovery) finish(ctx context.Context) (*writer, error) {
	t := r.t
	numbers := t.shelf.list()
	t.base = r.base
	w := &writer{t: t, number: numbers[len(numbers)-1], durable: r.base, tip: r.state}
	for len(r.kept) > 0 && r.kept[0].gist.sequence <= r.synced {
		if _, err := w.durable.add(r.kept[0].leaf, r.kept[0].gist.time); err != nil {
			return nil, err
		}
		r.kept = r.kept[1:]
	}
	w.unsynced = r.kept
	t.durable, t.revision = w.durable, max(t.revision, r.cp.Revision)
	if r.have {
		t.signed = r.cp
	}
	if err := r.openBefore(ctx); err != nil {
		return nil, err
	}
	if len(w.unsynced) > 0 {
		if err := w.ready(); err != nil {
			return nil, err
		}
	}
	if !r.have {
		return w, t.checkpoint()
	}
	return w, nil
}

// openBefore reads the intents that the checkpoint names as open, unless a later
// record settled them.
func (r *recovery) openBefore(ctx context.Context) error {
	t := r.t
	for _, seq := range r.cp.Open {
		err := t.shelf.walk(ctx, seq, seq, func(rec Record, _ place) error {
			if rec.Kind != KindIntent {
				return fault.New(fault.Integrity, "the checkpoint names a record as an intent that is none")
			}
			if !r.outcomes[rec.Decision] {
				t.unsettled[rec.Decision] = seq
				t.recovered[rec.Decision] = rec
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// OpenIntents returns, in order, the intents that the trail had at Open without
// an outcome, and that still have none: mutations that a crash cut off. For each,
// the caller finds out whether it landed and appends the outcome.
func (t *Trail) OpenIntents(context.Context) []Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.recovered), func(a, b Record) int {
		return cmp.Compare(a.Sequence, b.Sequence)
	})
}

func openSequences(unsettled map[schema.DecisionID]uint64) []uint64 {
	return slices.Sorted(maps.Values(unsettled))
}
