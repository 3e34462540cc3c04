package audit

import (
	"cmp"
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Query selects rows of the trail. Fields are joined by AND; a zero field selects
// everything.
type Query struct {
	Resource     schema.Resource
	Path         schema.Path   // exactly this path
	Prefix       schema.Prefix // this path and all below
	Pattern      schema.Pattern
	User         string
	Token        string // accessor
	Role         string // of the subject
	Job          string
	Source       netip.Prefix // addresses of the client
	Capabilities []schema.Capability
	Result       Result
	Reason       schema.Reason
	Decision     schema.DecisionID
	Since, Until time.Time // of the record; Since inclusive, Until exclusive
	Beyond       uint64    // only sequences above

	Newest bool   // newest first; otherwise oldest first
	After  string // Page.Next of the page before, for the same query
	Limit  int    // zero: 100; at most 1000

	// Visible filters rows by the path they are about, which is zero for rows that
	// name none. Nil: all.
	Visible func(schema.Path) bool
}

// Limits of one page.
const (
	defaultLimit = 100
	maxLimit     = 1000
	maxLooked    = 20000 // records read for one page
)

// Page is an answer to a Query. More rows may follow if Next is not empty, even if
// this page has fewer than asked for, or none: a page stops when it has looked
// far.
type Page struct {
	Rows []Row
	Next string
}

// Row is one call: its decision, intent or event, and for an intent what came of
// it.
type Row struct {
	Record
	Settled *Record // the outcome of an intent; nil if there is none
}

// Result returns how the call ended.
func (r Row) Result() Result {
	if r.Kind == KindIntent && r.Settled != nil && r.Record.Result.Allow {
		settled := r.Record
		settled.Outcome = r.Settled.Outcome
		return settled.result()
	}
	return r.Record.result()
}

// Came returns the outcome of the call, wherever it is recorded.
func (r Row) Came() Outcome {
	if r.Settled != nil {
		return r.Settled.Outcome
	}
	return r.Record.Outcome
}

// Find answers a query from the index, with everything that was appended before
// it was called.
func (t *Trail) Find(ctx context.Context, q Query) (Page, error) {
	if err := t.caughtUp(ctx); err != nil {
		return Page{}, err
	}
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	q.Limit = min(q.Limit, maxLimit)
	if q.Decision != "" {
		return t.findDecision(ctx, q)
	}
	low, high, err := t.index.span(ctx, q.Since, q.Until, t.appended.Load())
	if err != nil {
		return Page{}, err
	}
	plan, low, high, err := t.index.plan(ctx, q, max(low, q.Beyond+1), high)
	if err != nil {
		return Page{}, err
	}
	return t.collect(ctx, q, t.index.merge(plan, low, high, q.Newest), plan.kind)
}

func (t *Trail) caughtUp(ctx context.Context) error {
	if t.index == nil {
		return fault.New(fault.Unsupported, "this audit trail has no index")
	}
	select {
	case <-t.stop:
		return errClosed
	default:
		return t.index.wait(ctx, t.appended.Load(), true)
	}
}

// collect reads candidates until the page is full.
func (t *Trail) collect(ctx context.Context, q Query, candidates *merged, kind source) (Page, error) {
	var page Page
	for looked := 0; ; {
		p, ok, err := candidates.next(ctx)
		if err != nil || !ok {
			return page, err
		}
		if q.outside(p.time) && kind != sourceRefused {
			continue
		}
		looked++
		row, err := t.row(ctx, p.place)
		if err != nil {
			return Page{}, err
		}
		if q.selects(row) {
			page.Rows = append(page.Rows, row)
		}
		if len(page.Rows) == q.Limit || looked == maxLooked {
			page.Next = string(kind) + strconv.FormatUint(p.sequence, 10)
			return page, nil
		}
	}
}

func (q *Query) outside(micro int64) bool {
	return !q.Since.IsZero() && micro < q.Since.UnixMicro() || !q.Until.IsZero() && micro >= q.Until.UnixMicro()
}

// selects reports whether the row is one that was asked for.
func (q *Query) selects(r Row) bool {
	in, path := &r.Input, r.Path()
	action, _ := schema.ParseCapability(in.Action.Name)
	switch {
	case q.outside(r.Time.UnixMicro()),
		q.Resource != "" && in.Resource.Type != q.Resource,
		!q.Path.IsZero() && path != q.Path,
		q.Prefix != (schema.Prefix{}) && !path.Under(q.Prefix),
		q.User != "" && in.Subject.ID != q.User,
		!q.Pattern.IsZero() && !q.Pattern.Matches(path),
		q.Token != "" && in.Subject.Properties.Token != q.Token,
		q.Role != "" && !slices.Contains(in.Subject.Properties.Roles, q.Role),
		q.Job != "" && in.Subject.Properties.Job != q.Job,
		q.Source.IsValid() && !q.from(in.Context.Source),
		q.Reason != "" && r.Record.Result.Reason != q.Reason,
		r.Sequence <= q.Beyond,
		len(q.Capabilities) > 0 && !slices.Contains(q.Capabilities, action),
		q.Result != "" && r.Result() != q.Result,
		q.Decision != "" && r.Decision != q.Decision:
		return false
	}
	return q.Visible == nil || q.Visible(path)
}

// from reports whether an address, as records have it, is one asked for.
func (q *Query) from(source string) bool {
	addr, err := netip.ParseAddr(source)
	return err == nil && q.Source.Contains(addr.Unmap())
}

// row reads a record and, for a mutation, its other half.
func (t *Trail) row(ctx context.Context, at place) (Row, error) {
	r, err := t.shelf.read(at)
	if err != nil || r.Kind != KindIntent && r.Kind != KindOutcome {
		return Row{Record: r}, err
	}
	both, err := t.decision(ctx, r.Decision)
	if err != nil {
		return Row{}, err
	}
	return merge(r, both), nil
}

// merge joins the records of one decision into a row.
func merge(r Record, all []Record) Row {
	row := Row{Record: r}
	for i, other := range all {
		switch {
		case other.Kind == KindOutcome && row.Kind == KindIntent && row.Settled == nil:
			row.Settled = &all[i]
		case other.Kind == KindIntent && row.Kind == KindOutcome:
			settled := row.Record
			row = Row{Record: other, Settled: &settled}
		}
	}
	return row
}

func (t *Trail) findDecision(ctx context.Context, q Query) (Page, error) {
	records, err := t.decision(ctx, q.Decision)
	if err != nil {
		return Page{}, err
	}
	var page Page
	for _, r := range records {
		if r.Kind == KindOutcome && len(page.Rows) > 0 {
			continue
		}
		if row := merge(r, records); q.selects(row) {
			page.Rows = append(page.Rows, row)
		}
	}
	return page, nil
}

// ByDecision returns the records with a decision id, in order: one for a read or
// a denial, intent and outcome for a mutation. It is empty for an unknown id.
func (t *Trail) ByDecision(ctx context.Context, id schema.DecisionID) ([]Record, error) {
	if err := t.caughtUp(ctx); err != nil {
		return nil, err
	}
	return t.decision(ctx, id)
}

func (t *Trail) decision(ctx context.Context, id schema.DecisionID) ([]Record, error) {
	postings, err := t.index.tagged(ctx, id)
	if err != nil {
		return nil, err
	}
	var records []Record
	for _, p := range postings {
		r, err := t.shelf.read(p.place)
		if err != nil {
			return nil, err
		}
		if r.Decision == id {
			records = append(records, r)
		}
	}
	return records, nil
}

// Input returns the whole decision input of a record, policy list included.
func (t *Trail) Input(ctx context.Context, r Record) (schema.Input, error) {
	in := r.Input
	if r.Attached == (schema.Digest{}) {
		return in, nil
	}
	names, err := t.definition(ctx, r)
	in.Subject.Properties.Policies = names
	return in, err
}

// definition finds the names behind the digest that r refers to. Any definition
// of the digest will do, since the names can be checked against it; the one in
// the record's own segment is always there, so a lagging index is not waited for.
func (t *Trail) definition(ctx context.Context, r Record) ([]string, error) {
	if t.index != nil {
		id := t.index.keys.Blind("audit-list", crypto.ID{}, r.Attached.String())
		postings, err := t.index.all(ctx, sourceKey(sourceList, id))
		if err != nil {
			return nil, err
		}
		for _, p := range postings {
			d, err := t.shelf.read(p.place)
			if err == nil && schema.DigestOfList(d.Definition.Names) == r.Attached {
				return d.Definition.Names, nil
			}
		}
	}
	return t.definitionIn(ctx, r)
}

// definitionIn searches the record's segment.
func (t *Trail) definitionIn(ctx context.Context, r Record) ([]string, error) {
	number, err := t.shelf.locate(r.Sequence)
	if err != nil {
		return nil, err
	}
	first, err := t.shelf.first(number)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	limit := t.durable.size
	t.mu.Unlock()
	end, err := t.shelf.end(number, limit)
	if err != nil {
		return nil, err
	}
	var names []string
	err = t.shelf.walk(ctx, first, end, func(d Record, _ place) error {
		if d.Kind == KindDefinition && schema.DigestOfList(d.Definition.Names) == r.Attached {
			names = d.Definition.Names
		}
		return nil
	})
	if err == nil && names == nil {
		err = fault.New(fault.Integrity, "the segment does not define a policy list that its record refers to")
	}
	return names, err
}

// posting is one record in the index.
type posting struct {
	sequence uint64
	time     int64
	place    place
}

// decodeBlock returns the postings of a block between two sequences.
func decodeBlock(first uint64, value []byte, low, high uint64) []posting {
	var ps []posting
	for ; len(value) >= postingBytes; value = value[postingBytes:] {
		p := posting{
			sequence: first + uint64(binary.BigEndian.Uint32(value)),
			time:     int64(binary.BigEndian.Uint64(value[4:])),
			place: place{
				uint64(binary.BigEndian.Uint32(value[12:])),
				int64(binary.BigEndian.Uint32(value[16:])),
				binary.BigEndian.Uint32(value[20:]),
			},
		}
		if low <= p.sequence && p.sequence <= high {
			ps = append(ps, p)
		}
	}
	return ps
}

// all returns the postings of a source.
func (ix *index) all(ctx context.Context, key [sourceBytes]byte) ([]posting, error) {
	return ix.gather(ctx, key, func(first uint64, value []byte) []posting {
		return decodeBlock(first, value, 0, noEnd)
	})
}

// tagged returns the postings of a decision.
func (ix *index) tagged(ctx context.Context, id schema.DecisionID) ([]posting, error) {
	key, tag := ix.decisionKey(id)
	return ix.gather(ctx, key, func(first uint64, v []byte) (ps []posting) {
		for ; len(v) >= postingBytes+tagBytes; v = v[postingBytes+tagBytes:] {
			if [tagBytes]byte(v[postingBytes:]) == tag {
				ps = append(ps, decodeBlock(first, v[:postingBytes], 0, noEnd)...)
			}
		}
		return ps
	})
}

// gather reads all blocks of a short list, in order and without repetitions.
func (ix *index) gather(ctx context.Context, key [sourceBytes]byte, read func(uint64, []byte) []posting) ([]posting, error) {
	var ps []posting
	var after []byte
	for {
		items, err := ix.kv.Scan(ctx, key[:], after, scanBlocks)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			after = item.Key
			ps = append(ps, read(firstOf(item.Key), item.Value)...)
		}
		if len(items) < scanBlocks {
			break
		}
	}
	slices.SortFunc(ps, func(a, b posting) int { return cmp.Compare(a.sequence, b.sequence) })
	return slices.CompactFunc(ps, func(a, b posting) bool { return a.sequence == b.sequence }), nil
}

func firstOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }
