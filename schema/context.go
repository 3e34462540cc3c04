package schema

import (
	"net/netip"
	"time"
	_ "time/tzdata" // zones are known on hosts without a zone database, too

	"github.com/heroctl/heroctl/schema/fault"
)

// LocalTime is a moment as a wall clock and a calendar in some time zone show it.
type LocalTime struct {
	Day    string `json:"day"`    // one of Days
	Minute int    `json:"minute"` // of the day, 0 to 1439
}

// Days returns the days of the week, from Monday.
func Days() []string { return []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} }

// DefaultZone is the time zone of a condition that names none.
const DefaultZone = "UTC"

// LoadZone returns the time zone of an IANA name, such as America/Sao_Paulo. A zone
// that depends on the host is none.
func LoadZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fault.New(fault.InvalidArgument, "unknown time zone; write an IANA name such as America/Sao_Paulo")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fault.Wrap(fault.InvalidArgument, "unknown time zone; write an IANA name such as America/Sao_Paulo", err)
	}
	return zone, nil
}

// LocalTimeOf returns what the clocks of a zone show at t.
func LocalTimeOf(t time.Time, zone *time.Location) LocalTime {
	local := t.In(zone)
	return LocalTime{Day: Days()[(local.Weekday()+6)%7], Minute: 60*local.Hour() + local.Minute()}
}

// Address returns the source in the form that decisions read: an IPv4 address as
// such, also when it came inside an IPv6 one, and no interface name.
func (c Context) Address() netip.Addr { return c.Source.Unmap().WithZone("") }

// TokenAge returns how old the token is, in seconds, rounded up, if it is known; it is
// 0 if it is not. A token that was made just now, or in the future, is a second old.
func (c Context) TokenAge() (seconds int64, known bool) {
	if c.TokenIssued.IsZero() {
		return 0, false
	}
	age := max(time.Second, c.Time.Sub(c.TokenIssued))
	seconds = int64(age / time.Second)
	if age%time.Second != 0 {
		seconds++
	}
	return seconds, true
}

// Restore returns the context that an input was made of: deciding on it is deciding on
// the input.
func (c InputContext) Restore() (Context, error) {
	at, err := time.Parse(TimeLayout, c.Time)
	if err != nil {
		return Context{}, fault.Wrap(fault.InvalidArgument, "the time of a decision's input is not one", err)
	}
	out := Context{Time: at, Method: c.AuthMethod, Zones: c.Zones}
	if c.Source != "" {
		if out.Source, err = netip.ParseAddr(c.Source); err != nil {
			return Context{}, fault.Wrap(fault.InvalidArgument, "the source of a decision's input is not an address", err)
		}
	}
	if c.TokenAge != 0 {
		out.TokenIssued = at.Add(-time.Duration(c.TokenAge) * time.Second)
	}
	return out, nil
}
