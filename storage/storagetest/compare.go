package storagetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/memory"
)

// Compare runs random operations on a backend and on package memory, and wants
// the same answers, revisions and events included. Each call of open opens the
// same data again; it is called many times, with the store closed in between.
func Compare(t *testing.T, steps int, open func(t *testing.T) storage.KV) {
	c := &comparison{t: t, rnd: Rand(t), open: open, model: NewKit(t, memory.New())}
	defer c.model.Close()
	c.subject = NewKit(t, open(t))
	c.watch()
	for step := 0; step < steps && !t.Failed(); step++ {
		switch n := c.rnd.IntN(1000); {
		case n < 600:
			c.commit(step)
		case n < 800:
			c.get()
		case n < 985:
			c.scan()
		case n < 995:
			c.drain(step)
		default:
			c.reopen(step)
		}
	}
	c.reopen(steps)
	c.subject.Close()
}

// comparison is a run of Compare.
type comparison struct {
	t              *testing.T
	rnd            *rand.Rand
	open           func(t *testing.T) storage.KV
	model, subject *Kit
	head           schema.Revision

	stop                    context.CancelFunc
	modelEvents, subjEvents <-chan storage.Event
}

func (c *comparison) watch() {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	for kit, events := range map[*Kit]*<-chan storage.Event{c.model: &c.modelEvents, c.subject: &c.subjEvents} {
		var err error
		if *events, err = kit.Watch(ctx, nil, c.head); err != nil {
			c.t.Fatalf("Watch: %v", err)
		}
	}
}

// key returns one of a few keys, so that operations meet.
func (c *comparison) key() []byte {
	const alphabet = "ab\x00\xff"
	key := make([]byte, 1+c.rnd.IntN(4))
	for i := range key {
		key[i] = alphabet[c.rnd.IntN(len(alphabet))]
	}
	return key
}

func (c *comparison) value() []byte {
	size := c.rnd.IntN(100)
	if c.rnd.IntN(50) == 0 {
		size = c.rnd.IntN(100_000)
	}
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(c.rnd.Uint32())
	}
	return value
}

func (c *comparison) batch() storage.Batch {
	var b storage.Batch
	for range c.rnd.IntN(3) {
		key := c.key()
		it, _ := c.model.Get(context.Background(), key)
		if c.rnd.IntN(5) == 0 {
			it.Revision = schema.Revision(c.rnd.Uint64N(uint64(c.head) + 2))
		}
		b.Require = append(b.Require, storage.Require{Key: key, Revision: it.Revision})
	}
	for range c.rnd.IntN(5) {
		b.Put = append(b.Put, storage.Put{Key: c.key(), Value: c.value()})
	}
	for range c.rnd.IntN(3) {
		b.Delete = append(b.Delete, c.key())
	}
	return b
}

func (c *comparison) commit(step int) {
	b := c.batch()
	want, wantErr := c.model.Commit(context.Background(), b)
	got, gotErr := c.subject.Commit(context.Background(), b)
	c.same(fmt.Sprintf("step %d: revision", step), want, got)
	c.same(fmt.Sprintf("step %d: error", step), fault.KindOf(wantErr), fault.KindOf(gotErr))
	c.head = max(c.head, want)
}

func (c *comparison) get() {
	key := c.key()
	want, wantErr := c.model.Get(context.Background(), key)
	got, gotErr := c.subject.Get(context.Background(), key)
	c.same("item", want, got)
	c.same("error of Get", fault.KindOf(wantErr), fault.KindOf(gotErr))
}

func (c *comparison) scan() {
	var prefix, after []byte
	if c.rnd.IntN(2) == 0 {
		prefix = c.key()[:1]
	}
	if c.rnd.IntN(2) == 0 {
		after = c.key()
	}
	limit := 1 + c.rnd.IntN(20)
	want, wantErr := c.model.Scan(context.Background(), prefix, after, limit)
	got, gotErr := c.subject.Scan(context.Background(), prefix, after, limit)
	c.same(fmt.Sprintf("scan of %q after %q limit %d", prefix, after, limit), want, got)
	c.same("error of Scan", fault.KindOf(wantErr), fault.KindOf(gotErr))
}

// drain makes both watches reach a mark and compares what they saw on the way.
func (c *comparison) drain(step int) {
	mark := fmt.Appendf(nil, "mark %d", step)
	for _, kit := range []*Kit{c.model, c.subject} {
		c.head = kit.Do(storage.Batch{Put: []storage.Put{{Key: mark}}})
	}
	for {
		want, got := c.model.Next(c.modelEvents), c.subject.Next(c.subjEvents)
		c.same("event", want, got)
		if string(want.Key) == string(mark) || c.t.Failed() {
			return
		}
	}
}

// reopen closes the subject, opens it again and compares everything. The model
// goes on; changes from before are forgotten by the subject alone.
func (c *comparison) reopen(step int) {
	c.drain(step)
	c.stop()
	c.subject.Close()
	c.subject = NewKit(c.t, c.open(c.t))
	c.same("everything after the store was opened again", c.model.All(), c.subject.All())
	if c.head > 0 {
		if _, err := c.subject.Watch(c.t.Context(), nil, c.head-1); fault.KindOf(err) != fault.Compacted {
			c.t.Errorf("Watch from before the store was opened: %v, want %s", err, fault.Compacted)
		}
	}
	c.watch()
}

func (c *comparison) same(what string, want, got any) {
	c.t.Helper()
	if diff := cmp.Diff(want, got, sameBytes()); diff != "" {
		c.t.Errorf("%s (-memory +subject):\n%s", what, diff)
	}
}
