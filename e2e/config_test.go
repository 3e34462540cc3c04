package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestConfiguration has configurations that cannot be right. Server and init both
// refuse them, name the key and what would be right, and make nothing.
func TestConfiguration(t *testing.T) {
	with := func(lines ...string) string { return plainConfig + strings.Join(lines, "\n") + "\n" }
	instead := func(old, new string) string {
		if !strings.Contains(plainConfig, old) {
			t.Fatalf("the configuration has no %q", old)
		}
		return strings.Replace(plainConfig, old, new, 1)
	}
	for _, c := range []struct {
		name, text string
		words      []string
	}{
		{"empty", "", []string{"the file is empty", "data_dir", "key_file"}},
		{"no data_dir", instead("data_dir: data\n", ""), []string{"data_dir is needed"}},
		{"no key_file", instead("key_file: keys/root.key\n", ""), []string{"key_file is needed", "outside data_dir"}},
		{"key in data", instead("keys/root.key", "data/root.key"), []string{"key_file lies inside data_dir", "move it out"}},
		{"key is data", instead("keys/root.key", "data"), []string{"key_file lies inside data_dir"}},
		{"unknown key", with("storage: fast"), []string{"line 6", "storage is not a key"}},
		{"unknown key below", with("audit: {enabled: false}"), []string{"enabled is not a key"}},
		{"key twice", with("listen: 127.0.0.1:0"), []string{"listen", "already"}},
		{"two documents", with("---", "node: b"), []string{"one document", "---"}},
		{"not YAML", "data_dir: [", []string{"line 1"}},
		{"a list", "- a\n", []string{"line 1: the value is of the wrong kind"}},
		{"a word for a number", with("limits: {requests_per_second: many}"), []string{"line 6: the value is of the wrong kind"}},
		{"a list for a word", with("versions: {window: [7d]}"), []string{"line 6: the value is of the wrong kind"}},
		{"node", instead("e2e", "a node"), []string{"node", "character outside"}},
		{"listen without port", instead("listen: 127.0.0.1:0", "listen: 127.0.0.1"), []string{"listen is host:port", "127.0.0.1:8420"}},
		{"listen off", instead("listen: 127.0.0.1:0", "listen: off"), []string{"listen is host:port"}},
		{"port too high", instead("127.0.0.1:0", "127.0.0.1:70000"), []string{"listen needs a port", "65535"}},
		{"all addresses, no TLS", instead("127.0.0.1:0", ":8420"), []string{"listen", "needs tls", "cert_file"}},
		{"another address, no TLS", instead(`"off"`, "10.0.0.1:8421"), []string{"grpc_listen", "needs tls"}},
		{"a name that is not loopback", instead("127.0.0.1:0", "localhost.evil.test:0"), []string{"listen", "needs tls"}},
		{"half of TLS", with("tls: {cert_file: a.pem}"), []string{"tls needs both cert_file and key_file"}},
		{"durability", with("audit: {durability: none}"), []string{"audit.durability is strict or kernel"}},
		{"window of nothing", with("versions: {window: 0s}"), []string{"versions.window", "7d or 36h"}},
		{"window below zero", with("versions: {window: -7d}"), []string{"versions.window"}},
		{"window without unit", with("versions: {window: 7}"), []string{"versions.window"}},
		{"window that overflows", with("versions: {window: 99999999999w}"), []string{"versions.window"}},
		{"rate below zero", with("limits: {requests_per_second: -1}"), []string{"limits.requests_per_second"}},
		{"rate not a number", with("limits: {requests_per_second: .nan}"), []string{"limits.requests_per_second"}},
		{"rate without end", with("limits: {requests_per_second: .inf}"), []string{"limits.requests_per_second"}},
		{"proxy", with("trusted_proxies: [10.0.0.0/8, proxy.example]"), []string{"trusted_proxies, entry 2", "10.0.0.0/8"}},
		{"proxy with a host part only", with("trusted_proxies: [10.0.0.1]"), []string{"trusted_proxies, entry 1", "10.1.2.3/32"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newFolder(t, c.text)
			for _, command := range []string{"server", "cluster init"} {
				code, stdout, stderr := h.run(append(strings.Fields(command), "--config", h.config)...)
				if code != exitUsage || stdout != "" {
					t.Errorf("%s: exit %d, stdout %q; want %d and nothing", command, code, stdout, exitUsage)
				}
				for _, word := range append(c.words, "server.yaml") {
					if !strings.Contains(stderr, word) {
						t.Errorf("%s: the message lacks %q: %s", command, word, stderr)
					}
				}
				for _, word := range []string{"goroutine", "main.", " yaml:", "%!", "!!"} {
					if strings.Contains(stderr, word) {
						t.Errorf("%s: the message has %q: %s", command, word, stderr)
					}
				}
			}
			h.holds(t, "server.yaml")
		})
	}
}

