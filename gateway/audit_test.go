package gateway_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// auditKit is a server with secrets that two users read, an auditor of everything
// and one of prod only.
func auditKit(t *testing.T) (k *kit, auditor, partial string) {
	k = newKit(t, kitOptions{durability: audit.Kernel})
	for _, path := range []string{"prod/db", "prod/api", "dev/db"} {
		k.put(path, "value")
	}
	ana := k.user("ana", []string{"reads"}, `policy "reads" {
  secret {
    path         = "prod/*"
    capabilities = ["read"]
  }
}`)
	auditor = k.user("auditor", []string{"whole"}, `policy "whole" {
  audit {
    path         = "*"
    capabilities = ["read", "export", "verify", "explain"]
  }
}`)
	partial = k.user("partial", []string{"part"}, `policy "part" {
  audit {
    path         = "prod/*"
    capabilities = ["read", "export"]
  }
}`)
	for range 3 {
		_, err := k.over("rest", ana).Secrets().GetSecret(context.Background(), &v1.GetSecretRequest{Path: "prod/db"})
		k.must(err)
	}
	_, err := k.over("grpc", ana).Secrets().GetSecret(context.Background(), &v1.GetSecretRequest{Path: "dev/db"})
	if err == nil {
		t.Fatal("ana read what she may not")
	}
	return k, auditor, partial
}

// lines exports everything that the token may, in small pages.
func (k *kit) lines(c *client.Client) []string {
	k.tb.Helper()
	var lines []string
	req := &v1.ExportRecordsRequest{PageSize: 5}
	for {
		page, err := c.Audit().ExportRecords(context.Background(), req)
		k.must(err)
		lines = append(lines, page.GetLines()...)
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return lines
		}
	}
}

// TestExportOverBothProtocols exports as two auditors and verifies what came, with
// nothing but the public key.
func TestExportOverBothProtocols(t *testing.T) {
	k, auditor, partial := auditKit(t)
	for _, protocol := range []string{"rest", "grpc"} {
		got, err := k.over(protocol, auditor).Audit().GetCheckpoint(context.Background(), &v1.GetCheckpointRequest{})
		k.must(err)
		key, err := note.NewVerifier(got.GetKey())
		k.must(err)
		pin, err := audit.OpenCheckpoint([]byte(got.GetCheckpoint()), key)
		k.must(err)
		for token, whole := range map[string]bool{auditor: true, partial: false} {
			lines := k.lines(k.over(protocol, token))
			report, err := audit.VerifyExport(context.Background(), strings.NewReader(strings.Join(lines, "\n")+"\n"), audit.ExportCheck{Key: key, Pinned: &pin})
			k.must(err)
			if !report.Integrity.OK || !report.Completeness.OK || report.Last < pin.Size {
				t.Errorf("%s, whole %v: %+v", protocol, whole, report)
			}
			text := strings.Join(lines, "\n")
			if whole != (report.Hidden == 0) || whole != strings.Contains(text, "dev/db") || !strings.Contains(text, "prod/db") {
				t.Errorf("%s, whole %v: %d records are hidden", protocol, whole, report.Hidden)
			}
		}
	}
}

