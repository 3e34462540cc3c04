// Package storage keeps secrets, policies and identities in a key-value store
// that never sees a name or a value.
//
// The model: a KV is an ordered map with atomic, durable commits and one
// monotonic revision. A Store puts three nouns on it: Secrets, Policies and
// Identities. Each of their methods takes a permit in place of a path and works
// on the permit's path, so that nothing is read or written that was not decided.
// Records are sealed under the keyring with their place as associated data, and
// keys are blinded: a copy of the KV shows counts, times and padded sizes.
//
// Every write goes through one commit, which also touches the head key, whose
// revision is therefore the newest of the store, and the key of the decision
// that allowed the write, so that after a crash one can tell whether a decision
// has landed. The only clock is the permit's.
package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// FormatVersion is the version of the stored format that this program writes and
// the newest it reads.
const FormatVersion = 1

const formatMagic = "heroctl store "

// Store is the sealed store. It is safe for concurrent use.
type Store struct {
	Secrets    *Secrets
	Policies   *Policies
	Identities *Identities

	kv   KV
	keys *crypto.Keyring

	running context.Context // ends with Close; watches run under it, never requests
	stop    context.CancelFunc
	watches sync.WaitGroup
}

// Init makes a new cluster in an empty kv: a cluster id, a keyring sealed under
// the root key, and the format record. It answers fault.Conflict when the kv
// holds a cluster already.
func Init(ctx context.Context, kv KV, root crypto.RootKey, now time.Time) (*Store, error) {
	cluster := strings.ToLower(rand.Text()[:20])
	keys, err := crypto.NewKeyring(cluster, now)
	if err != nil {
		return nil, fmt.Errorf("make keyring: %w", err)
	}
	sealed, err := keys.Marshal(root)
	if err != nil {
		return nil, fmt.Errorf("seal keyring: %w", err)
	}
	epoch, err := seal(keys, epochLabel, epochRecord{Epoch: 1})
	if err != nil {
		return nil, err
	}
	_, err = kv.Commit(ctx, Batch{
		Require: []Require{{Key: key(kindFormat)}, {Key: key(kindKeyring)}},
		Put: []Put{
			{Key: key(kindFormat), Value: []byte(formatMagic + strconv.Itoa(FormatVersion) + " " + cluster)},
			{Key: key(kindKeyring), Value: sealed},
			{Key: key(kindEpoch), Value: epoch},
			{Key: key(kindHead), Value: []byte{1}},
		},
	})
	if errors.Is(err, fault.Conflict) {
		return nil, fault.New(fault.Conflict, "the store is initialised already")
	}
	if err != nil {
		return nil, fmt.Errorf("initialise store: %w", err)
	}
	return newStore(kv, keys), nil
}

// Open opens the cluster in kv. The format version is checked before anything
// else, and nothing is written. The errors are fault.NotFound when there is no
// cluster, fault.Unsupported when a newer program wrote it, fault.Sealed when the
// root key is another's, and fault.Integrity when the keyring was tampered with.
func Open(ctx context.Context, kv KV, root crypto.RootKey) (*Store, error) {
	item, err := kv.Get(ctx, key(kindFormat))
	if absent(err) {
		return nil, fault.New(fault.NotFound, "the store is not initialised; run heroctl cluster init")
	}
	if err != nil {
		return nil, fmt.Errorf("read format: %w", err)
	}
	cluster, err := parseFormat(string(item.Value))
	if err != nil {
		return nil, err
	}
	item, err = kv.Get(ctx, key(kindKeyring))
	if absent(err) {
		return nil, fault.New(fault.Integrity, "the store has no keyring; restore it from a backup")
	}
	if err != nil {
		return nil, fmt.Errorf("read keyring: %w", err)
	}
	keys, err := crypto.OpenKeyring(root, cluster, item.Value)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	return newStore(kv, keys), nil
}

// parseFormat checks the format record and returns the cluster id in it.
func parseFormat(text string) (string, error) {
	rest, ok := strings.CutPrefix(text, formatMagic)
	number, cluster, found := strings.Cut(rest, " ")
	version, err := strconv.Atoi(number)
	switch {
	case !ok || !found || err != nil || version < 1 || cluster == "":
		return "", fault.New(fault.Integrity, "the store's format record is damaged; restore it from a backup")
	case version > FormatVersion:
		return "", fault.Newf(fault.Unsupported,
			"the store has format %d and this program reads up to %d; use the newer heroctl that wrote it", version, FormatVersion)
	}
	return cluster, nil
}

func newStore(kv KV, keys *crypto.Keyring) *Store {
	s := &Store{kv: kv, keys: keys}
	s.running, s.stop = context.WithCancel(context.Background())
	s.Secrets = &Secrets{store: s, names: newNames(s)}
	s.Secrets.SetDefaultWindow(DefaultWindow)
	s.Policies = &Policies{store: s}
	s.Identities = &Identities{store: s, cache: newPrincipalCache(s)}
	return s
}

// Close ends the store's own work and waits for it. It leaves the KV open; who
// opened it closes it afterwards.
func (s *Store) Close() {
	s.stop()
	s.watches.Wait()
}

// Keys returns the keyring.
func (s *Store) Keys() *crypto.Keyring { return s.keys }

// KV returns the store beneath.
func (s *Store) KV() KV { return s.kv }

// Cluster returns the cluster's id.
func (s *Store) Cluster() string { return s.keys.Cluster() }

