package storage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// AuthError says why a token was refused. The reason is for the record and for a
// caller who holds a real token; User and Token (the accessor) are known for
// every reason but unauthenticated.
type AuthError struct {
	Reason schema.Reason // unauthenticated, token_expired, token_revoked, or condition_failed for another network
	User   string
	Token  string
}

// Error gives the reason.
func (e *AuthError) Error() string { return "token refused: " + string(e.Reason) }

// Unwrap returns the error's kind: fault.Denied for a good token from a network
// it is not bound to, and fault.Unauthenticated for the rest.
func (e *AuthError) Unwrap() error {
	if e.Reason == schema.ConditionFailed {
		return fault.Denied
	}
	return fault.Unauthenticated
}

// Authenticate returns who a bearer's token stands for. A refusal is an
// *AuthError; any other error means that the question could not be answered.
// Expiry is exact by now, and a revocation holds from its acknowledgement on.
func (s *Identities) Authenticate(ctx context.Context, token []byte, now time.Time, source netip.Addr) (schema.Principal, error) {
	if !wellFormed(token) {
		return schema.Principal{}, &AuthError{Reason: schema.Unauthenticated}
	}
	sum := s.store.keys.TokenKey(token)
	st, ok := s.cache.get(sum)
	if !ok {
		turn := s.cache.turn(ctx)
		var err error
		if st, err = s.resolveBearer(ctx, sum); err != nil {
			return schema.Principal{}, err
		}
		s.cache.put(sum, st, turn)
	}
	return st.admit(now, source)
}

// resolveBearer works out what a token stands for at present.
func (s *Identities) resolveBearer(ctx context.Context, sum [32]byte) (standing, error) {
	item, err := s.store.kv.Get(ctx, key(kindBearer, sum[:]))
	if absent(err) {
		return standing{}, &AuthError{Reason: schema.Unauthenticated}
	}
	if err != nil {
		return standing{}, fmt.Errorf("look up token: %w", err)
	}
	text, err := s.store.keys.Open(bearerLabel(sum[:]), item.Value)
	if err != nil {
		return standing{}, fmt.Errorf("look up token: %w", err)
	}
	path, err := schema.ParsePath(string(text))
	if err != nil {
		return standing{}, fault.New(fault.Integrity, "a bearer record names no token")
	}
	user, accessor, err := TokenPath(path)
	if err != nil {
		return standing{}, fault.New(fault.Integrity, "a bearer record names no token")
	}
	f, err := s.token(ctx, user.String(), accessor)
	if absent(err) {
		return standing{}, &AuthError{Reason: schema.Unauthenticated}
	}
	if err != nil {
		return standing{}, err
	}
	if string(f.record.Bearer) != string(sum[:]) {
		return standing{}, fault.New(fault.Integrity, "a bearer record names another's token")
	}
	return s.resolver().resolve(ctx, f.record, 1)
}

// standing is what a token is worth at present, apart from time and source
// address, which are checked at each use.
type standing struct {
	user, accessor string
	roles          []string         // in force, sorted
	policies       []string         // in force, sorted
	issued         time.Time        // when the token was made, or the first of its ancestors: a child is no younger
	expires        time.Time        // of the token or the first of its ancestors
	parentExpires  time.Time        // of the first of its ancestors; zero if it stands alone
	networks       [][]netip.Prefix // of the token and each ancestor; each must contain the source
	revoked        bool
	depth          int // 1 for a token that stands alone
}

// admit checks time and source.
func (st standing) admit(now time.Time, source netip.Addr) (schema.Principal, error) {
	refuse := func(r schema.Reason) (schema.Principal, error) {
		return schema.Principal{}, &AuthError{Reason: r, User: st.user, Token: st.accessor}
	}
	switch {
	case st.revoked:
		return refuse(schema.TokenRevoked)
	case !now.Before(st.expires):
		return refuse(schema.TokenExpired)
	}
	source = source.Unmap()
	for _, networks := range st.networks {
		if !slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(source) }) {
			return refuse(schema.ConditionFailed)
		}
	}
	return schema.Principal{
		Kind: schema.KindUser, User: st.user, Token: st.accessor, Roles: slices.Clone(st.roles), Policies: slices.Clone(st.policies),
		Issued: st.issued,
	}, nil
}

// resolver works out standings. It remembers what it read, so that a list of many
// tokens reads each user and role once; it is for one request.
type resolver struct {
	s     *Identities
	epoch uint64
	users map[string]userRecord
	roles map[string]roleRecord
}

func (s *Identities) resolver() *resolver {
	return &resolver{s: s, users: map[string]userRecord{}, roles: map[string]roleRecord{}}
}

