package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// tombstoneRecord is what is left of a destroyed secret, so that its version
// numbers are not used again.
type tombstoneRecord struct {
	Last      schema.Version `json:"last"`
	Destroyed time.Time      `json:"destroyed"`
}

func tombstoneLabel(path schema.Path) crypto.Label {
	return crypto.Label{Kind: "secret", Path: path.String(), Field: "tombstone"}
}

// Delete hides a secret. It can be undeleted until the window ends; then it is
// destroyed. It needs secret:delete.
func (s *Secrets) Delete(ctx context.Context, p permit.Permit, ifVersion schema.Version) error {
	path, ok := p.Path(secretDelete)
	if !ok {
		return errNoPermit
	}
	_, err := attempt(ctx, func() (SecretInfo, error) {
		l, err := s.present(ctx, p, path, ifVersion)
		if err != nil {
			return SecretInfo{}, err
		}
		l.Updated, l.UpdatedBy = stamp(p.Time()), p.Principal().User
		l.Deleted, l.UndoUntil = l.Updated, l.Updated.Add(s.windowOf(l.secretHead))
		b := batch{keys: s.store.keys}
		b.Require = []Require{l.require()}
		b.put(key(kindSecret, l.id), headLabel(path), l.secretHead)
		b.putExpiry(l.UndoUntil, l.id, 0, path)
		b.Delete = [][]byte{key(kindName, l.id)}
		rev, err := b.commit(ctx, s.store, p)
		if err != nil {
			return SecretInfo{}, fmt.Errorf("delete secret: %w", err)
		}
		s.names.expect(rev)
		return s.info(l), nil
	})
	return err
}

// Undelete takes a delete back. It needs secret:undelete.
func (s *Secrets) Undelete(ctx context.Context, p permit.Permit) (SecretInfo, error) {
	path, ok := p.Path(secretUndelete)
	if !ok {
		return SecretInfo{}, errNoPermit
	}
	return attempt(ctx, func() (SecretInfo, error) {
		l, err := s.load(ctx, path)
		switch {
		case err != nil:
			return SecretInfo{}, err
		case l.gone(p.Time()):
			return SecretInfo{}, errNoSecret
		case l.Deleted.IsZero():
			return SecretInfo{}, fault.New(fault.FailedCheck, "the secret is not deleted")
		}
		b := batch{keys: s.store.keys}
		b.Require = []Require{l.require()}
		b.Delete = [][]byte{expiryKey(l.UndoUntil, l.id, 0)}
		l.Updated, l.UpdatedBy = stamp(p.Time()), p.Principal().User
		l.Deleted, l.UndoUntil = time.Time{}, time.Time{}
		b.put(key(kindSecret, l.id), headLabel(path), l.secretHead)
		b.putName(l.id, path)
		rev, err := b.commit(ctx, s.store, p)
		if err != nil {
			return SecretInfo{}, fmt.Errorf("undelete secret: %w", err)
		}
		s.names.expect(rev)
		return s.info(l), nil
	})
}

// Destroy erases every value and all metadata of a secret, deleted or not, for
// good. Only its last version number stays. It needs secret:destroy.
func (s *Secrets) Destroy(ctx context.Context, p permit.Permit) error {
	path, ok := p.Path(secretDestroy)
	if !ok {
		return errNoPermit
	}
	_, err := attempt(ctx, func() (struct{}, error) {
		l, err := s.load(ctx, path)
		if err == nil && l.gone(p.Time()) {
			err = errNoSecret
		}
		if err == nil {
			err = s.destroy(ctx, p.Time(), l, p)
		}
		return struct{}{}, err
	})
	return err
}

// destroy commits the secret's end, then removes its records, of which there may
// be more than fit one commit. From the first commit on the secret is absent; if
// the rest is interrupted, the purge record makes the next sweep finish it.
func (s *Secrets) destroy(ctx context.Context, now time.Time, l loaded, permits ...permit.Permit) error {
	b := batch{keys: s.store.keys}
	b.Require = []Require{l.require()}
	b.Delete = [][]byte{key(kindSecret, l.id), key(kindName, l.id), key(kindFold, s.foldID(l.path))}
	if !l.Deleted.IsZero() {
		b.Delete = append(b.Delete, expiryKey(l.UndoUntil, l.id, 0))
	}
	b.put(key(kindTombstone, l.id), tombstoneLabel(l.path), tombstoneRecord{Last: l.Current, Destroyed: stamp(now)})
	purge := key(kindPurge, l.id, number(l.Current))
	b.Put = append(b.Put, Put{Key: purge, Value: []byte{1}})
	rev, err := b.commit(ctx, s.store, permits...)
	if err != nil {
		return fmt.Errorf("destroy secret: %w", err)
	}
	if l.Deleted.IsZero() {
		s.names.expect(rev)
	}
	if err := s.purge(ctx, purge, permits...); err != nil {
		return fmt.Errorf("remove values: %w", err)
	}
	return nil
}

// purge removes the values and version records that a purge record names, then
// the record itself. Numbers are not reused, so that a secret created at the same
// path meanwhile has only higher ones. Expiry records are left to the sweep,
// which finds that they point nowhere.
func (s *Secrets) purge(ctx context.Context, purge []byte, permits ...permit.Permit) error {
	id, last := purge[1:1+idLen], versionOf(purge)
	for _, kind := range []string{kindValue, kindVersion} {
		for {
			items, err := s.store.kv.Scan(ctx, key(kind, id), nil, pruneChunk)
			if err != nil {
				return err
			}
			var old [][]byte
			for _, item := range items {
				if versionOf(item.Key) <= last {
					old = append(old, item.Key)
				}
			}
			if len(old) == 0 {
				break
			}
			if _, err := s.store.commit(ctx, Batch{Delete: old}, permits...); err != nil {
				return err
			}
		}
	}
	_, err := s.store.commit(ctx, Batch{Delete: [][]byte{purge}}, permits...)
	return err
}

