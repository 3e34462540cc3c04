package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Identities keeps users, roles and tokens. It is safe for concurrent use.
//
// A user owns tokens; a token carries roles and directly attached policies; a
// role is a named set of policies. Who a token stands for is worked out from
// these records whenever one of them has changed, so that disabling a user,
// revoking a token or taking a policy off a role holds from the moment the change
// is acknowledged.
//
// Users and roles have an incarnation, a random mark made at creation. Tokens
// refer to it, not to the name alone: who is deleted and created again inherits
// nothing. A token made within another's limits (a child) is only as good as its
// parent at that moment: it holds what both hold, and dies with the parent.
//
// Every change also writes a numbered record of the new state, which is kept, so
// that who could do what at some time stays answerable.
type Identities struct {
	store *Store
	cache *principalCache
}

// Revised is one past or present state of a user, role or token.
type Revised[T any] struct {
	Version  schema.Version // 1, 2, 3 …
	Time     time.Time
	Author   string
	Decision schema.DecisionID
	Deleted  bool            // the state ended with this revision
	Revision schema.Revision // of the store, when it was made
	State    T
}

// revisedRecord is the record ju, jr or jt.
type revisedRecord[R any] struct {
	Version  schema.Version    `json:"version"`
	Time     time.Time         `json:"time"`
	Author   string            `json:"author"`
	Decision schema.DecisionID `json:"decision"`
	Deleted  bool              `json:"deleted,omitempty"`
	State    R                 `json:"state"`
}

// epochRecord is the record ic. Tokens of an earlier epoch are revoked.
type epochRecord struct {
	Epoch uint64 `json:"epoch"`
}

var epochLabel = crypto.Label{Kind: "identity", Field: "epoch"}

// noun is what users and roles have in common as stored things.
type noun struct {
	name    string // in labels and messages
	record  string // kind bytes of the record
	fold    string // of the record that holds the name against other cases
	history string // of the numbered states
	missing error
}

var (
	users = noun{"user", kindUser, kindUserFold, kindUserHistory, fault.New(fault.NotFound, "there is no user of this name")}
	roles = noun{"role", kindRole, kindRoleFold, kindRoleHistory, fault.New(fault.NotFound, "there is no role of this name")}
)

// Labels are bound to the blinded id, because a list knows no names beforehand;
// openNamed checks that the name inside belongs to the id.
func (n noun) label(id []byte) crypto.Label {
	return crypto.Label{Kind: n.name, Path: hexID(id), Field: "record"}
}

func (n noun) historyLabel(id []byte) func(schema.Version) crypto.Label {
	return func(v schema.Version) crypto.Label {
		return crypto.Label{Kind: n.name, Path: hexID(id), Field: "history", Version: uint64(v)}
	}
}

func (n noun) id(keys *crypto.Keyring, name string) []byte {
	id := keys.Blind(n.name, crypto.ID{}, name)
	return id[:]
}

func (n noun) foldKey(keys *crypto.Keyring, name string) []byte {
	id := keys.Blind(n.name+"-fold", crypto.ID{}, strings.ToLower(name))
	return key(n.fold, id[:])
}

// named is implemented by the records of users and roles.
type named interface {
	userRecord | roleRecord
	common() basics
}

// basics are the fields that the records of users and roles share.
type basics struct {
	Name        string         `json:"name"`
	Incarnation string         `json:"incarnation"`
	Description string         `json:"description,omitempty"`
	Version     schema.Version `json:"version"` // of the history; goes on after deletion
	Created     time.Time      `json:"created"`
	Author      string         `json:"author"`
	Updated     time.Time      `json:"updated"`
	Deleted     bool           `json:"deleted,omitempty"` // stays so that numbers go on
}

func (b basics) common() basics { return b }

// found is a record with the revision it was read at; 0 if there is none.
type found[R any] struct {
	record R
	rev    schema.Revision
}

// get reads a record of a noun. A deleted one counts as missing, but is returned
// along with the error, for its version number.
func get[R named](ctx context.Context, s *Store, n noun, name string) (found[R], error) {
	item, err := s.kv.Get(ctx, key(n.record, n.id(s.keys, name)))
	if absent(err) {
		return found[R]{}, n.missing
	}
	if err != nil {
		return found[R]{}, fmt.Errorf("read %s: %w", n.name, err)
	}
	record, err := openNamed[R](s, n, item)
	if err != nil {
		return found[R]{}, fmt.Errorf("open %s: %w", n.name, err)
	}
	if record.common().Deleted {
		err = n.missing
	}
	return found[R]{record, item.Revision}, err
}

