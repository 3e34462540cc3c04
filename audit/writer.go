package audit

import (
	"crypto/rand"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// writer is the one goroutine that writes records. Many callers share one write
// and one fsync.
//
// A file whose write or fsync failed is never trusted again: what the kernel says
// about it afterwards proves nothing. The writer abandons it and goes on in a new
// segment, which begins after the newest record known to be on the disk. Records
// that were confirmed but not yet fsynced (kernel mode) are kept in memory until
// they are, and written again there, byte for byte. Records that were not
// confirmed are dropped and their callers told, so that a refused request leaves
// no record, and a later one takes the number.
type writer struct {
	t       *Trail
	seg     *segment // nil: none yet, or abandoned
	number  uint64   // of the newest segment
	defined map[schema.Digest]bool

	durable  chain      // after the newest fsynced record
	tip      chain      // after the newest kept record
	unsynced []*pending // from durable to tip, in order

	syncAt  time.Time // when unsynced must be fsynced; zero: nothing waits
	retryAt time.Time // no attempt before, after a failure
	buf     []byte
	text    []byte
	slab    []pending
}

// pending is a record that is linked but not yet fsynced.
type pending struct {
	packed []byte
	list   *Definition
	kept
}

// kept is what the followers learn of a record once it is fsynced.
type kept struct {
	leaf  tlog.Hash
	gist  gist
	place place
}

// Limits of one group: beyond, the first callers would wait for the last.
const (
	maxGroup      = 1024
	maxUnsynced   = 8192
	maxGroupBytes = 4 << 20
)

func (w *writer) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if wait := time.Until(w.retryAt); wait > 0 && !w.t.queue.isClosed() {
			w.sleep(timer, wait)
			continue
		}
		items, closed := w.t.queue.take()
		for rest := items; len(rest) > 0; {
			n := min(len(rest), maxGroup)
			w.group(rest[:n])
			rest = rest[n:]
		}
		clear(items)
		if len(items) == 0 {
			w.idle()
		}
		if closed && len(items) == 0 {
			if err := w.close(); err != nil {
				w.t.cfg.Logger.Error("audit: the last segment cannot be closed", "error", err)
			}
			return
		}
		if len(items) == 0 {
			w.sleep(timer, w.patience())
		}
	}
}

// sleep waits for entries, at most for d.
func (w *writer) sleep(timer *time.Timer, d time.Duration) {
	timer.Reset(d)
	select {
	case <-w.t.queue.wake:
		if time.Now().Before(w.retryAt) { // entries wait as the disk does
			select {
			case <-timer.C:
			case <-w.t.queue.ended:
			}
		}
	case <-timer.C:
	}
}

// patience is how long the writer may sleep when no entries wait.
func (w *writer) patience() time.Duration {
	switch {
	case len(w.unsynced) == 0:
		return time.Hour
	case w.seg == nil:
		return max(time.Until(w.retryAt), time.Millisecond)
	}
	return max(time.Until(w.syncAt), 0)
}

// idle does what time asks for: the late fsync of kernel mode, and another try
// for records that a failed disk left in memory.
func (w *writer) idle() {
	if len(w.unsynced) == 0 || time.Now().Before(w.syncAt) && w.seg != nil && !w.t.queue.isClosed() {
		return
	}
	if w.ready() == nil && len(w.unsynced) > 0 {
		_ = w.sync() // logged, and tried again
	}
}

// group writes one group of entries and answers their callers.
func (w *writer) group(items []*item) {
	if err := w.ready(); err != nil {
		answerAll(items, err)
		return
	}
	next, added, taken, err := w.link(items)
	if err == nil && len(taken) == 0 {
		return
	}
	if err == nil {
		err = w.seg.write(w.buf)
	}
	if err != nil {
		w.abandon(err)
		answerTaken(taken, errDisk)
		return
	}
	before := w.tip
	w.tip = next
	w.unsynced = append(w.unsynced, added...)
	if w.syncAt.IsZero() {
		w.syncAt = time.Now().Add(w.t.cfg.pace.syncWithin)
	}
	w.t.appended.Store(next.size)
	w.confirm(taken, before, len(added))
}

