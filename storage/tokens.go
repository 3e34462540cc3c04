package storage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// Limits of tokens. No token lives for ever: renewal ends at the maximum, counted
// from creation.
const (
	DefaultTokenTTL   = 768 * time.Hour  // 32 days, for callers that let the server choose
	MaxTokenTTL       = 8760 * time.Hour // a year, from creation, renewals included
	BootstrapTokenTTL = 24 * time.Hour
	MaxCIDRs          = 64
	maxLineage        = 8 // how deep children of children go
)

// TokenState says whether a token is of use.
type TokenState string

// The states of a token; append-only.
const (
	TokenActive  TokenState = "active"
	TokenExpired TokenState = "expired"
	TokenRevoked TokenState = "revoked" // itself, its parent, or its user disabled or deleted
)

// TokenInfo is the metadata of a token; never the token itself.
type TokenInfo struct {
	Path        schema.Path // USER/ACCESSOR
	User        schema.Name
	Accessor    string
	Kind        TokenKind
	Description string
	Roles       []schema.Name // those still in force
	Policies    []schema.Name // attached directly
	CIDRs       []netip.Prefix
	Created     time.Time
	Author      string
	Updated     time.Time
	Expires     time.Time
	Limit       time.Time     // beyond when it cannot be renewed
	Period      time.Duration // what a renewal adds unless it says otherwise
	Parent      string        // accessor of the token it was made with; "" if it stands alone
	State       TokenState
	Revoked     time.Time      // when it was itself revoked; zero otherwise
	Version     schema.Version // of the record; grows with each change
}

// NewToken is what a token is made from.
type NewToken struct {
	Kind        TokenKind
	Description string
	Roles       []schema.Name
	Policies    []schema.Name // attached directly
	CIDRs       []netip.Prefix
	TTL         time.Duration // more than 0, at most MaxTTL
	MaxTTL      time.Duration // renewal limit, from creation; 0: MaxTokenTTL
	Period      time.Duration // what a renewal adds; 0: TTL
	// Standalone says that the caller may hand out all of it. Otherwise the token
	// is a child of the caller's: of the same user, and within its limits.
	Standalone bool
	// Shorten cuts a child that would outlive its parent to the parent's end,
	// instead of refusing it: for a TTL that nobody asked for.
	Shorten bool
}

// tokenRecord is the record ia.
type tokenRecord struct {
	Accessor    string         `json:"accessor"`
	User        string         `json:"user"`
	Owner       string         `json:"owner"` // the user's incarnation
	Bearer      []byte         `json:"bearer"`
	Kind        TokenKind      `json:"kind"`
	Description string         `json:"description,omitempty"`
	Roles       []roleRef      `json:"roles,omitempty"`    // by name
	Policies    []string       `json:"policies,omitempty"` // sorted
	CIDRs       []netip.Prefix `json:"cidrs,omitempty"`
	Created     time.Time      `json:"created"`
	Author      string         `json:"author"`
	Updated     time.Time      `json:"updated"`
	Expires     time.Time      `json:"expires"`
	MaxTTL      time.Duration  `json:"max_ttl"`
	Period      time.Duration  `json:"period"`
	Parent      string         `json:"parent,omitempty"` // accessor
	Epoch       uint64         `json:"epoch"`
	Revoked     time.Time      `json:"revoked,omitzero"`
	Version     schema.Version `json:"version"`
}

// roleRef is a role as it was when a token was given it.
type roleRef struct {
	Name        string `json:"name"`
	Incarnation string `json:"incarnation"`
}

// dead reports whether the token itself was revoked.
func (t tokenRecord) dead() bool { return !t.Revoked.IsZero() }

func (t tokenRecord) limit() time.Time { return t.Created.Add(t.MaxTTL) }

func (t tokenRecord) path() string { return t.User + "/" + t.Accessor }

// Capabilities on tokens.
var (
	tokenCreate   = schema.Capability{Resource: schema.Token, Verb: "create"}
	tokenUpdate   = schema.Capability{Resource: schema.Token, Verb: "update"}
	tokenDescribe = schema.Capability{Resource: schema.Token, Verb: "describe"}
	tokenList     = schema.Capability{Resource: schema.Token, Verb: "list"}
	tokenRevoke   = schema.Capability{Resource: schema.Token, Verb: "revoke"}
	tokenRenew    = schema.Capability{Resource: schema.Token, Verb: "renew"}
	tokenDelete   = schema.Capability{Resource: schema.Token, Verb: "delete"}
)

