package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// NewSecret is what a secret is created from.
type NewSecret struct {
	Value       secret.Value
	Owner       string
	Description string
	Labels      map[string]string
	Window      time.Duration // 0: the default
}

// SecretChange is what Update changes. What is nil stays as it is.
type SecretChange struct {
	Value       *secret.Value // a new version
	Owner       *string
	Description *string
	Labels      map[string]string // replaces all labels, if SetLabels
	SetLabels   bool
	Window      *time.Duration // 0: the default
	IfVersion   schema.Version // the change is made only if this is the current version; 0: whichever is
}

// Create makes a secret with its first version. The number is 1, or follows the
// last one of a destroyed secret of the same path. It needs secret:create. The
// error is fault.Conflict when the path is taken, also by a deleted secret or by
// one that differs only by case.
func (s *Secrets) Create(ctx context.Context, p permit.Permit, n NewSecret) (SecretInfo, error) {
	path, ok := p.Path(secretCreate)
	if !ok {
		return SecretInfo{}, errNoPermit
	}
	if err := n.check(); err != nil {
		return SecretInfo{}, err
	}
	return attempt(ctx, func() (SecretInfo, error) { return s.create(ctx, p, path, n) })
}

func (n NewSecret) check() error {
	return errors.Join(checkValue(n.Value), checkOwner(n.Owner), checkDescription(n.Description), checkLabels(n.Labels), checkWindow(n.Window))
}

func (s *Secrets) create(ctx context.Context, p permit.Permit, path schema.Path, n NewSecret) (SecretInfo, error) {
	if err := s.vacant(ctx, p, path); err != nil {
		return SecretInfo{}, err
	}
	id, fold := s.secretID(path), s.foldID(path)
	last, tombstone, err := s.tombstone(ctx, path, id)
	if err != nil {
		return SecretInfo{}, err
	}
	if last == math.MaxUint32 {
		return SecretInfo{}, errNoNumbers
	}
	now, author := stamp(p.Time()), p.Principal().User
	l := loaded{path: path, id: id, secretHead: secretHead{
		First: last + 1, Current: last + 1, Version: versionRecord{Created: now, Author: author},
		Created: now, Author: author, Updated: now, UpdatedBy: author,
		Owner: n.Owner, Description: n.Description, Labels: maps.Clone(n.Labels), Window: n.Window,
	}}
	b := batch{keys: s.store.keys}
	b.Require = []Require{l.require(), {Key: key(kindFold, fold)}, {Key: key(kindTombstone, id), Revision: tombstone}}
	b.put(key(kindSecret, id), headLabel(path), l.secretHead)
	b.putName(id, path)
	b.putText(key(kindFold, fold), crypto.Label{Kind: "secret", Path: path.Fold(), Field: "fold"}, path.String())
	b.putValue(key(kindValue, id, number(l.Current)), valueLabel(path, l.Current), n.Value)
	if tombstone != 0 {
		b.Delete = append(b.Delete, key(kindTombstone, id))
	}
	rev, err := b.commit(ctx, s.store, p)
	if err != nil {
		return SecretInfo{}, fmt.Errorf("create secret: %w", err)
	}
	s.names.expect(rev)
	return s.info(l), nil
}

// vacant checks that a path may be taken. A secret that was deleted and whose
// window has ended is destroyed here, if the sweep has not come by yet.
func (s *Secrets) vacant(ctx context.Context, p permit.Permit, path schema.Path) error {
	l, err := s.load(ctx, path)
	switch {
	case err == nil && l.Deleted.IsZero():
		return fault.New(fault.Conflict, "a secret exists at this path already; update it instead")
	case err == nil && l.gone(p.Time()):
		if err := s.destroy(ctx, p.Time(), l); err != nil {
			return err
		}
		return errLost
	case err == nil:
		return fault.Newf(fault.Conflict, "a deleted secret holds this path until %s; undelete or destroy it first", schema.FormatTime(l.UndoUntil))
	case !absent(err):
		return err
	}
	_, err = s.store.kv.Get(ctx, key(kindFold, s.foldID(path)))
	if err == nil {
		return fault.New(fault.Conflict, "another secret's path differs from this one only by upper and lower case")
	}
	if absent(err) {
		return nil
	}
	return fmt.Errorf("check path: %w", err)
}

