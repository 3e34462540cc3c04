package gateway

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

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
		grpc.UnaryInterceptor(g.carryCaller),
		grpc.UnknownServiceHandler(g.unknownCall),
	}
	if creds != nil {
		options = append(options, grpc.Creds(creds))
	}
	s := grpc.NewServer(options...)
	v1.RegisterSecretsServer(s, &secretsServer{g: g})
	v1.RegisterPoliciesServer(s, &policiesServer{g: g})
	v1.RegisterAccessServer(s, &accessServer{g: g})
	v1.RegisterAuditServer(s, &auditServer{g: g})
	v1.RegisterClusterServer(s, &clusterServer{g: g})
	v1.RegisterHealthServer(s, &healthServer{g: g})
	healthpb.RegisterHealthServer(s, health.NewServer())
	if g.config.Reflection {
		reflection.Register(s)
	}
	return s
}

// carryCaller puts the caller into the context, where the door looks for it. It
// decides nothing: the door does, for every protocol alike.
func (g *Gateway) carryCaller(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (answer any, err error) {
	defer func() {
		if broken := recover(); broken != nil {
			slog.Error("call panicked", "method", info.FullMethod, "stack", string(debug.Stack()))
			err = statusOf(problem(fault.New(fault.Internal, ""), ""))
		}
	}()
	who := g.callerFromGRPC(ctx)
	if !g.rate.allow(who.source.Client, who.arrived) {
		return nil, statusOf(problem(fault.New(fault.RateLimited, "too many requests from this address"), ""))
	}
	return handler(withCaller(ctx, who), req)
}

// unknownCall records and refuses calls of services or methods that do not exist.
func (g *Gateway) unknownCall(_ any, stream grpc.ServerStream) error {
	ctx := withCaller(stream.Context(), g.callerFromGRPC(stream.Context()))
	return g.turnAway(ctx, &need{label: "unknown"}, schema.InvalidRequest, fault.New(fault.Unsupported, "there is no such call"))
}