// confirm fsyncs as the mode asks and answers the callers.
func (w *writer) confirm(taken []*item, before chain, added int) {
	kernel := w.t.cfg.Durability == Kernel
	if kernel {
		taken = answerKernel(taken)
		if len(taken) == 0 && time.Now().Before(w.syncAt) && len(w.unsynced) < maxUnsynced && !w.full() {
			return
		}
	}
	if w.sync() != nil {
		if !kernel { // nothing of this group was confirmed
			w.unsynced = w.unsynced[:len(w.unsynced)-added]
			w.tip = before
			w.t.appended.Store(before.size)
		}
		answerTaken(taken, errDisk)
		return
	}
	answerTaken(taken, nil)
}

// answerKernel answers those who do not wait for the disk and returns the rest.
func answerKernel(taken []*item) []*item {
	rest := taken[:0]
	for _, it := range taken {
		if it.syncs() {
			rest = append(rest, it)
			continue
		}
		it.answer(it.gist.sequence, nil)
	}
	return rest
}

var errDisk = fault.New(fault.Unavailable, "the audit trail cannot be written now")

func answerAll(items []*item, err error) {
	for _, it := range items {
		if it.take() {
			it.answer(0, err)
		}
	}
}

func answerTaken(taken []*item, err error) {
	for _, it := range taken {
		if err != nil {
			it.answer(0, err)
			continue
		}
		it.answer(it.gist.sequence, nil)
	}
}

// link numbers, links and seals the entries whose callers still wait. It fills
// buf and changes nothing else; the state after them is returned.
func (w *writer) link(items []*item) (next chain, added []*pending, taken []*item, err error) {
	next, added, taken = w.tip, make([]*pending, 0, len(items)+1), make([]*item, 0, len(items))
	salts := make([]byte, 16*2*len(items)) // a definition may precede each record
	rand.Read(salts)                       // never fails: package crypto/rand ends the process instead
	now := w.t.cfg.Now().UnixMicro()
	w.slab = make([]pending, 0, len(items))
	defined := map[schema.Digest]bool{}
	w.buf = w.buf[:0]
	for _, it := range items {
		if !it.take() {
			continue
		}
		taken = append(taken, it)
		if it.list != nil && !w.defined[it.list.Digest] && !defined[it.list.Digest] {
			defined[it.list.Digest] = true
			p, err := w.add(&next, now, definitionGist(it.list.Digest), packDefinition(*it.list), salts[:16])
			if err != nil {
				return next, nil, taken, err
			}
			added, salts = append(added, p), salts[16:]
		}
		p, err := w.add(&next, now, it.gist, it.body, salts[:16])
		if err != nil {
			return next, nil, taken, err
		}
		p.list, salts = it.list, salts[16:]
		it.gist.sequence = p.gist.sequence
		added = append(added, p)
	}
	for digest := range defined { // if the write fails, the segment is abandoned with its definitions
		w.defined[digest] = true
	}
	return next, added, taken, nil
}

func definitionGist(digest schema.Digest) gist {
	return gist{kind: KindDefinition, list: digest, defines: true}
}

// add links one record to c and appends its frame to buf.
func (w *writer) add(c *chain, now int64, n gist, body, salt []byte) (*pending, error) {
	n.sequence, n.time = c.size+1, tick(c.time, now)
	h := head{
		sequence: n.sequence, time: n.time, kind: n.kind, decision: n.decision, previous: c.leaf,
		salt: [16]byte(salt), cluster: w.t.cfg.Keys.Cluster(), node: w.t.cfg.Node,
	}
	packed := make([]byte, 0, len(body)+256)
	packed = pad(append(packHead(packed, h), body...))
	var err error
	if w.text, err = expand(w.text[:0], packed); err != nil {
		return nil, err
	}
	p := w.pending()
	p.packed, p.leaf, p.gist = packed, tlog.RecordHash(w.text), n
	if _, err := c.add(p.leaf, n.time); err != nil {
		return nil, err
	}
	w.frame(p)
	return p, nil
}

