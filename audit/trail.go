package audit

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

// Durability says when a record counts as kept.
type Durability int

// The modes. Intents and events are fsynced before Append returns in both.
const (
	Strict Durability = iota // every record is fsynced before Append returns
	Kernel                   // decisions and outcomes: handed to the kernel, fsynced within 10 ms
)

// Config is what a Trail is built from.
type Config struct {
	Dir        string          // folder of the trail; made if absent
	FS         vfs.FS          // nil: the operating system's
	Keys       *crypto.Keyring // required
	Node       string          // name of this gateway, for records; required
	Durability Durability      // zero: Strict

	// Checkpoint is the path of the signed checkpoint, outside Dir and beside the
	// root key; required. AcceptMissingCheckpoint lets a trail with records but
	// without that file start: everything stored is verified once, and a rollback
	// goes unnoticed.
	Checkpoint              string
	AcceptMissingCheckpoint bool

	Index        storage.KV       // the index, and nothing else; nil: Find and ByDecision answer unsupported
	Now          func() time.Time // nil: time.Now
	SegmentBytes int64            // a segment this long is closed; zero: 16 MiB
	Queue        int              // entries that may wait for the writer; zero: 8192
	Logger       *slog.Logger     // for the operator; nil: nothing is logged

	pace pace // zero: usualPace
}

// maxSegmentBytes keeps offsets within the index's 32 bits.
const maxSegmentBytes = 1 << 30

// pace holds the times of the trail; tests shorten them.
type pace struct {
	appendWait      time.Duration // longest wait of Append
	syncWithin      time.Duration // longest time a record is with the kernel only
	retryAfter      time.Duration // pause after a disk failure
	checkpointEvery time.Duration
	indexEvery      time.Duration
}

var usualPace = pace{
	appendWait: 4 * time.Second, syncWithin: 10 * time.Millisecond, retryAfter: 100 * time.Millisecond,
	checkpointEvery: time.Second, indexEvery: 100 * time.Millisecond,
}

func (c *Config) defaults() {
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 16 << 20
	}
	if c.Queue == 0 {
		c.Queue = 8192
	}
	if c.pace == (pace{}) {
		c.pace = usualPace
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate refuses a configuration that could not fail closed.
func (c Config) Validate() error {
	switch {
	case c.Dir == "" || c.Checkpoint == "" || c.Keys == nil:
		return fault.New(fault.InvalidArgument, "the trail needs a folder, a checkpoint path and a keyring")
	case c.SegmentBytes < 0 || c.SegmentBytes > maxSegmentBytes:
		return fault.New(fault.InvalidArgument, "a segment of the trail is at most 1 GiB long")
	case c.Durability != Strict && c.Durability != Kernel:
		return fault.New(fault.InvalidArgument, "the trail's durability is strict or kernel")
	}
	if problem := schema.CheckSegment(c.Node); problem != "" {
		return fault.New(fault.InvalidArgument, "the node name "+problem)
	}
	return nil
}

// Trail is the append-only log. It is safe for concurrent use.
type Trail struct {
	cfg   Config
	id    [16]byte // made with the trail; part of the checkpoint's origin
	lock  io.Closer
	shelf *shelf
	queue queue

	appended atomic.Uint64 // newest sequence that Append confirmed

	mu        sync.Mutex
	durable   chain                        // state after the newest fsynced record; guarded by mu
	revision  schema.Revision              // newest of any outcome; guarded by mu
	unsettled map[schema.DecisionID]uint64 // intents without an outcome; guarded by mu
	recovered map[schema.DecisionID]Record // those found at Open; guarded by mu
	signed    Checkpoint                   // newest written checkpoint; guarded by mu

	signing sync.Mutex // held while a checkpoint is written

	base    chain  // before the segment that Open verified; for the stored hashes
	index   *index // nil without Config.Index
	tree    *tree
	follow  []*follower
	changed chan struct{}   // size one: there is something for a new checkpoint
	stop    <-chan struct{} // closed when the goroutines shall end
	cancel  context.CancelFunc
	written chan struct{} // closed when the writer has ended
	wg      sync.WaitGroup
	closing sync.Once
	closed  error
}

// Open opens the trail in the folder, or makes it. It verifies what was written
// since the last checkpoint and the segment that lies in, whatever else is
// stored. It refuses, with fault.Integrity, a trail that is damaged, shorter than
// its checkpoint or different from it; with fault.Unavailable, a disk that does
// not answer.
func Open(ctx context.Context, cfg Config) (*Trail, error) {
	cfg.defaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := &Trail{
		cfg: cfg, unsettled: map[schema.DecisionID]uint64{}, recovered: map[schema.DecisionID]Record{},
		changed: make(chan struct{}, 1), written: make(chan struct{}),
	}
	t.queue.init(cfg.Queue)
	if err := t.open(ctx); err != nil {
		if t.shelf != nil {
			err = errors.Join(err, t.shelf.close())
		}
		if t.lock != nil {
			err = errors.Join(err, t.lock.Close())
		}
		return nil, err
	}
	return t, nil
}

func (t *Trail) open(ctx context.Context) error {
	fs, dir := t.cfg.FS, t.cfg.Dir
	err := fs.MkdirAll(dir, 0o700)
	if err == nil {
		err = syncDir(fs, fs.PathDir(dir))
	}
	if err == nil {
		t.lock, err = fs.Lock(fs.PathJoin(dir, "LOCK"))
	}
	if err != nil {
		return diskFault("the trail's folder cannot be used, or another server uses it", err)
	}
	if t.shelf, err = newShelf(fs, dir, t.cfg.Keys); err != nil {
		return err
	}
	if err := t.shelf.complete(); err != nil {
		return err
	}
	w, err := t.recover(ctx)
	if err != nil {
		return err
	}
	if err := t.followers(ctx); err != nil {
		return errors.Join(err, w.close())
	}
	t.appended.Store(w.tip.size)
	t.start(w)
	return nil
}

// start runs the goroutines. Close waits for all of them.
func (t *Trail) start(w *writer) {
	ctx, cancel := context.WithCancel(context.Background())
	t.stop, t.cancel = ctx.Done(), cancel
	t.wg.Go(func() {
		defer close(t.written)
		w.run()
	})
	t.wg.Go(t.checkpoints)
	for _, f := range t.follow {
		t.wg.Go(func() { f.run(ctx) })
	}
}

// Append keeps an entry and returns its sequence once it is as durable as the
// configuration asks. After an error the caller must not answer the request:
// fault.Unavailable, within five seconds, if the trail could not take the record.
// The record is then almost always absent; it may be present if the disk failed
// while writing it.
//
// An entry that is being written is kept even if ctx ends. Callers that must have
// it on record after their client hung up pass context.WithoutCancel.
func (t *Trail) Append(ctx context.Context, e Entry) (uint64, error) {
	it, err := newItem(e)
	if err != nil {
		return 0, err
	}
	if err := t.queue.put(it); err != nil {
		return 0, err
	}
	timer := timers.Get().(*time.Timer)
	timer.Reset(t.cfg.pace.appendWait)
	defer func() {
		timer.Stop()
		timers.Put(timer)
	}()
	select {
	case r := <-it.done:
		return r.sequence, r.err
	case <-ctx.Done():
		if it.withdraw() {
			return 0, ctx.Err()
		}
	case <-timer.C:
		it.withdraw()
		return 0, errSlow
	}
	select { // the writer has it: what ctx says no longer matters
	case r := <-it.done:
		return r.sequence, r.err
	case <-timer.C:
		return 0, errSlow
	}
}

// timers are at rest when they are in the pool.
var timers = sync.Pool{New: func() any { return time.NewTimer(time.Hour) }}

var (
	errSlow   = fault.New(fault.Unavailable, "the audit trail could not take the record in time")
	errFull   = fault.New(fault.Unavailable, "the audit trail is behind; try again later")
	errClosed = fault.New(fault.Unavailable, "the audit trail is closed")
)

// LastRevision returns the newest store revision that an outcome speaks of. A
// store that is behind it has lost commits, or was rolled back.
func (t *Trail) LastRevision() schema.Revision {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.revision
}

// Origin returns the name under which checkpoints are signed; Config.Keys knows
// the public key for it.
func (t *Trail) Origin() string { return originOf(t.cfg.Keys.Cluster(), t.id) }

// Checkpoint returns the newest checkpoint that was written.
func (t *Trail) Checkpoint() Checkpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.signed
}

