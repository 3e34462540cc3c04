package storage

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// names is the index of secret names: every live path, sorted. It is filled on
// first use by a scan of the name records and kept by a watch from then on, so
// that a server which never lists pays nothing.
//
// All changes, also this store's own, arrive through the one ordered watch. A
// list waits until the watch has delivered this store's last acknowledged change
// (expect), so that it shows it. When the watch ends or has fallen behind, the
// index is dropped and the next list fills it again.
//
// The sorted slice is never changed in place: a list walks the one it took
// without holding the lock. Changes gather in pending and are merged by the next
// list, so that a change costs the same however many names there are.
type names struct {
	store *Store
	fill  sync.Mutex // held while filling, so that it happens once

	// mu guards what follows.
	mu      sync.Mutex
	filled  bool
	sorted  []schema.Path
	byID    map[crypto.ID]schema.Path
	pending map[schema.Path]bool // true: to add; false: to remove
	applied schema.Revision      // every change up to here is in sorted and pending
	wanted  schema.Revision      // of this store's newest change
	moved   chan struct{}        // closed when applied or filled changes
}

func newNames(s *Store) *names { return &names{store: s, moved: make(chan struct{})} }

// expect makes lists wait for the change committed at rev.
func (n *names) expect(rev schema.Revision) {
	n.mu.Lock()
	n.wanted = max(n.wanted, rev)
	n.mu.Unlock()
}

// snapshot returns the sorted names. The caller must not change the slice.
func (n *names) snapshot(ctx context.Context) ([]schema.Path, error) {
	for {
		n.mu.Lock()
		filled, current, moved := n.filled, n.applied >= n.wanted, n.moved
		if filled && current {
			sorted := n.merge()
			n.mu.Unlock()
			return sorted, nil
		}
		n.mu.Unlock()
		if !filled {
			if err := n.load(ctx); err != nil {
				return nil, fmt.Errorf("fill name index: %w", err)
			}
			continue
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// merge brings the pending changes into sorted. It holds mu.
func (n *names) merge() []schema.Path {
	if len(n.pending) == 0 {
		return n.sorted
	}
	changed := slices.SortedFunc(maps.Keys(n.pending), comparePaths)
	merged, rest := make([]schema.Path, 0, len(n.sorted)+len(changed)), n.sorted
	for _, path := range changed {
		at, found := slices.BinarySearchFunc(rest, path, comparePaths)
		merged, rest = append(merged, rest[:at]...), rest[at:]
		if found {
			rest = rest[1:]
		}
		if n.pending[path] {
			merged = append(merged, path)
		}
	}
	n.sorted, n.pending = append(merged, rest...), map[schema.Path]bool{}
	return n.sorted
}

func comparePaths(a, b schema.Path) int { return strings.Compare(a.String(), b.String()) }

// load fills the index: it starts to watch, then scans, so that no change falls
// between the two.
func (n *names) load(ctx context.Context) error {
	n.fill.Lock()
	defer n.fill.Unlock()
	n.mu.Lock()
	filled := n.filled
	n.mu.Unlock()
	if filled {
		return nil
	}
	s := n.store
	from, err := s.Revision(ctx)
	if err != nil {
		return err
	}
	watch, cancel := context.WithCancel(s.running)
	events, err := s.kv.Watch(watch, key(kindName), from)
	if err != nil {
		cancel()
		return err
	}
	byID, err := n.scan(ctx)
	if err != nil {
		cancel()
		return err
	}
	sorted := make([]schema.Path, 0, len(byID))
	for _, path := range byID {
		sorted = append(sorted, path)
	}
	slices.SortFunc(sorted, comparePaths)
	n.mu.Lock()
	n.filled, n.sorted, n.byID, n.pending, n.applied = true, sorted, byID, map[schema.Path]bool{}, from
	n.mu.Unlock()
	s.watches.Go(func() {
		defer cancel()
		n.follow(watch, events)
	})
	return nil
}

// scan reads every name record. Opening them is most of the work, and is shared
// among the processors.
func (n *names) scan(ctx context.Context) (map[crypto.ID]schema.Path, error) {
	byID := map[crypto.ID]schema.Path{}
	var after []byte
	for {
		items, err := n.store.kv.Scan(ctx, key(kindName), after, scanPage)
		if err != nil {
			return nil, err
		}
		paths, errs := make([]schema.Path, len(items)), make([]error, len(items))
		var open sync.WaitGroup
		workers := runtime.GOMAXPROCS(0)
		for worker := range workers {
			open.Go(func() {
				for i := worker; i < len(items); i += workers {
					paths[i], errs[i] = n.open(items[i])
				}
			})
		}
		open.Wait()
		for i, item := range items {
			if errs[i] != nil {
				return nil, errs[i]
			}
			byID[crypto.ID(item.Key[1:])] = paths[i]
		}
		if len(items) < scanPage {
			return byID, nil
		}
		after = items[len(items)-1].Key
	}
}

// follow applies events until the watch ends or the index cannot be kept.
func (n *names) follow(ctx context.Context, events <-chan Event) {
	for event := range events {
		if err := n.apply(ctx, event); err != nil {
			break
		}
	}
	n.mu.Lock()
	n.filled = false
	n.signal()
	n.mu.Unlock()
}

// apply brings the present state of the event's key into the index.
func (n *names) apply(ctx context.Context, event Event) error {
	id := crypto.ID(event.Key[1:])
	item, err := n.store.kv.Get(ctx, event.Key)
	var path schema.Path
	switch {
	case err == nil:
		if path, err = n.open(item); err != nil {
			return err
		}
	case !absent(err):
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, known := n.byID[id]; known && path.IsZero() {
		delete(n.byID, id)
		n.pending[old] = false
	}
	if !path.IsZero() {
		n.byID[id] = path
		n.pending[path] = true
	}
	n.applied = max(n.applied, event.Revision)
	n.signal()
	return nil
}

// signal wakes lists that wait. It holds mu.
func (n *names) signal() {
	close(n.moved)
	n.moved = make(chan struct{})
}

// open reads a name record.
func (n *names) open(item Item) (schema.Path, error) {
	text, err := n.store.keys.Open(nameLabel(item.Key[1:]), item.Value)
	if err != nil {
		return schema.Path{}, err
	}
	path, err := schema.ParsePath(string(text))
	if err != nil {
		return schema.Path{}, fault.New(fault.Integrity, "a name record holds no path")
	}
	return path, nil
}
