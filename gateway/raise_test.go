package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/schema/fault"
)

// TestChildTokensStayWithin holds that a token made without bind is no more than
// its maker's, in anything.
func TestChildTokensStayWithin(t *testing.T) {
	c := newClock()
	k := newKit(t, kitOptions{durability: audit.Kernel, change: c.use})
	k.apply(p1 + `policy "maker" {
  token {
    path = "*"
    capabilities = ["create", "update", "renew"]
  }
  policy {
    path = "*"
    capabilities = ["attach"]
  }
}`)
	k.ask(k.admin, http.MethodPost, "/v1/users/ann", "{}").want(t, "make user", http.StatusOK)
	k.ask(k.admin, http.MethodPost, "/v1/users/eve", "{}").want(t, "make user", http.StatusOK)
	maker, _ := k.create(k.admin, `{"user":"ann","policies":["p1","maker"],"ttl":"3600s","cidrs":["127.0.0.0/8"]}`).made(k)
	for body, want := range map[string]int{
		`{"policies":["p1"],"ttl":"60s"}`:                            200,
		`{"policies":["p1"],"ttl":"3600s","cidrs":["127.0.0.1/32"]}`: 200,
		`{"ttl":"60s"}`:                                                   200,
		`{"policies":["p1"],"ttl":"3601s"}`:                               403,
		`{"policies":["p1"]}`:                                             200, // the usual time is longer: it ends with its maker's
		`{"ttl":"3601s"}`:                                                 403, // nor one that carries nothing yet
		`{"policies":["admin"],"ttl":"60s"}`:                              403,
		`{"roles":["admin"],"ttl":"60s"}`:                                 403,
		`{"roles":["viewer"],"ttl":"60s"}`:                                403,
		`{"user":"eve","policies":["p1"],"ttl":"60s"}`:                    403,
		`{"user":"admin","policies":["p1"],"ttl":"60s"}`:                  403,
		`{"policies":["p1"],"ttl":"60s","cidrs":["0.0.0.0/0"]}`:           403,
		`{"policies":["p1"],"ttl":"60s","cidrs":["127.0.0.1/32","::/0"]}`: 403,
		`{"policies":["p1"],"ttl":"60s","kind":"bootstrap"}`:              400,
		`{"policies":["p1"],"ttl":"60s","kind":"b"}`:                      400,
		`{"policies":["none"],"ttl":"60s"}`:                               404,
		`{"user":"ann/../eve","ttl":"60s"}`:                               400,
		`{"user":"ann/x","ttl":"60s"}`:                                    400,
	} {
		k.create(maker, body).want(t, body, want)
	}
	child, path := k.create(maker, `{"policies":["maker"],"ttl":"60s"}`).made(k)
	k.ask(child, http.MethodPost, "/v1/whoami:renew", `{"ttl":"86400s"}`).want(t, "renew the child", http.StatusOK)
	// What the maker loses, the child loses; what is attached to the child is worth
	// no more than it is to the maker.
	k.ask(maker, http.MethodPost, "/v1/policies/p1:attach", bodyOf(`{"token":%q}`, path)).want(t, "attach what one holds", http.StatusOK)
	k.ask(maker, http.MethodPost, "/v1/policies/admin:attach", bodyOf(`{"token":%q}`, path)).want(t, "attach what one does not", http.StatusForbidden)
	k.ask(k.admin, http.MethodPost, "/v1/policies/admin:attach", bodyOf(`{"token":%q}`, path)).want(t, "attach as the admin", http.StatusOK)
	k.ask(child, http.MethodGet, "/v1/cluster/status", "").want(t, "the child as admin", http.StatusForbidden)
	c.move(time.Hour)
	if k.whoami(child) != http.StatusUnauthorized {
		t.Error("the child outlives its maker")
	}
	// Eight deep, and no deeper.
	token, _ := k.create(k.fresh(), `{"user":"ann","policies":["maker"],"ttl":"3600s"}`).made(k)
	depth := 1
	for ; depth < 20; depth++ {
		got := k.create(token, `{"policies":["maker"],"ttl":"60s"}`)
		if got.status != http.StatusOK {
			break
		}
		token, _ = got.made(k)
	}
	if depth > 8 {
		t.Errorf("tokens go %d deep", depth)
	}
}

