package gateway_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // so that the server could inflate what it is sent
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/policies"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// expectAlone fails unless the secret is at its first version, with its value.
func (k *kit) expectAlone(t *testing.T, path, value string) {
	t.Helper()
	got, err := k.over("grpc", k.admin).Secrets().GetSecret(context.Background(), &v1.GetSecretRequest{Path: path})
	if err != nil || got.GetVersion() != 1 || string(got.GetValue()) != value {
		t.Errorf("%s: version %d, %v; it should be as it was made", path, got.GetVersion(), err)
	}
}

// TestMethodsThatAreNone holds that a path takes its methods and no other, by no
// other means (N32 to N34).
func TestMethodsThatAreNone(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/x", "value")
	const form, plain = "application/x-www-form-urlencoded", "text/plain"
	override := []string{"X-HTTP-Method-Override", "DELETE"}
	for _, row := range []struct {
		method, target, body string
		headers              []string
		want                 []int
	}{
		{"POST", "/v1/secrets/prod/x", "a=b", append([]string{"Content-Type", form}, override...), []int{405, 415}},
		{"POST", "/v1/secrets/prod/x", "_method=DELETE", []string{"Content-Type", form}, []int{405, 415}},
		{"POST", "/v1/secrets/prod/x?_method=DELETE", "", nil, []int{400}},
		{"POST", "/v1/secrets/prod/x", `{"value":"dg=="}`, override, []int{409}}, // a create, and nothing but a create
		{"POST", "/v1/secrets/prod/x", `{"value":"dg=="}`, []string{"X-Method-Override", "DELETE", "X-HTTP-Method", "DELETE"}, []int{409}},
		{"POST", "/v1/whoami", "a=b", []string{"Content-Type", form}, []int{405}},
		{"POST", "/v1/secrets", "prefix=prod", []string{"Content-Type", form}, []int{405}},
		{"POST", "/v1/secrets/prod/x:describe", "a=b", []string{"Content-Type", form}, []int{405}},
		{"POST", "/v1/secrets/prod/x:destroy", "path=prod/y", []string{"Content-Type", form}, []int{400}},
		{"GET", "/v1/secrets/prod/x", "path=prod/y", []string{"Content-Type", form}, []int{400}},
		{"GET", "/v1/secrets/prod/x:destroy", "", nil, []int{405}},
		{"DELETE", "/v1/secrets/prod/x:destroy", "", nil, []int{405}},
		{"GET", "/v1/secrets/prod/x:delete", "", nil, []int{404}},
		{"DELETE", "/v1/secrets", "", nil, []int{405}},
		{"PUT", "/v1/policies", "", nil, []int{405}},
		{"POST", "/v1/openapi.json", "", nil, []int{404, 405}},
		{"POST", "/v1/metrics", "", nil, []int{404, 405}},
		{"POST", "/v1/health/live", "", nil, []int{405}},
		{"HEAD", "/v1/secrets/prod/x", "", nil, []int{405}}, {"TRACE", "/v1/secrets/prod/x", "", nil, []int{405}},
		{"PROPFIND", "/v1/secrets/prod/x", "", nil, []int{405}}, {"PATCH", "/v1/secrets/prod/x", "{}", nil, []int{405}},
		{"OPTIONS", "/v1/secrets/prod/x", "", nil, []int{405}}, {"get", "/v1/secrets/prod/x", "", nil, []int{405}},
		{"Get", "/v1/secrets/prod/x", "", nil, []int{405}}, {"LIST", "/v1/secrets", "", nil, []int{405}}, {"BREW", "/v1/secrets/prod/x", "", nil, []int{405}},
		{"PUT", "/v1/secrets/prod/x", `{"value":"bmV3"}`, []string{"Content-Type", plain}, []int{415}},
		{"PUT", "/v1/secrets/prod/x", `{"value":"bmV3"}`, []string{"Content-Type", "application/json, text/plain"}, []int{415}},
		{"PUT", "/v1/secrets/prod/x", `{"value":"bmV3"}`, []string{"Content-Type", "application/jsonp"}, []int{415}},
		{"PUT", "/v1/secrets/prod/x", `bmV3`, []string{"Content-Type", "application/octet-stream"}, []int{415}},
		{"PUT", "/v1/secrets/prod/x", `{"value":"bmV3"}`, []string{"Content-Type", ""}, []int{415}},
	} {
		what := fmt.Sprint(row.method, " ", row.target, " ", row.body, row.headers)
		got := k.askAs(k.admin, row.method, row.target, row.body, row.headers...)
		got.want(t, what, row.want...)
		if got.status == http.StatusMethodNotAllowed && got.header.Get("Allow") == "" {
			t.Errorf("%s: a 405 without Allow", what)
		}
		if row.method == "HEAD" && got.header.Get("ETag") != "" {
			t.Errorf("%s: tells the version", what)
		}
	}
	k.expectAlone(t, "prod/x", "value")
}

