package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"syscall"
	"time"

	pdb "github.com/cockroachdb/pebble/v2"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

const (
	dataSpace     = 'k'
	revisionBytes = 8
	format        = 1
)

func formatKey() []byte   { return []byte("mformat") }
func revisionKey() []byte { return []byte("mrevision") }

// dataKey returns Pebble's key for key.
func dataKey(key []byte) []byte { return append([]byte{dataSpace}, key...) }

// Store is a storage.KV in one folder. It is safe for concurrent use.
type Store struct {
	config  Config
	log     logger
	lock    *pdb.Lock
	db      *pdb.DB
	history *history

	queue     chan *pending // batches that wait for the committer
	committed chan struct{} // closed when the committer has ended
	closing   chan struct{} // closed when Close begins
	calls     sync.WaitGroup
	watchers  sync.WaitGroup

	rev schema.Revision // of the last commit; the committer's own

	mu     sync.Mutex // guards what follows
	closed bool       // no call begins any more
	view   *view      // what readers see
}

// Open opens the store in c.Dir, and makes an empty one if there is none.
//
// It is Unavailable when another process has the store open, Integrity when the
// store is found damaged, and FailedCheck when a newer release wrote it.
func Open(c Config) (*Store, error) {
	c = c.withDefaults()
	if err := c.FS.MkdirAll(c.Dir, dirMode); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "the data folder cannot be created", err)
	}
	lock, err := pdb.LockDirectory(c.Dir, c.FS)
	if err != nil {
		return nil, lockFault(err)
	}
	s := &Store{config: c, lock: lock, log: logger{c.Logger, c.exit},
		queue: make(chan *pending, maxGroup), committed: make(chan struct{}), closing: make(chan struct{})}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	go s.commitLoop()
	return s, nil
}

// open opens the database and reads where it stands.
func (s *Store) open() error {
	if err := checkManifest(s.config.FS, s.config.Dir); err != nil {
		return err
	}
	compactions := newScheduler()
	options := s.config.options(s.log, s.lock, compactions)
	defer options.Cache.Unref()
	defer s.log.dieOnPanic()
	db, err := pdb.Open(s.config.Dir, options)
	if err != nil {
		return openFault(err)
	}
	compactions.release()
	if s.rev, err = start(db); err != nil {
		return errors.Join(err, db.Close())
	}
	s.db, s.history, s.view = db, newHistory(s.config.History, s.rev), newView(db)
	return nil
}

// start checks the format of the database, or marks a new one, and returns the
// revision of its last commit.
func start(db *pdb.DB) (schema.Revision, error) {
	mark, err := get(db, formatKey())
	switch {
	case errors.Is(err, pdb.ErrNotFound):
		return 0, initialize(db)
	case err != nil:
		return 0, readFault(err)
	case !bytes.Equal(mark, []byte{format}):
		return 0, fault.New(fault.FailedCheck, "the store was written by a newer release; run that one")
	}
	value, err := get(db, revisionKey())
	if err != nil || len(value) != revisionBytes {
		return 0, fault.Wrap(fault.Integrity, "the store has lost its revision; restore it from a backup", err)
	}
	return schema.Revision(binary.BigEndian.Uint64(value)), nil
}

// initialize marks a new database. One that has keys and no mark has lost a part.
func initialize(db *pdb.DB) error {
	iter, err := db.NewIter(nil)
	if err != nil {
		return readFault(err)
	}
	found := iter.First()
	if err := errors.Join(iter.Error(), iter.Close()); err != nil {
		return readFault(err)
	}
	if found {
		return fault.New(fault.Integrity, "the store has lost its format mark; restore it from a backup")
	}
	batch := db.NewBatch()
	defer batch.Close()
	err = errors.Join(
		batch.Set(formatKey(), []byte{format}, nil),
		batch.Set(revisionKey(), make([]byte, revisionBytes), nil),
		batch.Commit(pdb.Sync))
	if err != nil {
		return fault.Wrap(fault.Unavailable, "the store cannot be written", err)
	}
	return nil
}

// begin admits one call, which must end with s.calls.Done.
func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return contextFault(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fault.New(fault.Unavailable, "the store is closed")
	}
	s.calls.Add(1)
	return nil
}

// Close implements storage.KV. On a disk that does not answer it gives up after a
// while, and leaves the rest to the end of the process.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return nil
	}
	close(s.closing)
	s.calls.Wait()
	s.watchers.Wait()
	close(s.queue)
	select {
	case <-s.committed:
	case <-time.After(s.config.grace):
		return fault.New(fault.Unavailable, "the disk does not answer; the store was not closed in order")
	}
	s.view.release()
	if err := errors.Join(s.db.Close(), s.lock.Close()); err != nil {
		return fault.Wrap(fault.Unavailable, "the store was not closed in order", err)
	}
	return nil
}

// readFault turns an error of Pebble's into one of ours.
func readFault(err error) error {
	if pdb.IsCorruptionError(err) {
		return fault.Wrap(fault.Integrity, "the store is damaged; restore it from a backup", err)
	}
	return fault.Wrap(fault.Unavailable, "the store cannot be read", err)
}

func openFault(err error) error {
	if strings.Contains(err.Error(), "unknown format major version") {
		return fault.Wrap(fault.FailedCheck, "the store was written by a newer release; run that one", err)
	}
	return readFault(err)
}

func lockFault(err error) error {
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "lock held by current process") {
		return fault.Wrap(fault.Unavailable, "the data folder is in use by another server; stop it first", err)
	}
	return fault.Wrap(fault.Unavailable, "the data folder cannot be locked", err)
}

func contextFault(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Timeout, "the deadline passed", err)
	}
	return fault.Wrap(fault.Canceled, "the caller went away", err)
}

var _ storage.KV = (*Store)(nil)
