package engine

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// This is a second reading of the policy language, written from its description and
// sharing nothing with the engine, the trie or the Rego: patterns are regular
// expressions, the order of priority is a comparison step by step, and every rule is
// asked. It is slow and short.

// refEntry is a rule that covers a call's path, with what of its condition does not hold.
type refEntry struct {
	policy *policies.Policy
	rule   policies.Rule
	unmet  string
}

// refDecide returns reason, rule and what does not hold for a call.
func refDecide(list []*policies.Policy, c schema.Call) (schema.Reason, schema.RuleRef, string) {
	entries, suspects := refCovering(list, c)
	var best, guards []refEntry
	for _, e := range entries {
		pattern := e.rule.Pattern.String()
		switch {
		case e.policy.Kind == policies.KindGuardrail:
			if slices.Contains(e.rule.Denies, c.Capability.Verb) && (e.rule.Condition == nil || e.unmet != "") {
				guards = refKeep(guards, e)
			}
		case e.rule.Deny && e.unmet != "":
		case len(best) == 0 || refBeats(pattern, best[0].rule.Pattern.String()) || pattern == best[0].rule.Pattern.String():
			best = refKeep(best, e)
		}
	}
	switch {
	case len(guards) > 0:
		refSort(guards, true)
		return schema.GuardrailDenied, guards[0].policy.Ref(guards[0].rule), guards[0].unmet
	case len(suspects) > 0:
		refSort(suspects, false)
		return schema.TemplateValue, suspects[0].policy.Ref(suspects[0].rule), ""
	case len(best) == 0:
		return schema.NoRule, schema.RuleRef{}, ""
	}
	return refSettle(best, string(c.Capability.Verb))
}

// refKeep adds an entry to those of the best pattern so far.
func refKeep(best []refEntry, e refEntry) []refEntry {
	switch {
	case len(best) == 0 || refBeats(e.rule.Pattern.String(), best[0].rule.Pattern.String()):
		return []refEntry{e}
	case e.rule.Pattern == best[0].rule.Pattern:
		return append(best, e)
	}
	return best
}

func refSettle(best []refEntry, verb string) (schema.Reason, schema.RuleRef, string) {
	refSort(best, false)
	for _, e := range best {
		if e.rule.Deny {
			return schema.ExplicitDeny, e.policy.Ref(e.rule), ""
		}
	}
	for _, e := range best {
		if refGrants(e.rule, verb) && e.unmet == "" {
			return schema.Granted, e.policy.Ref(e.rule), ""
		}
	}
	first := best[0]
	refSort(best, true)
	for _, e := range best {
		if refGrants(e.rule, verb) {
			return schema.ConditionFailed, e.policy.Ref(e.rule), e.unmet
		}
	}
	return schema.CapabilityMissing, first.policy.Ref(first.rule), ""
}

// refSort sorts by policy name, then if asked by what does not hold, then by line.
func refSort(list []refEntry, unmet bool) {
	slices.SortFunc(list, func(a, b refEntry) int {
		order := strings.Compare(a.policy.Name.String(), b.policy.Name.String())
		if order == 0 && unmet {
			order = slices.Compare(strings.Split(a.unmet, ","), strings.Split(b.unmet, ","))
		}
		if order == 0 {
			order = a.rule.Line - b.rule.Line
		}
		return order
	})
}

// refCovering asks every rule in force for the principal. Suspects are those in whose
// template a value would stand that reads as a pattern.
func refCovering(list []*policies.Policy, c schema.Call) (entries, suspects []refEntry) {
	for _, p := range list {
		if p.Kind != policies.KindGuardrail && !slices.Contains(c.Principal.Policies, p.Name.String()) {
			continue
		}
		for _, r := range p.Rules {
			if r.Resource != c.Capability.Resource {
				continue
			}
			pattern := r.Pattern.String()
			user, job := strings.Contains(pattern, "{{user.name}}"), strings.Contains(pattern, "{{job.name}}")
			hostile := user && strings.ContainsAny(c.Principal.User, "+*/") || job && strings.ContainsAny(c.Principal.Job, "+*/")
			switch {
			case job && c.Principal.Job == "":
			case hostile:
				wide := strings.NewReplacer("{{user.name}}", "+", "{{job.name}}", "+").Replace(pattern)
				if refMatches(wide, c.Path.String()) {
					suspects = append(suspects, refEntry{p, r, ""})
				}
			case refMatches(strings.NewReplacer("{{user.name}}", c.Principal.User, "{{job.name}}", c.Principal.Job).Replace(pattern), c.Path.String()):
				entries = append(entries, refEntry{p, r, refUnmet(r, c.Context)})
			}
		}
	}
	return entries, suspects
}

