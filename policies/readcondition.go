package policies

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// conditionWords are the attributes of a condition, in the order they are shown.
var conditionWords = []string{attrSource, attrHours, attrDays, attrZone, attrMaxAge, attrMethod, attrNotBefore, attrNotAfter}

// condition checks a condition or an unless block.
func (p *parser) condition(block *hclsyntax.Block) *Condition {
	if len(block.LabelRanges) > 0 {
		p.report(block.LabelRanges[0], "a condition takes no name", "write "+block.Type+" { … }")
	}
	for _, inner := range block.Body.Blocks {
		p.report(inner.TypeRange, "unknown block", "a condition has attributes only: "+strings.Join(conditionWords, ", "))
	}
	c := &Condition{Zone: schema.DefaultZone}
	for name, attr := range block.Body.Attributes {
		p.attribute(c, name, attr)
	}
	if len(block.Body.Attributes) == 0 {
		p.missing(block.TypeRange, "the condition is empty", `write what must hold, such as source_cidrs = ["10.0.0.0/8"], or leave the block out`)
	}
	p.together(c, block.Body.Attributes)
	if len(c.Days) == 0 && c.Hours == nil {
		c.Zone = ""
	}
	return c
}

// attribute reads one attribute into c.
func (p *parser) attribute(c *Condition, name string, attr *hclsyntax.Attribute) {
	switch name {
	case attrSource:
		c.Sources = p.networks(attr.Expr)
	case attrDays:
		c.Days = p.choices(attr.Expr, name, schema.Days())
	case attrMethod:
		c.Methods = p.choices(attr.Expr, name, schema.Methods())
	case attrHours:
		c.Hours = p.hours(attr.Expr)
	case attrZone:
		c.Zone = p.zone(attr.Expr)
	case attrMaxAge:
		c.MaxAge = p.maxAge(attr.Expr)
	case attrNotBefore:
		c.NotBefore = p.moment(attr.Expr, name)
	case attrNotAfter:
		c.NotAfter = p.moment(attr.Expr, name)
	default:
		p.report(attr.NameRange, "unknown attribute", didYouMean(name, conditionWords, "a condition has "+strings.Join(conditionWords, ", ")))
	}
}

// together reports attributes that make no sense beside or without each other.
func (p *parser) together(c *Condition, given hclsyntax.Attributes) {
	if zone := given[attrZone]; zone != nil && given[attrHours] == nil && given[attrDays] == nil {
		p.missing(zone.NameRange, "the time zone has no effect", "it is that of hours and days; write one of them, or leave it out")
	}
	if !c.NotBefore.IsZero() && !c.NotAfter.IsZero() && c.NotAfter.Before(c.NotBefore) {
		p.report(given[attrNotAfter].Expr.Range(), "the condition never holds", "not_after is earlier than not_before")
	}
}

// item is a word of a list.
type item struct {
	text string
	at   hcl.Range
}

// items returns the quoted strings of a list that is not empty.
func (p *parser) items(expr hclsyntax.Expression, name, example string) []item {
	list, ok := expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		p.missing(expr.Range(), name+" is not a list", "write "+name+" = ["+strconv.Quote(example)+"]")
		return nil
	}
	if len(list.Exprs) == 0 {
		p.report(expr.Range(), name+" is empty", "then the condition never holds; write "+name+" = ["+strconv.Quote(example)+"], or leave it out")
	}
	var items []item
	for _, one := range list.Exprs {
		if text, ok := p.literal(one, "an element of "+name); ok {
			items = append(items, item{text, one.Range()})
		}
	}
	return items
}

// choices returns a list of the valid words, in their order.
func (p *parser) choices(expr hclsyntax.Expression, name string, valid []string) []string {
	given := map[string]bool{}
	for _, one := range p.items(expr, name, valid[0]) {
		switch {
		case given[one.text]:
			p.report(one.at, "the word is there already", "name each once")
		case !slices.Contains(valid, one.text):
			p.report(one.at, "unknown word in "+name, didYouMean(one.text, valid, name+" may have "+strings.Join(valid, ", ")))
		}
		given[one.text] = true
	}
	return slices.DeleteFunc(slices.Clone(valid), func(word string) bool { return !given[word] })
}

