package crypto_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema/fault"
)

// keyFile writes a key file in a folder of its own and returns its path.
func keyFile(t *testing.T) (string, crypto.RootKey) {
	t.Helper()
	root := newRoot(t)
	path := filepath.Join(t.TempDir(), "root.key")
	if err := crypto.WriteKeyFile(path, root); err != nil {
		t.Fatal(err)
	}
	return path, root
}

func TestKeyFile(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	for _, umask := range []int{0, 0o022, 0o777} {
		syscall.Umask(0o022)
		path := filepath.Join(t.TempDir(), "root.key")
		syscall.Umask(umask)
		root := newRoot(t)
		if err := crypto.WriteKeyFile(path, root); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("umask %04o: mode %v, %v; want 0600", umask, info.Mode(), err)
		}
		again, err := crypto.ReadKeyFile(path)
		if err != nil || again.ID() != root.ID() {
			t.Fatalf("umask %04o: read key %s, %v; want %s", umask, again.ID(), err, root.ID())
		}
		k := newKeyring(t, "c")
		if _, err := crypto.OpenKeyring(again, "c", marshal(t, k, root)); err != nil {
			t.Errorf("the key read does not open what the key written sealed: %v", err)
		}
	}
}

func TestKeyFileForm(t *testing.T) {
	path, root := keyFile(t)
	line, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Split(string(line), " ")
	if len(fields) != 4 || fields[0] != "HEROKEY1" || fields[1] != root.ID() || len(fields[2]) != 44 || len(fields[3]) != 9 {
		t.Errorf("the fields of the key file have lengths %d", len(fields))
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := crypto.ReadKeyFile(path); err != nil {
		t.Errorf("a read-only key file: %v", err)
	}
}

func TestKeyFileIsNeverOverwritten(t *testing.T) {
	path, root := keyFile(t)
	if err := crypto.WriteKeyFile(path, newRoot(t)); !errors.Is(err, fault.Conflict) {
		t.Errorf("over a key file: %v, want %s", err, fault.Conflict)
	}
	if again, err := crypto.ReadKeyFile(path); err != nil || again.ID() != root.ID() {
		t.Errorf("the key file was changed: %v", err)
	}
	link := filepath.Join(filepath.Dir(path), "link")
	if err := os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	if err := crypto.WriteKeyFile(link, root); !errors.Is(err, fault.Conflict) {
		t.Errorf("through a symbolic link: %v, want %s", err, fault.Conflict)
	}
	if err := crypto.WriteKeyFile(filepath.Join(t.TempDir(), "none", "k"), root); !errors.Is(err, fault.NotFound) {
		t.Errorf("in a folder that is not there: %v, want %s", err, fault.NotFound)
	}
	if err := crypto.WriteKeyFile(filepath.Join(t.TempDir(), "k"), crypto.RootKey{}); !errors.Is(err, fault.Sealed) {
		t.Errorf("without a key: %v, want %s", err, fault.Sealed)
	}
}

// TestRefusedKeyFiles names for each spoiled key file the words the operator must
// read.
func TestRefusedKeyFiles(t *testing.T) {
	chmod := func(mode os.FileMode) func(*testing.T, string) string {
		return func(t *testing.T, path string) string { return do(t, path, os.Chmod(path, mode)) }
	}
	for _, row := range []struct {
		name  string
		spoil func(t *testing.T, path string) string // returns the path to read
		kind  fault.Kind
		words string
	}{
		{"mode 0644", chmod(0o644), fault.Sealed, "chmod 600"},
		{"mode 0640", chmod(0o640), fault.Sealed, "mode 0640"},
		{"mode 0602", chmod(0o602), fault.Sealed, "chmod 600"},
		{"mode 0700", chmod(0o700), fault.Sealed, "chmod 600"},
		{"set-uid", chmod(0o600 | os.ModeSetuid), fault.Sealed, "chmod 600"},
		{"symbolic link", func(t *testing.T, path string) string {
			return do(t, path+".link", os.Symlink(path, path+".link"))
		}, fault.Sealed, "symbolic link"},
		{"hard link", func(t *testing.T, path string) string {
			return do(t, path, os.Link(path, path+".link"))
		}, fault.Sealed, "2 hard links"},
		{"named pipe", func(t *testing.T, path string) string {
			return do(t, path+".pipe", syscall.Mkfifo(path+".pipe", 0o600))
		}, fault.Sealed, "named pipe"},
		{"folder", func(t *testing.T, path string) string {
			return do(t, path+".dir", os.Mkdir(path+".dir", 0o700))
		}, fault.Sealed, "a folder"},
		{"device", func(*testing.T, string) string { return "/dev/null" }, fault.Sealed, "a device"},
		{"world-writable folder", func(t *testing.T, path string) string {
			return do(t, path, os.Chmod(filepath.Dir(path), 0o777))
		}, fault.Sealed, "chmod o-w"},
		{"none", func(t *testing.T, path string) string { return do(t, path, os.Remove(path)) }, fault.NotFound, "no key file"},
		{"no folder", func(_ *testing.T, path string) string { return path + "/x/y" }, "", "folder"},
		{"empty", rewrite(func([]byte) []byte { return nil }), fault.Sealed, "HEROKEY1 ID KEY CHECKSUM"},
		{"trailing garbage", rewrite(func(b []byte) []byte { return append(b, 'x') }), fault.Sealed, "checksum"},
		{"second line", rewrite(func(b []byte) []byte { return append(b, b...) }), fault.Sealed, ""},
		{"second line feed", rewrite(func(b []byte) []byte { return append(b, '\n') }), fault.Sealed, "checksum"},
		{"carriage return", rewrite(func(b []byte) []byte { return append(b[:len(b)-1], "\r\n"...) }), fault.Sealed, "checksum"},
		{"very long", rewrite(func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) }), fault.Sealed, "more than one line"},
		{"next version", rewrite(func(b []byte) []byte { b[7] = '2'; return b }), fault.Sealed, "HEROKEY1"},
		{"wrong checksum", rewrite(func(b []byte) []byte { b[len(b)-2] ^= 1; return b }), fault.Sealed, "checksum"},
		{"altered key", rewrite(func(b []byte) []byte { b[30] ^= 1; return b }), fault.Sealed, "checksum"},
		{"wrong id", resum(func(f []string) { f[1] = "0123456789abcdef" }), fault.Sealed, "the id"},
		{"short key", resum(func(f []string) { f[2] = "AAAA" }), fault.Sealed, "malformed"},
		{"key not in base64", resum(func(f []string) { f[2] = strings.Repeat("!", 44) }), fault.Sealed, "malformed"},
		{"line feed in the key", resum(func(f []string) { f[2] = f[2][:4] + "\n" + f[2][4:] }), fault.Sealed, "malformed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path, _ := keyFile(t)
			secret, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			path = row.spoil(t, path)
			_, err = crypto.ReadKeyFile(path)
			if err == nil || row.kind != "" && !errors.Is(err, row.kind) || !strings.Contains(fault.Detail(err), row.words) {
				t.Fatalf("ReadKeyFile: %v, want %s with %q", err, row.kind, row.words)
			}
			if !strings.HasPrefix(err.Error(), "key file "+path) {
				t.Errorf("the error %q does not name the file", err)
			}
			if key := strings.Split(string(secret), " ")[2]; strings.Contains(err.Error(), key[4:]) {
				t.Error("the error shows the key")
			}
		})
	}
}

