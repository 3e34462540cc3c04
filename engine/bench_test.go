package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// fleet returns policies of 20 rules each that have the given number of rules in all,
// and the names of the up to four that the benchmarks' principal has attached.
func fleet(tb testing.TB, rules int) (list []*policies.Policy, attached []string) {
	tb.Helper()
	for i := range max(1, rules/20) {
		var blocks [][2]string
		for j := range 20 {
			pattern := fmt.Sprintf("team%d/app%d/*", i, j)
			switch j % 5 {
			case 1:
				pattern = fmt.Sprintf("team%d/app%d/db", i, j)
			case 2:
				pattern = fmt.Sprintf("team%d/+/key%d", i, j)
			}
			blocks = append(blocks, [2]string{pattern, "read list"})
		}
		name := fmt.Sprintf("team%d", i)
		list = append(list, mustParse(tb, hclOf(name, "secret", blocks...))...)
		if i < 4 {
			attached = append(attached, name)
		}
	}
	return list, attached
}

var sizes = []int{20, 1_000, 10_000, 100_000}

func BenchmarkDecision(b *testing.B) {
	for _, rules := range sizes {
		list, attached := fleet(b, rules)
		for _, noMemo := range []bool{false, true} {
			e := mustActivate(b, Config{NoMemo: noMemo}, list)
			how := "memoised"
			if noMemo {
				how = "evaluated"
			}
			for _, hit := range []bool{true, false} {
				b.Run(fmt.Sprintf("%s/rules=%d/hit=%t", how, rules, hit), func(b *testing.B) {
					benchmarkDecision(b, e, attached, hit)
				})
			}
		}
	}
}

func benchmarkDecision(b *testing.B, e *Engine, attached []string, hit bool) {
	calls := make([]schema.Call, 1024)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range calls {
		path := fmt.Sprintf("team%d/app%d/x%d", random.IntN(len(attached)), 5*random.IntN(4), random.IntN(1000))
		if !hit {
			path = fmt.Sprintf("nobody%d/app%d/x", random.IntN(1000), random.IntN(20))
		}
		calls[i] = ask("secret:read", path, attached...)
		if d, _ := e.Authorize(b.Context(), "id", calls[i]); d.Allow != hit {
			b.Fatalf("%s is %v; want %v", path, d.Reason, hit)
		}
	}
	ctx := context.Background()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e.Authorize(ctx, "id", calls[i%len(calls)])
	}
}

// BenchmarkActivate checks and activates a set in which one policy of 20 rules changed,
// to a text that was never seen before.
func BenchmarkActivate(b *testing.B) {
	for _, rules := range sizes {
		list, attached := fleet(b, rules)
		b.Run(fmt.Sprintf("rules=%d", rules), func(b *testing.B) {
			e := mustActivate(b, Config{}, list)
			e.Authorize(b.Context(), "id", ask("secret:read", "team0/app0/x", attached...))
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				changed := mustParse(b, fmt.Sprintf("# change %d\n%s", i, list[0].Text))
				b.StartTimer()
				set, _ := e.Set()
				if err := e.Activate(b.Context(), set.With(changed, nil), schema.Revision(i)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFirst is the first decision of an attached set of four policies.
func BenchmarkFirst(b *testing.B) {
	list, attached := fleet(b, 1000)
	c := ask("secret:read", "team0/app0/x", attached...)
	for b.Loop() {
		b.StopTimer()
		e := mustActivate(b, Config{}, list)
		b.StartTimer()
		if d, _ := e.Authorize(b.Context(), "id", c); !d.Allow {
			b.Fatal(d)
		}
	}
}

// BenchmarkFilter walks 100,000 names for a principal who may see 100 of them, and for
// one who may see all.
func BenchmarkFilter(b *testing.B) {
	names := make([]schema.Path, 100_000)
	for i := range names {
		names[i] = schema.MustPath(fmt.Sprintf("team%d/app%d/key%d", i/100, i%10, i%100))
	}
	list := append(mustParse(b, hclOf("few", "secret", [2]string{"team7/*", "list"})), mustParse(b, hclOf("all", "secret", [2]string{"*", "list"}))...)
	for name, want := range map[string]int{"few": 100, "all": len(names)} {
		b.Run(name, func(b *testing.B) {
			e := mustActivate(b, Config{}, list)
			c := ask("secret:list", "x", name)
			b.ReportAllocs()
			for b.Loop() {
				_, p := e.List(b.Context(), "id", c)
				f, _ := p.Filter(c.Capability)
				seen := 0
				for _, path := range names {
					if f.Visible(path) {
						seen++
					}
				}
				if seen != want {
					b.Fatalf("%d names seen; want %d", seen, want)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(names)), "ns/name")
		})
	}
}
