package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// ExportCheck says what an export is held against.
type ExportCheck struct {
	Key      note.Verifier // of the trail
	Pinned   *Checkpoint   // a checkpoint from elsewhere that the export must agree with; nil: none
	Progress func(int)     // called with the bytes of each line; may be nil
}

// ExportReport is the result of verifying an export.
type ExportReport struct {
	Integrity    Verdict // the lines are the records that were written, in their order
	Completeness Verdict // none is missing from First to Last, and the signed checkpoints agree
	First        uint64
	Last         uint64
	From         time.Time // of the first record that is shown
	To           time.Time // of the last one
	Records      uint64    // records shown
	Hidden       uint64    // records shown by their hash only
	Root         tlog.Hash // of the tree up to Last, if both verdicts are good
}

// maxLine is longer than any line of an export.
const maxLine = 6 * maxRecord

// VerifyExport reads an export and holds it against the trail's key, and against
// a pinned checkpoint if there is one. The error is for a reader that fails; what
// is wrong with the export is in the report.
func VerifyExport(ctx context.Context, from io.Reader, check ExportCheck) (ExportReport, error) {
	v := &exportWalk{check: check}
	r := bufio.NewReaderSize(from, 64<<10)
	for n := 1; ; n++ {
		text, err := readLine(r)
		switch {
		case errors.Is(err, io.EOF):
			return v.report(), nil
		case errors.Is(err, bufio.ErrBufferFull):
			v.altered(fmt.Sprintf("line %d is too long to be a record", n))
			return v.report(), nil
		case err != nil:
			return ExportReport{}, fault.Wrap(fault.Unavailable, "the export cannot be read", err)
		}
		if n%1024 == 0 && ctx.Err() != nil {
			return ExportReport{}, ctx.Err()
		}
		v.line(text, n)
		if check.Progress != nil {
			check.Progress(len(text) + 1)
		}
	}
}

// readLine returns a line without its line feed. A last line without one is cut
// off and is handed out with what it has.
func readLine(r *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := r.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case err == nil:
			return text[:len(text)-1], nil
		case errors.Is(err, bufio.ErrBufferFull) && len(text) <= maxLine:
			continue
		case errors.Is(err, io.EOF) && len(text) > 0:
			return text, nil
		}
		return nil, err
	}
}

// exportWalk is a walk over the lines of an export.
type exportWalk struct {
	check ExportCheck
	ExportReport

	begun   bool
	state   chain
	broken  bool   // the tree is not known any more, after a finding
	covered uint64 // newest record that a signed checkpoint vouches for

	suspect uint64 // the link between this record and the one before does not hold
	claimed bool   // the suspect itself may yet be the altered one
}

func (v *exportWalk) alteredAt(sequence uint64, detail string) {
	if v.Integrity.Detail == "" || sequence < v.Integrity.Sequence {
		v.Integrity = Verdict{Detail: detail, Sequence: sequence}
	}
	v.broken = true
}

func (v *exportWalk) altered(detail string) { v.alteredAt(v.state.size+1, detail) }

func (v *exportWalk) missing(sequence uint64, detail string) {
	if v.Completeness.Detail == "" {
		v.Completeness = Verdict{Detail: detail, Sequence: sequence}
	}
}

func (v *exportWalk) line(text []byte, n int) {
	if !v.broken && !v.claimed && v.state.continues(text, v.state.size+1) {
		v.next(text)
		return
	}
	var l line
	ok := false
	if len(text) <= maxHidden || !bytes.HasPrefix(text, []byte(words[wSequence-0x80])) {
		l, ok = parseLine(text)
	}
	switch {
	case ok && l.Before != nil && l.Sequence == 0 && l.Leaf == nil && l.End == nil:
		v.before(l.Before)
	case ok && l.End != nil && l.Sequence == 0 && l.Leaf == nil && l.Before == nil:
		v.end(l.End)
	case ok && l.Sequence > 0 && l.Leaf != nil && l.Before == nil && l.End == nil:
		v.begin()
		at := v.place(l.Sequence)
		v.settle(nil, false)
		v.Hidden++
		v.add(*l.Leaf, at)
	default:
		v.begin()
		r, err := decode(append([]byte(nil), text...))
		if err != nil {
			v.altered(fmt.Sprintf("line %d is no record", n))
			v.skip()
			return
		}
		v.record(r)
	}
}