func do(t *testing.T, path string, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func rewrite(change func([]byte) []byte) func(*testing.T, string) string {
	return func(t *testing.T, path string) string {
		line, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return do(t, path, os.WriteFile(path, change(line), 0o600))
	}
}

// resum changes the fields and makes the checksum right again.
func resum(change func(fields []string)) func(*testing.T, string) string {
	return rewrite(func(line []byte) []byte {
		fields := strings.Split(strings.TrimSuffix(string(line), "\n"), " ")[:3]
		change(fields)
		body := strings.Join(fields, " ")
		sum := sha256.Sum256([]byte(body))
		return []byte(body + " " + hex.EncodeToString(sum[:4]) + "\n")
	})
}

func TestKeyFileInStickyFolder(t *testing.T) {
	path, _ := keyFile(t)
	if err := os.Chmod(filepath.Dir(path), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if _, err := crypto.ReadKeyFile(path); err != nil {
		t.Errorf("in a sticky folder: %v", err)
	}
}

// TestKeyFileOwner needs root to give a file away.
func TestKeyFileOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path, _ := keyFile(t)
	if err := os.Chown(path, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := crypto.ReadKeyFile(path); !errors.Is(err, fault.Sealed) || !strings.Contains(fault.Detail(err), "belongs to uid 12345") {
		t.Errorf("a file of another user: %v, want %s that says so", err, fault.Sealed)
	}
}

// FuzzKeyFile decodes arbitrary key files: only the exact form is accepted.
func FuzzKeyFile(f *testing.F) {
	const good = "HEROKEY1 3bb9e6d7bd3c6b09 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= 00000000\n"
	f.Add([]byte(good))
	f.Add([]byte("HEROKEY1 a b c"))
	f.Add([]byte("HEROKEY1    \n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		k, err := crypto.DecodeKeyFile(line)
		if err != nil {
			if !errors.Is(err, fault.Sealed) {
				t.Errorf("%v, want %s", err, fault.Sealed)
			}
			return
		}
		if want := append(bytes.TrimSuffix(line, []byte("\n")), '\n'); !bytes.Equal(crypto.EncodeKeyFile(k), want) {
			t.Error("accepted a form that is not written")
		}
	})
}
