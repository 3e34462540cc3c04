package pebble

import (
	"bytes"
	"sort"
	"sync"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

// history is the ring of the last changes, for watchers. Changes are numbered
// from zero; change i lies in events[i % limit]. Each watcher keeps the number of
// the change it wants next, so that a slow one costs nothing and holds up nobody.
// It is safe for concurrent use.
type history struct {
	limit int

	mu     sync.Mutex
	events []storage.Event
	total  int             // changes ever added
	floor  schema.Revision // every change after floor is here
	head   schema.Revision // newest revision
	grown  chan struct{}   // closed and replaced with every addition
}

// newHistory returns an empty history that starts at rev.
func newHistory(limit int, rev schema.Revision) *history {
	return &history{limit: limit, floor: rev, head: rev, grown: make(chan struct{})}
}

// add appends the changes of one or more commits up to revision head.
func (h *history) add(events []storage.Event, head schema.Revision) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ev := range events {
		if len(h.events) < h.limit {
			h.events = append(h.events, ev)
		} else {
			oldest := &h.events[h.total%h.limit]
			h.floor, *oldest = oldest.Revision, ev
		}
		h.total++
	}
	h.head = head
	close(h.grown)
	h.grown = make(chan struct{})
}

// first returns the number of the oldest change kept.
func (h *history) first() int { return h.total - len(h.events) }

// after returns the number of the first change with a revision larger than from.
func (h *history) after(from schema.Revision) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from < h.floor || from > h.head {
		return 0, fault.New(fault.Compacted, "the changes since that revision are not kept; read anew")
	}
	first := h.first()
	return first + sort.Search(len(h.events), func(i int) bool {
		return h.events[(first+i)%h.limit].Revision > from
	}), nil
}

// read returns changes under prefix from number next on, at most a screenful,
// the number to go on from, and a channel that is closed once there are more. It
// returns false if change next is forgotten.
func (h *history) read(next int, prefix []byte) (events []storage.Event, after int, grown <-chan struct{}, ok bool) {
	const most = 256
	h.mu.Lock()
	defer h.mu.Unlock()
	if next < h.first() {
		return nil, 0, nil, false
	}
	for ; next < h.total && len(events) < most; next++ {
		if ev := h.events[next%h.limit]; bytes.HasPrefix(ev.Key, prefix) {
			events = append(events, ev)
		}
	}
	return events, next, h.grown, true
}
