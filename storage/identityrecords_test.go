package storage_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/memory"
)

func TestHistories(t *testing.T) {
	w := newWorld(t, memory.New())
	s := w.store.Identities
	w.apply("p1", "1")
	w.user("u")
	w.role("r", "p1")
	w.now = w.now.Add(time.Hour)
	w.must(s.Detach(w.ctx, w.may("policy:attach", "p1"), w.may("role:update", "r")))
	w.must(s.DeleteRole(w.ctx, w.may("role:delete", "r")))
	w.role("r")
	roles, err := s.RoleHistory(w.ctx, w.may("role:describe", "r"))
	w.must(err)
	var line []string
	for _, r := range roles {
		line = append(line, fmt.Sprint(r.Version, r.Deleted, r.State.Policies))
	}
	if got := strings.Join(line, "; "); got != "4 false []; 3 true []; 2 false []; 1 false [p1]" {
		t.Fatalf("got %s", got)
	}
	if !slices.IsSortedFunc(roles, func(a, b storage.Revised[storage.Role]) int { return int(b.Revision) - int(a.Revision) }) || roles[3].Time != epoch || roles[3].Author != "alice" {
		t.Fatalf("got %+v", roles)
	}
	_, info := w.token("u", standalone("r"))
	_, err = s.RevokeToken(w.ctx, w.may("token:revoke", info.Path.String()))
	w.must(err)
	tokens, err := s.TokenHistory(w.ctx, w.may("token:describe", info.Path.String()))
	w.must(err)
	if len(tokens) != 2 || tokens[0].State.State != storage.TokenRevoked || tokens[1].State.State != storage.TokenActive || tokens[1].State.Roles[0] != name("r") {
		t.Fatalf("got %+v", tokens)
	}
	_, err = s.UpdateUser(w.ctx, w.may("user:update", "u"), storage.UserChange{Description: ptr("new"), IfVersion: 1})
	w.must(err)
	_, err = s.UpdateUser(w.ctx, w.may("user:update", "u"), storage.UserChange{Description: ptr("newer"), IfVersion: 1})
	w.want(err, fault.Conflict, "the present version is 2, not 1")
	users, err := s.UserHistory(w.ctx, w.may("user:describe", "u"))
	w.must(err)
	if len(users) != 2 || users[0].State.Description != "new" {
		t.Fatalf("got %+v", users)
	}
}

func TestNamesThatDifferByCase(t *testing.T) {
	w := newWorld(t, memory.New())
	w.user("Bob")
	_, err := w.store.Identities.CreateUser(w.ctx, w.may("user:create", "bob"), storage.NewUser{})
	w.want(err, fault.Conflict, "another user's name differs")
	_, err = w.store.Identities.CreateUser(w.ctx, w.may("user:create", "Bob"), storage.NewUser{})
	w.want(err, fault.Conflict, "exists already")
	w.must(w.store.Identities.DeleteUser(w.ctx, w.may("user:delete", "Bob")))
	w.user("bob")
	w.role("Ops")
	_, err = w.store.Identities.CreateRole(w.ctx, w.may("role:create", "ops"), storage.NewRole{})
	w.want(err, fault.Conflict, "another role's name differs")
	_, err = w.store.Identities.DescribeRole(w.ctx, w.may("role:describe", "ops"))
	w.want(err, fault.NotFound, "no role of this name")
	_, err = w.store.Identities.CreateUser(w.ctx, w.may("user:create", "a/b"), storage.NewUser{})
	w.want(err, fault.InvalidPath, "name")
}

