package audit

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// item is an entry on its way to the writer.
type item struct {
	body []byte // packed
	gist gist
	list *Definition // the policy list it refers to, if any
	done chan answer // size one

	state atomic.Int32 // 0 waiting, 1 taken by the writer, 2 withdrawn
}

type answer struct {
	sequence uint64
	err      error
}

func newItem(e Entry) (*item, error) {
	switch e.Kind {
	case KindDecision, KindIntent, KindOutcome, KindEvent:
	default:
		return nil, fault.New(fault.Internal, "an entry of this kind cannot be recorded")
	}
	it := &item{gist: gistOfEntry(e), done: make(chan answer, 1)}
	if policies := e.Call.Principal.Policies; len(policies) > 0 {
		it.list = &Definition{e.Call.Principal.Attached(), policies}
		it.gist.list = it.list.Digest
	}
	it.body = packBody(e, it.gist.list)
	if len(it.body) > maxRecord/2 {
		return nil, fault.New(fault.TooLarge, "the record is too large for the audit trail")
	}
	return it, nil
}

// take claims the item for the writer. It is false if the caller has given up.
func (it *item) take() bool { return it.state.CompareAndSwap(0, 1) }

// withdraw takes the item back. It is false if the writer has it.
func (it *item) withdraw() bool { return it.state.CompareAndSwap(0, 2) }

func (it *item) answer(sequence uint64, err error) { it.done <- answer{sequence, err} }

// syncs reports whether the record must be fsynced even in kernel mode.
func (it *item) syncs() bool { return it.gist.kind == KindIntent || it.gist.kind == KindEvent }

// queue is what waits for the writer.
type queue struct {
	wake  chan struct{} // size one
	ended chan struct{} // closed by close

	mu     sync.Mutex
	items  []*item // guarded by mu
	spare  []*item // guarded by mu; the other of the two slices in turn
	limit  int
	closed bool // guarded by mu
}

func (q *queue) init(limit int) {
	q.limit, q.wake, q.ended = limit, make(chan struct{}, 1), make(chan struct{})
}

func (q *queue) put(it *item) error {
	q.mu.Lock()
	if q.closed || len(q.items) >= q.limit {
		defer q.mu.Unlock()
		if q.closed {
			return errClosed
		}
		return errFull
	}
	q.items = append(q.items, it)
	first := len(q.items) == 1
	q.mu.Unlock()
	if first {
		q.signal()
	}
	return nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns all that waits. The slice is the caller's until the next take but
// one.
func (q *queue) take() (items []*item, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items = q.items
	q.items, q.spare = q.spare[:0], items
	return items, q.closed
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	close(q.ended)
	q.signal()
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// gist is what followers need to know of a record.
type gist struct {
	sequence uint64
	time     int64
	kind     Kind
	decision schema.DecisionID
	revision schema.Revision
	resource schema.Resource
	path     string
	action   string
	user     string
	token    string
	roles    []string
	job      string
	source   netip.Addr // of the decision's context
	refused  bool       // denied or failed
	list     schema.Digest
	defines  bool // the record is the definition of list
}

func gistOfEntry(e Entry) gist {
	return gist{
		kind: e.Kind, decision: e.Decision, revision: e.Outcome.Revision,
		resource: e.Call.Capability.Resource, path: e.Call.Path.String(), action: e.Call.Capability.String(),
		user: e.Call.Principal.User, token: e.Call.Principal.Token, roles: e.Call.Principal.Roles, job: e.Call.Principal.Job,
		source:  e.Call.Context.Source.Unmap().WithZone(""),
		refused: refused(e.Kind, e.Result.Allow, e.Outcome.Code),
	}
}

func gistOf(r Record) gist {
	n := gist{
		sequence: r.Sequence, time: r.Time.UnixMicro(), kind: r.Kind, decision: r.Decision, revision: r.Outcome.Revision,
		resource: r.Input.Resource.Type, path: r.Input.Resource.ID, action: r.Input.Action.Name,
		user: r.Input.Subject.ID, token: r.Input.Subject.Properties.Token, roles: r.Input.Subject.Properties.Roles, job: r.Input.Subject.Properties.Job,
		refused: refused(r.Kind, r.Result.Allow, r.Outcome.Code), list: r.Attached,
	}
	if addr, err := netip.ParseAddr(r.Input.Context.Source); err == nil {
		n.source = addr.Unmap()
	}
	if r.Kind == KindDefinition {
		n.list, n.defines = r.Definition.Digest, true
	}
	return n
}

func refused(kind Kind, allow bool, code string) bool {
	failed := code != "" && code != CodeOK
	return kind != KindDefinition && (failed || kind == KindDecision && !allow)
}
