package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/heroctl/heroctl/schema/fault"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// Error is a failed call, the same over every transport. Problem is never nil.
type Error struct {
	Problem *heroctlv1.Problem
	Cause   error // what the transport said; nil when the server answered
}

// Kind returns the class of the failure. A class this client does not know, sent
// by a newer server, counts as it is.
func (e *Error) Kind() fault.Kind { return fault.Kind(e.Problem.GetKind()) }

// Error returns the detail, or the class in words.
func (e *Error) Error() string {
	if d := e.Problem.GetDetail(); d != "" {
		return d
	}
	return strings.ReplaceAll(e.Problem.GetKind(), "_", " ")
}

// Unwrap makes errors.Is(err, fault.NotFound) hold.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind()}
	}
	return []error{e.Kind(), e.Cause}
}

func newError(kind fault.Kind, detail string, cause error) *Error {
	return &Error{Problem: &heroctlv1.Problem{Kind: string(kind), Detail: detail}, Cause: cause}
}

// httpKinds says what a bare HTTP status means: one that came without a problem
// document, from a proxy for example.
var httpKinds = map[int]fault.Kind{
	http.StatusBadRequest:            fault.InvalidArgument,
	http.StatusUnauthorized:          fault.Unauthenticated,
	http.StatusForbidden:             fault.Denied,
	http.StatusNotFound:              fault.NotFound,
	http.StatusMethodNotAllowed:      fault.Unsupported,
	http.StatusNotAcceptable:         fault.Unsupported,
	http.StatusRequestTimeout:        fault.Timeout,
	http.StatusConflict:              fault.Conflict,
	http.StatusPreconditionFailed:    fault.Conflict,
	http.StatusRequestEntityTooLarge: fault.TooLarge,
	http.StatusRequestURITooLong:     fault.TooLarge,
	http.StatusUnsupportedMediaType:  fault.Unsupported,
	http.StatusTooManyRequests:       fault.RateLimited,
	http.StatusNotImplemented:        fault.Unsupported,
	http.StatusBadGateway:            fault.Unavailable,
	http.StatusServiceUnavailable:    fault.Unavailable,
	http.StatusGatewayTimeout:        fault.Timeout,
}

// grpcKinds says what a bare gRPC code means.
var grpcKinds = map[codes.Code]fault.Kind{
	codes.Canceled:           fault.Canceled,
	codes.InvalidArgument:    fault.InvalidArgument,
	codes.OutOfRange:         fault.InvalidArgument,
	codes.DeadlineExceeded:   fault.Timeout,
	codes.NotFound:           fault.NotFound,
	codes.AlreadyExists:      fault.Conflict,
	codes.Aborted:            fault.Conflict,
	codes.PermissionDenied:   fault.Denied,
	codes.ResourceExhausted:  fault.RateLimited,
	codes.FailedPrecondition: fault.FailedCheck,
	codes.Unimplemented:      fault.Unsupported,
	codes.Unavailable:        fault.Unavailable,
	codes.DataLoss:           fault.Integrity,
	codes.Unauthenticated:    fault.Unauthenticated,
}

// fromHTTP reads the problem document of a failed answer. Whatever else may come
// from something between here and the server is not repeated.
func fromHTTP(code int, contentType string, body []byte) *Error {
	if strings.HasPrefix(contentType, "application/problem+json") {
		var p heroctlv1.Problem
		lax := protojson.UnmarshalOptions{DiscardUnknown: true}
		if err := lax.Unmarshal(body, &p); err == nil && p.GetKind() != "" {
			return &Error{Problem: &p}
		}
	}
	kind, known := httpKinds[code]
	detail := "the answer is not from a heroctl server; check the address"
	switch {
	case code >= 300 && code < 400:
		kind, detail = fault.Unsupported, "the server answered with a redirect, which is not followed; give its final address"
	case !known:
		kind = fault.Internal
	}
	return newError(kind, detail, nil)
}

// fromGRPC reads the problem among a status' details.
func fromGRPC(err error) error {
	s := status.Convert(err)
	for _, d := range s.Details() {
		if p, ok := d.(*heroctlv1.Problem); ok && p.GetKind() != "" {
			return &Error{Problem: p}
		}
	}
	kind, known := grpcKinds[s.Code()]
	if !known {
		kind = fault.Internal
	}
	if kind == fault.Unavailable {
		return newError(kind, "the server cannot be reached", err)
	}
	return newError(kind, "", err)
}

// fromTransport names why no answer came, in few words and without the URL.
func fromTransport(err error) *Error {
	var (
		unknownCA x509.UnknownAuthorityError
		badHost   x509.HostnameError
		badCert   x509.CertificateInvalidError
		header    tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return newError(fault.Canceled, "canceled", err)
	case errors.Is(err, context.DeadlineExceeded):
		return newError(fault.Timeout, "the server did not answer in time", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return newError(fault.Unavailable, "the server cannot be reached: connection refused", err)
	case errors.As(err, &unknownCA):
		return newError(fault.Unavailable, "the server's certificate is not signed by a trusted authority", err)
	case errors.As(err, &badHost):
		return newError(fault.Unavailable, "the server's certificate is for another host", err)
	case errors.As(err, &badCert):
		return newError(fault.Unavailable, "the server's certificate is not valid", err)
	case errors.As(err, &header):
		return newError(fault.Unavailable, "the server does not speak TLS on this port", err)
	}
	return newError(fault.Unavailable, "the server cannot be reached", err)
}