var (
	errNoToken   = fault.New(fault.NotFound, "there is no token at this path")
	errDeadToken = fault.New(fault.FailedCheck, "the token is revoked")
)

// tokenID is the blinded id of USER/ACCESSOR in keys: that of the user and that of
// the accessor, so that a user's tokens are neighbours.
func tokenID(keys *crypto.Keyring, user, accessor string) []byte {
	owner := keys.Blind("token", crypto.ID{}, user)
	id := keys.Blind("token", owner, accessor)
	return append(owner[:], id[:]...)
}

func tokenLabel(id []byte) crypto.Label {
	return crypto.Label{Kind: "token", Path: hexID(id), Field: "record"}
}

func tokenHistoryLabel(id []byte) func(schema.Version) crypto.Label {
	return func(v schema.Version) crypto.Label {
		return crypto.Label{Kind: "token", Path: hexID(id), Field: "history", Version: uint64(v)}
	}
}

// token reads the record of a path.
func (s *Identities) token(ctx context.Context, user, accessor string) (found[tokenRecord], error) {
	item, err := s.store.kv.Get(ctx, key(kindToken, tokenID(s.store.keys, user, accessor)))
	if absent(err) {
		return found[tokenRecord]{}, errNoToken
	}
	if err != nil {
		return found[tokenRecord]{}, fmt.Errorf("read token: %w", err)
	}
	t, err := s.openToken(item)
	return found[tokenRecord]{t, item.Revision}, err
}

// openToken opens a record and checks that it is the one its key says.
func (s *Identities) openToken(item Item) (tokenRecord, error) {
	id := item.Key[len(kindToken):]
	t, err := unseal[tokenRecord](s.store.keys, tokenLabel(id), item.Value)
	if err == nil && string(tokenID(s.store.keys, t.User, t.Accessor)) != string(id) {
		err = fault.New(fault.Integrity, "a stored token has another's name")
	}
	if err != nil {
		return tokenRecord{}, fmt.Errorf("open token: %w", err)
	}
	return t, nil
}

// putToken adds a token record, and its state in the history, to a batch.
func putToken(b *batch, p permit.Permit, t tokenRecord, rev schema.Revision) {
	id := tokenID(b.keys, t.User, t.Accessor)
	b.Require = append(b.Require, Require{Key: key(kindToken, id), Revision: rev})
	b.put(key(kindToken, id), tokenLabel(id), t)
	b.put(key(kindTokenHistory, id, number(t.Version)), tokenHistoryLabel(id)(t.Version), revisedRecord[tokenRecord]{
		Version: t.Version, Time: stamp(p.Time()), Author: p.Principal().User, Decision: p.ID(), Deleted: t.dead(), State: t,
	})
}

// NewAccessor returns a fresh accessor, for those who need a token's path before
// the token is made.
func NewAccessor() string { return newAccessor() }

// CreateToken makes a token for the user that the permit names, and returns it,
// once. The permit's path is USER, or USER/ACCESSOR with an accessor from
// NewAccessor. It needs token:create. Only a system permit makes a bootstrap
// token.
func (s *Identities) CreateToken(ctx context.Context, p permit.Permit, n NewToken) (secret.Value, TokenInfo, error) {
	user, accessor, err := newTokenPath(p)
	if err != nil {
		return secret.Value{}, TokenInfo{}, err
	}
	if err := n.check(p); err != nil {
		return secret.Value{}, TokenInfo{}, err
	}
	policies := sortedNames(n.Policies)
	if err := s.policiesExist(ctx, policies); err != nil {
		return secret.Value{}, TokenInfo{}, err
	}
	owner, err := get[userRecord](ctx, s.store, users, user.String())
	if err != nil {
		return secret.Value{}, TokenInfo{}, err
	}
	if owner.record.Disabled {
		return secret.Value{}, TokenInfo{}, fault.New(fault.FailedCheck, "the user is disabled")
	}
	t := n.record(p, owner.record, accessor)
	t.Policies = policies
	if t.Roles, err = s.roleRefs(ctx, n.Roles); err != nil {
		return secret.Value{}, TokenInfo{}, err
	}
	if !n.Standalone {
		if err := s.bound(ctx, p, &t, n.Shorten); err != nil {
			return secret.Value{}, TokenInfo{}, err
		}
	}
	return s.issue(ctx, p, t)
}

