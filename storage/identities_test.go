package storage_test

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/memory"
)

func text(v secret.Value) (s string) {
	v.Expose(func(b []byte) { s = string(b) })
	return s
}

func (w *world) bootstrap() string {
	w.Helper()
	bearer, _, err := w.store.Identities.Bootstrap(w.ctx, w.system("token:create", storage.BootstrapUser))
	w.must(err)
	return text(bearer)
}

func (w *world) user(n string) {
	w.Helper()
	_, err := w.store.Identities.CreateUser(w.ctx, w.may("user:create", n), storage.NewUser{})
	w.must(err)
}

func (w *world) role(n string, policies ...string) {
	w.Helper()
	var names []schema.Name
	for _, p := range policies {
		names = append(names, name(p))
	}
	_, err := w.store.Identities.CreateRole(w.ctx, w.may("role:create", n), storage.NewRole{Policies: names})
	w.must(err)
}

// token makes a token for a user.
func (w *world) token(user string, n storage.NewToken) (string, storage.TokenInfo) {
	w.Helper()
	bearer, info, err := w.store.Identities.CreateToken(w.ctx, w.may("token:create", user), n)
	w.must(err)
	return text(bearer), info
}

// standalone is a user's token with roles.
func standalone(roles ...string) storage.NewToken {
	n := storage.NewToken{Kind: storage.UserToken, TTL: time.Hour, Standalone: true}
	for _, r := range roles {
		n.Roles = append(n.Roles, name(r))
	}
	return n
}

// is checks what a token stands for: is(token, "alice", "roles", "policies").
func (w *world) is(token, user, roles, policies string) schema.Principal {
	w.Helper()
	p, err := w.store.Identities.Authenticate(w.ctx, []byte(token), w.now, netip.Addr{})
	w.must(err)
	if p.Kind != schema.KindUser || p.User != user || strings.Join(p.Roles, " ") != roles || strings.Join(p.Policies, " ") != policies {
		w.Fatalf("got %+v, want user %s, roles %q, policies %q", p, user, roles, policies)
	}
	return p
}

// isNot checks why a token is refused.
func (w *world) isNot(token string, reason schema.Reason) *storage.AuthError {
	w.Helper()
	return w.isNotFrom(token, netip.Addr{}, reason)
}

func (w *world) isNotFrom(token string, source netip.Addr, reason schema.Reason) *storage.AuthError {
	w.Helper()
	p, err := w.store.Identities.Authenticate(w.ctx, []byte(token), w.now, source)
	var refused *storage.AuthError
	if !errors.As(err, &refused) || refused.Reason != reason || p.Kind != "" {
		w.Fatalf("got %+v, %v; want refusal %s", p, err, reason)
	}
	return refused
}

func TestBootstrap(t *testing.T) {
	onBoth(t, func(w *world) {
		token := w.bootstrap()
		p := w.is(token, "admin", "admin", "admin")
		_, _, err := w.store.Identities.Bootstrap(w.ctx, w.system("token:create", "admin"))
		w.want(err, fault.Conflict, "bootstrapped already")
		_, _, err = w.store.Identities.Bootstrap(w.ctx, w.may("token:create", "admin"))
		w.want(err, fault.Denied, "")
		for _, n := range []string{"admin", "operator", "deployer", "viewer"} {
			r, err := w.store.Identities.DescribeRole(w.ctx, w.may("role:describe", n))
			w.must(err)
			if !r.Builtin || len(r.Policies) != 1 || r.Policies[0] != name(n) {
				w.Fatalf("role %s: %+v", n, r)
			}
			w.want(w.store.Identities.DeleteRole(w.ctx, w.may("role:delete", n)), fault.FailedCheck, "comes with the server")
		}
		w.now = w.now.Add(24*time.Hour - time.Microsecond)
		w.is(token, "admin", "admin", "admin")
		_, err = w.store.Identities.RenewToken(w.ctx, w.may("token:renew", "admin/"+p.Token), 48*time.Hour)
		w.must(err) // to no effect: its limit is its end
		w.now = w.now.Add(time.Microsecond)
		w.isNot(token, schema.TokenExpired)

		w.must(w.store.Identities.DeleteUser(w.ctx, w.may("user:delete", "admin")))
		bearer, info, err := w.store.Identities.AdminToken(w.ctx, w.system("token:create", "admin/"+storage.NewAccessor()))
		w.must(err)
		w.is(text(bearer), "admin", "admin", "admin")
		if info.Kind != storage.BootstrapToken || !info.Expires.Equal(w.now.Add(24*time.Hour)) {
			w.Fatalf("got %+v", info)
		}
		w.isNot(token, schema.TokenRevoked)
	})
}