// pending returns a new one. Those of a group share their memory.
func (w *writer) pending() *pending {
	if len(w.slab) == cap(w.slab) {
		return &pending{}
	}
	w.slab = w.slab[:len(w.slab)+1]
	return &w.slab[len(w.slab)-1]
}

// frame appends the frame of p to buf and says where it will lie.
func (w *writer) frame(p *pending) {
	start := len(w.buf)
	w.buf = w.seg.appendFrame(w.buf, p.packed, p.gist.sequence, uint32(p.gist.sequence-w.durable.size))
	p.place = place{w.seg.number, w.seg.size + int64(start), uint32(len(w.buf) - start)}
}

// tick returns the time of the next record: later than the last by at least a
// microsecond, so that records of one group sort, unless the clock was set back.
func tick(last, now int64) int64 {
	if now <= last && last-now < time.Second.Microseconds() {
		return last + 1
	}
	return now
}

// ready makes sure there is a segment to write to. A new one begins with the
// records that are not on the disk yet, and they are fsynced at once.
func (w *writer) ready() error {
	for w.seg == nil { // twice if what was kept fills a segment
		h := header{number: w.number + 1, first: w.durable.size + 1, created: w.t.cfg.Now(), trail: w.t.id, before: w.durable}
		seg, err := createSegment(w.t.cfg.FS, w.t.cfg.Dir, w.t.cfg.Keys, h)
		if err != nil {
			w.failed(err)
			return errDisk
		}
		w.seg, w.number, w.defined = seg, h.number, map[schema.Digest]bool{}
		w.t.shelf.add(h)
		if len(w.unsynced) == 0 {
			return nil
		}
		if err := w.rewrite(); err != nil {
			w.abandon(err)
			return errDisk
		}
		if err := w.sync(); err != nil {
			return err
		}
	}
	return nil
}

// rewrite writes the unsynced records into the new segment, and then again the
// definitions they need, so that the segment can be read alone.
func (w *writer) rewrite() error {
	w.buf = w.buf[:0]
	for _, p := range w.unsynced {
		w.frame(p)
		if p.gist.defines {
			w.defined[p.gist.list] = true
		}
	}
	for _, p := range w.unsynced {
		if p.list == nil || w.defined[p.list.Digest] {
			continue
		}
		w.defined[p.list.Digest] = true
		var salt [16]byte
		rand.Read(salt[:])
		d, err := w.add(&w.tip, w.t.cfg.Now().UnixMicro(), definitionGist(p.list.Digest), packDefinition(*p.list), salt[:])
		if err != nil {
			return err
		}
		w.unsynced = append(w.unsynced, d)
	}
	w.t.appended.Store(w.tip.size)
	return w.seg.write(w.buf)
}

// sync fsyncs the segment and makes what it holds known.
func (w *writer) sync() error {
	if err := w.seg.file.SyncData(); err != nil {
		w.abandon(err)
		return errDisk
	}
	w.durable = w.tip
	w.t.publish(&w.durable, w.unsynced)
	w.unsynced, w.syncAt = nil, time.Time{}
	if w.full() {
		if err := w.close(); err != nil { // everything in it is on the disk already
			w.t.cfg.Logger.Warn("audit: a full segment cannot be closed", "error", err)
		}
	}
	return nil
}

func (w *writer) full() bool { return w.seg.size >= w.t.cfg.SegmentBytes }

// abandon gives up the present segment.
func (w *writer) abandon(err error) {
	w.failed(errors.Join(err, w.close()))
}

func (w *writer) failed(err error) {
	w.retryAt = time.Now().Add(w.t.cfg.pace.retryAfter)
	w.t.cfg.Logger.Error("audit: the trail cannot be written; requests are refused until it can", "error", err)
}

// close closes the present segment, if there is one.
func (w *writer) close() error {
	if w.seg == nil {
		return nil
	}
	err := w.seg.file.Close()
	w.seg = nil
	return err
}

// write appends to the file. The file system may scramble b.
func (s *segment) write(b []byte) error {
	_, err := s.file.Write(b)
	s.size += int64(len(b))
	return err
}