// TestWhoMayAskTheTrail holds what each capability opens.
func TestWhoMayAskTheTrail(t *testing.T) {
	k, auditor, partial := auditKit(t)
	nobody := k.user("nobody", nil, "")
	ctx := context.Background()
	whole := k.over("rest", auditor).Audit()
	list, err := whole.ListRecords(ctx, &v1.ListRecordsRequest{Resource: "secret", Path: "dev/db", Result: "deny"})
	k.must(err)
	if len(list.GetRecords()) != 1 {
		t.Fatalf("%d denials on dev/db, want 1", len(list.GetRecords()))
	}
	dev := list.GetRecords()[0]
	calls := map[string]func(v1.AuditClient) error{
		"export": func(c v1.AuditClient) error {
			_, err := c.ExportRecords(ctx, &v1.ExportRecordsRequest{})
			return err
		},
		"checkpoint": func(c v1.AuditClient) error {
			_, err := c.GetCheckpoint(ctx, &v1.GetCheckpointRequest{})
			return err
		},
		"verify": func(c v1.AuditClient) error {
			_, err := c.VerifyRecords(ctx, &v1.VerifyRecordsRequest{Checkpoint: checkpointOf(k, auditor)})
			return err
		},
		"prove": func(c v1.AuditClient) error {
			_, err := c.ProveRecord(ctx, &v1.ProveRecordRequest{Sequence: dev.GetSequence()})
			return err
		},
		"list": func(c v1.AuditClient) error {
			_, err := c.ListRecords(ctx, &v1.ListRecordsRequest{})
			return err
		},
	}
	want := map[string]map[string]string{
		"auditor": {"export": "", "checkpoint": "", "verify": "", "prove": "", "list": ""},
		"partial": {"export": "", "checkpoint": "denied", "verify": "denied", "prove": "not_found", "list": ""},
		"nobody":  {"export": "denied", "checkpoint": "denied", "verify": "denied", "prove": "denied", "list": "denied"},
	}
	for who, token := range map[string]string{"auditor": auditor, "partial": partial, "nobody": nobody} {
		for name, call := range calls {
			for _, protocol := range []string{"rest", "grpc"} {
				if got := kindOf(call(k.over(protocol, token).Audit())); got != want[who][name] {
					t.Errorf("%s, %s over %s: %q, want %q", who, name, protocol, got, want[who][name])
				}
			}
		}
	}
}

func checkpointOf(k *kit, token string) string {
	got, err := k.over("rest", token).Audit().GetCheckpoint(context.Background(), &v1.GetCheckpointRequest{})
	k.must(err)
	return got.GetCheckpoint()
}

func kindOf(err error) string {
	if err == nil {
		return ""
	}
	return string(fault.KindOf(err))
}

// TestVerifyNamesADamagedRecord changes a byte in the trail of a running server.
func TestVerifyNamesADamagedRecord(t *testing.T) {
	k, auditor, _ := auditKit(t)
	ctx := context.Background()
	c := k.over("rest", auditor).Audit()
	ask := &v1.VerifyRecordsRequest{Checkpoint: checkpointOf(k, auditor)}
	got, err := c.VerifyRecords(ctx, ask)
	k.must(err)
	if !got.GetIntegrity().GetOk() || !got.GetCompleteness().GetOk() || got.GetRecords() < 20 {
		t.Fatalf("an intact trail: %v", got)
	}
	names, err := filepath.Glob(filepath.Join(k.dir, "trail", "*.seg"))
	k.must(err)
	b, err := os.ReadFile(names[0])
	k.must(err)
	b[4096+40] ^= 1 // within the first record
	k.must(os.WriteFile(names[0], b, 0o600))
	got, err = c.VerifyRecords(ctx, ask)
	k.must(err)
	if v := got.GetIntegrity(); v.GetOk() || v.GetSequence() != 1 || v.GetSegment() != 1 {
		t.Errorf("a damaged first record: %v", got)
	}
}

// TestUsage holds that reads are counted, and that nobody learns of them who may
// not read their records; asking is no denial.
func TestUsage(t *testing.T) {
	k, auditor, partial := auditKit(t)
	nobody := k.user("nobody", nil, "")
	for _, row := range []struct {
		token, path string
		want        string
	}{
		{auditor, "prod/db", "true 3 ana"}, {partial, "prod/db", "true 3 ana"}, {auditor, "dev/db", "true 0 "},
		{partial, "dev/db", "false 0 "}, {nobody, "prod/db", "false 0 "}, {auditor, "no/such", "true 0 "},
	} {
		u, err := k.over("rest", row.token).Audit().GetUsage(context.Background(), &v1.GetUsageRequest{Path: row.path})
		k.must(err)
		if got := fmt.Sprint(u.GetVisible(), " ", u.GetReads(), " ", u.GetLast().GetUser()); got != row.want {
			t.Errorf("usage of %s: %q, want %q", row.path, got, row.want)
		}
	}
	for _, row := range k.records(6) {
		if row.Method == "Audit.GetUsage" && !row.Record.Result.Allow {
			t.Error("asking for usage is on record as a denial")
		}
	}
}

