package schema

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/heroctl/heroctl/schema/fault"
)

func TestParsePattern(t *testing.T) {
	good := []string{"*", "+", "prod", "prod/*", "prod*", "prod/+/key", "prod/+/*", "+/+/b*", "a.*", "a-*", "a/b.*",
		strings.Repeat("x", 128), strings.Repeat("x", 128) + "*", strings.Repeat("a/", 15) + "*"}
	for _, text := range good {
		p, err := ParsePattern(text)
		if err != nil || p.String() != text {
			t.Errorf("ParsePattern(%q) = %q, %v; want it as written", text, p, err)
		}
	}
	bad := map[string]string{
		"":                             `the pattern is empty; write "*" for everything`,
		"+*":                           `segment 1 of the pattern is "+*", which is not allowed; write "+/*" or "*"`,
		"a/+*":                         `segment 2 of the pattern is "+*", which is not allowed; write "+/*" or "*"`,
		"a*/b":                         `segment 1 of the pattern has a "*" before the end; "*" may only be the very last character of the pattern`,
		"*/b":                          `segment 1 of the pattern has a "*" before the end; "*" may only be the very last character of the pattern`,
		"a**":                          `segment 1 of the pattern has a "*" before the end; "*" may only be the very last character of the pattern`,
		"a+/b":                         `segment 1 of the pattern has a "+" beside other characters; "+" stands for one whole segment`,
		"prod/":                        `segment 2 of the pattern is empty; write one "/" between segments and none at the ends`,
		"/prod/*":                      `segment 1 of the pattern is empty; write one "/" between segments and none at the ends`,
		"a//b":                         `segment 2 of the pattern is empty; write one "/" between segments and none at the ends`,
		"../x":                         `segment 1 of the pattern starts with "."; start with a letter, a digit or "_"`,
		".*":                           `segment 1 of the pattern starts with "."; start with a letter, a digit or "_"`,
		"a./b":                         `segment 1 of the pattern ends with "."; end with a letter, a digit, "_" or "-"`,
		"caf\u00e9":                    `segment 1 of the pattern has a character outside A-Z a-z 0-9 . _ -`,
		"users/{{user.nam}}":           `segment 2 of the pattern has a brace; a template is a whole segment, {{user.name}} or {{job.name}}`,
		"users/{{user.name}}*":         `segment 2 of the pattern has a brace; a template is a whole segment, {{user.name}} or {{job.name}}`,
		"a}":                           `segment 1 of the pattern has a brace; a template is a whole segment, {{user.name}} or {{job.name}}`,
		"a?":                           `segment 1 of the pattern has a character outside A-Z a-z 0-9 . _ -`,
		strings.Repeat("a/", 16) + "a": `the pattern has more than 16 segments`,
		strings.Repeat("a", 513):       `the pattern is 513 bytes long; at most 512 are allowed`,
		strings.Repeat("a", 129) + "*": `segment 1 of the pattern is longer than 128 bytes`,
	}
	for text, want := range bad {
		_, err := ParsePattern(text)
		if fault.KindOf(err) != fault.InvalidPath || fault.Detail(err) != want {
			t.Errorf("ParsePattern(%q) = %v; want %s", text, err, want)
		}
	}
}

func TestPatternMatches(t *testing.T) {
	covers := map[string][]string{
		"*":        {"a", "prod/db", "a/b/c/d"},
		"+":        {"a", "prod"},
		"prod/*":   {"prod/db", "prod/admin/key"},
		"prod*":    {"prod", "prod/db", "production/x"},
		"prod/db":  {"prod/db"},
		"prod/+":   {"prod/db"},
		"+/db":     {"prod/db", "dev/db"},
		"+/*":      {"prod/db", "prod/a/b"},
		"a/+/c*":   {"a/b/c", "a/x/cc", "a/b/c/d", "a/b/cc/d"},
		"a/+/+/*":  {"a/b/c/d", "a/b/c/d/e"},
		"a/b/+/db": {"a/b/c/db"},
	}
	misses := map[string][]string{
		"+":       {"a/b"},
		"prod/*":  {"prod", "production/x", "Prod/db"},
		"prod*":   {"pro", "dev/prod"},
		"prod/db": {"prod", "prod/db2", "prod/db/x"},
		"prod/+":  {"prod", "prod/a/b"},
		"+/*":     {"prod"},
		"a/+/c*":  {"a/c", "a/b/d", "a/b/d/c"},
	}
	for text, paths := range covers {
		for _, path := range paths {
			if !MustPattern(text).Matches(MustPath(path)) {
				t.Errorf("%s does not cover %s; want it to", text, path)
			}
			if !strings.HasPrefix(path, MustPattern(text).Literal()) {
				t.Errorf("%s does not start with the literal part of %s", path, text)
			}
		}
	}
	for text, paths := range misses {
		for _, path := range paths {
			if MustPattern(text).Matches(MustPath(path)) {
				t.Errorf("%s covers %s; want it not to", text, path)
			}
		}
	}
}

func TestZeroPathIsCoveredByStarAlone(t *testing.T) {
	for _, text := range []string{"+", "a*", "a", "+/*"} {
		if MustPattern(text).Matches(Path{}) {
			t.Errorf("%s covers the zero path; want only * to", text)
		}
	}
	if !MustPattern("*").Matches(Path{}) || (Pattern{}).Matches(Path{}) || (Pattern{}).Matches(MustPath("a")) {
		t.Error("the zero path must be covered by * and by nothing else")
	}
}

// TestPatternOrder lists patterns from the least to the most specific.
func TestPatternOrder(t *testing.T) {
	order := []string{
		"+/+/*", "+/*", "+/b*", "*", "+/+/c", "+/a/c", "+/b/c", "+/bb/c",
		"p*", "prod*", "prod/+/*", "prod/*", "prod/+", "prod/+/db", "prod/a*", "prod/a", "prod/db", "prod/db/x",
	}
	shuffled := slices.Clone(order)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	slices.SortFunc(shuffled, func(a, b string) int { return MustPattern(a).Compare(MustPattern(b)) })
	if !slices.Equal(shuffled, order) {
		t.Errorf("order by priority is\n%s\nwant\n%s", shuffled, order)
	}
	if MustPattern("a/+").Compare(MustPattern("a/+")) != 0 {
		t.Error("a pattern differs from itself")
	}
}
