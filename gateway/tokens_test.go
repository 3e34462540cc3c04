package gateway_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/gateway"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/storage"
)

// clock is a server clock that stands still until it is moved.
type clock struct{ now atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.now.Store(time.Now().Add(time.Second).Truncate(time.Second).UnixNano())
	return c
}

func (c *clock) Now() time.Time             { return time.Unix(0, c.now.Load()).UTC() }
func (c *clock) move(d time.Duration)       { c.now.Add(int64(d)) }
func (c *clock) use(g *gateway.Config)      { g.Now = c.Now }
func (k *kit) whoami(token string) int      { return k.ask(token, http.MethodGet, "/v1/whoami", "").status }
func bodyOf(format string, a ...any) string { return fmt.Sprintf(format, a...) }

// create makes a token with the JSON body as the caller, and returns the answer.
func (k *kit) create(token, body string) answer {
	k.tb.Helper()
	return k.ask(token, http.MethodPost, "/v1/tokens", body)
}

// made takes the token out of an answer.
func (a answer) made(k *kit) (token, path string) {
	k.tb.Helper()
	if a.status != http.StatusOK {
		k.tb.Fatalf("the token was not made: %d %s", a.status, a.body)
	}
	field := func(name string) string {
		_, rest, _ := strings.Cut(a.body, `"`+name+`":`)
		value, _, _ := strings.Cut(strings.TrimLeft(rest, ` "`), `"`)
		return value
	}
	return field("token"), field("path")
}

// madeUp returns a token of the right form that nobody was given.
func madeUp() string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	text := []byte("ht_s_")
	for range 43 {
		n, _ := rand.Int(rand.Reader, big.NewInt(62))
		text = append(text, digits[n.Int64()])
	}
	sum := new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE(text)))
	tail := make([]byte, 6)
	for i := 5; i >= 0; i-- {
		digit := new(big.Int)
		sum.DivMod(sum, big.NewInt(62), digit)
		tail[i] = digits[digit.Int64()]
	}
	return string(text) + string(tail)
}

// TestWrongTokensLookTheSame holds that every token that is none gets the same
// answer, and so do one that has expired and one that was revoked (N45).
func TestWrongTokensLookTheSame(t *testing.T) {
	c := newClock()
	k := newKit(t, kitOptions{durability: audit.Kernel, change: c.use})
	good, path := k.create(k.admin, `{"roles":["viewer"],"ttl":"60s"}`).made(k)
	revoked, revokedPath := k.create(k.admin, `{"roles":["viewer"]}`).made(k)
	k.ask(k.admin, http.MethodPost, "/v1/tokens/"+revokedPath+":revoke", "").want(t, "revoke", http.StatusOK)
	expired, _ := k.create(k.admin, `{"roles":["viewer"],"ttl":"1s"}`).made(k)
	c.move(time.Second)
	if k.whoami(good) != http.StatusOK {
		t.Fatal("the good token does not work")
	}
	_, accessor, _ := strings.Cut(path, "/")
	wrong := map[string]string{
		"minus one": good[:len(good)-1], "plus one": good + "0", "first half": good[:len(good)/2], "upper case": strings.ToUpper(good), "lower case": strings.ToLower(good),
		"space inside": good[:20] + " " + good[21:], "bad checksum": good[:len(good)-1] + string(good[len(good)-1]^1), "other kind": "ht_u_" + good[5:], "no kind": "ht__" + good[5:],
		"twice": good + good, "the accessor": accessor, "the path": path, "a star": "*", "none": "x", "made up": madeUp(), "made up too": madeUp(),
		"expired": expired, "revoked": revoked, "long": strings.Repeat("a", 8000), "JSON": `{"token":"` + good + `"}`, "comma": good + ",", "semicolon": good + ";",
	}
	want := ""
	for name, token := range wrong {
		c.move(time.Second) // keeps the bound on strangers away
		got := k.ask(token, http.MethodGet, "/v1/whoami", "")
		got.want(t, name, http.StatusUnauthorized)
		if want == "" {
			want = bare(got)
		}
		if bare(got) != want {
			t.Errorf("%s: %s, others get %s", name, bare(got), want)
		}
		p := problemFrom(k.conn().Invoke(as(token), v1.Access_WhoAmI_FullMethodName, &v1.WhoAmIRequest{}, &v1.WhoAmIResponse{}))
		if p.GetKind() != "unauthenticated" || p.GetReason() != "unauthenticated" || p.GetDecisionId() != "" {
			t.Errorf("%s over gRPC: %v", name, p)
		}
	}
	for _, tail := range []string{"\n", "\x00", "\r\nX-A: b"} { // a header cannot carry these: the transport refuses
		answers, _ := k.exchange("GET /v1/whoami HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Heroctl-Token: " + good + tail + "x\r\n\r\n")
		if len(answers) == 1 && answers[0].status == http.StatusOK && tail != "\r\nX-A: b" {
			t.Errorf("a token with %q after it works", tail)
		}
	}
	reasons := map[string]int{}
	for _, row := range k.everything() {
		reasons[string(row.Record.Result.Reason)]++
	}
	if reasons["token_expired"] == 0 || reasons["token_revoked"] == 0 || reasons["unauthenticated"] == 0 {
		t.Errorf("the records do not tell the reasons apart: %v", reasons)
	}
}