func TestIdentityLists(t *testing.T) {
	w := newWorld(t, memory.New())
	s := w.store.Identities
	for _, n := range []string{"c", "a", "b"} {
		w.user(n)
		w.role(n)
		w.token(n, standalone())
		w.token(n, standalone())
	}
	w.must(s.DeleteUser(w.ctx, w.may("user:delete", "b")))
	users, err := s.ListUsers(w.ctx, w.mayList("user:list", everywhere()), storage.NameQuery{Limit: 1})
	w.must(err)
	if !users.More || users.Items[0].Name != name("a") || users.Items[0].User == nil {
		t.Fatalf("got %+v", users)
	}
	users, err = s.ListUsers(w.ctx, w.mayList("user:list", sight{prefixes: []string{"c"}}), storage.NameQuery{After: name("a")})
	w.must(err)
	if users.More || len(users.Items) != 1 || users.Items[0].User != nil {
		t.Fatalf("got %+v", users)
	}
	roles, err := s.ListRoles(w.ctx, w.mayList("role:list", everywhere()), storage.NameQuery{})
	w.must(err)
	if len(roles.Items) != 3 {
		t.Fatalf("got %+v", roles)
	}
	all, err := s.ListTokens(w.ctx, w.mayList("token:list", everywhere()), storage.TokenQuery{Limit: 5})
	w.must(err)
	if len(all.Items) != 5 || !all.More || !slices.IsSortedFunc(all.Items, func(a, b storage.TokenItem) int { return strings.Compare(a.Path.String(), b.Path.String()) }) {
		t.Fatalf("got %+v", all)
	}
	if all.Items[2].Info.State != storage.TokenRevoked || all.Items[0].Info.State != storage.TokenActive {
		t.Fatalf("got states %s and %s", all.Items[2].Info.State, all.Items[0].Info.State)
	}
	own, err := s.ListTokens(w.ctx, w.mayList("token:list", under("a/")), storage.TokenQuery{User: name("a")})
	w.must(err)
	if len(own.Items) != 2 {
		t.Fatalf("got %+v", own)
	}
	if none, err := s.ListTokens(w.ctx, w.mayList("token:list", under("c/")), storage.TokenQuery{User: name("a")}); err != nil || len(none.Items) != 0 {
		t.Fatalf("got %+v, %v", none, err)
	}
}

func TestTokenSweep(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.store.Identities
		w.user("u")
		token, info := w.token("u", storage.NewToken{Kind: storage.UserToken, TTL: time.Hour, MaxTTL: 24 * time.Hour, Standalone: true})
		renewed, renewedInfo := w.token("u", storage.NewToken{Kind: storage.UserToken, TTL: time.Hour, MaxTTL: 24 * time.Hour, Standalone: true})
		_, err := s.RenewToken(w.ctx, w.may("token:renew", renewedInfo.Path.String()), 10*time.Hour)
		w.must(err)
		w.now = w.now.Add(time.Hour)
		w.isNot(token, schema.TokenExpired)
		sweep := func() int {
			n, err := s.Sweep(w.ctx, w.system("token:delete", ""))
			w.must(err)
			return n
		}
		if n := sweep(); n != 0 {
			w.Fatalf("swept %d before their time", n)
		}
		w.now = w.now.Add(storage.TokenKeep)
		if n := sweep(); n != 1 {
			w.Fatalf("swept %d, want 1", n)
		}
		w.isNot(token, schema.Unauthenticated)
		w.isNot(renewed, schema.TokenExpired)
		if h, err := s.TokenHistory(w.ctx, w.may("token:describe", info.Path.String())); err != nil || len(h) != 1 {
			w.Fatalf("history is gone: %v", err)
		}
		w.now = w.now.Add(10 * time.Hour)
		if n := sweep(); n != 1 {
			w.Fatalf("swept %d, want the renewed one", n)
		}
		if n := sweep(); n != 0 {
			w.Fatalf("swept %d again", n)
		}
	})
}

func TestSwappedTokenRecordsAreRefused(t *testing.T) {
	for _, kind := range []string{"it", "ia", "iu"} {
		w := newWorld(t, memory.New())
		w.user("u")
		w.user("v")
		token, _ := w.token("u", standalone())
		w.token("v", standalone())
		items, err := w.kv.Scan(w.ctx, []byte(kind), nil, 10)
		w.must(err)
		for i := range items {
			_, err := w.kv.Commit(w.ctx, storage.Batch{Put: []storage.Put{{Key: items[i].Key, Value: items[1-i].Value}}})
			w.must(err)
		}
		_, err = w.store.Identities.Authenticate(w.ctx, []byte(token), w.now, netip.Addr{})
		w.want(err, fault.Integrity, "")
	}
}

// FuzzAuthenticate feeds anything as a token: it must be refused, never answered
// with an error of another kind.
func FuzzAuthenticate(f *testing.F) {
	w := newWorld(f, memory.New())
	good := w.bootstrap()
	f.Add([]byte(good[:53]))
	f.Add([]byte("ht_s_" + strings.Repeat("0", 49)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, token []byte) {
		if string(token) == good {
			return
		}
		_, err := w.store.Identities.Authenticate(w.ctx, token, w.now, netip.Addr{})
		if !errors.Is(err, fault.Unauthenticated) {
			t.Fatalf("got %v", err)
		}
	})
}
