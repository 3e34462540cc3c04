package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// changeToken commits one change of a token.
func (s *Identities) changeToken(ctx context.Context, permits []permit.Permit, path schema.Path, change func(*tokenRecord) error) (tokenRecord, error) {
	user, accessor, err := TokenPath(path)
	if err != nil {
		return tokenRecord{}, err
	}
	return attempt(ctx, func() (tokenRecord, error) {
		f, err := s.token(ctx, user.String(), accessor)
		if err != nil {
			return tokenRecord{}, err
		}
		t := f.record
		t.Policies = slices.Clone(t.Policies)
		if err := change(&t); err != nil {
			return tokenRecord{}, err
		}
		t.Version, t.Updated = t.Version+1, stamp(permits[0].Time())
		b := batch{keys: s.store.keys}
		putToken(&b, permits[0], t, f.rev)
		if err := s.commit(ctx, &b, permits...); err != nil {
			return tokenRecord{}, fmt.Errorf("change token: %w", err)
		}
		return t, nil
	})
}

// RenewToken extends the token that the permit names to ttl from now, or by its
// period if ttl is 0, up to its limit and its parent's end. It never shortens. It
// needs token:renew.
func (s *Identities) RenewToken(ctx context.Context, p permit.Permit, ttl time.Duration) (TokenInfo, error) {
	path, ok := p.Path(tokenRenew)
	if !ok {
		return TokenInfo{}, errNoPermit
	}
	if ttl < 0 || ttl > MaxTokenTTL {
		return TokenInfo{}, fault.Newf(fault.InvalidArgument, "a token is renewed for more than 0 and at most %s", MaxTokenTTL)
	}
	now := stamp(p.Time())
	t, err := s.changeToken(ctx, []permit.Permit{p}, path, func(t *tokenRecord) error {
		standing, err := s.resolver().resolve(ctx, *t, 1)
		switch {
		case err != nil:
			return err
		case standing.revoked:
			return errDeadToken
		case !now.Before(standing.expires):
			return fault.New(fault.FailedCheck, "the token has expired; create another")
		}
		until := now.Add(t.Period)
		if ttl > 0 {
			until = now.Add(ttl)
		}
		if until.After(t.limit()) {
			until = t.limit()
		}
		if standing.parentExpires.Before(until) && t.Parent != "" {
			until = standing.parentExpires
		}
		if until.After(t.Expires) {
			t.Expires = until
		}
		return nil
	})
	if err != nil {
		return TokenInfo{}, err
	}
	return s.describe(ctx, t, p.Time())
}

// RevokeToken revokes the token that the permit names and every token made with
// it, for good. One commit stops them all at once, since a child is only as good
// as its parent; the children are then marked one by one. It returns how many
// tokens it has marked. It needs token:revoke.
func (s *Identities) RevokeToken(ctx context.Context, p permit.Permit) (int, error) {
	path, ok := p.Path(tokenRevoke)
	if !ok {
		return 0, errNoPermit
	}
	return s.revoke(ctx, p, path)
}

func (s *Identities) revoke(ctx context.Context, p permit.Permit, path schema.Path) (int, error) {
	revoked := 0
	t, err := s.changeToken(ctx, []permit.Permit{p}, path, func(t *tokenRecord) error {
		if t.dead() {
			return errDeadToken
		}
		t.Revoked = stamp(p.Time())
		return nil
	})
	switch {
	case err == nil:
		revoked++
	case errors.Is(err, errDeadToken): // its children may not all be marked yet
		user, accessor, _ := TokenPath(path)
		f, err := s.token(ctx, user.String(), accessor)
		if err != nil {
			return 0, err
		}
		t = f.record
	default:
		return 0, err
	}
	children, err := s.children(ctx, t)
	for i := 0; err == nil && i < len(children); i++ {
		var n int
		n, err = s.revoke(ctx, p, children[i])
		if absent(err) {
			err = nil // swept meanwhile
		}
		revoked += n
	}
	return revoked, err
}