// foldID is the blinded id of a path's lower-case form.
func (s *Secrets) foldID(path schema.Path) []byte {
	id := s.store.keys.BlindPath("secret-fold", path.Fold())
	return id[:]
}

// tombstone returns the last version number of a destroyed secret and the
// revision of its tombstone; both are 0 if there was none.
func (s *Secrets) tombstone(ctx context.Context, path schema.Path, id []byte) (schema.Version, schema.Revision, error) {
	item, err := s.store.kv.Get(ctx, key(kindTombstone, id))
	if absent(err) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read tombstone: %w", err)
	}
	t, err := unseal[tombstoneRecord](s.store.keys, tombstoneLabel(path), item.Value)
	return t.Last, item.Revision, err
}

// Update changes value or metadata, or both. A new value becomes a new version
// and the present one is kept for the window. It needs secret:update. Without
// IfVersion concurrent updates all succeed, one after the other; with it, the
// error is fault.Conflict when another version is current.
func (s *Secrets) Update(ctx context.Context, p permit.Permit, c SecretChange) (SecretInfo, error) {
	path, ok := p.Path(secretUpdate)
	if !ok {
		return SecretInfo{}, errNoPermit
	}
	if err := c.check(); err != nil {
		return SecretInfo{}, err
	}
	return attempt(ctx, func() (SecretInfo, error) {
		l, err := s.present(ctx, p, path, c.IfVersion)
		if err != nil {
			return SecretInfo{}, err
		}
		c.apply(&l.secretHead)
		return s.supersede(ctx, p, l, c.Value, 0)
	})
}

func (c SecretChange) check() error {
	if c.Value == nil && c.Owner == nil && c.Description == nil && !c.SetLabels && c.Window == nil {
		return fault.New(fault.InvalidArgument, "nothing to change; give a value, owner, description, labels or window")
	}
	var errs []error
	if c.Value != nil {
		errs = append(errs, checkValue(*c.Value))
	}
	if c.Owner != nil {
		errs = append(errs, checkOwner(*c.Owner))
	}
	if c.Description != nil {
		errs = append(errs, checkDescription(*c.Description))
	}
	if c.SetLabels {
		errs = append(errs, checkLabels(c.Labels))
	}
	if c.Window != nil {
		errs = append(errs, checkWindow(*c.Window))
	}
	return errors.Join(errs...)
}

func (c SecretChange) apply(h *secretHead) {
	if c.Owner != nil {
		h.Owner = *c.Owner
	}
	if c.Description != nil {
		h.Description = *c.Description
	}
	if c.SetLabels {
		h.Labels = maps.Clone(c.Labels)
	}
	if c.Window != nil {
		h.Window = *c.Window
	}
}

// Rollback writes a new version with the value of version to, and records that
// version as its source. It needs secret:rollback and shows no value.
func (s *Secrets) Rollback(ctx context.Context, p permit.Permit, to, ifVersion schema.Version) (SecretInfo, error) {
	path, ok := p.Path(secretRollback)
	if !ok {
		return SecretInfo{}, errNoPermit
	}
	if to == 0 {
		return SecretInfo{}, fault.New(fault.InvalidArgument, "name the version to roll back to")
	}
	return attempt(ctx, func() (SecretInfo, error) {
		l, err := s.present(ctx, p, path, ifVersion)
		if err != nil {
			return SecretInfo{}, err
		}
		if to == l.Current {
			return SecretInfo{}, fault.Newf(fault.FailedCheck, "version %d is the current one already", to)
		}
		old, err := s.readVersion(ctx, l, to, p.Time())
		if err != nil {
			return SecretInfo{}, err
		}
		defer old.value.Wipe()
		return s.supersede(ctx, p, l, &old.value, to)
	})
}

