package client

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/heroctl/heroctl/schema/fault"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// recorder stands behind the generated REST mux and keeps what arrives.
type recorder struct {
	method string
	got    proto.Message
	answer proto.Message
}

func (r *recorder) Invoke(_ context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	r.method, r.got = method, proto.Clone(args.(proto.Message))
	if r.answer != nil {
		proto.Merge(reply.(proto.Message), r.answer)
	}
	return nil
}

func (r *recorder) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("no streams")
}

func newMux(t *testing.T, r *recorder) *httptest.Server {
	t.Helper()
	mux := runtime.NewServeMux(
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithStrictDeepWildcardMatching(),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{UseProtoNames: true}}),
	)
	ctx := t.Context()
	for _, err := range []error{
		heroctlv1.RegisterSecretsHandlerClient(ctx, mux, heroctlv1.NewSecretsClient(r)),
		heroctlv1.RegisterPoliciesHandlerClient(ctx, mux, heroctlv1.NewPoliciesClient(r)),
		heroctlv1.RegisterAccessHandlerClient(ctx, mux, heroctlv1.NewAccessClient(r)),
		heroctlv1.RegisterAuditHandlerClient(ctx, mux, heroctlv1.NewAuditClient(r)),
		heroctlv1.RegisterClusterHandlerClient(ctx, mux, heroctlv1.NewClusterClient(r)),
		heroctlv1.RegisterHealthHandlerClient(ctx, mux, heroctlv1.NewHealthClient(r)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func mustDial(t *testing.T, c Config) *Client {
	t.Helper()
	client, err := Dial(c)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// TestEveryCallArrivesAsSent sends each call of the schema, with every field
// filled, through REST and the server's generated mux.
func TestEveryCallArrivesAsSent(t *testing.T) {
	var r recorder
	conn := mustDial(t, Config{Addr: newMux(t, &r).URL, Token: "t"}).Conn()
	routes, err := schemaRoutes()
	if err != nil {
		t.Fatal(err)
	}
	if len(routes) < 30 {
		t.Fatalf("the schema has %d routes; more were expected", len(routes))
	}
	for method := range routes {
		service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
		if err != nil {
			t.Fatal(err)
		}
		m := d.(protoreflect.MethodDescriptor)
		in, out := newMessage(t, m.Input()), newMessage(t, m.Output())
		fill(in.ProtoReflect())
		if err := conn.Invoke(t.Context(), method, in, out); err != nil {
			t.Errorf("%s: %v", method, err)
			continue
		}
		if r.method != method {
			t.Errorf("%s arrived as %s", method, r.method)
		}
		if diff := cmp.Diff(in, r.got, protocmp.Transform()); diff != "" {
			t.Errorf("%s differs on arrival (-sent +got):\n%s", method, diff)
		}
	}
}

func newMessage(t *testing.T, d protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return kind.New().Interface()
}

// fill gives every field a value that the wire could spoil.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("team & co").MapKey(), protoreflect.ValueOfString("a=b;ç"))
		case f.IsList() && f.Message() != nil:
			fill(m.Mutable(f).List().AppendMutable().Message())
		case f.IsList():
			m.Mutable(f).List().Append(protoreflect.ValueOfString("one, two"))
			m.Mutable(f).List().Append(protoreflect.ValueOfString("+three"))
		case f.Message() != nil && f.Message().FullName() == "google.protobuf.Timestamp":
			m.Mutable(f).Message().Set(f.Message().Fields().ByName("seconds"), protoreflect.ValueOfInt64(1795443821))
			m.Mutable(f).Message().Set(f.Message().Fields().ByName("nanos"), protoreflect.ValueOfInt32(5000))
		case f.Message() != nil && f.Message().FullName() == "google.protobuf.Duration":
			m.Mutable(f).Message().Set(f.Message().Fields().ByName("seconds"), protoreflect.ValueOfInt64(604800))
		case f.Message() != nil:
			fill(m.Mutable(f).Message())
		default:
			m.Set(f, scalar(f))
		}
	}
}

func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(4294967295)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(1<<63 + 1)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(-7)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{0, 0xff, '\n', '+', '/'})
	}
	switch f.Name() {
	case "path", "prefix", "token":
		return protoreflect.ValueOfString("prod/db_password-1.x")
	}
	return protoreflect.ValueOfString("x y&z=é")
}

