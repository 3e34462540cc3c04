package policies

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/schema"
)

// mustParse parses policies, or ends the test.
func mustParse(tb testing.TB, text string) []*Policy {
	tb.Helper()
	list, diags := Parse("test.hcl", []byte(text))
	if err := diags.Err(); err != nil {
		tb.Fatalf("parse:\n%v\nof:\n%s", err, text)
	}
	return list
}

const twoPolicies = `# A file with two policies.

# What the deploy pipeline may do
// in production.
policy "deploy-prod-secrets" {
  description = "Implantação: só produção"

  secret {
    path         = "prod/*"
    capabilities = ["list", "read"]
  }

  secret {
    path         = "prod/admin/*"
    capabilities = []
  }
} /* not of the next one */
/* but this
   is */
policy "other" {

  job {
    path         = "api-*"
    capabilities = ["run"]
  }
  secret {
    path         = "*"
    capabilities = ["deny"]
  }
}
`

func TestParse(t *testing.T) {
	list := mustParse(t, twoPolicies)
	if len(list) != 2 {
		t.Fatalf("%d policies; want 2", len(list))
	}
	deploy, other := list[0], list[1]
	if deploy.Description != "Implantação: só produção" || deploy.First != 3 || other.First != 18 {
		t.Errorf("description %q, first lines %d and %d", deploy.Description, deploy.First, other.First)
	}
	if text := string(deploy.Text); !strings.HasPrefix(text, "# What the deploy") || !strings.HasSuffix(text, "= []\n  }\n}") {
		t.Errorf("text of the first policy is\n%s", text)
	}
	if text := string(other.Text); !strings.HasPrefix(text, "/* but this\n   is */\npolicy \"other\"") {
		t.Errorf("text of the second policy is\n%s", text)
	}
	want := []string{
		"secret prod/* [read list] deny=false line 6",
		"secret prod/admin/* [] deny=true line 11",
		"job api-* [run] deny=false line 5",
		"secret * [] deny=true line 9",
	}
	var got []string
	for _, p := range list {
		for _, r := range p.Rules {
			got = append(got, fmt.Sprintf("%s %s %s deny=%t line %d", r.Resource, r.Pattern, r.Verbs, r.Deny, r.Line))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if at := (Span{"test.hcl", 5, 8, 5, 29}); deploy.Span != at {
		t.Errorf("the name is at %+v; want %+v", deploy.Span, at)
	}
}

// TestTextStandsAlone parses the text of each policy by itself: it is the same policy
// with the same digest and the same rule lines, which is what a store relies on.
func TestTextStandsAlone(t *testing.T) {
	for _, p := range slices.Concat(mustParse(t, twoPolicies), mustParse(t, wholeLanguage), Builtin()) {
		again := mustParse(t, string(p.Text))
		if len(again) != 1 || again[0].Digest != p.Digest || again[0].Name != p.Name || again[0].First != 1 {
			t.Fatalf("policy %s read from its own text is %+v", p.Name, again)
		}
		if diff := cmp.Diff(p.Rules, again[0].Rules, cmp.Comparer(func(a, b schema.Pattern) bool { return a == b }),
			cmp.Comparer(func(a, b *Condition) bool { return a.key() == b.key() })); diff != "" {
			t.Errorf("rules of %s (-in the file +alone):\n%s", p.Name, diff)
		}
		lines := strings.Split(string(p.Text), "\n")
		for _, r := range p.Rules {
			if !strings.HasPrefix(strings.TrimSpace(lines[r.Line-1]), string(r.Resource)+" {") {
				t.Errorf("line %d of %s is %q; want the block of %s %s", r.Line, p.Name, lines[r.Line-1], r.Resource, r.Pattern)
			}
		}
		if p.Digest != schema.DigestOf(p.Text) {
			t.Errorf("the digest of %s is not that of its text", p.Name)
		}
	}
}

func TestParseConditions(t *testing.T) {
	list := mustParse(t, wholeLanguage)
	grant, guard := list[0].Rules[0], list[1].Rules[0]
	want := &Condition{
		Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Hours:   &Hours{22 * 60, 6 * 60}, Days: []string{"mon", "fri"}, Zone: "America/Sao_Paulo", MaxAge: 12 * time.Hour, Methods: []string{"token"},
		NotBefore: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC), NotAfter: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, grant.Condition, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("condition (-want +got):\n%s", diff)
	}
	if list[0].Kind != KindPolicy || list[1].Kind != KindGuardrail || !slices.Equal(guard.Denies, []schema.Verb{"read", "inject"}) || guard.Deny || guard.Verbs != nil {
		t.Errorf("the guardrail is %+v", guard)
	}
	if guard.Allows("read") || guard.Condition.Zone != "UTC" || list[0].Rules[1].Condition.Zone != "UTC" {
		t.Error("a guardrail grants, or hours without a time zone are not those of UTC")
	}
	if got := strings.Join(Zones(list), " "); got != "America/Sao_Paulo Etc/GMT+3 UTC" {
		t.Errorf("zones %s", got)
	}
}

// TestConditionKeys holds that writing a condition otherwise does not make it another.
func TestConditionKeys(t *testing.T) {
	read := func(attributes string) string {
		return mustParse(t, "policy \"a\" {\n  secret {\n    path = \"*\"\n    capabilities = []\n    condition {\n"+attributes+"\n}\n}\n}\n")[0].Rules[0].Condition.key()
	}
	same := [][2]string{
		{`days = ["fri", "mon"]`, `days = ["mon", "fri"]`},
		{`hours = "08:00-19:00"`, "hours = \"08:00-19:00\"\n timezone = \"UTC\""},
		{`token_max_age = "90m"`, `token_max_age = "1h30m"`},
		{`token_max_age = "2d"`, `token_max_age = "48h"`},
		{`not_after = "2026-03-01T00:00:00-03:00"`, `not_after = "2026-03-01T03:00:00Z"`},
		{`source_cidrs = ["2001:db8::/32"]`, `source_cidrs = ["2001:0DB8:0::/32"]`},
	}
	seen := map[string]bool{}
	for _, pair := range same {
		if read(pair[0]) != read(pair[1]) {
			t.Errorf("%s and %s are two conditions", pair[0], pair[1])
		}
		seen[read(pair[0])] = true
	}
	for _, other := range []string{`not_before = "2026-03-01T03:00:00Z"`, `hours = "19:00-08:00"`, `days = ["mon"]`, `auth_method = ["token"]`} {
		if seen[read(other)] {
			t.Errorf("%s is another condition", other)
		}
		seen[read(other)] = true
	}
}

func TestParseNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# a comment\n"} {
		if list, diags := Parse("x.hcl", []byte(text)); len(list) != 0 || len(diags) != 0 {
			t.Errorf("Parse(%q) = %v, %v; want nothing", text, list, diags)
		}
	}
}

