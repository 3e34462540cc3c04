// Package gateway is the authorization gateway: the one door in front of the
// store, and the protocols that lead to it.
//
// REST and gRPC handlers are the same few lines. Each names its call and hands
// the door a closure; the door identifies the caller, asks the engine, records
// and only then answers (enforce.go). What a call needs is stated in the schema
// as a method option and read from there (needs.go). How failures look from
// outside is one table (edge.go); how large and how long a request may be is
// another (limits.go).
package gateway

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/engine"
	"github.com/heroctl/heroctl/storage"
)

// Config is what a Gateway is built from.
type Config struct {
	Store  *storage.Store
	Engine *engine.Engine
	Trail  *audit.Trail

	Node       string // this server's name, for status
	Version    string // the program's version, for status
	Durability string // "strict" or "kernel", for status

	// TrustedProxies are the networks whose X-Forwarded-For is believed; none
	// when empty.
	TrustedProxies []netip.Prefix
	// RequestsPerSecond bounds the requests of one client address; 0 for any
	// number.
	RequestsPerSecond float64
	// Reflection offers the schema to gRPC clients without a token.
	Reflection bool
	// Now is the clock; nil for the system's.
	Now func() time.Time
}

// Gateway is the door with everything behind it. It is safe for concurrent use.
type Gateway struct {
	config    Config
	store     *storage.Store
	engine    *engine.Engine
	trail     *audit.Trail
	needs     map[string]*need
	routes    []route
	strangers *throttle // requests without a valid token
	rate      *throttle // all requests, if the configuration bounds them
	metrics   *metrics
	started   time.Time

	// applying makes policy changes one after the other, so that the set in
	// force always follows the store.
	applying sync.Mutex
	// trailFailed says whether the trail refused the newest record.
	trailFailed atomic.Bool
}

// New returns a gateway. It fails when the schema's options make no sense.
func New(c Config) (*Gateway, error) {
	g := &Gateway{
		config: c, store: c.Store, engine: c.Engine, trail: c.Trail,
		strangers: newThrottle(strangerRate, strangerBurst),
		rate:      newThrottle(c.RequestsPerSecond, int(2*c.RequestsPerSecond)+1),
		metrics:   newMetrics(),
	}
	g.started = g.now()
	var err error
	if g.needs, err = readNeeds(); err != nil {
		return nil, err
	}
	g.routes, err = readRoutes(g.needs)
	return g, err
}

func (g *Gateway) now() time.Time {
	if g.config.Now != nil {
		return g.config.Now()
	}
	return time.Now()
}
