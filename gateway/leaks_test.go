package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/heroctl/heroctl/audit"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// logged is everything the package's servers log, at every level.
var logged lockedBuffer

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	os.Exit(m.Run())
}

// canaries are random texts, each planted in one place, which must not turn up in
// another.
type canaries struct {
	t     *testing.T
	k     *kit
	text  map[string]string // by place
	heard bytes.Buffer      // every answer but those to reads, headers and all
}

func newCanaries(t *testing.T, k *kit) *canaries {
	return &canaries{t: t, k: k, text: map[string]string{}}
}

// plant returns a fresh canary for a place: a letter and 31 hexadecimal digits,
// which is legal almost everywhere.
func (c *canaries) plant(place string) string {
	if _, twice := c.text[place]; twice {
		c.t.Fatalf("%s is planted twice", place)
	}
	var random [16]byte
	_, _ = rand.Read(random[:])
	c.text[place] = "k" + hex.EncodeToString(random[:])[1:]
	return c.text[place]
}

// ask sends a request that must be refused with one of the statuses, and keeps
// the answer for the search.
func (c *canaries) ask(what, token, method, target, body string, want int, headers ...string) {
	c.t.Helper()
	got := c.k.askAs(token, method, target, body, headers...)
	got.want(c.t, what, want)
	fmt.Fprintf(&c.heard, "%s: %v %s\n", what, got.header, got.body)
}

// call is ask over gRPC.
func (c *canaries) call(what string, ctx context.Context, method string, in, out any, options ...grpc.CallOption) {
	c.t.Helper()
	var header, trailer metadata.MD
	err := c.k.conn().Invoke(ctx, method, in, out, append(options, grpc.Header(&header), grpc.Trailer(&trailer))...)
	if err == nil {
		c.t.Errorf("%s over gRPC succeeded", what)
	}
	fmt.Fprintf(&c.heard, "%s: %v %v %v %v\n", what, err, status.Convert(err).Details(), header, trailer)
}

// search looks for every canary in every place where it must not be. Names and
// descriptions may be in records: those are what records are about.
func (c *canaries) search(where string, text string, but ...string) {
	c.t.Helper()
	for place, canary := range c.text {
		allowed := false
		for _, b := range but {
			allowed = allowed || strings.HasPrefix(place, b)
		}
		if allowed {
			continue
		}
		for form, needle := range map[string]string{
			"as it is": canary, "in base64": base64.StdEncoding.EncodeToString([]byte(canary))[:40], "in hexadecimal": hex.EncodeToString([]byte(canary)),
		} {
			if at := strings.Index(text, needle); at >= 0 {
				c.t.Errorf("the canary of %q is in %s, %s: …%q…", place, where, form, text[max(0, at-60):min(len(text), at+60)])
			}
		}
	}
}

func (c *canaries) searchEverywhere() {
	c.t.Helper()
	files := 0
	c.k.must(filepath.WalkDir(c.k.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files++
		c.search("the file "+filepath.Base(path), string(text))
		c.search("a file's name", path)
		return err
	}))
	if files < 4 || c.heard.Len() < 1000 || len(logged.String()) == 0 {
		c.t.Fatalf("there is nothing to search: %d files, %d bytes of answers, %d of log", files, c.heard.Len(), len(logged.String()))
	}
	c.search("the log", logged.String())
	c.search("the answers", c.heard.String(), "metadata")
}

