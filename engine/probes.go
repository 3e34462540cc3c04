package engine

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// probes returns paths that try a pattern: first one that it covers, then those of one
// beside it, one below and one above, or the zero path if nothing is above.
func probes(p schema.Pattern) []schema.Path {
	text := strings.ReplaceAll(p.Widened().String(), "+", "probe")
	if before, open := strings.CutSuffix(text, "*"); open {
		text = before + "probe"
		if len(text) > schema.MaxPathBytes || len(text)-strings.LastIndexByte(text, '/')-1 > schema.MaxSegmentBytes {
			text = strings.TrimRight(before, ".") // "*" covers the empty rest too
		}
	}
	above := ""
	if i := strings.LastIndexByte(text, '/'); i > 0 {
		above = text[:i]
	}
	var paths []schema.Path
	for _, candidate := range []string{text, "x" + text, text + "x", text + "/probe", above} {
		if path, err := schema.ParsePath(candidate); err == nil {
			paths = append(paths, path)
		}
	}
	if above == "" {
		paths = append(paths, schema.Path{}) // a pattern of one segment, and only "*" covers it
	}
	return paths
}

// questions returns the calls that try a rule: every verb on a path that it covers, under
// all circumstances, and one verb where only the match is in question.
func questions(attached []string, rule policies.Rule) []schema.Call {
	one := verbOf(rule)
	ask := func(who schema.Principal, verb schema.Verb, path schema.Path, in schema.Context) schema.Call {
		who.Kind, who.Policies = schema.KindUser, attached
		return schema.Call{Principal: who, Capability: schema.Capability{Resource: rule.Resource, Verb: verb}, Path: path, Context: in}
	}
	who := schema.Principal{User: "probe", Job: "probe"}
	circumstances := circumstancesOf(rule.Condition)
	var calls []schema.Call
	for i, path := range probes(rule.Pattern) {
		if i > 0 {
			calls = append(calls, ask(who, one, path, circumstances[0]))
			continue
		}
		for _, verb := range rule.Resource.Verbs() {
			calls = append(calls, ask(who, verb, path, circumstances[0]))
		}
		for _, in := range circumstances[1:] {
			calls = append(calls, ask(who, one, path, in))
		}
		if rule.Pattern.HasTemplate() {
			for _, value := range []string{"", "other", "*", "a/b", "+"} {
				calls = append(calls, ask(schema.Principal{User: value, Job: "probe"}, one, path, circumstances[0]),
					ask(schema.Principal{User: "probe", Job: value}, one, path, circumstances[0]))
			}
		}
	}
	return calls
}

// verbOf returns a verb that the rule says something about.
func verbOf(rule policies.Rule) schema.Verb {
	for _, verbs := range [][]schema.Verb{rule.Verbs, rule.Denies} {
		if len(verbs) > 0 {
			return verbs[0]
		}
	}
	return rule.Resource.Verbs()[0]
}

// circumstancesOf returns contexts that try a condition: first one in which it holds, then
// for each attribute one in which that alone does not, and last one in which nothing is
// known.
func circumstancesOf(c *policies.Condition) []schema.Context {
	good := schema.Context{Time: time.Unix(1_750_000_000, 0), Source: netip.MustParseAddr("192.0.2.1"), Method: schema.MethodToken}
	if c == nil {
		return []schema.Context{good}
	}
	local := schema.LocalTime{Day: "wed", Minute: 720}
	if len(c.Days) > 0 {
		local.Day = c.Days[0]
	}
	if c.Hours != nil {
		local.Minute = c.Hours.Start
	}
	if len(c.Sources) > 0 {
		good.Source = c.Sources[0].Addr()
	}
	if !c.NotBefore.IsZero() {
		good.Time = c.NotBefore
	} else if !c.NotAfter.IsZero() {
		good.Time = c.NotAfter
	}
	good.TokenIssued = good.Time.Add(-c.MaxAge)
	good.Zones = zonesOf(c, local)
	return append(append([]schema.Context{good}, failures(c, good, local)...), schema.Context{Time: good.Time})
}

func zonesOf(c *policies.Condition, local schema.LocalTime) map[string]schema.LocalTime {
	if c.Zone == "" {
		return nil
	}
	return map[string]schema.LocalTime{c.Zone: local}
}

// failures changes one thing at a time of circumstances in which the condition holds.
// Where an attribute holds for everything the change makes no difference.
func failures(c *policies.Condition, good schema.Context, local schema.LocalTime) []schema.Context {
	change := func(f func(*schema.Context)) schema.Context {
		in := good
		f(&in)
		return in
	}
	outside := netip.MustParseAddr("203.0.113.9")
	if slices.ContainsFunc(c.Sources, func(n netip.Prefix) bool { return n.Contains(outside) }) {
		outside = netip.MustParseAddr("2001:db8:ffff::9")
	}
	list := []schema.Context{
		change(func(in *schema.Context) { in.Source = outside }),
		change(func(in *schema.Context) { in.Method = "none" }),
		change(func(in *schema.Context) { in.TokenIssued = in.TokenIssued.Add(-time.Microsecond) }),
		change(func(in *schema.Context) { in.Time = c.NotBefore.Add(-time.Microsecond) }),
		change(func(in *schema.Context) { in.Time = c.NotAfter.Add(time.Microsecond) }),
	}
	for _, day := range schema.Days() {
		list = append(list, change(func(in *schema.Context) { in.Zones = zonesOf(c, schema.LocalTime{Day: day, Minute: local.Minute}) }))
	}
	if c.Hours != nil {
		for _, minute := range []int{c.Hours.Start - 1, c.Hours.End - 1, c.Hours.End} {
			minute = (minute + 24*60) % (24 * 60)
			list = append(list, change(func(in *schema.Context) { in.Zones = zonesOf(c, schema.LocalTime{Day: local.Day, Minute: minute}) }))
		}
	}
	return list
}
