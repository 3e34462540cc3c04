package schema

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBind(t *testing.T) {
	for _, row := range []struct {
		pattern, user, job string
		binding            Binding
		want               string
	}{
		{"prod/*", "", "", Bound, "prod/*"},
		{"users/{{user.name}}/*", "ana", "", Bound, "users/ana/*"},
		{"{{user.name}}", "ana", "", Bound, "ana"},
		{"{{job.name}}/{{user.name}}/+", "ana", "api", Bound, "api/ana/+"},
		{"{{job.name}}/{{user.name}}", "ana", "", Unbound, ""},
		{"{{job.name}}/{{user.name}}", "*", "", Unbound, ""},
		{"jobs/{{job.name}}/*", "ana", "", Unbound, ""},
		{"users/{{user.name}}/*", "*", "", Suspect, "users/+/*"},
		{"users/{{user.name}}/*", "+", "", Suspect, "users/+/*"},
		{"users/{{user.name}}/*", "ana/admin", "", Suspect, "users/+/*"},
		{"{{job.name}}/{{user.name}}", "ana", "api*", Suspect, "+/+"},
		{"users/{{user.name}}/*", "{{job.name}}", "x", Bound, "users/{{job.name}}/*"},
	} {
		got, binding := MustPattern(row.pattern).Bind(Principal{User: row.user, Job: row.job})
		if got.String() != row.want || binding != row.binding {
			t.Errorf("%s bound for user %q and job %q is %q, %d; want %q, %d", row.pattern, row.user, row.job, got, binding, row.want, row.binding)
		}
	}
}

// TestTemplateIsNotText holds that a pattern covers nothing before it is bound, whatever a
// value may look like.
func TestTemplateIsNotText(t *testing.T) {
	p := MustPattern("users/{{user.name}}/*")
	if p.Matches(MustPath("users/ana/x")) || p.Exact() || !p.HasTemplate() || p.Literal() != "users/" || p.Widened().String() != "users/+/*" {
		t.Errorf("%s: exact %t, literal %q, widened %s", p, p.Exact(), p.Literal(), p.Widened())
	}
	if bound, _ := p.Bind(Principal{User: "{{user.name}}"}); bound.Matches(MustPath("users/ana/x")) {
		t.Error("a user whose name is a template is everyone")
	}
}

// TestTemplateRank holds a template to be a wildcard where it begins, and no "+".
func TestTemplateRank(t *testing.T) {
	ladder := []string{"*", "users/+/*", "users/*", "users/{{user.name}}/*", "users/+/x", "users/{{user.name}}/x", "users/a*", "users/ana/x"}
	for i := 1; i < len(ladder); i++ {
		if MustPattern(ladder[i]).Compare(MustPattern(ladder[i-1])) <= 0 {
			t.Errorf("%s does not come before %s", ladder[i], ladder[i-1])
		}
	}
}

func TestTokenAge(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, row := range []struct {
		issued time.Time
		want   int64
		known  bool
	}{
		{time.Time{}, 0, false}, {now, 1, true}, {now.Add(time.Hour), 1, true}, {now.Add(-time.Nanosecond), 1, true},
		{now.Add(-time.Hour), 3600, true}, {now.Add(-time.Hour - time.Nanosecond), 3601, true}, {time.Unix(-1<<40, 0), 9223372037, true},
	} {
		if got, known := (Context{Time: now, TokenIssued: row.issued}).TokenAge(); got != row.want || known != row.known {
			t.Errorf("a token of %v is %d s old, %t; want %d, %t", row.issued, got, known, row.want, row.known)
		}
	}
}

// TestLocalTime follows clocks over the days on which they are put forward and back.
func TestLocalTime(t *testing.T) {
	for _, row := range []struct {
		zone, at string
		want     LocalTime
	}{
		{"UTC", "2026-11-23T13:05:59Z", LocalTime{"mon", 13*60 + 5}},
		{"America/Sao_Paulo", "2026-03-02T02:59:59Z", LocalTime{"sun", 23*60 + 59}},
		{"America/Sao_Paulo", "2026-03-02T03:00:00Z", LocalTime{"mon", 0}},
		{"America/Sao_Paulo", "2018-11-04T02:59:59Z", LocalTime{"sat", 23*60 + 59}}, // 00:00 was 01:00
		{"America/Sao_Paulo", "2018-11-04T03:00:00Z", LocalTime{"sun", 60}},
		{"Europe/Berlin", "2026-03-29T00:59:59Z", LocalTime{"sun", 119}}, // 02:00 is 03:00
		{"Europe/Berlin", "2026-03-29T01:00:00Z", LocalTime{"sun", 180}},
		{"Europe/Berlin", "2026-10-25T00:30:00Z", LocalTime{"sun", 150}}, // 03:00 is 02:00
		{"Europe/Berlin", "2026-10-25T01:30:00Z", LocalTime{"sun", 150}},
		{"Asia/Kathmandu", "2026-03-01T18:15:00Z", LocalTime{"mon", 0}},
	} {
		zone, err := LoadZone(row.zone)
		at, err2 := time.Parse(time.RFC3339, row.at)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if got := LocalTimeOf(at, zone); got != row.want {
			t.Errorf("%s in %s is %v; want %v", row.at, row.zone, got, row.want)
		}
	}
	for _, name := range []string{"", "Local", "America/Sao_Paolo", "../../etc/passwd", "/etc/localtime"} {
		if _, err := LoadZone(name); err == nil {
			t.Errorf("there is a zone %q", name)
		}
	}
}

func TestAddress(t *testing.T) {
	for text, want := range map[string]string{"::ffff:10.1.2.3": "10.1.2.3", "fe80::1%eth0": "fe80::1", "::ffff:10.1.2.3%eth0": "10.1.2.3"} {
		if got := (Context{Source: netip.MustParseAddr(text)}).Address().String(); got != want {
			t.Errorf("%s is read as %s; want %s", text, got, want)
		}
	}
}

// TestRestore makes an input of a context and a context of the input.
func TestRestore(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	for _, in := range []Context{
		{Time: now},
		{Time: now, Source: netip.MustParseAddr("10.1.2.3"), Method: MethodToken, TokenIssued: now.Add(-time.Second)},
		{Time: now, Source: netip.MustParseAddr("::1"), TokenIssued: now.Add(-90 * time.Second), Zones: map[string]LocalTime{"UTC": {"wed", 306}}},
	} {
		input := Call{Context: in}.Input().Context
		got, err := input.Restore()
		if diff := cmp.Diff(in, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || diff != "" {
			t.Errorf("restored, %v (-want +got):\n%s", err, diff)
		}
	}
	for _, bad := range []InputContext{{}, {Time: "now"}, {Time: FormatTime(now), Source: "here"}} {
		if _, err := bad.Restore(); err == nil {
			t.Errorf("%+v is the input of a context", bad)
		}
	}
}
