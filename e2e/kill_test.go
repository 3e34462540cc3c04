package e2e_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

const (
	writersInLoop = 4
	deepEvery     = 50
)

// TestKill kills a server with signal 9, again and again, while it is written to,
// and compares what the next one holds with what was acknowledged.
func TestKill(t *testing.T) {
	cycles := *cyclesFlag
	if cycles == 0 {
		cycles = 200
		if testing.Short() {
			cycles = 12
		}
	}
	h, l := newHost(t), newLoop(t, seed(t))
	l.prepare(h)
	began := time.Now()
	for i := 1; i <= cycles; i++ {
		l.cycle(h, i%deepEvery == 0)
		if t.Failed() {
			t.Fatalf("in cycle %d", i)
		}
	}
	t.Logf("%d cycles in %.1f s, %d changes acknowledged; ready after: median %v, slowest %v",
		cycles, time.Since(began).Seconds(), l.changes(), l.startTime(0.5), l.startTime(1))
	last := h.start()
	l.compare(context.Background(), h, last, true)
	last.kill()
	verifyOffline(t, h)
	findCanaries(t, h, l)
}

// loop is the writers and what they know, from server to server.
type loop struct {
	t       *testing.T
	rng     *rand.Rand
	writers []*writer
	shared  *shared
	starts  []time.Duration
	since   time.Time // when the last cycle began
}

func newLoop(t *testing.T, seed int64) *loop {
	l := &loop{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 0)),
		shared: &shared{path: "kill/" + nameCanary + "-shared", sent: map[string]bool{}, ack: map[uint32]string{}}}
	for n := range writersInLoop {
		l.writers = append(l.writers, newWriter(n+1, seed, l.shared))
	}
	return l
}

// prepare makes the writers' users and tokens, and the shared secret.
func (l *loop) prepare(h *host) {
	s := h.start()
	defer s.stop()
	ctx, c := context.Background(), s.client(h.admin)
	for _, w := range l.writers {
		_, err := c.Access().CreateUser(ctx, &v1.CreateUserRequest{Name: w.user})
		must(l.t, err)
		made, err := c.Access().CreateToken(ctx, &v1.CreateTokenRequest{User: w.user, Roles: []string{"admin"}})
		must(l.t, err)
		w.token = made.GetToken()
		w.tokens = append(w.tokens, &thing{kind: "token", path: w.user + "/" + made.GetAccessor(), state: state{exists: true, note: w.token}})
	}
	_, err := c.Secrets().CreateSecret(ctx, &v1.CreateSecretRequest{Path: l.shared.path, Secret: &v1.NewSecret{Value: []byte(valueCanary)}})
	must(l.t, err)
}

// cycle starts a server, compares, lets the writers write and kills it.
func (l *loop) cycle(h *host, deep bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if l.rng.IntN(8) == 0 {
		h.killEarly(time.Duration(l.rng.IntN(100)) * time.Millisecond)
	}
	s := h.start()
	l.starts = append(l.starts, s.took)
	l.compare(ctx, h, s, deep)
	if l.t.Failed() {
		return
	}
	l.since = time.Now().Add(-time.Millisecond)
	var running sync.WaitGroup
	for _, w := range l.writers {
		c := s.client(w.token)
		running.Go(func() {
			if err := w.run(ctx, c); err != nil {
				l.t.Error(err)
			}
		})
	}
	time.Sleep(time.Duration(5+l.rng.IntN(60)) * time.Millisecond)
	s.kill()
	running.Wait()
	for _, word := range []string{"level=ERROR", "panic", "DATA RACE"} {
		if strings.Contains(s.log.String(), word) {
			l.t.Errorf("the server said %s:\n%s", word, s.log)
		}
	}
}

// killEarly starts a server and kills it while it starts, so that the next one
// recovers what a recovery left.
func (h *host) killEarly(after time.Duration) {
	cmd := h.command("server", "--config", h.config)
	must(h.tb, cmd.Start())
	time.Sleep(after)
	_ = cmd.Process.Kill() // signal 9 ends it
	_ = cmd.Wait()
}