// askAs is ask, but a Content-Type among the headers takes the place of JSON.
func (k *kit) askAs(token, method, target, body string, headers ...string) answer {
	k.tb.Helper()
	given := false
	for i := 0; i < len(headers); i += 2 {
		given = given || headers[i] == "Content-Type"
	}
	if !given {
		return k.ask(token, method, target, body, headers...)
	}
	text := method + " " + target + " HTTP/1.1\r\nHost: here\r\nConnection: close\r\nAuthorization: Bearer " + token + "\r\n"
	for i := 0; i < len(headers); i += 2 {
		text += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	answers, _ := k.exchange(text + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body))
	if len(answers) != 1 {
		k.tb.Fatalf("%s: %d answers", text, len(answers))
	}
	return answers[0]
}

// TestFraming holds that no request hides in another, and that the connection
// ends where framing was in doubt (N40).
func TestFraming(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/x", "value")
	auth := "Authorization: Bearer " + k.admin + "\r\n"
	hidden := "DELETE /v1/secrets/prod/x HTTP/1.1\r\nHost: a\r\n" + auth + "\r\n"
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden)
	post := "POST /v1/users/u HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + auth
	get := "GET /v1/whoami HTTP/1.1\r\nHost: a\r\n" + auth
	for name, text := range map[string]string{
		"CL.TE":                 post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"TE.CL":                 post + fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n", len(chunked)) + chunked,
		"TE alone":              post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"TE unknown":            post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + hidden,
		"TE twice":              post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden,
		"TE with a space":       post + "Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{}" + hidden,
		"two lengths":           post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + hidden,
		"lengths in a list":     post + "Content-Length: 2, 3\r\n\r\n{}" + hidden,
		"length with a sign":    post + "Content-Length: +2\r\n\r\n{}" + hidden,
		"length negative":       post + "Content-Length: -1\r\n\r\n" + hidden,
		"length hexadecimal":    post + "Content-Length: 0x2\r\n\r\n{}" + hidden,
		"fold in the first":     "GET /v1/whoami HTTP/1.1\r\n Host: a\r\n" + auth + "\r\n",
		"bare CR in a value":    get + "X-A: b\rTransfer-Encoding: chunked\r\n\r\n",
		"NUL in a value":        get + "X-A: b\x00c\r\n\r\n",
		"space in a name":       get + "X A: b\r\n\r\n",
		"empty name":            get + ": b\r\n\r\n",
		"two hosts":             get + "Host: b\r\n\r\n",
		"no host":               "GET /v1/whoami HTTP/1.1\r\n" + auth + "\r\n",
		"version of the future": "GET /v1/whoami HTTP/9.9\r\nHost: a\r\n" + auth + "\r\n",
	} {
		answers, closed := k.exchange(text)
		if len(answers) != 1 || answers[0].status != http.StatusBadRequest && answers[0].status != http.StatusNotImplemented && answers[0].status != http.StatusHTTPVersionNotSupported {
			t.Errorf("%s: %v, want one 400", name, answers)
		}
		if !closed {
			t.Errorf("%s: the connection is still open", name)
		}
	}
	// A body on a call that takes none is not the next request.
	answers, _ := k.exchange(get + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(hidden)) + hidden)
	if len(answers) != 1 || answers[0].status != http.StatusBadRequest {
		t.Errorf("a request in a body: %v, want one 400", answers)
	}
	k.expectAlone(t, "prod/x", "value")
}