// publish makes fsynced records known to everyone who follows the trail.
func (t *Trail) publish(state *chain, records []*pending) {
	news := make([]kept, len(records))
	t.mu.Lock()
	t.durable = *state
	for i, p := range records {
		t.settle(p.gist)
		news[i] = p.kept
	}
	t.mu.Unlock()
	for _, f := range t.follow {
		f.offer(news)
	}
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// settle keeps the account of intents and revisions. The caller holds mu.
func (t *Trail) settle(n gist) {
	switch n.kind {
	case KindIntent:
		t.unsettled[n.decision] = n.sequence
	case KindOutcome:
		delete(t.unsettled, n.decision)
		delete(t.recovered, n.decision)
	}
	t.revision = max(t.revision, n.revision)
}

// Close writes what is queued, a last checkpoint, and ends. Later Appends are
// refused.
func (t *Trail) Close() error {
	t.closing.Do(func() {
		t.queue.close()
		<-t.written
		for _, f := range t.follow {
			f.settle()
		}
		t.cancel()
		t.wg.Wait()
		t.closed = errors.Join(t.checkpoint(), t.tree.close(), t.shelf.close(), t.lock.Close())
	})
	return t.closed
}

// checkpoints writes the checkpoint about once a second while records come in.
func (t *Trail) checkpoints() {
	for {
		select {
		case <-t.stop:
			return
		case <-t.changed:
		}
		if err := t.checkpoint(); err != nil {
			t.cfg.Logger.Error("audit: the checkpoint cannot be written", "error", err)
			select {
			case t.changed <- struct{}{}:
			default:
			}
		}
		select {
		case <-t.stop:
			return
		case <-time.After(t.cfg.pace.checkpointEvery):
		}
	}
}

// checkpoint writes a checkpoint of the fsynced records.
func (t *Trail) checkpoint() error {
	t.signing.Lock()
	defer t.signing.Unlock()
	t.mu.Lock()
	state, last := t.durable, t.signed
	c := Checkpoint{Origin: t.Origin(), Size: state.size, Revision: t.revision, Keyring: t.cfg.Keys.Version()}
	c.Open = openSequences(t.unsettled)
	t.mu.Unlock()
	if last.Origin != "" && last.Size == c.Size && last.Keyring == c.Keyring {
		return nil
	}
	var err error
	if c.Root, err = state.root(); err != nil {
		return err
	}
	if err := writeCheckpoint(t.cfg.FS, t.cfg.Checkpoint, t.cfg.Keys, c); err != nil {
		return diskFault("the checkpoint cannot be written", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.signed = c
	return nil
}