// TestNothingLeaks plants canaries wherever a client can put something, drives
// requests through every way of failing, and looks for them in files, logs,
// answers and records (N59, N61, G5, G9).
func TestNothingLeaks(t *testing.T) {
	k := newKit(t, kitOptions{pebble: true})
	c := newCanaries(t, k)
	const secrets = "/v1/secrets/"
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	name := c.plant("metadata: name")
	path := "prod/" + name
	k.put(path, c.plant("value: first"))
	k.ask(k.admin, "PUT", secrets+path, bodyOf(`{"value":%q,"description":%q,"owner":%q,"labels":{%q:%q}}`, b64(c.plant("value: second")),
		c.plant("metadata: description"), c.plant("metadata: owner"), c.plant("metadata: label"), c.plant("metadata: label's value"))).want(t, "update", 200)
	policy := c.plant("metadata: policy")
	ann := k.user("ann", []string{policy}, bodyOf("# %s\npolicy %q {\n  description = %q\n  secret {\n    path = %q\n    capabilities = [\"describe\"]\n  }\n}\n",
		c.plant("policy: comment"), policy, c.plant("policy: description"), "prod/*"))
	c.given("token: admin", k.admin)
	c.given("token: ann", ann)

	// REST: what is wrong is where the canary is.
	c.ask("bad JSON", k.admin, "PUT", secrets+path, bodyOf(`{"value":%q`, b64(c.plant("value: bad JSON"))), 400)
	c.ask("plain value", k.admin, "PUT", secrets+path, bodyOf(`{"value":"%s!"}`, c.plant("value: no base64")), 400)
	c.ask("bare value", k.admin, "PUT", secrets+path, c.plant("value: no JSON"), 400)
	c.ask("after", k.admin, "PUT", secrets+path, `{} `+c.plant("value: after"), 400)
	c.ask("field", k.admin, "PUT", secrets+path, bodyOf(`{%q:1}`, c.plant("name of a field")), 400)
	c.ask("number", k.admin, "PUT", secrets+path, bodyOf(`{"if_version":%q}`, c.plant("value: number")), 400)
	c.ask("duration", k.admin, "PUT", secrets+path, bodyOf(`{"window":%q}`, c.plant("value: duration")), 400)
	c.ask("denied", ann, "PUT", secrets+path, bodyOf(`{"value":%q}`, b64(c.plant("value: denied"))), 403)
	c.ask("denied create", ann, "POST", secrets+"prod/other", bodyOf(`{"value":%q}`, b64(c.plant("value: denied create"))), 403)
	c.ask("absent", k.admin, "PUT", secrets+"prod/absent", bodyOf(`{"value":%q}`, b64(c.plant("value: absent"))), 404)
	c.ask("conflict", k.admin, "POST", secrets+path, bodyOf(`{"value":%q}`, b64(c.plant("value: conflict"))), 409)
	c.ask("lost race", k.admin, "PUT", secrets+path, bodyOf(`{"value":%q,"if_version":1}`, b64(c.plant("value: lost race"))), 409)
	c.ask("too large", k.admin, "PUT", secrets+path, bodyOf(`{"value":%q}`, b64(strings.Repeat(c.plant("value: too large"), 33_000))), 413)
	c.ask("far too large", k.admin, "PUT", secrets+path, strings.Repeat(c.plant("value: far too large"), 60_000), 413)
	c.ask("stranger", "", "PUT", secrets+path, bodyOf(`{"value":%q}`, b64(c.plant("value: stranger"))), 401)
	c.ask("form", k.admin, "PUT", secrets+path, "value="+c.plant("value: form"), 415, "Content-Type", "application/x-www-form-urlencoded")
	c.ask("bad path", k.admin, "POST", secrets+"prod//"+c.plant("value: bad path"), "{}", 400)
	c.ask("bad escape", k.admin, "GET", secrets+"prod/%2e"+c.plant("value: escape"), "", 400)
	c.ask("no call", k.admin, "GET", "/v1/"+c.plant("value: no call"), "", 404)
	c.ask("no verb", k.admin, "GET", secrets+path+":"+c.plant("value: no verb"), "", 404)
	c.ask("method", k.admin, strings.ToUpper(c.plant("method")), secrets+path, "", 405)
	c.text["method"] = strings.ToUpper(c.text["method"])
	c.ask("query", k.admin, "GET", secrets+path+"?"+c.plant("query name")+"="+c.plant("query value"), "", 400)
	c.ask("query value", k.admin, "GET", secrets+path+"?version="+c.plant("query version"), "", 400)
	c.ask("query prefix", k.admin, "GET", "/v1/secrets?prefix=/"+c.plant("query prefix"), "", 400)
	c.ask("page", k.admin, "GET", "/v1/secrets?page_token="+c.plant("page token"), "", 400)
	c.ask("header", k.admin, "GET", secrets+"prod/absent", "", 404, c.plant("name of a header"), c.plant("header"))
	c.ask("cookie", k.admin, "GET", secrets+"prod/absent", "", 404, "Cookie", "token="+c.plant("cookie"))
	c.ask("request id", k.admin, "GET", secrets+"prod/absent", "", 404, "X-Request-Id", c.plant("request id"))
	c.ask("referer", k.admin, "GET", secrets+"prod/absent", "", 404, "Referer", c.plant("referer"))
	c.ask("trace", k.admin, "GET", secrets+"prod/absent", "", 404, "Traceparent", c.plant("trace"))
	c.ask("if-match", k.admin, "PUT", secrets+path, "{}", 400, "If-Match", `"`+c.plant("if-match")+`"`)
	c.ask("accept", k.admin, "GET", secrets+"prod/absent", "", 404, "Accept", "text/"+c.plant("accept"))
	c.ask("media type", k.admin, "PUT", secrets+path, "{}", 415, "Content-Type", "text/"+c.plant("media type"))
	c.ask("encoding", k.admin, "PUT", secrets+path, "{}", 400, "Content-Encoding", c.plant("encoding"))
	c.ask("bad token", c.plant("token: junk"), "GET", secrets+path, "", 401)
	c.ask("long token", strings.Repeat(c.plant("token: long"), 20), "GET", secrets+path, "", 401)
	made := madeUp()
	c.given("token: made up", made)
	c.ask("made-up token", made, "GET", secrets+path, "", 401)
	c.ask("cut token", k.admin[:40], "GET", secrets+path, "", 401)
	c.ask("basic", "", "GET", secrets+path, "", 401, "Authorization", "Basic "+c.plant("token: basic"))
	c.ask("own header", "", "GET", secrets+path, "", 401, "X-Heroctl-Token", c.plant("token: own header"))
	c.ask("token in the query", k.admin, "GET", secrets+path+"?token="+c.plant("token: query"), "", 400)
	for i, text := range []string{"policy %q {", "%s", "policy \"a\" {\n  %s {\n  }\n}", "policy \"a\" {\n  secret {\n    path = %q\n    capabilities = [\"x\"]\n  }\n}",
		"policy \"a\" {\n  secret {\n    path = \"a\"\n    capabilities = [%q]\n  }\n}", "policy \"a\" {\n  secret {\n    path = \"${%s}\"\n    capabilities = []\n  }\n}", "policy \"a\" {\n  %s = 1\n}", "# %s\n[", "policy \"a\" {\n  secret {\n    path = <<%s\n"} {
		text := fmt.Sprintf(text, c.plant(fmt.Sprintf("policy: text %d", i)))
		c.ask(fmt.Sprintf("policy %d", i), k.admin, "POST", "/v1/policies:apply", bodyOf(`{"files":[{"name":"a.hcl","text":%q}]}`, text), 400)
	}
	c.ask("token's description", k.admin, "POST", "/v1/tokens", bodyOf(`{"roles":["none"],"description":%q}`, c.plant("token's description")), 404)
	c.ask("cidr", k.admin, "POST", "/v1/tokens", bodyOf(`{"cidrs":[%q]}`, c.plant("cidr")), 400)
	c.ask("kind", k.admin, "POST", "/v1/tokens", bodyOf(`{"kind":%q}`, c.plant("kind")), 400)
	c.ask("decision", k.admin, "GET", "/v1/decisions/"+c.plant("decision id"), "", 400)
	c.ask("action", k.admin, "GET", "/v1/audit/records?actions="+c.plant("action"), "", 400)
	c.ask("result", k.admin, "GET", "/v1/audit/records?result="+c.plant("result"), "", 400)
	k.exchange("GET /v1/secrets/" + c.plant("bad line") + " HTTP/1.1 x\r\n\r\n")
	k.exchange("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: " + c.plant("bad length") + "\r\n\r\n")
	k.exchange("GET / HTTP/1.1\r\nHost: a\r\nX: \x01" + c.plant("bad header") + "\r\n\r\n")

	// gRPC.
	get, update := v1.Secrets_GetSecret_FullMethodName, v1.Secrets_UpdateSecret_FullMethodName
	value := func(place string) []byte { return []byte(c.plant(place)) }
	c.call("metadata", as(k.admin, c.plant("metadata key"), c.plant("grpc metadata"), "x-bin", c.plant("metadata -bin"), "if-match", c.plant("metadata if-match")), get, &v1.GetSecretRequest{Path: "prod/absent"}, &v1.SecretValue{})
	c.call("grpc token", as(c.plant("token: grpc")), get, &v1.GetSecretRequest{Path: path}, &v1.SecretValue{})
	c.call("grpc token -bin", as("", "authorization-bin", c.plant("token: grpc -bin")), get, &v1.GetSecretRequest{Path: path}, &v1.SecretValue{})
	c.call("grpc path", as(k.admin), get, &v1.GetSecretRequest{Path: "prod//" + c.plant("grpc path")}, &v1.SecretValue{})
	c.call("grpc method", as(k.admin), "/"+c.plant("grpc service")+"/"+c.plant("grpc method"), &v1.GetSecretRequest{Path: path}, &v1.SecretValue{})
	c.call("grpc denied", as(ann), update, &v1.UpdateSecretRequest{Path: path, Change: &v1.SecretChange{Value: value("value: grpc denied")}}, &v1.Secret{})
	c.call("grpc absent", as(k.admin), update, &v1.UpdateSecretRequest{Path: "prod/absent", Change: &v1.SecretChange{Value: value("value: grpc absent")}}, &v1.Secret{})
	c.call("grpc conflict", as(k.admin), update, &v1.UpdateSecretRequest{Path: path, Change: &v1.SecretChange{Value: value("value: grpc conflict"), IfVersion: 1}}, &v1.Secret{})
	c.call("grpc too large", as(k.admin), update, &v1.UpdateSecretRequest{Path: path, Change: &v1.SecretChange{Value: []byte(strings.Repeat(c.plant("value: grpc too large"), 50_000))}}, &v1.Secret{})
	junk, none := []byte("\x0a\x22\xff"+c.plant("grpc junk")+"\xff"), []byte{}
	c.call("grpc junk", as(k.admin), get, &junk, &none, grpc.ForceCodec(bytesCodec{}))

	// Values come back to those who may read them, and only in that answer.
	got := k.ask(k.admin, "GET", secrets+path, "")
	if !strings.Contains(got.body, b64(c.text["value: second"])) {
		t.Errorf("the reader does not get the value: %s", got.body)
	}
	if raw := k.ask(k.admin, "GET", secrets+path, "", "Accept", "application/octet-stream"); raw.body != c.text["value: second"] {
		t.Error("the reader does not get the raw value")
	}
	for _, target := range []string{secrets + path + ":describe", secrets + path + ":history", "/v1/secrets", "/v1/audit/records?page_size=1000", "/v1/metrics", "/v1/tokens", "/v1/policies/" + policy} {
		got := k.ask(k.admin, "GET", target, "")
		got.want(t, target, http.StatusOK)
		c.search("the answer to "+target, got.body, "metadata", "policy: comment", "policy: description")
	}
	var records strings.Builder
	for _, row := range k.everything() {
		records.Write(row.JSON())
		if row.Settled != nil {
			records.Write(row.Settled.JSON())
		}
	}
	c.search("the records", records.String(), "metadata: name", "metadata: policy")

	// At last the trail fails.
	k.must(k.trail.Close())
	c.ask("no trail", k.admin, "PUT", secrets+path, bodyOf(`{"value":%q}`, b64(c.plant("value: no trail"))), 503)
	c.ask("no trail for a read", k.admin, "GET", secrets+path, "", 503)
	c.searchEverywhere()
}

