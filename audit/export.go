package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// An export is a file of lines that proves itself to whoever holds the trail's
// public key. A line is one of
//
//	a record's canonical JSON
//	{"sequence":7,"leaf":"…"}                        a record that is not shown, by its hash
//	{"before":{"sequence":6,"leaf":"…","hashes":[…]}} what stands before the next line
//	{"end":{"sequence":9,"checkpoint":"…","proof":[…]}} the lines so far are in this signed tree
//
// Records are in order and without gaps. An export that does not begin with the
// first record of the trail begins with "before": the roots of the complete
// subtrees of the records before it, from which the tree goes on. "end" holds a
// signed checkpoint and the proof (RFC 6962, consistency) that the tree of the
// lines is the beginning of the checkpoint's. Files of consecutive exports may be
// joined into one.
type line struct {
	Sequence uint64      `json:"sequence,omitempty"`
	Leaf     *tlog.Hash  `json:"leaf,omitempty"`
	Before   *lineBefore `json:"before,omitempty"`
	End      *lineEnd    `json:"end,omitempty"`
}

type lineBefore struct {
	Sequence uint64      `json:"sequence"`
	Leaf     tlog.Hash   `json:"leaf"`
	Hashes   []tlog.Hash `json:"hashes"`
}

type lineEnd struct {
	Sequence   uint64         `json:"sequence"`
	Checkpoint string         `json:"checkpoint"`
	Proof      tlog.TreeProof `json:"proof"`
}

func (l line) text() (string, error) {
	b, err := json.Marshal(l)
	return string(b), err
}

// Signed is a checkpoint with its signature.
type Signed struct {
	Checkpoint
	Note []byte // the signed note
}

// Sign writes and returns a checkpoint of every record that is fsynced now. When
// it returns, proofs can be made for it.
func (t *Trail) Sign(ctx context.Context) (Signed, error) {
	if err := t.checkpoint(); err != nil {
		return Signed{}, err
	}
	c := t.Checkpoint()
	if c.Size > 0 {
		if err := t.follow[0].wait(ctx, c.Size, true); err != nil {
			return Signed{}, err
		}
	}
	signed, err := c.sign(t.cfg.Keys)
	return Signed{c, signed}, err
}

// VerifierKey returns the public key of the trail's checkpoints, as text for
// note.NewVerifier.
func (t *Trail) VerifierKey() string { return t.cfg.Keys.VerifierKey(t.Origin()) }

// Consistency proves that a tree of older records is the beginning of the tree of
// size records.
func (t *Trail) Consistency(older, size uint64) (tlog.TreeProof, error) {
	if older == 0 || older >= size {
		return nil, nil
	}
	return tlog.ProveTree(int64(size), int64(older), t.tree)
}

// Inclusion proves that a record is in the tree of size records.
func (t *Trail) Inclusion(sequence, size uint64) (tlog.RecordProof, error) {
	if sequence == 0 || sequence > size {
		return nil, fault.New(fault.NotFound, "there is no such record in the checkpoint")
	}
	return tlog.ProveRecord(int64(size), int64(sequence-1), t.tree)
}

// Record returns the record of a sequence.
func (t *Trail) Record(ctx context.Context, sequence uint64) (Record, error) {
	t.mu.Lock()
	size := t.durable.size
	t.mu.Unlock()
	if sequence == 0 || sequence > size {
		return Record{}, fault.New(fault.NotFound, "there is no record with this sequence")
	}
	var found Record
	err := t.shelf.walk(ctx, sequence, sequence, func(r Record, _ place) error {
		found = r
		return nil
	})
	return found, err
}

// FirstAt returns the sequence of the first record at or after a time; the one
// after the newest if there is none.
func (t *Trail) FirstAt(ctx context.Context, at time.Time) (uint64, error) {
	if err := t.caughtUp(ctx); err != nil {
		return 0, err
	}
	newest := t.appended.Load()
	first, last, found, err := t.index.crossing(ctx, at.UnixMicro())
	if err != nil || !found {
		return newest + 1, err
	}
	sequence := last + 1
	err = t.shelf.walk(ctx, first, last, func(r Record, _ place) error {
		if r.Time.Before(at) {
			return nil
		}
		sequence = r.Sequence
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return sequence, err
}

// errFound ends a walk early.
var errFound = errors.New("found")

// ExportBefore returns the line that stands before the record after the given
// sequence.
func (t *Trail) ExportBefore(after uint64) (string, error) {
	b := lineBefore{Sequence: after, Hashes: []tlog.Hash{}}
	if after == 0 {
		return line{Before: &b}.text()
	}
	indexes := []int64{tlog.StoredHashIndex(0, int64(after-1))}
	for level := range 63 {
		if after>>level&1 == 1 {
			indexes = append(indexes, tlog.StoredHashIndex(level, int64(after>>level)-1))
		}
	}
	hashes, err := t.tree.ReadHashes(indexes)
	if err != nil {
		return "", err
	}
	b.Leaf, b.Hashes = hashes[0], hashes[1:]
	return line{Before: &b}.text()
}

// ExportEnd returns the line that stands behind the record of a sequence: the
// checkpoint, and the proof that all up to there is the beginning of its tree.
func (t *Trail) ExportEnd(sequence uint64, signed Signed) (string, error) {
	proof, err := t.Consistency(sequence, signed.Size)
	if err != nil {
		return "", err
	}
	if proof == nil {
		proof = tlog.TreeProof{}
	}
	return line{End: &lineEnd{sequence, string(signed.Note), proof}}.text()
}

// exportBytes bounds the lines of one page.
const exportBytes = 2 << 20

// ExportLines returns the lines of the records after one sequence up to another:
// at most limit, and fewer if they are long. Records on paths that are not visible
// are shown by their hash; a nil visible shows all.
func (t *Trail) ExportLines(ctx context.Context, after, to uint64, limit int, visible func(schema.Path) bool) ([]string, error) {
	var lines []string
	size := 0
	err := t.shelf.walk(ctx, after+1, min(to, after+uint64(limit)), func(r Record, _ place) error {
		if size > exportBytes {
			return errFound
		}
		text := string(r.JSON())
		if visible != nil && !visible(r.Path()) {
			var err error
			if text, err = (line{Sequence: r.Sequence, Leaf: &r.Leaf}).text(); err != nil {
				return err
			}
		}
		size += len(text)
		lines = append(lines, text)
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return lines, err
}

// parseLine reads a line that is not a record; ok is false for one that is none
// of them. Its text must be what text writes: a line has one form.
func parseLine(text []byte) (l line, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(&l) != nil {
		return line{}, false
	}
	again, err := l.text()
	return l, err == nil && again == string(text)
}
