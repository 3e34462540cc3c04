package policies

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heroctl/heroctl/schema"
)

func pat(text string) schema.Pattern { return schema.MustPattern(text) }

func pats(texts ...string) []schema.Pattern {
	var list []schema.Pattern
	for _, text := range texts {
		list = append(list, pat(text))
	}
	return list
}

func TestOverlap(t *testing.T) {
	long := func(c string) string { return strings.Repeat(c, schema.MaxSegmentBytes) }
	rows := []struct{ a, b, want string }{
		{"kv/+/db", "kv/app/*", "kv/app/db"},
		{"prod/*", "prod", ""},
		{"prod*", "prod", "prod"},
		{"prod*", "production/*", "production/x"},
		{"prod/*", "dev/*", ""},
		{"*", "*", "x"},
		{"+", "*", "x"},
		{"+/*", "+", ""},
		{"+/a/*", "b/+/+", "b/a/x"},
		{"ab*", "abc*", "abc"},
		{"a.*", "a*", "a.x"},
		{"a", "A", ""},
		{"+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/*", "+/*", "x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x"},
		// Each has paths of its own, but a common one would be longer than a path may be.
		{long("a") + "/+/" + long("a") + "/+", "+/" + long("b") + "/+/" + long("b"), ""},
		{long("a") + "/+/" + long("a"), "+/" + long("b") + "/+", long("a") + "/" + long("b") + "/" + long("a")},
		// Templates: the user may have the name, and both have the same.
		{"users/{{user.name}}/*", "users/ana/*", "users/ana/x"},
		{"users/{{user.name}}/*", "users/+", ""},
		{"{{user.name}}/{{user.name}}", "ana/bob", ""},
		{"{{user.name}}/{{user.name}}", "ana/ana", "ana/ana"},
		{"{{user.name}}/{{user.name}}", "ana/an*", "ana/ana"},
		{"{{user.name}}/{{job.name}}", "ana/bob", "ana/bob"},
		{"{{user.name}}", "{{job.name}}", "y"},
		{"{{user.name}}", "an*", "an"},
	}
	for _, row := range rows {
		for _, pair := range [][2]string{{row.a, row.b}, {row.b, row.a}} {
			path, ok := Overlap(pat(pair[0]), pat(pair[1]))
			if path.String() != row.want || ok != (row.want != "") {
				t.Errorf("Overlap(%s, %s) = %q, %t; want %q", pair[0], pair[1], path, ok, row.want)
			}
		}
	}
	if _, ok := Overlap(schema.Pattern{}, pat("*")); ok {
		t.Error("the zero pattern overlaps")
	}
}

func TestIncludes(t *testing.T) {
	const yes = "-"
	rows := []struct{ a, b, missing string }{
		{"prod/*", "prod/admin/*", yes},
		{"prod/admin/*", "prod/*", "prod/x"},
		{"prod*", "prod/*", yes},
		{"prod/*", "prod*", "prod"},
		{"a/*", "a/+/c/*", yes},
		{"a/+", "a/*", "a/x/x"},
		{"*", "*", yes},
		{"+", "*", "x/x"},
		{"+/*", "+/b", yes},
		{"a/+/c", "a/b/+", "a/b/x"},
		{"users/+/*", "users/{{user.name}}/*", yes},
		{"users/{{user.name}}/*", "users/{{user.name}}/*", yes},
		{"users/{{user.name}}/*", "users/{{user.name}}/key", yes},
		{"users/{{user.name}}/*", "users/ana/*", "users/ana/x"},
		{"users/ana/*", "users/{{user.name}}/*", "users/x/x"},
		{"{{user.name}}", "{{job.name}}", "y"},
		// Only so many segments there are.
		{"+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+", "+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/*", yes},
	}
	for _, row := range rows {
		missing, ok := Includes(pat(row.a), pat(row.b))
		if got := missing.String(); ok != (row.missing == yes) || !ok && got != row.missing {
			t.Errorf("Includes(%s, %s) = %q, %t; want %q", row.a, row.b, got, ok, row.missing)
		}
	}
}