// given makes a given text a canary.
func (c *canaries) given(place, text string) { c.text[place] = text }

// TestTheDeniedSeeNoRules holds that a denied caller learns the class of the
// reason and the decision's id, and nothing of the rules; explanations need
// audit:explain.
func TestTheDeniedSeeNoRules(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/admin/x", "v")
	token := k.user("ann", []string{"p1"}, p1)
	for i, target := range []string{"prod/admin/x", "prod/admin/y", "prod/x", "other/x"} {
		got := k.ask(token, http.MethodDelete, "/v1/secrets/"+target, "")
		got.want(t, target, http.StatusForbidden)
		id := got.problem().Decision
		for _, answer := range []answer{got, k.ask(token, http.MethodGet, "/v1/decisions/"+id, "")} {
			for _, secret := range []string{"p1", "prod/", "admin", "digest", "capabilities", "rule_text\":\"p"} {
				if strings.Contains(answer.body, secret) {
					t.Errorf("%s: a denied caller sees %q: %s", target, secret, answer.body)
				}
			}
		}
		stranger := k.user(fmt.Sprintf("stranger%d", i), nil, "")
		k.ask(stranger, http.MethodGet, "/v1/decisions/"+id, "").want(t, "another's decision", http.StatusNotFound)
		full := k.ask(k.admin, http.MethodGet, "/v1/decisions/"+id, "")
		if target != "other/x" && !strings.Contains(full.body, "p1") {
			t.Errorf("%s: the admin is not told the rule: %s", target, full.body)
		}
	}
}