// maxHidden is longer than any line of a record that is not shown.
const maxHidden = 128

// next takes a record that continues the one before. It need not be decoded: that
// it is what was written, the next link or the signed root will tell.
func (v *exportWalk) next(text []byte) {
	v.begin()
	_, rest, _ := bytes.Cut(text, []byte(words[wTime-0x80]))
	written, _, _ := bytes.Cut(rest[:min(len(rest), 40)], []byte(`"`))
	if at, err := time.Parse(schema.TimeLayout, string(written)); err == nil {
		v.seen(at)
	}
	v.Records++
	v.add(tlog.RecordHash(text), v.state.size+1)
}

func (v *exportWalk) seen(at time.Time) {
	if v.From.IsZero() {
		v.From = at
	}
	v.To = at
}

// skip passes over a record that cannot be read.
func (v *exportWalk) skip() {
	v.settle(nil, false)
	v.state.size++
	v.state.leaf = tlog.Hash{}
	v.suspect, v.claimed = 0, false
}

// begin notes that an export without "before" begins with the first record.
func (v *exportWalk) begin() {
	if !v.begun {
		v.begun, v.First = true, 1
	}
}

func (v *exportWalk) before(b *lineBefore) {
	state, err := resume(b.Sequence, b.Leaf, 0, b.Hashes)
	switch {
	case err != nil:
		v.altered("the line that tells what stands before cannot be read")
	case !v.begun:
		v.begun, v.First, v.state = true, b.Sequence+1, state
		if pin := v.check.Pinned; pin != nil && pin.Size == b.Sequence {
			v.pinned()
		}
	case b.Sequence > v.state.size:
		v.missing(v.state.size+1, fmt.Sprintf("records %d to %d are missing", v.state.size+1, b.Sequence))
		v.settle(nil, false)
		v.state, v.broken = state, true
	case b.Sequence < v.state.size:
		v.alteredAt(b.Sequence+1, "records are there twice")
		v.settle(nil, false)
		v.state = state
	case !v.broken && !v.state.same(&state):
		v.alteredAt(v.state.size, "the records up to here are not those that the next part of the export continues")
	}
}

// place returns the sequence that a record counts as, and files what is wrong if
// it is not the next one.
func (v *exportWalk) place(sequence uint64) uint64 {
	next := v.state.size + 1
	if sequence == next {
		return next
	}
	v.settle(nil, false)
	v.broken, v.state.leaf = true, tlog.Hash{}
	if sequence < next {
		v.altered("the record is not in its place, or there twice")
		return next
	}
	v.missing(next, fmt.Sprintf("records %d to %d are missing", next, sequence-1))
	return sequence
}

// record takes the next record. Its link to the one before tells whether that
// one is as it was written, but only the next record tells whether this one is:
// so a link that does not hold is settled one record later.
func (v *exportWalk) record(r Record) {
	jumped := r.Sequence != v.state.size+1
	at := v.place(r.Sequence)
	v.settle(&r, true)
	if !jumped && r.Previous != v.state.leaf && v.state.leaf != (tlog.Hash{}) || r.Sequence == 1 && r.Previous != (tlog.Hash{}) {
		v.suspect, v.claimed = r.Sequence, true
		v.broken = true
	}
	v.Records++
	v.seen(r.Time)
	v.add(r.Leaf, at)
}

// settle decides which record a broken link is to be blamed on: next is the record
// after the suspect, if it is known.
func (v *exportWalk) settle(next *Record, known bool) {
	if !v.claimed {
		return
	}
	v.claimed = false
	at := v.suspect
	if at > 1 && (!known || next.Sequence == at+1 && next.Previous == v.state.leaf) {
		at--
	}
	v.alteredAt(at, "the record was altered: the one after it does not continue it")
	if at == v.suspect {
		v.Integrity.Detail = "the record does not continue the one before"
	}
}

func (v *exportWalk) add(leaf tlog.Hash, sequence uint64) {
	if v.broken {
		v.state.size, v.state.leaf = sequence, leaf
		return
	}
	if _, err := v.state.add(leaf, 0); err != nil {
		v.altered("the tree cannot be made")
		return
	}
	if pin := v.check.Pinned; pin != nil && pin.Size == sequence {
		v.pinned()
	}
}

