package gateway

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/heroctl/heroctl/audit"
)

// caller is what arrived with a request, before anything is believed: the bearer
// token, where the connection comes from, and what the client says of itself.
type caller struct {
	token   []byte // as presented; nil if none
	request string // id of this request
	arrived time.Time
	source  audit.Source
	ifMatch string // the If-Match header, as presented
}

// callerKey is the context key of the caller. Contexts carry nothing else of ours
// but the deadline.
type callerKey struct{}

func withCaller(ctx context.Context, c *caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerFrom returns the caller that the transport put into ctx. A context
// without one is a caller without a token from nowhere.
func (g *Gateway) callerFrom(ctx context.Context) *caller {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return c
	}
	return &caller{request: newRequestID(), arrived: g.now()}
}

// newRequestID returns 96 random bits in text.
func newRequestID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// callerFromHTTP reads the caller off a REST request.
func (g *Gateway) callerFromHTTP(r *http.Request) *caller {
	c := &caller{request: newRequestID(), arrived: g.now(), ifMatch: strings.Join(r.Header.Values("If-Match"), ",")}
	c.token = bearer(r.Header.Values("Authorization"), r.Header.Values("X-Heroctl-Token"))
	c.source = g.source("rest", r.RemoteAddr, r.Header.Values("X-Forwarded-For"), r.UserAgent())
	return c
}

// callerFromGRPC reads the caller off a gRPC context.
func (g *Gateway) callerFromGRPC(ctx context.Context) *caller {
	c := &caller{request: newRequestID(), arrived: g.now()}
	md, _ := metadata.FromIncomingContext(ctx)
	c.token = bearer(md.Get("authorization"), md.Get("x-heroctl-token"))
	address := ""
	if p, ok := peer.FromContext(ctx); ok {
		address = p.Addr.String()
	}
	c.source = g.source("grpc", address, md.Get("x-forwarded-for"), strings.Join(md.Get("user-agent"), " "))
	return c
}

// bearer returns the one token of a request. Two headers that name a token, or
// one header twice, name none: which of them counts must not be a matter of
// parsing.
func bearer(authorization, own []string) []byte {
	if len(authorization)+len(own) != 1 {
		return nil
	}
	if len(own) == 1 {
		return []byte(own[0])
	}
	scheme, token, ok := strings.Cut(authorization[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	return []byte(token)
}

// source says where a request comes from. The client's address is that of the
// peer, unless the peer is a trusted proxy: then it is the last address of
// X-Forwarded-For that is not a trusted proxy itself. A trusted proxy that sends
// something unreadable leaves no address, and what is bound to networks is then
// refused. What an untrusted peer claims is kept apart, for the record only.
func (g *Gateway) source(protocol, remote string, forwarded []string, agent string) audit.Source {
	s := audit.Source{Protocol: protocol, Peer: remote, Agent: agent, Forwarded: strings.Join(forwarded, ",")}
	peerAddr, err := netip.ParseAddrPort(remote)
	if err != nil {
		return s
	}
	s.Client = peerAddr.Addr().Unmap()
	if s.Forwarded == "" || !g.trusted(s.Client) {
		return s
	}
	hops := strings.Split(s.Forwarded, ",")
	for i := len(hops) - 1; i >= 0; i-- {
		addr, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			s.Client = netip.Addr{}
			return s
		}
		s.Client = addr.Unmap()
		if !g.trusted(s.Client) {
			return s
		}
	}
	return s
}

func (g *Gateway) trusted(addr netip.Addr) bool {
	for _, p := range g.config.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