// TestExpiryIsExact holds that a token lives up to the instant it expires, by the
// server's clock, and that no time to live means for ever (N47).
func TestExpiryIsExact(t *testing.T) {
	c := newClock()
	k := newKit(t, kitOptions{durability: audit.Kernel, change: c.use})
	token, _ := k.create(k.admin, `{"roles":["admin"],"ttl":"3600s"}`).made(k)
	c.move(time.Hour - time.Microsecond)
	if got := k.whoami(token); got != http.StatusOK {
		t.Errorf("1µs before: %d", got)
	}
	c.move(time.Microsecond)
	if got := k.whoami(token); got != http.StatusUnauthorized {
		t.Errorf("at the instant: %d", got)
	}
	c.move(-time.Microsecond)

	// Renewed at the last moment, it lives on from then, and still ends.
	k.ask(token, http.MethodPost, "/v1/whoami:renew", `{"ttl":"3600s"}`).want(t, "renew", http.StatusOK)
	c.move(time.Hour - time.Microsecond)
	if got := k.whoami(token); got != http.StatusOK {
		t.Errorf("renewed, 1µs before its new end: %d", got)
	}
	c.move(time.Microsecond)
	if got := k.whoami(token); got != http.StatusUnauthorized {
		t.Errorf("renewed, at its new end: %d", got)
	}
	k.ask(token, http.MethodPost, "/v1/whoami:renew", `{}`).want(t, "renew when it is over", http.StatusUnauthorized)

	// Renewal ends at the limit, a year from creation.
	c.move(24 * time.Hour)
	admin := k.fresh()
	token, _ = k.create(admin, `{"roles":["admin"],"ttl":"31536000s"}`).made(k)
	start := c.Now()
	for range 5 {
		c.move(100 * 24 * time.Hour)
		k.ask(token, http.MethodPost, "/v1/whoami:renew", `{"ttl":"31536000s"}`)
	}
	if c.Now().Before(start.Add(365*24*time.Hour)) || k.whoami(token) != http.StatusUnauthorized {
		t.Error("renewals carry a token beyond a year")
	}
	admin = k.fresh()
	for _, ttl := range []string{"0s", "-1s", "31536001s", "9223372036s", "9223372036854775807s", "-9223372036854775808s", "315576000000s", "0.0000001s", "1e9s", "NaN", "Infinity"} {
		k.create(admin, bodyOf(`{"roles":["viewer"],"ttl":%q}`, ttl)).want(t, "ttl "+ttl, http.StatusBadRequest)
		k.ask(admin, http.MethodPost, "/v1/whoami:renew", bodyOf(`{"ttl":%q}`, ttl)).want(t, "renewal of "+ttl, http.StatusBadRequest, http.StatusOK)
	}
	if _, err := k.over("grpc", admin).Access().CreateToken(context.Background(), &v1.CreateTokenRequest{Roles: []string{"viewer"}, Ttl: &durationpb.Duration{Seconds: 1, Nanos: -1}}); !errors.Is(err, fault.InvalidArgument) {
		t.Errorf("a malformed duration: %v", err)
	}
	c.move(400 * 24 * time.Hour)
	if got := k.whoami(admin); got != http.StatusUnauthorized {
		t.Errorf("a token that was renewed by odd times after 400 days: %d", got)
	}
}

