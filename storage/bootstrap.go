package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// BootstrapUser is the user that the first token belongs to.
const BootstrapUser = "admin"

// builtinRoles are the roles that come with the server. Each holds the policy of
// its own name, which whoever sets up the cluster applies.
var builtinRoles = []struct{ name, description string }{
	{"admin", "Everything, secret values included"},
	{"deployer", "Runs jobs and injects secrets where bound; reads no values"},
	{"operator", "Runs jobs, keys and backups; no users, no secret values"},
	{"viewer", "Sees jobs, metrics and health; no secrets"},
}

// Bootstrap creates the built-in roles and the first user, and returns a token
// with the admin role that lives for 24 hours. It happens once in a cluster's
// life; afterwards the error is fault.Conflict, and AdminToken mints another
// token. It needs a system permit for token:create on BootstrapUser, or on
// BootstrapUser/ACCESSOR.
func (s *Identities) Bootstrap(ctx context.Context, p permit.Permit) (secret.Value, TokenInfo, error) {
	user, accessor, err := bootstrapPath(p)
	if err != nil {
		return secret.Value{}, TokenInfo{}, err
	}
	b := batch{keys: s.store.keys}
	b.Require = []Require{{Key: key(kindBootstrap)}}
	b.Put = []Put{{Key: key(kindBootstrap), Value: []byte{1}}}
	var admin roleRecord
	for _, r := range builtinRoles {
		record := roleRecord{basics: newNamed(p, schema.MustName(r.name), r.description, 0), Policies: []string{r.name}, Builtin: true}
		take(&b, p, roles, record, 0)
		if r.name == "admin" {
			admin = record
		}
	}
	owner := userRecord{basics: newNamed(p, user, "Created with the cluster", 0)}
	take(&b, p, users, owner, 0)
	t := bootstrapToken().record(p, owner, accessor)
	t.Roles = []roleRef{{admin.Name, admin.Incarnation}}
	bearer, err := s.addToken(ctx, &b, p, &t)
	if err == nil {
		err = s.commit(ctx, &b, p)
	}
	if errors.Is(err, errLost) {
		err = fault.New(fault.Conflict, "the cluster has been bootstrapped already")
	}
	if err != nil {
		return secret.Value{}, TokenInfo{}, fmt.Errorf("bootstrap: %w", err)
	}
	info, err := s.describe(ctx, t, p.Time())
	return bearer, info, err
}

// Bootstrapped reports whether Bootstrap has happened.
func (s *Identities) Bootstrapped(ctx context.Context) (bool, error) {
	_, err := s.store.kv.Get(ctx, key(kindBootstrap))
	if absent(err) {
		return false, nil
	}
	return err == nil, err
}

// AdminToken mints another token like Bootstrap's, for those who lost theirs but
// are on the server's host and may read its key file. It brings back the first
// user if he was disabled or deleted. It needs the same permit.
func (s *Identities) AdminToken(ctx context.Context, p permit.Permit) (secret.Value, TokenInfo, error) {
	user, accessor, err := bootstrapPath(p)
	if err != nil {
		return secret.Value{}, TokenInfo{}, err
	}
	owner, err := s.reviveUser(ctx, p, user)
	if err != nil {
		return secret.Value{}, TokenInfo{}, err
	}
	t := bootstrapToken().record(p, owner, accessor)
	if t.Roles, err = s.roleRefs(ctx, []schema.Name{schema.MustName("admin")}); err != nil {
		return secret.Value{}, TokenInfo{}, err
	}
	return s.issue(ctx, p, t)
}

func bootstrapToken() NewToken {
	return NewToken{Kind: BootstrapToken, Description: "Administrator's first token", TTL: BootstrapTokenTTL, MaxTTL: BootstrapTokenTTL}
}

func bootstrapPath(p permit.Permit) (schema.Name, string, error) {
	user, accessor, err := newTokenPath(p)
	if err == nil && (p.Principal().Kind != schema.KindSystem || user.String() != BootstrapUser) {
		err = errNoPermit
	}
	return user, accessor, err
}

// reviveUser returns the first user, created anew or enabled as need be.
func (s *Identities) reviveUser(ctx context.Context, p permit.Permit, name schema.Name) (userRecord, error) {
	return attempt(ctx, func() (userRecord, error) {
		f, err := get[userRecord](ctx, s.store, users, name.String())
		r := f.record
		b := batch{keys: s.store.keys}
		switch {
		case err == nil && !r.Disabled:
			return r, nil
		case err == nil:
			r.Version, r.Updated, r.Disabled = r.Version+1, stamp(p.Time()), false
			put(&b, p, users, r, f.rev)
		case absent(err):
			if _, err := vacantName[userRecord](ctx, s.store, users, name); err != nil {
				return userRecord{}, err
			}
			r = userRecord{basics: newNamed(p, name, "Created with the cluster", r.Version)}
			take(&b, p, users, r, f.rev)
		default:
			return userRecord{}, err
		}
		// The decision lands with the token, not with the user.
		return r, s.commit(ctx, &b)
	})
}