// children returns the paths of the tokens made with a token.
func (s *Identities) children(ctx context.Context, t tokenRecord) ([]schema.Path, error) {
	parent := tokenID(s.store.keys, t.User, t.Accessor)
	var paths []schema.Path
	err := s.store.scanAll(ctx, key(kindChild, parent[idLen:]), func(item Item) error {
		id := append(slices.Clone(parent[:idLen]), item.Key[len(item.Key)-idLen:]...)
		path, err := s.openPath(item.Value, id, childLabel(id))
		paths = append(paths, path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read children of token: %w", err)
	}
	return paths, nil
}

// RevokeAll revokes every token of the cluster for good, by starting a new epoch.
// It needs cluster:rekey or backup:restore.
func (s *Identities) RevokeAll(ctx context.Context, p permit.Permit) error {
	if !p.Allows(schema.Capability{Resource: schema.Cluster, Verb: "rekey"}) &&
		!p.Allows(schema.Capability{Resource: schema.Backup, Verb: "restore"}) {
		return errNoPermit
	}
	_, err := attempt(ctx, func() (struct{}, error) {
		item, err := s.store.kv.Get(ctx, key(kindEpoch))
		if err != nil {
			return struct{}{}, fmt.Errorf("read token epoch: %w", err)
		}
		r, err := unseal[epochRecord](s.store.keys, epochLabel, item.Value)
		if err != nil {
			return struct{}{}, err
		}
		b := batch{keys: s.store.keys}
		b.Require = []Require{{Key: item.Key, Revision: item.Revision}}
		b.put(item.Key, epochLabel, epochRecord{Epoch: r.Epoch + 1})
		return struct{}{}, s.commit(ctx, &b, p)
	})
	return err
}

// DescribeToken returns the token that the permit names. It needs token:describe.
func (s *Identities) DescribeToken(ctx context.Context, p permit.Permit) (TokenInfo, error) {
	path, ok := p.Path(tokenDescribe)
	if !ok {
		return TokenInfo{}, errNoPermit
	}
	user, accessor, err := TokenPath(path)
	if err != nil {
		return TokenInfo{}, err
	}
	f, err := s.token(ctx, user.String(), accessor)
	if err != nil {
		return TokenInfo{}, err
	}
	return s.describe(ctx, f.record, p.Time())
}

func (s *Identities) describe(ctx context.Context, t tokenRecord, now time.Time) (TokenInfo, error) {
	standing, err := s.resolver().resolve(ctx, t, 1)
	if err != nil {
		return TokenInfo{}, err
	}
	return t.info(standing, now)
}

// info describes a token as of now.
func (t tokenRecord) info(st standing, now time.Time) (TokenInfo, error) {
	state := TokenActive
	switch {
	case st.revoked:
		state = TokenRevoked
	case !now.Before(st.expires):
		state = TokenExpired
	}
	path, err := schema.ParsePath(t.path())
	if err != nil {
		return TokenInfo{}, fault.New(fault.Integrity, "a stored token has a bad name")
	}
	user, _, err := TokenPath(path)
	if err != nil {
		return TokenInfo{}, err
	}
	policies, err := storedNames(t.Policies)
	if err != nil {
		return TokenInfo{}, err
	}
	held, err := storedNames(st.roles)
	return TokenInfo{
		Path: path, User: user, Accessor: t.Accessor, Kind: t.Kind, Description: t.Description, Roles: held, Policies: policies,
		CIDRs: slices.Clone(t.CIDRs), Created: t.Created, Author: t.Author, Updated: t.Updated, Expires: t.Expires, Limit: t.limit(),
		Period: t.Period, Parent: t.Parent, State: state, Revoked: t.Revoked, Version: t.Version,
	}, err
}

// TokenHistory returns every state of the token that the permit names, newest
// first. A state's Roles are those it was given, whatever became of them. It
// needs token:describe.
func (s *Identities) TokenHistory(ctx context.Context, p permit.Permit) ([]Revised[TokenInfo], error) {
	path, ok := p.Path(tokenDescribe)
	if !ok {
		return nil, errNoPermit
	}
	user, accessor, err := TokenPath(path)
	if err != nil {
		return nil, err
	}
	id := tokenID(s.store.keys, user.String(), accessor)
	all, err := history(ctx, s.store, key(kindTokenHistory, id), tokenHistoryLabel(id), func(t tokenRecord) (TokenInfo, error) {
		given := standing{revoked: t.dead(), expires: t.Expires}
		for _, role := range t.Roles {
			given.roles = append(given.roles, role.Name)
		}
		return t.info(given, p.Time())
	})
	if err == nil && len(all) == 0 {
		err = errNoToken
	}
	return all, err
}