// fresh makes another admin token, when the clock has left the first behind.
func (k *kit) fresh() (bearer string) {
	k.tb.Helper()
	create := schema.Capability{Resource: schema.Token, Verb: "create"}
	path := schema.MustPath(storage.BootstrapUser + "/" + storage.NewAccessor())
	k.must(k.gateway.System(context.Background(), "bootstrap", create, path, func(ctx context.Context, p permit.Permit) error {
		token, _, err := k.store.Identities.AdminToken(ctx, p)
		token.Expose(func(b []byte) { bearer = string(b) })
		return err
	}))
	return bearer
}

// TestNetworksOfATokens holds that a bound token works from its networks alone,
// and that only a trusted proxy says where a caller is (N35).
func TestNetworksOfATokens(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	away, _ := k.create(k.admin, `{"roles":["viewer"],"cidrs":["10.0.0.0/8"]}`).made(k)
	home, _ := k.create(k.admin, `{"roles":["viewer"],"cidrs":["127.0.0.0/8"]}`).made(k)
	for _, headers := range [][]string{
		nil, {"X-Forwarded-For", "10.0.0.1"}, {"X-Forwarded-For", "10.0.0.1, 10.0.0.2"}, {"X-Forwarded-For", "127.0.0.1", "X-Forwarded-For", "10.0.0.1"},
		{"Forwarded", "for=10.0.0.1"}, {"X-Real-Ip", "10.0.0.1"}, {"True-Client-Ip", "10.0.0.1"}, {"Cf-Connecting-Ip", "10.0.0.1"},
	} {
		k.ask(away, http.MethodGet, "/v1/whoami", "", headers...).want(t, fmt.Sprint("from elsewhere ", headers), http.StatusForbidden)
		k.ask(home, http.MethodGet, "/v1/whoami", "", headers...).want(t, fmt.Sprint("from home ", headers), http.StatusOK)
	}
	k.ask(away, http.MethodGet, "/v1/whoami", "", "X-Forwarded-For", "10.0.0.1")
	if s := k.records(1)[0].Source; s.Client.String() != "127.0.0.1" || s.Forwarded != "10.0.0.1" || !strings.HasPrefix(s.Peer, "127.0.0.1:") {
		t.Errorf("the record has client %s, claim %q, peer %s", s.Client, s.Forwarded, s.Peer)
	}

	k = newKit(t, kitOptions{durability: audit.Kernel, change: func(c *gateway.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")}
	}})
	away, _ = k.create(k.admin, `{"roles":["viewer"],"cidrs":["10.0.0.0/8"]}`).made(k)
	home, _ = k.create(k.admin, `{"roles":["viewer"],"cidrs":["127.0.0.0/8"]}`).made(k)
	for _, row := range []struct {
		forwarded string
		client    string
		away      int
	}{
		{"10.0.0.1", "10.0.0.1", 200}, {"10.0.0.1, 192.0.2.7", "10.0.0.1", 200}, {"1.2.3.4, 10.0.0.1", "10.0.0.1", 200}, {"::ffff:10.0.0.1", "10.0.0.1", 200},
		{"10.0.0.1, 1.2.3.4", "1.2.3.4", 403}, {"10.0.0.1, 1.2.3.4, 192.0.2.7", "1.2.3.4", 403}, {"", "127.0.0.1", 403}, {"127.0.0.1", "127.0.0.1", 403},
		{"10.0.0.1, junk", "invalid IP", 403}, {"junk", "invalid IP", 403}, {"10.0.0.1:1234", "invalid IP", 403}, {"10.0.0.1,", "invalid IP", 403}, {"10.0.0.1/8", "invalid IP", 403}, {"0x0a.0.0.1", "invalid IP", 403}, {"10.1", "invalid IP", 403}, {"010.0.0.1", "invalid IP", 403},
	} {
		k.ask(away, http.MethodGet, "/v1/whoami", "", "X-Forwarded-For", row.forwarded).want(t, "away as "+row.forwarded, row.away)
		if got := k.records(1)[0].Source.Client.String(); got != row.client {
			t.Errorf("%q: client %s, want %s", row.forwarded, got, row.client)
		}
	}
	// An address that cannot be read is not the proxy's own.
	k.ask(home, http.MethodGet, "/v1/whoami", "", "X-Forwarded-For", "junk").want(t, "home as junk", http.StatusForbidden)
	for _, cidr := range []string{"10.0.0.0", "10.0.0.0/33", "10.0.0.1-10.0.0.2", "*", "", "10.0.0.0/8 ", "localhost/8"} {
		k.create(k.admin, bodyOf(`{"roles":["viewer"],"cidrs":[%q]}`, cidr)).want(t, "cidr "+cidr, http.StatusBadRequest)
	}
}

