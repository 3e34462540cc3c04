package audit

import (
	"context"
	"errors"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema/fault"
)

// maxOpenSegments bounds the files kept open for reading.
const maxOpenSegments = 64

// shelf holds the segments of a trail for reading. It is safe for concurrent use.
// Segments are opened when first needed: what is stored does not slow the start.
type shelf struct {
	fs   vfs.FS
	dir  string
	keys *crypto.Keyring

	mu      sync.RWMutex
	numbers []uint64            // ascending; guarded by mu
	firsts  map[uint64]uint64   // known first sequences; guarded by mu
	open    map[uint64]*segment // held for reading while mu is held; guarded by mu
}

func newShelf(fs vfs.FS, dir string, keys *crypto.Keyring) (*shelf, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, diskFault("the trail's folder cannot be read", err)
	}
	s := &shelf{fs: fs, dir: dir, keys: keys, firsts: map[uint64]uint64{}, open: map[uint64]*segment{}}
	for _, name := range names {
		text, ok := strings.CutSuffix(name, segmentSuffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || segmentName(n) != name {
			return nil, fault.New(fault.Integrity, "the trail's folder has a segment with a malformed name")
		}
		s.numbers = append(s.numbers, n)
	}
	slices.Sort(s.numbers)
	return s, nil
}

// complete refuses a gap between segments.
func (s *shelf) complete() error {
	for i, n := range s.numbers {
		if n != s.numbers[0]+uint64(i) {
			return fault.Newf(fault.Integrity, "segment %d of the audit trail is missing", s.numbers[0]+uint64(i))
		}
	}
	return nil
}

// list returns the numbers of the segments.
func (s *shelf) list() []uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.numbers)
}

// add makes a new segment known.
func (s *shelf) add(h header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.numbers = append(s.numbers, h.number)
	s.firsts[h.number] = h.first
}

// drop forgets the last segment, whose creation was cut off.
func (s *shelf) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.numbers = s.numbers[:len(s.numbers)-1]
}

// with calls use with an open segment, which stays open for that long.
func (s *shelf) with(number uint64, use func(*segment) error) error {
	for {
		s.mu.RLock()
		if seg := s.open[number]; seg != nil {
			defer s.mu.RUnlock()
			return use(seg)
		}
		s.mu.RUnlock()
		if err := s.load(number); err != nil {
			return err
		}
	}
}

// scan calls use with a segment opened for that long, so that a long walk holds
// up nobody.
func (s *shelf) scan(number uint64, use func(*segment) error) error {
	seg, err := openSegment(s.fs, s.dir, s.keys, number)
	if err != nil {
		return damaged(err, number, 0)
	}
	return errors.Join(use(seg), seg.file.Close())
}