// TestCertificate has a certificate that cannot be used: found before anything is
// opened.
func TestCertificate(t *testing.T) {
	h := newHost(t)
	before := readTree(t, h.data)
	must(t, os.WriteFile(h.config, []byte(plainConfig+"tls: {cert_file: c.pem, key_file: k.pem}\n"), 0o600))
	h.refused(t, exitUsage, "tls.cert_file", "no such file")
	if after := readTree(t, h.data); len(before) != len(after) {
		t.Error("the data directory was touched")
	}
}

// holds wants exactly these entries in the host's folder.
func (h *host) holds(t *testing.T, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(h.dir)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}

// initFails wants init to fail with the exit code and words, and to print no
// token.
func (h *host) initFails(t *testing.T, code int, words ...string) {
	t.Helper()
	got, stdout, stderr := h.run("cluster", "init", "--config", h.config)
	if got != code || stdout != "" {
		t.Errorf("init: exit %d, stdout %q; want %d and nothing; it said %s", got, stdout, code, stderr)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("init: the message lacks %q: %s", word, stderr)
		}
	}
}

// TestInitTwice wants the second of two inits to change nothing.
func TestInitTwice(t *testing.T) {
	h := newHost(t)
	data, keys := readTree(t, h.data), readTree(t, h.keys)
	h.initFails(t, exitConflict, "not empty", "initialised once")
	if len(data) != len(readTree(t, h.data)) || string(keys["root.key"]) != string(readTree(t, h.keys)["root.key"]) {
		t.Error("the second init changed the first one's files")
	}
	h.start().stop()

	t.Run("with the data elsewhere", func(t *testing.T) {
		must(t, os.WriteFile(h.config, []byte(strings.Replace(plainConfig, "data_dir: data", "data_dir: data2", 1)), 0o600))
		h.initFails(t, exitConflict, "key_file", "never overwritten")
		h.holds(t, "server.yaml", "data", "keys")
	})
	t.Run("with the key elsewhere", func(t *testing.T) {
		must(t, os.WriteFile(h.config, []byte(strings.Replace(plainConfig, "keys/root.key", "keys2/root.key", 1)), 0o600))
		h.initFails(t, exitConflict, "not empty")
		h.holds(t, "server.yaml", "data", "keys")
	})
	t.Run("beside a checkpoint", func(t *testing.T) {
		must(t, os.WriteFile(h.config, []byte(strings.Replace(plainConfig, "data_dir: data", "data_dir: data2", 1)), 0o600))
		must(t, os.Remove(filepath.Join(h.keys, "root.key")))
		h.initFails(t, exitConflict, "root.key.checkpoint belongs to another cluster")
		h.holds(t, "server.yaml", "data", "keys")
	})
}