func TestMalformedTokens(t *testing.T) {
	w := newWorld(t, memory.New())
	good := w.bootstrap()
	if !regexp.MustCompile("^" + storage.TokenPattern + "$").MatchString(good) {
		t.Fatal("the token does not match its published pattern")
	}
	flip := func(i int) string {
		b := []byte(good)
		if b[i]++; b[i] > 'z' || b[i] == '9'+1 || b[i] == 'Z'+1 {
			b[i] = '0'
		}
		return string(b)
	}
	bad := []string{"", good[:len(good)-1], good + "0", good[:27], strings.ToUpper(good), good + "\n", good + " ", good + "\x00", " " + good,
		"ht_u" + good[4:], "ht_x" + good[4:], "HT_b" + good[4:], strings.Replace(good, "ht_", "ht-", 1), strings.Repeat("a", 1<<16)}
	for i := range good {
		bad = append(bad, flip(i))
	}
	// With no store to look into, every malformed token is still refused as such.
	w.must(w.kv.Close())
	for i, token := range bad {
		if e := w.isNot(token, schema.Unauthenticated); e.User != "" || !errors.Is(e, fault.Unauthenticated) {
			t.Errorf("token %d: %+v", i, e)
		}
	}
}

func TestTokenLifetimes(t *testing.T) {
	w := newWorld(t, memory.New())
	w.user("u")
	create := func(ttl, limit time.Duration) error {
		_, _, err := w.store.Identities.CreateToken(w.ctx, w.may("token:create", "u"),
			storage.NewToken{Kind: storage.ServiceToken, TTL: ttl, MaxTTL: limit, Standalone: true})
		return err
	}
	for _, bad := range []time.Duration{0, -1, time.Millisecond, storage.MaxTokenTTL + 1, 1<<63 - 1, -1 << 63} {
		w.want(create(bad, 0), fault.InvalidArgument, "time to live")
		if bad != 0 {
			w.want(create(time.Hour, bad), fault.InvalidArgument, "time to live")
		}
	}
	w.want(create(2*time.Hour, time.Hour), fault.InvalidArgument, "at most 1h0m0s")
	w.must(create(storage.MaxTokenTTL, 0))

	token, info := w.token("u", storage.NewToken{Kind: storage.ServiceToken, TTL: time.Hour, MaxTTL: 150 * time.Minute, Standalone: true})
	path := info.Path.String()
	renew := func(ttl time.Duration) time.Time {
		w.Helper()
		info, err := w.store.Identities.RenewToken(w.ctx, w.may("token:renew", path), ttl)
		w.must(err)
		return info.Expires
	}
	w.now = epoch.Add(time.Hour - time.Microsecond)
	if got := renew(0); !got.Equal(w.now.Add(time.Hour)) {
		t.Fatalf("renewed to %s", got)
	}
	if got := renew(time.Minute); !got.Equal(w.now.Add(time.Hour)) {
		t.Fatalf("a shorter renewal moved the end to %s", got)
	}
	w.now = epoch.Add(time.Hour)
	w.is(token, "u", "", "")
	if got := renew(storage.MaxTokenTTL); !got.Equal(epoch.Add(150 * time.Minute)) {
		t.Fatalf("renewed past its limit to %s", got)
	}
	w.now = epoch.Add(150*time.Minute - time.Microsecond)
	w.is(token, "u", "", "")
	w.now = epoch.Add(150 * time.Minute)
	if e := w.isNot(token, schema.TokenExpired); e.User != "u" || e.Token != info.Accessor {
		t.Fatalf("got %+v", e)
	}
	_, err := w.store.Identities.RenewToken(w.ctx, w.may("token:renew", path), 0)
	w.want(err, fault.FailedCheck, "expired")
	_, err = w.store.Identities.RenewToken(w.ctx, w.may("token:renew", path), -1)
	w.want(err, fault.InvalidArgument, "renewed")
}

func TestTokenNetworks(t *testing.T) {
	w := newWorld(t, memory.New())
	w.user("u")
	n := standalone()
	n.CIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	token, _ := w.token("u", n)
	for range 2 { // the second time from the cache
		for _, good := range []string{"10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"} {
			_, err := w.store.Identities.Authenticate(w.ctx, []byte(token), w.now, netip.MustParseAddr(good))
			w.must(err)
		}
		for _, bad := range []netip.Addr{netip.MustParseAddr("11.0.0.1"), netip.MustParseAddr("2001:db9::1"), {}} {
			if e := w.isNotFrom(token, bad, schema.ConditionFailed); !errors.Is(e, fault.Denied) || e.User != "u" {
				t.Fatalf("got %+v", e)
			}
		}
	}
	n.CIDRs = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/8")}
	_, _, err := w.store.Identities.CreateToken(w.ctx, w.may("token:create", "u"), n)
	w.want(err, fault.InvalidArgument, "first address")
}

