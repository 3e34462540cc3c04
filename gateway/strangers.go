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

// strangers bounds the records of requests without a valid token. A valid token
// is never slowed down by it, whatever its address. It is safe for concurrent
// use.
type strangers struct {
	mu sync.Mutex
	// byAddress is guarded by mu.
	byAddress map[netip.Addr]*stranger
}

type stranger struct {
	bucket   *rate.Limiter
	counted  int       // requests since the last counting record
	recorded time.Time // when that was
}

// verdict says what to do with one more request of a stranger.
type verdict struct {
	ok         bool // answer and record as usual
	record     bool // refuse, and write a counting record
	unrecorded int  // what that record counts
}

func newStrangers() *strangers { return &strangers{byAddress: map[netip.Addr]*stranger{}} }

func (s *strangers) pass(addr netip.Addr, now time.Time) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.byAddress[addr]
	if !ok {
		s.forget(now)
		one = &stranger{bucket: rate.NewLimiter(strangerRate, strangerBurst)}
		s.byAddress[addr] = one
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

// forget makes room when the map is full: first those whose bucket is full again,
// then, under a flood from many addresses, everyone.
func (s *strangers) forget(now time.Time) {
	if len(s.byAddress) < maxAddresses {
		return
	}
	for addr, one := range s.byAddress {
		if one.bucket.TokensAt(now) >= strangerBurst {
			delete(s.byAddress, addr)
		}
	}
	if len(s.byAddress) >= maxAddresses {
		clear(s.byAddress)
	}
}

// addressRate bounds requests per client address, before anything is parsed. It
// is safe for concurrent use.
type addressRate struct {
	perSecond float64
	mu        sync.Mutex
	// byAddress is guarded by mu.
	byAddress map[netip.Addr]*rate.Limiter
}

// newAddressRate allows perSecond requests a second and twice that at once; 0
// allows any number.
func newAddressRate(perSecond float64) *addressRate {
	return &addressRate{perSecond: perSecond, byAddress: map[netip.Addr]*rate.Limiter{}}
}

func (r *addressRate) allow(addr netip.Addr, now time.Time) bool {
	if r.perSecond == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	bucket, ok := r.byAddress[addr]
	if !ok {
		if len(r.byAddress) >= maxAddresses {
			clear(r.byAddress)
		}
		bucket = rate.NewLimiter(rate.Limit(r.perSecond), int(2*r.perSecond)+1)
		r.byAddress[addr] = bucket
	}
	return bucket.AllowN(now, 1)
}