// TestGuessingIsBoundedAndLocksNobodyOut sends a thousand wrong tokens: most are
// refused unread, few are recorded one by one, all are counted, and a valid token
// from the same address works throughout (N53).
func TestGuessingIsBoundedAndLocksNobodyOut(t *testing.T) {
	c := newClock()
	k := newKit(t, kitOptions{durability: audit.Kernel, change: func(g *gateway.Config) {
		c.use(g)
		g.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	}})
	token := k.user("ann", nil, "")
	before := len(k.everything())
	statuses := map[int]int{}
	const guesses, strangerTail = 1000, 6 // five are answered by then
	for i := range guesses {
		guess := madeUp()
		if i%2 == 0 {
			guess = "junk"
		}
		statuses[k.ask(guess, http.MethodGet, "/v1/secrets/prod/x", "", "X-Forwarded-For", "198.51.100.1").status]++
		if i%100 == 0 {
			c.move(500 * time.Millisecond)
			for _, from := range []string{"198.51.100.1", "198.51.100.2"} {
				k.ask(token, http.MethodGet, "/v1/whoami", "", "X-Forwarded-For", from).want(t, "a valid token from "+from, http.StatusOK)
			}
		}
	}
	if statuses[401]+statuses[429] != guesses || statuses[401] > 60 {
		t.Errorf("statuses %v", statuses)
	}
	c.move(time.Second)
	for range strangerTail { // the next refusal after a second counts those before
		k.ask("junk", http.MethodGet, "/v1/whoami", "", "X-Forwarded-For", "198.51.100.1")
	}
	k.ask("junk", http.MethodGet, "/v1/whoami", "", "X-Forwarded-For", "198.51.100.2").want(t, "a stranger from elsewhere", http.StatusUnauthorized)
	single, counting, counted := 0, 0, 0
	for _, row := range k.everything()[before:] {
		switch row.Record.Result.Reason {
		case "unauthenticated":
			single++
		case "rate_limited":
			counting++
			counted += row.Came().Count
		}
	}
	if single > 70 || counting == 0 || counting > 12 || counted != statuses[429]+1 {
		t.Errorf("%d recorded singly, %d counting records for %d of %d refusals", single, counting, counted, statuses[429])
	}
	// A network of IPv6 addresses is one address.
	statuses = map[int]int{}
	for i := range 100 {
		statuses[k.ask("junk", http.MethodGet, "/v1/whoami", "", "X-Forwarded-For", fmt.Sprintf("2001:db8::%x", i+1)).status]++
	}
	if statuses[401] > 25 {
		t.Errorf("a network of 64 bits: %v", statuses)
	}
}

