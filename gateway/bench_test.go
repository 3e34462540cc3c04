package gateway_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/schema/secret"
	"github.com/heroctl/heroctl/storage"
)

// The end-to-end benchmarks: a real server on Pebble with the trail on, asked
// over loopback by 1, 8 and 32 clients, beside a bare net/http handler that
// answers the same bytes. Clients and server share the process and its cores, so
// cpu-µs/op holds both; the ratio to the bare handler in the same run is what
// counts.
//
//	go test -run '^$' -bench EndToEnd ./gateway

var clientCounts = []int{1, 8, 32}

func BenchmarkEndToEndBare(b *testing.B) {
	body := []byte(`{"path":"prod/db","version":1,"value":"` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
	defer server.Close()
	for _, clients := range clientCounts {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			load(b, clients, func(c *http.Client, _ int64) error {
				return fetch(c, http.MethodGet, server.URL+"/v1/secrets/prod/db", "token", nil)
			})
		})
	}
}

func BenchmarkEndToEndRead(b *testing.B) {
	for _, durability := range []audit.Durability{audit.Kernel, audit.Strict} {
		for _, rules := range []int{20, 1000} {
			k := newKit(b, kitOptions{pebble: true, durability: durability})
			token := k.reader(rules)
			name := fmt.Sprintf("%s/rules=%d/", map[audit.Durability]string{audit.Strict: "strict", audit.Kernel: "kernel"}[durability], rules)
			for _, clients := range clientCounts {
				b.Run(fmt.Sprintf("rest/%sclients=%d", name, clients), func(b *testing.B) {
					load(b, clients, func(c *http.Client, _ int64) error {
						return fetch(c, http.MethodGet, k.rest.URL+"/v1/secrets/prod/db", token, nil)
					})
				})
				b.Run(fmt.Sprintf("grpc/%sclients=%d", name, clients), func(b *testing.B) {
					secrets := k.over("grpc", token).Secrets()
					load(b, clients, func(*http.Client, int64) error {
						_, err := secrets.GetSecret(context.Background(), &v1.GetSecretRequest{Path: "prod/db"})
						return err
					})
				})
			}
		}
	}
}

func BenchmarkEndToEndWrite(b *testing.B) {
	k := newKit(b, kitOptions{pebble: true, durability: audit.Strict})
	value := base64.StdEncoding.EncodeToString(make([]byte, 32))
	var made atomic.Int64
	for _, clients := range clientCounts {
		b.Run(fmt.Sprintf("rest/strict/clients=%d", clients), func(b *testing.B) {
			load(b, clients, func(c *http.Client, _ int64) error {
				url := fmt.Sprintf("%s/v1/secrets/bench/s%d", k.rest.URL, made.Add(1))
				return fetch(c, http.MethodPost, url, k.admin, []byte(`{"value":"`+value+`"}`))
			})
		})
		b.Run(fmt.Sprintf("grpc/strict/clients=%d", clients), func(b *testing.B) {
			secrets := k.over("grpc", k.admin).Secrets()
			load(b, clients, func(*http.Client, int64) error {
				_, err := secrets.CreateSecret(context.Background(), &v1.CreateSecretRequest{
					Path: fmt.Sprintf("bench/s%d", made.Add(1)), Secret: &v1.NewSecret{Value: make([]byte, 32)},
				})
				return err
			})
		})
	}
}

// reader makes a user whose policies have the given number of rules, one of
// which grants reading prod/db.
func (k *kit) reader(rules int) string {
	k.put("prod/db", strings.Repeat("v", 32))
	var text strings.Builder
	text.WriteString("policy \"bench\" {\n  secret {\n    path         = \"prod/*\"\n    capabilities = [\"read\"]\n  }\n")
	files := []*v1.PolicyFile{}
	names := []string{"bench"}
	for i := range rules - 1 {
		if i > 0 && i%200 == 0 {
			text.WriteString("}\n")
			files = append(files, &v1.PolicyFile{Name: "bench.hcl", Text: text.String()})
			text.Reset()
			names = append(names, fmt.Sprintf("bench%d", i))
			fmt.Fprintf(&text, "policy \"bench%d\" {\n", i)
		}
		fmt.Fprintf(&text, "  secret {\n    path         = \"team%d/+/x%d/*\"\n    capabilities = [\"list\"]\n  }\n", i, i)
	}
	text.WriteString("}\n")
	files = append(files, &v1.PolicyFile{Name: "bench.hcl", Text: text.String()})
	_, err := k.over("rest", k.admin).Policies().ApplyPolicies(context.Background(), &v1.ApplyPoliciesRequest{Files: files})
	k.must(err)
	return k.user("reader", names, "")
}

// load runs b.N requests from the given number of clients and reports the
// process's CPU time and the rate.
func load(b *testing.B, clients int, request func(*http.Client, int64) error) {
	b.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var next atomic.Int64
	var group sync.WaitGroup
	latencies := make([]time.Duration, b.N)
	cpu := cpuTime()
	b.ResetTimer()
	for range clients {
		group.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				start := time.Now()
				if err := request(client, i); err != nil {
					b.Error(err)
					return
				}
				latencies[i-1] = time.Since(start)
			}
		})
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(float64(median(latencies).Microseconds()), "p50-µs")
}

func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func fetch(c *http.Client, method, url, token string, body []byte) error {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	return err
}

// BenchmarkEndToEndList lists 100,000 secrets over REST for a token that may see
// 100 of them, below one prefix and scattered.
func BenchmarkEndToEndList(b *testing.B) {
	k := newKit(b, kitOptions{pebble: true, durability: audit.Kernel})
	k.fill(100_000)
	narrow := k.user("narrow", []string{"narrow"}, "policy \"narrow\" {\n  secret {\n    path         = \"team042/*\"\n    capabilities = [\"list\"]\n  }\n}\n")
	wide := k.user("wide", []string{"wide"}, "policy \"wide\" {\n  secret {\n    path         = \"+/s00042\"\n    capabilities = [\"list\"]\n  }\n}\n")
	for _, c := range []struct{ name, token string }{{"prefix", narrow}, {"scattered", wide}} {
		b.Run(c.name, func(b *testing.B) {
			load(b, 1, func(h *http.Client, _ int64) error {
				return fetch(h, http.MethodGet, k.rest.URL+"/v1/secrets?page_size=1000", c.token, nil)
			})
		})
	}
}

// fill creates n secrets, a hundred in each folder, the names of which repeat in
// every hundred folders: team042/* is one folder, +/s00042 one secret in each of
// the first hundred.
func (k *kit) fill(n int) {
	var group sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				path := schema.MustPath(fmt.Sprintf("team%03d/s%05d", i/100, i%100+100*(i/100/100)))
				p := permit.Issue(permit.Grant{
					ID: schema.NewDecisionID(), Cap: schema.Capability{Resource: schema.Secret, Verb: "create"}, Path: path, Time: time.Now(),
					Principal: schema.Principal{Kind: schema.KindUser, User: "bench"},
				})
				if _, err := k.store.Secrets.Create(context.Background(), p, storage.NewSecret{Value: secret.New([]byte("v"))}); err != nil {
					k.tb.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}
