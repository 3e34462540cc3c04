// Package engine decides.
//
// A decision is a pure function of a call and the policy set. Rego is the one
// meaning of a policy: the engine compiles the modules that package policies emits,
// and OPA answers. Two things make that fast without a second semantics:
//
//   - A principal has some policies attached. Only these are compiled, when first
//     asked, and principals with the same policies share the result (attached).
//   - A trie finds the blocks whose pattern covers a path. The path enters a decision
//     through these blocks alone, so OPA's answer for (blocks, capability) is kept and
//     used again (memo). Errors are never kept. With Config.NoMemo OPA answers each
//     time, and every answer is the same.
//
// A Decision that allows comes with a permit.Permit, which is the only key to the
// store. Whatever goes wrong on the way is a denial.
//
// The way of a call: Authorize → snapshot → attached → trie → memo, or else program
// (OPA) → Decision and Permit.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// Config is how an Engine works. The zero Config is fit for production.
type Config struct {
	// Timeout bounds one evaluation by OPA; beyond it the decision is a denial. Zero
	// means one second.
	Timeout time.Duration
	// Programs is how many attached sets are kept compiled, of about half a megabyte
	// each. Zero means 64.
	Programs int
	// Attached is how many attached sets are kept with their trie and memo, which
	// answer without the compiled form. Zero means 4096.
	Attached int
	// NoMemo makes OPA evaluate every decision. The answers are the same.
	NoMemo bool
	// Log is told why an evaluation failed. Nil means nobody is.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = time.Second
	}
	if c.Programs <= 0 {
		c.Programs = 64
	}
	if c.Attached <= 0 {
		c.Attached = 4096
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// maxChecked is how many policies are remembered to have passed Check.
const maxChecked = 1 << 14

// Engine decides calls on the policy set in force. It is safe for concurrent use.
// Before the first Activate it denies everything with the reason unavailable.
type Engine struct {
	config   Config
	compiler compiler
	current  atomic.Pointer[snapshot]
	programs *lru.Cache[schema.Digest, *program] // by content of the attached set
	checked  *lru.Cache[schema.Digest, struct{}] // contents that passed Check

	activating sync.Mutex // held while a snapshot is made and put in force
}

// New returns an engine without a policy set.
func New(config Config) *Engine {
	config = config.withDefaults()
	programs, err1 := lru.New[schema.Digest, *program](config.Programs)
	checked, err2 := lru.New[schema.Digest, struct{}](maxChecked)
	if err := errors.Join(err1, err2); err != nil {
		panic("engine: " + err.Error()) // the sizes are positive
	}
	return &Engine{config: config, compiler: newCompiler(), programs: programs, checked: checked}
}

// Activate puts the set in force. Every call that begins after it returned is decided
// on the new set; calls that have begun finish on the old one. The policies that
// differ from the set in force are checked first, as Check does, and on an error the
// old set stays. The first set of an engine comes from the store, into which only
// checked policies go, and is not checked again.
func (e *Engine) Activate(ctx context.Context, set *policies.Set, rev schema.Revision) error {
	e.activating.Lock()
	defer e.activating.Unlock()
	before := e.current.Load()
	if before != nil {
		if err := e.Check(ctx, set.Changed(before.set)); err != nil {
			return fmt.Errorf("activate policy set of revision %d: %w", rev, err)
		}
	}
	e.current.Store(before.next(e, set, rev))
	return nil
}

// Set returns the policy set in force and the revision it was activated with, or nil
// and 0 before the first.
func (e *Engine) Set() (*policies.Set, schema.Revision) {
	now := e.current.Load()
	if now == nil {
		return nil, 0
	}
	return now.set, now.revision
}
