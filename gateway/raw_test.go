package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/heroctl/heroctl/audit"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// What an attacker needs and our own client does not give: request targets and
// headers as written, several requests in one write, messages that are none.

// answer is what came back over REST.
type answer struct {
	status int
	header http.Header
	body   string
}

// problem reads the body as a problem document; the zero problem if it is none.
func (a answer) problem() problemDoc {
	var p problemDoc
	_ = json.Unmarshal([]byte(a.body), &p) // what is not a problem is the zero one
	return p
}

type problemDoc struct {
	Kind     string `json:"kind"`
	Reason   string `json:"reason"`
	Decision string `json:"decision_id"`
	Detail   string `json:"detail"`
}

// ask sends one REST request with the target exactly as written. Headers come in
// pairs. A body is JSON unless a header says otherwise.
func (k *kit) ask(token, method, target, body string, headers ...string) answer {
	k.tb.Helper()
	req, err := http.NewRequest(method, k.rest.URL, strings.NewReader(body))
	k.must(err)
	req.URL = &url.URL{Scheme: "http", Host: k.rest.Listener.Addr().String(), Opaque: target}
	if body == "" {
		req.Body, req.ContentLength = nil, 0
	} else {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header[headers[i]] = append(req.Header[headers[i]], headers[i+1])
	}
	resp, err := noRedirects.Do(req)
	k.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	k.must(err)
	return answer{resp.StatusCode, resp.Header, string(text)}
}

var noRedirects = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 32, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// exchange writes text to a fresh connection and returns every answer until the
// server closes it or is silent for a while, and whether it closed.
func (k *kit) exchange(text string) (answers []answer, closed bool) {
	k.tb.Helper()
	conn, err := net.Dial("tcp", k.rest.Listener.Addr().String())
	k.must(err)
	defer conn.Close()
	_, err = io.WriteString(conn, text)
	k.must(err)
	from := bufio.NewReader(conn)
	for {
		k.must(conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)))
		resp, err := http.ReadResponse(from, nil)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return answers, false
		}
		if err != nil {
			return answers, true
		}
		k.must(conn.SetReadDeadline(time.Now().Add(5 * time.Second)))
		body, err := io.ReadAll(resp.Body)
		k.must(err)
		answers = append(answers, answer{resp.StatusCode, resp.Header, string(body)})
	}
}

// conn returns a bare gRPC connection.
func (k *kit) conn(options ...grpc.DialOption) *grpc.ClientConn {
	k.tb.Helper()
	c, err := grpc.NewClient(k.grpc, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	k.must(err)
	k.tb.Cleanup(func() { _ = c.Close() })
	return c
}

// as returns a context that carries the token, and more metadata in pairs.
func as(token string, pairs ...string) context.Context {
	if token != "" {
		pairs = append(pairs, "authorization", "Bearer "+token)
	}
	return metadata.AppendToOutgoingContext(context.Background(), pairs...)
}

// problemFrom takes the problem out of a gRPC error; the zero problem if it has
// none.
func problemFrom(err error) *v1.Problem {
	for _, detail := range status.Convert(err).Details() {
		if p, ok := detail.(*v1.Problem); ok {
			return p
		}
	}
	return &v1.Problem{}
}

// bytesCodec sends bytes as they are, for messages that no encoder would make.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(b)
	return nil
}
func (bytesCodec) Name() string { return "proto" }

// everything returns all rows of the trail, the oldest first.
func (k *kit) everything() []audit.Row {
	k.tb.Helper()
	var all []audit.Row
	q := audit.Query{Limit: 1000}
	for {
		page, err := k.trail.Find(context.Background(), q)
		k.must(err)
		all = append(all, page.Rows...)
		if q.After = page.Next; q.After == "" {
			return all
		}
	}
}

// decisions returns all rows of the trail by decision id.
func (k *kit) decisions() map[string]audit.Row {
	k.tb.Helper()
	all := map[string]audit.Row{}
	for _, row := range k.everything() {
		all[string(row.Decision)] = row
	}
	return all
}

// apply applies policy text as the admin.
func (k *kit) apply(hcl string) {
	k.tb.Helper()
	_, err := k.over("rest", k.admin).Policies().ApplyPolicies(context.Background(), &v1.ApplyPoliciesRequest{Files: []*v1.PolicyFile{{Name: "test.hcl", Text: hcl}}})
	k.must(err)
}

// want fails the test unless the answer has one of the statuses.
func (a answer) want(t *testing.T, what string, statuses ...int) {
	t.Helper()
	for _, s := range statuses {
		if a.status == s {
			return
		}
	}
	t.Errorf("%s: status %d, want %v; body %.200s", what, a.status, statuses, a.body)
}

// A policy of the usual shape, for tests that need a caller who may do some
// things: P1 of the negative cases.
const p1 = `policy "p1" {
  secret {
    path         = "dev/*"
    capabilities = ["read", "list"]
  }
  secret {
    path         = "prod/admin/*"
    capabilities = []
  }
  secret {
    path         = "prod/*"
    capabilities = ["read", "list"]
  }
}
`
