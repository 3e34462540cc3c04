package gateway

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// limit bounds one call.
type limit struct {
	body     int64         // bytes of the request's body
	deadline time.Duration // for everything, from arrival to answer
}

// limits is the table of bounds, by call; usual holds for the rest.
var (
	usual  = limit{body: 64 << 10, deadline: 10 * time.Second}
	limits = map[string]limit{
		// A value of 1 MiB is 1.34 MiB in base64.
		v1.Secrets_CreateSecret_FullMethodName: {body: 1536 << 10, deadline: 15 * time.Second},
		v1.Secrets_UpdateSecret_FullMethodName: {body: 1536 << 10, deadline: 15 * time.Second},
		v1.Secrets_ListSecrets_FullMethodName:  {body: 64 << 10, deadline: 30 * time.Second},
		// A hundred policy files of 64 KiB.
		v1.Policies_ApplyPolicies_FullMethodName: {body: 8 << 20, deadline: 60 * time.Second},
		v1.Audit_ListRecords_FullMethodName:      {body: 64 << 10, deadline: 30 * time.Second},
		v1.Audit_GetUsage_FullMethodName:         {body: 64 << 10, deadline: 30 * time.Second},
		v1.Audit_ExportRecords_FullMethodName:    {body: 64 << 10, deadline: 30 * time.Second},
		v1.Audit_VerifyRecords_FullMethodName:    {body: 64 << 10, deadline: 30 * time.Second},
	}
)

// Bounds that hold for every connection, whatever it calls.
const (
	maxHeaderBytes    = 32 << 10
	maxMessageBytes   = 8<<20 + 64<<10 // gRPC: the largest body with its framing
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 60 * time.Second
	writeTimeout      = 150 * time.Second // from the end of the header: reading, the longest deadline, and then some
	idleTimeout       = 120 * time.Second
	maxStreams        = 256    // concurrent calls per HTTP/2 connection
	maxConnections    = 10_000 // at a time, per listener; more wait to be accepted
)

// LimitConnections bounds how many connections of a listener are open at a time.
func LimitConnections(l net.Listener) net.Listener {
	return netutil.LimitListener(l, maxConnections)
}

func limitOf(method string) limit {
	if l, ok := limits[method]; ok {
		return l
	}
	return usual
}

// NewHTTPServer returns a server for the REST face with the bounds of this table.
func NewHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, MaxHeaderBytes: maxHeaderBytes, ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is refused and recorded like any other
		ErrorLog:                     slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
}
