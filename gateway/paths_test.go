package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/heroctl/heroctl/audit"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// badPaths are ways to write a path that is none. Each must be refused, never
// repaired: as it is over gRPC, and as a request target over REST.
var badPaths = []string{
	"dev/../prod/admin/x", "../prod/admin/x", "..", ".", "prod/..", "prod/./admin/x", "dev/.../x",
	"prod//admin/x", "/prod/admin/x", "//prod/admin/x", "prod/admin/x/", "prod/admin/x//", "/",
	"dev/%2e%2e/prod/admin/x", "dev/%2E%2E/prod/admin/x", "dev/.%2e/prod/admin/x", "dev%2f..%2fprod/admin/x", "prod%2Fadmin%2Fx",
	"dev/%252e%252e/prod/admin/x", "prod%252fadmin/x", "%70rod/admin/x", "prod/admin/%78", "prod/admin/x%00", "prod/x%00y",
	"prod/admin/x%0a", "prod/admin/x%0d%0aX-A:b", "prod/admin/x%20", "%20prod/admin/x", "prod/%c0%ae%c0%ae/x", "prod/admin/x%2f", "prod/admin/x%3f", "prod/admin/x%23",
	`prod\admin\x`, `dev\..\prod`, "prod%5cadmin", "prod;admin/x", "prod/admin/x;v=1", "prod/admin/x;", "prod/admin,x", "prod/admin/x'", `prod/admin/"x"`,
	"prod/admin/x.", "prod/admin/.x", "prod/-x", "prod/.", "prod/admin/x..", "prod/a=b", "prod/a&b", "prod/a@b", "prod/a!b", "prod/a$b", "prod/(x)", "prod/~x", "prod/{path}",
	"prod/adm*n/x", "prod/+/x", "prod/*", "+", "*",
	"prod/\u202ex", "prod/x\u200b", "prod/cafe\u0301", "prod/caf\u00e9", "prod/\uff0e\uff0e/x", "prod/\u0430dmin/x", // the last a is Cyrillic
	strings.Repeat("a", 129), "prod/" + strings.Repeat("b", 129), strings.Repeat("a/", 16) + "a",
	strings.TrimSuffix(strings.Repeat(strings.Repeat("c", 100)+"/", 6), "/"),
}

// onlyInMessages are bad paths that cannot stand in a request target: there they
// mean something else, or net/http refuses the request line.
var onlyInMessages = []string{
	"prod/admin/x\x00", "prod/admin/x\n", "prod/\tx", "\x7f", "prod admin", " prod/admin/x", "prod/admin/x ", "prod/admin/x?version=1", "prod/admin/x#a", "prod/admin/x:describe", ":", "prod/%", "prod/%zz",
}

// TestBadPathsAreRefusedByEveryCall holds that no call of the schema takes a bad
// path, for an admin, whom nothing else would stop; and that each refusal is on
// record.
func TestBadPathsAreRefusedByEveryCall(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/admin/x", "value")
	conn := k.conn()
	var refused []string
	calls := 0
	for m := range methods() {
		needs := proto.GetExtension(m.Options(), v1.E_Needs).(*v1.Needs)
		field := m.Input().Fields().ByName(protoreflect.Name(needs.GetPathField()))
		if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() {
			continue
		}
		calls++
		name := "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
		for _, path := range slices.Concat(badPaths, onlyInMessages) {
			if path == "*" && needs.GetDeniedIfNothing() {
				continue // means everything there
			}
			req := dynamicpb.NewMessage(m.Input())
			req.Set(field, protoreflect.ValueOfString(path))
			err := conn.Invoke(as(k.admin), name, req, dynamicpb.NewMessage(m.Output()))
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("gRPC %s took %q: %v", m.Name(), path, err)
			}
			refused = append(refused, problemFrom(err).GetDecisionId())
		}
		for _, path := range badPaths {
			if method, target, body := restForm(m, path); method != "" {
				got := k.ask(k.admin, method, target, body)
				got.want(t, fmt.Sprintf("REST %s %q", m.Name(), path), http.StatusBadRequest, http.StatusNotFound)
				refused = append(refused, got.problem().Decision)
			}
		}
	}
	if calls < 20 {
		t.Fatalf("%d calls name a path; the schema has more", calls)
	}
	recorded := k.decisions()
	for _, id := range refused {
		row, ok := recorded[id]
		if !ok {
			t.Fatalf("decision %q is not on record", id)
		}
		if reason := row.Record.Result.Reason; row.Record.Result.Allow || reason != "invalid_path" && reason != "invalid_request" {
			t.Errorf("%s of %q is on record as %q", row.Method, row.Input.Resource.ID, reason)
		}
	}
}

