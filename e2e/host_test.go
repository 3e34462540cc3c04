package e2e_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/heroctl/heroctl/gateway/client"
)

var (
	seedFlag   = flag.Int64("seed", 0, "seed of the random choices; 0 picks one")
	cyclesFlag = flag.Int("cycles", 0, "how often the kill loop kills; 0 for 200, or 12 with -short")
	longFlag   = flag.Bool("long", false, "run what takes minutes too")
)

func TestMain(m *testing.M) {
	code := m.Run()
	if dir := binaryFolder(); dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

var (
	build        = sync.OnceValues(buildBinary)
	folderOnce   sync.Mutex
	folderOfBin  string
	readyPattern = regexp.MustCompile(`msg=ready rest=(\S+)`)
)

func binaryFolder() string {
	folderOnce.Lock()
	defer folderOnce.Unlock()
	return folderOfBin
}

// buildBinary builds heroctl as it is released. It looks at the sources itself,
// so that the test cache notices when they change.
func buildBinary() (string, error) {
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return fs.SkipDir
		case strings.HasSuffix(path, ".go"):
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "heroctl-e2e-")
	if err != nil {
		return "", err
	}
	folderOnce.Lock()
	folderOfBin = dir
	folderOnce.Unlock()
	if err := os.Chmod(dir, 0o755); err != nil { // some servers run as another user
		return "", err
	}
	binary := filepath.Join(dir, "heroctl")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "../cmd/heroctl")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build heroctl: %w\n%s", err, out)
	}
	return binary, nil
}

// host is an installation on disk.
type host struct {
	tb     testing.TB
	binary string
	dir    string // holds everything that follows
	config string
	data   string
	keys   string // folder of the root key and the checkpoint
	admin  string // the first token
	uid    int    // whom commands run as; -1: the test's own user
}

const plainConfig = "node: e2e\ndata_dir: data\nkey_file: keys/root.key\nlisten: 127.0.0.1:0\ngrpc_listen: \"off\"\n"

// newFolder returns a host that has a configuration and nothing else.
func newFolder(tb testing.TB, config string) *host {
	tb.Helper()
	binary, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "heroctl-host-")
	must(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &host{tb: tb, binary: binary, dir: dir, config: filepath.Join(dir, "server.yaml"),
		data: filepath.Join(dir, "data"), keys: filepath.Join(dir, "keys"), uid: -1}
	must(tb, os.WriteFile(h.config, []byte(config), 0o600))
	return h
}

// newHost returns a host with a new cluster.
func newHost(tb testing.TB) *host {
	tb.Helper()
	h := newFolder(tb, plainConfig)
	h.init()
	return h
}

func (h *host) init() {
	h.tb.Helper()
	code, stdout, stderr := h.run("cluster", "init", "--config", h.config)
	if code != 0 {
		h.tb.Fatalf("cluster init: exit %d:\n%s", code, stderr)
	}
	h.admin = strings.TrimSpace(stdout)
}

// clone returns a second host with a copy of everything on this one.
func (h *host) clone(tb testing.TB) *host {
	tb.Helper()
	c := newFolder(tb, plainConfig)
	c.admin = h.admin
	copyTree(tb, h.data, c.data)
	copyTree(tb, h.keys, c.keys)
	return c
}

// command returns a command on the host that is not started.
func (h *host) command(args ...string) *exec.Cmd {
	cmd := exec.Command(h.binary, args...)
	cmd.Dir = h.dir
	cmd.Env = []string{"HOME=/nonexistent", "PATH=" + os.Getenv("PATH")}
	if h.uid >= 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(h.uid), Gid: uint32(h.uid)}}
	}
	return cmd
}

// run runs a command to its end.
func (h *host) run(args ...string) (code int, stdout, stderr string) {
	h.tb.Helper()
	var out, said bytes.Buffer
	cmd := h.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	must(h.tb, cmd.Start())
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait() // the exit code says it
	return cmd.ProcessState.ExitCode(), out.String(), said.String()
}

// server is a running heroctl server.
type server struct {
	tb    testing.TB
	cmd   *exec.Cmd
	log   *logBuffer
	addr  string        // http://host:port
	took  time.Duration // from the start of the process to ready
	ended chan struct{}
}

// start starts a server and waits until it is ready.
func (h *host) start(args ...string) *server {
	h.tb.Helper()
	s, err := h.tryStart(args...)
	if err != nil {
		h.tb.Fatal(err)
	}
	return s
}

func (h *host) tryStart(args ...string) (*server, error) {
	h.tb.Helper()
	s := &server{tb: h.tb, cmd: h.command(append([]string{"server", "--config", h.config}, args...)...),
		log: &logBuffer{ready: make(chan string, 1)}, ended: make(chan struct{})}
	s.cmd.Stderr, s.cmd.Stdout = s.log, s.log
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = s.cmd.Wait(); close(s.ended) }()
	h.tb.Cleanup(s.kill)
	select {
	case addr := <-s.log.ready:
		s.addr, s.took = "http://"+addr, time.Since(began)
		return s, nil
	case <-s.ended:
		return nil, fmt.Errorf("the server ended with exit code %d:\n%s", s.cmd.ProcessState.ExitCode(), s.log)
	case <-time.After(30 * time.Second):
		s.kill()
		return nil, fmt.Errorf("the server is not ready after 30 s:\n%s", s.log)
	}
}

// kill ends the server as kill -9 does.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// signal sends a signal and returns the exit code of the server, -1 if a signal
// ended it.
func (s *server) signal(sig os.Signal) int {
	s.tb.Helper()
	must(s.tb, s.cmd.Process.Signal(sig))
	return s.wait()
}

func (s *server) wait() int {
	s.tb.Helper()
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		s.kill()
		s.tb.Fatalf("the server does not end:\n%s", s.log)
	}
	return s.cmd.ProcessState.ExitCode()
}

// stop ends the server in order.
func (s *server) stop() {
	s.tb.Helper()
	if code := s.signal(syscall.SIGTERM); code != 0 {
		s.tb.Fatalf("the server stopped with exit code %d:\n%s", code, s.log)
	}
}

// client returns a REST client with the token.
func (s *server) client(token string) *client.Client {
	s.tb.Helper()
	c, err := client.Dial(client.Config{Addr: s.addr, Token: token})
	must(s.tb, err)
	s.tb.Cleanup(func() { _ = c.Close() })
	return c
}

// logBuffer keeps what a server says and notices when it is ready.
type logBuffer struct {
	mu    sync.Mutex
	text  bytes.Buffer // guarded by mu
	ready chan string
	known bool // guarded by mu
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if !l.known {
		if m := readyPattern.FindSubmatch(l.text.Bytes()); m != nil {
			l.known = true
			l.ready <- string(m[1])
		}
	}
	return len(p), nil
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// seed returns the seed of a test and says it.
func seed(tb testing.TB) int64 {
	s := *seedFlag
	if s == 0 {
		s = time.Now().UnixNano()
	}
	tb.Logf("seed: -args -seed=%d", s)
	return s
}

// copyTree copies a folder with its modes.
func copyTree(tb testing.TB, from, to string) {
	tb.Helper()
	must(tb, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), info.Mode().Perm())
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, info.Mode().Perm())
	}))
}

// readTree returns the content of every file below a folder by name.
func readTree(tb testing.TB, dir string) map[string][]byte {
	tb.Helper()
	files := map[string][]byte{}
	must(tb, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[rel], err = os.ReadFile(path)
		return err
	}))
	return files
}
