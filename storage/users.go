package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// User is a human or a service.
type User struct {
	Name        schema.Name
	Description string
	Disabled    bool // all his tokens are stopped
	Created     time.Time
	Author      string
	Updated     time.Time
	Version     schema.Version // of the record; grows with each change
}

// NewUser is what a user starts with.
type NewUser struct{ Description string }

// UserChange is what an update changes. What is nil stays.
type UserChange struct {
	Description *string
	Disabled    *bool
	IfVersion   schema.Version // the change is made only if this is the present version; 0: whichever is
}

// userRecord is the record iu.
type userRecord struct {
	basics
	Disabled bool `json:"disabled,omitempty"`
}

func (r userRecord) user() (User, error) {
	name, err := storedName(r.Name)
	return User{name, r.Description, r.Disabled, r.Created, r.Author, r.Updated, r.Version}, err
}

// storedName parses a name from an opened record.
func storedName(text string) (schema.Name, error) {
	name, err := schema.ParseName(text)
	if err != nil {
		err = fault.New(fault.Integrity, "a stored record has a bad name")
	}
	return name, err
}

// Capabilities on users.
var (
	userCreate   = schema.Capability{Resource: schema.User, Verb: "create"}
	userUpdate   = schema.Capability{Resource: schema.User, Verb: "update"}
	userDescribe = schema.Capability{Resource: schema.User, Verb: "describe"}
	userList     = schema.Capability{Resource: schema.User, Verb: "list"}
	userDelete   = schema.Capability{Resource: schema.User, Verb: "delete"}
)

// CreateUser creates the user that the permit names. It needs user:create.
func (s *Identities) CreateUser(ctx context.Context, p permit.Permit, n NewUser) (User, error) {
	name, err := permittedName(p, userCreate)
	if err != nil {
		return User{}, err
	}
	if err := checkDescription(n.Description); err != nil {
		return User{}, err
	}
	return attempt(ctx, func() (User, error) {
		old, err := vacantName[userRecord](ctx, s.store, users, name)
		if err != nil {
			return User{}, err
		}
		record := userRecord{basics: newNamed(p, name, n.Description, old.record.Version)}
		b := batch{keys: s.store.keys}
		take(&b, p, users, record, old.rev)
		if err := s.commit(ctx, &b, p); err != nil {
			return User{}, fmt.Errorf("create user: %w", err)
		}
		return record.user()
	})
}

// UpdateUser changes the user that the permit names. Disabling stops all his
// tokens at once; enabling starts them again. It needs user:update.
func (s *Identities) UpdateUser(ctx context.Context, p permit.Permit, c UserChange) (User, error) {
	name, err := permittedName(p, userUpdate)
	if err != nil {
		return User{}, err
	}
	if c.Description != nil {
		err = checkDescription(*c.Description)
	}
	if err != nil {
		return User{}, err
	}
	return attempt(ctx, func() (User, error) {
		f, err := get[userRecord](ctx, s.store, users, name.String())
		if err == nil {
			err = checkVersion(c.IfVersion, f.record.Version)
		}
		if err != nil {
			return User{}, err
		}
		r := f.record
		r.Version, r.Updated = r.Version+1, stamp(p.Time())
		if c.Description != nil {
			r.Description = *c.Description
		}
		if c.Disabled != nil {
			r.Disabled = *c.Disabled
		}
		b := batch{keys: s.store.keys}
		put(&b, p, users, r, f.rev)
		if err := s.commit(ctx, &b, p); err != nil {
			return User{}, fmt.Errorf("update user: %w", err)
		}
		return r.user()
	})
}

// checkVersion is the compare of compare-and-set.
func checkVersion(want, present schema.Version) error {
	if want != 0 && want != present {
		return fault.Newf(fault.Conflict, "the present version is %d, not %d; read it and try again", present, want)
	}
	return nil
}

// DeleteUser deletes the user that the permit names and with him, for good, all
// his tokens: a user created later under the same name does not bring them back.
// It needs user:delete.
func (s *Identities) DeleteUser(ctx context.Context, p permit.Permit) error {
	name, err := permittedName(p, userDelete)
	if err != nil {
		return err
	}
	_, err = attempt(ctx, func() (struct{}, error) {
		f, err := get[userRecord](ctx, s.store, users, name.String())
		if err != nil {
			return struct{}{}, err
		}
		r := f.record
		r.Version, r.Updated, r.Deleted = r.Version+1, stamp(p.Time()), true
		b := batch{keys: s.store.keys}
		put(&b, p, users, r, f.rev)
		b.Delete = [][]byte{users.foldKey(s.store.keys, r.Name)}
		if err := s.commit(ctx, &b, p); err != nil {
			return struct{}{}, fmt.Errorf("delete user: %w", err)
		}
		return struct{}{}, nil
	})
	return err
}

// DescribeUser returns the user that the permit names. It needs user:describe.
func (s *Identities) DescribeUser(ctx context.Context, p permit.Permit) (User, error) {
	name, err := permittedName(p, userDescribe)
	if err != nil {
		return User{}, err
	}
	f, err := get[userRecord](ctx, s.store, users, name.String())
	if err != nil {
		return User{}, err
	}
	return f.record.user()
}

// UserHistory returns every state of the user that the permit names, newest
// first, also of users of that name who were deleted. It needs user:describe.
func (s *Identities) UserHistory(ctx context.Context, p permit.Permit) ([]Revised[User], error) {
	name, err := permittedName(p, userDescribe)
	if err != nil {
		return nil, err
	}
	id := users.id(s.store.keys, name.String())
	all, err := history(ctx, s.store, key(kindUserHistory, id), users.historyLabel(id), userRecord.user)
	if err == nil && len(all) == 0 {
		err = users.missing
	}
	return all, err
}

// NameQuery selects a page of users or roles, in name order.
type NameQuery struct {
	After schema.Name
	Limit int // 1 to MaxPage; 0 for DefaultPage
}

// UserItem is one visible user.
type UserItem struct {
	Name schema.Name
	User *User // nil unless the caller may describe the user
}

// UserPage is a page of visible users.
type UserPage struct {
	Items []UserItem
	More  bool
}

// ListUsers returns the users that the permit's filter shows. It needs user:list.
func (s *Identities) ListUsers(ctx context.Context, p permit.Permit, q NameQuery) (UserPage, error) {
	filter, ok := p.Filter(userList)
	if !ok {
		return UserPage{}, errNoPermit
	}
	records, more, err := listNames[userRecord](ctx, s.store, users, filter, q)
	if err != nil {
		return UserPage{}, err
	}
	page := UserPage{More: more}
	for _, r := range records {
		u, err := r.user()
		if err != nil {
			return UserPage{}, err
		}
		item := UserItem{Name: u.Name}
		if filter.Has("describe", u.Name.Path()) {
			item.User = &u
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}
