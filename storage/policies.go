package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// MaxPolicyBytes is the largest text of one policy.
const MaxPolicyBytes = 64 << 10

// MaxDecisions is how many different decisions one Apply may carry: each is
// marked as landed in the one commit that puts the change in force.
const MaxDecisions = 100

// Policies keeps policy texts, every revision of them and every policy set that
// was ever in force. It is safe for concurrent use.
//
// Texts, revision records and manifest pages are written first; nothing refers to
// them yet. One small commit then flips the head to the new manifest, if nobody
// else has done so meanwhile. What is in force is therefore always a whole set.
//
//	ph  {set digest, pages: {number: page digest}}
//	ps  the same, for each set ever in force
//	pm  [{name, version, digest, changed, author, decision, deleted, builtin, before}]
//	px  text
//	pr  one entry, under name | version | decision
//
// A revision record that an abandoned Apply has left behind is under a decision
// that no manifest names; History follows the decisions and never meets it.
type Policies struct {
	store *Store
	// latest is the newest manifest seen. It is used as long as the head record
	// has the revision it was read at.
	latest atomic.Pointer[manifest]
}

// PolicyChange is one policy to create, update or delete.
type PolicyChange struct {
	Name      schema.Name
	Text      []byte
	Delete    bool
	Builtin   bool           // comes with the server; only a system permit may say so
	Guardrail bool           // the permit is for the guardrail of that name
	IfVersion schema.Version // the change is made only if this is the present revision; 0: whichever is
}

var (
	policyList        = schema.Capability{Resource: schema.Policy, Verb: "list"}
	policyDescribe    = schema.Capability{Resource: schema.Policy, Verb: "describe"}
	guardrailDescribe = schema.Capability{Resource: schema.Guardrail, Verb: "describe"}
	auditExplain      = schema.Capability{Resource: schema.Audit, Verb: "explain"}
)

func textLabel(d schema.Digest) crypto.Label {
	return crypto.Label{Kind: "policy", Path: d.String(), Field: "text"}
}

func revisionLabel(name string, v schema.Version) crypto.Label {
	return crypto.Label{Kind: "policy", Path: name, Field: "revision", Version: uint64(v)}
}

// Current returns the policy set in force. It takes no permit because the engine
// compares it with the set it decides by, before any decision can be made.
func (s *Policies) Current(ctx context.Context) (PolicyManifest, error) {
	m, err := s.current(ctx)
	return m.public(), err
}

// LoadAll returns the policy set in force with its texts, by name. It takes no
// permit: permits are made by deciding, and to decide at all the engine needs the
// policies first. It is for the engine's activation only; whoever shows texts to
// a caller uses Describe or Text.
func (s *Policies) LoadAll(ctx context.Context) (PolicyManifest, map[schema.Name][]byte, error) {
	m, err := s.Current(ctx)
	if err != nil {
		return PolicyManifest{}, nil, err
	}
	texts := make(map[schema.Name][]byte, len(m.Entries))
	for _, e := range m.Entries {
		if texts[e.Name], err = s.text(ctx, e.Digest); err != nil {
			return PolicyManifest{}, nil, err
		}
	}
	return m, texts, nil
}

// current reads the manifest in force: one Get while it has not changed.
func (s *Policies) current(ctx context.Context) (manifest, error) {
	item, err := s.store.kv.Get(ctx, key(kindPolicyHead))
	if absent(err) {
		return manifest{root: rootRecord{Set: setDigest(nil)}}, nil
	}
	if err != nil {
		return manifest{}, fmt.Errorf("read policies: %w", err)
	}
	if known := s.latest.Load(); known != nil && known.rev == item.Revision {
		return *known, nil
	}
	root, err := unseal[rootRecord](s.store.keys, policyHeadLabel, item.Value)
	if err != nil {
		return manifest{}, fmt.Errorf("open policies: %w", err)
	}
	m, err := s.store.loadManifest(ctx, root, item.Revision)
	if err != nil {
		return manifest{}, err
	}
	s.latest.Store(&m)
	return m, nil
}

// Apply makes the changes, all or none, and returns the set then in force. There
// must be one permit for each change, in the same order: create, update or delete
// on the policy's name. A text that is in force already changes nothing. The
// error is fault.Conflict when a policy to create exists, when its name differs
// from another only by case, or when IfVersion does not hold.
func (s *Policies) Apply(ctx context.Context, permits []permit.Permit, changes []PolicyChange) (PolicyManifest, error) {
	if len(permits) == 0 || len(permits) != len(changes) {
		return PolicyManifest{}, errNoPermit
	}
	if err := checkChanges(permits, changes); err != nil {
		return PolicyManifest{}, err
	}
	return attempt(ctx, func() (PolicyManifest, error) {
		m, err := s.current(ctx)
		if err != nil {
			return PolicyManifest{}, err
		}
		entries, err := m.plan(permits, changes)
		if err != nil {
			return PolicyManifest{}, err
		}
		if len(entries) == 0 {
			return m.public(), nil
		}
		return s.flip(ctx, permits, m, entries, changes)
	})
}

