package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema/fault"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// Canaries are in every value, name, user and policy that a writer makes. None
// may be found on the disk.
const (
	valueCanary  = "CanaryInTheValue"
	nameCanary   = "CanaryInTheName"
	userCanary   = "CanaryInTheUser"
	policyCanary = "CanaryInThePolicy"
)

// state is what a thing should be: a secret, a policy or a token. States are
// never changed; operations make new ones.
type state struct {
	exists  bool // a token: not revoked
	deleted bool // a secret that can be undeleted
	first   uint32
	last    uint32            // highest version ever
	values  map[uint32]string // readable ones from first to last; a policy has the last text only
	note    string            // a secret's description
}

// with returns the state after a new version.
func (s state) with(value string) state {
	s.values = maps.Clone(s.values)
	if s.values == nil {
		s.values = map[uint32]string{}
	}
	s.last++
	s.values[s.last] = value
	return s
}

// operation is one change: what it does, what it makes of the state, and how the
// trail speaks of it.
type operation struct {
	thing  *thing
	action string
	record string // path in the trail
	after  state
	// do makes the call and returns the version and, of a new token, the accessor.
	do func(context.Context, *client.Client) (version uint32, accessor string, err error)

	version uint32 // acknowledged; 0 where there is none
	landed  bool   // not acknowledged, and found to have happened
}

// thing is a secret, a policy or a token and what is known of it.
type thing struct {
	kind    string // resource
	path    string
	state   state
	pending *operation // sent and not acknowledged
	touched bool       // changed since it was last compared
	seen    uint32     // version of a policy when it was last compared
}

// writer changes things that nobody else changes, one after the other, and
// remembers what was acknowledged.
type writer struct {
	user    string
	token   string
	rng     *rand.Rand
	serial  int
	secrets []*thing
	policy  *thing
	tokens  []*thing

	shared *shared

	acked []*operation // in this cycle
	sent  *operation   // not acknowledged in this cycle
	total int
}

const secretsPerWriter = 5

// shared is a secret that every writer updates, unconditionally.
type shared struct {
	path string
	mu   sync.Mutex
	sent map[string]bool   // values sent; guarded by mu
	ack  map[uint32]string // values acknowledged, by version; guarded by mu
}

// update is a change of the shared secret.
func (s *shared) update(value string) *operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[value] = true
	return &operation{thing: &thing{kind: "shared", path: s.path}, action: "update", record: s.path,
		do: func(ctx context.Context, c *client.Client) (uint32, string, error) {
			made, err := c.Secrets().UpdateSecret(ctx, &v1.UpdateSecretRequest{Path: s.path, Change: &v1.SecretChange{Value: []byte(value)}})
			if err != nil {
				return 0, "", err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if old, ok := s.ack[made.GetVersion()]; ok {
				return 0, "", fmt.Errorf("version %d was given twice: for %q and %q", made.GetVersion(), old, value)
			}
			s.ack[made.GetVersion()] = value
			return made.GetVersion(), "", nil
		}}
}

func newWriter(n int, seed int64, s *shared) *writer {
	w := &writer{shared: s, user: fmt.Sprintf("%s-%d", userCanary, n), rng: rand.New(rand.NewPCG(uint64(seed), uint64(n)))}
	for i := range secretsPerWriter {
		w.secrets = append(w.secrets, &thing{kind: "secret", path: fmt.Sprintf("kill/%s-%d/s%d", nameCanary, n, i)})
	}
	w.policy = &thing{kind: "policy", path: fmt.Sprintf("%s-%d", policyCanary, n)}
	return w
}

// run makes changes until the server is gone. Any other failure is an error.
func (w *writer) run(ctx context.Context, c *client.Client) error {
	w.acked, w.sent = nil, nil
	for {
		op := w.next()
		op.thing.pending, w.sent = op, op
		version, accessor, err := op.do(ctx, c)
		if gone(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s %s %s: %w", op.action, op.thing.kind, op.record, err)
		}
		if want := op.after.last; op.thing.kind != "shared" && version != 0 && version != want {
			return fmt.Errorf("%s %s: got version %d, want %d", op.action, op.record, version, want)
		}
		op.version = version
		op.thing.state, op.thing.pending, op.thing.touched = op.after, nil, true
		if op.thing.kind == "token" && op.action == "create" {
			op.thing.path = op.record + "/" + accessor
			w.tokens = append(w.tokens, op.thing)
		}
		w.acked, w.sent = append(w.acked, op), nil
		w.total++
	}
}

// gone reports whether the server did not answer, because it is no more.
func gone(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Cause != nil && e.Kind() == fault.Unavailable
}

// next picks a change that the present state allows.
func (w *writer) next() *operation {
	w.serial++
	switch n := w.rng.IntN(100); {
	case n < 4:
		return w.nextPolicy()
	case n < 14:
		return w.nextToken()
	case n < 17:
		return w.shared.update(w.value())
	}
	return w.nextSecret(w.secrets[w.rng.IntN(len(w.secrets))])
}

func (w *writer) value() string {
	filler := make([]byte, w.rng.IntN(200))
	for i := range filler {
		filler[i] = byte(w.rng.Uint32())
	}
	return fmt.Sprintf("%s %s %d %s", valueCanary, w.user, w.serial, filler)
}

func (w *writer) nextSecret(t *thing) *operation {
	s := t.state
	switch n := w.rng.IntN(100); {
	case !s.exists:
		return w.create(t)
	case len(s.values) > 25 || n < 4:
		return w.destroy(t)
	case s.deleted:
		return w.undelete(t)
	case n < 12:
		return w.remove(t)
	case n < 25 && len(s.values) > 1:
		return w.rollback(t)
	case n < 35:
		return w.describe(t)
	}
	return w.update(t)
}

