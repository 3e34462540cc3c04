package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// auditServer is the Audit service.
type auditServer struct {
	v1.UnsafeAuditServer
	g *Gateway
}

func (s *auditServer) ListRecords(ctx context.Context, req *v1.ListRecordsRequest) (*v1.ListRecordsResponse, error) {
	c := s.g.call(v1.Audit_ListRecords_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.ListRecordsResponse, error) {
		q, err := s.query(a, req)
		if err != nil {
			return nil, err
		}
		page, err := s.g.trail.Find(ctx, q)
		if err != nil {
			return nil, err
		}
		out := &v1.ListRecordsResponse{}
		for _, row := range page.Rows {
			out.Records = append(out.Records, rowToWire(row))
		}
		if page.Next != "" {
			out.NextPageToken = s.g.pageToken(a, req, page.Next)
		}
		a.count = len(page.Rows)
		return out, nil
	})
}

// query turns the request into the trail's terms. Rows are filtered by their
// path: a permit for one path has been decided already, one for the list carries
// the filter.
func (s *auditServer) query(a *act, req *v1.ListRecordsRequest) (audit.Query, error) {
	limit, err := pageSize(req.GetPageSize())
	if err != nil {
		return audit.Query{}, err
	}
	after, err := s.g.pageAfter(a, req, req.GetPageToken())
	if err != nil {
		return audit.Query{}, err
	}
	q := audit.Query{
		Resource: schema.Resource(req.GetResource()), Path: a.entry.Call.Path, User: req.GetUser(), Token: req.GetAccessor(),
		Role: req.GetRole(), Job: req.GetJob(), Reason: schema.Reason(req.GetReason()), Beyond: req.GetAfterSequence(),
		Newest: !req.GetOldestFirst(), After: after, Limit: limit,
	}
	if filter, ok := a.permit.Filter(a.entry.Call.Capability); ok {
		q.Visible = filter.Visible
	}
	if req.GetSince() != nil {
		q.Since = req.GetSince().AsTime()
	}
	if req.GetUntil() != nil {
		q.Until = req.GetUntil().AsTime()
	}
	if err := ranges(&q, req); err != nil {
		return audit.Query{}, err
	}
	return q, s.words(&q, req)
}

