package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/schema/openapi"
)

// Handler returns the REST face. It is a strict front before the generated mux:
// what the front lets through names a known call, with nothing unknown beside it.
func (g *Gateway) Handler() (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, jsonMarshaler()),
		runtime.WithMarshalerOption(octetStream, &rawMarshaler{jsonMarshaler()}),
		runtime.WithErrorHandler(g.restError),
		runtime.WithRoutingErrorHandler(g.restRoutingError),
		runtime.WithForwardResponseOption(responseHeaders),
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithStrictDeepWildcardMatching(),
	)
	ctx := context.Background()
	err := errors.Join(
		v1.RegisterSecretsHandlerServer(ctx, mux, &secretsServer{g: g}),
		v1.RegisterPoliciesHandlerServer(ctx, mux, &policiesServer{g: g}),
		v1.RegisterAccessHandlerServer(ctx, mux, &accessServer{g: g}),
		v1.RegisterAuditHandlerServer(ctx, mux, &auditServer{g: g}),
		v1.RegisterClusterHandlerServer(ctx, mux, &clusterServer{g: g}),
		v1.RegisterHealthHandlerServer(ctx, mux, &healthServer{g: g}),
	)
	if err != nil {
		return nil, err
	}
	return g.front(mux), nil
}

// front checks a REST request before the mux sees it.
func (g *Gateway) front(mux http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer survive(w)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if r.URL.Path == "/v1/openapi.json" && r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(openapi.Document()) // the client may be gone
			return
		}
		who := g.callerFromHTTP(r)
		r = r.WithContext(withCaller(r.Context(), who))
		w.Header().Set("X-Request-Id", who.request)
		if err := g.crowd(r.Context(), &need{label: "unknown"}); err != nil {
			writeProblem(w, problemOf(err))
			return
		}
		if r.URL.Path == "/v1/metrics" && r.Method == http.MethodGet && r.URL.RawQuery == "" {
			g.serveMetrics(w, r)
			return
		}
		if err := g.admit(w.Header(), r); err != nil {
			writeProblem(w, problemOf(err))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// survive answers in place of a handler that panicked outside the door. What it
// panicked with may hold something of the request and is not logged.
func survive(w http.ResponseWriter) {
	if broken := recover(); broken != nil {
		slog.Error("request panicked", "type", fmt.Sprintf("%T", broken), "stack", string(debug.Stack()))
		writeProblem(w, problem(fault.New(fault.Internal, ""), ""))
	}
}

// admit refuses what names no call, or has something beside it. Refusals are
// recorded like any other. Nothing of a body is read before its sender is known.
func (g *Gateway) admit(answer http.Header, r *http.Request) error {
	route, allowed := g.find(r.Method, r.URL.Path)
	if route == nil {
		kind, detail := fault.NotFound, "there is no such call; /v1/openapi.json lists them all"
		if len(allowed) > 0 {
			kind, detail = fault.Unsupported, "this path takes "+strings.Join(allowed, ", ")
			answer.Set("Allow", strings.Join(allowed, ", "))
		}
		return g.turnAway(r.Context(), &need{label: "unknown"}, schema.InvalidRequest, fault.New(kind, detail))
	}
	if detail := route.flaw(r); detail != "" {
		reason, kind := schema.InvalidRequest, fault.InvalidArgument
		if strings.Contains(r.URL.EscapedPath(), "%") {
			reason, kind = schema.InvalidPath, fault.InvalidPath
		}
		return g.turnAway(r.Context(), route.need, reason, fault.New(kind, detail))
	}
	if err := route.check(r.URL.Path); err != nil {
		return g.turnAway(r.Context(), route.need, schema.InvalidPath, err)
	}
	if len(r.TransferEncoding) > 0 {
		// A length beside chunks is how requests are smuggled, and net/http drops
		// the length before anyone sees it. No call here needs chunks.
		answer.Set("Connection", "close")
		return g.turnAway(r.Context(), route.need, schema.InvalidRequest, fault.New(fault.InvalidArgument, "send the body with a Content-Length, not in chunks"))
	}
	if !route.body {
		return nil
	}
	if err := g.refuseStranger(r.Context(), route.need); err != nil {
		return err
	}
	if !isJSON(r.Header) {
		return wrongMedia(g.turnAway(r.Context(), route.need, schema.InvalidRequest, fault.New(fault.Unsupported, "send the body as application/json")))
	}
	bound := limitOf(route.need.method).body
	if r.ContentLength > bound {
		return g.turnAway(r.Context(), route.need, schema.InvalidRequest, fault.Newf(fault.TooLarge, "the body may be %d bytes long at most", bound))
	}
	r.Body = http.MaxBytesReader(nil, r.Body, bound)
	return nil
}

// wrongMedia gives an answer of the kind "unsupported" the status that HTTP has
// for media types.
func wrongMedia(err error) error {
	p := problemOf(err)
	if p.GetKind() != string(fault.Unsupported) {
		return err
	}
	p.Status = http.StatusUnsupportedMediaType
	return statusOf(p)
}

// turnAway records and answers a request that never became a call: why says what
// the caller sees, if he has a valid token.
func (g *Gateway) turnAway(ctx context.Context, n *need, reason schema.Reason, why error) error {
	a := g.begin(ctx, n.label, n.cap)
	g.metrics.arrived()
	principal, identified := g.identify(ctx, a.caller)
	a.knows(principal, identified)
	if identified != schema.Granted {
		return g.answer(a, g.refuse(ctx, a, identified, ""))
	}
	a.entry.Result.Reason = reason
	if reason == schema.InvalidPath {
		why = &refusal{id: a.entry.Decision, reason: reason, detail: fault.Detail(why)}
	}
	if failed := g.record(ctx, a, audit.KindDecision, why); failed != nil {
		return g.answer(a, failed)
	}
	return g.answer(a, why)
}

// refuseStranger turns away a caller without a valid token before anything of his
// request is parsed. The door asks again: only its answer admits.
func (g *Gateway) refuseStranger(ctx context.Context, n *need) error {
	if _, reason := g.identify(ctx, g.callerFrom(ctx)); reason == schema.Granted {
		return nil
	}
	return g.turnAway(ctx, n, schema.Unauthenticated, fault.Unauthenticated)
}

// restError answers with the problem that the door made. An error without one
// comes from decoding: its text may repeat the request and is dropped.
func (g *Gateway) restError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p == nil {
		kind, detail := fault.InvalidArgument, "the request is not what this call takes; /v1/openapi.json describes it, and unknown or repeated fields are refused"
		// The generated code keeps the text of the reader's error, not the error.
		if strings.Contains(err.Error(), "request body too large") {
			kind, detail = fault.TooLarge, "the body is too large for this call"
		}
		n := &need{label: "unknown"}
		if route, _ := g.find(r.Method, r.URL.Path); route != nil {
			n = route.need
		}
		p = problemOf(g.turnAway(ctx, n, schema.InvalidRequest, fault.New(kind, detail)))
	}
	writeProblem(w, p)
}