// Revision returns the revision of the newest commit.
func (s *Store) Revision(ctx context.Context) (schema.Revision, error) {
	item, err := s.kv.Get(ctx, key(kindHead))
	if err != nil {
		return 0, fmt.Errorf("read head: %w", err)
	}
	return item.Revision, nil
}

// Landed reports whether a commit carried the decision, and its revision. It
// answers for as long as PruneDecisions has not forgotten the decision.
func (s *Store) Landed(ctx context.Context, id schema.DecisionID) (schema.Revision, bool, error) {
	k, err := decisionKey(id)
	if err != nil {
		return 0, false, fault.New(fault.InvalidArgument, "a decision id is a uuid")
	}
	item, err := s.kv.Get(ctx, k)
	if absent(err) {
		return 0, false, nil
	}
	return item.Revision, err == nil, err
}

// pruneChunk is how many keys one commit of bulk work touches: below etcd's limit
// of 128 operations.
const pruneChunk = 100

// PruneDecisions forgets landed decisions older than before: ids are ordered by
// time. It needs a system permit. Call it with a time before which every intent
// in the trail has its outcome.
func (s *Store) PruneDecisions(ctx context.Context, p permit.Permit, before time.Time) (int, error) {
	if p.Principal().Kind != schema.KindSystem {
		return 0, errNoPermit
	}
	own, err := decisionKey(p.ID())
	if err != nil {
		return 0, err
	}
	pruned := 0
	for {
		items, err := s.kv.Scan(ctx, key(kindDecision), nil, pruneChunk)
		if err != nil {
			return pruned, fmt.Errorf("scan decisions: %w", err)
		}
		var old [][]byte
		for _, item := range items {
			if decisionTime(item.Key).Before(before) && !bytes.Equal(item.Key, own) {
				old = append(old, item.Key)
			}
		}
		if len(old) == 0 {
			return pruned, nil
		}
		if _, err := s.commit(ctx, Batch{Delete: old}, p); err != nil {
			return pruned, fmt.Errorf("prune decisions: %w", err)
		}
		pruned += len(old)
		if len(old) < len(items) {
			return pruned, nil
		}
	}
}

// decisionTime returns the time within a decision key: the first 48 bits of a
// UUID of version 7 count milliseconds.
func decisionTime(k []byte) time.Time {
	var ms int64
	for _, b := range k[1:7] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms)
}

// errNoPermit is the answer to a permit for something else.
var errNoPermit = fault.New(fault.Denied, "no permit for this operation")

// errLost says that a commit's requirement did not hold: someone else was
// faster. It never leaves the package; attempt tries again.
var errLost = errors.New("storage: lost a race")

// commit is the one way to write on someone's behalf. It adds the head key and
// the keys of the permits' decisions. It answers errLost when a requirement does
// not hold. Without permits it is the store's own tidying on the way to a
// permitted change, which must not make that change's decision look landed.
func (s *Store) commit(ctx context.Context, b Batch, permits ...permit.Permit) (schema.Revision, error) {
	seen := map[schema.DecisionID]bool{}
	for _, p := range permits {
		if seen[p.ID()] {
			continue
		}
		seen[p.ID()] = true
		k, err := decisionKey(p.ID())
		if err != nil {
			return 0, err
		}
		b.Put = append(b.Put, Put{Key: k, Value: []byte{1}})
	}
	b.Put = append(b.Put, Put{Key: key(kindHead), Value: []byte{1}})
	rev, err := s.kv.Commit(ctx, b)
	if errors.Is(err, fault.Conflict) {
		return 0, errLost
	}
	return rev, err
}

// stage writes content that nothing refers to yet. It carries no decision key:
// the decision lands with the commit that refers to the content.
func (s *Store) stage(ctx context.Context, puts []Put) error {
	for len(puts) > 0 {
		n, size := 0, 0
		for n < len(puts) && n < pruneChunk && (n == 0 || size+len(puts[n].Value) < stageBytes) {
			size += len(puts[n].Value)
			n++
		}
		if _, err := s.commit(ctx, Batch{Put: puts[:n:n]}); err != nil {
			return fmt.Errorf("stage content: %w", err)
		}
		puts = puts[n:]
	}
	return nil
}

// stageBytes bounds one commit of staged content, below etcd's 1.5 MiB.
const stageBytes = 1 << 20

// maxAttempts bounds how often a change is tried again after losing a race. In
// each round one writer wins, so that only a storm reaches it.
const maxAttempts = 1000

// attempt runs change until it does not lose a race. Each run reads the present
// state afresh, so that its checks hold for what it commits.
func attempt[T any](ctx context.Context, change func() (T, error)) (T, error) {
	var none T
	for range maxAttempts {
		v, err := change()
		if !errors.Is(err, errLost) {
			return v, err
		}
		if err := ctx.Err(); err != nil {
			return none, err
		}
	}
	return none, fault.New(fault.Unavailable, "too many changes to the same item at once; try again")
}

// scanAll calls each for every item under prefix, in key order.
func (s *Store) scanAll(ctx context.Context, prefix []byte, each func(Item) error) error {
	var after []byte
	for {
		items, err := s.kv.Scan(ctx, prefix, after, scanPage)
		if err != nil {
			return err
		}
		for _, item := range items {
			if err := each(item); err != nil {
				return err
			}
		}
		if len(items) < scanPage {
			return nil
		}
		after = items[len(items)-1].Key
	}
}

const scanPage = 1000
