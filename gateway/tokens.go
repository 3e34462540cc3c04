package gateway

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/storage"
)

func (s *accessServer) WhoAmI(ctx context.Context, req *v1.WhoAmIRequest) (*v1.WhoAmIResponse, error) {
	c := s.g.call(v1.Access_WhoAmI_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.WhoAmIResponse, error) {
		info, err := s.g.store.Identities.DescribeToken(ctx, a.permit)
		if err != nil {
			return nil, err
		}
		who := a.entry.Call.Principal
		out := &v1.WhoAmIResponse{User: who.User, Accessor: who.Token, Roles: who.Roles, Policies: who.Policies, Expires: timeToWire(info.Expires)}
		if source := a.entry.Call.Context.Source; source.IsValid() {
			out.Source = source.String()
		}
		return out, nil
	})
}

func (s *accessServer) RenewSelf(ctx context.Context, req *v1.RenewSelfRequest) (*v1.Token, error) {
	c := s.g.call(v1.Access_RenewSelf_FullMethodName, req)
	return enforce(ctx, s.g, c, s.renew(req.GetRenewal()))
}

func (s *accessServer) RenewToken(ctx context.Context, req *v1.RenewTokenRequest) (*v1.Token, error) {
	c := s.g.call(v1.Access_RenewToken_FullMethodName, req)
	return enforce(ctx, s.g, c, s.renew(req.GetRenewal()))
}

func (s *accessServer) renew(r *v1.Renewal) func(context.Context, *act) (*v1.Token, error) {
	return func(ctx context.Context, a *act) (*v1.Token, error) {
		ttl, err := ttlFromWire(r.GetTtl(), 0)
		if err != nil {
			return nil, err
		}
		info, err := s.g.store.Identities.RenewToken(ctx, a.permit, ttl)
		return tokenToWire(info), err
	}
}

func (s *accessServer) RevokeSelf(ctx context.Context, req *v1.RevokeSelfRequest) (*v1.RevokeSelfResponse, error) {
	c := s.g.call(v1.Access_RevokeSelf_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.RevokeSelfResponse, error) {
		_, err := s.g.store.Identities.RevokeToken(ctx, a.permit)
		return &v1.RevokeSelfResponse{}, err
	})
}

func (s *accessServer) RevokeToken(ctx context.Context, req *v1.RevokeTokenRequest) (*v1.RevokeTokenResponse, error) {
	c := s.g.call(v1.Access_RevokeToken_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.RevokeTokenResponse, error) {
		n, err := s.g.store.Identities.RevokeToken(ctx, a.permit)
		a.count = n
		return &v1.RevokeTokenResponse{Revoked: uint32(n)}, err
	})
}

func (s *accessServer) DescribeToken(ctx context.Context, req *v1.DescribeTokenRequest) (*v1.Token, error) {
	c := s.g.call(v1.Access_DescribeToken_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.Token, error) {
		info, err := s.g.store.Identities.DescribeToken(ctx, a.permit)
		return tokenToWire(info), err
	})
}

func (s *accessServer) ListTokens(ctx context.Context, req *v1.ListTokensRequest) (*v1.ListTokensResponse, error) {
	c := s.g.call(v1.Access_ListTokens_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.ListTokensResponse, error) {
		q, err := s.tokenQuery(a, req)
		if err != nil {
			return nil, err
		}
		page, err := s.g.store.Identities.ListTokens(ctx, a.permit, q)
		if err != nil {
			return nil, err
		}
		out := &v1.ListTokensResponse{}
		for _, item := range page.Items {
			segments := item.Path.Segments()
			t := &v1.Token{Path: item.Path.String(), User: segments[0], Accessor: segments[1]}
			if item.Info != nil {
				t = tokenToWire(*item.Info)
			}
			out.Tokens = append(out.Tokens, t)
		}
		if page.More {
			out.NextPageToken = s.g.pageToken(a, req, page.Items[len(page.Items)-1].Path.String())
		}
		a.count = len(page.Items)
		return out, nil
	})
}

func (s *accessServer) tokenQuery(a *act, req *v1.ListTokensRequest) (q storage.TokenQuery, err error) {
	if q.Limit, err = pageSize(req.GetPageSize()); err != nil {
		return q, err
	}
	if req.GetUser() != "" {
		if q.User, err = schema.ParseName(req.GetUser()); err != nil {
			return q, err
		}
	}
	after, err := s.g.pageAfter(a, req, req.GetPageToken())
	if err == nil && after != "" {
		q.After, err = schema.ParsePath(after)
	}
	return q, err
}