// TestHostAndTargetForms holds that who we are called does not matter (N39).
func TestHostAndTargetForms(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/x", "value")
	auth := "Authorization: Bearer " + k.admin + "\r\nConnection: close\r\n\r\n"
	for _, row := range []struct {
		line, host string
		want       int
	}{
		{"GET /v1/secrets/prod/x HTTP/1.1", "evil.example", 200},
		{"GET http://evil.example/v1/secrets/prod/x HTTP/1.1", "evil.example", 200},
		{"GET http://evil.example/v1/secrets/../secrets/prod/x HTTP/1.1", "a", 404},
		{"GET //evil.example/v1/secrets/prod/x HTTP/1.1", "a", 404},
		{"GET http:/v1/secrets/prod/x HTTP/1.1", "a", 200},
		{"GET http:v1/secrets/prod/x HTTP/1.1", "a", 404},
		{"OPTIONS * HTTP/1.1", "a", 404},
		{"CONNECT evil.example:443 HTTP/1.1", "evil.example:443", 404},
		{"CONNECT /v1/secrets/prod/x HTTP/1.1", "a", 405},
	} {
		answers, _ := k.exchange(row.line + "\r\nHost: " + row.host + "\r\n" + auth)
		if len(answers) != 1 || answers[0].status == 200 && row.want != 200 || answers[0].status != row.want && answers[0].status != 400 {
			t.Errorf("%s: %v, want %d", row.line, answers, row.want)
			continue
		}
		for name, values := range answers[0].header {
			if strings.Contains(strings.Join(values, ""), "evil") || name == "Location" {
				t.Errorf("%s: header %s: %v", row.line, name, values)
			}
		}
		if answers[0].status != 200 && strings.Contains(answers[0].body, "evil") {
			t.Errorf("%s: %s", row.line, answers[0].body)
		}
	}
}

