package gateway

import (
	"context"

	"github.com/heroctl/heroctl/schema"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/storage"
)

var (
	policyBind  = schema.Capability{Resource: schema.Policy, Verb: "bind"}
	roleBind    = schema.Capability{Resource: schema.Role, Verb: "bind"}
	roleUpdate  = schema.Capability{Resource: schema.Role, Verb: "update"}
	tokenUpdate = schema.Capability{Resource: schema.Token, Verb: "update"}
)

func (s *accessServer) CreateRole(ctx context.Context, req *v1.CreateRoleRequest) (*v1.Role, error) {
	c := s.g.call(v1.Access_CreateRole_FullMethodName, req)
	var err error
	if c.hand, err = parseNames(req.GetRole().GetPolicies()); err != nil {
		return nil, s.g.turnAway(ctx, c.need, schema.InvalidPath, err)
	}
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.Role, error) {
		r, err := s.g.store.Identities.CreateRole(ctx, a.permit, storage.NewRole{Description: req.GetRole().GetDescription(), Policies: c.hand})
		return roleToWire(r), err
	})
}

func (s *accessServer) ListRoles(ctx context.Context, req *v1.ListRolesRequest) (*v1.ListRolesResponse, error) {
	c := s.g.call(v1.Access_ListRoles_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.ListRolesResponse, error) {
		limit, after, err := s.g.namePage(a, req, req.GetPageSize(), req.GetPageToken())
		if err != nil {
			return nil, err
		}
		page, err := s.g.store.Identities.ListRoles(ctx, a.permit, storage.NameQuery{After: after, Limit: limit})
		if err != nil {
			return nil, err
		}
		out := &v1.ListRolesResponse{}
		for _, item := range page.Items {
			r := &v1.Role{Name: item.Name.String()}
			if item.Role != nil {
				r = roleToWire(*item.Role)
			}
			out.Roles = append(out.Roles, r)
		}
		if page.More {
			out.NextPageToken = s.g.pageToken(a, req, page.Items[len(page.Items)-1].Name.String())
		}
		a.count = len(page.Items)
		return out, nil
	})
}

func (s *accessServer) DescribeRole(ctx context.Context, req *v1.DescribeRoleRequest) (*v1.Role, error) {
	c := s.g.call(v1.Access_DescribeRole_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.Role, error) {
		r, err := s.g.store.Identities.DescribeRole(ctx, a.permit)
		return roleToWire(r), err
	})
}

func (s *accessServer) UpdateRole(ctx context.Context, req *v1.UpdateRoleRequest) (*v1.Role, error) {
	c := s.g.call(v1.Access_UpdateRole_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.Role, error) {
		var change storage.RoleChange
		if in := req.GetChange(); in != nil {
			change.Description = in.Description
		}
		r, err := s.g.store.Identities.UpdateRole(ctx, a.permit, change)
		return roleToWire(r), err
	})
}

func (s *accessServer) DeleteRole(ctx context.Context, req *v1.DeleteRoleRequest) (*v1.DeleteRoleResponse, error) {
	c := s.g.call(v1.Access_DeleteRole_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.DeleteRoleResponse, error) {
		return &v1.DeleteRoleResponse{}, s.g.store.Identities.DeleteRole(ctx, a.permit)
	})
}

func parseNames(texts []string) ([]schema.Name, error) {
	var names []schema.Name
	for _, text := range texts {
		name, err := schema.ParseName(text)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func namesToWire(names []schema.Name) []string {
	var texts []string
	for _, name := range names {
		texts = append(texts, name.String())
	}
	return texts
}

func roleToWire(r storage.Role) *v1.Role {
	return &v1.Role{
		Name: r.Name.String(), Description: r.Description, Policies: namesToWire(r.Policies), BuiltIn: r.Builtin,
		Created: timeToWire(r.Created), Author: r.Author, Updated: timeToWire(r.Updated),
	}
}