func TestPrincipalFollowsEveryChange(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.store.Identities
		for _, p := range []string{"p1", "p2", "p3"} {
			w.apply(p, p)
		}
		w.user("u")
		w.role("r1", "p1")
		w.role("r2", "p2", "p1")
		n := standalone("r2", "r1")
		n.Policies = []schema.Name{name("p1")}
		token, info := w.token("u", n)
		tokenPath := info.Path.String()
		w.is(token, "u", "r1 r2", "p1 p2")
		w.must(s.Attach(w.ctx, w.may("policy:attach", "p3"), w.may("role:update", "r1")))
		w.is(token, "u", "r1 r2", "p1 p2 p3")
		w.must(s.Attach(w.ctx, w.may("policy:attach", "p3"), w.may("role:update", "r1")))
		w.must(s.Detach(w.ctx, w.may("policy:attach", "p3"), w.may("role:update", "r1")))
		w.is(token, "u", "r1 r2", "p1 p2")
		w.want(s.Detach(w.ctx, w.may("policy:attach", "p3"), w.may("role:update", "r1")), fault.NotFound, "not attached")
		w.want(s.Attach(w.ctx, w.may("policy:attach", "nope"), w.may("role:update", "r1")), fault.NotFound, "no policy")
		w.want(s.Attach(w.ctx, w.may("policy:attach", "p3"), w.may("role:describe", "r1")), fault.Denied, "")
		w.must(s.Attach(w.ctx, w.may("policy:attach", "p3"), w.may("token:update", tokenPath)))
		w.is(token, "u", "r1 r2", "p1 p2 p3")
		w.must(s.Detach(w.ctx, w.may("policy:attach", "p1"), w.may("token:update", tokenPath)))
		w.is(token, "u", "r1 r2", "p1 p2 p3")

		w.must(s.DeleteRole(w.ctx, w.may("role:delete", "r2")))
		w.is(token, "u", "r1", "p1 p3")
		w.role("r2", "p2")
		w.is(token, "u", "r1", "p1 p3") // the new role of that name is another

		_, err := s.UpdateUser(w.ctx, w.may("user:update", "u"), storage.UserChange{Disabled: ptr(true)})
		w.must(err)
		if e := w.isNot(token, schema.TokenRevoked); e.User != "u" || e.Token != info.Accessor {
			w.Fatalf("got %+v", e)
		}
		_, _, err = s.CreateToken(w.ctx, w.may("token:create", "u"), standalone())
		w.want(err, fault.FailedCheck, "disabled")
		_, err = s.UpdateUser(w.ctx, w.may("user:update", "u"), storage.UserChange{Disabled: ptr(false)})
		w.must(err)
		w.is(token, "u", "r1", "p1 p3")

		w.must(s.DeleteUser(w.ctx, w.may("user:delete", "u")))
		w.isNot(token, schema.TokenRevoked)
		w.user("u")
		w.isNot(token, schema.TokenRevoked)
		if d, err := s.DescribeToken(w.ctx, w.may("token:describe", tokenPath)); err != nil || d.State != storage.TokenRevoked {
			w.Fatalf("got %+v, %v", d, err)
		}
		fresh, _ := w.token("u", standalone("r1"))
		w.is(fresh, "u", "r1", "p1")
		w.must(s.RevokeAll(w.ctx, w.may("cluster:rekey", "cluster")))
		w.isNot(fresh, schema.TokenRevoked)
		later, _ := w.token("u", standalone("r1"))
		w.is(later, "u", "r1", "p1")
	})
}