func TestCovered(t *testing.T) {
	rows := []struct {
		p, by, missing string
		want           Verdict
	}{
		{"a/*", "a/+ a/+/*", "", Yes},
		{"a/*", "a/+ a/+/+", "a/x/x/x", No},
		{"prod*", "prod prod/* prod+", "", No},
		{"*", "+ +/*", "", No}, // "no path in particular" is left
		{"a/b", "", "a/b", No},
		{"a/+", "a/b* a/c", "a/x", No},
	}
	for _, row := range rows {
		by := pats(strings.Fields(strings.ReplaceAll(row.by, "prod+", "prodx"))...)
		missing, v := Covered(pat(row.p), by)
		if v != row.want || row.missing != "" && missing.String() != row.missing {
			t.Errorf("Covered(%s, %s) = %q, %d; want %q, %d", row.p, row.by, missing, v, row.missing, row.want)
		}
	}
}

// TestCoveredIsBounded asks for a hole in a random formula over 15 variables.
func TestCoveredIsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var by []schema.Pattern
	for range 600 {
		segments := slices.Repeat([]string{"+"}, 15)
		for range 7 {
			segments[rng.IntN(15)] = string("abc"[rng.IntN(3)])
		}
		by = append(by, pat(strings.Join(segments, "/")+"/*"))
	}
	start := time.Now()
	_, v := Covered(pat("+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/*"), by)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("verdict %d after %v", v, took)
	}
}

// TestKindsWithoutRoom asks for a segment when every one of some length is taken.
func TestKindsWithoutRoom(t *testing.T) {
	var literals, prefixes []test
	for i := range len(alphabet) {
		literals = append(literals, test{alphabet[i : i+1], literal})
		prefixes = append(prefixes, test{alphabet[i : i+1], prefix})
	}
	if got := shortest("", literals); got != "xx" {
		t.Errorf("shortest beside all of length 1 = %q; want xx", got)
	}
	if got := shortest("", prefixes); got != "" {
		t.Errorf("shortest beside all beginnings = %q; want none", got)
	}
	full := strings.Repeat("a", schema.MaxSegmentBytes)
	if got := shortest(full, []test{{full, literal}}); got != "" {
		t.Errorf("shortest beyond the longest segment = %q; want none", got)
	}
	if got := shortest(full[1:]+".", nil); got != "" {
		t.Errorf("shortest after a dot at the end of the room = %q; want none", got)
	}
}

// universe is every path of up to depth segments over the words.
func universe(depth int, words ...string) []schema.Path {
	var all []schema.Path
	layer := []string{""}
	for range depth {
		var next []string
		for _, start := range layer {
			for _, word := range words {
				text := strings.TrimPrefix(start+"/"+word, "/")
				next, all = append(next, text), append(all, schema.MustPath(text))
			}
		}
		layer = next
	}
	return all
}

// everyPattern is every pattern of up to depth segments over the words, the wildcards
// and the words with a star.
func everyPattern(depth int, words ...string) []schema.Pattern {
	var all []schema.Pattern
	layer := []string{""}
	for range depth {
		var next []string
		for _, start := range layer {
			for _, word := range append([]string{"+"}, words...) {
				next = append(next, start+word+"/")
				all = append(all, pat(start+word))
			}
			for _, word := range append([]string{""}, words...) {
				all = append(all, pat(start+word+"*"))
			}
		}
		layer = next
	}
	return all
}

// TestAlgebraAgainstBruteForce holds every pair of the small patterns against every
// small path: overlap and inclusion are what trying them all out finds, and each
// witness is one by the definition of matching.
func TestAlgebraAgainstBruteForce(t *testing.T) {
	list, paths := everyPattern(2, "a", "ab", "b"), universe(3, "a", "ab", "abx", "ax", "b", "x")
	covers := make([][]bool, len(list))
	for i, p := range list {
		for _, path := range paths {
			covers[i] = append(covers[i], p.Matches(path))
		}
	}
	checks := 0
	for i, a := range list {
		for j, b := range list {
			both, onlyB := false, false
			for k := range paths {
				both = both || covers[i][k] && covers[j][k]
				onlyB = onlyB || covers[j][k] && !covers[i][k]
				checks++
			}
			if path, ok := Overlap(a, b); ok != both || ok && !(a.Matches(path) && b.Matches(path)) {
				t.Fatalf("Overlap(%s, %s) = %q, %t; trying out says %t", a, b, path, ok, both)
			}
			missing, ok := Includes(a, b)
			if ok == (onlyB || b.String() == "*" && a != b) {
				t.Fatalf("Includes(%s, %s) = %q, %t; trying out says %t", a, b, missing, ok, !onlyB)
			}
			if onlyB && !(b.Matches(missing) && !a.Matches(missing)) {
				t.Fatalf("Includes(%s, %s): %q is no witness", a, b, missing)
			}
		}
	}
	t.Logf("%d patterns, %d paths, %d checks", len(list), len(paths), checks)
	if checks < 100_000 {
		t.Errorf("only %d checks", checks)
	}
}