// present loads a secret that is not deleted and checks the compare-and-set
// version.
func (s *Secrets) present(ctx context.Context, p permit.Permit, path schema.Path, ifVersion schema.Version) (loaded, error) {
	l, err := s.load(ctx, path)
	if err != nil {
		return loaded{}, err
	}
	if err := l.live(p.Time()); err != nil {
		return loaded{}, err
	}
	if ifVersion != 0 && ifVersion != l.Current {
		return loaded{}, fault.Newf(fault.Conflict, "the current version is %d, not %d; read it and try again", l.Current, ifVersion)
	}
	return l, nil
}

// supersede commits a changed head. With a value, it becomes the next version
// and the present one gets an expiry.
func (s *Secrets) supersede(ctx context.Context, p permit.Permit, l loaded, value *secret.Value, source schema.Version) (SecretInfo, error) {
	now, author := stamp(p.Time()), p.Principal().User
	l.Updated, l.UpdatedBy = now, author
	b := batch{keys: s.store.keys}
	b.Require = []Require{l.require()}
	if value != nil {
		if l.Current == math.MaxUint32 {
			return SecretInfo{}, errNoNumbers
		}
		old := l.Version
		old.Superseded, old.Expires = now, now.Add(s.windowOf(l.secretHead))
		b.put(key(kindVersion, l.id, number(l.Current)), versionLabel(l.path, l.Current), old)
		b.putExpiry(old.Expires, l.id, l.Current, l.path)
		l.Current++
		l.Version = versionRecord{Created: now, Author: author, Source: source}
		b.putValue(key(kindValue, l.id, number(l.Current)), valueLabel(l.path, l.Current), *value)
	}
	b.put(key(kindSecret, l.id), headLabel(l.path), l.secretHead)
	if _, err := b.commit(ctx, s.store, p); err != nil {
		return SecretInfo{}, fmt.Errorf("update secret: %w", err)
	}
	return s.info(l), nil
}

var errNoNumbers = fault.New(fault.FailedCheck, "the secret has used up its version numbers")

// batch collects sealed puts. The first failure to seal is kept and returned by
// commit.
type batch struct {
	Batch
	keys *crypto.Keyring
	err  error
}

func (b *batch) add(k, sealed []byte, err error) {
	b.err = errors.Join(b.err, err)
	b.Put = append(b.Put, Put{Key: k, Value: sealed})
}

// put seals a record.
func (b *batch) put(k []byte, l crypto.Label, v any) {
	sealed, err := seal(b.keys, l, v)
	b.add(k, sealed, err)
}

// putText seals a bare text.
func (b *batch) putText(k []byte, l crypto.Label, text string) {
	sealed, err := b.keys.Seal(l, []byte(text))
	b.add(k, sealed, err)
}

// putValue seals a value.
func (b *batch) putValue(k []byte, l crypto.Label, v secret.Value) {
	v.Expose(func(text []byte) {
		sealed, err := b.keys.Seal(l, text)
		b.add(k, sealed, err)
	})
}

// putName makes a secret appear in lists.
func (b *batch) putName(id []byte, path schema.Path) {
	b.putText(key(kindName, id), nameLabel(id), path.String())
}

// putExpiry asks the sweep to look at a version, or for version 0 at the secret,
// at time t. The record names the path, which the key does not reveal.
func (b *batch) putExpiry(t time.Time, id []byte, v schema.Version, path schema.Path) {
	b.putText(expiryKey(t, id, v), expiryLabel(id, v), path.String())
}

func (b *batch) commit(ctx context.Context, s *Store, permits ...permit.Permit) (schema.Revision, error) {
	if b.err != nil {
		return 0, b.err
	}
	return s.commit(ctx, b.Batch, permits...)
}

func expiryKey(t time.Time, id []byte, v schema.Version) []byte {
	return key(kindExpiry, instant(t), id, number(v))
}

// versionOf reads the version at the end of a key.
func versionOf(k []byte) schema.Version {
	return schema.Version(binary.BigEndian.Uint32(k[len(k)-4:]))
}

// Labels of small records are bound to the blinded id in the key: the path is
// what they tell.
func nameLabel(id []byte) crypto.Label {
	return crypto.Label{Kind: "secret", Path: hexID(id), Field: "name"}
}

func expiryLabel(id []byte, v schema.Version) crypto.Label {
	return crypto.Label{Kind: "secret", Path: hexID(id), Field: "expiry", Version: uint64(v)}
}
