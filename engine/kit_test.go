package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// at is when all calls of the tests are made.
var at = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// mustParse parses policies, or ends the test.
func mustParse(tb testing.TB, text string) []*policies.Policy {
	tb.Helper()
	list, diags := policies.Parse("test.hcl", []byte(text))
	if err := diags.Err(); err != nil {
		tb.Fatalf("parse:\n%v\nof:\n%s", err, text)
	}
	return list
}

// mustActivate returns an engine with the policies in force.
func mustActivate(tb testing.TB, config Config, list []*policies.Policy) *Engine {
	tb.Helper()
	e := New(config)
	if err := e.Activate(tb.Context(), policies.NewSet(list), 1); err != nil {
		tb.Fatalf("activate: %v", err)
	}
	return e
}

// ask makes a call of a user with the policies attached.
func ask(capability, path string, attached ...string) schema.Call {
	c, err := schema.ParseCapability(capability)
	if err != nil {
		panic(err)
	}
	slices.Sort(attached)
	return schema.Call{
		Principal:  schema.Principal{Kind: schema.KindUser, User: "ana", Policies: attached},
		Capability: c,
		Path:       schema.MustPath(path),
		Context:    schema.Context{Time: at},
	}
}

// decide is Authorize without the permit.
func decide(tb testing.TB, e *Engine, c schema.Call) schema.Decision {
	tb.Helper()
	d, p := e.Authorize(tb.Context(), "test", c)
	if _, ok := p.Path(c.Capability); ok != d.Allow {
		tb.Fatalf("%s on %s: decision %v with a permit that says %v", c.Capability, c.Path, d.Allow, ok)
	}
	return d
}

// hclOf writes a policy with one block for each (pattern, capabilities) of a resource.
func hclOf(name, resource string, rules ...[2]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "policy %q {\n", name)
	for _, rule := range rules {
		words := strings.Fields(rule[1])
		for i, word := range words {
			words[i] = fmt.Sprintf("%q", word)
		}
		fmt.Fprintf(&b, "  %s {\n    path         = %q\n    capabilities = [%s]\n  }\n", resource, rule[0], strings.Join(words, ", "))
	}
	return b.String() + "}\n"
}
