// Package client is the Go client of a heroctl server.
//
// Dial looks at the scheme of the address: http and https speak the REST
// interface, grpc and grpcs speak gRPC. What comes back is the same either way:
// the clients generated from the schema, and one error type. REST is not
// written by hand for each call; it is derived from the annotations of the
// schema, so a call added there exists here.
//
// The client is careful with its token: it goes over plain text to loopback
// only, is never sent after a redirect, and is read from files that nobody else
// can read.
package client

import (
	"time"

	"google.golang.org/grpc"

	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// Defaults and limits.
const (
	DefaultTimeout   = 30 * time.Second
	MaxResponseBytes = 8 << 20
)

// Config says where the server is and who asks.
type Config struct {
	// Addr is the server: http://, https://, grpc:// or grpcs:// with a host and
	// an optional port. It must be given.
	Addr string
	// Token is the bearer token. Empty: that of TokenFile; if that is empty too,
	// requests carry none, which is enough for health checks only.
	Token string
	// TokenFile is a file with the token, which nobody but its owner may read.
	TokenFile string
	// CACert is a PEM file with the certificates to trust. Empty: those of the
	// system.
	CACert string
	// Timeout bounds each call. Zero: DefaultTimeout.
	Timeout time.Duration
	// UserAgent is the program's name for the trail. Empty: "heroctl-client".
	UserAgent string
	// InsecurePlaintext allows http and grpc to hosts other than this one. The
	// token and every value can then be read on the way.
	InsecurePlaintext bool
}

// Client speaks to one server. It is safe for concurrent use.
type Client struct {
	conn  grpc.ClientConnInterface
	close func() error
}

// Dial prepares a client. It reads the token and certificate files, and does
// not connect yet: a server that cannot be reached shows at the first call.
func Dial(c Config) (*Client, error) {
	target, err := parseTarget(c.Addr, c.InsecurePlaintext)
	if err != nil {
		return nil, err
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.UserAgent == "" {
		c.UserAgent = "heroctl-client"
	}
	token, err := loadToken(c)
	if err != nil {
		return nil, err
	}
	roots, err := loadRoots(c.CACert)
	if err != nil {
		return nil, err
	}
	if target.grpc {
		return dialGRPC(c, target, token, roots)
	}
	return dialREST(c, target, token, roots)
}

// Close releases the connections.
func (c *Client) Close() error { return c.close() }

// Conn returns the connection, for calls by name.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }

// Secrets returns the client of the secrets service.
func (c *Client) Secrets() heroctlv1.SecretsClient { return heroctlv1.NewSecretsClient(c.conn) }

// Policies returns the client of the policies service.
func (c *Client) Policies() heroctlv1.PoliciesClient { return heroctlv1.NewPoliciesClient(c.conn) }

// Access returns the client of the service for users, roles and tokens.
func (c *Client) Access() heroctlv1.AccessClient { return heroctlv1.NewAccessClient(c.conn) }

// Audit returns the client of the trail's service.
func (c *Client) Audit() heroctlv1.AuditClient { return heroctlv1.NewAuditClient(c.conn) }

// Cluster returns the client of the cluster service.
func (c *Client) Cluster() heroctlv1.ClusterClient { return heroctlv1.NewClusterClient(c.conn) }

// Health returns the client of the health service.
func (c *Client) Health() heroctlv1.HealthClient { return heroctlv1.NewHealthClient(c.conn) }
