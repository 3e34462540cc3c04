package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
)

// index finds records. For every thing one may ask for, a source, it lists the
// records in blocks of postings, in order of sequence:
//
//	source 1 | blinded id 16 | first sequence 8  →  postings
//	posting: sequence-first 4 | time 8 | segment 4 | offset 4 | length 4
//
// Decisions would make an entry each. Their ids begin with a time, so those of
// the same 64 milliseconds share a list, with a tag of 8 bytes after each
// posting. And
// for times there is one entry per batch:
//
//	'T' | latest time so far 8 | first 8  →  first 8 | last 8
//
// The entry 'M' says how far the index is. Batches are applied in chunks, 'M' in
// the last one; a batch that was cut off is applied again, which may leave a
// posting in two blocks: readers skip what they have seen. Names are blinded, so
// that the index's own store shows counts and times only.
type index struct {
	*follower
	kv    storage.KV
	keys  *crypto.Keyring
	stale bool // what is stored is of another trail, keyring or format
	meta
	ids map[name][]crypto.ID // memory of blind; the follower's

	shownWobble int64 // wobble, for queries; guarded by follower.mu
}

// source is a kind of list of postings.
type source byte

// The sources; part of the index's format.
const (
	sourceRows       source = 'Q' // every decision, intent and event
	sourcePath       source = 'P' // by resource and path
	sourceAbove      source = 'A' // by resource and each path above
	sourceUser       source = 'U'
	sourceToken      source = 'K'
	sourceCapability source = 'C'
	sourceRefused    source = 'R' // denied decisions and failed outcomes
	sourceDecision   source = 'D' // all records of the decisions of a moment, tagged
	sourceList       source = 'L' // definitions of a digest
	sourceRole       source = 'O'
	sourceJob        source = 'J'
	sourceNetwork    source = 'N' // by the client's network
)

const (
	indexFormat   = 2
	keyTime       = 'T'
	keyMeta       = 'M'
	postingBytes  = 24
	tagBytes      = 8
	blockPostings = 256
	sourceBytes   = 17
)

// meta is how far the index is.
type meta struct {
	next   uint64    // first sequence not in the index
	leaf   tlog.Hash // of the newest record in it
	place  place
	latest int64 // latest time of any record in it
	wobble int64 // how far a record's time was behind the latest one; 0 unless a clock was set back
}

func (ix *index) encodeMeta() []byte {
	probe := ix.keys.Blind("audit-probe", crypto.ID{}, "")
	b := append([]byte{indexFormat}, probe[:]...)
	b = binary.BigEndian.AppendUint64(b, ix.meta.next)
	b = append(b, ix.leaf[:]...)
	b = binary.BigEndian.AppendUint64(b, ix.place.segment)
	b = binary.BigEndian.AppendUint64(b, uint64(ix.place.offset))
	b = binary.BigEndian.AppendUint32(b, ix.place.length)
	b = binary.BigEndian.AppendUint64(b, uint64(ix.latest))
	return binary.BigEndian.AppendUint64(b, uint64(ix.wobble))
}

// decodeMeta reports whether b is of this format and keyring.
func (ix *index) decodeMeta(b []byte) bool {
	probe := ix.keys.Blind("audit-probe", crypto.ID{}, "")
	if len(b) != 1+16+8+32+8+8+4+8+8 || b[0] != indexFormat || string(b[1:17]) != string(probe[:]) {
		return false
	}
	b = b[17:]
	ix.meta = meta{
		next: binary.BigEndian.Uint64(b), leaf: tlog.Hash(b[8:40]),
		place:  place{binary.BigEndian.Uint64(b[40:]), int64(binary.BigEndian.Uint64(b[48:])), binary.BigEndian.Uint32(b[56:])},
		latest: int64(binary.BigEndian.Uint64(b[60:])), wobble: int64(binary.BigEndian.Uint64(b[68:])),
	}
	return true
}

// openIndex finds out how far the index is. One that does not belong to this
// trail is made anew.
func openIndex(ctx context.Context, t *Trail) (*index, error) {
	ix := &index{kv: t.cfg.Index, keys: t.cfg.Keys, ids: map[name][]crypto.ID{}}
	item, err := ix.kv.Get(ctx, []byte{keyMeta})
	switch {
	case errors.Is(err, fault.NotFound):
		ix.stale = true
	case err != nil:
		return nil, err
	default:
		ix.stale = !ix.decodeMeta(item.Value) || !ix.belongs(t)
	}
	if ix.stale {
		ix.meta = meta{next: 1}
		if numbers := t.shelf.list(); len(numbers) > 0 {
			if ix.meta.next, err = t.shelf.first(numbers[0]); err != nil {
				return nil, err
			}
		}
	}
	return ix, nil
}

