package policies

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/schema"
)

func namesOf(list []*Policy) []string {
	names := []string{}
	for _, p := range list {
		names = append(names, p.Name.String())
	}
	return names
}

func empty(tb testing.TB, names ...string) []*Policy {
	var text string
	for _, name := range names {
		text += fmt.Sprintf("policy %q {\n}\n", name)
	}
	return mustParse(tb, text)
}

func TestSet(t *testing.T) {
	set := NewSet(empty(t, "b", "a", "c"))
	reversed := NewSet(empty(t, "c", "a", "b"))
	if set.Digest() != reversed.Digest() || set.Digest() == (schema.Digest{}) {
		t.Error("the digest depends on the order, or is zero")
	}
	changed := mustParse(t, "# new\npolicy \"b\" {\n}\npolicy \"d\" {\n}")
	next := set.With(changed, []schema.Name{schema.MustName("a"), schema.MustName("nobody")})
	if diff := cmp.Diff([]string{"b", "c", "d"}, namesOf(next.All())); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, namesOf(set.All())); diff != "" {
		t.Errorf("the first set changed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b", "d"}, namesOf(next.Changed(set))); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	if len(next.Changed(nil)) != 3 || len(next.Changed(next)) != 0 {
		t.Error("against nothing all is changed, against itself nothing")
	}
	if next.Get(schema.MustName("b")) != changed[0] || next.Get(schema.MustName("a")) != nil || next.Find("") != nil {
		t.Error("Get returns another policy than the set has")
	}
	if diff := cmp.Diff([]string{"b", "d"}, namesOf(next.Pick([]string{"d", "x", "b", "b"}))); diff != "" {
		t.Errorf("picked (-want +got):\n%s", diff)
	}
	if next.Digest() == set.Digest() || next.With(nil, nil).Digest() != next.Digest() {
		t.Error("the digest does not follow the content")
	}
	if !slices.Equal(next.Names(), []schema.Name{schema.MustName("b"), schema.MustName("c"), schema.MustName("d")}) || next.Len() != 3 {
		t.Errorf("names %v", next.Names())
	}
}

// TestSetDigestIsExact moves the boundary between a name and what follows.
func TestSetDigestIsExact(t *testing.T) {
	if NewSet(empty(t, "ab", "c")).Digest() == NewSet(empty(t, "a", "bc")).Digest() || NewSet(nil).Digest() == NewSet(empty(t, "a")).Digest() {
		t.Error("different sets have one digest")
	}
}

func BenchmarkWith(b *testing.B) {
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("policy-%d", i))
	}
	var list []*Policy
	for part := range slices.Chunk(names, 500) {
		list = append(list, empty(b, part...)...)
	}
	set := NewSet(list)
	changed := mustParse(b, "# new\npolicy \"policy-7\" {\n}")
	b.ReportAllocs()
	for b.Loop() {
		set.With(changed, nil)
	}
}

// TestLocked changes guardrails in turns: what no one could change any more is locked.
func TestLocked(t *testing.T) {
	lock := func(name, path, verbs, more string) string {
		return "guardrail \"" + name + "\" {\n  guardrail {\n    path = \"" + path + "\"\n    deny = [" + verbs + "]\n" + more + "  }\n}\n"
	}
	const both = `"update", "delete"`
	for text, want := range map[string]string{
		"":                       "",
		lock("a", "b", both, ""): "",
		lock("a", "b", both, "") + lock("b", "c", both, ""):                                                       "",
		lock("a", "b", both, "") + lock("b", "a", both, ""):                                                       "a b",
		lock("a", "b", both, "") + lock("b", "a", both, "") + lock("c", "d", both, "") + lock("d", "x", both, ""): "a b",
		lock("a", "b", both, "") + lock("b", "c", both, "") + lock("c", "a", both, ""):                            "a b c",
		lock("a", "b", both, "") + lock("b", "a", `"update"`, ""):                                                 "",
		lock("a", "b", both, "") + lock("b", "a", both, "    unless {\n      hours = \"08:00-19:00\"\n    }\n"):   "",
	} {
		var names []string
		for _, p := range NewSet(mustParse(t, text)).Locked() {
			names = append(names, p.Name.String())
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("locked are %q; want %q, of\n%s", got, want, text)
		}
	}
}

func TestGuardrailIsNotPicked(t *testing.T) {
	set := NewSet(mustParse(t, "guardrail \"g\" {\n}\n\npolicy \"p\" {\n}\n"))
	if got := set.Pick([]string{"g", "p"}); len(got) != 1 || got[0].Name.String() != "p" {
		t.Errorf("picked %v", got)
	}
	if got := set.Guardrails(); len(got) != 1 || got[0] != set.Find("g") || got[0].ModuleFile() != "guardrail/g.rego" {
		t.Errorf("guardrails %v", got)
	}
	if got := set.With(mustParse(t, "policy \"g\" {\n}\n"), nil).Guardrails(); len(got) != 0 {
		t.Errorf("a guardrail replaced by a policy is left: %v", got)
	}
}