// refUnmet returns what of a rule's condition does not hold. Hours and days are looked up
// in a table of the minutes of a week.
func refUnmet(r policies.Rule, in schema.Context) string {
	c := r.Condition
	if c == nil {
		return ""
	}
	var unmet []string
	attribute := func(name string, set, known, holds bool) {
		if set && (known && !holds || !known && !r.Deny) {
			unmet = append(unmet, name)
		}
	}
	attribute("auth_method", c.Methods != nil, in.Method != "", slices.Contains(c.Methods, in.Method))
	zone, err := time.LoadLocation(c.Zone)
	if err != nil {
		panic(err)
	}
	local := in.Time.In(zone)
	minute := int(local.Weekday())*1440 + local.Hour()*60 + local.Minute()
	turn, inHours := 0, [7 * 1440]bool{}
	if h := c.Hours; h != nil {
		length := h.End - h.Start
		if length <= 0 {
			length, turn = length+1440, h.End
		}
		for day := range 7 {
			for m := range length {
				inHours[(day*1440+h.Start+m)%len(inHours)] = true
			}
		}
	}
	day := time.Weekday((minute - turn + len(inHours)) / 1440 % 7)
	attribute("days", c.Days != nil, true, slices.Contains(c.Days, strings.ToLower(day.String()[:3])))
	attribute("hours", c.Hours != nil, true, inHours[minute])
	attribute("not_after", !c.NotAfter.IsZero(), true, !in.Time.After(c.NotAfter))
	attribute("not_before", !c.NotBefore.IsZero(), true, !in.Time.Before(c.NotBefore))
	in4 := in.Source.Unmap()
	attribute("source_cidrs", c.Sources != nil, in.Source.IsValid(), slices.ContainsFunc(c.Sources, func(n netip.Prefix) bool {
		return n.Addr().BitLen() == in4.BitLen() && netip.PrefixFrom(in4, n.Bits()).Masked() == n
	}))
	attribute("token_max_age", c.MaxAge != 0, !in.TokenIssued.IsZero(), in.Time.Sub(in.TokenIssued) <= c.MaxAge)
	return strings.Join(unmet, ",")
}

func refGrants(r policies.Rule, verb string) bool {
	for _, v := range r.Verbs {
		if string(v) == verb {
			return true
		}
		if r.Resource == "secret" && (v == "read" && verb == "describe" || v == "update" && verb == "rollback") {
			return true
		}
	}
	return false
}

var refCache sync.Map // pattern → *regexp.Regexp

func refMatches(pattern, path string) bool {
	cached, ok := refCache.Load(pattern)
	if !ok {
		text := regexp.QuoteMeta(pattern)
		text = strings.ReplaceAll(text, `\+`, `[^/]+`)
		text = strings.ReplaceAll(text, `\*`, `.*`)
		cached, _ = refCache.LoadOrStore(pattern, regexp.MustCompile(`\A`+text+`\z`))
	}
	return cached.(*regexp.Regexp).MatchString(path)
}

// refBeats reports whether pattern a has priority over pattern b.
func refBeats(a, b string) bool {
	first := func(p string) int {
		if i := strings.IndexAny(p, "+*{"); i >= 0 {
			return i
		}
		return 1 << 20
	}
	if first(a) != first(b) {
		return first(a) > first(b)
	}
	if openA, openB := strings.HasSuffix(a, "*"), strings.HasSuffix(b, "*"); openA != openB {
		return openB
	}
	if plusA, plusB := strings.Count(a, "+"), strings.Count(b, "+"); plusA != plusB {
		return plusA < plusB
	}
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return a > b
}
