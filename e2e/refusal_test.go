package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/gateway/client"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/pebble"
)

// Exit codes of the program.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 6
	exitConflict    = 7
	exitUnavailable = 8
)

func put(t testing.TB, c *client.Client, path, value string) {
	t.Helper()
	_, err := c.Secrets().CreateSecret(context.Background(), &v1.CreateSecretRequest{Path: path, Secret: &v1.NewSecret{Value: []byte(value)}})
	must(t, err)
}

func get(c *client.Client, path string) (string, error) {
	got, err := c.Secrets().GetSecret(context.Background(), &v1.GetSecretRequest{Path: path})
	return string(got.GetValue()), err
}

// refused wants the server not to start, with the exit code and a message that
// holds every one of the words.
func (h *host) refused(t *testing.T, code int, words ...string) {
	t.Helper()
	s, err := h.tryStart()
	if err == nil {
		s.kill()
		t.Fatalf("the server started; want a refusal that says %q", words)
	}
	if !strings.Contains(err.Error(), fmt.Sprintf("exit code %d:", code)) {
		t.Errorf("want exit code %d: %v", code, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the message lacks %q: %v", word, err)
		}
	}
	if strings.Contains(err.Error(), "goroutine ") {
		t.Errorf("the server panicked: %v", err)
	}
}

// written returns a stopped host that holds ten secrets, and a copy of its data as
// it was when it held five.
func written(t *testing.T) (h *host, old string) {
	h = newHost(t)
	old = filepath.Join(h.dir, "old")
	for round := range 2 {
		s := h.start()
		c := s.client(h.admin)
		for i := range 5 {
			put(t, c, fmt.Sprintf("a/%d/%d", round, i), fmt.Sprintf("value %d %d", round, i))
		}
		s.stop()
		if round == 0 {
			copyTree(t, h.data, old)
		}
	}
	return h, old
}