func (l *loop) compare(ctx context.Context, h *host, s *server, deep bool) {
	if err := l.problems(ctx, h, s, deep); err != nil {
		l.t.Errorf("%v\nthe server said:\n%s", err, s.log)
	}
}

func (l *loop) problems(ctx context.Context, h *host, s *server, deep bool) error {
	o := &oracle{server: s, admin: s.client(h.admin)}
	var checks []func() error
	for _, w := range l.writers {
		checks = append(checks, func() error { return o.check(ctx, w, l.since, deep) })
	}
	checks = append(checks, func() error { return o.unsettled(ctx, l.since) })
	if deep {
		checks = append(checks, func() error { return o.shared(ctx, l.shared) }, func() error { return o.unsettled(ctx, time.Time{}) })
	}
	problems := make([]error, len(checks))
	var running sync.WaitGroup
	for i, check := range checks {
		running.Go(func() { problems[i] = check() })
	}
	running.Wait()
	return errors.Join(problems...)
}

// TestOracle changes what the writers remember, each time in one way, and wants
// the comparison to notice: it could not tell a loss otherwise.
func TestOracle(t *testing.T) {
	h, l := newHost(t), newLoop(t, seed(t))
	l.prepare(h)
	s, w, live := l.until(h)
	for range 2 {
		must(t, l.problems(context.Background(), h, s, true))
	}
	for _, c := range []struct {
		name  string
		want  string
		spoil func(*thing)
	}{
		{"a value", "got", func(t *thing) { t.state.values = map[uint32]string{t.state.last: "another"} }},
		{"a later version", "got version", func(t *thing) { t.state = t.state.with("lost") }},
		{"an earlier version", "got version", func(t *thing) { t.state.last-- }},
		{"the first version", "history", func(t *thing) { t.state.first++ }},
		{"a delete", "deleted", func(t *thing) { t.state.deleted = true }},
		{"a destroy", "should not be", func(t *thing) { t.state.exists = false }},
		{"a note", "note", func(t *thing) { t.state.note = "another" }},
		{"a secret", "no secret", func(t *thing) { t.path += "-lost" }},
	} {
		kept := *live
		c.spoil(live)
		if err := l.problems(context.Background(), h, s, true); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("losing %s: the comparison said %v", c.name, err)
		}
		*live = kept
	}
	acked := w.acked
	for name, spoil := range map[string]func(){
		"one more":     func() { w.acked = append(slices.Clone(acked), &operation{thing: live, action: "update"}) },
		"another verb": func() { w.acked = slices.Clone(acked); w.acked[0] = &operation{thing: acked[0].thing, action: "read"} },
		"one less":     func() { w.acked, w.sent = acked[1:], nil },
	} {
		spoil()
		if err := l.problems(context.Background(), h, s, false); err == nil || !strings.Contains(err.Error(), "trail of") {
			t.Errorf("changes acknowledged, %s: the comparison said %v", name, err)
		}
	}
}

// until goes on until the first writer has a secret that can be read and two
// changes acknowledged in his last cycle. The server it returns holds them.
func (l *loop) until(h *host) (*server, *writer, *thing) {
	w := l.writers[0]
	for range 100 {
		l.cycle(h, false)
		s := h.start()
		l.compare(context.Background(), h, s, true)
		i := slices.IndexFunc(w.secrets, func(t *thing) bool { return t.state.exists && !t.state.deleted })
		if i >= 0 && len(w.acked) > 1 {
			return s, w, w.secrets[i]
		}
		s.kill()
	}
	l.t.Fatal("the writer has no secret after all this")
	return nil, nil, nil
}

func (l *loop) changes() int {
	n := 0
	for _, w := range l.writers {
		n += w.total
	}
	return n
}

func (l *loop) startTime(quantile float64) time.Duration {
	sorted := slices.Sorted(slices.Values(l.starts))
	return sorted[int(quantile*float64(len(sorted)-1))].Round(time.Millisecond)
}