// CreateToken makes a token. Its path, USER/ACCESSOR, is chosen before the
// decision, so that what is decided is what is made.
func (s *accessServer) CreateToken(ctx context.Context, req *v1.CreateTokenRequest) (*v1.CreateTokenResponse, error) {
	c := s.g.call(v1.Access_CreateToken_FullMethodName, req)
	if c.path == "" {
		who, _ := s.g.identify(ctx, s.g.callerFrom(ctx))
		c.path = who.User
	}
	c.path += "/" + storage.NewAccessor()
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.CreateTokenResponse, error) {
		n, err := newToken(req)
		if err != nil {
			return nil, err
		}
		n.Standalone = s.mayHandOut(ctx, a, n)
		value, info, err := s.g.store.Identities.CreateToken(ctx, a.permit, n)
		if err != nil {
			return nil, err
		}
		out := &v1.CreateTokenResponse{Accessor: info.Accessor, Metadata: tokenToWire(info)}
		value.Expose(func(b []byte) { out.Token = string(b) })
		return out, nil
	})
}

// mayHandOut reports whether the caller has bind on everything that the token is
// to carry. If not, the token becomes a child of the caller's, within its limits.
// So does a token for oneself that carries nothing: there is no bind to ask for,
// and it must not outlive its maker and be given something later.
func (s *accessServer) mayHandOut(ctx context.Context, a *act, n storage.NewToken) bool {
	if len(n.Roles)+len(n.Policies) == 0 {
		return a.entry.Call.Path.Segments()[0] != a.entry.Call.Principal.User
	}
	for _, role := range n.Roles {
		if decision, _ := s.g.check(ctx, a, target{roleBind, role.Path()}); !decision.Allow {
			return false
		}
	}
	for _, policy := range n.Policies {
		if decision, _ := s.g.check(ctx, a, target{policyBind, policy.Path()}); !decision.Allow {
			return false
		}
	}
	return true
}

func newToken(req *v1.CreateTokenRequest) (n storage.NewToken, err error) {
	n = storage.NewToken{Kind: storage.ServiceToken, Description: req.GetDescription(), Shorten: req.GetTtl() == nil}
	switch req.GetKind() {
	case "", "service":
	case "user":
		n.Kind = storage.UserToken
	default:
		return n, fault.New(fault.InvalidArgument, "the kind of a token is service or user")
	}
	if n.Roles, err = parseNames(req.GetRoles()); err != nil {
		return n, err
	}
	if n.Policies, err = parseNames(req.GetPolicies()); err != nil {
		return n, err
	}
	for _, text := range req.GetCidrs() {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return n, fault.New(fault.InvalidArgument, "cidrs are networks such as 10.0.0.0/8 or 10.1.2.3/32")
		}
		n.CIDRs = append(n.CIDRs, network.Masked())
	}
	n.TTL, err = ttlFromWire(req.GetTtl(), storage.DefaultTokenTTL)
	return n, err
}

// ttlFromWire returns the time to live asked for, or usual if none is. Zero and
// negative times are refused: they never mean "without end".
func ttlFromWire(d *durationpb.Duration, usual time.Duration) (time.Duration, error) {
	if d == nil {
		return usual, nil
	}
	if err := d.CheckValid(); err != nil || d.AsDuration() <= 0 || d.AsDuration() > storage.MaxTokenTTL {
		return 0, fault.Newf(fault.InvalidArgument, "ttl is more than 0 and at most %ds", int64(storage.MaxTokenTTL.Seconds()))
	}
	return d.AsDuration(), nil
}

func tokenToWire(t storage.TokenInfo) *v1.Token {
	out := &v1.Token{
		Accessor: t.Accessor, Path: t.Path.String(), User: t.User.String(), Roles: namesToWire(t.Roles), Policies: namesToWire(t.Policies),
		Description: t.Description, Created: timeToWire(t.Created), Author: t.Author, Expires: timeToWire(t.Expires),
		ExpiresAtMost: timeToWire(t.Limit), Parent: t.Parent, State: string(t.State),
	}
	for _, network := range t.CIDRs {
		out.Cidrs = append(out.Cidrs, network.String())
	}
	return out
}
