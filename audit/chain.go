package audit

import (
	"bytes"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/schema/fault"
)

// chain is the state of a trail after some record: all that is needed to link
// the next one and to compute the tree's root. It is a plain value; copying it
// is how the writer goes back after a failure.
type chain struct {
	size uint64    // records so far, and the newest sequence
	time int64     // microseconds of the newest record
	leaf tlog.Hash // of the newest record; zero before the first
	top  [64]struct {
		n    int64 // number of the newest complete subtree of this level
		hash tlog.Hash
	}
}

// ReadHashes implements tlog.HashReader. Package tlog only ever asks for the
// newest complete subtree of a level.
func (c *chain) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		if c.top[level].n != n {
			return nil, fault.New(fault.Internal, "the tree's frontier lacks a hash")
		}
		hashes[i] = c.top[level].hash
	}
	return hashes, nil
}

// add appends a leaf and returns the hashes that a store of the tree keeps for
// it.
func (c *chain) add(leaf tlog.Hash, at int64) ([]tlog.Hash, error) {
	hashes, err := tlog.StoredHashesForRecordHash(int64(c.size), leaf, c)
	if err != nil {
		return nil, err
	}
	for level, h := range hashes {
		c.top[level].n, c.top[level].hash = int64(c.size>>level), h
	}
	c.size++
	c.leaf, c.time = leaf, at
	return hashes, nil
}

// continues reports whether a record is the one after c. Canonical bytes have
// sequence and previous leaf at fixed places, so it need not be decoded.
func (c *chain) continues(canonical []byte, sequence uint64) bool {
	n, rest, ok := bytes.Cut(bytes.TrimPrefix(canonical, []byte(words[wSequence-0x80])), []byte(","))
	if !ok || sequence != c.size+1 || string(n) != strconv.FormatUint(sequence, 10) {
		return false
	}
	_, rest, ok = bytes.Cut(rest, []byte(words[wPrevious-0x80]))
	previous, _, _ := bytes.Cut(rest, []byte(`"`))
	return ok && string(previous) == c.leaf.String()
}

// root returns the root hash of the tree.
func (c *chain) root() (tlog.Hash, error) { return tlog.TreeHash(int64(c.size), c) }

// frontier returns the hashes from which the chain can be continued: the complete
// subtrees that size is made of, smallest first.
func (c *chain) frontier() []tlog.Hash {
	var hashes []tlog.Hash
	for level := range c.top {
		if c.size>>level&1 == 1 {
			hashes = append(hashes, c.top[level].hash)
		}
	}
	return hashes
}

// resume returns the chain of the given size from what frontier returned.
func resume(size uint64, leaf tlog.Hash, at int64, frontier []tlog.Hash) (chain, error) {
	c := chain{size: size, leaf: leaf, time: at}
	for level := range c.top {
		if size>>level&1 == 0 {
			continue
		}
		if len(frontier) == 0 {
			return chain{}, fault.New(fault.Integrity, "the tree's frontier is too short")
		}
		c.top[level].n, c.top[level].hash = int64(size>>level)-1, frontier[0]
		frontier = frontier[1:]
	}
	if len(frontier) > 0 {
		return chain{}, fault.New(fault.Integrity, "the tree's frontier is too long")
	}
	return c, nil
}

// same reports whether two chains of equal size agree.
func (c *chain) same(d *chain) bool {
	if c.size != d.size || c.leaf != d.leaf {
		return false
	}
	a, errA := c.root()
	b, errB := d.root()
	return errA == nil && errB == nil && a == b
}