func (s *shelf) load(number uint64) error {
	seg, err := openSegment(s.fs, s.dir, s.keys, number)
	if err != nil {
		return damaged(err, number, 0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[number] != nil {
		return seg.file.Close()
	}
	for old, other := range s.open {
		if len(s.open) < maxOpenSegments {
			break
		}
		delete(s.open, old)
		err = errors.Join(err, other.file.Close())
	}
	s.open[number], s.firsts[number] = seg, seg.first
	return err
}

func (s *shelf) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for number, seg := range s.open {
		delete(s.open, number)
		err = errors.Join(err, seg.file.Close())
	}
	return err
}

// first returns the first sequence of a segment.
func (s *shelf) first(number uint64) (uint64, error) {
	s.mu.RLock()
	first, ok := s.firsts[number]
	s.mu.RUnlock()
	if ok {
		return first, nil
	}
	err := s.with(number, func(seg *segment) error {
		first = seg.first
		return nil
	})
	return first, err
}

// noEnd is the end of the last segment.
const noEnd = 1 << 62

// end returns the last sequence that belongs to the segment: the one before the
// next segment's first. It is limit for the last segment.
func (s *shelf) end(number, limit uint64) (uint64, error) {
	s.mu.RLock()
	i, _ := slices.BinarySearch(s.numbers, number+1)
	last := i == len(s.numbers)
	next := number
	if !last {
		next = s.numbers[i]
	}
	s.mu.RUnlock()
	if last {
		return limit, nil
	}
	first, err := s.first(next)
	if err != nil {
		return 0, err
	}
	return min(first-1, limit), nil
}

// locate returns the segment that holds the sequence: the last one that does not
// begin after it.
func (s *shelf) locate(sequence uint64) (uint64, error) {
	numbers := s.list()
	var problem error
	i := sort.Search(len(numbers), func(i int) bool {
		first, err := s.first(numbers[i])
		problem = errors.Join(problem, err)
		return first > sequence
	})
	if problem != nil {
		return 0, problem
	}
	if i == 0 {
		return 0, fault.New(fault.NotFound, "the record is older than the trail's first segment")
	}
	return numbers[i-1], nil
}

// place is where a record lies.
type place struct {
	segment uint64
	offset  int64
	length  uint32
}

// read returns the record at a place.
func (s *shelf) read(at place) (Record, error) {
	var r Record
	err := s.with(at.segment, func(seg *segment) error {
		f, err := seg.readFrame(at.offset, at.length)
		if err != nil {
			return err
		}
		r, err = unpack(f, at.segment)
		return err
	})
	return r, damaged(err, at.segment, 0)
}

// unpack decodes a frame's record.
func unpack(f frame, segment uint64) (Record, error) {
	canonical, err := expand(make([]byte, 0, 3*len(f.packed)), f.packed)
	if err != nil {
		return Record{}, err
	}
	r, err := decode(canonical)
	if err == nil && r.Sequence != f.sequence {
		err = fault.New(fault.Integrity, "a record's sequence does not agree with its place")
	}
	r.segment = segment
	return r, err
}

// walk calls visit with the records from one sequence to another, in order.
func (s *shelf) walk(ctx context.Context, from, to uint64, visit func(Record, place) error) error {
	for from <= to {
		number, err := s.locate(from)
		if err != nil {
			return err
		}
		end, err := s.end(number, to)
		if err != nil {
			return err
		}
		err = s.scan(number, func(seg *segment) error { return walkSegment(ctx, seg, from, end, visit) })
		if err != nil {
			return err
		}
		from = end + 1
	}
	return nil
}

func walkSegment(ctx context.Context, seg *segment, from, to uint64, visit func(Record, place) error) error {
	sc := seg.scan()
	if err := sc.skip(from); err != nil {
		return missing(err, seg.number, from)
	}
	for next := from; next <= to; next++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := sc.next()
		if err == nil && f.sequence != next {
			err = errTorn
		}
		if err != nil {
			return missing(err, seg.number, next)
		}
		r, err := unpack(f, seg.number)
		if err != nil {
			return damaged(err, seg.number, next)
		}
		if err := visit(r, place{seg.number, f.offset, f.length}); err != nil {
			return err
		}
	}
	return nil
}

// missing names the place of a frame that is not there or not whole.
func missing(err error, segment, sequence uint64) error {
	if errors.Is(err, io.EOF) {
		err = errTorn
	}
	return damaged(err, segment, sequence)
}

// errPlaced marks an error that names its place already.
var errPlaced = errors.New("read the trail")

// damaged names the place of an integrity fault and passes on all others. A
// sequence of zero is the segment as a whole.
func damaged(err error, segment, sequence uint64) error {
	if fault.KindOf(err) != fault.Integrity || errors.Is(err, errPlaced) {
		return err
	}
	at := "segment " + strconv.FormatUint(segment, 10)
	if sequence > 0 {
		at += " at record " + strconv.FormatUint(sequence, 10)
	}
	return fault.Wrap(fault.Integrity, "the audit trail is damaged in "+at+": "+fault.Detail(err), errors.Join(errPlaced, err))
}