// TestInitFails wants an init that fails to leave nothing, and the next one to
// work.
func TestInitFails(t *testing.T) {
	t.Run("data below a file", func(t *testing.T) {
		h := newFolder(t, strings.Replace(plainConfig, "data_dir: data", "data_dir: file/data", 1))
		must(t, os.WriteFile(filepath.Join(h.dir, "file"), nil, 0o600))
		h.initFails(t, exitFailure, "data_dir", "not a directory")
		h.holds(t, "server.yaml", "file")
	})
	t.Run("key below a file", func(t *testing.T) {
		h := newFolder(t, strings.Replace(plainConfig, "keys/root.key", "file/root.key", 1))
		must(t, os.WriteFile(filepath.Join(h.dir, "file"), nil, 0o600))
		h.initFails(t, exitFailure, "key_file", "not a directory")
		h.holds(t, "server.yaml", "file")
	})
	t.Run("data not writable", func(t *testing.T) {
		h := asNobody(t, newFolder(t, plainConfig))
		must(t, os.Mkdir(h.data, 0o500))
		must(t, os.Chown(h.data, h.uid, h.uid))
		h.initFails(t, exitFailure, "data_dir", "permission denied")
		h.holds(t, "server.yaml", "data")
		must(t, os.Chmod(h.data, 0o700))
		h.init()
		h.start().stop()
	})
	for _, size := range []string{"16k", "64k", "256k", "9m", "10m", "18m"} {
		t.Run("disk of "+size, func(t *testing.T) {
			t.Parallel()
			h := newFolder(t, plainConfig)
			must(t, os.Mkdir(h.data, 0o700))
			mountSmall(t, h.data, size)
			if code, _, stderr := h.run("cluster", "init", "--config", h.config); code == 0 {
				t.Logf("it was enough")
				return
			} else if code != exitUnavailable {
				t.Errorf("exit %d: %s", code, stderr)
			}
			h.holds(t, "server.yaml", "data")
			if left := readTree(t, h.data); len(left) > 0 {
				t.Errorf("init left %d files", len(left))
			}
			must(t, syscall.Unmount(h.data, 0))
			h.init()
			h.start().stop()
		})
	}
	t.Run("token not shown", func(t *testing.T) {
		h := newFolder(t, plainConfig)
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip(err)
		}
		defer full.Close()
		cmd := h.command("cluster", "init", "--config", h.config)
		cmd.Stdout = full
		said := &logBuffer{}
		cmd.Stderr = said
		if err := cmd.Run(); err == nil || !strings.Contains(said.String(), "hint: heroctl cluster admin-token") {
			t.Errorf("init whose stdout is full: %v: %s", err, said)
		}
		code, token, stderr := h.run("cluster", "admin-token", "--config", h.config)
		if code != 0 {
			t.Fatalf("admin-token: exit %d: %s", code, stderr)
		}
		put(t, h.start().client(strings.TrimSpace(token)), "a", "b")
	})
}

// TestInitKilled kills init at random times. What is left either starts or is
// refused in words, and init never overwrites it.
func TestInitKilled(t *testing.T) {
	began := time.Now()
	newHost(t)
	span := time.Since(began)
	started := 0
	const rounds = 8
	for i := range rounds {
		h := newFolder(t, plainConfig)
		cmd := h.command("cluster", "init", "--config", h.config)
		must(t, cmd.Start())
		time.Sleep(span * time.Duration(i+1) / rounds)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if s, err := h.tryStart(); err == nil {
			started++
			s.stop()
		} else if strings.Contains(err.Error(), "goroutine") || !strings.Contains(err.Error(), "heroctl: ") {
			t.Errorf("a server after init was killed: %v", err)
		}
		if entries, _ := os.ReadDir(h.data); len(entries) > 0 {
			h.initFails(t, exitConflict)
		} else if len(readTree(t, h.dir)) == 1 {
			h.init()
		}
		must(t, os.RemoveAll(h.data))
		must(t, os.RemoveAll(h.keys))
		h.init()
	}
	t.Logf("%d of %d started", started, rounds)
}