// restRoutingError answers what the front let through and the mux did not route;
// the front is the stricter of the two, so this is not expected.
func (g *Gateway) restRoutingError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, _ int) {
	err := g.turnAway(ctx, &need{label: "unknown"}, schema.InvalidRequest, fault.New(fault.NotFound, "there is no such call; /v1/openapi.json lists them all"))
	writeProblem(w, problemOf(err))
}

// responseHeaders sets the ETag of answers that have a version.
func responseHeaders(_ context.Context, w http.ResponseWriter, m proto.Message) error {
	if v, ok := m.(interface{ GetVersion() uint32 }); ok && v.GetVersion() != 0 {
		w.Header().Set("ETag", `"`+strconv.FormatUint(uint64(v.GetVersion()), 10)+`"`)
	}
	return nil
}

func jsonMarshaler() *strictJSON {
	return &strictJSON{runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false},
	}}
}

// strictJSON takes a body that is one JSON text and nothing after it. The
// library's decoder stops reading where the first text ends.
type strictJSON struct{ runtime.JSONPb }

// NewDecoder returns a decoder of the whole of r, which has been bounded. An
// empty body is io.EOF: a message without fields.
func (m *strictJSON) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		text, err := io.ReadAll(r)
		switch {
		case err != nil:
			return err
		case len(text) == 0:
			return io.EOF
		case !json.Valid(text):
			return errNotJSON
		}
		return m.JSONPb.Unmarshal(text, v)
	})
}

var errNotJSON = errors.New("not one JSON text")

const octetStream = "application/octet-stream"

// rawMarshaler answers a value as its bytes, for Accept:
// application/octet-stream. Everything else stays JSON.
type rawMarshaler struct{ *strictJSON }

// ContentType returns the media type of the answer.
func (m *rawMarshaler) ContentType(v any) string {
	if _, ok := v.(*v1.SecretValue); ok {
		return octetStream
	}
	return m.strictJSON.ContentType(v)
}

// Marshal returns the bytes of the answer.
func (m *rawMarshaler) Marshal(v any) ([]byte, error) {
	if value, ok := v.(*v1.SecretValue); ok {
		return value.GetValue(), nil
	}
	return m.strictJSON.Marshal(v)
}

// NewEncoder returns an encoder that writes what Marshal returns.
func (m *rawMarshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		b, err := m.Marshal(v)
		if err == nil {
			_, err = w.Write(b)
		}
		return err
	})
}

func isJSON(h http.Header) bool {
	given := h.Values("Content-Type")
	if len(given) != 1 {
		return false
	}
	kind, _, err := mime.ParseMediaType(given[0])
	return err == nil && kind == "application/json"
}

func parseQuery(raw string) (url.Values, error) { return url.ParseQuery(raw) }
