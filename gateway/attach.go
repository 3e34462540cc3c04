package gateway

import (
	"context"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/storage"
)

func (s *policiesServer) AttachPolicy(ctx context.Context, req *v1.AttachPolicyRequest) (*v1.AttachPolicyResponse, error) {
	c := s.g.call(v1.Policies_AttachPolicy_FullMethodName, req)
	if name, err := schema.ParseName(req.GetName()); err == nil { // the door refuses what is not a name
		c.hand = []schema.Name{name}
	}
	return s.attach(ctx, c, req.GetTarget(), func(ctx context.Context, a *act) error {
		return s.g.store.Identities.Attach(ctx, a.permit, a.permits[0])
	})
}

func (s *policiesServer) DetachPolicy(ctx context.Context, req *v1.DetachPolicyRequest) (*v1.DetachPolicyResponse, error) {
	c := s.g.call(v1.Policies_DetachPolicy_FullMethodName, req)
	_, err := s.attach(ctx, c, req.GetTarget(), func(ctx context.Context, a *act) error {
		return s.g.store.Identities.Detach(ctx, a.permit, a.permits[0])
	})
	if err != nil {
		return nil, err
	}
	return &v1.DetachPolicyResponse{}, nil
}

// attach passes the door with both things that are needed: policy:attach on the
// policy, and the right to change what it is attached to.
func (s *policiesServer) attach(ctx context.Context, c call, to *v1.AttachTarget, run func(context.Context, *act) error) (*v1.AttachPolicyResponse, error) {
	t, err := attachTarget(to)
	if err != nil {
		return nil, s.g.turnAway(ctx, c.need, schema.InvalidRequest, err)
	}
	c.also = []target{t}
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.AttachPolicyResponse, error) {
		return &v1.AttachPolicyResponse{}, run(ctx, a)
	})
}

func attachTarget(to *v1.AttachTarget) (target, error) {
	switch role, token := to.GetRole(), to.GetToken(); {
	case (role == "") == (token == ""):
		return target{}, fault.New(fault.InvalidArgument, "name what the policy is attached to: either role or token")
	case role != "":
		name, err := schema.ParseName(role)
		return target{roleUpdate, name.Path()}, err
	default:
		path, err := schema.ParsePath(token)
		if err == nil {
			_, _, err = storage.TokenPath(path)
		}
		return target{tokenUpdate, path}, err
	}
}
