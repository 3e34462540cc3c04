package gateway_test

import (
	"strings"
	"testing"

	"github.com/heroctl/heroctl/schema"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

const guardrailText = `guardrail "no-destroy" {
  secret {
    path = "prod/*"
    deny = ["destroy", "delete"]
  }
}
`

const officeText = `policy "office" {
  secret {
    path         = "prod/*"
    capabilities = ["read"]

    condition {
      days          = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
      timezone      = "America/Sao_Paulo"
      token_max_age = "1h"
      source_cidrs  = ["127.0.0.0/8"]
    }
  }

  policy {
    path         = "*"
    capabilities = ["create", "update", "describe", "list", "delete"]
  }
}
`

func apply(text string) *v1.ApplyPoliciesRequest {
	return &v1.ApplyPoliciesRequest{Files: []*v1.PolicyFile{{Name: "test.hcl", Text: text}}}
}

// TestGuardrailsNeedTheirOwnCapabilities walks a guardrail's life as admin, and as someone
// who may do everything with policies alone.
func TestGuardrailsNeedTheirOwnCapabilities(t *testing.T) {
	for _, protocol := range []string{"grpc", "rest"} {
		t.Run(protocol, func(t *testing.T) {
			k := newKit(t, kitOptions{})
			ctx := t.Context()
			admin, writer := k.over(protocol, k.admin).Policies(), k.over(protocol, k.user("ana", []string{"office"}, officeText)).Policies()
			if _, err := writer.ApplyPolicies(ctx, apply(guardrailText)); err == nil || !strings.Contains(err.Error(), "do not allow it") {
				t.Errorf("a writer of policies creates a guardrail: %v", err)
			}
			if _, err := admin.ApplyPolicies(ctx, apply(guardrailText)); err != nil {
				t.Fatal(err)
			}
			if got := k.records(1)[0].Record.Input.Action.Name; got != "guardrail:create" {
				t.Errorf("recorded as %s", got)
			}
			if _, err := writer.GetPolicy(ctx, &v1.GetPolicyRequest{Name: "no-destroy"}); err == nil {
				t.Error("a writer of policies reads a guardrail")
			}
			if _, err := writer.DeletePolicy(ctx, &v1.DeletePolicyRequest{Name: "no-destroy"}); err == nil {
				t.Error("a writer of policies deletes a guardrail")
			}
			if list, err := writer.ListPolicies(ctx, &v1.ListPoliciesRequest{}); err != nil || strings.Contains(list.String(), "no-destroy") {
				t.Errorf("a writer of policies lists a guardrail: %v", err)
			}
			if list, err := admin.ListPolicies(ctx, &v1.ListPoliciesRequest{}); err != nil || !strings.Contains(list.String(), "no-destroy") {
				t.Errorf("the admin does not list the guardrail: %v", err)
			}
			if got, err := admin.GetPolicy(ctx, &v1.GetPolicyRequest{Name: "no-destroy"}); err != nil || got.GetText() != strings.TrimSuffix(guardrailText, "\n") {
				t.Errorf("the admin reads %v, %v", got, err)
			}
			if got, err := admin.ListPolicyRevisions(ctx, &v1.ListPolicyRevisionsRequest{Name: "no-destroy"}); err != nil || len(got.GetRevisions()) != 1 {
				t.Errorf("revisions %v, %v", got, err)
			}
			if _, err := admin.DeletePolicy(ctx, &v1.DeletePolicyRequest{Name: "no-destroy"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestGuardrailBindsAdmin denies the admin what a guardrail denies, and until it is deleted.
func TestGuardrailBindsAdmin(t *testing.T) {
	k := newKit(t, kitOptions{})
	ctx := t.Context()
	k.put("prod/db", "x")
	admin := k.over("grpc", k.admin)
	if _, err := admin.Policies().ApplyPolicies(ctx, apply(guardrailText)); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Secrets().DeleteSecret(ctx, &v1.DeleteSecretRequest{Path: "prod/db"}); err == nil || !strings.Contains(err.Error(), "do not allow it") {
		t.Errorf("under the guardrail: %v", err)
	}
	if r := k.records(1)[0].Record.Result; r.Reason != schema.GuardrailDenied || r.Rule.Policy != "no-destroy" || r.Rule.Line != 2 {
		t.Errorf("recorded %+v", r)
	}
	if _, err := admin.Policies().DeletePolicy(ctx, &v1.DeletePolicyRequest{Name: "no-destroy"}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Secrets().DeleteSecret(ctx, &v1.DeleteSecretRequest{Path: "prod/db"}); err != nil {
		t.Errorf("without the guardrail: %v", err)
	}
}

func TestGuardrailsThatAreRefused(t *testing.T) {
	k := newKit(t, kitOptions{})
	ctx := t.Context()
	admin := k.over("grpc", k.admin).Policies()
	lock := func(name, path string) string {
		return "guardrail \"" + name + "\" {\n  guardrail {\n    path = \"" + path + "\"\n    deny = [\"update\", \"delete\"]\n  }\n}\n"
	}
	if _, err := admin.ApplyPolicies(ctx, apply(lock("a", "b")+"policy \"taken\" {\n}\n")); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		lock("b", "a"):             "locked by another",
		lock("c", "*"):             "invalid policy",
		"guardrail \"taken\" {\n}": "policies and guardrails share their names",
		"policy \"a\" {\n}":        "policies and guardrails share their names",
	} {
		if _, err := admin.ApplyPolicies(ctx, apply(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s, of\n%s", err, want, text)
		}
	}
}

// TestConditionsReadTheRequest decides by the caller's address, the token's age and the
// time, and finds all of them on record.
func TestConditionsReadTheRequest(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.put("prod/db", "x")
	ana := k.over("rest", k.user("ana", []string{"office"}, officeText))
	if _, err := ana.Secrets().GetSecret(t.Context(), &v1.GetSecretRequest{Path: "prod/db"}); err != nil {
		t.Fatal(err)
	}
	in := k.records(1)[0].Record.Input.Context
	if in.AuthMethod != "token" || in.TokenAge < 1 || in.TokenAge > 60 || len(in.Zones) != 1 || in.Source != "127.0.0.1" {
		t.Errorf("recorded %+v", in)
	}
	strict := strings.Replace(strings.Replace(officeText, "127.0.0.0/8", "192.0.2.0/24", 1), "office", "strict", 1)
	bob := k.over("rest", k.user("bob", []string{"strict"}, strict))
	if _, err := bob.Secrets().GetSecret(t.Context(), &v1.GetSecretRequest{Path: "prod/db"}); err == nil || !strings.Contains(err.Error(), "do not allow it") {
		t.Errorf("from elsewhere: %v", err)
	}
	if r := k.records(1)[0].Record.Result; r.Reason != schema.ConditionFailed || r.Condition != "source_cidrs" {
		t.Errorf("recorded %+v", r)
	}
}
