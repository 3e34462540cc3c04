package e2e_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/pebble"
)

// offline is a host's files, opened without a server.
type offline struct {
	kv    *pebble.Store
	store *storage.Store
	trail *audit.Trail
}

func openOffline(t *testing.T, h *host) *offline {
	t.Helper()
	ctx := context.Background()
	root, err := crypto.ReadKeyFile(filepath.Join(h.keys, "root.key"))
	must(t, err)
	f := &offline{}
	f.kv, err = pebble.Open(pebble.Config{Dir: filepath.Join(h.data, "store")})
	must(t, err)
	f.store, err = storage.Open(ctx, f.kv, root)
	must(t, err)
	f.trail, err = audit.Open(ctx, audit.Config{
		Dir: filepath.Join(h.data, "trail"), Keys: f.store.Keys(), Node: "offline", Checkpoint: filepath.Join(h.keys, "root.key.checkpoint"),
	})
	must(t, err)
	t.Cleanup(func() {
		must(t, f.trail.Close())
		f.store.Close()
		must(t, f.kv.Close())
	})
	return f
}

// verifyOffline verifies the whole trail of a host whose server was killed.
func verifyOffline(t *testing.T, h *host) {
	t.Helper()
	f := openOffline(t, h)
	report, err := f.trail.Verify(context.Background())
	must(t, err)
	if !report.Integrity.OK || !report.Completeness.OK {
		t.Errorf("the trail does not verify: %+v", report)
	}
	revision, err := f.store.Revision(context.Background())
	must(t, err)
	if revision < f.trail.LastRevision() {
		t.Errorf("the store is at revision %d, the trail at %d", revision, f.trail.LastRevision())
	}
	t.Logf("trail: %d records in %d segments verified; store at revision %d", report.Records, report.Segments, revision)
}

// findCanaries searches every file of the data and key folders for what must not
// be readable there. The search is tried on a planted file first.
func findCanaries(t *testing.T, h *host, l *loop) {
	t.Helper()
	canaries := []string{valueCanary, nameCanary, userCanary, policyCanary, "secret:update", "kill/"}
	for _, w := range l.writers {
		canaries = append(canaries, w.token, w.token[5:30])
		for _, tok := range w.tokens {
			if tok.state.note != "" {
				canaries = append(canaries, tok.state.note)
			}
		}
	}
	planted := filepath.Join(h.data, "store", "planted")
	must(t, os.WriteFile(planted, []byte("..."+valueCanary+"..."), 0o600))
	if hits := search(t, h, canaries); len(hits) != 1 {
		t.Errorf("with one canary planted the search found %q", hits)
	}
	must(t, os.Remove(planted))
	if hits := search(t, h, canaries); len(hits) > 0 {
		t.Errorf("readable on the disk: %q", hits)
	}
	files, size := 0, 0
	for _, text := range readTree(t, h.data) {
		files, size = files+1, size+len(text)
	}
	t.Logf("searched %d files, %d KiB, for %d canaries", files, size>>10, len(canaries))
}

func search(t *testing.T, h *host, canaries []string) []string {
	var hits []string
	for _, dir := range []string{h.data, h.keys} {
		for name, text := range readTree(t, dir) {
			for _, c := range canaries {
				if bytes.Contains(text, []byte(c)) {
					hits = append(hits, name+": "+c)
				}
			}
		}
	}
	return hits
}
