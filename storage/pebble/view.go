package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"

	pdb "github.com/cockroachdb/pebble/v2"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

// view is a state of the database of which every byte is durable. Readers hold
// it while they read; the store holds the newest.
type view struct {
	snap *pdb.Snapshot
	refs atomic.Int64
}

func newView(db *pdb.DB) *view {
	v := &view{snap: db.NewSnapshot()}
	v.refs.Store(1)
	return v
}

// release gives a view back; the last one closes it. A snapshot's Close fails
// only when it is closed twice.
func (v *view) release() {
	if v.refs.Add(-1) == 0 {
		_ = v.snap.Close()
	}
}

// acquire returns the newest view, to be released.
func (s *Store) acquire() *view {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.refs.Add(1)
	return s.view
}

// publish shows readers the present state of the database, and watchers what
// changed. Both happen under one lock: who reads a revision can watch from it,
// and who hears of a change can read it.
func (s *Store) publish(events []storage.Event, head schema.Revision) {
	next := newView(s.db)
	s.mu.Lock()
	last := s.view
	s.view = next
	s.history.add(events, head)
	s.mu.Unlock()
	last.release()
}

// Get implements storage.KV.
func (s *Store) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if err := s.begin(ctx); err != nil {
		return storage.Item{}, err
	}
	defer s.calls.Done()
	if err := storage.CheckKey(key); err != nil {
		return storage.Item{}, err
	}
	v := s.acquire()
	defer v.release()
	stored, err := get(v.snap, dataKey(key))
	switch {
	case errors.Is(err, pdb.ErrNotFound):
		return storage.Item{}, fault.New(fault.NotFound, "no such key")
	case err != nil:
		return storage.Item{}, readFault(err)
	}
	return item(bytes.Clone(key), stored)
}

// Scan implements storage.KV.
func (s *Store) Scan(ctx context.Context, prefix, after []byte, limit int) ([]storage.Item, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.calls.Done()
	if limit <= 0 {
		return nil, fault.New(fault.InvalidArgument, "the limit of a scan is positive")
	}
	v := s.acquire()
	defer v.release()
	iter, err := v.snap.NewIterWithContext(ctx, bounds(prefix, after))
	if err != nil {
		return nil, readFault(err)
	}
	items, err := collect(ctx, iter, limit)
	return items, errors.Join(err, closeFault(iter.Close()))
}

// bounds selects the keys that start with prefix and are larger than after.
func bounds(prefix, after []byte) *pdb.IterOptions {
	lower := dataKey(prefix)
	if len(after) > 0 && bytes.Compare(after, prefix) >= 0 {
		lower = append(dataKey(after), 0) // the smallest key larger than after
	}
	return &pdb.IterOptions{LowerBound: lower, UpperBound: successor(dataKey(prefix))}
}

// successor returns the smallest key larger than all that start with prefix,
// which it changes, and which has a byte other than 0xff: that of the space.
func successor(prefix []byte) []byte {
	end := len(prefix)
	for prefix[end-1] == 0xff {
		end--
	}
	prefix[end-1]++
	return prefix[:end]
}

func collect(ctx context.Context, iter *pdb.Iterator, limit int) ([]storage.Item, error) {
	var items []storage.Item
	for ok := iter.First(); ok && len(items) < limit; ok = iter.Next() {
		if err := ctx.Err(); err != nil {
			return nil, contextFault(err)
		}
		stored, err := iter.ValueAndErr()
		if err != nil {
			return nil, readFault(err)
		}
		it, err := item(bytes.Clone(iter.Key()[1:]), bytes.Clone(stored))
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	if err := iter.Error(); err != nil {
		return nil, readFault(err)
	}
	return items, nil
}

func closeFault(err error) error {
	if err == nil {
		return nil
	}
	return readFault(err)
}

// item takes ownership of key and of what is stored under it.
func item(key, stored []byte) (storage.Item, error) {
	if len(stored) < revisionBytes {
		return storage.Item{}, fault.New(fault.Integrity, "the store is damaged; restore it from a backup")
	}
	rev := schema.Revision(binary.BigEndian.Uint64(stored))
	return storage.Item{Key: key, Value: stored[revisionBytes:], Revision: rev}, nil
}

// getter is a database or a snapshot.
type getter interface {
	Get(key []byte) ([]byte, io.Closer, error)
}

// get returns a copy of what is stored under key.
func get(from getter, key []byte) ([]byte, error) {
	stored, closer, err := from.Get(key)
	if err != nil {
		return nil, err
	}
	stored = bytes.Clone(stored)
	return stored, closer.Close()
}