// networks returns a list of networks, sorted.
func (p *parser) networks(expr hclsyntax.Expression) []netip.Prefix {
	var networks []netip.Prefix
	for _, one := range p.items(expr, attrSource, "10.0.0.0/8") {
		network, err := netip.ParsePrefix(one.text)
		switch {
		case err != nil:
			p.report(one.at, "bad network", `write an address and the length of its network, such as "10.0.0.0/8", "192.0.2.7/32" or "2001:db8::/32"`)
		case network.Addr().Is4In6():
			p.report(one.at, "bad network", "it is an IPv4 network written as IPv6; write the IPv4 network, which covers both spellings of an address")
		case network != network.Masked():
			p.report(one.at, "bad network", "the address has bits beyond the length of the network; write the network's first address, or /32 for one address (/128 in IPv6)")
		case slices.Contains(networks, network):
			p.report(one.at, "the network is there already", "name each once")
		default:
			networks = append(networks, network)
		}
	}
	slices.SortFunc(networks, netip.Prefix.Compare)
	return networks
}

const hoursHint = `write hours = "08:00-19:00"; they begin with the first time, end just before the second, and may pass midnight`

// hours reads "HH:MM-HH:MM".
func (p *parser) hours(expr hclsyntax.Expression) *Hours {
	text, ok := p.literal(expr, attrHours)
	if !ok {
		return nil
	}
	from, to, _ := strings.Cut(text, "-")
	start, ok1 := minuteOf(from)
	end, ok2 := minuteOf(to)
	switch {
	case !ok1 || !ok2 || start == 24*60:
		p.report(expr.Range(), "bad hours", hoursHint)
		return nil
	case start == end:
		p.report(expr.Range(), "the hours are empty", "write two different times, or leave hours out for the whole day")
		return nil
	}
	return &Hours{start, end}
}

// minuteOf reads "HH:MM", up to "24:00".
func minuteOf(text string) (minute int, ok bool) {
	if len(text) != 5 || text[2] != ':' {
		return 0, false
	}
	h, err1 := strconv.ParseUint(text[:2], 10, 8)
	m, err2 := strconv.ParseUint(text[3:], 10, 8)
	minute = 60*int(h) + int(m)
	return minute, err1 == nil && err2 == nil && m < 60 && minute <= 24*60
}

func (p *parser) zone(expr hclsyntax.Expression) string {
	text, ok := p.literal(expr, attrZone)
	if !ok {
		return schema.DefaultZone
	}
	if _, err := schema.LoadZone(text); err != nil {
		p.report(expr.Range(), "unknown time zone", strings.TrimPrefix(fault.Detail(err), "unknown time zone; "))
		return schema.DefaultZone
	}
	return text
}

func (p *parser) maxAge(expr hclsyntax.Expression) time.Duration {
	text, ok := p.literal(expr, attrMaxAge)
	if !ok {
		return 0
	}
	age, err := time.ParseDuration(text)
	if days, whole := strings.CutSuffix(text, "d"); whole {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		age = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || age < time.Second || age%time.Second != 0 {
		p.report(expr.Range(), "bad duration", `write days, or hours, minutes and seconds, such as "30d", "12h" or "1h30m"; a second is the least`)
		return 0
	}
	return age
}

func (p *parser) moment(expr hclsyntax.Expression, name string) time.Time {
	text, ok := p.literal(expr, name)
	if !ok {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 || t.IsZero() {
		p.report(expr.Range(), "bad time", `write a date, a time and its offset from UTC as RFC 3339 does, such as "2026-03-01T00:00:00Z" or "2026-03-01T00:00:00-03:00"`)
		return time.Time{}
	}
	return t
}
