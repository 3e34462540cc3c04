package storage_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/memory"
)

// model is what a path should hold.
type model struct {
	exists  bool
	deleted time.Time
	first   int
	values  map[int]string
	dies    map[int]time.Time // of superseded versions
	last    int               // highest number ever given
}

func (m *model) add(text string, now time.Time) {
	if m.exists {
		m.dies[m.last] = now.Add(week)
	}
	m.last++
	m.values[m.last] = text
}

// settle lets the window end.
func (m *model) settle(now time.Time) {
	if m.exists && !m.deleted.IsZero() && !now.Before(m.deleted.Add(week)) {
		m.exists, m.deleted = false, time.Time{}
	}
}

// TestSecretsAgainstModel runs random operations on the store and on a model.
// Rapid prints the seed of a failure.
func TestSecretsAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, memory.New())
		defer w.store.Close()
		paths := map[string]*model{"a": {}, "a/b": {}, "c": {}}
		serial := 0
		on := func(f func(path string, m *model)) func(*rapid.T) {
			return func(rt *rapid.T) {
				path := rapid.SampledFrom([]string{"a", "a/b", "c"}).Draw(rt, "path")
				paths[path].settle(w.now)
				f(path, paths[path])
			}
		}
		live := func(m *model) bool { return m.exists && m.deleted.IsZero() }
		expect := func(err error, ok bool) bool {
			if (err == nil) != ok {
				rt.Fatalf("got error %v, want success %v", err, ok)
			}
			return ok
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": on(func(path string, m *model) {
				serial++
				text := fmt.Sprint(serial)
				info, err := w.store.Secrets.Create(w.ctx, w.may("secret:create", path), storage.NewSecret{Value: value(text)})
				if expect(err, !m.exists) {
					*m = model{last: m.last, first: m.last + 1, values: map[int]string{}, dies: map[int]time.Time{}}
					m.add(text, w.now)
					m.exists = true
					if int(info.Current) != m.last {
						rt.Fatalf("created version %d, want %d", info.Current, m.last)
					}
				}
			}),
			"update": on(func(path string, m *model) {
				serial++
				text := fmt.Sprint(serial)
				_, err := w.store.Secrets.Update(w.ctx, w.may("secret:update", path), storage.SecretChange{Value: ptr(value(text))})
				if expect(err, live(m)) {
					m.add(text, w.now)
				}
			}),
			"rollback": on(func(path string, m *model) {
				to := rapid.IntRange(1, m.last+1).Draw(rt, "to")
				_, err := w.store.Secrets.Rollback(w.ctx, w.may("secret:rollback", path), schema.Version(to), 0)
				if expect(err, live(m) && to >= m.first && to < m.last && w.now.Before(m.dies[to])) {
					m.add(m.values[to], w.now)
				}
			}),
			"delete": on(func(path string, m *model) {
				if expect(w.store.Secrets.Delete(w.ctx, w.may("secret:delete", path), 0), live(m)) {
					m.deleted = w.now
				}
			}),
			"undelete": on(func(path string, m *model) {
				_, err := w.store.Secrets.Undelete(w.ctx, w.may("secret:undelete", path))
				if expect(err, m.exists && !live(m)) {
					m.deleted = time.Time{}
				}
			}),
			"destroy": on(func(path string, m *model) {
				if expect(w.store.Secrets.Destroy(w.ctx, w.may("secret:destroy", path)), m.exists) {
					m.exists, m.deleted = false, time.Time{}
				}
			}),
			"wait": func(rt *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 100).Draw(rt, "hours")) * time.Hour)
			},
			"sweep": func(*rapid.T) { w.sweep() },
			"": func(rt *rapid.T) {
				for path, m := range paths {
					m.settle(w.now)
					agree(rt, w, path, m)
				}
				want := 0
				for _, m := range paths {
					if live(m) {
						want++
					}
				}
				if got := w.lists(everywhere(), storage.ListQuery{}); len(got) != want {
					rt.Fatalf("%d names listed, want %d", len(got), want)
				}
			},
		})
	})
}

// agree compares every version of a path with the model.
func agree(rt *rapid.T, w *world, path string, m *model) {
	for v := 1; v <= m.last+1; v++ {
		got, _, err := w.store.Secrets.Read(w.ctx, w.may("secret:read", path), schema.Version(v))
		readable := m.exists && m.deleted.IsZero() && v >= m.first && v <= m.last && (v == m.last || w.now.Before(m.dies[v]))
		switch {
		case readable && (err != nil || !got.Equal(value(m.values[v]))):
			rt.Fatalf("%s version %d: got %v, want its value", path, v, err)
		case !readable && !errors.Is(err, fault.NotFound):
			rt.Fatalf("%s version %d: got %v, want not found", path, v, err)
		}
	}
}