// TestTheRateIsCountedOnRecord holds that requests over the configured rate are
// refused before they are read, over both protocols, and that records count them
// (N87).
func TestTheRateIsCountedOnRecord(t *testing.T) {
	c := newClock()
	k := newKit(t, kitOptions{durability: audit.Kernel, change: func(g *gateway.Config) {
		c.use(g)
		g.RequestsPerSecond = 50
	}})
	c.move(time.Minute)
	statuses := map[int]int{}
	for range 200 {
		statuses[k.ask(k.admin, http.MethodPut, "/v1/secrets/prod/x", "not JSON").status]++
	}
	if statuses[400] != 101 || statuses[429] != 99 {
		t.Errorf("REST: %v", statuses)
	}
	conn := k.conn()
	for _, method := range []string{v1.Access_WhoAmI_FullMethodName, "/heroctl.v1.None/None", v1.Health_Live_FullMethodName, "/grpc.health.v1.Health/Check"} {
		if p := problemFrom(conn.Invoke(as(k.admin), method, &v1.WhoAmIRequest{}, &v1.WhoAmIResponse{})); p.GetKind() != "rate_limited" {
			t.Errorf("gRPC %s: %v", method, p)
		}
	}
	c.move(time.Second)
	for range 60 {
		k.whoami(k.admin)
	}
	counting, counted := 0, 0
	for _, row := range k.everything() {
		if row.Record.Result.Reason == "rate_limited" {
			counting++
			counted += row.Came().Count
		}
	}
	if counting != 2 || counted < 99 {
		t.Errorf("%d records count %d requests", counting, counted)
	}
}

// TestRevocationHoldsAtOnce revokes tokens while they are in use: no request that
// begins after the revocation was acknowledged succeeds, whatever way it was
// revoked by, nor does one with a child (G10).
func TestRevocationHoldsAtOnce(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/x", "value")
	k.apply(`policy "user" {
  secret {
    path = "*"
    capabilities = ["read"]
  }
  token {
    path = "*"
    capabilities = ["create"]
  }
}`)
	for name, revoke := range map[string]func(user, path, token string) answer{
		"by path": func(_, path, _ string) answer {
			return k.ask(k.admin, http.MethodPost, "/v1/tokens/"+path+":revoke", "")
		},
		"by itself": func(_, _, token string) answer { return k.ask(token, http.MethodPost, "/v1/whoami:revoke", "") },
		"user disabled": func(user, _, _ string) answer {
			return k.ask(k.admin, http.MethodPut, "/v1/users/"+user, `{"disabled":true}`)
		},
		"user deleted": func(user, _, _ string) answer { return k.ask(k.admin, http.MethodDelete, "/v1/users/"+user, "") },
		"policy detached": func(_, path, _ string) answer {
			return k.ask(k.admin, http.MethodPost, "/v1/policies/user:detach", bodyOf(`{"token":%q}`, path))
		},
	} {
		user := strings.ReplaceAll(name, " ", "-")
		k.ask(k.admin, http.MethodPost, "/v1/users/"+user, "{}").want(t, "make user", http.StatusOK)
		token, path := k.create(k.admin, bodyOf(`{"user":%q,"policies":["user"]}`, user)).made(k)
		child, _ := k.create(token, `{"policies":["user"],"ttl":"60s"}`).made(k)
		var over atomic.Bool
		var late, served atomic.Int64
		var readers, started sync.WaitGroup
		for i := range 8 {
			bearer := []string{token, child}[i%2]
			conn := k.over("grpc", bearer).Secrets()
			started.Add(1)
			readers.Go(func() {
				for n := 0; n < 400; n++ {
					after := over.Load()
					_, err := conn.GetSecret(context.Background(), &v1.GetSecretRequest{Path: "prod/x"})
					if err == nil {
						served.Add(1)
						if after {
							late.Add(1)
						}
					}
					if n == 0 {
						started.Done()
					}
					if after {
						return
					}
				}
			})
		}
		started.Wait()
		revoke(user, path, token).want(t, name, http.StatusOK)
		over.Store(true)
		readers.Wait()
		if late.Load() > 0 || served.Load() < 8 {
			t.Errorf("%s: %d of %d reads succeeded after it was acknowledged", name, late.Load(), served.Load())
		}
	}
}

