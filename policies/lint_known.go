package policies

import (
	"fmt"
	"slices"
	"sort"

	"github.com/agnivade/levenshtein"

	"github.com/heroctl/heroctl/schema"
)

// known holds the policies against what is known of the server.
func (l *linter) known() {
	for _, s := range l.sites {
		if names, ok := l.options.Existing[s.rule.Resource]; ok {
			l.matchesNothing(s, names)
		}
	}
	if l.options.Attached != nil {
		for _, p := range l.policies {
			if p.Kind == KindPolicy && !l.options.Attached[p.Name.String()] {
				l.addPolicy(p, finding("unused-policy", Note, "no role and no token carries the policy", "it grants nothing to anyone",
					"heroctl policy attach, or delete it"))
			}
		}
	}
	l.roles()
}

// matchesNothing finds patterns that cover no name there is.
func (l *linter) matchesNothing(s *site, names []schema.Path) {
	p := s.pattern()
	if p.String() == "*" || slices.ContainsFunc(names, p.Widened().Matches) {
		return
	}
	advice := "correct the path, or leave it if the names are yet to come"
	if near := nearestName(p, names); near != "" {
		advice = "did you mean " + near + "? " + advice
	}
	l.add(s, s.path, finding("matches-nothing", Warning, fmt.Sprintf("the pattern covers no %s that exists", s.rule.Resource),
		fmt.Sprintf("none of %d names has such a path", len(names)), advice))
}

// nearestName returns the name that an exact pattern probably means, or "".
func nearestName(p schema.Pattern, names []schema.Path) string {
	best, distance := "", 3
	if !p.Exact() {
		return ""
	}
	for _, name := range names {
		if d := levenshtein.ComputeDistance(p.String(), name.String()); d < distance {
			best, distance = name.String(), d
		}
	}
	return best
}

// roles finds roles that nobody has, and policies that they name and that do not exist.
// They have no place in a file.
func (l *linter) roles() {
	there := map[string]bool{}
	for _, p := range l.policies {
		there[p.Name.String()] = true
	}
	roles := slices.Clone(l.options.Roles)
	sort.SliceStable(roles, func(i, j int) bool { return roles[i].Name < roles[j].Name })
	for _, role := range roles {
		if !role.Held {
			l.addRole(finding("unused-role", Note, fmt.Sprintf("no token carries the role %s", role.Name), "it grants nothing to anyone",
				"delete it, or make a token with it"))
		}
		for _, name := range role.Policies {
			if !there[name] {
				l.addRole(finding("missing-policy", Warning, fmt.Sprintf("the role %s names a policy that does not exist", role.Name),
					fmt.Sprintf("there is no policy %s", name), "apply the policy, or detach the name"))
			}
		}
	}
}

func (l *linter) addRole(f Finding) {
	l.findings, l.owners = append(l.findings, f), append(l.owners, owner{})
}