// TestWhereATokenMayStand holds that a token is taken from one header and from
// nowhere else (N38).
func TestWhereATokenMayStand(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/x", "value")
	bearer := "Bearer " + k.admin
	for _, row := range []struct {
		target  string
		headers []string
		want    int
	}{
		{"/v1/secrets/prod/x", []string{"Authorization", bearer}, 200},
		{"/v1/secrets/prod/x", []string{"Authorization", "bearer " + k.admin}, 200},
		{"/v1/secrets/prod/x", []string{"X-Heroctl-Token", k.admin}, 200},
		{"/v1/secrets/prod/x", nil, 401},
		{"/v1/secrets/prod/x?token=" + k.admin, nil, 401},
		{"/v1/secrets/prod/x?access_token=" + k.admin, nil, 401},
		{"/v1/secrets/prod/x?token=" + k.admin, []string{"Authorization", bearer}, 400},
		{"/v1/metrics?token=" + k.admin, []string{"Authorization", bearer}, 404},
		{"/v1/secrets/prod/x", []string{"Cookie", "token=" + k.admin + "; heroctl_token=" + k.admin}, 401},
		{"/v1/secrets/prod/x", []string{"X-Vault-Token", k.admin}, 401},
		{"/v1/secrets/prod/x", []string{"Proxy-Authorization", bearer}, 401},
		{"/v1/secrets/prod/x", []string{"Grpc-Metadata-Authorization", bearer}, 401},
		{"/v1/secrets/prod/x", []string{"Authorization", bearer, "Authorization", bearer}, 401},
		{"/v1/secrets/prod/x", []string{"Authorization", "Bearer x", "Authorization", bearer}, 401},
		{"/v1/secrets/prod/x", []string{"Authorization", bearer, "X-Heroctl-Token", k.admin}, 401},
		{"/v1/secrets/prod/x", []string{"Authorization", "", "X-Heroctl-Token", k.admin}, 401},
		{"/v1/secrets/prod/x", []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("a:"+k.admin))}, 401},
		{"/v1/secrets/prod/x", []string{"Authorization", k.admin}, 401},
		{"/v1/secrets/prod/x", []string{"Authorization", "Bearer  " + k.admin}, 401},
		{"/v1/secrets/prod/x", []string{"Authorization", bearer + ", " + bearer}, 401},
		{"/v1/secrets/prod/x", []string{"Authorization", "Bearer\t" + k.admin}, 401},
		{"/v1/secrets/prod/x", []string{"X-Heroctl-Token", bearer}, 401},
		{"/v1/secrets/prod/x", []string{"Authorization", "Bearer " + k.admin + ",x"}, 401},
	} {
		got := k.ask("", http.MethodGet, row.target, "", row.headers...)
		got.want(t, fmt.Sprint(row.target[:14], row.headers), row.want)
		if strings.Contains(got.body, k.admin) {
			t.Errorf("%v: the answer repeats the token", row.headers)
		}
	}
	if p := problemFrom(k.conn().Invoke(as(k.admin, "authorization", "Bearer "+k.admin), v1.Access_WhoAmI_FullMethodName, &v1.WhoAmIRequest{}, &v1.WhoAmIResponse{})); p.GetKind() != "unauthenticated" {
		t.Errorf("two tokens over gRPC: %v", p)
	}
}

// TestNothingElseIsServed holds that there is no door beside the door (N44), and
// that every answer forbids being stored (N43).
func TestNothingElseIsServed(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	open := map[string]bool{"/v1/openapi.json": true, "/v1/health/live": true, "/v1/health/ready": true}
	for _, target := range []string{
		"/", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/metrics", "/v1/metrics", "/v1/debug", "/healthz", "/health", "/favicon.ico", "/v1/", "/v1", "/.git/config",
		"/v1/openapi.json", "/v1/health/live", "/v1/health/ready", "/v1/health", "/v1/cluster/status", "/v1/whoami", "/v1/secrets", "/v1/policies", "/v1/audit/records", "/swagger.json", "/ui/", "/heroctl.v1.Secrets/GetSecret",
	} {
		for _, token := range []string{"", k.admin} {
			got := k.ask(token, http.MethodGet, target, "")
			if got.header.Get("Cache-Control") != "no-store" || got.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("GET %s: headers %v", target, got.header)
			}
			if token == "" && got.status != http.StatusUnauthorized && got.status != http.StatusTooManyRequests && !open[target] {
				t.Errorf("GET %s without a token: %d", target, got.status)
			}
			if got.header.Get("Server") != "" || got.header.Get("X-Powered-By") != "" {
				t.Errorf("GET %s tells what serves it", target)
			}
		}
	}
	conn := k.conn()
	err := conn.Invoke(as(""), "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &v1.LiveRequest{}, &v1.LiveResponse{})
	if code := status.Code(err); code != codes.Unauthenticated && code != codes.ResourceExhausted {
		t.Errorf("reflection without a token: %v", err)
	}
	stream, err := healthpb.NewHealthClient(conn).Watch(context.Background(), &healthpb.HealthCheckRequest{})
	k.must(err)
	if _, err = stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("a health stream that anyone may hold open: %v", err)
	}
}

