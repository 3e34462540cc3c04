package audit

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// plan is which lists of the index a query reads: the union of those of one
// kind, or of a path and what lies below.
type plan struct {
	kind source
	keys [][sourceBytes]byte
}

// plans returns every way to answer q, the usually narrowest first.
func (ix *index) plans(q Query) []plan {
	var all []plan
	resources := []schema.Resource{q.Resource}
	if q.Resource == "" {
		resources = schema.Resources()
	}
	below := func(kind source, path schema.Path) plan {
		p := plan{kind: kind}
		for _, r := range resources {
			ids := ix.blind("path", append([]string{string(r)}, path.Segments()...)...)
			id := ids[len(ids)-1]
			if kind == sourcePath || !path.IsZero() {
				p.keys = append(p.keys, sourceKey(sourcePath, id))
			}
			if kind == sourceAbove {
				p.keys = append(p.keys, sourceKey(sourceAbove, id))
			}
		}
		return p
	}
	if !q.Path.IsZero() {
		all = append(all, below(sourcePath, q.Path))
	}
	if q.Token != "" {
		all = append(all, ix.named(sourceToken, "token", q.Token))
	}
	if q.User != "" {
		all = append(all, ix.named(sourceUser, "user", q.User))
	}
	if q.Job != "" {
		all = append(all, ix.named(sourceJob, "job", q.Job))
	}
	if network := networkOf(q.Source); network != "" {
		all = append(all, ix.named(sourceNetwork, "network", network))
	}
	if top := q.top(); top != (schema.Prefix{}) || q.Resource != "" {
		all = append(all, below(sourceAbove, top.Path()))
	}
	if q.Role != "" {
		all = append(all, ix.named(sourceRole, "role", q.Role))
	}
	// A failure is listed where its outcome is, maybe after the time its intent is in.
	denied := q.Result == ResultDeny || q.Reason != "" && q.Reason != schema.Granted
	if denied || q.Result == ResultFailed && q.Until.IsZero() {
		all = append(all, plan{sourceRefused, [][sourceBytes]byte{sourceKey(sourceRefused, crypto.ID{})}})
	}
	if len(q.Capabilities) > 0 {
		p := plan{kind: sourceCapability}
		for _, c := range q.Capabilities {
			p.keys = append(p.keys, ix.named(sourceCapability, "capability", c.String()).keys...)
		}
		all = append(all, p)
	}
	return append(all, plan{sourceRows, [][sourceBytes]byte{sourceKey(sourceRows, crypto.ID{})}})
}

// top returns the narrowest prefix that every path asked for lies under.
func (q *Query) top() schema.Prefix {
	if q.Prefix != (schema.Prefix{}) || q.Pattern.IsZero() {
		return q.Prefix
	}
	literal := q.Pattern.Literal()
	if !q.Pattern.Exact() {
		literal = literal[:max(strings.LastIndexByte(literal, '/'), 0)]
	}
	p, err := schema.ParsePrefix(literal)
	if err != nil {
		return schema.Prefix{}
	}
	return p
}

// Networks are listed by the length of prefix that sites are given.
const (
	network4 = 24
	network6 = 48
)

// networkOf returns the listed network that a range of addresses lies in, or "".
func networkOf(p netip.Prefix) string {
	bits := network6
	if p.Addr().Is4() {
		bits = network4
	}
	if !p.IsValid() || p.Bits() < bits {
		return ""
	}
	return netip.PrefixFrom(p.Addr(), bits).Masked().String()
}

func (ix *index) named(kind source, space, text string) plan {
	return plan{kind, [][sourceBytes]byte{sourceKey(kind, ix.blind(space, text)[0])}}
}