// TestNamesUsedAgain holds that who takes a deleted user's or role's name takes
// nothing else (N52).
func TestNamesUsedAgain(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	token := k.user("bob", nil, "")
	k.ask(k.admin, http.MethodPost, "/v1/roles/ops", `{"policies":["admin"]}`).want(t, "make role", http.StatusOK)
	holder, _ := k.create(k.admin, `{"user":"bob","roles":["ops"]}`).made(k)
	k.ask(holder, http.MethodGet, "/v1/cluster/status", "").want(t, "with the role", http.StatusOK)

	k.ask(k.admin, http.MethodDelete, "/v1/roles/ops", "").want(t, "delete role", http.StatusOK)
	k.ask(holder, http.MethodGet, "/v1/cluster/status", "").want(t, "without the role", http.StatusForbidden)
	k.ask(k.admin, http.MethodPost, "/v1/roles/ops", `{"policies":["admin"]}`).want(t, "make role again", http.StatusOK)
	k.ask(holder, http.MethodGet, "/v1/cluster/status", "").want(t, "with a role of that name", http.StatusForbidden)

	k.ask(k.admin, http.MethodDelete, "/v1/users/bob", "").want(t, "delete user", http.StatusOK)
	k.ask(k.admin, http.MethodPost, "/v1/users/bob", "{}").want(t, "make user again", http.StatusOK)
	for _, dead := range []string{token, holder} {
		if got := k.whoami(dead); got != http.StatusUnauthorized {
			t.Errorf("a token of the user before: %d", got)
		}
	}
	k.ask(k.admin, http.MethodPut, "/v1/users/bob", `{"disabled":false}`).want(t, "enable", http.StatusOK)
	if got := k.whoami(token); got != http.StatusUnauthorized {
		t.Errorf("a token of the user before, after enabling: %d", got)
	}
}

// TestPoliciesHoldAtOnce changes a policy while others read: a request that
// begins after the change was acknowledged is decided by it (N28, N31).
func TestPoliciesHoldAtOnce(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/x", "value")
	text := func(list string) string {
		return "policy \"turn\" {\n  secret {\n    path = \"prod/*\"\n    capabilities = " + list + "\n  }\n}\n"
	}
	token := k.user("ann", []string{"turn"}, text("[]"))
	admin := k.over("grpc", k.admin).Policies()
	var turn atomic.Int64 // even: denied since; odd: being changed or granted
	var wrong, asked atomic.Int64
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 4 {
		secrets := k.over([]string{"rest", "grpc"}[i%2], token).Secrets()
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				before := turn.Load()
				_, err := secrets.GetSecret(context.Background(), &v1.GetSecretRequest{Path: "prod/x"})
				if after := turn.Load(); before == after && before%2 == 0 {
					asked.Add(1)
					if granted := before%4 == 2; granted != (err == nil) {
						wrong.Add(1)
					}
				}
			}
		})
	}
	reader := k.over("grpc", token).Secrets()
	for round := range 200 {
		turn.Add(1)
		list := []string{`["read"]`, "[]"}[round%2]
		_, err := admin.ApplyPolicies(context.Background(), &v1.ApplyPoliciesRequest{Files: []*v1.PolicyFile{{Name: "t.hcl", Text: text(list)}}})
		k.must(err)
		turn.Add(1)
		_, err = reader.GetSecret(context.Background(), &v1.GetSecretRequest{Path: "prod/x"})
		if granted := round%2 == 0; granted != (err == nil) || !granted && !errors.Is(err, fault.Denied) {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	close(stop)
	readers.Wait()
	if wrong.Load() > 0 || asked.Load() < 10 {
		t.Errorf("%d of %d requests between changes were decided by the policy before", wrong.Load(), asked.Load())
	}
	if set := k.records(1)[0].Record.Result.Set; set == (schema.Digest{}) {
		t.Error("the record names no policy set")
	}
}