// TestBodiesThatAreNone holds that JSON is read strictly: what could be read two
// ways is not read at all, and nothing is changed (F4).
func TestBodiesThatAreNone(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/x", "value")
	deep := func(open, shut string, n int) string { return strings.Repeat(open, n) + strings.Repeat(shut, n) }
	for name, body := range map[string]string{
		"twice":             `{"value":"bmV3","value":"b2xk"}`,
		"twice, escaped":    `{"value":"bmV3","v\u0061lue":"b2xk"}`,
		"both names":        `{"set_labels":true,"setLabels":false}`,
		"unknown":           `{"value":"bmV3","x":1}`,
		"other case":        `{"VALUE":"bmV3"}`,
		"other case too":    `{"Value":"bmV3"}`,
		"trailing":          `{"value":"bmV3"} {"value":"bmV3"}`,
		"trailing brace":    `{"value":"bmV3"}}`,
		"array":             `[{"value":"bmV3"}]`,
		"text":              `"bmV3"`,
		"cut off":           `{"value":"bmV3"`,
		"not base64":        `{"value":"!!!!"}`,
		"a number":          `{"value":12}`,
		"NUL":               "{\"value\":\"bmV3\x00\"}",
		"NUL between":       "{\x00\"value\":\"bmV3\"}",
		"not UTF-8":         "{\"description\":\"\xff\xfe\"}",
		"lone surrogate":    `{"description":"\ud800"}`,
		"huge number":       `{"if_version":1e400}`,
		"large number":      `{"if_version":4294967296}`,
		"negative":          `{"if_version":-1}`,
		"fraction":          `{"if_version":1.5}`,
		"NaN":               `{"if_version":"NaN"}`,
		"window":            `{"window":"1e400s"}`,
		"window zero":       `{"window":"0s"}`,
		"window negative":   `{"window":"-1s"}`,
		"deep arrays":       `{"labels":` + deep("[", "]", 10_000) + `}`,
		"deep objects":      `{"labels":` + deep(`{"a":`, "}", 10_000) + `}`,
		"deep unknown":      `{"x":` + deep("[", "]", 10_000) + `}`,
		"comment":           `{/* a */"value":"bmV3"}`,
		"single quotes":     `{'value':'bmV3'}`,
		"byte order mark":   "\ufeff{\"value\":\"bmV3\"}",
		"any":               `{"@type":"type.googleapis.com/heroctl.v1.SecretChange","value":"bmV3"}`,
		"a field by number": `{"1":"bmV3"}`,
	} {
		start := time.Now()
		got := k.ask(k.admin, http.MethodPut, "/v1/secrets/prod/x", body)
		got.want(t, name, http.StatusBadRequest)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		if strings.Contains(got.body, "bmV3") || strings.Contains(got.body, "proto") {
			t.Errorf("%s: the answer repeats the body or the parser: %s", name, got.body)
		}
	}
	k.ask(k.admin, http.MethodPut, "/v1/secrets/prod/x", "null").want(t, "null", http.StatusBadRequest, http.StatusOK)
	if got := k.records(1)[0]; got.Method != "Secrets.UpdateSecret" {
		t.Errorf("the last refusal is on record as %s", got.Method)
	}
	k.expectAlone(t, "prod/x", "value")
}