// plan chooses how to answer q and narrows the span to what comes after q.After.
// A cursor names the kind of list it is a place in.
func (ix *index) plan(ctx context.Context, q Query, low, high uint64) (plan, uint64, uint64, error) {
	all := ix.plans(q)
	if q.After == "" {
		best, err := ix.narrowest(ctx, all, low, high)
		return best, low, high, err
	}
	at, err := strconv.ParseUint(q.After[1:], 10, 63)
	i := slices.IndexFunc(all, func(p plan) bool { return p.kind == source(q.After[0]) })
	if err != nil || i < 0 {
		return plan{}, 0, 0, fault.New(fault.InvalidArgument, "the page token is not of this query")
	}
	if q.Newest {
		return all[i], low, min(high, max(at, 1)-1), nil
	}
	return all[i], max(low, at+1), high, nil
}

// probeBlocks is how far a list is counted before it passes for a long one.
const probeBlocks = 16

// narrowest returns the plan with the fewest postings in the span, as far as a
// short look tells.
func (ix *index) narrowest(ctx context.Context, all []plan, low, high uint64) (plan, error) {
	best, least := 0, -1
	for i, p := range all[:len(all)-1] {
		n, err := ix.estimate(ctx, p, low, high)
		if err != nil {
			return plan{}, err
		}
		if least < 0 || n < least {
			best, least = i, n
		}
	}
	return all[best], nil
}

func (ix *index) estimate(ctx context.Context, p plan, low, high uint64) (int, error) {
	sum := 0
	for _, key := range p.keys {
		items, err := ix.kv.Scan(ctx, key[:], startKey(key, low), probeBlocks)
		if err != nil {
			return 0, err
		}
		for _, item := range items {
			sum += len(decodeBlock(firstOf(item.Key), item.Value, low, high))
		}
		if len(items) == probeBlocks && firstOf(items[probeBlocks-1].Key) <= high {
			sum += blockPostings * probeBlocks
		}
	}
	return sum, nil
}

// startKey returns the key after which a scan finds every block that may hold
// low: a block reaches at most a batch beyond its first sequence.
func startKey(key [sourceBytes]byte, low uint64) []byte {
	if low <= followBatch {
		return nil
	}
	return blockKey(key, low-followBatch-1)
}

// span returns the sequences that records between two times can have. Times
// mostly rise with sequences; wobble says by how much they ever fell behind.
func (ix *index) span(ctx context.Context, since, until time.Time, newest uint64) (low, high uint64, err error) {
	low, high = 1, newest
	if !since.IsZero() {
		first, _, found, err := ix.crossing(ctx, since.UnixMicro())
		if err != nil {
			return 0, 0, err
		}
		if low = first; !found {
			low = newest + 1
		}
	}
	if until.IsZero() {
		return low, high, nil
	}
	ix.mu.Lock()
	wobble := ix.shownWobble
	ix.mu.Unlock()
	_, last, found, err := ix.crossing(ctx, until.UnixMicro()+wobble+1)
	if err == nil && found {
		high = min(high, last)
	}
	return low, high, err
}

// crossing returns the batch in which the latest time so far reaches micro.
func (ix *index) crossing(ctx context.Context, micro int64) (first, last uint64, found bool, err error) {
	after := binary.BigEndian.AppendUint64([]byte{keyTime}, uint64(max(micro, 1)-1))
	after = binary.BigEndian.AppendUint64(after, 1<<63) // beyond every entry of that time
	items, err := ix.kv.Scan(ctx, []byte{keyTime}, after, 1)
	if err != nil || len(items) == 0 || len(items[0].Value) != 16 {
		return 0, 0, false, err
	}
	v := items[0].Value
	return binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), true, nil
}

// cursor reads one list of postings in either direction.
type cursor struct {
	ix     *index
	key    [sourceBytes]byte
	low    uint64
	high   uint64
	newest bool
	after  []byte // oldest first: last key read
	below  uint64 // newest first: blocks that begin above are read
	reach  uint64 // newest first: width of the last window that held blocks
	ready  []posting
	ended  bool
}

