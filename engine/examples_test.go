package engine

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// TestExamples asks the policies of examples/policies what their comments promise.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/policies/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no example policies: %v", err)
	}
	list := policies.Builtin()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.hcl") { // package policytest runs these
			continue
		}
		formatted, diags := policies.Format(file, text)
		if diags != nil || string(formatted) != string(text) {
			t.Errorf("%s is not in canonical layout (%v); want\n%s", file, diags, formatted)
		}
		list = append(list, mustParse(t, string(text))...)
	}
	e := New(Config{})
	if err := e.Check(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	e = mustActivate(t, Config{}, list)
	for _, row := range []struct {
		policy, capability, path string
		want                     schema.Reason
	}{
		{"deploy-prod-secrets", "secret:read", "prod/db_password", schema.Granted},
		{"deploy-prod-secrets", "secret:list", "prod/admin/root", schema.ExplicitDeny},
		{"deploy-prod-secrets", "secret:update", "prod/db_password", schema.CapabilityMissing},
		{"deploy-prod-secrets", "secret:read", "dev/db_password", schema.NoRule},
		{"team-payments-deployer", "job:run", "api-payments", schema.Granted},
		{"team-payments-deployer", "job:run", "web", schema.NoRule},
		{"team-payments-deployer", "secret:inject", "prod/payments/stripe", schema.Granted},
		{"team-payments-deployer", "secret:read", "prod/payments/stripe", schema.CapabilityMissing},
		{"team-payments-deployer", "secret:rollback", "prod/payments/stripe", schema.Granted},
		{"team-payments-deployer", "secret:update", "prod/payments/processor/key", schema.CapabilityMissing},
		{"team-payments-deployer", "secret:read", "dev/payments/stripe", schema.Granted},
		{"auditor", "audit:read", "prod/db_password", schema.Granted},
		{"auditor", "secret:describe", "prod/db_password", schema.Granted},
		{"auditor", "secret:read", "prod/db_password", schema.CapabilityMissing},
		{"auditor", "policy:update", "auditor", schema.CapabilityMissing},
		{"database-rotation", "secret:update", "prod/db_password", schema.Granted},
		{"database-rotation", "secret:rollback", "prod/payments/db_password", schema.Granted},
		{"database-rotation", "secret:read", "prod/db_password", schema.CapabilityMissing},
		{"database-rotation", "secret:update", "prod/api_token", schema.NoRule},
		{"admin", "secret:read", "prod/admin/root", schema.Granted},
		{"operator", "secret:rollback", "prod/db_password", schema.Granted},
		{"operator", "secret:read", "prod/db_password", schema.CapabilityMissing},
		{"deployer", "secret:inject", "prod/db_password", schema.Granted},
		{"viewer", "secret:list", "prod/db_password", schema.NoRule},
	} {
		call := ask(row.capability, row.path, row.policy)
		call.Context.Source = netip.MustParseAddr("10.20.1.1")
		if d := decide(t, e, call); d.Reason != row.want {
			t.Errorf("%s: %s on %s is %s; want %s", row.policy, row.capability, row.path, d.Reason, row.want)
		}
	}
	for _, p := range list {
		if p.Description == "" || !strings.HasPrefix(string(p.Text), "#") {
			t.Errorf("the example %s has no comment or no description", p.Name)
		}
	}
}
