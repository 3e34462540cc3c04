package audit

import (
	"context"
	"sync"
	"time"

	"github.com/heroctl/heroctl/schema/fault"
)

// follower keeps something up to date with the fsynced records, behind the door's
// back. Records come through a queue; what the queue lacks, after a start or when
// it was full, is read from the segments. So a follower may fail, lag or begin
// anew at any time, and nobody waits for it but a query.
type follower struct {
	name  string
	t     *Trail
	every time.Duration // pause between batches, unless someone waits
	apply func(ctx context.Context, batch []kept) error

	wake  chan struct{} // size one: there is something to do
	hurry chan struct{} // size one: someone waits

	mu       sync.Mutex
	queue    [][]kept      // groups of fsynced records, shared by the followers; guarded by mu
	queued   int           // records in queue; guarded by mu
	next     uint64        // first sequence not applied; guarded by mu
	target   uint64        // newest fsynced sequence; guarded by mu
	failing  bool          // the last attempt failed; guarded by mu
	progress chan struct{} // closed and replaced when next moves; guarded by mu
}

const (
	followBatch = 4096  // records applied together; part of the index's format
	followQueue = 32768 // records kept for a follower that lags
	followWait  = 5 * time.Second
)

func (t *Trail) newFollower(name string, every time.Duration, next uint64, apply func(context.Context, []kept) error) *follower {
	f := &follower{
		name: name, t: t, every: every, apply: apply, next: next, target: t.durable.size,
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), progress: make(chan struct{}),
	}
	if f.next <= f.target {
		f.wake <- struct{}{}
	}
	return f
}

// followers opens what follows the trail.
func (t *Trail) followers(ctx context.Context) error {
	tree, err := openTree(t)
	if err != nil {
		return err
	}
	t.tree = tree
	t.follow = append(t.follow, t.newFollower("stored hashes", 0, tree.chain.size+1, tree.apply))
	if t.cfg.Index == nil {
		return nil
	}
	if t.index, err = openIndex(ctx, t); err != nil {
		return err
	}
	t.index.follower = t.newFollower("index", t.cfg.pace.indexEvery, t.index.meta.next, t.index.apply)
	t.index.show()
	t.follow = append(t.follow, t.index.follower)
	return nil
}

// offer hands over fsynced records, in order.
func (f *follower) offer(news []kept) {
	if len(news) == 0 {
		return
	}
	f.mu.Lock()
	if f.queued+len(news) > followQueue {
		f.queue, f.queued = nil, 0
	} else {
		f.queue, f.queued = append(f.queue, news), f.queued+len(news)
	}
	f.target = news[len(news)-1].gist.sequence
	f.mu.Unlock()
	poke(f.wake)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (f *follower) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		pause, hurry := f.every, f.hurry
		err := f.catchUp(ctx)
		f.mu.Lock()
		if f.failing = err != nil; f.failing {
			f.moved()
		}
		f.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			f.t.cfg.Logger.Error("audit: "+f.name+" cannot be kept up to date", "error", err)
			pause, hurry = 10*f.t.cfg.pace.retryAfter, nil
			poke(f.wake)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		case <-hurry:
		}
	}
}

// catchUp applies batches until nothing is left.
func (f *follower) catchUp(ctx context.Context) error {
	for {
		batch, err := f.batch(ctx)
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := f.apply(ctx, batch); err != nil {
			f.mu.Lock()
			f.queue, f.queued = nil, 0 // read again from the segments
			f.mu.Unlock()
			return err
		}
		f.mu.Lock()
		f.next = batch[len(batch)-1].gist.sequence + 1
		f.moved()
		f.mu.Unlock()
	}
}

// moved wakes those who wait. The caller holds mu.
func (f *follower) moved() {
	close(f.progress)
	f.progress = make(chan struct{})
}

// batch returns the next records: from the queue if it begins with them, and
// otherwise from the segments.
func (f *follower) batch(ctx context.Context) ([]kept, error) {
	f.mu.Lock()
	next, to := f.next, f.target
	f.pass(next)
	if len(f.queue) > 0 {
		if f.queue[0][0].gist.sequence == next {
			batch := f.pull()
			f.mu.Unlock()
			return batch, nil
		}
		to = f.queue[0][0].gist.sequence - 1
	}
	f.mu.Unlock()
	if next > to {
		return nil, nil
	}
	to = min(to, next+followBatch-1)
	batch := make([]kept, 0, to-next+1)
	err := f.t.shelf.walk(ctx, next, to, func(r Record, at place) error {
		batch = append(batch, kept{r.Leaf, gistOf(r), at})
		return nil
	})
	return batch, err
}

// pass drops what is queued before a sequence. The caller holds mu.
func (f *follower) pass(next uint64) {
	for len(f.queue) > 0 {
		group := f.queue[0]
		n := 0
		for n < len(group) && group[n].gist.sequence < next {
			n++
		}
		f.queued -= n
		if n < len(group) {
			f.queue[0] = group[n:]
			return
		}
		f.queue[0] = nil
		f.queue = f.queue[1:]
	}
}

// pull takes the next batch from the queue. The caller holds mu.
func (f *follower) pull() []kept {
	first := f.queue[0]
	if len(f.queue) == 1 && len(first) <= followBatch {
		f.queue, f.queued = nil, 0
		return first
	}
	batch := make([]kept, 0, min(f.queued, followBatch))
	for len(f.queue) > 0 && len(batch) < followBatch {
		group := f.queue[0]
		n := min(len(group), followBatch-len(batch))
		if len(batch) > 0 && group[0].gist.sequence != batch[len(batch)-1].gist.sequence+1 {
			break
		}
		batch = append(batch, group[:n]...)
		if n < len(group) {
			f.queue[0] = group[n:]
			break
		}
		f.queue[0] = nil
		f.queue = f.queue[1:]
	}
	f.queued -= len(batch)
	return batch
}

// wait returns once everything up to sequence is applied. Without patience it
// gives up as soon as an attempt fails.
func (f *follower) wait(ctx context.Context, sequence uint64, patient bool) error {
	timer := time.NewTimer(followWait)
	defer timer.Stop()
	for {
		f.mu.Lock()
		done, failing, progress := f.next > sequence, f.failing, f.progress
		f.mu.Unlock()
		if done || failing && !patient {
			return nil
		}
		poke(f.hurry)
		select {
		case <-progress:
		case <-ctx.Done():
			return ctx.Err()
		case <-f.t.stop:
			return errClosed
		case <-timer.C:
			return fault.New(fault.Unavailable, "the audit index is being brought up to date; try again later")
		}
	}
}

// settle gives the follower a moment to finish before the trail closes. What it
// does not manage, the next start does.
func (f *follower) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	f.mu.Lock()
	target := f.target
	f.mu.Unlock()
	_ = f.wait(ctx, target, false)
}
