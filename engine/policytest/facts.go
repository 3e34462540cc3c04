package policytest

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// facts are who asks, when and from where: what a fixture or a test says beside its
// question.
type facts struct {
	user, job       string
	policies, roles []string
	at              time.Time
	from            netip.Addr
	auth            string        // how the token was shown; see schema.Methods
	tokenAge        time.Duration // negative if unknown
}

// factNames are the attributes that say facts.
var factNames = []string{"user", "policies", "roles", "job", "at", "from", "auth_method", "token_age"}

// testNames are the other attributes of a test, in the order of a matrix's cells.
var testNames = []string{"can", "path", "expect", "reason", "rule"}

var matrixNames = []string{"cases"}

// newFacts are the facts of a test that says none. The clock stands still, so that a
// test means the same on every day.
func newFacts() facts {
	return facts{user: "test", at: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), auth: schema.MethodToken, tokenAge: -1}
}

// fact reads one attribute. It reports whether there is such a fact.
func (p *parser) fact(f *facts, attr *hclsyntax.Attribute) bool {
	switch attr.Name {
	case "user":
		f.user = p.name(attr)
	case "job":
		f.job = p.name(attr)
	case "policies":
		f.policies = p.policyNames(attr.Expr)
	case "roles":
		f.roles = p.roleNames(attr.Expr)
	case "at":
		f.at = p.time(attr.Expr)
	case "from":
		f.from = p.address(attr.Expr)
	case "auth_method":
		f.auth = p.method(attr.Expr)
	case "token_age":
		f.tokenAge = p.age(attr.Expr)
	default:
		return false
	}
	return true
}

func (p *parser) method(expr hclsyntax.Expression) string {
	text, ok := p.text(expr)
	if ok && !slices.Contains(schema.Methods(), text) {
		p.report(expr.Range(), "unknown way to authenticate", policies.DidYouMean(text, schema.Methods(), "the ways are "+strings.Join(schema.Methods(), ", ")))
	}
	return text
}

// age reads how old the token is: "90s", "15m", "12h" or "30d".
func (p *parser) age(expr hclsyntax.Expression) time.Duration {
	text, ok := p.text(expr)
	if !ok {
		return -1
	}
	age, err := time.ParseDuration(text)
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		var n int
		n, err = strconv.Atoi(days)
		age = time.Duration(n) * 24 * time.Hour
		if n > 36500 {
			err = strconv.ErrRange
		}
	}
	if err != nil || age < 0 {
		p.report(expr.Range(), "bad age", `write it as "90s", "15m", "12h" or "30d"`)
		return -1
	}
	return age
}

// name reads the name of a user or a job.
func (p *parser) name(attr *hclsyntax.Attribute) string {
	text, ok := p.text(attr.Expr)
	if !ok {
		return ""
	}
	if _, err := schema.ParseName(text); err != nil {
		p.report(attr.Expr.Range(), "bad "+attr.Name+" name", fault.Detail(err))
	}
	return text
}

func (p *parser) policyNames(expr hclsyntax.Expression) []string {
	names := p.texts(expr)
	for i, name := range names {
		if p.set.Find(name) == nil {
			p.report(expr.(*hclsyntax.TupleConsExpr).Exprs[i].Range(), "unknown policy",
				policies.DidYouMean(name, p.names(), "it is neither in the policy files nor built in"))
		}
	}
	return names
}

func (p *parser) roleNames(expr hclsyntax.Expression) []string {
	names := p.texts(expr)
	for i, name := range names {
		if _, ok := p.roles[name]; !ok {
			var known []string
			for role := range p.roles {
				known = append(known, role)
			}
			slices.Sort(known)
			p.report(expr.(*hclsyntax.TupleConsExpr).Exprs[i].Range(), "unknown role",
				policies.DidYouMean(name, known, `write role "name" { policies = ["…"] } in any of the test files`))
		}
	}
	return names
}

func (p *parser) time(expr hclsyntax.Expression) time.Time {
	text, ok := p.text(expr)
	if !ok {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		p.report(expr.Range(), "bad time", `write it with its zone, such as "2026-03-02T10:00:00Z" or "2026-03-02T10:00:00-03:00"`)
	}
	return at
}

func (p *parser) address(expr hclsyntax.Expression) netip.Addr {
	text, ok := p.text(expr)
	if !ok {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		p.report(expr.Range(), "bad address", `write an address such as "10.20.1.1" or "2001:db8::1"`)
		return netip.Addr{}
	}
	return addr
}

// call returns the call of the facts, without its question.
func (f facts) call(roles map[string][]string) schema.Call {
	attached := slices.Clone(f.policies)
	for _, role := range f.roles {
		attached = append(attached, roles[role]...)
	}
	slices.Sort(attached)
	sorted := slices.Clone(f.roles)
	slices.Sort(sorted)
	circumstances := schema.Context{Time: f.at, Source: f.from, Method: f.auth}
	if f.tokenAge >= 0 {
		circumstances.TokenIssued = f.at.Add(-f.tokenAge)
	}
	return schema.Call{
		Principal: schema.Principal{
			Kind: schema.KindUser, User: f.user, Job: f.job,
			Roles: slices.Compact(sorted), Policies: slices.Compact(attached),
		},
		Context: circumstances,
	}
}
