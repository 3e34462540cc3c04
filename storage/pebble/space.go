package pebble

import (
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heroctl/heroctl/schema/fault"
)

const (
	defaultReserve = 64 << 20
	// writeFactor is how often a byte may be on disk before old files go: in the
	// log, in a table, and in the table that a compaction makes of it.
	writeFactor = 3
)

// checkSpace refuses a group when the disk is nearly full. Without it Pebble
// would neither fail nor answer: it would try again without end.
func (s *Store) checkSpace(group []*pending) error {
	usage, err := s.config.FS.GetDiskUsage(s.config.Dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, "the free space of the disk is not known", err)
	}
	need := s.config.Reserve
	if need == 0 {
		need = min(defaultReserve, usage.TotalBytes/4)
	}
	for _, p := range group {
		need += uint64(writeFactor * batchBytes(p.batch))
	}
	if usage.AvailBytes < need {
		return fault.New(fault.Unavailable, "the disk is nearly full; free some space, writes then go on by themselves")
	}
	return nil
}
