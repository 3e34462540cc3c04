package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/proto"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// GRPC returns the gRPC face with its own health service. creds may be nil for a
// loopback listener without TLS.
func (g *Gateway) GRPC(creds credentials.TransportCredentials) *grpc.Server {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(readHeaderTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 20 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 15 * time.Minute}),
		grpc.ForceServerCodecV2(rawCodec{encoding.GetCodecV2("proto")}),
		grpc.UnknownServiceHandler(g.unknownCall),
	}
	if creds != nil {
		options = append(options, grpc.Creds(creds))
	}
	s := grpc.NewServer(options...)
	d := doorway{ServiceRegistrar: s, g: g}
	v1.RegisterSecretsServer(d, &secretsServer{g: g})
	v1.RegisterPoliciesServer(d, &policiesServer{g: g})
	v1.RegisterAccessServer(d, &accessServer{g: g})
	v1.RegisterAuditServer(d, &auditServer{g: g})
	v1.RegisterClusterServer(d, &clusterServer{g: g})
	v1.RegisterHealthServer(d, &healthServer{g: g})
	healthpb.RegisterHealthServer(d, &standardHealth{g: g})
	if g.config.Reflection {
		reflection.Register(s)
	}
	return s
}

// doorway registers services so that a call is looked at before its message is
// read: where an interceptor comes too late, because the message is decoded by
// then. It decides nothing: the door does, for every protocol alike.
type doorway struct {
	grpc.ServiceRegistrar
	g *Gateway
}

// RegisterService implements grpc.ServiceRegistrar.
func (d doorway) RegisterService(desc *grpc.ServiceDesc, impl any) {
	service := *desc
	service.Methods, service.Streams = slices.Clone(desc.Methods), slices.Clone(desc.Streams)
	for i := range service.Methods {
		m := &service.Methods[i]
		m.Handler = d.call(d.need(desc, m.MethodName), m.Handler)
	}
	for i := range service.Streams {
		m := &service.Streams[i]
		m.Handler = d.stream(d.need(desc, m.StreamName), m.Handler)
	}
	d.ServiceRegistrar.RegisterService(&service, impl)
}

// need returns what a call needs. The standard health service is not of our
// schema, and open.
func (d doorway) need(desc *grpc.ServiceDesc, method string) *need {
	if n, ok := d.g.needs["/"+desc.ServiceName+"/"+method]; ok {
		return n
	}
	return &need{label: "unknown", open: true}
}

func (d doorway) call(n *need, handle grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (answer any, err error) {
		defer stay(n, &err)
		ctx = withCaller(ctx, d.g.callerFromGRPC(ctx))
		if err := d.g.welcome(ctx, n); err != nil {
			return nil, err
		}
		return handle(srv, ctx, func(message any) error { return d.g.read(ctx, n, message, decode) }, nil)
	}
}

func (d doorway) stream(n *need, handle grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, stream grpc.ServerStream) (err error) {
		defer stay(n, &err)
		ctx := withCaller(stream.Context(), d.g.callerFromGRPC(stream.Context()))
		if err := d.g.welcome(ctx, n); err != nil {
			return err
		}
		return handle(srv, &callerStream{ServerStream: stream, ctx: ctx, g: d.g, need: n})
	}
}

// callerStream is a stream whose context carries the caller and whose messages
// are read like those of any call.
type callerStream struct {
	grpc.ServerStream
	ctx  context.Context
	g    *Gateway
	need *need
}

// Context implements grpc.ServerStream.
func (s *callerStream) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream.
func (s *callerStream) RecvMsg(message any) error {
	return s.g.read(s.ctx, s.need, message, s.ServerStream.RecvMsg)
}

// stay makes an internal error of a panic outside the door. What it panicked with
// may hold something of the request and is not logged.
func stay(n *need, err *error) {
	if broken := recover(); broken != nil {
		slog.Error("call panicked", "method", n.label, "type", fmt.Sprintf("%T", broken), "stack", string(debug.Stack()))
		*err = statusOf(problem(fault.New(fault.Internal, ""), ""))
	}
}

// welcome refuses calls over the rate, and those that cannot be allowed because
// nobody makes them.
func (g *Gateway) welcome(ctx context.Context, n *need) error {
	if err := g.crowd(ctx, n); err != nil || n.open {
		return err
	}
	return g.refuseStranger(ctx, n)
}

// read decodes a message. What is too large for its call, or cannot be read, is
// refused on record. The server would answer by itself, in its own words, if its
// codec failed; so the codec hands over the bytes.
func (g *Gateway) read(ctx context.Context, n *need, message any, decode func(any) error) error {
	var raw rawMessage
	if err := decode(&raw); err != nil {
		return err // of the transport: the caller is gone
	}
	m, ok := message.(proto.Message)
	bound := limitOf(n.method).body
	var err error
	switch {
	case int64(len(raw.data)) > bound:
		err = fault.Newf(fault.TooLarge, "the message may be %d bytes long at most", bound)
	case !ok || proto.Unmarshal(raw.data, m) != nil:
		err = fault.New(fault.InvalidArgument, "the message is not what this call takes")
	default:
		return nil
	}
	if n.open {
		return statusOf(problem(err, ""))
	}
	return g.turnAway(ctx, n, schema.InvalidRequest, err)
}

// rawMessage is a message as it came.
type rawMessage struct{ data []byte }

// rawCodec is the usual codec, but leaves a rawMessage as it is.
type rawCodec struct{ encoding.CodecV2 }

// Unmarshal implements encoding.CodecV2.
func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if raw, ok := v.(*rawMessage); ok {
		raw.data = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// unknownCall records and refuses calls of services or methods that do not exist.
func (g *Gateway) unknownCall(_ any, stream grpc.ServerStream) error {
	ctx := withCaller(stream.Context(), g.callerFromGRPC(stream.Context()))
	n := &need{label: "unknown"}
	if err := g.crowd(ctx, n); err != nil {
		return err
	}
	return g.turnAway(ctx, n, schema.InvalidRequest, fault.New(fault.Unsupported, "there is no such call"))
}

// standardHealth is gRPC's own health service: serving means ready. Clients that
// ask to be told of changes are told to ask again instead.
type standardHealth struct {
	healthpb.UnimplementedHealthServer
	g *Gateway
}

// Check answers for the whole server, whatever service it is asked about.
func (h *standardHealth) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if h.g.ready(ctx) != nil {
		return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}, nil
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}
