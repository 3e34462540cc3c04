package storage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// PolicyEntry is one policy of a manifest.
type PolicyEntry struct {
	Name     schema.Name
	Version  schema.Version // the policy's revision: 1, 2, 3 …, never reused
	Digest   schema.Digest  // of the text; zero in the history where a revision is a deletion
	Changed  time.Time
	Author   string
	Decision schema.DecisionID // that allowed the revision
	Deleted  bool              // only in the history
	Builtin  bool              // comes with the server
}

// PolicyManifest is a policy set: which policies are in force, by digest. It is
// immutable.
type PolicyManifest struct {
	Set      schema.Digest   // as policies.Set computes it: see setDigest
	Revision schema.Revision // of the commit that put it in force; 0 before the first
	Entries  []PolicyEntry   // in name order
}

// Get returns the entry of a policy.
func (m PolicyManifest) Get(name schema.Name) (PolicyEntry, bool) {
	i, ok := slices.BinarySearchFunc(m.Entries, name, func(e PolicyEntry, n schema.Name) int {
		return strings.Compare(e.Name.String(), n.String())
	})
	if !ok {
		return PolicyEntry{}, false
	}
	return m.Entries[i], true
}

// setDigest is the digest of a policy set: over the policies in name order, each
// as length of name (4 bytes, big-endian) | name | digest of its text. It MUST
// equal policies.Set.Digest, since records name sets by it.
func setDigest(entries []PolicyEntry) schema.Digest {
	h := sha256.New()
	var line []byte
	for _, e := range entries {
		name := e.Name.String()
		line = binary.BigEndian.AppendUint32(line[:0], uint32(len(name)))
		h.Write(append(append(line, name...), e.Digest[:]...))
	}
	return schema.Digest(h.Sum(nil))
}

// entryRecord is a policy in a manifest page and in a revision record.
type entryRecord struct {
	Name     string            `json:"name"`
	Version  schema.Version    `json:"version"`
	Digest   schema.Digest     `json:"digest"`
	Changed  time.Time         `json:"changed"`
	Author   string            `json:"author"`
	Decision schema.DecisionID `json:"decision"`
	Deleted  bool              `json:"deleted,omitempty"`
	Builtin  bool              `json:"builtin,omitempty"`
	Before   schema.DecisionID `json:"before,omitempty"` // decision of the revision before
}

func (r entryRecord) entry() (PolicyEntry, error) {
	name, err := schema.ParseName(r.Name)
	if err != nil {
		return PolicyEntry{}, fault.New(fault.Integrity, "a policy record has no name")
	}
	return PolicyEntry{name, r.Version, r.Digest, r.Changed, r.Author, r.Decision, r.Deleted, r.Builtin}, nil
}

// manifest is the stored form of a policy set: a tree of two levels. The entries
// are spread over pages by a hash of the name, deleted policies included, so that
// their numbers go on. Pages are stored under the digest of their content, and
// the root lists them. A change of one policy among many thousands so rewrites
// one page and the root.
type manifest struct {
	root  rootRecord
	pages map[byte][]entryRecord
	rev   schema.Revision // of the head record it came from
	live  []PolicyEntry   // in name order
}

// rootRecord is the record ph, and ps under the set's digest.
type rootRecord struct {
	Set   schema.Digest          `json:"set"`
	Pages map[byte]schema.Digest `json:"pages"`
}

var policyHeadLabel = crypto.Label{Kind: "policy", Field: "head"}

func setLabel(set schema.Digest) crypto.Label {
	return crypto.Label{Kind: "policy", Path: set.String(), Field: "set"}
}

func pageLabel(page schema.Digest) crypto.Label {
	return crypto.Label{Kind: "policy", Path: page.String(), Field: "page"}
}

// pageOf returns which page a policy is on.
func pageOf(name string) byte {
	sum := sha256.Sum256([]byte(name))
	return sum[0]
}

// blindDigest is the blinded id of a digest in keys: whoever can guess a policy's
// text must not be able to confirm it.
func (s *Store) blindDigest(space string, d schema.Digest) []byte {
	id := s.keys.Blind(space, crypto.ID{}, d.String())
	return id[:]
}

