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
		user, accessor, err := TokenPath(path)
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
	user, accessor, _ := TokenPath(path)
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
