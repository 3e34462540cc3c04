package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/schema"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// Bounds of one answer about usage.
const (
	usagePeriod  = 30 * 24 * time.Hour
	usageRecords = 20000
	usageReaders = 100
)

func (s *auditServer) GetUsage(ctx context.Context, req *v1.GetUsageRequest) (*v1.Usage, error) {
	c := s.g.call(v1.Audit_GetUsage_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.Usage, error) {
		path := a.entry.Call.Path
		filter, ok := a.permit.Filter(a.entry.Call.Capability)
		if !ok || path.IsZero() || !filter.Visible(path) {
			return &v1.Usage{}, nil
		}
		since := a.caller.arrived.Add(-usagePeriod)
		if req.GetSince() != nil {
			since = req.GetSince().AsTime()
		}
		return s.usage(ctx, path, since)
	})
}

// usage counts the reads of a secret from the trail, the newest first.
func (s *auditServer) usage(ctx context.Context, path schema.Path, since time.Time) (*v1.Usage, error) {
	out := &v1.Usage{Visible: true, Since: timeToWire(since)}
	q := audit.Query{
		Resource: schema.Secret, Path: path, Since: since, Result: audit.ResultAllow, Newest: true, Limit: maxPage,
		Capabilities: []schema.Capability{{Resource: schema.Secret, Verb: "read"}, {Resource: schema.Secret, Verb: "inject"}},
	}
	for {
		page, err := s.g.trail.Find(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, row := range page.Rows {
			count(out, row)
		}
		if page.Next == "" {
			return out, nil
		}
		if out.Reads >= usageRecords {
			out.More = true
			return out, nil
		}
		q.After = page.Next
	}
}

// count adds one read.
func count(out *v1.Usage, row audit.Row) {
	user, job := row.Input.Subject.ID, row.Input.Subject.Properties.Job
	out.Reads++
	i := slices.IndexFunc(out.Readers, func(r *v1.Reader) bool { return r.GetUser() == user && r.GetJob() == job })
	if i >= 0 {
		out.Readers[i].Reads++
		return
	}
	r := &v1.Reader{User: user, Job: job, Time: timeToWire(row.Time), Source: row.Input.Context.Source, Reads: 1}
	if out.Last == nil {
		out.Last = r
	}
	if len(out.Readers) < usageReaders {
		out.Readers = append(out.Readers, r)
	}
}