// sweepChunk is how many expiry records one commit of the sweep settles; each
// takes up to three operations.
const sweepChunk = 30

// Sweep erases values past their window, destroys deleted secrets past theirs and
// finishes what was interrupted. It returns how many values and secrets it
// erased. It needs a system permit for secret:destroy and looks only at what is
// due, however much is stored. What it has not erased yet is refused to readers
// all the same.
func (s *Secrets) Sweep(ctx context.Context, p permit.Permit) (int, error) {
	if !p.Allows(secretDestroy) || p.Principal().Kind != schema.KindSystem {
		return 0, errNoPermit
	}
	total := 0
	for {
		n, more, err := s.sweepOnce(ctx, p)
		total += n
		switch {
		case errors.Is(err, errLost):
			if err := ctx.Err(); err != nil {
				return total, err
			}
		case err != nil:
			return total, fmt.Errorf("sweep secrets: %w", err)
		case !more:
			return total, s.finishPurges(ctx, p)
		}
	}
}

// sweepOnce settles the oldest chunk of expiry records that are due.
func (s *Secrets) sweepOnce(ctx context.Context, p permit.Permit) (settled int, more bool, err error) {
	items, err := s.store.kv.Scan(ctx, key(kindExpiry), nil, sweepChunk)
	if err != nil {
		return 0, false, err
	}
	due := key(kindExpiry, instant(p.Time()))
	b := batch{keys: s.store.keys}
	for _, item := range items {
		if string(item.Key[:len(due)]) > string(due) {
			break
		}
		more = true
		destroyed, err := s.settle(ctx, p, item, &b)
		if err != nil {
			return settled, more, err
		}
		settled += destroyed
	}
	if len(b.Delete) == 0 {
		return settled, more, nil
	}
	if _, err := b.commit(ctx, s.store, p); err != nil {
		return settled, more, err
	}
	return settled + len(b.Put), more, nil // each put marks one version as erased
}

// settle deals with one expiry record that is due: it adds the erasure of a
// version to the batch, or destroys a deleted secret and answers 1, or drops a
// record that has become void.
func (s *Secrets) settle(ctx context.Context, p permit.Permit, item Item, b *batch) (int, error) {
	id, v := item.Key[1+8:1+8+idLen], versionOf(item.Key)
	path, err := s.expiryPath(item, id, v)
	if err != nil {
		return 0, err
	}
	if v == 0 {
		l, err := s.load(ctx, path)
		if err == nil && l.gone(p.Time()) {
			return 1, s.destroy(ctx, p.Time(), l, p)
		}
		if err == nil || absent(err) {
			b.Delete = append(b.Delete, item.Key)
			err = nil
		}
		return 0, err
	}
	k := key(kindVersion, id, number(v))
	stored, err := s.store.kv.Get(ctx, k)
	if absent(err) {
		b.Delete = append(b.Delete, item.Key)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	record, err := unseal[versionRecord](s.store.keys, versionLabel(path, v), stored.Value)
	if err != nil {
		return 0, err
	}
	b.Delete = append(b.Delete, item.Key)
	if !record.Erased.IsZero() || !record.expired(p.Time()) {
		return 0, nil
	}
	record.Erased = stamp(p.Time())
	b.Require = append(b.Require, Require{Key: k, Revision: stored.Revision})
	b.put(k, versionLabel(path, v), record)
	b.Delete = append(b.Delete, key(kindValue, id, number(v)))
	return 0, nil
}

// expiryPath opens the path in an expiry record and checks that it belongs to the
// id in the key.
func (s *Secrets) expiryPath(item Item, id []byte, v schema.Version) (schema.Path, error) {
	text, err := s.store.keys.Open(expiryLabel(id, v), item.Value)
	if err != nil {
		return schema.Path{}, err
	}
	path, err := schema.ParsePath(string(text))
	if err != nil || string(s.secretID(path)) != string(id) {
		return schema.Path{}, fault.New(fault.Integrity, "an expiry record names another secret")
	}
	return path, nil
}

// finishPurges removes what interrupted destroys have left.
func (s *Secrets) finishPurges(ctx context.Context, p permit.Permit) error {
	var left [][]byte
	err := s.store.scanAll(ctx, key(kindPurge), func(item Item) error {
		left = append(left, item.Key)
		return nil
	})
	for i := 0; err == nil && i < len(left); i++ {
		err = s.purge(ctx, left[i], p)
	}
	return err
}

// Due reports whether Sweep would find anything to do at the time. It takes no
// permit, since it shows nothing.
func (s *Secrets) Due(ctx context.Context, now time.Time) (bool, error) {
	for _, prefix := range []string{kindExpiry, kindPurge} {
		items, err := s.store.kv.Scan(ctx, key(prefix), nil, 1)
		if err != nil {
			return false, err
		}
		due := key(kindExpiry, instant(now))
		if len(items) > 0 && (prefix == kindPurge || string(items[0].Key[:len(due)]) <= string(due)) {
			return true, nil
		}
	}
	return false, nil
}