func TestImpliedVerbs(t *testing.T) {
	rule := mustParse(t, "policy \"a\" {\n  secret {\n    path = \"*\"\n    capabilities = [\"update\", \"read\"]\n  }\n}")[0].Rules[0]
	if want := []schema.Verb{"update", "read", "describe", "rollback"}; !slices.Equal(rule.Grants(), want) {
		t.Errorf("update and read grant %v; want %v", rule.Grants(), want)
	}
}

// bombs are texts that crash or stall an HCL parser without limits, at sizes beyond
// what kills it and at the largest size that passes the cap.
func bombs(size int) map[string]string {
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	return map[string]string{
		"lists":        `a = ` + fill("["),
		"parens":       `a = ` + fill("("),
		"objects":      `a = ` + fill("{a="),
		"templates":    `a = ` + fill(`"${`),
		"controls":     `a = "` + fill(`%{if a}`),
		"bangs":        `a = ` + fill("!"),
		"minus":        `a = ` + fill("-"),
		"for":          `a = ` + fill("[for a in "),
		"blocks":       fill("a {\n"),
		"conditionals": `a = ` + fill("a?"),
		"nested else":  `a = ` + fill("a?a:"),
		"splats":       `a = a` + fill("[*]"),
		"sums":         `a = 1` + fill("+1"),
		"calls":        `a = ` + fill("f("),
		"heredocs":     fill("a = <<A\n"),
		"quotes":       fill(`"`),
		"backslashes":  `a = "` + fill(`\`),
		"dots":         `a = a` + fill(".a"),
		"colons":       `a = a` + fill("::a"),
		"newlines":     fill("\n"),
		"garbage":      fill("a\n"),
		"policies":     fill("policy \"a\" {}\n"),
		"comments":     fill("#\n"),
		"closed lists": `a = ` + strings.Repeat("[", size/2) + strings.Repeat("]", size/2),
	}
}

func TestBombs(t *testing.T) {
	// What kills an unguarded parser is refused before the lexer. The rest is only
	// long, and takes the lexer what it takes.
	harmless := []string{"newlines", "comments"}
	long := append(harmless, "quotes", "garbage", "policies", "backslashes")
	for _, size := range []int{MaxFileBytes - 16, 4 << 20} {
		for name, bomb := range bombs(size) {
			text := []byte(bomb)
			list, diags := Parse("bomb.hcl", text)
			if refused := len(list) == 0 && diags.HasErrors(); !refused && !(slices.Contains(harmless, name) && size < MaxFileBytes) {
				t.Errorf("%s of %d bytes: not refused", name, size)
			}
			Format("bomb.hcl", text)
			if slices.Contains(long, name) && size < MaxFileBytes {
				continue
			}
			const limit = 50 * time.Millisecond
			if took := fastest(limit, func() { Parse("bomb.hcl", text) }); took > limit {
				t.Errorf("parse %s of %d bytes: %v; want at most %v", name, size, took, limit)
			}
			if took := fastest(limit, func() { Format("bomb.hcl", text) }); took > limit {
				t.Errorf("format %s of %d bytes: %v; want at most %v", name, size, took, limit)
			}
		}
	}
}

// fastest returns the first of ten runs that keeps within the limit, or the shortest, so
// that a busy machine does not count.
func fastest(limit time.Duration, run func()) time.Duration {
	best := time.Hour
	for range 10 {
		start := time.Now()
		run()
		if best = min(best, time.Since(start)); best <= limit {
			break
		}
	}
	return best
}

func TestSizeLimit(t *testing.T) {
	text := []byte("policy \"a\" {\n}\n")
	fits := append(slices.Clone(text), []byte("#"+strings.Repeat("x", MaxFileBytes-len(text)-1))...)
	if _, diags := Parse("x.hcl", fits); diags.HasErrors() {
		t.Errorf("a file of exactly the limit is refused: %v", diags)
	}
	_, diags := Parse("x.hcl", append(fits, 'x'))
	want := "x.hcl:1:1: error: the file is too large; it has 65537 bytes; at most 65536 are allowed, so split it into several files"
	if diags.Error() != want {
		t.Errorf("got  %v\nwant %s", diags, want)
	}
}

// FuzzParse looks for a text that crashes the parser or that parses to what its own
// text is not.
func FuzzParse(f *testing.F) {
	f.Add([]byte(twoPolicies))
	f.Add([]byte(wholeLanguage))
	for _, p := range Builtin() {
		f.Add(p.Text)
	}
	files, _ := filepath.Glob("testdata/bad/*.hcl")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, bomb := range bombs(200) {
		f.Add([]byte(bomb))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, diags := Parse("fuzz.hcl", text)
		if diags.HasErrors() && list != nil {
			t.Fatal("policies beside errors")
		}
		if err := diags.Render(new(strings.Builder), text); err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			again, diags := Parse("fuzz.hcl", p.Text)
			if diags.HasErrors() || len(again) != 1 || again[0].Digest != p.Digest {
				t.Fatalf("the text of a policy does not stand alone: %q\n%v", p.Text, diags)
			}
			checkModule(t, p)
		}
	})
}

// FuzzFormat looks for a text that formatting changes twice, or changes the meaning of.
func FuzzFormat(f *testing.F) {
	f.Add([]byte(twoPolicies))
	f.Add([]byte("policy \"a\" {\n secret {\n path=\"x\"\n    capabilities=[ \"read\",\n\"list\" ]\n}\n}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		once, diags := Format("fuzz.hcl", text)
		if diags.HasErrors() {
			return
		}
		twice, diags := Format("fuzz.hcl", once)
		if diags.HasErrors() || string(once) != string(twice) {
			t.Fatalf("formatted once\n%q\ntwice\n%q\n%v", once, twice, diags)
		}
		before, diags := Parse("fuzz.hcl", text)
		if diags.HasErrors() {
			return
		}
		after, diags := Parse("fuzz.hcl", once)
		if diags.HasErrors() || len(after) != len(before) {
			t.Fatalf("formatting %q broke it: %v", text, diags)
		}
		for i, p := range before {
			for j, r := range p.Rules {
				if got := after[i].Rules[j]; got.Pattern != r.Pattern || got.Deny != r.Deny || !slices.Equal(got.Verbs, r.Verbs) {
					t.Fatalf("formatting %q changed rule %d of %s", text, j, p.Name)
				}
			}
		}
	})
}
