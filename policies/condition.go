package policies

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heroctl/heroctl/schema"
)

// Condition is the circumstances under which a rule holds: all of its attributes
// must. An attribute that is not set always holds. It is immutable.
//
// An attribute whose input is not known, such as the networks when there is no source
// address, does not hold for a grant or an exception and holds for a denial: what is
// not known never opens anything.
type Condition struct {
	Sources   []netip.Prefix // sorted
	Days      []string       // of schema.Days, in that order; the days on which Hours begin
	Hours     *Hours         // nil for the whole day
	Zone      string         // of Days and Hours; "" without them
	MaxAge    time.Duration  // of the token, whole seconds; 0 for any
	Methods   []string       // of schema.Methods, sorted
	NotBefore time.Time      // zero for any
	NotAfter  time.Time      // inclusive; zero for any
}

// Hours is a part of the day in minutes, from Start to just before End. When End is not
// after Start the hours pass midnight and belong to the day on which they start.
type Hours struct{ Start, End int }

// PassMidnight reports whether the hours end on the day after they start.
func (h Hours) PassMidnight() bool { return h.End <= h.Start }

// String writes the hours as in a policy.
func (h Hours) String() string {
	return fmt.Sprintf("%02d:%02d-%02d:%02d", h.Start/60, h.Start%60, h.End/60, h.End%60)
}

// The attributes of a condition, as they are written and as a decision names them.
const (
	attrMethod    = "auth_method"
	attrDays      = "days"
	attrHours     = "hours"
	attrNotAfter  = "not_after"
	attrNotBefore = "not_before"
	attrSource    = "source_cidrs"
	attrZone      = "timezone" // read by days and hours; never named by a decision
	attrMaxAge    = "token_max_age"
)

// Attributes returns the attributes that are set, sorted.
func (c *Condition) Attributes() []string {
	if c == nil {
		return nil
	}
	var set []string
	for _, row := range []struct {
		name string
		set  bool
	}{
		{attrMethod, len(c.Methods) > 0}, {attrDays, len(c.Days) > 0}, {attrHours, c.Hours != nil},
		{attrNotAfter, !c.NotAfter.IsZero()}, {attrNotBefore, !c.NotBefore.IsZero()},
		{attrSource, len(c.Sources) > 0}, {attrMaxAge, c.MaxAge > 0},
	} {
		if row.set {
			set = append(set, row.name)
		}
	}
	return set
}

// Unmet returns the attributes that do not hold, sorted. Unknown says whether an
// attribute whose input is not known holds. The Rego of a policy decides; this is for
// what explains and probes it.
func (c *Condition) Unmet(in schema.Context, unknown bool) []string {
	var unmet []string
	for _, name := range c.Attributes() {
		if holds, known := c.holds(name, in); known && !holds || !known && !unknown {
			unmet = append(unmet, name)
		}
	}
	return unmet
}

// holds answers for one attribute.
func (c *Condition) holds(name string, in schema.Context) (holds, known bool) {
	local, clock := in.Zones[c.Zone]
	switch name {
	case attrMethod:
		return slices.Contains(c.Methods, in.Method), in.Method != ""
	case attrDays:
		return slices.Contains(c.Days, c.dayOf(local)), clock
	case attrHours:
		return c.Hours.cover(local.Minute), clock
	case attrNotAfter:
		return schema.FormatTime(in.Time) <= schema.FormatTime(c.NotAfter), true
	case attrNotBefore:
		return schema.FormatTime(in.Time) >= schema.FormatTime(c.NotBefore), true
	case attrSource:
		from := in.Address()
		return slices.ContainsFunc(c.Sources, func(n netip.Prefix) bool { return n.Contains(from) }), from.IsValid()
	default:
		age, known := in.TokenAge()
		return age <= int64(c.MaxAge/time.Second), known
	}
}

func (h Hours) cover(minute int) bool {
	if h.PassMidnight() {
		return minute >= h.Start || minute < h.End
	}
	return minute >= h.Start && minute < h.End
}

// dayOf returns the day to which a moment belongs: that on which the hours that it may
// lie in have started.
func (c *Condition) dayOf(local schema.LocalTime) string {
	if c.Hours == nil || !c.Hours.PassMidnight() || local.Minute >= c.Hours.End {
		return local.Day
	}
	days := schema.Days()
	return days[(slices.Index(days, local.Day)+6)%7]
}

// key tells conditions apart: the same attributes with the same values have the same
// key. No condition has the empty key.
func (c *Condition) key() string {
	if c == nil {
		return ""
	}
	var hours Hours
	if c.Hours != nil {
		hours = *c.Hours
	}
	return fmt.Sprint(c.Sources, c.Days, hours, c.Zone, c.MaxAge, c.Methods,
		schema.FormatTime(c.NotBefore), schema.FormatTime(c.NotAfter))
}

// Zones returns the time zones that the policies read, sorted.
func Zones(list []*Policy) []string {
	var zones []string
	for _, p := range list {
		for _, r := range p.Rules {
			if r.Condition != nil && r.Condition.Zone != "" {
				zones = append(zones, r.Condition.Zone)
			}
		}
	}
	slices.SortFunc(zones, strings.Compare)
	return slices.Compact(zones)
}