// openNamed opens a record and checks that it is the one its key says.
func openNamed[R named](s *Store, n noun, item Item) (R, error) {
	id := item.Key[len(n.record):]
	record, err := unseal[R](s.keys, n.label(id), item.Value)
	if err == nil && string(n.id(s.keys, record.common().Name)) != string(id) {
		err = fault.New(fault.Integrity, "a stored record has another's name")
	}
	return record, err
}

// put adds a changed record, and its state in the history, to a batch.
func put[R named](b *batch, p permit.Permit, n noun, record R, rev schema.Revision) {
	c := record.common()
	id := n.id(b.keys, c.Name)
	b.Require = append(b.Require, Require{Key: key(n.record, id), Revision: rev})
	b.put(key(n.record, id), n.label(id), record)
	b.put(key(n.history, id, number(c.Version)), n.historyLabel(id)(c.Version), revisedRecord[R]{
		Version: c.Version, Time: stamp(p.Time()), Author: p.Principal().User, Decision: p.ID(), Deleted: c.Deleted, State: record,
	})
}

// history reads the numbered states under a key prefix, newest first.
func history[R, T any](ctx context.Context, s *Store, prefix []byte, label func(schema.Version) crypto.Label, public func(R) (T, error)) ([]Revised[T], error) {
	var all []Revised[T]
	err := s.scanAll(ctx, prefix, func(item Item) error {
		r, err := unseal[revisedRecord[R]](s.keys, label(versionOf(item.Key)), item.Value)
		if err != nil {
			return err
		}
		state, err := public(r.State)
		all = append(all, Revised[T]{r.Version, r.Time, r.Author, r.Decision, r.Deleted, item.Revision, state})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	slices.Reverse(all)
	return all, nil
}

// permittedName returns the name that a permit was issued for.
func permittedName(p permit.Permit, c schema.Capability) (schema.Name, error) {
	path, ok := p.Path(c)
	if !ok {
		return schema.Name{}, errNoPermit
	}
	return schema.ParseName(path.String())
}

// commit writes a change of identities and forgets every principal worked out
// before it, so that the change holds once it is acknowledged.
func (s *Identities) commit(ctx context.Context, b *batch, permits ...permit.Permit) error {
	defer s.cache.drop() // also after an error: the commit may have landed
	_, err := b.commit(ctx, s.store, permits...)
	return err
}

// newNamed fills in what a new record of a noun starts with. It continues the
// numbers of a deleted predecessor, under a new incarnation.
func newNamed(p permit.Permit, name schema.Name, description string, before schema.Version) basics {
	now := stamp(p.Time())
	return basics{Name: name.String(), Incarnation: newIncarnation(), Description: description, Version: before + 1,
		Created: now, Author: p.Principal().User, Updated: now}
}

// vacantName finds out whether a name can be taken. It returns the deleted
// predecessor, if any.
func vacantName[R named](ctx context.Context, s *Store, n noun, name schema.Name) (found[R], error) {
	old, err := get[R](ctx, s, n, name.String())
	if err == nil {
		return old, fault.Newf(fault.Conflict, "a %s of this name exists already", n.name)
	}
	if !absent(err) {
		return old, err
	}
	_, err = s.kv.Get(ctx, n.foldKey(s.keys, name.String()))
	if err == nil {
		return old, fault.Newf(fault.Conflict, "another %s's name differs from this one only by upper and lower case", n.name)
	}
	if absent(err) {
		err = nil
	}
	return old, err
}

// take adds a new record and the hold on its name to a batch.
func take[R named](b *batch, p permit.Permit, n noun, record R, rev schema.Revision) {
	name := record.common().Name
	put(b, p, n, record, rev)
	fold := n.foldKey(b.keys, name)
	b.Require = append(b.Require, Require{Key: fold})
	b.putText(fold, crypto.Label{Kind: n.name, Path: strings.ToLower(name), Field: "fold"}, name)
}

// listNames returns a page of a noun's records that are visible through a filter,
// in name order, and whether there are more.
func listNames[R named](ctx context.Context, s *Store, n noun, filter permit.Filter, q NameQuery) ([]R, bool, error) {
	limit, err := pageSize(q.Limit)
	if err != nil {
		return nil, false, err
	}
	var all []R
	err = s.scanAll(ctx, []byte(n.record), func(item Item) error {
		record, err := openNamed[R](s, n, item)
		if err != nil {
			return err
		}
		c := record.common()
		name, err := storedName(c.Name)
		if err == nil && !c.Deleted && c.Name > q.After.String() && filter.Visible(name.Path()) {
			all = append(all, record)
		}
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("list %ss: %w", n.name, err)
	}
	slices.SortFunc(all, func(a, b R) int { return strings.Compare(a.common().Name, b.common().Name) })
	return all[:min(limit, len(all))], len(all) > limit, nil
}
