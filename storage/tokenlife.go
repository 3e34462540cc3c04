package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// changeToken commits one change of a token.
func (s *Identities) changeToken(ctx context.Context, permits []permit.Permit, path schema.Path, change func(*tokenRecord) error) (tokenRecord, error) {
	user, accessor, err := tokenPath(path)
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
		user, accessor, _ := tokenPath(path)
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
	user, accessor, err := tokenPath(path)
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
	user, _, err := tokenPath(path)
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
	user, accessor, err := tokenPath(path)
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

// TokenQuery selects a page of tokens, in path order.
type TokenQuery struct {
	User  schema.Name // only this user's; zero for all
	After schema.Path
	Limit int // 1 to MaxPage; 0 for DefaultPage
}

// TokenItem is one visible token.
type TokenItem struct {
	Path schema.Path
	Info *TokenInfo // nil unless the caller may describe the token
}

// TokenPage is a page of visible tokens.
type TokenPage struct {
	Items []TokenItem
	More  bool
}

// ListTokens returns the tokens that the permit's filter shows; never the tokens
// themselves. It needs token:list.
func (s *Identities) ListTokens(ctx context.Context, p permit.Permit, q TokenQuery) (TokenPage, error) {
	filter, ok := p.Filter(tokenList)
	if !ok {
		return TokenPage{}, errNoPermit
	}
	limit, err := pageSize(q.Limit)
	if err != nil {
		return TokenPage{}, err
	}
	records, err := s.visibleTokens(ctx, filter, q)
	if err != nil {
		return TokenPage{}, err
	}
	page := TokenPage{More: len(records) > limit}
	r := s.resolver()
	for _, t := range records[:min(limit, len(records))] {
		st, err := r.resolve(ctx, t, 1)
		if err != nil {
			return TokenPage{}, err
		}
		info, err := t.info(st, p.Time())
		if err != nil {
			return TokenPage{}, err
		}
		item := TokenItem{Path: info.Path}
		if filter.Has("describe", info.Path) {
			item.Info = &info
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

// visibleTokens returns the records after q.After that a filter shows, by path.
func (s *Identities) visibleTokens(ctx context.Context, filter permit.Filter, q TokenQuery) ([]tokenRecord, error) {
	prefix := key(kindToken)
	if !q.User.IsZero() {
		prefix = key(kindToken, tokenID(s.store.keys, q.User.String(), "")[:idLen])
	}
	var records []tokenRecord
	err := s.store.scanAll(ctx, prefix, func(item Item) error {
		t, err := s.openToken(item)
		if err != nil || t.path() <= q.After.String() {
			return err
		}
		path, err := schema.ParsePath(t.path())
		if err == nil && filter.Visible(path) {
			records = append(records, t)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	slices.SortFunc(records, func(a, b tokenRecord) int { return strings.Compare(a.path(), b.path()) })
	return records, nil
}

// openPath opens a record that holds a token's path and checks that it belongs to
// the id in its key.
func (s *Identities) openPath(sealed, id []byte, label crypto.Label) (schema.Path, error) {
	text, err := s.store.keys.Open(label, sealed)
	if err != nil {
		return schema.Path{}, err
	}
	path, err := schema.ParsePath(string(text))
	if err == nil {
		user, accessor, err := tokenPath(path)
		if err == nil && string(tokenID(s.store.keys, user.String(), accessor)) == string(id) {
			return path, nil
		}
	}
	return schema.Path{}, fault.New(fault.Integrity, "a stored record names another token")
}

// TokenKeep is how long an expired token's record stays, so that who presents the
// token is told that it has expired. Its history stays for good.
const TokenKeep = 30 * 24 * time.Hour

// Sweep removes the records of tokens that expired long ago. It returns how many.
// It needs a system permit for token:delete.
func (s *Identities) Sweep(ctx context.Context, p permit.Permit) (int, error) {
	if !p.Allows(tokenDelete) || p.Principal().Kind != schema.KindSystem {
		return 0, errNoPermit
	}
	removed := 0
	due := key(kindTokenExpiry, instant(p.Time().Add(-TokenKeep)))
	for {
		items, err := s.store.kv.Scan(ctx, key(kindTokenExpiry), nil, sweepChunk)
		if err != nil {
			return removed, fmt.Errorf("sweep tokens: %w", err)
		}
		settled := 0
		for _, item := range items {
			if string(item.Key[:len(due)]) > string(due) {
				return removed, nil
			}
			n, err := s.settleToken(ctx, p, item)
			if err != nil {
				return removed, fmt.Errorf("sweep tokens: %w", err)
			}
			removed += n
			settled++
		}
		if settled == 0 {
			return removed, nil
		}
	}
}

// settleToken removes a token whose time has come, or moves its expiry record if
// it was renewed meanwhile.
func (s *Identities) settleToken(ctx context.Context, p permit.Permit, item Item) (int, error) {
	id := item.Key[len(kindTokenExpiry)+8:]
	path, err := s.openPath(item.Value, id, tokenExpiryLabel(id))
	if err != nil {
		return 0, err
	}
	user, accessor, _ := tokenPath(path)
	return attempt(ctx, func() (int, error) {
		b := batch{keys: s.store.keys}
		b.Delete = [][]byte{item.Key}
		f, err := s.token(ctx, user.String(), accessor)
		removed := 0
		switch {
		case absent(err):
		case err != nil:
			return 0, err
		case f.record.Expires.Add(TokenKeep).After(p.Time()):
			b.Require = []Require{{Key: key(kindToken, id), Revision: f.rev}}
			b.putText(key(kindTokenExpiry, instant(f.record.Expires), id), tokenExpiryLabel(id), path.String())
		default:
			b.Require = []Require{{Key: key(kindToken, id), Revision: f.rev}}
			b.Delete = append(b.Delete, key(kindToken, id), key(kindBearer, f.record.Bearer))
			if f.record.Parent != "" {
				parent := tokenID(b.keys, f.record.User, f.record.Parent)
				b.Delete = append(b.Delete, key(kindChild, parent[idLen:], id[idLen:]))
			}
			removed = 1
		}
		return removed, s.commit(ctx, &b, p)
	})
}
