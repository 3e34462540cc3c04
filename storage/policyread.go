package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// ManifestAt returns the policy set of a digest, in force now or in the past, so
// that a recorded decision can be explained and made again. It needs
// audit:explain. Its Revision is that of the set's last time in force.
func (s *Policies) ManifestAt(ctx context.Context, p permit.Permit, set schema.Digest) (PolicyManifest, error) {
	if !p.Allows(auditExplain) {
		return PolicyManifest{}, errNoPermit
	}
	item, err := s.store.kv.Get(ctx, key(kindPolicySet, s.store.blindDigest("policy-set", set)))
	if absent(err) {
		return PolicyManifest{}, fault.New(fault.NotFound, "no policy set with this digest was ever in force")
	}
	if err != nil {
		return PolicyManifest{}, fmt.Errorf("read policy set: %w", err)
	}
	root, err := unseal[rootRecord](s.store.keys, setLabel(set), item.Value)
	if err != nil {
		return PolicyManifest{}, fmt.Errorf("open policy set: %w", err)
	}
	m, err := s.store.loadManifest(ctx, root, item.Revision)
	return m.public(), err
}

// Text returns a policy text by its digest, of any revision. It needs
// audit:explain, or policy:describe on a policy that has or had the text.
func (s *Policies) Text(ctx context.Context, p permit.Permit, digest schema.Digest) ([]byte, error) {
	if !p.Allows(auditExplain) {
		history, err := s.History(ctx, p)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(history, func(e PolicyEntry) bool { return e.Digest == digest }) {
			return nil, errNoText
		}
	}
	return s.text(ctx, digest)
}

var errNoText = fault.New(fault.NotFound, "there is no policy text with this digest")

func (s *Policies) text(ctx context.Context, digest schema.Digest) ([]byte, error) {
	item, err := s.store.kv.Get(ctx, key(kindPolicyText, s.store.blindDigest("policy-text", digest)))
	if absent(err) {
		return nil, errNoText
	}
	if err != nil {
		return nil, fmt.Errorf("read policy text: %w", err)
	}
	text, err := s.store.keys.Open(textLabel(digest), item.Value)
	if err == nil && schema.DigestOf(text) != digest {
		err = fault.New(fault.Integrity, "a policy text does not have its digest")
	}
	return text, err
}

// Describe returns a revision of a policy with its text, 0 being the one in
// force. It needs policy:describe, or guardrail:describe of a guardrail.
func (s *Policies) Describe(ctx context.Context, p permit.Permit, v schema.Version) (PolicyEntry, []byte, error) {
	last, err := s.last(ctx, p)
	if err != nil {
		return PolicyEntry{}, nil, err
	}
	e, err := last.entry()
	switch {
	case err != nil:
		return PolicyEntry{}, nil, err
	case v > e.Version:
		return PolicyEntry{}, nil, fault.New(fault.NotFound, "the policy has no such revision")
	case v != 0 && v < e.Version:
		history, err := s.history(ctx, last)
		if err != nil {
			return PolicyEntry{}, nil, err
		}
		e = history[e.Version-v]
	}
	if e.Deleted {
		return PolicyEntry{}, nil, errNoPolicy
	}
	text, err := s.text(ctx, e.Digest)
	return e, text, err
}

// History returns every revision of a policy, newest first, also of a deleted
// one. It needs policy:describe, or guardrail:describe of a guardrail.
func (s *Policies) History(ctx context.Context, p permit.Permit) ([]PolicyEntry, error) {
	last, err := s.last(ctx, p)
	if err != nil {
		return nil, err
	}
	return s.history(ctx, last)
}

// last returns the newest revision of the policy that a describe permit names,
// which may be its deletion.
func (s *Policies) last(ctx context.Context, p permit.Permit) (entryRecord, error) {
	name, err := permittedName(p, policyDescribe)
	if p.Allows(guardrailDescribe) {
		name, err = permittedName(p, guardrailDescribe)
	}
	if err != nil {
		return entryRecord{}, err
	}
	m, err := s.current(ctx)
	if err != nil {
		return entryRecord{}, err
	}
	last, ok := m.find(name)
	if !ok {
		return entryRecord{}, errNoPolicy
	}
	return last, nil
}

// history follows a policy's revisions back from the last one.
func (s *Policies) history(ctx context.Context, last entryRecord) ([]PolicyEntry, error) {
	e, err := last.entry()
	all := []PolicyEntry{e}
	for at := last; err == nil && at.Version > 1; {
		var k []byte
		if k, err = s.revisionKey(entryRecord{Name: at.Name, Version: at.Version - 1, Decision: at.Before}); err != nil {
			break
		}
		var item Item
		if item, err = s.store.kv.Get(ctx, k); err != nil {
			break
		}
		if at, err = unseal[entryRecord](s.store.keys, revisionLabel(at.Name, at.Version-1), item.Value); err != nil {
			break
		}
		e, err = at.entry()
		all = append(all, e)
	}
	if absent(err) {
		err = fault.New(fault.Integrity, "a revision of the policy is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("read policy history: %w", err)
	}
	return all, nil
}

// PolicyQuery selects a page of policies, in name order.
type PolicyQuery struct {
	After schema.Name
	Limit int // 1 to MaxPage; 0 for DefaultPage
}

// PolicyItem is one visible policy.
type PolicyItem struct {
	Name  schema.Name
	Entry *PolicyEntry // nil unless the caller may describe the policy
}

// PolicyPage is a page of visible policies.
type PolicyPage struct {
	Items []PolicyItem
	More  bool
	Set   schema.Digest
}

// List returns the policies in force that the permit's filter shows. It needs
// policy:list.
func (s *Policies) List(ctx context.Context, p permit.Permit, q PolicyQuery) (PolicyPage, error) {
	filter, ok := p.Filter(policyList)
	if !ok {
		return PolicyPage{}, errNoPermit
	}
	limit, err := pageSize(q.Limit)
	if err != nil {
		return PolicyPage{}, err
	}
	m, err := s.Current(ctx)
	if err != nil {
		return PolicyPage{}, err
	}
	page := PolicyPage{Set: m.Set}
	for _, e := range m.Entries {
		if e.Name.String() <= q.After.String() || !filter.Visible(e.Name.Path()) {
			continue
		}
		if len(page.Items) == limit {
			page.More = true
			break
		}
		item := PolicyItem{Name: e.Name}
		if filter.Has("describe", e.Name.Path()) {
			item.Entry = &e
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

// Changed returns a channel that receives after the policy set may have changed,
// also through another server on the same store. It never holds more than one
// notice. It is closed when ctx or the store ends, or when changes were missed:
// call it again, then Current.
func (s *Policies) Changed(ctx context.Context) (<-chan struct{}, error) {
	from, err := s.store.Revision(ctx)
	if err != nil {
		return nil, err
	}
	watch, cancel := context.WithCancel(s.store.running)
	events, err := s.store.kv.Watch(watch, key(kindPolicyHead), from)
	if err != nil {
		cancel()
		return nil, errors.Join(fault.Unavailable, err)
	}
	stop := context.AfterFunc(ctx, cancel)
	notices := make(chan struct{}, 1)
	s.store.watches.Go(func() {
		defer close(notices)
		defer stop()
		defer cancel()
		for range events {
			select {
			case notices <- struct{}{}:
			default:
			}
		}
	})
	return notices, nil
}