// scanBlocks is how many blocks a cursor reads at a time.
const scanBlocks = 16

// peek returns the next posting. ok is false at the end.
func (c *cursor) peek(ctx context.Context) (p posting, ok bool, err error) {
	for len(c.ready) == 0 {
		if c.ended || c.low > c.high {
			return posting{}, false, nil
		}
		if c.newest {
			err = c.backward(ctx)
		} else {
			err = c.forward(ctx)
		}
		if err != nil {
			return posting{}, false, err
		}
	}
	return c.ready[0], true, nil
}

// pop passes over the posting that peek returned, and over its repetitions.
func (c *cursor) pop() {
	at := c.ready[0].sequence
	if c.newest {
		c.high = at - 1
	} else {
		c.low = at + 1
	}
	for len(c.ready) > 0 && (c.ready[0].sequence < c.low || c.ready[0].sequence > c.high) {
		c.ready = c.ready[1:]
	}
}

func (c *cursor) forward(ctx context.Context) error {
	if c.after == nil {
		c.after = startKey(c.key, c.low)
	}
	items, err := c.ix.kv.Scan(ctx, c.key[:], c.after, scanBlocks)
	if err != nil {
		return err
	}
	c.ended = len(items) < scanBlocks
	for _, item := range items {
		c.after = item.Key
		if firstOf(item.Key) > c.high {
			c.ended = true
			break
		}
		c.ready = append(c.ready, decodeBlock(firstOf(item.Key), item.Value, c.low, c.high)...)
	}
	return nil
}

// backward reads the blocks before below. The store scans forward only, so it
// looks for a window that holds some but not too many: it widens one that is
// empty and halves one that is full.
func (c *cursor) backward(ctx context.Context) error {
	floor := max(c.low, followBatch+1) - followBatch // blocks that may reach low
	high := min(c.below, c.high)
	width := max(c.reach, 1)
	full := uint64(0) // lower end of a window known to hold too many; 0: none
	for high >= floor {
		low := floor
		if full > 0 {
			low = full + (high-full+1)/2
		} else if high-floor >= width {
			low = high - width + 1
		}
		items, err := c.ix.kv.Scan(ctx, c.key[:], blockKey(c.key, low-1), scanBlocks+1)
		if err != nil {
			return err
		}
		n := 0
		for n < len(items) && firstOf(items[n].Key) <= high {
			n++
		}
		switch {
		case n > scanBlocks:
			full = low
		case n == 0 && full == 0 && low == floor:
			c.ended = true
			return nil
		case n == 0:
			high, width = low-1, width*4
		default:
			c.reach, c.below = high-low+1, low-1
			c.ended = low == floor
			for i := n - 1; i >= 0; i-- {
				ps := decodeBlock(firstOf(items[i].Key), items[i].Value, c.low, c.high)
				slices.Reverse(ps)
				c.ready = append(c.ready, ps...)
			}
			return nil
		}
	}
	c.ended = true
	return nil
}

// merged reads several lists as one, in order and without repetitions.
type merged struct {
	cursors []*cursor
	newest  bool
}

func (ix *index) merge(p plan, low, high uint64, newest bool) *merged {
	m := &merged{newest: newest}
	for _, key := range p.keys {
		m.cursors = append(m.cursors, &cursor{ix: ix, key: key, low: low, high: high, below: high, newest: newest})
	}
	return m
}

func (m *merged) next(ctx context.Context) (posting, bool, error) {
	var best posting
	found := false
	for _, c := range m.cursors {
		p, ok, err := c.peek(ctx)
		if err != nil {
			return posting{}, false, err
		}
		if ok && (!found || m.newest == (p.sequence > best.sequence) && p.sequence != best.sequence) {
			best, found = p, true
		}
	}
	for _, c := range m.cursors {
		if len(c.ready) > 0 && c.ready[0].sequence == best.sequence {
			c.pop()
		}
	}
	return best, found, nil
}
