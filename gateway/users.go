package gateway

import (
	"context"

	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/storage"
)

// accessServer is the Access service: users, roles, tokens, and the caller's own
// token.
type accessServer struct {
	v1.UnsafeAccessServer
	g *Gateway
}

func (s *accessServer) CreateUser(ctx context.Context, req *v1.CreateUserRequest) (*v1.User, error) {
	c := s.g.call(v1.Access_CreateUser_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.User, error) {
		u, err := s.g.store.Identities.CreateUser(ctx, a.permit, storage.NewUser{Description: req.GetUser().GetDescription()})
		return userToWire(u), err
	})
}

func (s *accessServer) ListUsers(ctx context.Context, req *v1.ListUsersRequest) (*v1.ListUsersResponse, error) {
	c := s.g.call(v1.Access_ListUsers_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.ListUsersResponse, error) {
		limit, after, err := s.g.namePage(a, req, req.GetPageSize(), req.GetPageToken())
		if err != nil {
			return nil, err
		}
		page, err := s.g.store.Identities.ListUsers(ctx, a.permit, storage.NameQuery{After: after, Limit: limit})
		if err != nil {
			return nil, err
		}
		out := &v1.ListUsersResponse{}
		for _, item := range page.Items {
			u := &v1.User{Name: item.Name.String()}
			if item.User != nil {
				u = userToWire(*item.User)
			}
			out.Users = append(out.Users, u)
		}
		if page.More {
			out.NextPageToken = s.g.pageToken(a, req, page.Items[len(page.Items)-1].Name.String())
		}
		a.count = len(page.Items)
		return out, nil
	})
}

func (s *accessServer) DescribeUser(ctx context.Context, req *v1.DescribeUserRequest) (*v1.User, error) {
	c := s.g.call(v1.Access_DescribeUser_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.User, error) {
		u, err := s.g.store.Identities.DescribeUser(ctx, a.permit)
		return userToWire(u), err
	})
}

func (s *accessServer) UpdateUser(ctx context.Context, req *v1.UpdateUserRequest) (*v1.User, error) {
	c := s.g.call(v1.Access_UpdateUser_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.User, error) {
		var change storage.UserChange
		if in := req.GetChange(); in != nil {
			change.Description, change.Disabled = in.Description, in.Disabled
		}
		u, err := s.g.store.Identities.UpdateUser(ctx, a.permit, change)
		return userToWire(u), err
	})
}

func (s *accessServer) DeleteUser(ctx context.Context, req *v1.DeleteUserRequest) (*v1.DeleteUserResponse, error) {
	c := s.g.call(v1.Access_DeleteUser_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.DeleteUserResponse, error) {
		return &v1.DeleteUserResponse{}, s.g.store.Identities.DeleteUser(ctx, a.permit)
	})
}

func userToWire(u storage.User) *v1.User {
	return &v1.User{
		Name: u.Name.String(), Description: u.Description, Disabled: u.Disabled,
		Created: timeToWire(u.Created), Author: u.Author, Updated: timeToWire(u.Updated),
	}
}