// TestChildren makes tokens with tokens.
func TestChildren(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.store.Identities
		for _, p := range []string{"p1", "p2", "p3"} {
			w.apply(p, p)
		}
		w.user("u")
		w.user("v")
		w.role("r1", "p1")
		w.role("r2", "p2")
		n := standalone("r1")
		n.Policies = []schema.Name{name("p3")}
		n.CIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		token, top := w.token("u", n)
		from := netip.MustParseAddr("10.1.1.1")
		var err error
		w.who, err = s.Authenticate(w.ctx, []byte(token), w.now, from)
		w.must(err)

		child := storage.NewToken{Kind: storage.ServiceToken, TTL: 30 * time.Minute, Roles: []schema.Name{name("r1")}, Policies: []schema.Name{name("p1")}}
		refuse := func(user string, detail string, change func(*storage.NewToken)) {
			w.Helper()
			c := child
			change(&c)
			_, _, err := s.CreateToken(w.ctx, w.may("token:create", user), c)
			w.want(err, fault.Denied, detail)
		}
		refuse("u", "role that its creator's", func(c *storage.NewToken) { c.Roles = []schema.Name{name("r2")} })
		refuse("u", "policy that its creator's", func(c *storage.NewToken) { c.Policies = []schema.Name{name("p2")} })
		refuse("u", "outlive", func(c *storage.NewToken) { c.TTL = time.Hour + time.Second })
		refuse("u", "networks", func(c *storage.NewToken) { c.CIDRs = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} })
		refuse("v", "another user", func(*storage.NewToken) {})
		refuse("u", "", func(c *storage.NewToken) { c.Kind = storage.BootstrapToken })

		long := child
		long.TTL, long.Shorten = 24*time.Hour, true
		if _, info := w.token("u", long); !info.Expires.Equal(top.Expires) {
			w.Fatalf("a child to be shortened ends at %s, want its parent's %s", info.Expires, top.Expires)
		}
		bearer, info := w.token("u", child)
		if info.Parent != top.Accessor || len(info.CIDRs) != 1 {
			w.Fatalf("got %+v", info)
		}
		p, err := s.Authenticate(w.ctx, []byte(bearer), w.now, from)
		w.must(err)
		if strings.Join(p.Policies, " ") != "p1" || p.Token != info.Accessor {
			w.Fatalf("got %+v", p)
		}
		w.isNotFrom(bearer, netip.MustParseAddr("11.1.1.1"), schema.ConditionFailed)

		w.now = w.now.Add(20 * time.Minute)
		renewed, err := s.RenewToken(w.ctx, w.may("token:renew", info.Path.String()), 10*time.Hour)
		w.must(err)
		if !renewed.Expires.Equal(top.Expires) {
			w.Fatalf("a child was renewed to %s, beyond its parent's %s", renewed.Expires, top.Expires)
		}

		w.who = p
		grandchild, _ := w.token("u", child)
		w.who = schema.Principal{Kind: schema.KindUser, User: "root"}
		w.must(s.Attach(w.ctx, w.may("policy:attach", "p2"), w.may("token:update", info.Path.String())))
		p, err = s.Authenticate(w.ctx, []byte(bearer), w.now, from)
		w.must(err)
		if strings.Join(p.Policies, " ") != "p1" {
			w.Fatalf("a child holds %q, which its parent does not", p.Policies)
		}
		count, err := s.RevokeToken(w.ctx, w.may("token:revoke", top.Path.String()))
		w.must(err)
		if count != 4 {
			w.Fatalf("revoked %d, want 4", count)
		}
		for _, dead := range []string{token, bearer, grandchild} {
			w.isNotFrom(dead, from, schema.TokenRevoked)
		}
		if count, err := s.RevokeToken(w.ctx, w.may("token:revoke", top.Path.String())); count != 0 || err != nil {
			w.Fatalf("revoked again: %d, %v", count, err)
		}
		_, err = s.RenewToken(w.ctx, w.may("token:renew", info.Path.String()), 0)
		w.want(err, fault.FailedCheck, "revoked")
	})
}

func TestLineageIsBounded(t *testing.T) {
	w := newWorld(t, memory.New())
	w.user("u")
	token, _ := w.token("u", standalone())
	for depth := 1; ; depth++ {
		w.who = w.is(token, "u", "", "")
		bearer, _, err := w.store.Identities.CreateToken(w.ctx, w.may("token:create", "u"), storage.NewToken{Kind: storage.UserToken, TTL: time.Minute})
		if err != nil {
			w.want(err, fault.FailedCheck, "deep")
			if depth != 8 {
				t.Fatalf("refused at depth %d, want 8", depth)
			}
			return
		}
		token = text(bearer)
	}
}

// TestRevocationHoldsAtOnce authenticates in parallel while tokens are revoked:
// after the acknowledgement no call may succeed.
func TestRevocationHoldsAtOnce(t *testing.T) {
	w := newWorld(t, memory.New())
	w.user("u")
	for range 50 {
		token, info := w.token("u", standalone())
		acknowledged := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					late := false
					select {
					case <-acknowledged:
						late = true
					default:
					}
					_, err := w.store.Identities.Authenticate(w.ctx, []byte(token), w.now, netip.Addr{})
					if late {
						if err == nil {
							t.Error("a revoked token was accepted")
						}
						return
					}
				}
			})
		}
		_, err := w.store.Identities.RevokeToken(w.ctx, w.may("token:revoke", info.Path.String()))
		close(acknowledged)
		wg.Wait()
		w.must(err)
	}
}

// TestOthersRevocation revokes through a second store, as another gateway would.
func TestOthersRevocation(t *testing.T) {
	w := newWorld(t, memory.New())
	w.user("u")
	token, info := w.token("u", standalone())
	w.is(token, "u", "", "")
	w.is(token, "u", "", "")
	other, err := storage.Open(w.ctx, w.kv, w.root)
	w.must(err)
	defer other.Close()
	_, err = other.Identities.RevokeToken(w.ctx, w.may("token:revoke", info.Path.String()))
	w.must(err)
	for range 100 {
		if _, err := w.store.Identities.Authenticate(w.ctx, []byte(token), w.now, netip.Addr{}); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the other's revocation never arrived")
}
