package gateway_test

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/gateway"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// TestEveryCallIsDecidedAndRecorded walks the schema. Each call that is not open
// must leave a record with the capability that it states, over gRPC with a token
// and without one, and must not answer a caller without a token.
func TestEveryCallIsDecidedAndRecorded(t *testing.T) {
	// A clock that leaps keeps the bound on requests without a token away.
	var leaps atomic.Int64
	k := newKit(t, kitOptions{change: func(c *gateway.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(leaps.Add(1)) * time.Second) }
	}})
	conn, err := grpc.NewClient(k.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	k.must(err)
	defer conn.Close()
	walked := 0
	for m := range methods() {
		needs := proto.GetExtension(m.Options(), v1.E_Needs).(*v1.Needs)
		name := "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
		if needs == nil {
			t.Errorf("%s states no needs", name)
			continue
		}
		if needs.GetOpen() {
			continue
		}
		walked++
		label := string(m.Parent().Name()) + "." + string(m.Name())
		before := k.records(1)[0].Sequence
		if err := conn.Invoke(context.Background(), name, sample(m, needs), dynamicpb.NewMessage(m.Output())); err == nil {
			t.Errorf("%s answered a caller without a token", name)
		}
		expectRecord(t, k, before, label, needs, "unauthenticated")

		before = k.records(1)[0].Sequence
		ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+k.spare())
		_ = conn.Invoke(ctx, name, sample(m, needs), dynamicpb.NewMessage(m.Output())) // whether it succeeds is not the question
		expectRecord(t, k, before, label, needs, "granted")
	}
	if walked < 30 {
		t.Fatalf("walked %d calls; the schema has more", walked)
	}
}

// spare returns a fresh admin token, so that a call that revokes its own does no
// harm.
func (k *kit) spare() string {
	made, err := k.over("rest", k.admin).Access().CreateToken(context.Background(), &v1.CreateTokenRequest{Roles: []string{"admin"}})
	k.must(err)
	return made.GetToken()
}

func expectRecord(t *testing.T, k *kit, before uint64, label string, needs *v1.Needs, reason string) {
	t.Helper()
	rows := k.records(20)
	i := slices.IndexFunc(rows, func(r audit.Row) bool { return r.Sequence > before && r.Method == label })
	if i < 0 {
		t.Errorf("%s left no record for a caller who is %s", label, reason)
		return
	}
	got := rows[i]
	stated := []string{needs.GetResource() + ":" + needs.GetCapability(), needs.GetResource() + ":" + needs.GetCapabilityIfAbsent()}
	if !slices.Contains(stated, got.Input.Action.Name) {
		t.Errorf("%s states %v and was decided as %q", label, stated, got.Input.Action.Name)
	}
	if string(got.Record.Result.Reason) != reason {
		t.Errorf("%s: reason %q, want %q", label, got.Record.Result.Reason, reason)
	}
}

// methods yields every call of the schema.
func methods() func(func(protoreflect.MethodDescriptor) bool) {
	return func(yield func(protoreflect.MethodDescriptor) bool) {
		protoregistry.GlobalFiles.RangeFilesByPackage("heroctl.v1", func(f protoreflect.FileDescriptor) bool {
			for i := range f.Services().Len() {
				for j := range f.Services().Get(i).Methods().Len() {
					if !yield(f.Services().Get(i).Methods().Get(j)) {
						return false
					}
				}
			}
			return true
		})
	}
}

// sample returns a request with a legal path where the call wants one.
func sample(m protoreflect.MethodDescriptor, needs *v1.Needs) proto.Message {
	req := dynamicpb.NewMessage(m.Input())
	if m.Name() == "ApplyPolicies" {
		return &v1.ApplyPoliciesRequest{Files: []*v1.PolicyFile{{Name: "a.hcl", Text: "policy \"walk\" {\n  secret {\n    path = \"walk/*\"\n    capabilities = [\"list\"]\n  }\n}\n"}}}
	}
	if m.Input().Fields().ByName("target") != nil {
		return &v1.AttachPolicyRequest{Name: "walk", Target: &v1.AttachTarget{Role: "admin"}}
	}
	if f := m.Input().Fields().ByName(protoreflect.Name(needs.GetPathField())); f != nil && f.Kind() == protoreflect.StringKind {
		path := "walk"
		if needs.GetResource() == "token" && f.Name() == "path" {
			path = "walk/abcdefgh"
		}
		if f.Name() != "user" {
			req.Set(f, protoreflect.ValueOfString(path))
		}
	}
	return req
}

// TestOpenCallsTellNothing holds that what needs no token says no more than
// "ok".
func TestOpenCallsTellNothing(t *testing.T) {
	k := newKit(t, kitOptions{})
	for _, path := range []string{"/v1/health/live", "/v1/health/ready"} {
		req, err := http.NewRequest(http.MethodGet, k.rest.URL+path, nil)
		k.must(err)
		resp := k.do(req, "")
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d, want 200", path, resp.StatusCode)
		}
	}
	if n := len(k.records(1000)); n == 0 {
		t.Error("the trail is empty; the bootstrap token should be on record")
	}
}
