package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// screen is a buffer that two goroutines may use.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestPolicyWatch changes a policy while policy test --watch looks on.
func TestPolicyWatch(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	policy := "policy \"p\" {\n  secret {\n    path         = \"prod/*\"\n    capabilities = [\"read\"]\n  }\n}\n"
	write("p.hcl", policy)
	write("p_test.hcl", "matrix \"m\" {\n  policies = [\"p\"]\n  cases = [[\"secret:read\", \"prod/db\", \"allow\"]]\n}\n")

	out := &screen{}
	a := &app{stdin: strings.NewReader(""), stdout: out, stderr: out, env: func(string) string { return "" }}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int)
	go func() { done <- a.run(ctx, []string{"policy", "test", "--watch", dir}) }()

	waitFor := func(text string, times int) {
		t.Helper()
		for range 200 {
			if strings.Count(out.String(), text) >= times {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("%q does not appear %d times; the screen shows:\n%s", text, times, out.String())
	}
	waitFor("1 passed, 0 failed", 1)
	waitFor("waiting for a change", 1)
	write("p.hcl", strings.Replace(policy, `["read"]`, `["list", "inject"]`, 1))
	waitFor("heroctl: 1 test failed", 1)
	write("p.hcl", policy+"policy {}\n")
	waitFor("the policy has no name", 1)
	write("p.hcl", policy)
	waitFor("1 passed, 0 failed", 2)
	waitFor("waiting for a change", 4)
	stop()
	if code := <-done; code != exitOK {
		t.Errorf("exit code %d after an interrupt", code)
	}
}
