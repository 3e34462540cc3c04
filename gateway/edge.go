package gateway

import (
	"encoding/json"
	"errors"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// translation is how one kind of failure looks from outside.
type translation struct {
	http  int
	grpc  codes.Code
	title string
}

// translations is the error edge: the one place where kinds become status codes.
// A kind that is missing here is an internal error.
var translations = map[fault.Kind]translation{
	fault.InvalidArgument: {http.StatusBadRequest, codes.InvalidArgument, "The request cannot succeed as written"},
	fault.InvalidPath:     {http.StatusBadRequest, codes.InvalidArgument, "The path or name is not valid"},
	fault.InvalidPolicy:   {http.StatusBadRequest, codes.InvalidArgument, "The policy text is not valid"},
	fault.Unauthenticated: {http.StatusUnauthorized, codes.Unauthenticated, "A valid token is needed"},
	fault.Denied:          {http.StatusForbidden, codes.PermissionDenied, "Denied"},
	fault.NotFound:        {http.StatusNotFound, codes.NotFound, "Not found"},
	fault.Conflict:        {http.StatusConflict, codes.Aborted, "Conflict with the present state"},
	fault.FailedCheck:     {http.StatusPreconditionFailed, codes.FailedPrecondition, "The present state forbids it"},
	fault.TooLarge:        {http.StatusRequestEntityTooLarge, codes.OutOfRange, "Too large"},
	fault.RateLimited:     {http.StatusTooManyRequests, codes.ResourceExhausted, "Too many requests"},
	fault.Unsupported:     {http.StatusMethodNotAllowed, codes.Unimplemented, "Not supported"},
	fault.Unavailable:     {http.StatusServiceUnavailable, codes.Unavailable, "Cannot answer now"},
	fault.Sealed:          {http.StatusServiceUnavailable, codes.Unavailable, "Sealed"},
	fault.Integrity:       {http.StatusInternalServerError, codes.DataLoss, "Stored data failed its integrity check"},
	fault.Compacted:       {http.StatusGone, codes.OutOfRange, "Too far in the past"},
	fault.Canceled:        {499, codes.Canceled, "Canceled by the caller"},
	fault.Timeout:         {http.StatusGatewayTimeout, codes.DeadlineExceeded, "The deadline passed"},
	fault.Internal:        {http.StatusInternalServerError, codes.Internal, "Internal error"},
}

// refusal is a decision against the caller, as an error.
type refusal struct {
	id     schema.DecisionID
	reason schema.Reason
	detail string
}

func (r *refusal) Error() string { return "refused: " + string(r.reason) }

// Unwrap gives the kind that the caller sees.
func (r *refusal) Unwrap() error { return kindOfReason(r.reason) }

// kindOfReason maps a reason class to the kind of failure. Whatever is not about
// the token or the state of the server is a denial.
func kindOfReason(r schema.Reason) fault.Kind {
	switch r {
	case schema.Unauthenticated, schema.TokenExpired, schema.TokenRevoked:
		return fault.Unauthenticated
	case schema.InvalidPath:
		return fault.InvalidPath
	case schema.InvalidRequest:
		return fault.InvalidArgument
	case schema.RateLimited:
		return fault.RateLimited
	case schema.Sealed:
		return fault.Sealed
	case schema.Integrity:
		return fault.Integrity
	case schema.Unavailable:
		return fault.Unavailable
	}
	return fault.Denied
}

// problem describes err to the caller. Only kinds, details written for callers
// and diagnostics pass; foreign texts do not. A caller without a valid token
// learns that, and nothing else.
func problem(err error, id schema.DecisionID) *v1.Problem {
	kind := fault.KindOf(err)
	t, ok := translations[kind]
	if !ok {
		kind, t = fault.Internal, translations[fault.Internal]
	}
	p := &v1.Problem{
		Type: "https://heroctl.dev/problems/" + string(kind), Title: t.title, Status: int32(t.http),
		Detail: fault.Detail(err), Kind: string(kind), DecisionId: string(id),
	}
	var r *refusal
	if errors.As(err, &r) {
		p.Reason, p.Detail = string(r.reason), r.detail
	}
	var diagnostics policies.Diagnostics
	if errors.As(err, &diagnostics) {
		p.Diagnostics = diagnosticsToWire(diagnostics)
	}
	switch kind {
	case fault.Unauthenticated:
		p.Reason, p.DecisionId = string(schema.Unauthenticated), ""
		p.Detail = "send a valid token as Authorization: Bearer, or in HEROCTL_TOKEN for the command line"
	case fault.RateLimited:
		p.DecisionId = "" // counted, not recorded one by one
	case fault.Denied:
		if p.Detail == "" {
			p.Detail = "the policies in force do not allow it; whoever runs this server can look the decision up"
		}
	case fault.Internal:
		p.Detail = "the server's log has the cause"
	}
	return p
}

// statusOf puts a problem into a gRPC status.
func statusOf(p *v1.Problem) error {
	t := translations[fault.Kind(p.GetKind())]
	s, err := status.New(t.grpc, p.GetTitle()).WithDetails(p)
	if err != nil {
		return status.Error(t.grpc, p.GetTitle())
	}
	return s.Err()
}

// problemOf takes the problem out of a gRPC status, or returns nil if it carries
// none: then it was made by the transport, not by the door.
func problemOf(err error) *v1.Problem {
	for _, detail := range status.Convert(err).Details() {
		if p, ok := detail.(*v1.Problem); ok {
			return p
		}
	}
	return nil
}

// writeProblem answers a REST request with a problem (RFC 9457).
func writeProblem(w http.ResponseWriter, p *v1.Problem) {
	body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(p)
	if err != nil {
		body, _ = json.Marshal(map[string]string{"title": p.GetTitle()}) // a map of strings always encodes
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	switch p.GetStatus() {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(int(p.GetStatus()))
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}