// TestRefusals changes the files of a stopped server, each time in one way that
// must not go unnoticed.
func TestRefusals(t *testing.T) {
	base, old := written(t)
	replace := func(t *testing.T, h *host, part string) {
		must(t, os.RemoveAll(filepath.Join(h.data, part)))
		copyTree(t, filepath.Join(old, part), filepath.Join(h.data, part))
	}
	key := func(h *host) string { return filepath.Join(h.keys, "root.key") }
	for _, c := range []struct {
		name   string
		change func(*testing.T, *host)
		code   int
		words  []string
	}{
		{"old copy of everything", func(t *testing.T, h *host) { replace(t, h, "") }, exitFailure, []string{"lost or were rolled back", "root.key.checkpoint"}},
		{"old copy of the store", func(t *testing.T, h *host) { replace(t, h, "store") }, exitFailure, []string{"an old copy was put back"}},
		{"old copy of the trail", func(t *testing.T, h *host) { replace(t, h, "trail") }, exitFailure, []string{"lost or were rolled back"}},
		{"no trail", func(t *testing.T, h *host) { must(t, os.RemoveAll(filepath.Join(h.data, "trail"))) }, exitFailure, []string{"the audit trail is lost"}},
		{"no store", func(t *testing.T, h *host) { must(t, os.RemoveAll(filepath.Join(h.data, "store"))) }, exitNotFound, []string{"there is no cluster", "cluster init"}},
		{"no data", func(t *testing.T, h *host) { must(t, os.RemoveAll(h.data)) }, exitNotFound, []string{"there is no cluster", "cluster init"}},
		{"empty store", func(t *testing.T, h *host) { emptyFolder(t, filepath.Join(h.data, "store")) }, exitNotFound, []string{"not initialised"}},
		{"trail cut", func(t *testing.T, h *host) { cut(t, filepath.Join(h.data, "trail"), ".seg", 600) }, exitFailure, []string{"trail"}},
		{"trail cut at the header", func(t *testing.T, h *host) { cut(t, filepath.Join(h.data, "trail"), ".seg", 1<<30) }, exitFailure, []string{"trail"}},
		{"no checkpoint", func(t *testing.T, h *host) { must(t, os.Remove(key(h)+".checkpoint")) }, exitFailure, []string{"checkpoint file is missing", "root.key.checkpoint"}},
		{"empty checkpoint", func(t *testing.T, h *host) { must(t, os.Truncate(key(h)+".checkpoint", 0)) }, exitFailure, []string{"checkpoint"}},
		{"another cluster's checkpoint", func(t *testing.T, h *host) { copyFile(t, key(newHost(t))+".checkpoint", key(h)+".checkpoint") }, exitFailure, []string{"checkpoint file is of another cluster"}},
		{"another cluster's key", func(t *testing.T, h *host) { copyFile(t, key(newHost(t)), key(h)) }, exitUnavailable, []string{"root key"}},
		{"no key", func(t *testing.T, h *host) { must(t, os.Remove(key(h))) }, exitNotFound, []string{"there is no key file", "restore it"}},
		{"damaged key", func(t *testing.T, h *host) { must(t, os.Truncate(key(h), 40)) }, exitUnavailable, []string{"key_file", "restore it from its copy"}},
		{"key of mode 0644", func(t *testing.T, h *host) { must(t, os.Chmod(key(h), 0o644)) }, exitUnavailable, []string{"mode 0644", "chmod 600", key(base)[len(base.dir):]}},
		{"key of mode 0640", func(t *testing.T, h *host) { must(t, os.Chmod(key(h), 0o640)) }, exitUnavailable, []string{"mode 0640", "chmod 600"}},
		{"key is a link", func(t *testing.T, h *host) {
			must(t, os.Rename(key(h), key(h)+".real"))
			must(t, os.Symlink(key(h)+".real", key(h)))
		}, exitUnavailable, []string{"symbolic link"}},
		{"key has two names", func(t *testing.T, h *host) { must(t, os.Link(key(h), key(h)+".other")) }, exitUnavailable, []string{"2 hard links"}},
		{"key is a pipe", func(t *testing.T, h *host) {
			must(t, os.Remove(key(h)))
			must(t, syscall.Mkfifo(key(h), 0o600))
		}, exitUnavailable, []string{"named pipe"}},
		{"key is a folder", func(t *testing.T, h *host) {
			must(t, os.Remove(key(h)))
			must(t, os.Mkdir(key(h), 0o700))
		}, exitUnavailable, []string{"a folder"}},
		{"key in a folder open to all", func(t *testing.T, h *host) { must(t, os.Chmod(h.keys, 0o777)) }, exitUnavailable, []string{"anyone may exchange the file"}},
		{"data folder open to others", func(t *testing.T, h *host) { must(t, os.Chmod(h.data, 0o755)) }, exitConflict, []string{"mode 0755", "chmod 0700"}},
		{"data is a file", func(t *testing.T, h *host) {
			must(t, os.RemoveAll(h.data))
			must(t, os.WriteFile(h.data, nil, 0o600))
		}, exitConflict, []string{"not a folder"}},
		{"key inside the data", func(t *testing.T, h *host) {
			must(t, os.Rename(key(h), filepath.Join(h.data, "root.key")))
			must(t, os.WriteFile(h.config, []byte(strings.Replace(plainConfig, "keys/root.key", "data/root.key", 1)), 0o600))
		}, exitUsage, []string{"key_file lies inside data_dir", "move it out"}},
		{"key inside the data by a link", func(t *testing.T, h *host) {
			must(t, os.Rename(h.keys, filepath.Join(h.data, "keys")))
			must(t, os.Symlink(filepath.Join(h.data, "keys"), h.keys))
		}, exitUsage, []string{"key_file lies inside data_dir"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := base.clone(t)
			c.change(t, h)
			h.refused(t, c.code, c.words...)
		})
	}
	t.Run("nothing changed", func(t *testing.T) {
		t.Parallel()
		s := base.clone(t).start()
		if got, err := get(s.client(base.admin), "a/1/4"); err != nil || got != "value 1 4" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// TestLostCommits cuts the store's log of a killed server, so that changes it
// acknowledged are gone, by one byte and by many.
func TestLostCommits(t *testing.T) {
	base := newHost(t)
	s := base.start()
	c := s.client(base.admin)
	for i := range 20 {
		put(t, c, fmt.Sprintf("a/%d", i), "value")
	}
	s.kill()
	for _, bytes := range []int64{1, 700, 5000} {
		t.Run(fmt.Sprint(bytes), func(t *testing.T) {
			h := base.clone(t)
			cut(t, filepath.Join(h.data, "store"), ".log", bytes)
			h.refused(t, exitFailure, "changes are lost", "restore a backup")
		})
	}
}

// TestAcceptMissingCheckpoint starts without the checkpoint file when told so, and
// is protected again afterwards.
func TestAcceptMissingCheckpoint(t *testing.T) {
	h, old := written(t)
	must(t, os.Remove(filepath.Join(h.keys, "root.key.checkpoint")))
	s := h.start("--accept-missing-checkpoint")
	if got, err := get(s.client(h.admin), "a/1/4"); err != nil || got != "value 1 4" {
		t.Errorf("got %q, %v", got, err)
	}
	s.stop()
	must(t, os.RemoveAll(h.data))
	copyTree(t, old, h.data)
	h.refused(t, exitFailure, "lost or were rolled back")
}

func TestSecondServer(t *testing.T) {
	h := newHost(t)
	s := h.start()
	h.refused(t, exitUnavailable, "in use by another server", "stop it first")
	if code, _, stderr := h.run("cluster", "admin-token", "--config", h.config); code != exitUnavailable || !strings.Contains(stderr, "in use by another server") {
		t.Errorf("admin-token beside a server: exit %d: %s", code, stderr)
	}
	put(t, s.client(h.admin), "a", "the first server goes on")
	s.stop()
	h.start().stop()
}

// TestNewerFormat has a store of a later release. No record may change.
func TestNewerFormat(t *testing.T) {
	h, _ := written(t)
	change := func(key, value []byte) {
		kv, err := pebble.Open(pebble.Config{Dir: filepath.Join(h.data, "store")})
		must(t, err)
		_, err = kv.Commit(context.Background(), storage.Batch{Put: []storage.Put{{Key: key, Value: value}}})
		must(t, err)
		must(t, kv.Close())
	}
	key, format := formatRecord(t, h)
	change(key, []byte(strings.Replace(format, " 1 ", " 2 ", 1)))
	before, trail, index := records(t, h), readTree(t, filepath.Join(h.data, "trail")), readTree(t, filepath.Join(h.data, "index"))
	h.refused(t, exitFailure, "format 2", "use the newer heroctl")
	if diff := cmp.Diff(before, records(t, h)); diff != "" {
		t.Errorf("the store was written:\n%s", diff)
	}
	if !maps.EqualFunc(trail, readTree(t, filepath.Join(h.data, "trail")), slices.Equal) ||
		!maps.EqualFunc(index, readTree(t, filepath.Join(h.data, "index")), slices.Equal) {
		t.Error("the trail or its index was written")
	}
	change(key, []byte(format))
	h.start().stop()
}

func formatRecord(t *testing.T, h *host) (key []byte, value string) {
	for k, v := range records(t, h) {
		if strings.HasPrefix(v, "heroctl store ") {
			return []byte(k), v
		}
	}
	t.Fatal("there is no format record")
	return nil, ""
}

// records returns what the store holds, by key.
func records(t *testing.T, h *host) map[string]string {
	t.Helper()
	kv, err := pebble.Open(pebble.Config{Dir: filepath.Join(h.data, "store")})
	must(t, err)
	defer func() { must(t, kv.Close()) }()
	items, err := kv.Scan(context.Background(), nil, nil, 1<<20)
	must(t, err)
	all := map[string]string{}
	for _, i := range items {
		all[string(i.Key)] = string(i.Value)
	}
	if len(all) == 0 {
		t.Fatal("the store is empty")
	}
	return all
}

// cut takes bytes off the end of the newest file with the suffix that has any.
func cut(t *testing.T, dir, suffix string, bytes int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	must(t, err)
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		info, err := os.Stat(name)
		must(t, err)
		if info.Size() > 0 {
			must(t, os.Truncate(name, max(0, info.Size()-bytes)))
			return
		}
	}
	t.Fatalf("there is no %s in %s", suffix, dir)
}

func emptyFolder(t *testing.T, dir string) {
	t.Helper()
	must(t, os.RemoveAll(dir))
	must(t, os.Mkdir(dir, 0o700))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, text, 0o600))
}
