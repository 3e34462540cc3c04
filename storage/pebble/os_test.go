package pebble_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.uber.org/goleak"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/pebble"
	"github.com/heroctl/heroctl/storage/storagetest"
)

// TestModes opens, writes through flushes and opens again under a umask that
// hides nothing.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o777); err != nil { // made by someone careless
		t.Fatal(err)
	}
	files := 0
	for range 3 {
		s := open(t, pebble.Config{Dir: dir, Memory: 64 << 10})
		for i := range 300 {
			storagetest.NewKit(t, s).Put(fmt.Sprint(i), strings.Repeat("x", 1000))
		}
		files += checkModes(t, dir)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		files += checkModes(t, dir)
	}
	if files < 30 {
		t.Errorf("only %d files seen", files)
	}
}

func checkModes(t *testing.T, dir string) (files int) {
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed by a compaction
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %04o, want %04o; %v", name, info.Mode().Perm(), want, err)
		}
		files++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestLockedBySelf(t *testing.T) {
	dir := t.TempDir()
	s := open(t, pebble.Config{Dir: dir})
	expectInUse(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, pebble.Config{Dir: dir}).Close(); err != nil {
		t.Fatal(err)
	}
}

// lockHelper, in the environment, makes this test binary hold a store open.
const lockHelper = "HEROCTL_TEST_LOCK"

func TestMain(m *testing.M) {
	if dir := os.Getenv(lockHelper); dir != "" {
		if _, err := pebble.Open(pebble.Config{Dir: dir}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("locked")
		time.Sleep(time.Minute)
	}
	os.Exit(m.Run())
}

func TestLockedByAnother(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lockHelper+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line := make([]byte, len("locked"))
	if _, err := out.Read(line); err != nil || string(line) != "locked" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	expectInUse(t, dir)
}

func expectInUse(t *testing.T, dir string) {
	t.Helper()
	_, err := pebble.Open(pebble.Config{Dir: dir, Logger: quiet()})
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Detail(err), "in use by another server") {
		t.Errorf("Open of a store in use: %v, want %s that says so", err, fault.Unavailable)
	}
}

func TestCannotCreate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := pebble.Open(pebble.Config{Dir: filepath.Join(file, "data"), Logger: quiet()})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Open below a file: %v, want %s", err, fault.Unavailable)
	}
}

// TestNearlyFull refuses commits below the reserve, goes on reading, and takes
// commits again by itself.
func TestNearlyFull(t *testing.T) {
	disk := &smallDisk{FS: vfs.NewMem(), avail: 1 << 30}
	s := open(t, pebble.Config{Dir: "data", FS: disk})
	kit := storagetest.NewKit(t, s)
	defer kit.Close()
	rev := kit.Put("a", "1")
	one := storage.Batch{Put: []storage.Put{{Key: []byte("a"), Value: []byte("2")}}}
	for _, avail := range []uint64{0, 64<<20 - 1, 64 << 20} {
		disk.avail = avail
		kit.Refused(one, fault.Unavailable)
		kit.Has("a", "1", rev)
	}
	disk.avail = 64<<20 + 1<<10
	kit.Put("a", "2")
	big := storage.Batch{Put: []storage.Put{{Key: []byte("b"), Value: make([]byte, 1<<20)}}}
	kit.Refused(big, fault.Unavailable)
}

// smallDisk is a file system that tells how much is free.
type smallDisk struct {
	vfs.FS
	avail uint64 // set while no commit is under way
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.avail, TotalBytes: 1 << 40}, nil
}

