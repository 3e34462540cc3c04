package storage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// MaxAttached is how many policies a role or token carries, and how many roles a
// token carries.
const MaxAttached = 200

// Role is a named set of policies.
type Role struct {
	Name        schema.Name
	Description string
	Policies    []schema.Name // sorted
	Builtin     bool          // comes with the server and cannot be deleted
	Created     time.Time
	Author      string
	Updated     time.Time
	Version     schema.Version // of the record; grows with each change
}

// NewRole is what a role starts with.
type NewRole struct {
	Description string
	Policies    []schema.Name
}

// RoleChange is what an update changes. What is nil stays.
type RoleChange struct {
	Description *string
	IfVersion   schema.Version // the change is made only if this is the present version; 0: whichever is
}

// roleRecord is the record ir.
type roleRecord struct {
	basics
	Policies []string `json:"policies,omitempty"` // sorted
	Builtin  bool     `json:"builtin,omitempty"`
}

func (r roleRecord) role() (Role, error) {
	name, err := storedName(r.Name)
	if err != nil {
		return Role{}, err
	}
	policies, err := storedNames(r.Policies)
	return Role{name, r.Description, policies, r.Builtin, r.Created, r.Author, r.Updated, r.Version}, err
}

func storedNames(texts []string) ([]schema.Name, error) {
	var names []schema.Name
	for _, text := range texts {
		name, err := storedName(text)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// sortedNames returns the texts of names, sorted and without duplicates.
func sortedNames(names []schema.Name) []string {
	var texts []string
	for _, name := range names {
		texts = append(texts, name.String())
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// Capabilities on roles, and for attaching policies.
var (
	roleCreate   = schema.Capability{Resource: schema.Role, Verb: "create"}
	roleUpdate   = schema.Capability{Resource: schema.Role, Verb: "update"}
	roleDescribe = schema.Capability{Resource: schema.Role, Verb: "describe"}
	roleList     = schema.Capability{Resource: schema.Role, Verb: "list"}
	roleDelete   = schema.Capability{Resource: schema.Role, Verb: "delete"}
	policyAttach = schema.Capability{Resource: schema.Policy, Verb: "attach"}
)

// policiesExist checks that every policy of a list is in force.
func (s *Identities) policiesExist(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	if len(names) > MaxAttached {
		return fault.Newf(fault.TooLarge, "at most %d policies can be attached to one role or token", MaxAttached)
	}
	m, err := s.store.Policies.current(ctx)
	if err != nil {
		return err
	}
	for _, text := range names {
		name, err := storedName(text)
		if err != nil {
			return err
		}
		if e, ok := m.find(name); !ok || e.Deleted {
			return fault.New(fault.NotFound, "there is no policy of a name to attach; apply the policy first")
		}
	}
	return nil
}

// CreateRole creates the role that the permit names. It needs role:create.
// Whether the caller may hand out the policies is for the caller of this method
// to have decided.
func (s *Identities) CreateRole(ctx context.Context, p permit.Permit, n NewRole) (Role, error) {
	name, err := permittedName(p, roleCreate)
	if err != nil {
		return Role{}, err
	}
	if err := checkDescription(n.Description); err != nil {
		return Role{}, err
	}
	policies := sortedNames(n.Policies)
	if err := s.policiesExist(ctx, policies); err != nil {
		return Role{}, err
	}
	return attempt(ctx, func() (Role, error) {
		old, err := vacantName[roleRecord](ctx, s.store, roles, name)
		if err != nil {
			return Role{}, err
		}
		record := roleRecord{basics: newNamed(p, name, n.Description, old.record.Version), Policies: policies}
		b := batch{keys: s.store.keys}
		take(&b, p, roles, record, old.rev)
		if err := s.commit(ctx, &b, p); err != nil {
			return Role{}, fmt.Errorf("create role: %w", err)
		}
		return record.role()
	})
}

// UpdateRole changes the role that the permit names. It needs role:update.
func (s *Identities) UpdateRole(ctx context.Context, p permit.Permit, c RoleChange) (Role, error) {
	name, err := permittedName(p, roleUpdate)
	if err != nil {
		return Role{}, err
	}
	if c.Description != nil {
		err = checkDescription(*c.Description)
	}
	if err != nil {
		return Role{}, err
	}
	return s.changeRole(ctx, []permit.Permit{p}, name, func(r *roleRecord) error {
		if c.Description != nil {
			r.Description = *c.Description
		}
		return checkVersion(c.IfVersion, r.Version)
	})
}

// changeRole commits one change of a role.
func (s *Identities) changeRole(ctx context.Context, permits []permit.Permit, name schema.Name, change func(*roleRecord) error) (Role, error) {
	return attempt(ctx, func() (Role, error) {
		f, err := get[roleRecord](ctx, s.store, roles, name.String())
		if err != nil {
			return Role{}, err
		}
		r := f.record
		r.Policies = slices.Clone(r.Policies)
		if err := change(&r); err != nil {
			return Role{}, err
		}
		r.Version, r.Updated = r.Version+1, stamp(permits[0].Time())
		b := batch{keys: s.store.keys}
		put(&b, permits[0], roles, r, f.rev)
		if err := s.commit(ctx, &b, permits...); err != nil {
			return Role{}, fmt.Errorf("change role: %w", err)
		}
		return r.role()
	})
}

// DeleteRole deletes the role that the permit names. Tokens that carry it lose
// it, and do not get it back with a later role of the same name. It needs
// role:delete.
func (s *Identities) DeleteRole(ctx context.Context, p permit.Permit) error {
	name, err := permittedName(p, roleDelete)
	if err != nil {
		return err
	}
	_, err = attempt(ctx, func() (struct{}, error) {
		f, err := get[roleRecord](ctx, s.store, roles, name.String())
		if err != nil {
			return struct{}{}, err
		}
		r := f.record
		if r.Builtin {
			return struct{}{}, fault.New(fault.FailedCheck, "the role comes with the server and cannot be deleted")
		}
		r.Version, r.Updated, r.Deleted = r.Version+1, stamp(p.Time()), true
		b := batch{keys: s.store.keys}
		put(&b, p, roles, r, f.rev)
		b.Delete = [][]byte{roles.foldKey(s.store.keys, r.Name)}
		if err := s.commit(ctx, &b, p); err != nil {
			return struct{}{}, fmt.Errorf("delete role: %w", err)
		}
		return struct{}{}, nil
	})
	return err
}

// DescribeRole returns the role that the permit names. It needs role:describe.
func (s *Identities) DescribeRole(ctx context.Context, p permit.Permit) (Role, error) {
	name, err := permittedName(p, roleDescribe)
	if err != nil {
		return Role{}, err
	}
	f, err := get[roleRecord](ctx, s.store, roles, name.String())
	if err != nil {
		return Role{}, err
	}
	return f.record.role()
}

// RoleHistory returns every state of the role that the permit names, newest
// first, also of roles of that name that were deleted. It needs role:describe.
func (s *Identities) RoleHistory(ctx context.Context, p permit.Permit) ([]Revised[Role], error) {
	name, err := permittedName(p, roleDescribe)
	if err != nil {
		return nil, err
	}
	id := roles.id(s.store.keys, name.String())
	all, err := history(ctx, s.store, key(kindRoleHistory, id), roles.historyLabel(id), roleRecord.role)
	if err == nil && len(all) == 0 {
		err = roles.missing
	}
	return all, err
}

// RoleItem is one visible role.
type RoleItem struct {
	Name schema.Name
	Role *Role // nil unless the caller may describe the role
}

// RolePage is a page of visible roles.
type RolePage struct {
	Items []RoleItem
	More  bool
}

// ListRoles returns the roles that the permit's filter shows. It needs role:list.
func (s *Identities) ListRoles(ctx context.Context, p permit.Permit, q NameQuery) (RolePage, error) {
	filter, ok := p.Filter(roleList)
	if !ok {
		return RolePage{}, errNoPermit
	}
	records, more, err := listNames[roleRecord](ctx, s.store, roles, filter, q)
	if err != nil {
		return RolePage{}, err
	}
	page := RolePage{More: more}
	for _, record := range records {
		r, err := record.role()
		if err != nil {
			return RolePage{}, err
		}
		item := RoleItem{Name: r.Name}
		if filter.Has("describe", r.Name.Path()) {
			item.Role = &r
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

// Attach attaches a policy to a role or a token: the policy that the first permit
// names (policy:attach) to what the second names (role:update or token:update).
// Attaching what is attached already is not an error.
func (s *Identities) Attach(ctx context.Context, policy, target permit.Permit) error {
	name, err := permittedName(policy, policyAttach)
	if err != nil {
		return err
	}
	if err := s.policiesExist(ctx, []string{name.String()}); err != nil {
		return err
	}
	return s.bind(ctx, policy, target, func(policies []string) ([]string, error) {
		at, held := slices.BinarySearch(policies, name.String())
		if held {
			return policies, nil
		}
		if len(policies) == MaxAttached {
			return nil, fault.Newf(fault.TooLarge, "at most %d policies can be attached to one role or token", MaxAttached)
		}
		return slices.Insert(policies, at, name.String()), nil
	})
}

// Detach takes a policy off a role or a token, under the same two permits as
// Attach. The error is fault.NotFound when it is not attached.
func (s *Identities) Detach(ctx context.Context, policy, target permit.Permit) error {
	name, err := permittedName(policy, policyAttach)
	if err != nil {
		return err
	}
	return s.bind(ctx, policy, target, func(policies []string) ([]string, error) {
		at, held := slices.BinarySearch(policies, name.String())
		if !held {
			return nil, fault.New(fault.NotFound, "the policy is not attached there")
		}
		return slices.Delete(policies, at, at+1), nil
	})
}

// bind changes the policies of the role or token that target names.
func (s *Identities) bind(ctx context.Context, policy, target permit.Permit, change func([]string) ([]string, error)) error {
	permits := []permit.Permit{policy, target}
	if path, ok := target.Path(tokenUpdate); ok {
		_, err := s.changeToken(ctx, permits, path, func(t *tokenRecord) (err error) {
			if t.dead() {
				return errDeadToken
			}
			t.Policies, err = change(t.Policies)
			return err
		})
		return err
	}
	name, err := permittedName(target, roleUpdate)
	if err != nil {
		return err
	}
	_, err = s.changeRole(ctx, permits, name, func(r *roleRecord) (err error) {
		r.Policies, err = change(r.Policies)
		return err
	})
	return err
}

// RolePolicies returns the policies of a role, for explanations. It needs
// audit:explain, on whatever path.
func (s *Identities) RolePolicies(ctx context.Context, p permit.Permit, role schema.Name) ([]schema.Name, error) {
	if !p.Allows(auditExplain) {
		return nil, errNoPermit
	}
	f, err := get[roleRecord](ctx, s.store, roles, role.String())
	if err != nil {
		return nil, err
	}
	return storedNames(f.record.Policies)
}
