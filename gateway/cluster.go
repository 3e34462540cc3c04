package gateway

import (
	"context"

	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// clusterServer is the Cluster service.
type clusterServer struct {
	v1.UnsafeClusterServer
	g *Gateway
}

func (s *clusterServer) GetClusterStatus(ctx context.Context, req *v1.GetClusterStatusRequest) (*v1.ClusterStatus, error) {
	c := s.g.call(v1.Cluster_GetClusterStatus_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, _ *act) (*v1.ClusterStatus, error) {
		revision, err := s.g.store.Revision(ctx)
		if err != nil {
			return nil, err
		}
		set, setRevision := s.g.engine.Set()
		return &v1.ClusterStatus{
			Cluster: s.g.store.Cluster(), Node: s.g.config.Node, Version: s.g.config.Version, Started: timeToWire(s.g.started),
			Revision: uint64(revision), KeyringVersion: s.g.store.Keys().Version(),
			SetDigest: set.Digest().String(), SetRevision: uint64(setRevision), Policies: uint32(len(set.Names())),
			TrailSize: s.g.trail.Checkpoint().Size, Durability: s.g.config.Durability,
		}, nil
	})
}

// healthServer is the Health service. It tells nothing but whether requests are
// answered, to anyone, and is not recorded.
type healthServer struct {
	v1.UnsafeHealthServer
	g *Gateway
}

func (s *healthServer) Live(context.Context, *v1.LiveRequest) (*v1.LiveResponse, error) {
	return &v1.LiveResponse{Status: "ok"}, nil
}

func (s *healthServer) Ready(ctx context.Context, _ *v1.ReadyRequest) (*v1.ReadyResponse, error) {
	if err := s.g.ready(ctx); err != nil {
		return nil, statusOf(problem(err, ""))
	}
	return &v1.ReadyResponse{Status: "ok"}, nil
}

// ready says why requests cannot be answered, or nil.
func (g *Gateway) ready(ctx context.Context) error {
	if set, _ := g.engine.Set(); set == nil {
		return fault.New(fault.Unavailable, "no policies are in force yet")
	}
	// A trail that failed is tried again here: without traffic nothing else
	// would find out that it has recovered.
	if g.trailFailed.Load() && g.event(ctx, "resume") != nil {
		return fault.New(fault.Unavailable, "the audit trail cannot take records")
	}
	if _, err := g.store.Revision(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, "the store does not answer", err)
	}
	return nil
}
