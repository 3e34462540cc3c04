package gateway

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/schema/secret"
	"github.com/heroctl/heroctl/storage"
)

// secretsServer is the Secrets service: each call names itself to the door and
// says what to do once it is open.
type secretsServer struct {
	v1.UnsafeSecretsServer
	g *Gateway
}

func (s *secretsServer) CreateSecret(ctx context.Context, req *v1.CreateSecretRequest) (*v1.Secret, error) {
	c := s.g.call(v1.Secrets_CreateSecret_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.Secret, error) {
		n := req.GetSecret()
		if n == nil || n.Value == nil {
			return nil, fault.New(fault.InvalidArgument, "a value is needed; it may be empty, but it must be there")
		}
		window, err := windowFromWire(n.GetWindow())
		if err != nil {
			return nil, err
		}
		info, err := s.g.store.Secrets.Create(ctx, a.permit, storage.NewSecret{
			Value: secret.New(n.GetValue()), Owner: n.GetOwner(), Description: n.GetDescription(), Labels: n.GetLabels(), Window: window,
		})
		return s.changed(a, info, err)
	})
}

func (s *secretsServer) ListSecrets(ctx context.Context, req *v1.ListSecretsRequest) (*v1.ListSecretsResponse, error) {
	c := s.g.call(v1.Secrets_ListSecrets_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.ListSecretsResponse, error) {
		q, err := s.listQuery(a, req)
		if err != nil {
			return nil, err
		}
		page, err := s.g.store.Secrets.List(ctx, a.permit, q)
		if err != nil {
			return nil, err
		}
		out := &v1.ListSecretsResponse{}
		for _, item := range page.Items {
			if item.Info != nil {
				out.Secrets = append(out.Secrets, secretToWire(*item.Info))
			} else {
				out.Secrets = append(out.Secrets, &v1.Secret{Path: item.Path.String()})
			}
		}
		if page.More {
			out.NextPageToken = s.g.pageToken(a, req, page.Items[len(page.Items)-1].Path.String())
		}
		a.count = len(page.Items)
		return out, nil
	})
}

func (s *secretsServer) listQuery(a *act, req *v1.ListSecretsRequest) (storage.ListQuery, error) {
	prefix, err := schema.ParsePrefix(req.GetPrefix())
	if err != nil {
		return storage.ListQuery{}, err
	}
	limit, err := pageSize(req.GetPageSize())
	if err != nil {
		return storage.ListQuery{}, err
	}
	after, err := s.g.pageAfter(a, req, req.GetPageToken())
	if err != nil {
		return storage.ListQuery{}, err
	}
	q := storage.ListQuery{Prefix: prefix, Search: req.GetSearch(), Limit: limit}
	if after != "" {
		q.After, err = schema.ParsePath(after)
	}
	return q, err
}

func (s *secretsServer) GetSecret(ctx context.Context, req *v1.GetSecretRequest) (*v1.SecretValue, error) {
	c := s.g.call(v1.Secrets_GetSecret_FullMethodName, req)
	c.version = schema.Version(req.GetVersion())
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.SecretValue, error) {
		value, info, err := s.g.store.Secrets.Read(ctx, a.permit, c.version)
		if err != nil {
			return nil, err
		}
		a.version = info.Version
		out := &v1.SecretValue{Path: c.path, Version: uint32(info.Version), Created: timeToWire(info.Created)}
		value.Expose(func(b []byte) { out.Value = b })
		return out, nil
	})
}

func (s *secretsServer) DescribeSecret(ctx context.Context, req *v1.DescribeSecretRequest) (*v1.Secret, error) {
	c := s.g.call(v1.Secrets_DescribeSecret_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.Secret, error) {
		info, err := s.g.store.Secrets.Describe(ctx, a.permit)
		return s.changed(a, info, err)
	})
}

func (s *secretsServer) ListSecretVersions(ctx context.Context, req *v1.ListSecretVersionsRequest) (*v1.ListSecretVersionsResponse, error) {
	c := s.g.call(v1.Secrets_ListSecretVersions_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.ListSecretVersionsResponse, error) {
		versions, err := s.g.store.Secrets.History(ctx, a.permit)
		if err != nil {
			return nil, err
		}
		out := &v1.ListSecretVersionsResponse{}
		for _, v := range versions {
			out.Versions = append(out.Versions, versionToWire(v))
		}
		a.count = len(versions)
		return out, nil
	})
}