// belongs reports whether the newest record in the index is in this trail.
func (ix *index) belongs(t *Trail) bool {
	if ix.meta.next <= 1 || ix.meta.next > t.durable.size+1 {
		return ix.meta.next == 1
	}
	r, err := t.shelf.read(ix.place)
	return err == nil && r.Sequence == ix.meta.next-1 && r.Leaf == ix.leaf
}

// wipe removes everything from the index's store.
func (ix *index) wipe(ctx context.Context) error {
	for {
		items, err := ix.kv.Scan(ctx, nil, nil, storage.MaxBatchItems)
		if err != nil || len(items) == 0 {
			return err
		}
		var b storage.Batch
		for _, item := range items {
			b.Delete = append(b.Delete, item.Key)
		}
		if _, err := ix.kv.Commit(ctx, b); err != nil {
			return err
		}
	}
}

// blocks collects the postings of a batch by source and id.
type blocks map[[sourceBytes]byte]*block

type block struct {
	first uint64
	count int
	value []byte
	full  []storage.Put
}

func sourceKey(s source, id crypto.ID) (key [sourceBytes]byte) {
	key[0] = byte(s)
	copy(key[1:], id[:])
	return key
}

func blockKey(key [sourceBytes]byte, first uint64) []byte {
	return binary.BigEndian.AppendUint64(key[:], first)
}

func (bs blocks) add(s source, id crypto.ID, k *kept) { bs.tag(sourceKey(s, id), nil, k) }

func (bs blocks) tag(key [sourceBytes]byte, tag []byte, k *kept) {
	b := bs[key]
	if b == nil {
		b = &block{}
		bs[key] = b
	}
	if b.count == blockPostings {
		b.full = append(b.full, storage.Put{Key: blockKey(key, b.first), Value: b.value})
		b.count, b.value = 0, nil
	}
	if b.count == 0 {
		b.first = k.gist.sequence
	}
	b.count++
	var p [postingBytes]byte
	binary.BigEndian.PutUint32(p[:], uint32(k.gist.sequence-b.first))
	binary.BigEndian.PutUint64(p[4:], uint64(k.gist.time))
	binary.BigEndian.PutUint32(p[12:], uint32(k.place.segment))
	binary.BigEndian.PutUint32(p[16:], uint32(k.place.offset))
	binary.BigEndian.PutUint32(p[20:], k.place.length)
	if b.value == nil {
		b.value = make([]byte, 0, 4*(postingBytes+len(tag)))
	}
	b.value = append(append(b.value, p[:]...), tag...)
}

// apply indexes a batch.
func (ix *index) apply(ctx context.Context, batch []kept) error {
	if ix.stale {
		if err := ix.wipe(ctx); err != nil {
			return err
		}
		ix.stale = false
	}
	before := ix.meta
	bs := blocks{}
	for i := range batch {
		ix.post(bs, &batch[i])
	}
	last := batch[len(batch)-1]
	ix.meta.next, ix.leaf, ix.place = last.gist.sequence+1, last.leaf, last.place
	if err := ix.commit(ctx, bs, batch[0].gist.sequence); err != nil {
		ix.meta = before
		return err
	}
	ix.show()
	return nil
}

// show makes the wobble known to queries.
func (ix *index) show() {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.shownWobble = ix.wobble
}