// resolve works out what a token is worth: what it was given, as far as it still
// exists, within what its parent is worth.
func (r *resolver) resolve(ctx context.Context, t tokenRecord, level int) (standing, error) {
	st := standing{user: t.User, accessor: t.Accessor, issued: t.Created, expires: t.Expires, depth: 1, revoked: t.dead()}
	if err := r.checkOwner(ctx, t, &st); err != nil {
		return standing{}, err
	}
	if err := r.collect(ctx, t, &st); err != nil {
		return standing{}, err
	}
	if len(t.CIDRs) > 0 {
		st.networks = append(st.networks, t.CIDRs)
	}
	if t.Parent == "" {
		return st, nil
	}
	if level > maxLineage {
		return standing{}, fault.New(fault.Integrity, "a token's parents go round in a circle")
	}
	f, err := r.s.token(ctx, t.User, t.Parent)
	if absent(err) {
		st.revoked = true
		return st, nil
	}
	if err != nil {
		return standing{}, err
	}
	parent, err := r.resolve(ctx, f.record, level+1)
	if err != nil {
		return standing{}, err
	}
	st.revoked = st.revoked || parent.revoked
	st.roles = common(st.roles, parent.roles)
	st.policies = common(st.policies, parent.policies)
	st.networks = append(st.networks, parent.networks...)
	st.parentExpires, st.depth = parent.expires, parent.depth+1
	if parent.expires.Before(st.expires) {
		st.expires = parent.expires
	}
	if parent.issued.Before(st.issued) {
		st.issued = parent.issued
	}
	return st, nil
}

// checkOwner checks epoch and user.
func (r *resolver) checkOwner(ctx context.Context, t tokenRecord, st *standing) error {
	if r.epoch == 0 {
		var err error
		if r.epoch, err = r.s.epoch(ctx); err != nil {
			return err
		}
	}
	user, err := memo(ctx, r.s.store, users, t.User, r.users)
	if err != nil {
		return err
	}
	if t.Epoch != r.epoch || user.Incarnation != t.Owner || user.Disabled || user.Deleted {
		st.revoked = true
	}
	return nil
}

// collect gathers roles and policies that are still in force.
func (r *resolver) collect(ctx context.Context, t tokenRecord, st *standing) error {
	st.policies = slices.Clone(t.Policies)
	for _, ref := range t.Roles {
		role, err := memo(ctx, r.s.store, roles, ref.Name, r.roles)
		if err != nil {
			return err
		}
		if role.Incarnation == ref.Incarnation && !role.Deleted {
			st.roles = append(st.roles, ref.Name)
			st.policies = append(st.policies, role.Policies...)
		}
	}
	slices.Sort(st.policies)
	st.policies = slices.Compact(st.policies)
	return nil
}

// memo reads a record once. A missing one is the zero record, which matches no
// incarnation.
func memo[R named](ctx context.Context, s *Store, n noun, name string, known map[string]R) (R, error) {
	if r, ok := known[name]; ok {
		return r, nil
	}
	f, err := get[R](ctx, s, n, name)
	if absent(err) {
		err = nil
	}
	if err == nil {
		known[name] = f.record
	}
	return f.record, err
}

// common returns what is in both of two sorted lists.
func common(a, b []string) []string {
	return slices.DeleteFunc(a, func(x string) bool {
		_, ok := slices.BinarySearch(b, x)
		return !ok
	})
}

// maxCached bounds the cache of standings.
const maxCached = 10_000

// principalCache remembers standings by token key. Any change of identities drops
// all of it: this store's own changes before they are acknowledged, those of
// others as the watch tells of them. While there is no watch nothing is cached.
//
// A standing is kept only if nothing was dropped while it was worked out, which
// its turn tells; otherwise a slow reader could put back what a revocation has
// just taken away.
type principalCache struct {
	store *Store

	// mu guards what follows.
	mu        sync.RWMutex
	standings map[[32]byte]standing
	drops     uint64
	watched   bool
	starting  bool
}

func newPrincipalCache(s *Store) *principalCache {
	return &principalCache{store: s, standings: map[[32]byte]standing{}}
}

func (c *principalCache) get(sum [32]byte) (standing, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	st, ok := c.standings[sum]
	return st, ok
}

// turn begins working out a standing. It starts the watch if there is none.
func (c *principalCache) turn(ctx context.Context) uint64 {
	c.mu.Lock()
	start := !c.watched && !c.starting
	c.starting = c.starting || start
	c.mu.Unlock()
	if start {
		c.watch(ctx)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.drops
}

// put keeps a standing if it is of use and nothing was dropped since its turn.
func (c *principalCache) put(sum [32]byte, st standing, turn uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.watched || c.drops != turn || st.revoked {
		return
	}
	if len(c.standings) >= maxCached {
		clear(c.standings)
	}
	c.standings[sum] = st
}

// drop forgets everything.
func (c *principalCache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops++
	clear(c.standings)
}

// watch drops the cache whenever any identity changes. A watch that cannot start
// leaves the cache off; the next turn tries again.
func (c *principalCache) watch(ctx context.Context) {
	events, cancel, err := c.events(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.starting = false
	if err != nil {
		return
	}
	c.watched = true
	c.drops++ // what was read before the watch began may have changed unseen
	c.store.watches.Go(func() {
		defer cancel()
		for range events {
			c.drop()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.watched = false
		c.drops++
		clear(c.standings)
	})
}

func (c *principalCache) events(ctx context.Context) (<-chan Event, context.CancelFunc, error) {
	from, err := c.store.Revision(ctx)
	if err != nil {
		return nil, nil, err
	}
	watch, cancel := context.WithCancel(c.store.running)
	events, err := c.store.kv.Watch(watch, key(kindIdentity), from)
	if err != nil {
		cancel()
		return nil, nil, errors.Join(fault.Unavailable, err)
	}
	return events, cancel, nil
}