// TestNobodyRaisesHimself holds that who may do almost everything to roles, tokens
// and policies cannot give himself more than he has (N49), and that each attempt
// is on record as a denial.
func TestNobodyRaisesHimself(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/admin/x", "value")
	k.apply(p1 + `policy "climber" {
  policy {
    path = "*"
    capabilities = ["describe", "list", "attach", "create"]
  }
  policy {
    path = "own-*"
    capabilities = ["create", "update", "delete", "attach"]
  }
  role {
    path = "*"
    capabilities = ["create", "update", "describe", "list", "delete"]
  }
  token {
    path = "*"
    capabilities = ["create", "update", "describe", "list", "renew"]
  }
}
policy "own-rules" {}
`)
	k.ask(k.admin, http.MethodPost, "/v1/roles/climbers", `{"policies":["climber"]}`).want(t, "make role", http.StatusOK)
	k.ask(k.admin, http.MethodPost, "/v1/users/ann", "{}").want(t, "make user", http.StatusOK)
	token, path := k.create(k.admin, `{"user":"ann","roles":["climbers"],"policies":["p1"]}`).made(k)
	all := `policy \"NAME\" {\n  secret {\n    path = \"*\"\n    capabilities = [\"read\"]\n  }\n}`
	apply := func(name string) string {
		return bodyOf(`{"files":[{"name":"a.hcl","text":"%s"}]}`, strings.ReplaceAll(all, "NAME", name))
	}
	both := bodyOf(`{"files":[{"name":"a.hcl","text":"%s"},{"name":"b.hcl","text":"%s"}]}`, strings.ReplaceAll(all, "NAME", "own-b"), strings.ReplaceAll(all, "NAME", "p1"))
	k.ask(token, http.MethodPost, "/v1/policies:apply", apply("new")).want(t, "make a policy", http.StatusOK)
	k.ask(token, http.MethodPost, "/v1/policies:apply", apply("own-a")).want(t, "make a policy", http.StatusOK)
	var denied []string
	for _, row := range []struct {
		name, target, body string
	}{
		{"change one's own policy", "/v1/policies:apply", apply("p1")},
		{"change one's role's policy", "/v1/policies:apply", apply("climber")},
		{"change one's own among others", "/v1/policies:apply", both},
		{"attach a new policy to oneself", "/v1/policies/new:attach", bodyOf(`{"token":%q}`, path)},
		{"attach a policy one may update to oneself", "/v1/policies/own-rules:attach", bodyOf(`{"token":%q}`, path)},
		{"attach admin to oneself", "/v1/policies/admin:attach", bodyOf(`{"token":%q}`, path)},
		{"attach to one's role", "/v1/policies/new:attach", `{"role":"climbers"}`},
		{"attach to the admin role", "/v1/policies/new:attach", `{"role":"admin"}`},
		{"make a role with more", "/v1/roles/more", `{"policies":["new"]}`},
		{"make a role with admin", "/v1/roles/more", `{"policies":["p1","admin"]}`},
		{"make a token with a role", "/v1/tokens", `{"roles":["admin"],"ttl":"60s"}`},
		{"make a token with a policy", "/v1/tokens", `{"policies":["new"],"ttl":"60s"}`},
		{"make a token for the admin", "/v1/tokens", `{"user":"admin","policies":["p1"],"ttl":"60s"}`},
		{"replace a built-in policy", "/v1/policies:apply", apply("viewer")},
	} {
		for _, protocol := range []string{"rest"} {
			got := k.ask(token, http.MethodPost, row.target, row.body)
			got.want(t, row.name+" over "+protocol, http.StatusForbidden)
			denied = append(denied, got.problem().Decision)
		}
	}
	k.ask(token, http.MethodGet, "/v1/secrets/prod/admin/x", "").want(t, "the prize", http.StatusForbidden)
	k.ask(k.admin, http.MethodGet, "/v1/roles/more", "").want(t, "the role", http.StatusNotFound)
	recorded := k.decisions()
	for _, id := range denied {
		row, ok := recorded[id]
		if !ok || row.Input.Subject.ID != "ann" || row.Record.Result.Allow && row.Came().Code != string(fault.Denied) {
			t.Errorf("decision %s of %s is on record as %v %s", id, row.Method, row.Record.Result, row.Came().Code)
		}
	}
	// A role that holds what one has oneself may be made, and gives nothing.
	k.ask(token, http.MethodPost, "/v1/roles/same", `{"policies":["p1"]}`).want(t, "a role of one's own policies", http.StatusOK)
}