// ranges parses what the request says about paths and addresses.
func ranges(q *audit.Query, req *v1.ListRecordsRequest) error {
	if text := req.GetPattern(); text != "" {
		var err error
		if q.Pattern, err = schema.ParsePattern(text); err != nil {
			return err
		}
		if strings.Contains(text, "{") {
			return fault.New(fault.InvalidArgument, "a template has no meaning in a question; write the path that is meant")
		}
	}
	text := req.GetSource()
	if text == "" {
		return nil
	}
	prefix, err := netip.ParsePrefix(text)
	if addr, failed := netip.ParseAddr(text); failed == nil {
		prefix, err = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	if err != nil || prefix.Addr().Is4In6() || prefix.Addr().Zone() != "" {
		return fault.New(fault.InvalidArgument, "source is an address or a range of addresses, such as 10.0.0.0/8")
	}
	q.Source = prefix.Masked()
	return nil
}

// words checks the words of the schema that the request names.
func (s *auditServer) words(q *audit.Query, req *v1.ListRecordsRequest) error {
	if q.Resource != "" && q.Resource.Verbs() == nil {
		return fault.New(fault.InvalidArgument, "resource is one of "+joinWords(schema.Resources()))
	}
	for _, verb := range req.GetActions() {
		known := false
		for _, resource := range schema.Resources() {
			c := schema.Capability{Resource: resource, Verb: schema.Verb(verb)}
			if c.Valid() && (q.Resource == "" || q.Resource == resource) {
				q.Capabilities, known = append(q.Capabilities, c), true
			}
		}
		if !known {
			return fault.New(fault.InvalidArgument, "actions are verbs such as read, update or delete")
		}
	}
	for _, text := range req.GetCapabilities() {
		c, err := schema.ParseCapability(text)
		if err != nil {
			return err
		}
		q.Capabilities = append(q.Capabilities, c)
	}
	if q.Reason != "" && classSentence(q.Reason) == string(q.Reason) {
		return fault.New(fault.InvalidArgument, "reason is a class such as granted, no_rule, explicit_deny or token_expired")
	}
	switch q.Result = audit.Result(req.GetResult()); q.Result {
	case "", audit.ResultAllow, audit.ResultDeny, audit.ResultFailed, audit.ResultUnknown:
		return nil
	}
	return fault.New(fault.InvalidArgument, "result is allow, deny, failed or unknown")
}

func joinWords[T ~string](words []T) string {
	var all []string
	for _, w := range words {
		all = append(all, string(w))
	}
	return strings.Join(all, ", ")
}

func (s *auditServer) ExplainDecision(ctx context.Context, req *v1.ExplainDecisionRequest) (*v1.Explanation, error) {
	c := s.g.call(v1.Audit_ExplainDecision_FullMethodName, req)
	return enforce(ctx, s.g, c, func(ctx context.Context, a *act) (*v1.Explanation, error) {
		id, err := schema.ParseDecisionID(req.GetDecisionId())
		if err != nil {
			return nil, err
		}
		row, err := s.row(ctx, id)
		if err != nil {
			return nil, err
		}
		filter, ok := a.permit.Filter(c.cap)
		if ok && filter.Visible(row.Path()) {
			return s.explain(ctx, a, row)
		}
		// Without the right to explanations, one's own decisions show their
		// class, and nobody else's show at all.
		if row.Input.Subject.ID != a.entry.Call.Principal.User {
			return nil, fault.New(fault.NotFound, "there is no such decision")
		}
		return &v1.Explanation{
			DecisionId: string(id), Decision: allowWord(row.Record.Result.Allow), Reason: string(row.Record.Result.Reason), Sentence: classSentence(row.Record.Result.Reason),
		}, nil
	})
}

// row returns what is on record about one decision.
func (s *auditServer) row(ctx context.Context, id schema.DecisionID) (audit.Row, error) {
	page, err := s.g.trail.Find(ctx, audit.Query{Decision: id, Limit: 1})
	if err != nil {
		return audit.Row{}, err
	}
	if len(page.Rows) == 0 {
		return audit.Row{}, fault.New(fault.NotFound, "there is no such decision")
	}
	return page.Rows[0], nil
}

// explain says everything that is on record about a decision.
func (s *auditServer) explain(ctx context.Context, a *act, row audit.Row) (*v1.Explanation, error) {
	input, err := s.g.trail.Input(ctx, row.Record)
	if err != nil {
		return nil, err
	}
	out := &v1.Explanation{
		DecisionId: string(row.Decision), Decision: allowWord(row.Record.Result.Allow), Reason: string(row.Record.Result.Reason),
		Sentence: sentenceOf(row.Input.Subject.ID, row.Input.Action.Name, row.Input.Resource.ID, row.Record.Result), Record: rowToWire(row), Policies: input.Subject.Properties.Policies,
	}
	for _, check := range row.Checks {
		out.Checks = append(out.Checks, &v1.Check{
			Capability: check.Capability.String(), Path: check.Path.String(), Decision: allowWord(check.Allow),
			Reason: string(check.Reason), Rule: ruleToWire(check.Rule),
		})
	}
	if out.Weighed, err = s.weigh(ctx, a, row); err != nil {
		return nil, err
	}
	if row.Record.Result.Rule.Policy != "" {
		text, err := s.g.store.Policies.Text(ctx, a.permit, row.Record.Result.Rule.Digest)
		if err != nil {
			return nil, fmt.Errorf("text of the winning rule: %w", err)
		}
		out.RuleText = block(text, row.Record.Result.Rule.Line)
	}
	return out, nil
}

// block returns the lines of a policy's text from the given line to the end of
// the block that starts there.
func block(text []byte, line int) string {
	lines := strings.Split(string(text), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	indent := lines[line-1][:len(lines[line-1])-len(strings.TrimLeft(lines[line-1], " \t"))]
	for end := line; end <= len(lines); end++ {
		if end > line && strings.TrimRight(lines[end-1], " \t\r") == indent+"}" || end == line && strings.HasSuffix(strings.TrimSpace(lines[end-1]), "}") {
			return strings.Join(lines[line-1:end], "\n")
		}
	}
	return lines[line-1]
}

func rowToWire(row audit.Row) *v1.Record {
	r := row.Record
	out := &v1.Record{
		Sequence: r.Sequence, Time: timeToWire(r.Time), Node: r.Node, RequestId: r.Request, DecisionId: string(r.Decision), Method: r.Method,
		User: r.Input.Subject.ID, Accessor: r.Input.Subject.Properties.Token, Roles: r.Input.Subject.Properties.Roles, Job: r.Input.Subject.Properties.Job,
		Source: r.Input.Context.Source, Peer: r.Source.Peer, UserAgent: r.Source.Agent, Protocol: r.Source.Protocol,
		Resource: string(r.Input.Resource.Type), Path: r.Input.Resource.ID, Version: uint32(r.Version),
		Decision: allowWord(r.Result.Allow), Reason: string(r.Result.Reason), Rule: ruleToWire(r.Result.Rule),
		SetDigest: r.Result.Set.String(), SetRevision: uint64(r.Result.Revision), Kind: string(r.Kind),
	}
	_, out.Action, _ = strings.Cut(r.Input.Action.Name, ":")
	if row.Came().Version != 0 {
		out.Version = uint32(row.Came().Version)
	}
	out.Revision, out.Count, out.LatencyUs = uint64(row.Came().Revision), uint32(row.Came().Count), uint32(row.Latency.Microseconds())
	if row.Settled != nil {
		out.LatencyUs = uint32(row.Settled.Latency.Microseconds())
	}
	out.Result = resultWord(row)
	if r.Kind == audit.KindIntent {
		out.Kind = "mutation"
	}
	return out
}

// resultWord says how a request ended: "ok", "denied", "unknown" or the class of
// its failure.
func resultWord(row audit.Row) string {
	switch {
	case !row.Record.Result.Allow:
		return "denied"
	case row.Came().Code == "":
		return "unknown"
	}
	return row.Came().Code
}

func ruleToWire(r schema.RuleRef) *v1.RuleRef {
	if r.Policy == "" {
		return nil
	}
	return &v1.RuleRef{Policy: r.Policy, Digest: r.Digest.String(), Line: uint32(r.Line)}
}

func allowWord(allow bool) string {
	if allow {
		return "allow"
	}
	return "deny"
}