// restForm returns the REST form of a call whose URL names a path, or "".
func restForm(m protoreflect.MethodDescriptor, path string) (method, target, body string) {
	rule := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	var template string
	switch {
	case rule.GetGet() != "":
		method, template = http.MethodGet, rule.GetGet()
	case rule.GetPost() != "":
		method, template = http.MethodPost, rule.GetPost()
	case rule.GetPut() != "":
		method, template = http.MethodPut, rule.GetPut()
	case rule.GetDelete() != "":
		method, template = http.MethodDelete, rule.GetDelete()
	}
	before, rest, named := strings.Cut(template, "{")
	if !named {
		return "", "", ""
	}
	_, after, _ := strings.Cut(rest, "}")
	if rule.GetBody() != "" {
		body = "{}"
	}
	return method, before + path + after, body
}

// TestSpellingsOfADeniedPath asks for what P1 denies by every spelling (N01 to
// N13): the value never comes, and nothing redirects to it.
func TestSpellingsOfADeniedPath(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	const value = "canary-of-prod-admin-x"
	k.put("prod/admin/x", value)
	token := k.user("ann", []string{"p1"}, p1)
	for _, path := range append(slices.Clone(badPaths), "prod/admin/x", "PROD/admin/x", "prod/ADMIN/x", "prod/Admin/X") {
		for _, target := range []string{"/v1/secrets/" + path, "/v1/secrets/" + path + "?version=1", "/v1//secrets/" + path, "/v1/./secrets/" + path, "/v1/x/../secrets/" + path, "/V1/secrets/" + path, "/v1/secrets%2f" + path, "/%761/secrets/" + path} {
			got := k.ask(token, http.MethodGet, target, "")
			got.want(t, target, http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound)
			if strings.Contains(got.body, value) || strings.Contains(got.body, "Y2FuYXJ5") {
				t.Errorf("%s answers the value", target)
			}
			if got.header.Get("Location") != "" {
				t.Errorf("%s redirects", target)
			}
		}
	}
}

