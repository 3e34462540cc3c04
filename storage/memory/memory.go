// Package memory is a storage.KV that keeps everything in memory: for tests, and
// as the plainest statement of what the contract means. Nothing survives Close.
//
// One mutex guards all. Keys are kept sorted beside the map, and changes in a
// list that loses its older half when it is twice as long as promised.
package memory

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

// history is how many changes are kept for watchers at least.
const history = 100_000

// Store is a storage.KV in memory. It is safe for concurrent use.
type Store struct {
	watchers sync.WaitGroup
	closing  chan struct{} // closed by Close

	mu      sync.Mutex // guards what follows
	closed  bool
	items   map[string]storage.Item
	keys    []string // of items, sorted
	rev     schema.Revision
	changes []storage.Event
	floor   schema.Revision // every change after floor is in changes
	dropped int             // changes before changes[0]
	changed chan struct{}   // closed and replaced with every change
}

// New returns an empty store.
func New() *Store {
	return &Store{items: map[string]storage.Item{}, changed: make(chan struct{}), closing: make(chan struct{})}
}

// enter takes the lock, to be given back, if a call may begin.
func (s *Store) enter(ctx context.Context) error {
	switch err := ctx.Err(); {
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Timeout, "the deadline passed", err)
	case err != nil:
		return fault.Wrap(fault.Canceled, "the caller went away", err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fault.New(fault.Unavailable, "the store is closed")
	}
	return nil
}

// Get implements storage.KV.
func (s *Store) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if err := s.enter(ctx); err != nil {
		return storage.Item{}, err
	}
	defer s.mu.Unlock()
	if err := storage.CheckKey(key); err != nil {
		return storage.Item{}, err
	}
	it, ok := s.items[string(key)]
	if !ok {
		return storage.Item{}, fault.New(fault.NotFound, "no such key")
	}
	return clone(it), nil
}

// Scan implements storage.KV.
func (s *Store) Scan(ctx context.Context, prefix, after []byte, limit int) ([]storage.Item, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if limit <= 0 {
		return nil, fault.New(fault.InvalidArgument, "the limit of a scan is positive")
	}
	var items []storage.Item
	first := sort.Search(len(s.keys), func(i int) bool {
		return s.keys[i] >= string(prefix) && (len(after) == 0 || s.keys[i] > string(after))
	})
	for _, key := range s.keys[first:] {
		if len(items) == limit || !strings.HasPrefix(key, string(prefix)) {
			break
		}
		items = append(items, clone(s.items[key]))
	}
	return items, nil
}

func clone(it storage.Item) storage.Item {
	return storage.Item{Key: bytes.Clone(it.Key), Value: bytes.Clone(it.Value), Revision: it.Revision}
}

// Commit implements storage.KV.
func (s *Store) Commit(ctx context.Context, b storage.Batch) (schema.Revision, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	if err := b.Check(); err != nil {
		return 0, err
	}
	for _, r := range b.Require {
		if s.items[string(r.Key)].Revision != r.Revision {
			return 0, fault.New(fault.Conflict, "something changed in the meantime; read it again")
		}
	}
	s.rev++
	var events []storage.Event
	for _, p := range b.Put {
		s.put(string(p.Key), bytes.Clone(p.Value))
		events = append(events, storage.Event{Key: bytes.Clone(p.Key), Revision: s.rev})
	}
	for _, key := range b.Delete {
		if s.delete(string(key)) {
			events = append(events, storage.Event{Key: bytes.Clone(key), Revision: s.rev, Deleted: true})
		}
	}
	s.note(events)
	return s.rev, nil
}

func (s *Store) put(key string, value []byte) {
	if i, found := slices.BinarySearch(s.keys, key); !found {
		s.keys = slices.Insert(s.keys, i, key)
	}
	s.items[key] = storage.Item{Key: []byte(key), Value: value, Revision: s.rev}
}

// delete reports whether the key was there.
func (s *Store) delete(key string) bool {
	i, found := slices.BinarySearch(s.keys, key)
	if found {
		s.keys = slices.Delete(s.keys, i, i+1)
		delete(s.items, key)
	}
	return found
}

// note adds the events of one commit to the changes and wakes the watchers.
func (s *Store) note(events []storage.Event) {
	slices.SortFunc(events, func(a, b storage.Event) int { return bytes.Compare(a.Key, b.Key) })
	s.changes = append(s.changes, events...)
	if old := len(s.changes) - history; old >= history {
		s.floor = s.changes[old-1].Revision
		s.dropped += old
		s.changes = slices.Clone(s.changes[old:])
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// Watch implements storage.KV.
func (s *Store) Watch(ctx context.Context, prefix []byte, from schema.Revision) (<-chan storage.Event, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if from < s.floor || from > s.rev {
		return nil, fault.New(fault.Compacted, "the changes since that revision are not kept; read anew")
	}
	next := s.dropped + sort.Search(len(s.changes), func(i int) bool { return s.changes[i].Revision > from })
	events, prefix := make(chan storage.Event), bytes.Clone(prefix)
	s.watchers.Add(1)
	go func() {
		defer s.watchers.Done()
		defer close(events)
		s.feed(ctx, prefix, next, events)
	}()
	return events, nil
}

// feed sends changes from number next on until ctx ends, the store closes, or
// change next has been dropped.
func (s *Store) feed(ctx context.Context, prefix []byte, next int, to chan<- storage.Event) {
	for {
		s.mu.Lock()
		behind, changed := next < s.dropped, s.changed
		var ev storage.Event
		found := false
		for ; !behind && !found && next-s.dropped < len(s.changes); next++ {
			ev = s.changes[next-s.dropped]
			found = bytes.HasPrefix(ev.Key, prefix)
		}
		s.mu.Unlock()
		if behind {
			return
		}
		send := to
		if found {
			ev.Key, changed = bytes.Clone(ev.Key), nil
		} else {
			send = nil
		}
		select { // on a nil channel nothing ever happens
		case send <- ev:
		case <-changed:
		case <-ctx.Done():
			return
		case <-s.closing:
			return
		}
	}
}

// Close implements storage.KV.
func (s *Store) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.watchers.Wait()
	return nil
}

var _ storage.KV = (*Store)(nil)
