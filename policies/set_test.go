package policies

import (
	"fmt"
	"slices"
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