// newTokenPath returns the user and accessor of a token to be made.
func newTokenPath(p permit.Permit) (schema.Name, string, error) {
	path, ok := p.Path(tokenCreate)
	if !ok {
		return schema.Name{}, "", errNoPermit
	}
	if user, err := schema.ParseName(path.String()); err == nil {
		return user, newAccessor(), nil
	}
	user, accessor, err := TokenPath(path)
	if err == nil && (len(accessor) != accessorLen || strings.Trim(accessor, "0123456789abcdef") != "") {
		err = fault.New(fault.InvalidPath, "an accessor is 24 hexadecimal digits")
	}
	return user, accessor, err
}

// check checks what does not depend on what is stored.
func (n NewToken) check(p permit.Permit) error {
	longest := n.MaxTTL
	if longest == 0 {
		longest = MaxTokenTTL
	}
	switch {
	case n.Kind.letter() == 0:
		return fault.New(fault.InvalidArgument, "the kind of a token is service or user")
	case n.Kind == BootstrapToken && (p.Principal().Kind != schema.KindSystem || n.TTL > BootstrapTokenTTL || longest > BootstrapTokenTTL):
		return errNoPermit
	case longest < 0 || longest > MaxTokenTTL:
		return fault.Newf(fault.InvalidArgument, "a token's maximum time to live is more than 0 and at most %s", MaxTokenTTL)
	case n.TTL < time.Second || n.TTL > longest:
		return fault.Newf(fault.InvalidArgument, "a token's time to live is at least 1s and at most %s", longest)
	case n.Period < 0 || n.Period > longest:
		return fault.Newf(fault.InvalidArgument, "a token's renewal period is at most %s", longest)
	case len(n.CIDRs) > MaxCIDRs:
		return fault.Newf(fault.TooLarge, "a token is bound to at most %d networks", MaxCIDRs)
	case len(n.Roles) > MaxAttached:
		return fault.Newf(fault.TooLarge, "a token carries at most %d roles", MaxAttached)
	}
	for _, c := range n.CIDRs {
		if !c.IsValid() || c != c.Masked() {
			return fault.New(fault.InvalidArgument, "a network is written as its first address and prefix length, such as 10.20.0.0/16")
		}
	}
	return checkDescription(n.Description)
}

func (n NewToken) record(p permit.Permit, owner userRecord, accessor string) tokenRecord {
	now := stamp(p.Time())
	t := tokenRecord{
		Accessor: accessor, User: owner.Name, Owner: owner.Incarnation, Kind: n.Kind, Description: n.Description,
		CIDRs: slices.Clone(n.CIDRs), Created: now, Author: p.Principal().User, Updated: now, Expires: now.Add(n.TTL),
		MaxTTL: n.MaxTTL, Period: n.Period, Version: 1,
	}
	if t.MaxTTL == 0 {
		t.MaxTTL = MaxTokenTTL
	}
	if t.Period == 0 {
		t.Period = n.TTL
	}
	return t
}

// roleRefs looks up roles by name.
func (s *Identities) roleRefs(ctx context.Context, names []schema.Name) ([]roleRef, error) {
	var refs []roleRef
	for _, name := range sortedNames(names) {
		f, err := get[roleRecord](ctx, s.store, roles, name)
		if absent(err) {
			return nil, fault.New(fault.NotFound, "there is no role of a name the token should carry")
		}
		if err != nil {
			return nil, err
		}
		refs = append(refs, roleRef{name, f.record.Incarnation})
	}
	return refs, nil
}