func (w *writer) create(t *thing) *operation {
	after := t.state
	after.exists, after.first, after.values, after.note = true, after.last+1, nil, ""
	value := w.value()
	return secretOperation(t, "create", after.with(value), func(ctx context.Context, c v1.SecretsClient) (*v1.Secret, error) {
		return c.CreateSecret(ctx, &v1.CreateSecretRequest{Path: t.path, Secret: &v1.NewSecret{Value: []byte(value)}})
	})
}

func (w *writer) update(t *thing) *operation {
	value := w.value()
	return secretOperation(t, "update", t.state.with(value), func(ctx context.Context, c v1.SecretsClient) (*v1.Secret, error) {
		return c.UpdateSecret(ctx, &v1.UpdateSecretRequest{Path: t.path, Change: &v1.SecretChange{Value: []byte(value), IfVersion: t.state.last}})
	})
}

// describe changes metadata only: no new version.
func (w *writer) describe(t *thing) *operation {
	after := t.state
	after.note = fmt.Sprintf("%s note %d", valueCanary, w.serial)
	return secretOperation(t, "update", after, func(ctx context.Context, c v1.SecretsClient) (*v1.Secret, error) {
		return c.UpdateSecret(ctx, &v1.UpdateSecretRequest{Path: t.path, Change: &v1.SecretChange{Description: &after.note}})
	})
}

func (w *writer) rollback(t *thing) *operation {
	to := t.state.first + uint32(w.rng.IntN(int(t.state.last-t.state.first)))
	return secretOperation(t, "rollback", t.state.with(t.state.values[to]), func(ctx context.Context, c v1.SecretsClient) (*v1.Secret, error) {
		return c.RollbackSecret(ctx, &v1.RollbackSecretRequest{Path: t.path, Rollback: &v1.SecretRollback{ToVersion: to}})
	})
}

func (w *writer) remove(t *thing) *operation {
	after := t.state
	after.deleted = true
	return secretOperation(t, "delete", after, func(ctx context.Context, c v1.SecretsClient) (*v1.Secret, error) {
		_, err := c.DeleteSecret(ctx, &v1.DeleteSecretRequest{Path: t.path})
		return nil, err
	})
}

func (w *writer) undelete(t *thing) *operation {
	after := t.state
	after.deleted = false
	return secretOperation(t, "undelete", after, func(ctx context.Context, c v1.SecretsClient) (*v1.Secret, error) {
		return c.UndeleteSecret(ctx, &v1.UndeleteSecretRequest{Path: t.path})
	})
}

func (w *writer) destroy(t *thing) *operation {
	after := state{last: t.state.last}
	return secretOperation(t, "destroy", after, func(ctx context.Context, c v1.SecretsClient) (*v1.Secret, error) {
		_, err := c.DestroySecret(ctx, &v1.DestroySecretRequest{Path: t.path})
		return nil, err
	})
}

func secretOperation(t *thing, action string, after state, call func(context.Context, v1.SecretsClient) (*v1.Secret, error)) *operation {
	return &operation{thing: t, action: action, record: t.path, after: after,
		do: func(ctx context.Context, c *client.Client) (uint32, string, error) {
			s, err := call(ctx, c.Secrets())
			return s.GetVersion(), "", err
		}}
}

func (w *writer) nextPolicy() *operation {
	t := w.policy
	op := &operation{thing: t, action: "create", record: t.path}
	if t.state.exists && w.rng.IntN(4) == 0 {
		op.action, op.after = "delete", state{last: t.state.last}
		op.do = func(ctx context.Context, c *client.Client) (uint32, string, error) {
			_, err := c.Policies().DeletePolicy(ctx, &v1.DeletePolicyRequest{Name: t.path})
			return 0, "", err
		}
		return op
	}
	if t.state.exists {
		op.action = "update"
	}
	text := fmt.Sprintf("policy %q {\n  description = \"%s %d\"\n  secret {\n    path = \"x%d/*\"\n    capabilities = [\"read\"]\n  }\n}\n",
		t.path, policyCanary, w.serial, w.serial)
	op.after = state{exists: true, last: t.state.last, values: map[uint32]string{0: text}}
	op.do = func(ctx context.Context, c *client.Client) (uint32, string, error) {
		_, err := c.Policies().ApplyPolicies(ctx, &v1.ApplyPoliciesRequest{Files: []*v1.PolicyFile{{Name: "p.hcl", Text: text}}})
		return 0, "", err
	}
	return op
}

// nextToken makes a token for the writer's user, or revokes one.
func (w *writer) nextToken() *operation {
	others := w.tokens[1:] // the first is the writer's own
	live := slices.IndexFunc(others, func(t *thing) bool { return t.state.exists })
	if live >= 0 && w.rng.IntN(2) == 0 {
		t := others[live]
		return &operation{thing: t, action: "revoke", record: t.path, after: state{}, do: func(ctx context.Context, c *client.Client) (uint32, string, error) {
			_, err := c.Access().RevokeToken(ctx, &v1.RevokeTokenRequest{Path: t.path})
			return 0, "", err
		}}
	}
	t := &thing{kind: "token"}
	op := &operation{thing: t, action: "create", record: w.user, after: state{exists: true}}
	op.do = func(ctx context.Context, c *client.Client) (uint32, string, error) {
		made, err := c.Access().CreateToken(ctx, &v1.CreateTokenRequest{User: w.user, Ttl: durationpb.New(time.Hour)})
		if err == nil {
			op.after.note = made.GetToken()
		}
		return 0, made.GetAccessor(), err
	}
	return op
}