// TestBodiesTooLarge holds the size limit of each face, and that compressed
// bodies are not a way around it (N81).
func TestBodiesTooLarge(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	k.put("prod/x", "value")
	large := `{"description":"` + strings.Repeat("a", 10<<20) + `"}`
	k.ask(k.admin, http.MethodPut, "/v1/secrets/prod/x", large).want(t, "10 MiB", http.StatusRequestEntityTooLarge)
	k.ask(k.admin, http.MethodPost, "/v1/users/u", `{"description":"`+strings.Repeat("a", 65<<10)+`"}`).want(t, "65 KiB", http.StatusRequestEntityTooLarge)
	k.ask("", http.MethodPut, "/v1/secrets/prod/x", large).want(t, "10 MiB of a stranger", http.StatusUnauthorized)
	keys := `{"labels":{` + strings.TrimSuffix(strings.Repeat(`"aaaa":"",`, 150_000), ",") + `}}`
	k.ask(k.admin, http.MethodPut, "/v1/secrets/prod/x", keys).want(t, "many keys", http.StatusBadRequest, http.StatusRequestEntityTooLarge)
	// A length that lies: the rest is the next request, which is none.
	auth := "Authorization: Bearer " + k.admin + "\r\nContent-Type: application/json\r\n"
	answers, closed := k.exchange("POST /v1/users/u HTTP/1.1\r\nHost: a\r\n" + auth + "Content-Length: 9223372036854775807\r\n\r\n{}")
	if len(answers) != 1 || answers[0].status != http.StatusRequestEntityTooLarge || !closed && answers[0].header.Get("Connection") != "close" {
		t.Errorf("a length of 2^63-1: %v closed %v", answers, closed)
	}

	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, err := w.Write(make([]byte, 64<<20))
	k.must(err)
	k.must(w.Close())
	for _, encoding := range []string{"gzip", "identity", "deflate", "br"} {
		k.ask(k.admin, http.MethodPut, "/v1/secrets/prod/x", bomb.String(), "Content-Encoding", encoding).want(t, "a bomb as "+encoding, http.StatusBadRequest)
	}

	k.ask(k.admin, http.MethodPut, "/v1/secrets/prod/x", `{"value":"bmV3"}`, "Content-Encoding", "gzip").want(t, "JSON said to be compressed", http.StatusBadRequest)

	conn := k.conn(grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64 << 20)))
	for _, row := range []struct {
		name    string
		size    int
		options []grpc.CallOption
	}{
		{"over its call's limit", 65 << 10, nil},
		{"over the server's limit", 10 << 20, nil},
		{"small once compressed", 32 << 20, []grpc.CallOption{grpc.UseCompressor("gzip")}},
	} {
		req := &v1.CreateUserRequest{Name: "u", User: &v1.NewUser{Description: strings.Repeat("a", row.size)}}
		err := conn.Invoke(as(k.admin), v1.Access_CreateUser_FullMethodName, req, &v1.User{}, row.options...)
		if code := status.Code(err); code != codes.OutOfRange && code != codes.ResourceExhausted {
			t.Errorf("gRPC, %s: %v", row.name, err)
		}
	}
	k.ask(k.admin, http.MethodGet, "/v1/users/u", "").want(t, "the user of all this", http.StatusNotFound)
	k.expectAlone(t, "prod/x", "value")
}

// TestMessagesThatAreNone holds that what cannot be decoded over gRPC is refused
// on record, in our words, and that a stranger's is not even decoded.
func TestMessagesThatAreNone(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	conn := k.conn()
	for name, message := range map[string]string{
		"not UTF-8":        "\x0a\x04\xff\xfe\xfd\xfc",
		"cut off":          "\x0a\x7fprod",
		"field zero":       "\x00\x00",
		"bad wire type":    "\x0f",
		"endless varint":   "\x10" + strings.Repeat("\xff", 11),
		"end of no group":  "\x0c",
		"groups, 20,000":   strings.Repeat("\x1b", 20_000),
		"length of 2^63":   "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
		"canary-in-a-name": "\x0a\x10canary\xff\xffcanary\x80\x80",
	} {
		before := k.records(1)[0].Sequence
		in, out := []byte(message), []byte{}
		err := conn.Invoke(as(k.admin), v1.Secrets_GetSecret_FullMethodName, &in, &out, grpc.ForceCodec(bytesCodec{}))
		if p := problemFrom(err); p.GetKind() != "invalid_argument" || strings.Contains(err.Error(), "proto") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v %v", name, err, p)
		}
		if row := k.records(1)[0]; row.Sequence == before || row.Method != "Secrets.GetSecret" || row.Record.Result.Reason != "invalid_request" {
			t.Errorf("%s is not on record: %s %s", name, row.Method, row.Record.Result.Reason)
		}
		err = conn.Invoke(as(""), v1.Secrets_GetSecret_FullMethodName, &in, &out, grpc.ForceCodec(bytesCodec{}))
		if code := status.Code(err); code != codes.Unauthenticated {
			t.Errorf("%s of a stranger: %v", name, err)
		}
	}
}

