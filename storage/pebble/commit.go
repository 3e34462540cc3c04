package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	pdb "github.com/cockroachdb/pebble/v2"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

const (
	maxGroup      = 256     // batches merged at most
	maxGroupBytes = 2 << 20 // no more are taken once the group has this size
)

// A pending batch is queued, then either taken by the committer or abandoned by
// its caller; whoever is first wins.
const (
	queued int32 = iota
	taken
	abandoned
)

type pending struct {
	batch storage.Batch
	state atomic.Int32
	done  chan result // of size one: the committer never waits
}

type result struct {
	rev schema.Revision
	err error
}

// Commit implements storage.KV.
func (s *Store) Commit(ctx context.Context, b storage.Batch) (schema.Revision, error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	defer s.calls.Done()
	if err := b.Check(); err != nil {
		return 0, err
	}
	p := &pending{batch: b, done: make(chan result, 1)}
	select {
	case s.queue <- p:
	case <-ctx.Done():
		return 0, contextFault(ctx.Err())
	}
	select {
	case r := <-p.done:
		return r.rev, r.err
	case <-ctx.Done():
	}
	if p.state.CompareAndSwap(queued, abandoned) {
		return 0, contextFault(ctx.Err())
	}
	// The batch is being written. Its outcome is worth a little patience.
	select {
	case r := <-p.done:
		return r.rev, r.err
	case <-time.After(s.config.grace):
		return 0, fault.New(fault.Timeout, "the disk does not answer; the change may or may not have landed")
	}
}

// commitLoop is the committer. It ends when the queue is closed.
func (s *Store) commitLoop() {
	defer close(s.committed)
	for first := range s.queue {
		s.commitGroup(s.gather(first))
	}
}

// gather takes first and every batch that waits behind it.
func (s *Store) gather(first *pending) []*pending {
	var group []*pending
	size := 0
	take := func(p *pending) {
		if p.state.CompareAndSwap(queued, taken) {
			group, size = append(group, p), size+batchBytes(p.batch)
		}
	}
	for take(first); len(group) < maxGroup && size < maxGroupBytes; {
		select {
		case p, open := <-s.queue:
			if !open {
				return group
			}
			take(p)
		default:
			return group
		}
	}
	return group
}

func batchBytes(b storage.Batch) int {
	size := 0
	for _, p := range b.Put {
		size += len(p.Key) + len(p.Value)
	}
	return size
}

// commitGroup commits the batches whose requirements hold and answers all.
func (s *Store) commitGroup(group []*pending) {
	if len(group) == 0 {
		return
	}
	results := make([]result, len(group))
	if err := s.checkSpace(group); err != nil {
		for i := range results {
			results[i].err = err
		}
	} else {
		s.write(group, results)
	}
	// Losers wait for the sync too: what they lost to must be durable before
	// anyone hears of it.
	for i, p := range group {
		p.done <- results[i]
	}
}

// write merges the group into one Pebble batch and syncs it.
func (s *Store) write(group []*pending, results []result) {
	m := merge{last: s.view, batch: s.db.NewBatch(), rev: s.rev, changed: map[string]schema.Revision{}}
	defer m.batch.Close()
	for i, p := range group {
		results[i].rev, results[i].err = m.add(p.batch)
	}
	if m.rev == s.rev {
		return
	}
	if err := s.sync(m.batch, m.rev); err != nil {
		s.log.Fatalf("commit: %v", err) // whether it landed is unknown
	}
	s.rev = m.rev
	s.publish(m.events, m.rev)
}

// sync writes batch and the revision, and returns when both are on disk.
func (s *Store) sync(batch *pdb.Batch, rev schema.Revision) error {
	defer s.log.dieOnPanic()
	return errors.Join(
		batch.Set(revisionKey(), binary.BigEndian.AppendUint64(nil, uint64(rev)), nil),
		batch.Commit(pdb.Sync))
}

// merge is a group in the making.
type merge struct {
	last    *view // the state before the group; the committer alone replaces it
	batch   *pdb.Batch
	rev     schema.Revision
	changed map[string]schema.Revision // by the group so far; 0: deleted
	events  []storage.Event
}

// add gives b the next revision if all it requires holds.
func (m *merge) add(b storage.Batch) (schema.Revision, error) {
	for _, r := range b.Require {
		rev, err := m.revision(r.Key)
		if err != nil {
			return 0, err
		}
		if rev != r.Revision {
			return 0, fault.New(fault.Conflict, "something changed in the meantime; read it again")
		}
	}
	var present [][]byte
	for _, key := range b.Delete {
		rev, err := m.revision(key)
		if err != nil {
			return 0, err
		}
		if rev != 0 {
			present = append(present, key)
		}
	}
	m.rev++
	first := len(m.events)
	for _, p := range b.Put {
		m.put(p)
	}
	for _, key := range present {
		m.delete(key)
	}
	slices.SortFunc(m.events[first:], func(a, b storage.Event) int { return bytes.Compare(a.Key, b.Key) })
	return m.rev, nil
}

// revision returns the revision of key, or 0 if it is absent.
func (m *merge) revision(key []byte) (schema.Revision, error) {
	if rev, ok := m.changed[string(key)]; ok {
		return rev, nil
	}
	stored, closer, err := m.last.snap.Get(dataKey(key))
	if errors.Is(err, pdb.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, readFault(err)
	}
	defer closer.Close()
	it, err := item(nil, stored)
	return it.Revision, err
}

// put and delete write to memory only; a Pebble batch fails only when it is
// closed or beyond 4 GiB.
func (m *merge) put(p storage.Put) {
	op := m.batch.SetDeferred(1+len(p.Key), revisionBytes+len(p.Value))
	op.Key[0] = dataSpace
	copy(op.Key[1:], p.Key)
	binary.BigEndian.PutUint64(op.Value, uint64(m.rev))
	copy(op.Value[revisionBytes:], p.Value)
	_ = op.Finish()
	m.change(p.Key, m.rev)
}

func (m *merge) delete(key []byte) {
	_ = m.batch.Delete(dataKey(key), nil)
	m.change(key, 0)
}

func (m *merge) change(key []byte, rev schema.Revision) {
	m.changed[string(key)] = rev
	m.events = append(m.events, storage.Event{Key: bytes.Clone(key), Revision: m.rev, Deleted: rev == 0})
}