func (m manifest) find(name schema.Name) (entryRecord, bool) {
	for _, e := range m.pages[pageOf(name.String())] {
		if e.Name == name.String() {
			return e, true
		}
	}
	return entryRecord{}, false
}

// with returns the manifest with entries added or replaced, and the sealed pages
// that have to be stored for it.
func (m manifest) with(s *Store, changed []entryRecord) (manifest, []Put, error) {
	next := manifest{pages: maps.Clone(m.pages), rev: m.rev}
	next.root.Pages = maps.Clone(m.root.Pages)
	if next.pages == nil {
		next.pages, next.root.Pages = map[byte][]entryRecord{}, map[byte]schema.Digest{}
	}
	touched := map[byte]bool{}
	for _, e := range changed {
		n := pageOf(e.Name)
		page := slices.DeleteFunc(slices.Clone(next.pages[n]), func(old entryRecord) bool { return old.Name == e.Name })
		next.pages[n] = append(page, e)
		touched[n] = true
	}
	var puts []Put
	for n := range touched {
		text, err := json.Marshal(next.pages[n])
		if err != nil {
			return manifest{}, nil, fault.Wrap(fault.Internal, "", err)
		}
		digest := schema.DigestOf(text)
		sealed, err := s.keys.Seal(pageLabel(digest), text)
		if err != nil {
			return manifest{}, nil, err
		}
		next.root.Pages[n] = digest
		puts = append(puts, Put{Key: key(kindPolicyPage, s.blindDigest("policy-page", digest)), Value: sealed})
	}
	if err := next.replace(m.live, changed); err != nil {
		return manifest{}, nil, err
	}
	next.root.Set = setDigest(next.live)
	return next, puts, nil
}

// replace makes the list of policies in force from the one before.
func (m *manifest) replace(before []PolicyEntry, changed []entryRecord) error {
	names := make(map[string]bool, len(changed))
	for _, r := range changed {
		names[r.Name] = true
		e, err := r.entry()
		if err != nil {
			return err
		}
		if !e.Deleted {
			m.live = append(m.live, e)
		}
	}
	for _, e := range before {
		if !names[e.Name.String()] {
			m.live = append(m.live, e)
		}
	}
	slices.SortFunc(m.live, byName)
	return nil
}

func byName(a, b PolicyEntry) int { return strings.Compare(a.Name.String(), b.Name.String()) }

// index collects the policies in force from the pages.
func (m *manifest) index() error {
	for _, page := range m.pages {
		for _, r := range page {
			e, err := r.entry()
			if err != nil {
				return err
			}
			if !e.Deleted {
				m.live = append(m.live, e)
			}
		}
	}
	slices.SortFunc(m.live, byName)
	return nil
}

// public returns the policies in force.
func (m manifest) public() PolicyManifest {
	return PolicyManifest{Set: m.root.Set, Revision: m.rev, Entries: m.live}
}

// loadManifest reads the pages of a root.
func (s *Store) loadManifest(ctx context.Context, root rootRecord, rev schema.Revision) (manifest, error) {
	m := manifest{root: root, pages: map[byte][]entryRecord{}, rev: rev}
	for n, digest := range root.Pages {
		item, err := s.kv.Get(ctx, key(kindPolicyPage, s.blindDigest("policy-page", digest)))
		if absent(err) {
			return manifest{}, fault.New(fault.Integrity, "a page of the policy manifest is missing")
		}
		if err != nil {
			return manifest{}, fmt.Errorf("read policy manifest: %w", err)
		}
		m.pages[n], err = unseal[[]entryRecord](s.keys, pageLabel(digest), item.Value)
		if err != nil {
			return manifest{}, fmt.Errorf("open policy manifest: %w", err)
		}
	}
	if err := m.index(); err != nil {
		return manifest{}, err
	}
	if setDigest(m.live) != root.Set {
		return manifest{}, fault.New(fault.Integrity, "the policy manifest does not have its digest")
	}
	return m, nil
}
