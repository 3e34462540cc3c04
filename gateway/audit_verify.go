package gateway

import (
	"context"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

func (s *auditServer) GetCheckpoint(ctx context.Context, req *v1.GetCheckpointRequest) (*v1.SignedCheckpoint, error) {
	c := s.g.call(v1.Audit_GetCheckpoint_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, _ *act) (*v1.SignedCheckpoint, error) {
		signed, err := s.g.trail.Sign(ctx)
		if err != nil {
			return nil, err
		}
		if req.GetOlderSize() > signed.Size {
			return nil, fault.Newf(fault.FailedCheck, "the trail has %d records only: fewer than the older checkpoint covers", signed.Size)
		}
		proof, err := s.g.trail.Consistency(req.GetOlderSize(), signed.Size)
		if err != nil {
			return nil, err
		}
		return &v1.SignedCheckpoint{
			Checkpoint: string(signed.Note), Key: s.g.trail.VerifierKey(), Size: signed.Size, Proof: hashTexts(proof),
		}, nil
	})
}

func (s *auditServer) VerifyRecords(ctx context.Context, req *v1.VerifyRecordsRequest) (*v1.VerifyRecordsResponse, error) {
	c := s.g.call(v1.Audit_VerifyRecords_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.VerifyRecordsResponse, error) {
		segment := req.GetSegment()
		if segment == 0 && req.GetSince() != nil {
			var err error
			if segment, err = s.g.trail.SegmentAt(ctx, req.GetSince().AsTime()); err != nil {
				return nil, err
			}
		}
		part, err := s.g.trail.VerifyPart(ctx, []byte(req.GetCheckpoint()), segment)
		if err != nil {
			return nil, err
		}
		a.count = int(part.Records)
		return &v1.VerifyRecordsResponse{
			Integrity: verdictToWire(part.Integrity), Completeness: verdictToWire(part.Completeness),
			Start: treeToWire(part.Start), End: treeToWire(part.End), Records: part.Records, NextSegment: part.Next,
		}, nil
	})
}

func verdictToWire(v audit.Verdict) *v1.Verdict {
	return &v1.Verdict{Ok: v.OK, Detail: v.Detail, Segment: v.Segment, Sequence: v.Sequence}
}

func treeToWire(t audit.Tree) *v1.TreeState {
	return &v1.TreeState{Size: t.Size, Root: t.Root.String()}
}

func hashTexts(hashes []tlog.Hash) []string {
	texts := make([]string, len(hashes))
	for i, h := range hashes {
		texts[i] = h.String()
	}
	return texts
}
