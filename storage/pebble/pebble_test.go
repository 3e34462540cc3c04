package pebble_test

import (
	"io"
	"log/slog"
	"testing"

	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/pebble"
	"github.com/heroctl/heroctl/storage/storagetest"
)

// quiet drops the log.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func open(t testing.TB, c pebble.Config) *pebble.Store {
	t.Helper()
	if c.Logger == nil {
		c.Logger = quiet()
	}
	s, err := pebble.Open(c)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func TestContract(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.KV { return open(t, pebble.Config{Dir: t.TempDir()}) })
}

// TestCompare keeps little in memory, so that flushes and compactions happen on
// the way.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	storagetest.Compare(t, 5000, func(t *testing.T) storage.KV {
		return open(t, pebble.Config{Dir: dir, Memory: 64 << 10, Cache: 64 << 10})
	})
}