// TestHungDisk gives a caller with a deadline an answer when a sync does not
// return, and lets readers go on.
func TestHungDisk(t *testing.T) {
	hang := make(chan struct{})
	var stuck errorfs.Toggle
	stuck.Injector = errorfs.InjectorFunc(func(op errorfs.Op) error {
		if strings.HasSuffix(op.Path, ".log") && op.Kind >= errorfs.OpFileSync && op.Kind <= errorfs.OpFileSyncTo {
			<-hang
		}
		return nil
	})
	c := pebble.Config{Dir: "data", FS: errorfs.Wrap(vfs.NewMem(), &stuck), Logger: quiet()}.Deadly(func() {}, 50*time.Millisecond)
	s, err := pebble.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	kit := storagetest.NewKit(t, s)
	rev := kit.Put("a", "1")
	stuck.On()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, name := range []string{"written", "queued"} {
		_, err := s.Commit(ctx, storage.Batch{Put: []storage.Put{{Key: []byte("a"), Value: []byte("2")}}})
		if fault.KindOf(err) != fault.Timeout {
			t.Errorf("Commit, %s: %v, want %s", name, err, fault.Timeout)
		}
		kit.Has("a", "1", rev) // nothing that is not synced is seen
	}
	if err := s.Close(); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Close: %v, want %s", err, fault.Unavailable)
	}
	close(hang)
}

// TestSyncFailure ends the process when the log cannot be synced, says why, and
// answers nobody.
func TestSyncFailure(t *testing.T) {
	var broken errorfs.Toggle
	broken.Injector = errorfs.InjectorFunc(func(op errorfs.Op) error {
		if strings.HasSuffix(op.Path, ".log") && op.Kind >= errorfs.OpFileSync && op.Kind <= errorfs.OpFileSyncTo {
			return errorfs.ErrInjected
		}
		return nil
	})
	var log bytes.Buffer
	died := make(chan struct{})
	s, err := pebble.Open(pebble.Config{Dir: "data", FS: errorfs.Wrap(vfs.NewMem(), &broken),
		Logger: slog.New(slog.NewTextHandler(&log, nil))}.Deadly(func() { close(died) }, time.Second))
	if err != nil {
		t.Fatal(err)
	}
	kit := storagetest.NewKit(t, s)
	rev := kit.Put("a", "1")
	broken.On()
	answered := make(chan error, 1)
	go func() {
		_, err := s.Commit(context.Background(), storage.Batch{Put: []storage.Put{{Key: []byte("a"), Value: []byte("2")}}})
		answered <- err
	}()
	select {
	case <-died:
	case err := <-answered:
		t.Fatalf("Commit answered %v, want the end of the process", err)
	}
	kit.Has("a", "1", rev)
	if !strings.Contains(log.String(), "the store cannot go on") {
		t.Errorf("the log says %q", log.String())
	}
	select {
	case err := <-answered:
		t.Errorf("Commit answered %v after the process was to end", err)
	case <-time.After(20 * time.Millisecond):
	}
}

func TestNewerFormat(t *testing.T) {
	fs := vfs.NewMem()
	open(t, pebble.Config{Dir: "data", FS: fs}).Close()
	names, err := fs.List("data")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, name := range names {
		if prefix := "marker.format-version."; strings.HasPrefix(name, prefix) {
			found = true
			if err := fs.Rename("data/"+name, "data/"+prefix+"000099.999"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !found {
		t.Fatalf("no format marker among %q", names)
	}
	_, err = pebble.Open(pebble.Config{Dir: "data", FS: fs, Logger: quiet()})
	if fault.KindOf(err) != fault.FailedCheck || !strings.Contains(fault.Detail(err), "newer release") {
		t.Errorf("Open of a newer store: %v, want %s that says so", err, fault.FailedCheck)
	}
}

// TestNoGoroutineLeft opens, uses and closes.
func TestNoGoroutineLeft(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := open(t, pebble.Config{Dir: t.TempDir()})
	kit := storagetest.NewKit(t, s)
	kit.Put("a", "1")
	if _, err := s.Watch(context.Background(), nil, 0); err != nil {
		t.Fatal(err)
	}
	kit.Close()
	goleak.VerifyNone(t, before)
}

// TestLogIsQuiet logs nothing above debug level in normal work.
func TestLogIsQuiet(t *testing.T) {
	var log bytes.Buffer
	dir := t.TempDir()
	for range 2 {
		s := open(t, pebble.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil)), Memory: 64 << 10})
		for i := range 300 {
			storagetest.NewKit(t, s).Put(fmt.Sprint(i), strings.Repeat("x", 1000))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if log.Len() > 0 {
		t.Errorf("the log says %q, want nothing", log.String())
	}
}
