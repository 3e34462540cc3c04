package e2e_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// nobody is the user that servers run as in tests that need one without rights.
const nobody = 65534

// asNobody makes the host's commands run as a user without rights. It skips the
// test where that cannot be done.
func asNobody(t *testing.T, h *host) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run the server as another user")
	}
	for _, path := range []string{h.dir, h.config} {
		must(t, os.Chown(path, nobody, nobody))
	}
	h.uid = nobody
	return h
}

// TestModes has a umask of 0: files and folders are closed all the same.
func TestModes(t *testing.T) {
	h := newFolder(t, plainConfig)
	old := syscall.Umask(0) // of this process, and so of those it starts
	h.init()
	s := h.start()
	syscall.Umask(old)
	c := s.client(h.admin)
	for i := range 20 {
		put(t, c, fmt.Sprintf("a/%d", i), strings.Repeat("x", 1000))
	}
	time.Sleep(1200 * time.Millisecond) // a checkpoint was written
	s.stop()
	seen := 0
	for _, dir := range []string{h.data, h.keys} {
		must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			seen++
			want := fs.FileMode(0o600)
			if d.IsDir() {
				want = 0o700
			}
			if info.Mode().Perm() != want {
				t.Errorf("%s has mode %04o, want %04o", path, info.Mode().Perm(), want)
			}
			return nil
		}))
	}
	if seen < 15 {
		t.Errorf("only %d files and folders were seen", seen)
	}
}

// TestHardened looks at a running server from outside: no core file, and its
// memory and environment closed to others of its own user.
func TestHardened(t *testing.T) {
	if _, err := os.Stat("/proc/self/limits"); err != nil {
		t.Skip(err)
	}
	h := asNobody(t, newFolder(t, plainConfig))
	h.init()
	s := h.start()
	proc := fmt.Sprintf("/proc/%d", s.cmd.Process.Pid)
	limits, err := os.ReadFile(filepath.Join(proc, "limits"))
	must(t, err)
	found := false
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok {
			found = true
			if f := strings.Fields(rest); f[0] != "0" || f[1] != "0" {
				t.Errorf("core files: soft and hard limit are %v, want 0", f[:2])
			}
		}
	}
	if !found {
		t.Errorf("no limit of core files in\n%s", limits)
	}
	// The kernel gives the files of a process that is not dumpable to root.
	if uid := owner(t, filepath.Join(proc, "mem")); uid != 0 {
		t.Errorf("%s/mem belongs to uid %d: the process is dumpable", proc, uid)
	}
	other := h.command("server", "--dev", "--help")
	other.Path, other.Args = "/bin/sleep", []string{"sleep", "60"}
	must(t, other.Start())
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	if uid := owner(t, fmt.Sprintf("/proc/%d/mem", other.Process.Pid)); uid != nobody {
		t.Errorf("a plain process' memory belongs to uid %d: this test shows nothing", uid)
	}
}

func owner(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

// TestOtherUser has root at work on the files of a server that runs as another
// user. It would leave files that the server cannot open.
func TestOtherUser(t *testing.T) {
	h := asNobody(t, newFolder(t, plainConfig))
	h.init()
	before := readTree(t, h.data)
	h.uid = -1
	for _, command := range []string{"cluster admin-token", "server"} {
		code, stdout, stderr := h.run(append(strings.Fields(command), "--config", h.config)...)
		if want := "run it as the owner: sudo -u '#65534'"; code != exitConflict || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s as root: exit %d: %s", command, code, stderr)
		}
	}
	if len(readTree(t, h.data)) != len(before) {
		t.Error("root changed the data directory")
	}
	h.uid = nobody
	h.start().stop()
}

// TestGracefulStop sends SIGTERM in the middle of a request.
func TestGracefulStop(t *testing.T) {
	h := newHost(t)
	s := h.start()
	body := `{"value":"` + base64.StdEncoding.EncodeToString([]byte("under way")) + `"}`
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.addr, "http://"))
	must(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /v1/secrets/a/b HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		h.admin, len(body), body[:10])
	must(t, err)
	time.Sleep(100 * time.Millisecond) // the server is at the body
	must(t, s.cmd.Process.Signal(syscall.SIGTERM))
	deadline := time.Now().Add(5 * time.Second)
	for !strings.Contains(s.log.String(), "shutting down") && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	if extra, err := net.Dial("tcp", conn.RemoteAddr().String()); err == nil {
		extra.Close()
		t.Error("a stopping server takes new connections")
	}
	_, err = conn.Write([]byte(body[10:]))
	must(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("the request under way got no answer: %v\n%s", err, s.log)
	}
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Errorf("the request under way got %d: %s", answer.StatusCode, text)
	}
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, s.log)
	}

	s = h.start()
	defer s.stop()
	c := s.client(h.admin)
	if got, err := get(c, "a/b"); got != "under way" {
		t.Errorf("after the restart: %q, %v", got, err)
	}
	got, err := c.Audit().ListRecords(context.Background(), &v1.ListRecordsRequest{OldestFirst: true, PageSize: 1000})
	must(t, err)
	var events []string
	for _, r := range got.GetRecords() {
		if r.GetKind() == "event" {
			events = append(events, r.GetMethod())
		}
	}
	if want := "start stop start stop start"; strings.Join(events, " ") != want { // init is the first pair
		t.Errorf("events on record: %q, want %q", events, want)
	}
	if strings.Contains(s.log.String(), "resolved an intent") {
		t.Errorf("the restart was not clean:\n%s", s.log)
	}
}

// TestEndsWithoutValues ends servers the hard ways with secrets in memory: what
// they say has no value, token or key, and no core file is left.
func TestEndsWithoutValues(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGBUS} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			s := h.start()
			c := s.client(h.admin)
			for i := range 20 {
				put(t, c, fmt.Sprintf("%s/%d", nameCanary, i), fmt.Sprintf("%s %d", valueCanary, i))
				_, err := get(c, fmt.Sprintf("%s/%d", nameCanary, i))
				must(t, err)
			}
			// One more is on its way.
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.addr, "http://"))
			must(t, err)
			defer conn.Close()
			fmt.Fprintf(conn, "POST /v1/secrets/%s/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n{\"value\":\"%s", nameCanary, h.admin, valueCanary)
			time.Sleep(50 * time.Millisecond)
			if code := s.signal(sig); code == 0 {
				t.Error("the server ended as if all were well")
			}
			said := s.log.String()
			if !strings.Contains(said, "goroutine ") {
				t.Logf("no stack trace; it said:\n%s", said)
			}
			key, err := os.ReadFile(filepath.Join(h.keys, "root.key"))
			must(t, err)
			for _, canary := range []string{valueCanary, nameCanary, h.admin, h.admin[5:30], strings.Fields(string(key))[2],
				base64.StdEncoding.EncodeToString([]byte(valueCanary))[:20]} {
				if strings.Contains(said, canary) {
					t.Errorf("the server said %q", canary)
				}
			}
			h.holds(t, "server.yaml", "data", "keys")
			last := h.start()
			if got, err := get(last.client(h.admin), nameCanary+"/19"); got != valueCanary+" 19" {
				t.Errorf("after the restart: %q, %v", got, err)
			}
			last.stop()
		})
	}
}
