package engine

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// This is a second reading of the policy language, written from its description and
// sharing nothing with the engine, the trie or the Rego: patterns are regular
// expressions, the order of priority is a comparison step by step, and every rule is
// asked. It is slow and short.

// refDecide returns reason and rule for a call.
func refDecide(list []*policies.Policy, c schema.Call) (schema.Reason, schema.RuleRef) {
	type entry struct {
		policy *policies.Policy
		rule   policies.Rule
	}
	var best []entry
	for _, p := range list {
		if !slices.Contains(c.Principal.Policies, p.Name.String()) {
			continue
		}
		for _, r := range p.Rules {
			if r.Resource != c.Capability.Resource || !refMatches(r.Pattern.String(), c.Path.String()) {
				continue
			}
			switch {
			case len(best) == 0 || refBeats(r.Pattern.String(), best[0].rule.Pattern.String()):
				best = []entry{{p, r}}
			case r.Pattern == best[0].rule.Pattern:
				best = append(best, entry{p, r})
			}
		}
	}
	if len(best) == 0 {
		return schema.NoRule, schema.RuleRef{}
	}
	slices.SortFunc(best, func(a, b entry) int { return strings.Compare(a.policy.Name.String(), b.policy.Name.String()) })
	for _, e := range best {
		if e.rule.Deny {
			return schema.ExplicitDeny, e.policy.Ref(e.rule)
		}
	}
	for _, e := range best {
		if refGrants(e.rule, string(c.Capability.Verb)) {
			return schema.Granted, e.policy.Ref(e.rule)
		}
	}
	return schema.CapabilityMissing, best[0].policy.Ref(best[0].rule)
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
		if i := strings.IndexAny(p, "+*"); i >= 0 {
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
