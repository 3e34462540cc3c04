package gateway

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates for requests without a valid token, per address. Beyond them the answer
// is "too many requests", and one record a second counts what is not recorded
// singly, so that nobody fills the trail from outside.
const (
	strangerRate  = 5 // a second
	strangerBurst = 20
	maxAddresses  = 10_000 // remembered at a time
)

// throttle bounds requests per address: those without a valid token, which never
// slows down a valid one, and all of them if the configuration says so. It is
// safe for concurrent use.
type throttle struct {
	perSecond float64 // 0: any number
	burst     int

	mu sync.Mutex
	// byAddress is guarded by mu.
	byAddress map[netip.Addr]*visitor
}

type visitor struct {
	bucket   *rate.Limiter
	counted  int       // requests since the last counting record
	recorded time.Time // when that was
}

// verdict says what to do with one more request.
type verdict struct {
	ok         bool // answer and record as usual
	record     bool // refuse, and write a counting record
	unrecorded int  // what that record counts
}

func newThrottle(perSecond float64, burst int) *throttle {
	return &throttle{perSecond: perSecond, burst: burst, byAddress: map[netip.Addr]*visitor{}}
}

func (t *throttle) pass(addr netip.Addr, now time.Time) verdict {
	if t.perSecond == 0 {
		return verdict{ok: true}
	}
	addr = neighbourhood(addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	one, ok := t.byAddress[addr]
	if !ok {
		t.forget(now)
		one = &visitor{bucket: rate.NewLimiter(rate.Limit(t.perSecond), t.burst)}
		t.byAddress[addr] = one
	}
	if one.bucket.AllowN(now, 1) {
		return verdict{ok: true}
	}
	one.counted++
	if now.Sub(one.recorded) < time.Second {
		return verdict{}
	}
	v := verdict{record: true, unrecorded: one.counted}
	one.counted, one.recorded = 0, now
	return v
}

// neighbourhood returns what counts as one address: with IPv6 the network of 64
// bits, of which one host has as many addresses as it likes.
func neighbourhood(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	network, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return addr
	}
	return network.Addr()
}

// forget makes room when the map is full: first those whose bucket is full again,
// then, under a flood from many addresses, everyone.
func (t *throttle) forget(now time.Time) {
	if len(t.byAddress) < maxAddresses {
		return
	}
	for addr, one := range t.byAddress {
		if one.bucket.TokensAt(now) >= float64(t.burst) {
			delete(t.byAddress, addr)
		}
	}
	if len(t.byAddress) >= maxAddresses {
		clear(t.byAddress)
	}
}
