package pebble

import (
	"context"
	"fmt"
	"log/slog"

	pdb "github.com/cockroachdb/pebble/v2"
)

// logger takes what Pebble has to say: chatter at debug level, damage at error
// level, and the end of the process.
type logger struct {
	log  *slog.Logger
	exit func(code int)
}

// Infof logs at debug level.
func (l logger) Infof(format string, args ...any) { l.debug(format, args) }

// Errorf logs at debug level too: what concerns a caller reaches him as an error,
// and a full disk would repeat it thousands of times a second.
func (l logger) Errorf(format string, args ...any) { l.debug(format, args) }

func (l logger) debug(format string, args []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("pebble", "message", fmt.Sprintf(format, args...))
	}
}

// Fatalf ends the process and never returns: Pebble calls it when a sync failed,
// and goes on as if all were well if it gets control back.
func (l logger) Fatalf(format string, args ...any) {
	l.log.Error("the store cannot go on; stopping so that recovery tells what is on disk", "cause", fmt.Sprintf(format, args...))
	l.exit(1)
	select {}
}

// dieOnPanic, deferred, ends the process in order when Pebble panics, which it
// does when some syncs fail: with a message instead of a stack trace.
func (l logger) dieOnPanic() {
	if r := recover(); r != nil {
		l.Fatalf("%v", r)
	}
}

// events returns the listener that keeps Pebble from ending the process when it
// finds a damaged table: the read that found it gets an error.
func (l logger) events() *pdb.EventListener {
	return &pdb.EventListener{
		DataCorruption: func(info pdb.DataCorruptionInfo) {
			l.log.Error("a file of the store is damaged; restore it from a backup", "file", info.Path)
		},
	}
}