func TestAnswerIsDecoded(t *testing.T) {
	want := &heroctlv1.SecretValue{Path: "prod/db", Version: 3, Value: []byte{0, 1, 0xfe}}
	r := recorder{answer: want}
	client := mustDial(t, Config{Addr: newMux(t, &r).URL})
	got, err := client.Secrets().GetSecret(t.Context(), &heroctlv1.GetSecretRequest{Path: "prod/db"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestDeepPathsAreNotTidied(t *testing.T) {
	client := mustDial(t, Config{Addr: "http://127.0.0.1:1"})
	for _, path := range []string{"", "prod//db", "/prod", "prod/", "prod/../admin", "./x"} {
		_, err := client.Secrets().GetSecret(t.Context(), &heroctlv1.GetSecretRequest{Path: path})
		if !errors.Is(err, fault.InvalidPath) {
			t.Errorf("get %q: got %v, want invalid_path", path, err)
		}
	}
}

// answering returns a server with one answer to everything.
func answering(t *testing.T, code int, contentType, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		if code/100 == 3 {
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
		}
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestErrorsFromREST(t *testing.T) {
	const problem = "application/problem+json"
	for _, c := range []struct {
		code       int
		kind, body string
		want       fault.Kind
		text       string
	}{
		{403, problem, `{"kind":"denied","reason":"no_rule","decision_id":"d1","detail":"no rule grants it"}`, fault.Denied, "no rule grants it"},
		{404, problem, `{"kind":"not_found","new_field":1}`, fault.NotFound, "not found"},
		{418, problem, `{"kind":"of_tomorrow"}`, "of_tomorrow", "of tomorrow"},
		{404, "text/html", `<h1>canary</h1>`, fault.NotFound, "the answer is not from a heroctl server; check the address"},
		{503, problem, `not json canary`, fault.Unavailable, "the answer is not from a heroctl server; check the address"},
		{302, "text/html", ``, fault.Unsupported, "the server answered with a redirect, which is not followed; give its final address"},
		{200, "text/html", `<h1>canary</h1>`, fault.Unsupported, "the answer is not from a heroctl server; check the address"},
		{200, "application/json", `{"user": 5, "canary": 1}`, fault.Unsupported, "the answer does not fit the schema; client and server differ in version"},
		{599, "text/plain", ``, fault.Internal, "the answer is not from a heroctl server; check the address"},
	} {
		client := mustDial(t, Config{Addr: answering(t, c.code, c.kind, c.body), Token: "t"})
		_, err := client.Access().WhoAmI(t.Context(), &heroctlv1.WhoAmIRequest{})
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, c.want) || e.Kind() != c.want {
			t.Errorf("%d %s: got %v, want kind %s", c.code, c.body, err, c.want)
			continue
		}
		if err.Error() != c.text {
			t.Errorf("%d %s: got text %q, want %q", c.code, c.body, err, c.text)
		}
	}
}

func TestLargeAnswerIsRefused(t *testing.T) {
	value := base64.StdEncoding.EncodeToString(make([]byte, MaxResponseBytes))
	client := mustDial(t, Config{Addr: answering(t, 200, "application/json", `{"value":"`+value+`"}`)})
	_, err := client.Secrets().GetSecret(t.Context(), &heroctlv1.GetSecretRequest{Path: "x"})
	if !errors.Is(err, fault.TooLarge) {
		t.Errorf("got %v, want too_large", err)
	}
}

func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	for _, scheme := range []string{"http://", "grpc://"} {
		client := mustDial(t, Config{Addr: scheme + addr, Timeout: 5 * time.Second})
		_, err := client.Health().Live(t.Context(), &heroctlv1.LiveRequest{})
		if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "cannot be reached") {
			t.Errorf("%s: got %v, want unavailable", scheme, err)
		}
	}
}

func TestUntrustedCertificate(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	client := mustDial(t, Config{Addr: server.URL})
	_, err := client.Health().Live(t.Context(), &heroctlv1.LiveRequest{})
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "trusted authority") {
		t.Errorf("got %v", err)
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	client := mustDial(t, Config{Addr: server.URL, Timeout: 50 * time.Millisecond})
	_, err := client.Health().Live(t.Context(), &heroctlv1.LiveRequest{})
	if !errors.Is(err, fault.Timeout) {
		t.Errorf("got %v, want timeout", err)
	}
}

// whoami answers gRPC calls with a given error, and keeps their metadata.
type whoami struct {
	heroctlv1.UnimplementedAccessServer
	err  error
	seen metadata.MD
}

func (w *whoami) WhoAmI(ctx context.Context, _ *heroctlv1.WhoAmIRequest) (*heroctlv1.WhoAmIResponse, error) {
	w.seen, _ = metadata.FromIncomingContext(ctx)
	return &heroctlv1.WhoAmIResponse{User: "ana"}, w.err
}

func TestGRPC(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, service := grpc.NewServer(), &whoami{}
	heroctlv1.RegisterAccessServer(server, service)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	client := mustDial(t, Config{Addr: "grpc://" + listener.Addr().String(), Token: "hero_x"})

	answer, err := client.Access().WhoAmI(t.Context(), &heroctlv1.WhoAmIRequest{})
	if err != nil || answer.GetUser() != "ana" {
		t.Fatalf("got %v, %v", answer, err)
	}
	if got := service.seen.Get("authorization"); !cmp.Equal(got, []string{"Bearer hero_x"}) {
		t.Errorf("authorization: got %q", got)
	}

	want := &heroctlv1.Problem{Kind: "denied", Reason: "explicit_deny", DecisionId: "d2"}
	detailed, err := status.New(codes.PermissionDenied, "denied").WithDetails(want)
	if err != nil {
		t.Fatal(err)
	}
	service.err = detailed.Err()
	_, err = client.Access().WhoAmI(t.Context(), &heroctlv1.WhoAmIRequest{})
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, fault.Denied) {
		t.Fatalf("got %v, want denied", err)
	}
	if diff := cmp.Diff(want, e.Problem, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}

	service.err = status.Error(codes.AlreadyExists, "canary")
	_, err = client.Access().WhoAmI(t.Context(), &heroctlv1.WhoAmIRequest{})
	if !errors.Is(err, fault.Conflict) || err.Error() != "conflict" {
		t.Errorf("got %v, want a bare conflict", err)
	}
}

func TestAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"":                           "cannot be read",
		"127.0.0.1:8420":             "cannot be read",
		"ftp://127.0.0.1":            "unknown scheme",
		"https://":                   "cannot be read",
		"https://vault.example/v1":   "more than a host and a port",
		"https://me:pw@example":      "more than a host and a port",
		"https://example?x=1":        "more than a host and a port",
		"http://vault.example:8420":  "http sends the token in plain text to another host; use https",
		"grpc://vault.example:8421":  "grpc sends the token in plain text to another host; use grpcs",
		"http://localhost.evil.test": "in plain text",
		"http://127.0.0.1:8420":      "",
		"http://[::1]:8420/":         "",
		"http://localhost:8420":      "",
		"https://vault.example":      "",
		"grpcs://vault.example":      "",
	} {
		_, err := Dial(Config{Addr: addr})
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", addr, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: got %v, want %q", addr, err, want)
		}
	}
	if _, err := Dial(Config{Addr: "http://vault.example", InsecurePlaintext: true}); err != nil {
		t.Errorf("with InsecurePlaintext: %v", err)
	}
}

func TestTokenFile(t *testing.T) {
	var authorization string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Get("Authorization")
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("hero_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := mustDial(t, Config{Addr: server.URL, TokenFile: file})
	_, _ = client.Health().Live(t.Context(), &heroctlv1.LiveRequest{})
	if authorization != "Bearer hero_file" {
		t.Errorf("got %q", authorization)
	}
	for name, c := range map[string]Config{
		"mode 0644":           {TokenFile: chmod(t, file, 0o644)},
		"not a regular file":  {TokenFile: filepath.Dir(file)},
		"does not exist":      {TokenFile: file + ".missing"},
		"space or a charact":  {Token: "two words"},
		"PEM":                 {CACert: chmod(t, file, 0o644)},
		"file cannot be read": {CACert: file + ".missing"},
	} {
		c.Addr = server.URL
		if _, err := Dial(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

func chmod(t *testing.T, file string, mode os.FileMode) string {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
	return file
}
