package storage

import (
	"context"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// DefaultWindow is how long a superseded version or a deleted secret is kept when
// neither the secret nor the configuration says otherwise.
const DefaultWindow = 7 * 24 * time.Hour

// Secrets keeps named, versioned values. It is safe for concurrent use.
//
// A secret with three versions, of which the first has expired, is stored as
//
//	s|id      {first 1, current 3, metadata of version 3, owner, labels, …}
//	v|id|1    {created, author, superseded, expires, erased}
//	v|id|2    {created, author, superseded, expires}
//	x|id|2    value            x|id|3    value
//	n|id      path             c|fold    path
//	e|expires of 2|id|2        path
//
// all sealed, each with its place as associated data. The metadata of the current
// version lies in the head record, so that reading it takes two Gets; it moves to
// a record of its own when it is superseded. Its expiry is fixed at that moment,
// by the window then in force; a later change of the window applies to versions
// superseded from then on.
//
// A deleted secret loses its name record and gains an expiry record with version
// 0. A destroyed one leaves only a tombstone with its last version number.
type Secrets struct {
	store  *Store
	names  *names
	window atomic.Int64
}

// SetDefaultWindow sets the window of secrets that do not have their own. It is
// meant for start-up; versions superseded before keep their expiry.
func (s *Secrets) SetDefaultWindow(d time.Duration) { s.window.Store(int64(d)) }

// SecretInfo describes a secret without its value.
type SecretInfo struct {
	Path        schema.Path
	Current     schema.Version
	Created     time.Time // of the secret
	Updated     time.Time // last change of value or metadata
	Author      string    // who created the secret
	UpdatedBy   string    // who made the last change
	Owner       string
	Description string
	Labels      map[string]string
	Window      time.Duration // in force: the secret's own, or the default
	Deleted     time.Time     // zero unless deleted
	UndoUntil   time.Time     // until when a deleted secret can be undeleted
}

// VersionState says what became of a version.
type VersionState string

// The states of a version; append-only.
const (
	VersionCurrent    VersionState = "current"
	VersionSuperseded VersionState = "superseded" // value readable until it expires
	VersionExpired    VersionState = "expired"    // past its window; the value is gone
	VersionDeleted    VersionState = "deleted"    // of a deleted secret; comes back with undelete
	VersionDestroyed  VersionState = "destroyed"  // never shown by History: a destroyed secret has none
)

// VersionInfo describes one version without its value.
type VersionInfo struct {
	Version    schema.Version
	Source     schema.Version // the version this one restored, or 0
	Created    time.Time
	Author     string
	State      VersionState
	Superseded time.Time // zero while current
	Expires    time.Time // zero while current
}

// secretHead is the record s|id.
type secretHead struct {
	First       schema.Version    `json:"first"` // lower numbers belonged to a destroyed secret of the same path
	Current     schema.Version    `json:"current"`
	Version     versionRecord     `json:"version"` // of Current
	Created     time.Time         `json:"created"`
	Author      string            `json:"author"`
	Updated     time.Time         `json:"updated"`
	UpdatedBy   string            `json:"updated_by"`
	Owner       string            `json:"owner,omitempty"`
	Description string            `json:"description,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Window      time.Duration     `json:"window,omitempty"` // 0: the default
	Deleted     time.Time         `json:"deleted,omitzero"`
	UndoUntil   time.Time         `json:"undo_until,omitzero"`
}

// versionRecord is the record v|id|version.
type versionRecord struct {
	Created    time.Time      `json:"created"`
	Author     string         `json:"author"`
	Source     schema.Version `json:"source,omitempty"`
	Superseded time.Time      `json:"superseded,omitzero"`
	Expires    time.Time      `json:"expires,omitzero"`
	Erased     time.Time      `json:"erased,omitzero"`
}

// Capabilities on secrets.
var (
	secretCreate   = schema.Capability{Resource: schema.Secret, Verb: "create"}
	secretUpdate   = schema.Capability{Resource: schema.Secret, Verb: "update"}
	secretRead     = schema.Capability{Resource: schema.Secret, Verb: "read"}
	secretDescribe = schema.Capability{Resource: schema.Secret, Verb: "describe"}
	secretList     = schema.Capability{Resource: schema.Secret, Verb: "list"}
	secretRollback = schema.Capability{Resource: schema.Secret, Verb: "rollback"}
	secretDelete   = schema.Capability{Resource: schema.Secret, Verb: "delete"}
	secretUndelete = schema.Capability{Resource: schema.Secret, Verb: "undelete"}
	secretDestroy  = schema.Capability{Resource: schema.Secret, Verb: "destroy"}
	secretInject   = schema.Capability{Resource: schema.Secret, Verb: "inject"}
)

// Labels of the records of a secret.
func headLabel(path schema.Path) crypto.Label {
	return crypto.Label{Kind: "secret", Path: path.String(), Field: "head"}
}

func versionLabel(path schema.Path, v schema.Version) crypto.Label {
	return crypto.Label{Kind: "secret", Path: path.String(), Field: "version", Version: uint64(v)}
}

func valueLabel(path schema.Path, v schema.Version) crypto.Label {
	return crypto.Label{Kind: "secret", Path: path.String(), Field: "value", Version: uint64(v)}
}

// secretID is the blinded id of a path in keys.
func (s *Secrets) secretID(path schema.Path) []byte {
	id := s.store.keys.BlindPath("secret", path.String())
	return id[:]
}

// loaded is a head with the path it belongs to and the revision it was read at.
type loaded struct {
	secretHead
	path schema.Path
	id   []byte
	rev  schema.Revision
}

// require makes a commit fail when the head has changed since it was read.
func (l loaded) require() Require { return Require{Key: key(kindSecret, l.id), Revision: l.rev} }

// load reads the head record of a path. The error is fault.NotFound when there
// is none.
func (s *Secrets) load(ctx context.Context, path schema.Path) (loaded, error) {
	id := s.secretID(path)
	item, err := s.store.kv.Get(ctx, key(kindSecret, id))
	if absent(err) {
		return loaded{}, errNoSecret
	}
	if err != nil {
		return loaded{}, fmt.Errorf("read secret: %w", err)
	}
	head, err := unseal[secretHead](s.store.keys, headLabel(path), item.Value)
	if err != nil {
		return loaded{}, fmt.Errorf("open secret: %w", err)
	}
	return loaded{head, path, id, item.Revision}, nil
}

var (
	errNoSecret  = fault.New(fault.NotFound, "there is no secret at this path")
	errNoVersion = fault.New(fault.NotFound, "the secret has no such version")
)

// live refuses a deleted secret, telling until when it can come back.
func (l loaded) live(now time.Time) error {
	switch {
	case l.Deleted.IsZero():
		return nil
	case l.gone(now):
		return errNoSecret
	}
	return fault.Newf(fault.NotFound, "the secret is deleted; it can be undeleted until %s", schema.FormatTime(l.UndoUntil))
}

// gone reports whether the secret was deleted and its window has ended. It is
// then treated as absent, whether or not the sweep has come by.
func (l loaded) gone(now time.Time) bool { return !l.Deleted.IsZero() && !now.Before(l.UndoUntil) }

// info describes the head to the caller.
func (s *Secrets) info(l loaded) SecretInfo {
	return SecretInfo{
		Path: l.path, Current: l.Current, Created: l.Created, Updated: l.Updated, Author: l.Author, UpdatedBy: l.UpdatedBy,
		Owner: l.Owner, Description: l.Description, Labels: maps.Clone(l.Labels), Window: s.windowOf(l.secretHead),
		Deleted: l.Deleted, UndoUntil: l.UndoUntil,
	}
}

// windowOf returns the window in force for a secret.
func (s *Secrets) windowOf(h secretHead) time.Duration {
	if h.Window > 0 {
		return h.Window
	}
	return time.Duration(s.window.Load())
}

// info describes a version as of now.
func (r versionRecord) info(v schema.Version, l loaded, now time.Time) VersionInfo {
	state := VersionSuperseded
	switch {
	case r.expired(now):
		state = VersionExpired
	case !l.Deleted.IsZero():
		state = VersionDeleted
	case v == l.Current:
		state = VersionCurrent
	}
	return VersionInfo{Version: v, Source: r.Source, Created: r.Created, Author: r.Author, State: state,
		Superseded: r.Superseded, Expires: r.Expires}
}

// expired reports whether the version's window has ended, swept or not.
func (r versionRecord) expired(now time.Time) bool {
	return !r.Erased.IsZero() || !r.Expires.IsZero() && !now.Before(r.Expires)
}

// Read returns the value of a version, 0 being the current one, with its
// description. It needs secret:read.
func (s *Secrets) Read(ctx context.Context, p permit.Permit, v schema.Version) (secret.Value, VersionInfo, error) {
	return s.read(ctx, p, secretRead, v)
}

// Inject is Read for handing a value to a job. It needs secret:inject.
func (s *Secrets) Inject(ctx context.Context, p permit.Permit, v schema.Version) (secret.Value, VersionInfo, error) {
	return s.read(ctx, p, secretInject, v)
}

type reading struct {
	value secret.Value
	info  VersionInfo
}

func (s *Secrets) read(ctx context.Context, p permit.Permit, c schema.Capability, v schema.Version) (secret.Value, VersionInfo, error) {
	path, ok := p.Path(c)
	if !ok {
		return secret.Value{}, VersionInfo{}, errNoPermit
	}
	r, err := attempt(ctx, func() (reading, error) {
		l, err := s.load(ctx, path)
		if err != nil {
			return reading{}, err
		}
		if err := l.live(p.Time()); err != nil {
			return reading{}, err
		}
		return s.readVersion(ctx, l, v, p.Time())
	})
	return r.value, r.info, err
}

// readVersion reads one version of a loaded secret: its description from the head
// if it is the current one, then its value.
func (s *Secrets) readVersion(ctx context.Context, l loaded, v schema.Version, now time.Time) (reading, error) {
	if v == 0 {
		v = l.Current
	}
	record, err := s.versionRecord(ctx, l, v)
	if err != nil {
		return reading{}, err
	}
	if record.expired(now) {
		return reading{}, fault.Newf(fault.NotFound, "version %d has expired: its window ended at %s", v, schema.FormatTime(record.Expires))
	}
	item, err := s.store.kv.Get(ctx, key(kindValue, l.id, number(v)))
	if absent(err) {
		return reading{}, s.missing(ctx, l)
	}
	if err != nil {
		return reading{}, fmt.Errorf("read value: %w", err)
	}
	text, err := s.store.keys.Open(valueLabel(l.path, v), item.Value)
	if err != nil {
		return reading{}, fmt.Errorf("open value: %w", err)
	}
	return reading{secret.New(text), record.info(v, l, now)}, nil
}

// versionRecord returns the description of a version.
func (s *Secrets) versionRecord(ctx context.Context, l loaded, v schema.Version) (versionRecord, error) {
	switch {
	case v == l.Current:
		return l.Version, nil
	case v < l.First || v > l.Current:
		return versionRecord{}, errNoVersion
	}
	item, err := s.store.kv.Get(ctx, key(kindVersion, l.id, number(v)))
	if absent(err) {
		return versionRecord{}, s.missing(ctx, l)
	}
	if err != nil {
		return versionRecord{}, fmt.Errorf("read version: %w", err)
	}
	return unseal[versionRecord](s.store.keys, versionLabel(l.path, v), item.Value)
}

// missing explains a record that should be there: either the secret has changed
// since its head was read, and one tries again, or the store has lost it.
func (s *Secrets) missing(ctx context.Context, l loaded) error {
	now, err := s.load(ctx, l.path)
	switch {
	case err != nil:
		return err
	case now.rev != l.rev:
		return errLost
	}
	return fault.New(fault.Integrity, "a stored record of the secret is missing")
}

// Describe returns what is known of a secret except its value, also while it is
// deleted. It needs secret:describe.
func (s *Secrets) Describe(ctx context.Context, p permit.Permit) (SecretInfo, error) {
	l, err := s.described(ctx, p)
	if err != nil {
		return SecretInfo{}, err
	}
	return s.info(l), nil
}

// History returns every version of the secret, newest first, also while it is
// deleted. It needs secret:describe.
func (s *Secrets) History(ctx context.Context, p permit.Permit) ([]VersionInfo, error) {
	return attempt(ctx, func() ([]VersionInfo, error) {
		l, err := s.described(ctx, p)
		if err != nil {
			return nil, err
		}
		return s.history(ctx, l, p.Time())
	})
}

func (s *Secrets) history(ctx context.Context, l loaded, now time.Time) ([]VersionInfo, error) {
	all := make([]VersionInfo, l.Current-l.First+1)
	all[0] = l.Version.info(l.Current, l, now)
	next := l.First
	err := s.store.scanAll(ctx, key(kindVersion, l.id), func(item Item) error {
		v := versionOf(item.Key)
		if v < l.First || v >= l.Current {
			return nil // of a destroyed predecessor, or newer than the head we read
		}
		if v != next {
			return s.missing(ctx, l)
		}
		next++
		record, err := unseal[versionRecord](s.store.keys, versionLabel(l.path, v), item.Value)
		all[l.Current-v] = record.info(v, l, now)
		return err
	})
	if err == nil && next != l.Current {
		err = s.missing(ctx, l)
	}
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return all, nil
}

// described loads the secret of a describe permit, deleted or not.
func (s *Secrets) described(ctx context.Context, p permit.Permit) (loaded, error) {
	path, ok := p.Path(secretDescribe)
	if !ok {
		return loaded{}, errNoPermit
	}
	l, err := s.load(ctx, path)
	if err == nil && l.gone(p.Time()) {
		err = errNoSecret
	}
	return l, err
}