// TestLineAndHeaderBytes sends what only a raw connection can: net/http refuses
// the line, or we do; nothing answers.
func TestLineAndHeaderBytes(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/x", "value")
	for _, target := range []string{
		"/v1/secrets/prod/x\x00", "/v1/secrets/prod/\x01x", "/v1/secrets/prod/x\t", "/v1/secrets/prod x", "/v1/secrets/prod/\x7f", "/v1/secrets/prod/\xff\xfe", "/v1/secrets/%zz", "/v1/secrets/prod/%", "v1/secrets/prod/x", "", "*", "\\v1\\secrets\\prod\\x",
	} {
		answers, _ := k.exchange("GET " + target + " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + k.admin + "\r\nConnection: close\r\n\r\n")
		if len(answers) != 1 || answers[0].status != http.StatusBadRequest && answers[0].status != http.StatusNotFound {
			t.Errorf("GET %q: %v, want one 400 or 404", target, answers)
		}
	}
}

// TestLimitsOfAPath holds the limits from both sides (N16).
func TestLimitsOfAPath(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	segment := strings.Repeat("s", 128)
	full := strings.Join([]string{segment, segment, segment, strings.Repeat("t", 125)}, "/") // 512 bytes
	for _, row := range []struct {
		path string
		ok   bool
	}{
		{segment, true}, {segment + "s", false},
		{full, true}, {full + "t", false},
		{strings.Repeat("a/", 15) + "a", true}, {strings.Repeat("a/", 16) + "a", false},
	} {
		for _, protocol := range []string{"rest", "grpc"} {
			_, err := k.over(protocol, k.admin).Secrets().CreateSecret(context.Background(), &v1.CreateSecretRequest{
				Path: protocol[:1] + row.path[1:], Secret: &v1.NewSecret{Value: []byte("v")},
			})
			if (err == nil) != row.ok {
				t.Errorf("create over %s of a path of %d bytes: %v, want success %v", protocol, len(row.path), err, row.ok)
			}
		}
	}
}

// TestListPrefixes holds that a prefix has one form, and that a list below a
// denied prefix is empty, not refused (N07).
func TestListPrefixes(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	for _, path := range []string{"prod/admin/x", "prod/db", "dev/a", "prodigy/x"} {
		k.put(path, "v")
	}
	token := k.user("ann", []string{"p1"}, p1)
	for _, row := range []struct {
		query string
		want  string // names, or "400"
	}{
		{"", "dev/a prod/db"}, {"?prefix=", "dev/a prod/db"}, {"?prefix=prod", "prod/db"}, {"?prefix=prod/admin", ""},
		{"?prefix=prod%2Fadmin", ""}, {"?prefix=prod%2Fdb", "prod/db"}, {"?prefix=none", ""}, {"?prefix=pro", ""},
		{"?prefix=prod/admin/", "400"}, {"?prefix=prod/", "400"}, {"?prefix=/prod", "400"}, {"?prefix=prod//admin", "400"},
		{"?prefix=dev/..", "400"}, {"?prefix=dev%2F..%2Fprod", "400"}, {"?prefix=*", "400"}, {"?prefix=prod/*", "400"}, {"?prefix=%00", "400"},
		{"?prefix=prod&prefix=dev", "400"}, {"?Prefix=prod", "400"}, {"?prefix=prod;x", "400"}, {"?path=prod", "400"}, {"?prefix[]=prod", "400"},
	} {
		got := k.ask(token, http.MethodGet, "/v1/secrets"+row.query, "")
		if row.want == "400" {
			got.want(t, row.query, http.StatusBadRequest)
			continue
		}
		if names := pathsIn(got.body); got.status != http.StatusOK || names != row.want {
			t.Errorf("list %s: %d %q, want %q", row.query, got.status, names, row.want)
		}
	}
	k.ask(token, http.MethodGet, "/v1/secrets/", "").want(t, "a list with a slash", http.StatusNotFound)
}

// pathsIn returns the names in a list's answer.
func pathsIn(body string) string {
	var names []string
	for _, part := range strings.Split(body, `"path":`)[1:] {
		name, _, _ := strings.Cut(strings.TrimLeft(part, ` "`), `"`)
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// TestNamesThatDifferByCase holds that such a name cannot be made (409) and is
// not found (404), whatever the resource, and that the conflict does not name
// the other (N10, N18).
func TestNamesThatDifferByCase(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("case/secret", "v")
	k.ask(k.admin, http.MethodPost, "/v1/roles/caserole", "{}").want(t, "make role", http.StatusOK)
	k.ask(k.admin, http.MethodPost, "/v1/users/caseuser", "{}").want(t, "make user", http.StatusOK)
	k.apply(`policy "casepolicy" {}`)
	apply := func(name string) string {
		return fmt.Sprintf(`{"files":[{"name":"a.hcl","text":"policy \"%s\" {}"}]}`, name)
	}
	for _, row := range []struct{ method, target, body, other string }{
		{http.MethodPost, "/v1/secrets/case/SECRET", `{"value":"dg=="}`, "case/secret"},
		{http.MethodPost, "/v1/secrets/Case/secret", `{"value":"dg=="}`, "case/secret"},
		{http.MethodPost, "/v1/roles/CaseRole", "{}", "caserole"},
		{http.MethodPost, "/v1/roles/Admin", "{}", `"admin`},
		{http.MethodPost, "/v1/users/CASEUSER", "{}", "caseuser"},
		{http.MethodPost, "/v1/policies:apply", apply("CasePolicy"), "casepolicy"},
		{http.MethodPost, "/v1/policies:apply", apply("ADMIN"), `"admin`},
	} {
		got := k.ask(k.admin, row.method, row.target, row.body)
		got.want(t, row.target+row.body, http.StatusConflict)
		if strings.Contains(got.body, row.other) {
			t.Errorf("%s: the conflict names the other: %s", row.target, got.body)
		}
	}
	for _, target := range []string{
		"/v1/secrets/case/SECRET", "/v1/secrets/Case/secret", "/v1/secrets/case/Secret:describe", "/v1/secrets/case/Secret:history",
		"/v1/roles/CASEROLE", "/v1/roles/Admin", "/v1/users/CaseUser", "/v1/policies/CasePolicy", "/v1/policies/ADMIN",
	} {
		k.ask(k.admin, http.MethodGet, target, "").want(t, target, http.StatusNotFound)
	}
	for _, body := range []string{`{"roles":["Admin"]}`, `{"policies":["CasePolicy"]}`, `{"user":"CaseUser","roles":["admin"]}`} {
		k.ask(k.admin, http.MethodPost, "/v1/tokens", body).want(t, body, http.StatusNotFound)
	}
}

// TestThePathIsThatOfTheURL holds that nothing beside the URL names what a
// request is about (N24).
func TestThePathIsThatOfTheURL(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("dev/x", "old")
	k.put("prod/admin/x", "old")
	for _, row := range []struct{ method, target, body string }{
		{http.MethodPut, "/v1/secrets/dev/x", `{"path":"prod/admin/x","value":"bmV3"}`},
		{http.MethodPut, "/v1/secrets/dev/x", `{"change":{"value":"bmV3"},"path":"prod/admin/x"}`},
		{http.MethodPost, "/v1/secrets/dev/y", `{"path":"prod/admin/y","value":"bmV3"}`},
		{http.MethodPost, "/v1/secrets/dev/x:rollback", `{"path":"prod/admin/x","to_version":1}`},
		{http.MethodPut, "/v1/secrets/dev/x?path=prod/admin/x", `{"value":"bmV3"}`},
		{http.MethodGet, "/v1/secrets/dev/x?path=prod/admin/x", ""},
		{http.MethodGet, "/v1/secrets/dev/x?PATH=prod/admin/x", ""},
		{http.MethodGet, "/v1/secrets/dev/x?get_secret.path=prod/admin/x", ""},
		{http.MethodDelete, "/v1/secrets/dev/x?path=prod/admin/x", ""},
		{http.MethodPost, "/v1/secrets/dev/x:destroy?path=prod/admin/x", ""},
		{http.MethodPost, "/v1/users/dev", `{"name":"prod"}`},
		{http.MethodPost, "/v1/roles/dev", `{"name":"prod"}`},
		{http.MethodPost, "/v1/policies/p:attach", `{"name":"admin","role":"viewer"}`},
	} {
		k.ask(k.admin, row.method, row.target, row.body).want(t, row.method+" "+row.target+" "+row.body, http.StatusBadRequest)
	}
	for _, path := range []string{"dev/x", "prod/admin/x"} {
		got, err := k.over("grpc", k.admin).Secrets().GetSecret(context.Background(), &v1.GetSecretRequest{Path: path})
		if err != nil || got.GetVersion() != 1 {
			t.Errorf("%s is at version %d (%v); it should be as it was", path, got.GetVersion(), err)
		}
	}
	for _, row := range k.everything() {
		if row.Record.Result.Allow && strings.HasPrefix(row.Input.Resource.ID, "prod/admin/") && row.Method != "Secrets.CreateSecret" && row.Method != "Secrets.GetSecret" {
			t.Errorf("%s on %s is on record", row.Method, row.Input.Resource.ID)
		}
	}
	// What is on record is what was changed.
	k.ask(k.admin, http.MethodPut, "/v1/secrets/dev/x", `{"value":"bmV3"}`).want(t, "an honest update", http.StatusOK)
	if row := k.records(1)[0]; row.Input.Resource.ID != "dev/x" || row.Came().Version != 2 {
		t.Errorf("on record: %s version %d, want dev/x version 2", row.Input.Resource.ID, row.Came().Version)
	}
}

// TestDeniedLooksTheSame holds that a denied caller cannot tell what exists: the
// answers differ in their ids alone.
func TestDeniedLooksTheSame(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/admin/here", "v")
	k.put("other/here", "v")
	k.ask(k.admin, http.MethodPost, "/v1/users/here", "{}").want(t, "make user", http.StatusOK)
	k.ask(k.admin, http.MethodPost, "/v1/roles/here", "{}").want(t, "make role", http.StatusOK)
	k.apply(`policy "here" {}`)
	token := k.user("ann", []string{"p1"}, p1)
	pairs := 0
	for m := range methods() {
		needs := proto.GetExtension(m.Options(), v1.E_Needs).(*v1.Needs)
		for _, prefix := range []string{"", "prod/admin/", "other/"} {
			if (prefix != "") != (needs.GetResource() == "secret") {
				continue
			}
			method, target, body := restForm(m, prefix+"NAME")
			if method == "" || needs.GetFiltered() || needs.GetResource() == "token" {
				continue
			}
			if m.Name() == "AttachPolicy" || m.Name() == "DetachPolicy" {
				body = `{"role":"here"}`
			}
			pairs++
			here := k.ask(token, method, strings.ReplaceAll(target, "NAME", "here"), body)
			gone := k.ask(token, method, strings.ReplaceAll(target, "NAME", "gone"), body)
			here.want(t, target, http.StatusForbidden)
			if a, b := bare(here), bare(gone); a != b {
				t.Errorf("%s %s tells what exists:\n%s\n%s", method, target, a, b)
			}
			if strings.Contains(here.body, "p1") || strings.Contains(here.body, "prod/") {
				t.Errorf("%s: a denied caller sees rules: %s", target, here.body)
			}
		}
	}
	if pairs < 20 {
		t.Fatalf("compared %d pairs; the schema has more", pairs)
	}
}

// bare returns an answer without its ids and date.
func bare(a answer) string {
	h := a.header.Clone()
	h.Del("Date")
	h.Del("X-Request-Id")
	text := a.body
	if id := a.problem().Decision; id != "" {
		text = strings.ReplaceAll(text, id, "ID")
	}
	text = strings.ReplaceAll(text, `": "`, `":"`) // protojson varies its spaces on purpose
	text = strings.ReplaceAll(text, `", "`, `","`)
	text = strings.ReplaceAll(text, `, "`, `,"`)
	text = strings.ReplaceAll(text, `": `, `":`)
	h.Del("Content-Length")
	return fmt.Sprint(a.status, h, text)
}