func (s *secretsServer) UpdateSecret(ctx context.Context, req *v1.UpdateSecretRequest) (*v1.Secret, error) {
	c := s.g.call(v1.Secrets_UpdateSecret_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.Secret, error) {
		in := req.GetChange()
		ifVersion, err := ifVersion(a, in.GetIfVersion())
		if err != nil {
			return nil, err
		}
		change := storage.SecretChange{IfVersion: ifVersion, Labels: in.GetLabels(), SetLabels: in.GetSetLabels()}
		if in != nil {
			change.Owner, change.Description = in.Owner, in.Description
			if in.Value != nil {
				value := secret.New(in.Value)
				change.Value = &value
			}
		}
		if in.GetWindow() != nil {
			window, err := windowFromWire(in.GetWindow())
			if err != nil {
				return nil, err
			}
			change.Window = &window
		}
		info, err := s.g.store.Secrets.Update(ctx, a.permit, change)
		return s.changed(a, info, err)
	})
}

func (s *secretsServer) RollbackSecret(ctx context.Context, req *v1.RollbackSecretRequest) (*v1.Secret, error) {
	c := s.g.call(v1.Secrets_RollbackSecret_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.Secret, error) {
		to := schema.Version(req.GetRollback().GetToVersion())
		if to == 0 {
			return nil, fault.New(fault.InvalidArgument, "to_version is needed: the version to roll back to")
		}
		ifVersion, err := ifVersion(a, req.GetRollback().GetIfVersion())
		if err != nil {
			return nil, err
		}
		info, err := s.g.store.Secrets.Rollback(ctx, a.permit, to, ifVersion)
		return s.changed(a, info, err)
	})
}

func (s *secretsServer) DeleteSecret(ctx context.Context, req *v1.DeleteSecretRequest) (*v1.DeleteSecretResponse, error) {
	c := s.g.call(v1.Secrets_DeleteSecret_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.DeleteSecretResponse, error) {
		ifVersion, err := ifVersion(a, req.GetIfVersion())
		if err != nil {
			return nil, err
		}
		return &v1.DeleteSecretResponse{}, s.g.store.Secrets.Delete(ctx, a.permit, ifVersion)
	})
}

func (s *secretsServer) UndeleteSecret(ctx context.Context, req *v1.UndeleteSecretRequest) (*v1.Secret, error) {
	c := s.g.call(v1.Secrets_UndeleteSecret_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.Secret, error) {
		info, err := s.g.store.Secrets.Undelete(ctx, a.permit)
		return s.changed(a, info, err)
	})
}

func (s *secretsServer) DestroySecret(ctx context.Context, req *v1.DestroySecretRequest) (*v1.DestroySecretResponse, error) {
	c := s.g.call(v1.Secrets_DestroySecret_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.DestroySecretResponse, error) {
		return &v1.DestroySecretResponse{}, s.g.store.Secrets.Destroy(ctx, a.permit)
	})
}

// changed answers with the metadata as it now is, and puts the version on record.
func (s *secretsServer) changed(a *act, info storage.SecretInfo, err error) (*v1.Secret, error) {
	if err != nil {
		return nil, err
	}
	a.version = info.Current
	return secretToWire(info), nil
}

// ifVersion returns the version that must be current, from the request or from
// the If-Match header; they must not differ.
func ifVersion(a *act, asked uint32) (schema.Version, error) {
	header := a.caller.ifMatch
	if header == "" {
		return schema.Version(asked), nil
	}
	text, ok := strings.CutPrefix(header, `"`)
	text, closed := strings.CutSuffix(text, `"`)
	v, err := schema.ParseVersion(text)
	if !ok || !closed || err != nil {
		return 0, fault.New(fault.InvalidArgument, `If-Match takes one ETag of this secret, such as "3"`)
	}
	if asked != 0 && schema.Version(asked) != v {
		return 0, fault.New(fault.InvalidArgument, "If-Match and if_version name different versions")
	}
	return v, nil
}

func windowFromWire(d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.CheckValid(); err != nil || d.AsDuration() <= 0 {
		return 0, fault.New(fault.InvalidArgument, "a version window is a time greater than zero, such as 604800s for 7 days")
	}
	return d.AsDuration(), nil
}

func secretToWire(i storage.SecretInfo) *v1.Secret {
	return &v1.Secret{
		Path: i.Path.String(), Version: uint32(i.Current), Created: timeToWire(i.Created), Updated: timeToWire(i.Updated),
		Author: i.Author, UpdatedBy: i.UpdatedBy, Owner: i.Owner, Description: i.Description, Labels: i.Labels,
		Window: durationpb.New(i.Window), Deleted: timeToWire(i.Deleted),
	}
}

func versionToWire(v storage.VersionInfo) *v1.SecretVersion {
	return &v1.SecretVersion{
		Version: uint32(v.Version), Source: uint32(v.Source), Created: timeToWire(v.Created), Author: v.Author,
		State: string(v.State), Superseded: timeToWire(v.Superseded), Expires: timeToWire(v.Expires),
	}
}

// timeToWire leaves the zero time unset.
func timeToWire(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
