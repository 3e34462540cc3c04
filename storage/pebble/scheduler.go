package pebble

import (
	"sync/atomic"

	pdb "github.com/cockroachdb/pebble/v2"
)

// scheduler holds compactions back until the database is open. Pebble starts them
// while it is still opening, and when opening then fails it frees what they use.
//
// It is Pebble's own scheduler without the timer: with one compaction at a time,
// the end of one is the only moment at which another may start.
type scheduler struct {
	*pdb.ConcurrencyLimitScheduler
	opened atomic.Bool
}

func newScheduler() *scheduler {
	return &scheduler{ConcurrencyLimitScheduler: pdb.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()}
}

// TrySchedule allows a compaction once the database is open.
func (s *scheduler) TrySchedule() (bool, pdb.CompactionGrantHandle) {
	if !s.opened.Load() {
		return false, nil
	}
	return s.ConcurrencyLimitScheduler.TrySchedule()
}

// release lets compactions run. Taking a turn and giving it back starts the one
// that may have been waiting.
func (s *scheduler) release() {
	s.opened.Store(true)
	if ok, turn := s.TrySchedule(); ok {
		turn.Done()
	}
}
