package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine"
	"github.com/heroctl/heroctl/schema"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/schema/secret"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/pebble"
)

// Most of the memory of an idle server that may be resident, in MiB, and the
// longest a start may take.
const (
	idleMemory   = 60
	loadedMemory = 200
	startLimit   = 300 * time.Millisecond
)

// resident returns a figure of /proc/PID/status in MiB.
func (s *server) resident(field string) float64 {
	s.tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.tb.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			must(s.tb, err)
			return float64(kib) / 1024
		}
	}
	s.tb.Fatalf("there is no %s in\n%s", field, status)
	return 0
}

func TestIdleMemory(t *testing.T) {
	s := newHost(t).start()
	time.Sleep(300 * time.Millisecond)
	rss, peak := s.resident("VmRSS"), s.resident("VmHWM")
	t.Logf("idle: %.1f MiB resident, peak %.1f MiB; ready after %v", rss, peak, s.took)
	if rss > idleMemory {
		t.Errorf("%.1f MiB resident, want at most %d", rss, idleMemory)
	}
}

// TestLoadedMemory has 100,000 secrets. A start must not take longer for them.
func TestLoadedMemory(t *testing.T) {
	if !*longFlag {
		t.Skip("-long runs it")
	}
	h := newHost(t)
	load(t, h, 100_000)
	var took []time.Duration
	for range 5 {
		s := h.start()
		took = append(took, s.took)
		t.Logf("just started: %.1f MiB resident; ready after %v", s.resident("VmRSS"), s.took)
		s.stop()
	}
	if fastest := min(took[0], took[1], took[2], took[3], took[4]); fastest > startLimit {
		t.Errorf("ready after %v at best, want %v", fastest, startLimit)
	}
	s := h.start()
	c := s.client(h.admin)
	for i := range 2000 {
		if got, err := get(c, fmt.Sprintf("load/%d/%d", i%100, i)); err != nil || got != loadedValue(i) {
			t.Fatalf("secret %d: %q, %v", i, got, err)
		}
	}
	t.Logf("after 2,000 reads: %.1f MiB", s.resident("VmRSS"))
	began := time.Now()
	page, err := c.Secrets().ListSecrets(context.Background(), &v1.ListSecretsRequest{Prefix: "load/7", PageSize: 1000})
	must(t, err)
	t.Logf("first list, %d names: %v", len(page.GetSecrets()), time.Since(began))
	began = time.Now()
	_, err = c.Secrets().ListSecrets(context.Background(), &v1.ListSecretsRequest{Prefix: "load/8", PageSize: 1000})
	must(t, err)
	t.Logf("second list: %v", time.Since(began))
	time.Sleep(300 * time.Millisecond)
	rss, peak := s.resident("VmRSS"), s.resident("VmHWM")
	t.Logf("with the names listed: %.1f MiB resident, peak %.1f MiB", rss, peak)
	if rss > loadedMemory {
		t.Errorf("%.1f MiB resident, want at most %d", rss, loadedMemory)
	}
}

func loadedValue(i int) string { return fmt.Sprintf("value %d %s", i, strings.Repeat("x", 60)) }

// load puts secrets into a stopped host's store, around the server.
func load(t *testing.T, h *host, count int) {
	t.Helper()
	ctx, began := context.Background(), time.Now()
	root, err := crypto.ReadKeyFile(filepath.Join(h.keys, "root.key"))
	must(t, err)
	kv, err := pebble.Open(pebble.Config{Dir: filepath.Join(h.data, "store")})
	must(t, err)
	store, err := storage.Open(ctx, kv, root)
	must(t, err)
	decide := engine.New(engine.Config{})
	create := schema.Capability{Resource: schema.Secret, Verb: "create"}
	var running sync.WaitGroup
	const loaders = 64
	for n := range loaders {
		running.Go(func() {
			for i := n; i < count; i += loaders {
				path := schema.MustPath(fmt.Sprintf("load/%d/%d", i%100, i))
				_, _, p := decide.System(schema.NewDecisionID(), "load", create, path, time.Now())
				if _, err := store.Secrets.Create(ctx, p, storage.NewSecret{Value: secret.New([]byte(loadedValue(i)))}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	store.Close()
	must(t, kv.Close())
	t.Logf("%d secrets loaded in %.1f s", count, time.Since(began).Seconds())
}
