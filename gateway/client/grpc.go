package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

func dialGRPC(c Config, t target, token secret.Value, roots *x509.CertPool) (*Client, error) {
	transport := insecure.NewCredentials()
	if t.tls {
		transport = credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithUserAgent(c.UserAgent),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxResponseBytes)),
		grpc.WithDisableServiceConfig(),
	}
	if token.Len() > 0 {
		options = append(options, grpc.WithPerRPCCredentials(bearer{token, t.tls}))
	}
	conn, err := grpc.NewClient(t.grpcAddr(), options...)
	if err != nil {
		return nil, fault.Wrap(fault.InvalidArgument, "the server address cannot be used", err)
	}
	return &Client{conn: &grpcConn{conn, c.Timeout}, close: conn.Close}, nil
}

// bearer adds the token to each call.
type bearer struct {
	token secret.Value
	tls   bool
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": authorization(b.token)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Plain text
// is allowed where parseTarget allowed it.
func (b bearer) RequireTransportSecurity() bool { return b.tls }

// authorization returns the header value that carries a token.
func authorization(token secret.Value) (header string) {
	token.Expose(func(b []byte) { header = "Bearer " + string(b) })
	return header
}

// grpcConn bounds calls in time and gives their errors the common type.
type grpcConn struct {
	conn    *grpc.ClientConn
	timeout time.Duration
}

// Invoke implements grpc.ClientConnInterface.
func (g *grpcConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	if err := g.conn.Invoke(ctx, method, args, reply, opts...); err != nil {
		return fromGRPC(err)
	}
	return nil
}

// NewStream implements grpc.ClientConnInterface.
func (g *grpcConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := g.conn.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, fromGRPC(err)
	}
	return stream, nil
}
