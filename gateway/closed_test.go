package gateway_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// shut holds that nothing is answered and nothing done, over both protocols, and
// that health says so: ready no, live yes.
func (k *kit) shut(t *testing.T, value string) {
	t.Helper()
	var calls sync.WaitGroup
	for _, row := range []struct{ method, target, body string }{
		{http.MethodGet, "/v1/secrets/prod/x", ""}, {http.MethodGet, "/v1/secrets/prod/none", ""}, {http.MethodGet, "/v1/secrets", ""}, {http.MethodGet, "/v1/secrets/prod//x", ""},
		{http.MethodPut, "/v1/secrets/prod/x", `{"value":"bmV3"}`}, {http.MethodPut, "/v1/secrets/prod/x", "{"}, {http.MethodDelete, "/v1/secrets/prod/x", ""}, {http.MethodPost, "/v1/secrets/prod/y", `{"value":"bmV3"}`},
		{http.MethodGet, "/v1/whoami", ""}, {http.MethodPost, "/v1/tokens", `{"roles":["admin"]}`}, {http.MethodGet, "/v1/audit/records", ""}, {http.MethodPost, "/v1/policies:apply", `{"files":[{"name":"a","text":"policy \"a\" {}"}]}`},
		{http.MethodGet, "/v1/metrics", ""}, {http.MethodGet, "/v1/none", ""}, {http.MethodGet, "/v1/cluster/status", ""},
	} {
		calls.Go(func() {
			start := time.Now()
			got := k.ask(k.admin, row.method, row.target, row.body)
			got.want(t, "while the trail is shut: "+row.method+" "+row.target, http.StatusServiceUnavailable)
			if strings.Contains(got.body, "dmFsdWU") || strings.Contains(got.body, value) || strings.Contains(got.body, "ht_") {
				t.Errorf("%s answers while the trail is shut: %s", row.target, got.body)
			}
			if took := time.Since(start); took > 5500*time.Millisecond {
				t.Errorf("%s: %v", row.target, took)
			}
		})
	}
	calls.Go(func() {
		answered, err := k.over("grpc", k.admin).Secrets().GetSecret(context.Background(), &v1.GetSecretRequest{Path: "prod/x"})
		if !errors.Is(err, fault.Unavailable) || answered.GetValue() != nil {
			t.Errorf("gRPC while the trail is shut: %v", err)
		}
	})
	calls.Go(func() {
		k.ask("junk", http.MethodGet, "/v1/whoami", "").want(t, "a stranger while the trail is shut", http.StatusServiceUnavailable)
	})
	calls.Wait()
	k.ask("", http.MethodGet, "/v1/health/ready", "").want(t, "ready", http.StatusServiceUnavailable)
	k.ask("", http.MethodGet, "/v1/health/live", "").want(t, "live", http.StatusOK)
	health, err := healthpb.NewHealthClient(k.conn()).Check(context.Background(), &healthpb.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("gRPC health: %v %v", health, err)
	}
	if err := k.conn().Invoke(as(""), v1.Health_Live_FullMethodName, &v1.LiveRequest{}, &v1.LiveResponse{}); status.Code(err) != codes.OK {
		t.Errorf("gRPC live: %v", err)
	}
}

// TestClosedTrail holds that without a trail there is no answer.
func TestClosedTrail(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.put("prod/x", "value")
	k.ask("", http.MethodGet, "/v1/health/ready", "").want(t, "ready", http.StatusOK)
	k.must(k.trail.Close())
	k.shut(t, "value")
	// Nothing was done either.
	revision, err := k.store.Revision(context.Background())
	k.must(err)
	k.shut(t, "value")
	if after, err := k.store.Revision(context.Background()); err != nil || after != revision {
		t.Errorf("the store moved from revision %d to %d: %v", revision, after, err)
	}
}

// TestFailingTrail holds the same while the disk of the trail fails, in both
// durabilities, and that the server resumes by itself when it recovers (N101).
func TestFailingTrail(t *testing.T) {
	for _, durability := range []audit.Durability{audit.Strict, audit.Kernel} {
		broken := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				return errorfs.ErrInjected
			}
			return nil
		})}
		k := newKit(t, kitOptions{durability: durability, trailFS: errorfs.Wrap(vfs.Default, &broken)})
		k.put("prod/x", "value")
		broken.On()
		k.shut(t, "value")
		broken.Off()
		deadline := time.Now().Add(10 * time.Second)
		for k.ask("", http.MethodGet, "/v1/health/ready", "").status != http.StatusOK {
			if time.Now().After(deadline) {
				t.Fatal("it does not resume")
			}
			time.Sleep(20 * time.Millisecond)
		}
		k.expectAlone(t, "prod/x", "value")
		k.ask(k.admin, http.MethodGet, "/v1/secrets/prod/y", "").want(t, "what was refused meanwhile", http.StatusNotFound)
		for _, row := range k.everything() {
			if row.Method == "Secrets.CreateSecret" && row.Input.Resource.ID == "prod/y" && row.Came().Code == audit.CodeOK {
				t.Error("a change that was refused is on record as done")
			}
		}
	}
}
