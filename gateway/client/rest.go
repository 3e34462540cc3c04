package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// restConn carries calls over REST. It is a gRPC connection to its callers.
type restConn struct {
	base      string // scheme://host
	http      *http.Client
	routes    map[string]route
	token     secret.Value
	userAgent string
	timeout   time.Duration
}

func dialREST(c Config, t target, token secret.Value, roots *x509.CertPool) (*Client, error) {
	routes, err := schemaRoutes()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	base := "http://" + t.host
	if t.tls {
		base = "https://" + t.host
		// A proxy sees only ciphertext here; over plain text it would see the token.
		transport.Proxy = http.ProxyFromEnvironment
	}
	conn := &restConn{
		base: base,
		http: &http.Client{
			Transport: transport,
			// Following would hand the token to whoever the answer names.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		routes: routes, token: token, userAgent: c.UserAgent, timeout: c.Timeout,
	}
	return &Client{conn: conn, close: func() error { transport.CloseIdleConnections(); return nil }}, nil
}

// Invoke implements grpc.ClientConnInterface.
func (r *restConn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	in, ok := args.(proto.Message)
	out, ok2 := reply.(proto.Message)
	if !ok || !ok2 {
		return newError(fault.Internal, "the call's messages are not of the schema", nil)
	}
	rt, ok := r.routes[method]
	if !ok {
		return newError(fault.Unsupported, "the call is not part of the REST interface", nil)
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	request, err := r.request(ctx, rt, in)
	if err != nil {
		return err
	}
	answer, err := r.http.Do(request)
	if err != nil {
		return fromTransport(err)
	}
	defer answer.Body.Close()
	return readAnswer(answer, out)
}

// NewStream implements grpc.ClientConnInterface.
func (r *restConn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, newError(fault.Unsupported, "streams need a grpc address", nil)
}

func (r *restConn) request(ctx context.Context, rt route, in proto.Message) (*http.Request, error) {
	target, err := rt.target(in)
	if err != nil {
		return nil, err
	}
	body, err := rt.bodyOf(in)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, rt.verb, r.base+target, bytes.NewReader(body))
	if err != nil {
		return nil, newError(fault.InvalidArgument, "the request has no valid URL", err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", r.userAgent)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if r.token.Len() > 0 {
		request.Header.Set("Authorization", authorization(r.token))
	}
	return request, nil
}

// readAnswer decodes an answer of bounded size. Fields of a newer server are
// passed over, as gRPC does; an answer that is not JSON is not from one.
func readAnswer(answer *http.Response, out proto.Message) error {
	body, err := io.ReadAll(io.LimitReader(answer.Body, MaxResponseBytes+1))
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			return e
		}
		return fromTransport(err)
	}
	if len(body) > MaxResponseBytes {
		return newError(fault.TooLarge, "the answer is larger than 8 MiB; ask for smaller pages", nil)
	}
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if answer.StatusCode != http.StatusOK {
		return fromHTTP(answer.StatusCode, kind, body)
	}
	if kind != "application/json" {
		return newError(fault.Unsupported, "the answer is not from a heroctl server; check the address", nil)
	}
	lax := protojson.UnmarshalOptions{DiscardUnknown: true}
	if err := lax.Unmarshal(body, out); err != nil {
		// The cause would repeat the answer, which may hold a value.
		return newError(fault.Unsupported, "the answer does not fit the schema; client and server differ in version", nil)
	}
	return nil
}
