package pebble

import (
	"log/slog"
	"os"
	"time"

	pdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Config says where the store is and how much it may use. Only Dir is needed.
type Config struct {
	Dir     string       // created with mode 0700 if absent
	FS      vfs.FS       // nil: the operating system's, with files of mode 0600
	Logger  *slog.Logger // nil: slog.Default()
	Cache   int64        // bytes of blocks kept in memory; 0: 8 MiB
	Memory  uint64       // bytes of recent writes kept in memory; 0: 8 MiB
	History int          // changes kept for Watch; 0: 100,000

	// Reserve is the free space in bytes below which commits are refused: a full
	// disk makes Pebble hang. 0: 64 MiB, or a quarter of a disk smaller than
	// 256 MiB. It is not checked on a file system that does not tell.
	Reserve uint64

	exit  func(code int) // nil: os.Exit; only tests set it
	grace time.Duration  // 0: 5 s; only tests set it
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = privateFS{vfs.Default}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Cache == 0 {
		c.Cache = 8 << 20
	}
	if c.Memory == 0 {
		c.Memory = 8 << 20
	}
	if c.History == 0 {
		c.History = 100_000
	}
	if c.exit == nil {
		c.exit = os.Exit
	}
	if c.grace == 0 {
		c.grace = 5 * time.Second
	}
	return c
}

// options returns Pebble's options. The caller releases the cache.
func (c Config) options(log logger, lock *pdb.Lock, compactions *scheduler) *pdb.Options {
	o := &pdb.Options{
		Cache:              pdb.NewCache(c.Cache),
		EventListener:      log.events(),
		FS:                 manifestFS{fatalFS{c.FS, log}},
		FormatMajorVersion: pdb.FormatValueSeparation,
		Lock:               lock,
		Logger:             log,
		MaxOpenFiles:       256,
		MemTableSize:       c.Memory,
	}
	o.Experimental.CompactionScheduler = compactions
	for i := range o.Levels {
		// Sealed values do not compress.
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}
