package storagetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

func fill(k *Kit, keys ...string) {
	var b storage.Batch
	for _, key := range keys {
		b.Put = append(b.Put, put(key, "value of "+key))
	}
	k.Do(b)
}

func testScan(t *testing.T, k *Kit) {
	fill(k, "b", "a", "ab", "abc", "B", "\x00", "\xff", "a\x00", "a\xff")
	for _, row := range []struct {
		prefix, after string
		limit         int
		want          []string
	}{
		{"", "", 100, []string{"\x00", "B", "a", "a\x00", "ab", "abc", "a\xff", "b", "\xff"}},
		{"a", "", 100, []string{"a", "a\x00", "ab", "abc", "a\xff"}},
		{"ab", "", 100, []string{"ab", "abc"}},
		{"abcd", "", 100, []string{}},
		{"a", "", 2, []string{"a", "a\x00"}},
		{"a", "a", 100, []string{"a\x00", "ab", "abc", "a\xff"}},
		{"a", "aa", 100, []string{"ab", "abc", "a\xff"}},              // after need not exist
		{"a", "A", 100, []string{"a", "a\x00", "ab", "abc", "a\xff"}}, // before the prefix
		{"a", "b", 100, []string{}},                                   // beyond it
		{"", "b", 100, []string{"\xff"}},
		{"", "\xff", 100, []string{}},
		{"ab", "a", 100, []string{"ab", "abc"}},
	} {
		if diff := cmp.Diff(row.want, k.Keys(row.prefix, row.after, row.limit)); diff != "" {
			t.Errorf("scan %q after %q limit %d (-want +got):\n%s", row.prefix, row.after, row.limit, diff)
		}
	}
	items, err := k.Scan(t.Context(), []byte("abc"), nil, 1)
	if err != nil || len(items) != 1 || string(items[0].Value) != "value of abc" || items[0].Revision == 0 {
		t.Errorf("scan abc = %v, %v; want key, value and revision", items, err)
	}
	for _, limit := range []int{0, -1} {
		if _, err := k.Scan(t.Context(), nil, nil, limit); fault.KindOf(err) != fault.InvalidArgument {
			t.Errorf("scan with limit %d: %v, want %s", limit, err, fault.InvalidArgument)
		}
	}
}

func testScanPages(t *testing.T, k *Kit) {
	var want []string
	for i := range 250 {
		want = append(want, fmt.Sprintf("p/%03d", i))
	}
	for chunk := range slices.Chunk(want, 100) {
		fill(k, chunk...)
	}
	fill(k, "o", "p", "p0", "q")
	for _, limit := range []int{1, 7, 50, 249, 250, 251} {
		var got []string
		for after := ""; ; after = got[len(got)-1] {
			page := k.Keys("p/", after, limit)
			if got = append(got, page...); len(page) < limit {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
		}
	}
}

func testScanEdges(t *testing.T, k *Kit) {
	fill(k, "\xfe", "\xfe\xff", "\xff", "\xff\x00", "\xff\xff", "\xff\xff\xff", "a\xff", "a\xff\xff", "b")
	for prefix, want := range map[string][]string{
		"\xff":     {"\xff", "\xff\x00", "\xff\xff", "\xff\xff\xff"},
		"\xff\xff": {"\xff\xff", "\xff\xff\xff"},
		"\xfe\xff": {"\xfe\xff"},
		"a\xff":    {"a\xff", "a\xff\xff"},
		"a":        {"a\xff", "a\xff\xff"},
	} {
		if diff := cmp.Diff(want, k.Keys(prefix, "", 100)); diff != "" {
			t.Errorf("scan %q (-want +got):\n%s", prefix, diff)
		}
	}
}