// post adds the postings of one record.
func (ix *index) post(bs blocks, k *kept) {
	ix.latest = max(ix.latest, k.gist.time)
	ix.wobble = max(ix.wobble, ix.latest-k.gist.time)
	n := &k.gist
	if n.kind == KindDefinition {
		bs.add(sourceList, ix.nameID("list", n.list.String()), k)
		return
	}
	if n.decision != "" {
		key, tag := ix.decisionKey(n.decision)
		bs.tag(key, tag[:], k)
	}
	if n.refused {
		bs.add(sourceRefused, crypto.ID{}, k)
	}
	if n.kind == KindOutcome {
		return // found through its intent
	}
	bs.add(sourceRows, crypto.ID{}, k)
	if n.path != "" {
		ids := ix.pathIDs(n.resource, n.path)
		for _, above := range ids[:len(ids)-1] {
			bs.add(sourceAbove, above, k)
		}
		bs.add(sourcePath, ids[len(ids)-1], k)
	}
	if n.user != "" {
		bs.add(sourceUser, ix.nameID("user", n.user), k)
	}
	if n.token != "" {
		bs.add(sourceToken, ix.nameID("token", n.token), k)
	}
	for _, role := range n.roles {
		bs.add(sourceRole, ix.nameID("role", role), k)
	}
	if n.job != "" {
		bs.add(sourceJob, ix.nameID("job", n.job), k)
	}
	if n.source.IsValid() {
		bs.add(sourceNetwork, ix.networkID(n.source), k)
	}
	if n.action != "" {
		bs.add(sourceCapability, ix.nameID("capability", n.action), k)
	}
}

// commit writes the blocks in chunks that every store takes, and how far the
// index is now in the last.
func (ix *index) commit(ctx context.Context, bs blocks, first uint64) error {
	var b storage.Batch
	size := 0
	put := func(p storage.Put, last bool) error {
		b.Put = append(b.Put, p)
		size += len(p.Key) + len(p.Value)
		if !last && len(b.Put) < storage.MaxBatchItems-2 && size < storage.MaxBatchBytes/2 {
			return nil
		}
		_, err := ix.kv.Commit(ctx, b)
		b.Put, size = b.Put[:0], 0
		return err
	}
	for key, block := range bs {
		for _, p := range append(block.full, storage.Put{Key: blockKey(key, block.first), Value: block.value}) {
			if err := put(p, false); err != nil {
				return err
			}
		}
	}
	key := binary.BigEndian.AppendUint64([]byte{keyTime}, uint64(ix.latest))
	key = binary.BigEndian.AppendUint64(key, first)
	span := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, first), ix.meta.next-1)
	b.Put = append(b.Put, storage.Put{Key: key, Value: span})
	return put(storage.Put{Key: []byte{keyMeta}, Value: ix.encodeMeta()}, true)
}

// maxIDs bounds the memory of blinded names.
const maxIDs = 16384

// blind returns the ids of parts, each below the one before.
func (ix *index) blind(space string, parts ...string) []crypto.ID {
	ids, parent := make([]crypto.ID, len(parts)), crypto.ID{}
	for i, part := range parts {
		parent = ix.keys.Blind("audit-"+space, parent, part)
		ids[i] = parent
	}
	return ids
}

// name is a blinded name's source text.
type name struct{ space, top, rest string }

// remember is blind with a memory. Only the follower may call it.
func (ix *index) remember(n name, parts func() []string) []crypto.ID {
	ids, ok := ix.ids[n]
	if !ok {
		ids = ix.blind(n.space, parts()...)
		if len(ix.ids) >= maxIDs {
			clear(ix.ids)
		}
		ix.ids[n] = ids
	}
	return ids
}

// pathIDs returns the ids of the paths above path and of path itself, within the
// resource; the first is that of the resource as a whole.
func (ix *index) pathIDs(resource schema.Resource, path string) []crypto.ID {
	return ix.remember(name{"path", string(resource), path}, func() []string {
		return append([]string{string(resource)}, strings.Split(path, "/")...)
	})
}

func (ix *index) nameID(space, text string) crypto.ID {
	return ix.remember(name{space, text, ""}, func() []string { return []string{text} })[0]
}

// networkID returns the id of a client's network.
func (ix *index) networkID(source netip.Addr) crypto.ID {
	return ix.remember(name{"network", "", source.String()}, func() []string {
		return []string{networkOf(netip.PrefixFrom(source, source.BitLen()))}
	})[0]
}

// decisionKey returns the list that a decision is in, and its tag there. An id
// that has no time has a list by its tag.
func (ix *index) decisionKey(id schema.DecisionID) ([sourceBytes]byte, [tagBytes]byte) {
	blinded := ix.keys.Blind("audit-decision", crypto.ID{}, string(id))
	var list crypto.ID
	if u, ok := parseUUID(string(id)); ok {
		u[5] &^= 63
		copy(list[:6], u[:6])
	} else {
		copy(list[6:], blinded[:8])
	}
	return sourceKey(sourceDecision, list), [tagBytes]byte(blinded[8:])
}