// bombs are policy texts of the kind that overflows the parser's stack (F1),
// within and beyond the size limit.
func bombs() map[string]string {
	wrap := func(value string) string {
		return "policy \"b\" {\n  secret {\n    path = " + value + "\n    capabilities = []\n  }\n}\n"
	}
	texts := map[string]string{}
	for _, n := range []int{31_000, 60_000, 400_000} {
		at := func(name string) string { return fmt.Sprintf("%s, %d", name, n) }
		texts[at("lists")] = wrap(strings.Repeat("[", n) + strings.Repeat("]", n))
		texts[at("open lists")] = wrap(strings.Repeat("[", n))
		texts[at("parens")] = wrap(strings.Repeat("(", n) + "1" + strings.Repeat(")", n))
		texts[at("templates")] = wrap(strings.Repeat(`"${`, n) + "1" + strings.Repeat(`}"`, n))
		texts[at("nots")] = wrap(strings.Repeat("!", n) + "true")
		texts[at("minuses")] = wrap(strings.Repeat("-", n) + "1")
		texts[at("objects")] = wrap(strings.Repeat("{a=", n))
		texts[at("fors")] = wrap(strings.Repeat("[for x in ", n))
		texts[at("blocks")] = strings.Repeat("a {\n", n)
		texts[at("conditions")] = wrap(strings.Repeat("1?1:", n) + "1")
		texts[at("sums")] = wrap("1" + strings.Repeat("+1", n))
		texts[at("indexes")] = wrap("a" + strings.Repeat("[a", n))
		texts[at("calls")] = wrap(strings.Repeat("a(", n))
		texts[at("JSON")] = `{"policy":` + strings.Repeat(`[`, n)
		texts[at("directives")] = wrap(`"` + strings.Repeat("%{if true}", n/4) + `"`)
	}
	return texts
}

// TestPolicyBombs holds that no policy text kills the server or keeps it busy
// (F1, N79).
func TestPolicyBombs(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	rest, rpc := k.over("rest", k.admin).Policies(), k.over("grpc", k.admin).Policies()
	for name, text := range bombs() {
		best := time.Hour
		for range 3 { // the machine may be busy: the fastest counts
			start := time.Now()
			if _, diagnostics := policies.Parse("b.hcl", []byte(text)); !diagnostics.HasErrors() {
				t.Errorf("%s is a policy", name)
			}
			if best = min(best, time.Since(start)); best < 50*time.Millisecond {
				break
			}
		}
		if best > 50*time.Millisecond {
			t.Errorf("%s: %v in the parser", name, best)
		}
		req := &v1.ApplyPoliciesRequest{Files: []*v1.PolicyFile{{Name: "b.hcl", Text: text}}}
		for protocol, c := range map[string]v1.PoliciesClient{"rest": rest, "grpc": rpc} {
			if _, err := c.ApplyPolicies(context.Background(), req); err == nil || !strings.Contains(fmt.Sprintf("%T", err), "client.Error") {
				t.Errorf("%s over %s: %v", name, protocol, err)
			}
		}
	}
	k.ask(k.admin, http.MethodGet, "/v1/whoami", "").want(t, "the server afterwards", http.StatusOK)
	if got := k.ask("", http.MethodPost, "/v1/policies:apply", `{"files":[{"name":"b.hcl","text":"policy \"b\" {"}]}`); got.status != 401 || strings.Contains(got.body, "diagnostics") {
		t.Errorf("a stranger's policy: %d %s", got.status, got.body)
	}
}