// TestFiltersOfRecords asks by each filter, and compares with what is asked
// without one.
func TestFiltersOfRecords(t *testing.T) {
	k, auditor, _ := auditKit(t)
	ctx := context.Background()
	c := k.over("grpc", auditor).Audit()
	all, err := c.ListRecords(ctx, &v1.ListRecordsRequest{PageSize: 1000})
	k.must(err)
	for name, row := range map[string]struct {
		req  *v1.ListRecordsRequest
		want func(*v1.Record) bool
	}{
		"user":         {&v1.ListRecordsRequest{User: "ana"}, func(r *v1.Record) bool { return r.GetUser() == "ana" }},
		"role":         {&v1.ListRecordsRequest{Role: "admin"}, func(r *v1.Record) bool { return len(r.GetRoles()) > 0 && r.GetRoles()[0] == "admin" }},
		"pattern":      {&v1.ListRecordsRequest{Pattern: "prod/+"}, func(r *v1.Record) bool { return strings.HasPrefix(r.GetPath(), "prod/") }},
		"star":         {&v1.ListRecordsRequest{Pattern: "p*"}, func(r *v1.Record) bool { return strings.HasPrefix(r.GetPath(), "p") }},
		"exact":        {&v1.ListRecordsRequest{Pattern: "dev/db"}, func(r *v1.Record) bool { return r.GetPath() == "dev/db" }},
		"capabilities": {&v1.ListRecordsRequest{Capabilities: []string{"secret:read"}}, func(r *v1.Record) bool { return r.GetResource() == "secret" && r.GetAction() == "read" }},
		"reason":       {&v1.ListRecordsRequest{Reason: "no_rule"}, func(r *v1.Record) bool { return r.GetReason() == "no_rule" }},
		"granted":      {&v1.ListRecordsRequest{Reason: "granted"}, func(r *v1.Record) bool { return r.GetReason() == "granted" }},
		"source":       {&v1.ListRecordsRequest{Source: "127.0.0.1"}, func(r *v1.Record) bool { return r.GetSource() == "127.0.0.1" }},
		"network":      {&v1.ListRecordsRequest{Source: "127.0.0.0/9"}, func(r *v1.Record) bool { return r.GetSource() == "127.0.0.1" }},
		"elsewhere":    {&v1.ListRecordsRequest{Source: "10.0.0.0/24"}, func(*v1.Record) bool { return false }},
		"job":          {&v1.ListRecordsRequest{Job: "nightly"}, func(*v1.Record) bool { return false }},
		"after":        {&v1.ListRecordsRequest{AfterSequence: 20}, func(r *v1.Record) bool { return r.GetSequence() > 20 }},
		"together": {&v1.ListRecordsRequest{User: "ana", Pattern: "prod/*", Source: "127.0.0.1", Reason: "granted", OldestFirst: true},
			func(r *v1.Record) bool { return r.GetUser() == "ana" && r.GetPath() == "prod/db" }},
	} {
		want := map[uint64]bool{}
		for _, r := range all.GetRecords() {
			if row.want(r) {
				want[r.GetSequence()] = true
			}
		}
		newest := all.GetRecords()[0].GetSequence()
		row.req.PageSize = 1000
		got, err := c.ListRecords(ctx, row.req)
		k.must(err)
		for _, r := range got.GetRecords() {
			if r.GetSequence() <= newest && !want[r.GetSequence()] {
				t.Errorf("%s: record %d was not asked for", name, r.GetSequence())
			}
			delete(want, r.GetSequence())
		}
		if len(want) > 0 {
			t.Errorf("%s: records %v are missing", name, want)
		}
	}
	token := all.GetRecords()[0].GetAccessor()
	got, err := c.ListRecords(ctx, &v1.ListRecordsRequest{Accessor: token})
	k.must(err)
	for _, r := range got.GetRecords() {
		if r.GetAccessor() != token {
			t.Errorf("accessor: record %d is of another token", r.GetSequence())
		}
	}
	for _, bad := range []*v1.ListRecordsRequest{{Pattern: "a//b"}, {Source: "here"}, {Source: "::ffff:10.0.0.1/120"}, {Reason: "because"}, {Capabilities: []string{"read"}}} {
		if _, err := c.ListRecords(ctx, bad); kindOf(err) != "invalid_argument" && kindOf(err) != "invalid_path" {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
