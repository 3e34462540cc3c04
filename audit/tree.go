package audit

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/schema/fault"
)

// tree is the file of stored hashes, in the dense order of package tlog, 32 bytes
// each, from which proofs are made. It holds nothing that the segments do not
// say, is written behind them, and is made anew when it is missing or wrong.
type tree struct {
	file  vfs.File
	chain chain // what the file holds; only the follower moves it
}

const treeName = "hashes"

func openTree(t *Trail) (*tree, error) {
	f, err := t.cfg.FS.OpenReadWrite(t.cfg.FS.PathJoin(t.cfg.Dir, treeName), category)
	if err != nil {
		return nil, diskFault("the trail's stored hashes cannot be opened", err)
	}
	tr := &tree{file: f}
	for _, state := range []*chain{&t.durable, &t.base} {
		if tr.holds(state) {
			tr.chain = *state
			return tr, nil
		}
	}
	return tr, nil
}

// holds reports whether the file agrees with a state that was verified.
func (tr *tree) holds(state *chain) bool {
	want, err := state.root()
	if err != nil || state.size == 0 {
		return false
	}
	got, err := tlog.TreeHash(int64(state.size), tr)
	return err == nil && got == want
}

// ReadHashes implements tlog.HashReader.
func (tr *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if _, err := tr.file.ReadAt(hashes[i][:], index*tlog.HashSize); err != nil {
			return nil, fault.Wrap(fault.Unavailable, "a stored hash cannot be read", err)
		}
	}
	return hashes, nil
}

// apply stores the hashes of the next records.
func (tr *tree) apply(_ context.Context, batch []kept) error {
	state := tr.chain
	var b []byte
	for _, k := range batch {
		hashes, err := state.add(k.leaf, k.gist.time)
		if err != nil {
			return err
		}
		for _, h := range hashes {
			b = append(b, h[:]...)
		}
	}
	at := tlog.StoredHashIndex(0, int64(tr.chain.size)) * tlog.HashSize
	if _, err := tr.file.WriteAt(b, at); err != nil {
		return err
	}
	tr.chain = state
	return nil
}

func (tr *tree) close() error { return errors.Join(tr.file.Sync(), tr.file.Close()) }

// Hashes returns the stored hashes of the tree, for proofs with package tlog. It
// lags a moment behind the newest record.
func (t *Trail) Hashes() tlog.HashReader { return t.tree }