// bound holds a child within its creator's token and makes it a child.
func (s *Identities) bound(ctx context.Context, p permit.Permit, t *tokenRecord, shorten bool) error {
	creator := p.Principal()
	if creator.Kind != schema.KindUser || creator.User != t.User {
		return fault.New(fault.Denied, "a token made for another user needs role:bind and policy:bind on what it carries")
	}
	r := s.resolver()
	parent, err := s.token(ctx, creator.User, creator.Token)
	if err != nil {
		return err
	}
	standing, err := r.resolve(ctx, parent.record, 1)
	if err != nil {
		return err
	}
	if shorten && t.Expires.After(standing.expires) {
		t.Expires = standing.expires
	}
	switch {
	case standing.revoked:
		return errDeadToken
	case standing.depth >= maxLineage:
		return fault.Newf(fault.FailedCheck, "tokens made with tokens go at most %d deep", maxLineage)
	case t.Expires.After(standing.expires):
		return fault.Newf(fault.Denied, "the token would outlive the one it is made with, which ends at %s", schema.FormatTime(standing.expires))
	}
	for _, role := range t.Roles {
		if !slices.Contains(standing.roles, role.Name) {
			return fault.New(fault.Denied, "the token would carry a role that its creator's token does not; that needs role:bind")
		}
	}
	for _, policy := range t.Policies {
		if !slices.Contains(standing.policies, policy) {
			return fault.New(fault.Denied, "the token would carry a policy that its creator's token does not; that needs policy:bind")
		}
	}
	if !within(t.CIDRs, parent.record.CIDRs) {
		return fault.New(fault.Denied, "the token would be of use from networks that its creator's token is not")
	}
	if len(t.CIDRs) == 0 {
		t.CIDRs = slices.Clone(parent.record.CIDRs)
	}
	t.Parent = parent.record.Accessor
	return nil
}

// within reports whether every network of inner lies in one of outer. No outer
// networks means no limit; no inner ones means those of outer.
func within(inner, outer []netip.Prefix) bool {
	if len(outer) == 0 {
		return true
	}
	for _, in := range inner {
		if !slices.ContainsFunc(outer, func(out netip.Prefix) bool { return out.Bits() <= in.Bits() && out.Contains(in.Addr()) }) {
			return false
		}
	}
	return true
}

// issue makes the bearer's token for a record and commits both.
func (s *Identities) issue(ctx context.Context, p permit.Permit, t tokenRecord) (secret.Value, TokenInfo, error) {
	b := batch{keys: s.store.keys}
	bearer, err := s.addToken(ctx, &b, p, &t)
	if err == nil {
		err = s.commit(ctx, &b, p)
	}
	if errors.Is(err, errLost) {
		err = fault.New(fault.Conflict, "a token with this accessor exists already")
	}
	if err != nil {
		return secret.Value{}, TokenInfo{}, fmt.Errorf("create token: %w", err)
	}
	info, err := s.describe(ctx, t, p.Time())
	return bearer, info, err
}

// addToken adds a new token to a batch: its record, the bearer's way to it, its
// expiry and its place among its parent's children.
func (s *Identities) addToken(ctx context.Context, b *batch, p permit.Permit, t *tokenRecord) (secret.Value, error) {
	epoch, err := s.epoch(ctx)
	if err != nil {
		return secret.Value{}, err
	}
	t.Epoch = epoch
	bearer := newBearer(t.Kind)
	bearer.Expose(func(text []byte) {
		sum := s.store.keys.TokenKey(text)
		t.Bearer = sum[:]
	})
	putToken(b, p, *t, 0)
	b.putText(key(kindBearer, t.Bearer), bearerLabel(t.Bearer), t.path())
	id := tokenID(b.keys, t.User, t.Accessor)
	expiry := key(kindTokenExpiry, instant(t.Expires), id)
	b.putText(expiry, tokenExpiryLabel(id), t.path())
	if t.Parent != "" {
		parent := tokenID(b.keys, t.User, t.Parent)
		b.putText(key(kindChild, parent[idLen:], id[idLen:]), childLabel(id), t.path())
	}
	return bearer, nil
}

// epoch returns the cluster's token epoch.
func (s *Identities) epoch(ctx context.Context) (uint64, error) {
	item, err := s.store.kv.Get(ctx, key(kindEpoch))
	if err != nil {
		return 0, fmt.Errorf("read token epoch: %w", err)
	}
	r, err := unseal[epochRecord](s.store.keys, epochLabel, item.Value)
	return r.Epoch, err
}

// Labels of what leads to a token.
func bearerLabel(sum []byte) crypto.Label {
	return crypto.Label{Kind: "token", Path: hexID(sum), Field: "bearer"}
}

func tokenExpiryLabel(id []byte) crypto.Label {
	return crypto.Label{Kind: "token", Path: hexID(id), Field: "expiry"}
}

func childLabel(id []byte) crypto.Label {
	return crypto.Label{Kind: "token", Path: hexID(id), Field: "child"}
}