// TestCoveredAgainstBruteForce tries random unions out.
func TestCoveredAgainstBruteForce(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	list, paths := everyPattern(3, "a", "ab"), universe(4, "a", "ab", "abx", "ax", "x")
	checks, yes := 0, 0
	for range 600 {
		p := list[rng.IntN(len(list))]
		var by []schema.Pattern
		for range 1 + rng.IntN(6) {
			q := list[rng.IntN(len(list))]
			if q != p {
				by = append(by, q)
			}
		}
		covered := p.String() != "*" || slices.Contains(by, p)
		for _, path := range paths {
			covered = covered && (!p.Matches(path) || slices.ContainsFunc(by, func(q schema.Pattern) bool { return q.Matches(path) }))
			checks++
		}
		missing, v := Covered(p, by)
		if (v == Yes) != covered || v == Undecided {
			t.Fatalf("Covered(%s, %s) = %q, %d; trying out says %t", p, by, missing, v, covered)
		}
		if v == Yes {
			yes++
		} else if !missing.IsZero() && (!p.Matches(missing) || slices.ContainsFunc(by, func(q schema.Pattern) bool { return q.Matches(missing) })) {
			t.Fatalf("Covered(%s, %s): %q is no witness", p, by, missing)
		}
	}
	t.Logf("%d checks, %d unions cover", checks, yes)
	if checks < 100_000 || yes < 20 {
		t.Errorf("%d checks, %d unions cover; want more", checks, yes)
	}
}

// TestTemplatesAgainstBruteForce tries every small value of the templates out.
func TestTemplatesAgainstBruteForce(t *testing.T) {
	words := []string{"a", "ab", "abx", "x", "y"}
	paths := universe(3, words...)
	var list []schema.Pattern
	for _, first := range []string{"{{user.name}}", "{{job.name}}", "a", "+", "ab*"} {
		if strings.HasSuffix(first, "*") {
			list = append(list, pat(first))
			continue
		}
		for _, second := range []string{"", "/{{user.name}}", "/ab", "/+", "/a*", "/*"} {
			list = append(list, pat(first+second))
		}
	}
	covers := func(p schema.Pattern, user, job string, path schema.Path) bool {
		bound, how := p.Bind(schema.Principal{User: user, Job: job})
		return how == schema.Bound && bound.Matches(path)
	}
	for _, a := range list {
		for _, b := range list {
			both, onlyB := false, false
			for _, user := range words {
				for _, job := range words {
					for _, path := range paths {
						both = both || covers(a, user, job, path) && covers(b, user, job, path)
						onlyB = onlyB || covers(b, user, job, path) && !covers(a, user, job, path)
					}
				}
			}
			if path, ok := Overlap(a, b); ok != both {
				t.Fatalf("Overlap(%s, %s) = %q, %t; trying out says %t", a, b, path, ok, both)
			}
			if missing, ok := Includes(a, b); ok == onlyB {
				t.Fatalf("Includes(%s, %s) = %q, %t; trying out says %t", a, b, missing, ok, !onlyB)
			}
		}
	}
}

func BenchmarkOverlap(b *testing.B) {
	p, q := pat("kv/+/db"), pat("kv/app/*")
	for b.Loop() {
		if _, ok := Overlap(p, q); !ok {
			b.Fatal("no overlap")
		}
	}
}

func BenchmarkCovered(b *testing.B) {
	var by []schema.Pattern
	for i := range 100 {
		by = append(by, pat(fmt.Sprintf("team-%d/*", i)), pat(fmt.Sprintf("+/key-%d", i)))
	}
	for b.Loop() {
		if _, v := Covered(pat("+/*"), by); v != No {
			b.Fatal(v)
		}
	}
}
