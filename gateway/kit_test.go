package gateway_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/gateway"
	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/memory"
	"github.com/heroctl/heroctl/storage/pebble"
)

// kit is a whole server in the test's process: real store, engine, trail, REST
// and gRPC listeners on loopback.
type kit struct {
	tb      testing.TB
	dir     string
	store   *storage.Store
	trail   *audit.Trail
	gateway *gateway.Gateway
	rest    *httptest.Server
	grpc    string // host:port
	admin   string // a token that may do everything
}

// kitOptions say what differs from a small server in memory.
type kitOptions struct {
	pebble     bool
	durability audit.Durability
	trailFS    vfs.FS // nil: the operating system's
	change     func(*gateway.Config)
}

func newKit(tb testing.TB, o kitOptions) *kit {
	tb.Helper()
	ctx := context.Background()
	k := &kit{tb: tb, dir: tb.TempDir()}
	root, err := crypto.NewRootKey()
	k.must(err)
	var kv storage.KV = memory.New()
	if o.pebble {
		kv, err = pebble.Open(pebble.Config{Dir: filepath.Join(k.dir, "store")})
		k.must(err)
	}
	k.store, err = storage.Init(ctx, kv, root, time.Now())
	k.must(err)
	k.trail, err = audit.Open(ctx, audit.Config{
		Dir: filepath.Join(k.dir, "trail"), FS: o.trailFS, Keys: k.store.Keys(), Node: "test", Durability: o.durability,
		Checkpoint: filepath.Join(k.dir, "checkpoint"), Index: memory.New(), Logger: slog.Default(),
	})
	k.must(err)
	config := gateway.Config{Store: k.store, Engine: engine.New(engine.Config{Log: slog.Default()}), Trail: k.trail, Node: "test", Version: "test", Durability: "test"}
	if o.change != nil {
		o.change(&config)
	}
	k.gateway, err = gateway.New(config)
	k.must(err)
	k.must(k.gateway.Start(ctx))
	k.listen()
	k.bootstrap(ctx)
	tb.Cleanup(func() {
		k.must(k.trail.Close())
		k.store.Close()
		k.must(kv.Close())
	})
	return k
}

func (k *kit) listen() {
	handler, err := k.gateway.Handler()
	k.must(err)
	k.rest = httptest.NewUnstartedServer(handler)
	k.rest.Config = gateway.NewHTTPServer(handler)
	k.rest.Start()
	k.tb.Cleanup(k.rest.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	k.must(err)
	server := k.gateway.GRPC(nil)
	go func() { _ = server.Serve(listener) }() // ends with Stop
	k.tb.Cleanup(server.Stop)
	k.grpc = listener.Addr().String()
}

func (k *kit) bootstrap(ctx context.Context) {
	create := schema.Capability{Resource: schema.Token, Verb: "create"}
	path := schema.MustPath(storage.BootstrapUser + "/" + storage.NewAccessor())
	k.must(k.gateway.System(ctx, "bootstrap", create, path, func(ctx context.Context, p permit.Permit) error {
		token, _, err := k.store.Identities.Bootstrap(ctx, p)
		token.Expose(func(b []byte) { k.admin = string(b) })
		return err
	}))
}

func (k *kit) must(err error) {
	k.tb.Helper()
	if err != nil {
		k.tb.Fatal(err)
	}
}

// over returns a client over "rest" or "grpc" with the token; "" sends none.
func (k *kit) over(protocol, token string) *client.Client {
	k.tb.Helper()
	addr := k.rest.URL
	if protocol == "grpc" {
		addr = "grpc://" + k.grpc
	}
	c, err := client.Dial(client.Config{Addr: addr, Token: token})
	k.must(err)
	k.tb.Cleanup(func() { _ = c.Close() })
	return c
}

// user makes a user with policies of the given text attached to his token, and
// returns the token. The policies must bear names of their own.
func (k *kit) user(name string, policyNames []string, hcl string) string {
	k.tb.Helper()
	ctx := context.Background()
	admin := k.over("rest", k.admin)
	if hcl != "" {
		_, err := admin.Policies().ApplyPolicies(ctx, &v1.ApplyPoliciesRequest{Files: []*v1.PolicyFile{{Name: name + ".hcl", Text: hcl}}})
		k.must(err)
	}
	_, err := admin.Access().CreateUser(ctx, &v1.CreateUserRequest{Name: name})
	k.must(err)
	made, err := admin.Access().CreateToken(ctx, &v1.CreateTokenRequest{User: name, Policies: policyNames})
	k.must(err)
	return made.GetToken()
}

// put creates a secret as the admin.
func (k *kit) put(path, value string) {
	k.tb.Helper()
	_, err := k.over("rest", k.admin).Secrets().CreateSecret(context.Background(), &v1.CreateSecretRequest{
		Path: path, Secret: &v1.NewSecret{Value: []byte(value)},
	})
	k.must(err)
}

// records returns the newest rows of the trail, the newest first.
func (k *kit) records(limit int) []audit.Row {
	k.tb.Helper()
	page, err := k.trail.Find(context.Background(), audit.Query{Newest: true, Limit: limit})
	k.must(err)
	return page.Rows
}

// do sends a raw REST request with the token.
func (k *kit) do(req *http.Request, token string) *http.Response {
	k.tb.Helper()
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	k.must(err)
	k.tb.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

var _ grpc.ClientConnInterface // the client's contract