// checkChanges checks what does not depend on the present policies.
func checkChanges(permits []permit.Permit, changes []PolicyChange) error {
	seen, decisions := map[string]bool{}, map[schema.DecisionID]bool{}
	for i, c := range changes {
		if len(c.Text) > MaxPolicyBytes {
			return fault.New(fault.TooLarge, "a policy's text is larger than 64 KiB")
		}
		if c.Builtin && permits[i].Principal().Kind != schema.KindSystem {
			return errNoPermit
		}
		if seen[c.Name.Fold()] {
			return fault.New(fault.InvalidArgument, "the same policy is named twice in one change")
		}
		seen[c.Name.Fold()], decisions[permits[i].ID()] = true, true
	}
	if len(decisions) > MaxDecisions {
		return fault.Newf(fault.InvalidArgument, "at most %d policies can be applied at once", MaxDecisions)
	}
	return nil
}

// plan checks the permits and conditions of the changes against the manifest and
// returns the new entries of those policies that do change.
func (m manifest) plan(permits []permit.Permit, changes []PolicyChange) ([]entryRecord, error) {
	var entries []entryRecord
	for i, c := range changes {
		old, _ := m.find(c.Name)
		live := old.Version > 0 && !old.Deleted
		if err := c.permitted(permits[i], live); err != nil {
			return nil, err
		}
		if live && old.Builtin && permits[i].Principal().Kind != schema.KindSystem {
			return nil, fault.New(fault.FailedCheck, "the policy comes with the server and cannot be changed; copy it under another name")
		}
		if c.IfVersion != 0 && (!live || c.IfVersion != old.Version) {
			return nil, fault.New(fault.Conflict, "a policy's present revision is not the one expected; read it and try again")
		}
		if !live && slices.ContainsFunc(m.live, func(e PolicyEntry) bool { return strings.EqualFold(e.Name.String(), c.Name.String()) }) {
			return nil, fault.New(fault.Conflict, "another policy's name differs from this one only by upper and lower case")
		}
		e := entryRecord{Name: c.Name.String(), Version: old.Version + 1, Deleted: c.Delete, Builtin: c.Builtin,
			Changed: stamp(permits[i].Time()), Author: permits[i].Principal().User, Decision: permits[i].ID(), Before: old.Decision}
		if !c.Delete {
			e.Digest = schema.DigestOf(c.Text)
			if live && e.Digest == old.Digest && e.Builtin == old.Builtin {
				continue
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// permitted checks that the permit is for what the change does.
func (c PolicyChange) permitted(p permit.Permit, live bool) error {
	resource := schema.Policy
	if c.Guardrail {
		resource = schema.Guardrail
	}
	holds := func(verb schema.Verb) bool {
		path, ok := p.Path(schema.Capability{Resource: resource, Verb: verb})
		return ok && path == c.Name.Path()
	}
	switch {
	case c.Delete && !holds("delete"), !c.Delete && !holds("create") && !holds("update"):
		return errNoPermit
	case c.Delete && !live:
		return errNoPolicy
	case !c.Delete && live && !holds("update"):
		return fault.New(fault.Conflict, "a policy of this name exists already; update it instead")
	case !c.Delete && !live && !holds("create"):
		return errNoPolicy
	}
	return nil
}

var errNoPolicy = fault.New(fault.NotFound, "there is no policy of this name")

// flip stores the content of a new manifest, then puts it in force.
func (s *Policies) flip(ctx context.Context, permits []permit.Permit, m manifest, entries []entryRecord, changes []PolicyChange) (PolicyManifest, error) {
	next, puts, err := m.with(s.store, entries)
	if err != nil {
		return PolicyManifest{}, err
	}
	content := batch{keys: s.store.keys}
	for _, e := range entries {
		k, err := s.revisionKey(e)
		if err != nil {
			return PolicyManifest{}, err
		}
		content.put(k, revisionLabel(e.Name, e.Version), e)
	}
	stored := map[schema.Digest]bool{}
	for _, c := range changes {
		if digest := schema.DigestOf(c.Text); !c.Delete && !stored[digest] {
			stored[digest] = true
			content.putText(key(kindPolicyText, s.store.blindDigest("policy-text", digest)), textLabel(digest), string(c.Text))
		}
	}
	if content.err != nil {
		return PolicyManifest{}, content.err
	}
	if err := s.store.stage(ctx, append(puts, content.Put...)); err != nil {
		return PolicyManifest{}, err
	}
	b := batch{keys: s.store.keys}
	b.Require = []Require{{Key: key(kindPolicyHead), Revision: m.rev}}
	b.put(key(kindPolicyHead), policyHeadLabel, next.root)
	b.put(key(kindPolicySet, s.store.blindDigest("policy-set", next.root.Set)), setLabel(next.root.Set), next.root)
	next.rev, err = b.commit(ctx, s.store, permits...)
	if err != nil {
		return PolicyManifest{}, fmt.Errorf("apply policies: %w", err)
	}
	s.latest.Store(&next)
	return next.public(), nil
}

func (s *Policies) revisionKey(e entryRecord) ([]byte, error) {
	decision, err := uuid.Parse(string(e.Decision))
	if err != nil {
		return nil, errNoPermit
	}
	return key(kindPolicyRev, s.nameID(e.Name), number(e.Version), decision[:]), nil
}

func (s *Policies) nameID(name string) []byte {
	id := s.store.keys.Blind("policy", crypto.ID{}, name)
	return id[:]
}
