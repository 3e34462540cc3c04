package pebble

import (
	"bytes"
	"context"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/storage"
)

// Watch implements storage.KV.
func (s *Store) Watch(ctx context.Context, prefix []byte, from schema.Revision) (<-chan storage.Event, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.calls.Done()
	next, err := s.history.after(from)
	if err != nil {
		return nil, err
	}
	events, prefix := make(chan storage.Event, 16), bytes.Clone(prefix)
	s.watchers.Add(1) // under s.calls, so that Close waits for it
	go func() {
		defer s.watchers.Done()
		defer close(events)
		s.feed(ctx, prefix, next, events)
	}()
	return events, nil
}

// feed sends changes from number next on until ctx ends, the store closes, or the
// receiver has fallen behind what is kept.
func (s *Store) feed(ctx context.Context, prefix []byte, next int, to chan<- storage.Event) {
	for {
		events, after, grown, ok := s.history.read(next, prefix)
		if !ok {
			return
		}
		for _, ev := range events {
			ev.Key = bytes.Clone(ev.Key) // the receiver's own
			select {
			case to <- ev:
			case <-ctx.Done():
				return
			case <-s.closing:
				return
			}
		}
		if next = after; len(events) > 0 {
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return
		case <-s.closing:
			return
		}
	}
}
