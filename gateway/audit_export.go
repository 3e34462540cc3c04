package gateway

import (
	"context"
	"fmt"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// span is a range of the trail on its way through the pages of an export: first
// and last record, and the newest one handed out.
type span struct{ first, last, at uint64 }

func (s *auditServer) ExportRecords(ctx context.Context, req *v1.ExportRecordsRequest) (*v1.ExportRecordsResponse, error) {
	c := s.g.call(v1.Audit_ExportRecords_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.ExportRecordsResponse, error) {
		limit := maxPage
		if req.GetPageSize() != 0 {
			var err error
			if limit, err = pageSize(req.GetPageSize()); err != nil {
				return nil, err
			}
		}
		r, err := s.span(ctx, a, req)
		if err != nil {
			return nil, err
		}
		return s.export(ctx, a, req, r, limit)
	})
}

// span returns the range that is exported. The first page settles its end, so that
// an export ends although it is itself on record.
func (s *auditServer) span(ctx context.Context, a *act, req *v1.ExportRecordsRequest) (span, error) {
	after, err := s.g.pageAfter(a, req, req.GetPageToken())
	if err != nil {
		return span{}, err
	}
	if after != "" {
		var r span
		_, err := fmt.Sscanf(after, "%d-%d-%d", &r.first, &r.last, &r.at)
		return r, err
	}
	signed, err := s.g.trail.Sign(ctx)
	if err != nil {
		return span{}, err
	}
	r := span{first: req.GetAfterSequence() + 1, last: signed.Size}
	if req.GetSince() != nil {
		first, err := s.g.trail.FirstAt(ctx, req.GetSince().AsTime())
		if err != nil {
			return span{}, err
		}
		r.first = max(r.first, first)
	}
	if req.GetUntil() != nil {
		beyond, err := s.g.trail.FirstAt(ctx, req.GetUntil().AsTime())
		if err != nil {
			return span{}, err
		}
		r.last = min(r.last, beyond-1)
	}
	if req.GetAfterSequence() > signed.Size {
		return span{}, fault.Newf(fault.InvalidArgument, "the trail has %d records; after_sequence is beyond them", signed.Size)
	}
	r.first = min(r.first, signed.Size+1)
	r.last = max(r.last, r.first-1) // an empty range
	r.at = r.first - 1
	return r, nil
}

// export makes one page of lines.
func (s *auditServer) export(ctx context.Context, a *act, req *v1.ExportRecordsRequest, r span, limit int) (*v1.ExportRecordsResponse, error) {
	out := &v1.ExportRecordsResponse{First: r.first, Last: r.last}
	if req.GetPageToken() == "" && r.at > 0 {
		before, err := s.g.trail.ExportBefore(r.at)
		if err != nil {
			return nil, err
		}
		out.Lines = append(out.Lines, before)
	}
	visible := func(schema.Path) bool { return false }
	if filter, ok := a.permit.Filter(a.entry.Call.Capability); ok {
		visible = filter.Visible
	}
	lines, err := s.g.trail.ExportLines(ctx, r.at, r.last, limit, visible)
	if err != nil {
		return nil, err
	}
	out.Lines, out.Records, a.count = append(out.Lines, lines...), uint32(len(lines)), len(lines)
	if r.at += uint64(len(lines)); r.at < r.last {
		out.NextPageToken = s.g.pageToken(a, req, fmt.Sprintf("%d-%d-%d", r.first, r.last, r.at))
		return out, nil
	}
	signed, err := s.g.trail.Sign(ctx)
	if err != nil {
		return nil, err
	}
	end, err := s.g.trail.ExportEnd(r.at, signed)
	if err != nil {
		return nil, err
	}
	out.Lines = append(out.Lines, end)
	return out, nil
}

func (s *auditServer) ProveRecord(ctx context.Context, req *v1.ProveRecordRequest) (*v1.RecordProof, error) {
	c := s.g.call(v1.Audit_ProveRecord_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.RecordProof, error) {
		record, err := s.record(ctx, req)
		if err != nil {
			return nil, err
		}
		filter, ok := a.permit.Filter(c.cap)
		if !ok || !filter.Visible(record.Path()) {
			return nil, fault.New(fault.NotFound, "there is no such record")
		}
		signed, err := s.g.trail.Sign(ctx)
		if err != nil {
			return nil, err
		}
		proof, err := s.g.trail.Inclusion(record.Sequence, signed.Size)
		if err != nil {
			return nil, err
		}
		return &v1.RecordProof{
			Sequence: record.Sequence, Record: string(record.JSON()), Proof: hashTexts(proof), Checkpoint: string(signed.Note),
		}, nil
	})
}

// record returns the record that the request names; of a decision, the newest.
func (s *auditServer) record(ctx context.Context, req *v1.ProveRecordRequest) (audit.Record, error) {
	missing := fault.New(fault.NotFound, "there is no such record")
	switch {
	case (req.GetSequence() == 0) == (req.GetDecisionId() == ""):
		return audit.Record{}, fault.New(fault.InvalidArgument, "name the record: either sequence or decision_id")
	case req.GetSequence() != 0:
		record, err := s.g.trail.Record(ctx, req.GetSequence())
		if fault.KindOf(err) == fault.NotFound {
			return record, missing
		}
		return record, err
	}
	id, err := schema.ParseDecisionID(req.GetDecisionId())
	if err != nil {
		return audit.Record{}, err
	}
	records, err := s.g.trail.ByDecision(ctx, id)
	if err == nil && len(records) == 0 {
		err = missing
	}
	if err != nil {
		return audit.Record{}, err
	}
	return records[len(records)-1], nil
}
