package storage

import (
	"context"
	"slices"
	"time"

	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Standing returns the principal that a user is at present, for explanations: the
// one of the token with the accessor, or, without an accessor, one that holds what
// all his tokens in force hold together. It needs audit:explain, on whatever path.
// The error is fault.NotFound when there is no such user or token, and
// fault.FailedCheck when none of them is in force.
func (s *Identities) Standing(ctx context.Context, p permit.Permit, user schema.Name, accessor string) (schema.Principal, error) {
	if !p.Allows(auditExplain) {
		return schema.Principal{}, errNoPermit
	}
	if _, err := get[userRecord](ctx, s.store, users, user.String()); err != nil {
		return schema.Principal{}, err
	}
	records, err := s.visibleTokens(ctx, everyToken{}, TokenQuery{User: user})
	if err != nil {
		return schema.Principal{}, err
	}
	records = slices.DeleteFunc(records, func(t tokenRecord) bool { return accessor != "" && t.Accessor != accessor })
	if accessor != "" && len(records) == 0 {
		return schema.Principal{}, errNoToken
	}
	return s.together(ctx, user, accessor, records, p.Time())
}

// together unites what the tokens in force hold.
func (s *Identities) together(ctx context.Context, user schema.Name, accessor string, records []tokenRecord, now time.Time) (schema.Principal, error) {
	all := schema.Principal{Kind: schema.KindUser, User: user.String(), Token: accessor}
	r, inForce := s.resolver(), 0
	for _, t := range records {
		st, err := r.resolve(ctx, t, 1)
		if err != nil {
			return schema.Principal{}, err
		}
		if st.revoked || !now.Before(st.expires) {
			continue
		}
		inForce++
		all.Roles, all.Policies = append(all.Roles, st.roles...), append(all.Policies, st.policies...)
		if st.issued.After(all.Issued) {
			all.Issued = st.issued
		}
	}
	if inForce == 0 {
		return schema.Principal{}, fault.New(fault.FailedCheck, "the user has no token in force, so every request is refused before policy")
	}
	slices.Sort(all.Roles)
	slices.Sort(all.Policies)
	all.Roles, all.Policies = slices.Compact(all.Roles), slices.Compact(all.Policies)
	return all, nil
}

// everyToken is a filter that shows everything: what is shown of it was decided by
// the permit of Standing.
type everyToken struct{}

func (everyToken) Visible(schema.Path) bool          { return true }
func (everyToken) Has(schema.Verb, schema.Path) bool { return true }
func (everyToken) Prefixes() []string                { return []string{""} }