// pinned holds the records so far against the pinned checkpoint.
func (v *exportWalk) pinned() {
	root, err := v.state.root()
	if err != nil || root != v.check.Pinned.Root {
		v.alteredAt(v.state.size, "the records up to here differ from the checkpoint, though they continue each other")
		return
	}
	v.covered = v.state.size
}

// end holds the records so far against the checkpoint in the export.
func (v *exportWalk) end(e *lineEnd) {
	v.begin()
	c, err := OpenCheckpoint([]byte(e.Checkpoint), v.check.Key)
	switch {
	case err != nil:
		v.altered(fault.Detail(err))
		return
	case e.Sequence > v.state.size:
		v.missing(v.state.size+1, fmt.Sprintf("records %d to %d are missing", v.state.size+1, e.Sequence))
		return
	case e.Sequence < v.state.size:
		v.alteredAt(e.Sequence+1, "there are more records than the export ends with")
		return
	case v.broken:
		return
	}
	root, err := v.state.root()
	switch {
	case err != nil || c.Size < e.Sequence:
		err = errors.Join(err, errTorn)
	case c.Size == e.Sequence && root != c.Root:
		err = errTorn
	case c.Size > e.Sequence && e.Sequence > 0:
		err = tlog.CheckTree(e.Proof, int64(c.Size), c.Root, int64(e.Sequence), root)
	}
	if err != nil {
		v.alteredAt(max(v.state.size, 1), "the records up to here differ from the signed checkpoint, though they continue each other")
		return
	}
	v.covered = e.Sequence
}

func (v *exportWalk) report() ExportReport {
	v.settle(nil, false)
	v.Last = v.state.size
	pin := v.check.Pinned
	switch {
	case !v.begun:
		v.missing(0, "the export is empty")
	case pin != nil && pin.Size+1 < v.First:
		v.missing(0, fmt.Sprintf("the export begins after the checkpoint, which covers %d records; export from the start", pin.Size))
	case pin != nil && pin.Size > v.state.size:
		v.missing(v.state.size+1, fmt.Sprintf("the checkpoint covers %d records, and the export ends with record %d", pin.Size, v.state.size))
	case v.covered < v.state.size && !v.broken:
		v.missing(v.covered+1, "no signed checkpoint vouches for the last records: the export was cut off, or is not finished")
	}
	v.Integrity.OK, v.Completeness.OK = v.Integrity.Detail == "", v.Completeness.Detail == ""
	if v.Integrity.OK && v.Completeness.OK {
		v.Root, _ = v.state.root()
	}
	return v.ExportReport
}

// Proof is a record with the proof that it is in a signed tree, as a file.
type Proof struct {
	Sequence   uint64           `json:"sequence"`
	Record     json.RawMessage  `json:"record"` // canonical bytes
	Proof      tlog.RecordProof `json:"proof"`
	Checkpoint string           `json:"checkpoint"`
}

// Verify checks the proof with the trail's key. Anything wrong is of kind
// fault.Integrity.
func (p Proof) Verify(key note.Verifier) (Record, Checkpoint, error) {
	c, err := OpenCheckpoint([]byte(p.Checkpoint), key)
	if err != nil {
		return Record{}, Checkpoint{}, err
	}
	var canonical bytes.Buffer // a file may have been indented; canonical JSON has no spaces
	if err := json.Compact(&canonical, p.Record); err != nil {
		return Record{}, Checkpoint{}, fault.Wrap(fault.Integrity, "the record cannot be read", err)
	}
	r, err := decode(canonical.Bytes())
	switch {
	case err != nil:
		return Record{}, Checkpoint{}, err
	case p.Sequence == 0 || r.Sequence != p.Sequence || p.Sequence > c.Size:
		return Record{}, Checkpoint{}, fault.New(fault.Integrity, "the proof is of another record")
	}
	if err := tlog.CheckRecord(p.Proof, int64(c.Size), c.Root, int64(p.Sequence-1), r.Leaf); err != nil {
		return Record{}, Checkpoint{}, fault.Wrap(fault.Integrity, "the record is not in the signed tree", err)
	}
	return r, c, nil
}
