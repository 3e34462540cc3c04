package storage

import (
	"context"
	"slices"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Limits of the contract. They are what one etcd transaction takes with its
// default settings, so that whatever is written for one backend fits all; bulk
// work commits in chunks that can be resumed.
const (
	MaxKeyBytes      = 512        // one key
	MaxBatchBytes    = 1536 << 10 // keys and values of all puts of one batch
	MaxBatchItems    = 128        // puts and deletes of one batch
	MaxBatchRequires = 128        // requires of one batch
)

// KV is the ordered, versioned key-value store under everything heroctl keeps.
// Keys and values are opaque to it: names arrive blinded, values sealed.
//
// Keys are 1 to MaxKeyBytes bytes, ordered as bytes. Every commit gets a
// revision, larger than all before it; revisions are never used twice, not even
// after a crash. A key's revision is that of the last commit that put it.
//
// What Get, Scan and Watch show is durable: nothing that a power cut could take
// back is ever visible. All methods may be called concurrently. Arguments are
// not kept or changed after a call returns; results belong to the caller.
//
// Errors are of package fault. Every method answers Unavailable after Close,
// Canceled or Timeout when ctx ended, and Integrity when the backend found its
// data damaged.
type KV interface {
	// Get returns the item under key, or fault.NotFound.
	Get(ctx context.Context, key []byte) (Item, error)

	// Scan returns, in key order, the items whose key starts with prefix and is
	// larger than after; at most limit, which must be positive. An empty prefix
	// selects every key, an empty after starts at the first. One call sees one
	// state of the store; the next page, asked for with the last key received,
	// may see a later one. Fewer than limit items means there are no more.
	Scan(ctx context.Context, prefix, after []byte, limit int) ([]Item, error)

	// Commit applies the batch as a whole or not at all, if every Require holds,
	// and returns its revision once it is durable.
	//
	// Conflict means that a Require did not hold; InvalidArgument and TooLarge
	// that the batch breaks a rule of Batch.Check; Unavailable that the store
	// takes no writes now, such as when its disk is full. After these nothing was
	// done. After any other error the batch may or may not have landed, and only
	// a later Get tells: put a key that identifies the batch into it.
	Commit(ctx context.Context, b Batch) (schema.Revision, error)

	// Watch sends an event for every key under prefix that a commit with a
	// revision larger than from put or deleted: by revision, and by key within
	// one. It answers Compacted when the store no longer knows all changes since
	// from (or never had that revision); the caller then scans anew.
	//
	// The channel is closed when ctx ends, when the store closes, and when the
	// receiver falls so far behind that changes it has not taken are forgotten.
	// A slow receiver never holds up a commit. To resume, Watch again from one
	// revision before the last event received: the commit it belongs to may have
	// had more of them, and seeing an event twice is harmless.
	Watch(ctx context.Context, prefix []byte, from schema.Revision) (<-chan Event, error)

	// Close stops watches, waits for calls under way and releases the store. A
	// second Close does nothing and returns nil.
	Close() error
}

// Item is one key with its value and the revision of the commit that put it.
type Item struct {
	Key, Value []byte
	Revision   schema.Revision
}

// Require is a condition of a batch: that Key has exactly Revision, the one a Get
// or Scan returned. Revision 0 requires that the key is absent.
type Require struct {
	Key      []byte
	Revision schema.Revision
}

// Put stores Value, which may be empty, under Key.
type Put struct{ Key, Value []byte }

// Batch is one atomic change. Requires are compared with the state before the
// batch. No key may be put or deleted twice, and there must be at least one put
// or delete. Deleting an absent key is allowed, and makes no event.
type Batch struct {
	Require []Require
	Put     []Put
	Delete  [][]byte
}

// Event tells that a commit changed a key. It carries no value: the watcher reads
// it itself, and may then see a later one.
type Event struct {
	Key      []byte
	Revision schema.Revision
	Deleted  bool
}

// Check refuses batches outside the contract. Every backend calls it first, so
// that all refuse the same.
func (b Batch) Check() error {
	switch items := len(b.Put) + len(b.Delete); {
	case items == 0:
		return fault.New(fault.InvalidArgument, "the batch changes nothing")
	case items > MaxBatchItems:
		return fault.Newf(fault.TooLarge, "the batch changes %d keys; at most %d are allowed", items, MaxBatchItems)
	case len(b.Require) > MaxBatchRequires:
		return fault.Newf(fault.TooLarge, "the batch requires %d revisions; at most %d are allowed", len(b.Require), MaxBatchRequires)
	}
	size := 0
	for _, p := range b.Put {
		size += len(p.Key) + len(p.Value)
	}
	if size > MaxBatchBytes {
		return fault.Newf(fault.TooLarge, "the batch is %d bytes long; at most %d are allowed", size, MaxBatchBytes)
	}
	return b.checkKeys()
}

func (b Batch) checkKeys() error {
	for _, r := range b.Require {
		if err := CheckKey(r.Key); err != nil {
			return err
		}
	}
	changed := make([]string, 0, len(b.Put)+len(b.Delete))
	for _, p := range b.Put {
		changed = append(changed, string(p.Key))
	}
	for _, key := range b.Delete {
		changed = append(changed, string(key))
	}
	slices.Sort(changed)
	for i, key := range changed {
		if err := CheckKey([]byte(key)); err != nil {
			return err
		}
		if i > 0 && changed[i-1] == key {
			return fault.New(fault.InvalidArgument, "the batch changes one key twice")
		}
	}
	return nil
}

// CheckKey refuses keys outside the contract.
func CheckKey(key []byte) error {
	switch {
	case len(key) == 0:
		return fault.New(fault.InvalidArgument, "the key is empty")
	case len(key) > MaxKeyBytes:
		return fault.Newf(fault.TooLarge, "the key is %d bytes long; at most %d are allowed", len(key), MaxKeyBytes)
	}
	return nil
}
