package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// mountSmall mounts a file system of the given size on a folder. It skips the
// test, with the reason, where that is not possible.
func mountSmall(t *testing.T, dir, size string) {
	t.Helper()
	info, err := os.Stat(dir)
	must(t, err)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0700"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }) // it may be gone
	must(t, os.Chmod(dir, info.Mode().Perm()))
}

// fill takes all but the given number of bytes of a file system.
func fill(t *testing.T, dir string, leave int64) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	defer f.Close()
	for {
		var s syscall.Statfs_t
		must(t, syscall.Statfs(dir, &s))
		have := int64(s.Bavail) * s.Bsize
		if have <= leave {
			break
		}
		if _, err := f.Write(make([]byte, min(have-leave, 1<<20))); err != nil {
			break
		}
	}
	return func() { must(t, os.Remove(name)) }
}

// TestDiskFull fills the disk under a server, nearly and wholly, and frees it.
func TestDiskFull(t *testing.T) {
	h := newFolder(t, plainConfig)
	must(t, os.Mkdir(h.data, 0o700))
	mountSmall(t, h.data, "64m")
	h.init()
	s := h.start()
	c := s.client(h.admin)
	acked := map[string]string{}
	write := func() error {
		path, value := fmt.Sprintf("a/%d", len(acked)), fmt.Sprintf("value %d %s", len(acked), strings.Repeat("x", 5000))
		_, err := c.Secrets().CreateSecret(context.Background(), &v1.CreateSecretRequest{Path: path, Secret: &v1.NewSecret{Value: []byte(value)}})
		if err == nil {
			acked[path] = value
		}
		return err
	}
	for range 20 {
		must(t, write())
	}

	// Nearly: writes are refused before the disk is, reads go on.
	free := fill(t, h.data, 4<<20)
	refusedSoon(t, "a write to a disk nearly full", write)
	for range 20 {
		if got, err := get(c, "a/3"); got != acked["a/3"] {
			t.Errorf("a read from a disk nearly full: %v", err)
		}
	}
	free()
	resumes(t, "writes after a disk nearly full", write)

	// Wholly: nothing can be put on record, so nothing is answered.
	free = fill(t, h.data, 0)
	refusedSoon(t, "a write to a full disk", write)
	var failed error
	for range 200 { // what the last block still takes
		if _, failed = get(c, "a/3"); failed != nil {
			break
		}
	}
	refusedSoon(t, "a read from a full disk", func() error { _, err := get(c, "a/3"); return err })
	if _, err := c.Health().Live(context.Background(), &v1.LiveRequest{}); err != nil {
		t.Errorf("liveness on a full disk: %v", err)
	}
	if _, err := c.Health().Ready(context.Background(), &v1.ReadyRequest{}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("readiness on a full disk: got %v, want unavailable", err)
	}
	hammer(t, c, time.Second)
	free()
	resumes(t, "writes after a full disk", write)
	for range 10 {
		must(t, write())
	}
	all(t, c, acked)
	s.kill()
	s = h.start()
	all(t, s.client(h.admin), acked)
	s.kill()
	verifyOffline(t, h)
}

// hammer reads and writes what must be answered or refused in order; the server
// stays up.
func hammer(t *testing.T, c *client.Client, during time.Duration) {
	t.Helper()
	if *longFlag {
		during *= 20
	}
	var running sync.WaitGroup
	until := time.Now().Add(during)
	for n := range 8 {
		running.Go(func() {
			for i := 0; time.Now().Before(until); i++ {
				var err error
				if i%2 == 0 {
					_, err = get(c, "a/3")
				} else {
					_, err = c.Secrets().CreateSecret(context.Background(), &v1.CreateSecretRequest{
						Path: fmt.Sprintf("hammer/%d/%d", n, i), Secret: &v1.NewSecret{Value: []byte("x")}})
				}
				var e *client.Error
				if err != nil && (!errors.Is(err, fault.Unavailable) || !errors.As(err, &e) || e.Cause != nil) {
					t.Errorf("on a full disk: %v", err)
					return
				}
			}
		})
	}
	running.Wait()
}

// all wants every value that was acknowledged.
func all(t *testing.T, c *client.Client, acked map[string]string) {
	t.Helper()
	for path, value := range acked {
		if got, err := get(c, path); got != value {
			t.Errorf("%s: got %d bytes, %v", path, len(got), err)
		}
	}
}

// refusedSoon wants unavailable within five seconds.
func refusedSoon(t *testing.T, what string, do func() error) {
	t.Helper()
	began := time.Now()
	err := do()
	took := time.Since(began)
	var e *client.Error
	if !errors.Is(err, fault.Unavailable) || !errors.As(err, &e) || e.Cause != nil || took > 5*time.Second {
		t.Errorf("%s: got %v after %v; want unavailable from the server within 5 s", what, err, took)
	}
	t.Logf("%s: %q after %v", what, err, took.Round(time.Millisecond))
}

// resumes wants success within five seconds, without any help.
func resumes(t *testing.T, what string, do func() error) {
	t.Helper()
	began := time.Now()
	var err error
	for time.Since(began) < 5*time.Second {
		if err = do(); err == nil {
			t.Logf("%s: after %v", what, time.Since(began).Round(time.Millisecond))
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s: still %v after 5 s", what, err)
}
