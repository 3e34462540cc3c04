package storage_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/memory"
)

const week = 7 * 24 * time.Hour

func TestSecretLife(t *testing.T) {
	onBoth(t, func(w *world) {
		info, err := w.store.Secrets.Create(w.ctx, w.may("secret:create", "prod/db"), storage.NewSecret{
			Value: value("one"), Owner: "team-db", Description: "the main database", Labels: map[string]string{"tier": "1"},
		})
		w.must(err)
		want := storage.SecretInfo{
			Path: schema.MustPath("prod/db"), Current: 1, Created: w.now, Updated: w.now, Author: "alice", UpdatedBy: "alice",
			Owner: "team-db", Description: "the main database", Labels: map[string]string{"tier": "1"}, Window: week,
		}
		same(t, w, want, info)
		w.reads("prod/db", 0, "one")

		w.now, w.who.User = w.now.Add(time.Hour), "bob"
		w.update("prod/db", "two")
		got := w.reads("prod/db", 0, "two")
		same(t, w, storage.VersionInfo{Version: 2, Created: w.now, Author: "bob", State: storage.VersionCurrent}, got)
		got = w.reads("prod/db", 1, "one")
		same(t, w, storage.VersionInfo{Version: 1, Created: epoch, Author: "alice", State: storage.VersionSuperseded,
			Superseded: w.now, Expires: w.now.Add(week)}, got)

		described, err := w.store.Secrets.Describe(w.ctx, w.may("secret:describe", "prod/db"))
		w.must(err)
		want.Current, want.Updated, want.UpdatedBy = 2, w.now, "bob"
		same(t, w, want, described)
	})
}

func same[T any](t testing.TB, w *world, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b schema.Path) bool { return a == b }),
		cmp.Comparer(func(a, b schema.Name) bool { return a == b })); diff != "" {
		w.Fatalf("(-want +got)\n%s", diff)
	}
}

func TestMetadataUpdateMakesNoVersion(t *testing.T) {
	w := newWorld(t, memory.New())
	w.create("a", "one")
	info, err := w.store.Secrets.Update(w.ctx, w.may("secret:update", "a"), storage.SecretChange{
		Owner: ptr("ops"), Description: ptr("text"), SetLabels: true, Labels: map[string]string{"k": "v"}, Window: ptr(time.Hour), IfVersion: 1,
	})
	w.must(err)
	if info.Current != 1 || info.Owner != "ops" || info.Description != "text" || info.Labels["k"] != "v" || info.Window != time.Hour {
		t.Fatalf("got %+v", info)
	}
	info, err = w.store.Secrets.Update(w.ctx, w.may("secret:update", "a"), storage.SecretChange{SetLabels: true, Window: ptr(time.Duration(0))})
	w.must(err)
	if len(info.Labels) != 0 || info.Window != week || info.Owner != "ops" {
		t.Fatalf("got %+v", info)
	}
	_, err = w.store.Secrets.Update(w.ctx, w.may("secret:update", "a"), storage.SecretChange{})
	w.want(err, fault.InvalidArgument, "nothing to change")
}

func TestCompareAndSet(t *testing.T) {
	w := newWorld(t, memory.New())
	w.create("a", "one")
	change := func(v schema.Version) error {
		_, err := w.store.Secrets.Update(w.ctx, w.may("secret:update", "a"), storage.SecretChange{Value: ptr(value("x")), IfVersion: v})
		return err
	}
	w.must(change(1))
	w.want(change(1), fault.Conflict, "the current version is 2, not 1")
	_, err := w.store.Secrets.Rollback(w.ctx, w.may("secret:rollback", "a"), 1, 1)
	w.want(err, fault.Conflict, "the current version is 2, not 1")
	w.want(w.store.Secrets.Delete(w.ctx, w.may("secret:delete", "a"), 1), fault.Conflict, "the current version is 2")
	w.must(w.store.Secrets.Delete(w.ctx, w.may("secret:delete", "a"), 2))
}

func TestRollback(t *testing.T) {
	onBoth(t, func(w *world) {
		w.create("a", "one")
		w.update("a", "two")
		info, err := w.store.Secrets.Rollback(w.ctx, w.may("secret:rollback", "a"), 1, 0)
		w.must(err)
		if info.Current != 3 {
			w.Fatalf("rollback made version %d, want 3", info.Current)
		}
		if got := w.reads("a", 0, "one"); got.Source != 1 || got.Version != 3 {
			w.Fatalf("got %+v", got)
		}
		w.reads("a", 2, "two")
		for to, detail := range map[schema.Version]string{3: "current one already", 0: "name the version", 9: "no such version"} {
			_, err := w.store.Secrets.Rollback(w.ctx, w.may("secret:rollback", "a"), to, 0)
			if err == nil || !strings.Contains(fault.Detail(err), detail) {
				w.Fatalf("rollback to %d: got %v, want %q", to, err, detail)
			}
		}
		w.now = w.now.Add(week)
		_, err = w.store.Secrets.Rollback(w.ctx, w.may("secret:rollback", "a"), 1, 0)
		w.want(err, fault.NotFound, "version 1 has expired")
	})
}

func TestVersionWindow(t *testing.T) {
	onBoth(t, func(w *world) {
		w.create("a", "one")
		w.now = w.now.Add(100 * week) // the current version never expires
		w.update("a", "two")
		if n := w.sweep(); n != 0 {
			w.Fatalf("the sweep erased %d values before their time", n)
		}
		w.now = w.now.Add(week - time.Microsecond)
		w.reads("a", 1, "one")
		w.now = w.now.Add(time.Microsecond)
		w.refuses("a", 1, fault.NotFound, "version 1 has expired") // though not swept yet
		before := len(w.dump())
		if n := w.sweep(); n != 1 {
			w.Fatalf("the sweep erased %d values, want 1", n)
		}
		if n := w.sweep(); n != 0 {
			w.Fatalf("a second sweep erased %d values, want 0", n)
		}
		if after := len(w.dump()); after >= before {
			w.Fatalf("the store has %d records, %d before the sweep", after, before)
		}
		w.refuses("a", 1, fault.NotFound, "version 1 has expired")
		w.reads("a", 0, "two")
		history, err := w.store.Secrets.History(w.ctx, w.may("secret:describe", "a"))
		w.must(err)
		states := fmt.Sprintf("%d %s %d %s", history[0].Version, history[0].State, history[1].Version, history[1].State)
		if states != "2 current 1 expired" {
			w.Fatalf("got %s", states)
		}
	})
}

func TestWindowOfSecretAndDefault(t *testing.T) {
	w := newWorld(t, memory.New())
	w.store.Secrets.SetDefaultWindow(time.Hour)
	_, err := w.store.Secrets.Create(w.ctx, w.may("secret:create", "long"), storage.NewSecret{Value: value("1"), Window: 3 * time.Hour})
	w.must(err)
	w.create("short", "1")
	w.update("long", "2")
	w.update("short", "2")
	w.now = w.now.Add(time.Hour)
	w.reads("long", 1, "1")
	w.refuses("short", 1, fault.NotFound, "expired")
	w.now = w.now.Add(2 * time.Hour)
	w.refuses("long", 1, fault.NotFound, "expired")
	due, err := w.store.Secrets.Due(w.ctx, w.now)
	w.must(err)
	if !due || w.sweep() != 2 {
		t.Fatal("want both swept")
	}
	if due, _ := w.store.Secrets.Due(w.ctx, w.now); due {
		t.Fatal("something is due right after a sweep")
	}
}

func TestDeleteAndUndelete(t *testing.T) {
	onBoth(t, func(w *world) {
		w.create("a", "one")
		w.must(w.store.Secrets.Delete(w.ctx, w.may("secret:delete", "a"), 0))
		until := schema.FormatTime(w.now.Add(week))
		w.refuses("a", 0, fault.NotFound, "deleted; it can be undeleted until "+until)
		w.refuses("a", 1, fault.NotFound, "deleted")
		_, err := w.store.Secrets.Update(w.ctx, w.may("secret:update", "a"), storage.SecretChange{Value: ptr(value("x"))})
		w.want(err, fault.NotFound, "deleted")
		_, err = w.store.Secrets.Create(w.ctx, w.may("secret:create", "a"), storage.NewSecret{})
		w.want(err, fault.Conflict, "a deleted secret holds this path")
		w.want(w.store.Secrets.Delete(w.ctx, w.may("secret:delete", "a"), 0), fault.NotFound, "deleted")
		info, err := w.store.Secrets.Describe(w.ctx, w.may("secret:describe", "a"))
		w.must(err)
		if !info.Deleted.Equal(w.now) {
			w.Fatalf("got %+v", info)
		}
		history, err := w.store.Secrets.History(w.ctx, w.may("secret:describe", "a"))
		w.must(err)
		if history[0].State != storage.VersionDeleted {
			w.Fatalf("got %+v", history)
		}
		w.now = w.now.Add(week - time.Second)
		w.sweep()
		_, err = w.store.Secrets.Undelete(w.ctx, w.may("secret:undelete", "a"))
		w.must(err)
		w.reads("a", 0, "one")
		_, err = w.store.Secrets.Undelete(w.ctx, w.may("secret:undelete", "a"))
		w.want(err, fault.FailedCheck, "not deleted")
		w.now = w.now.Add(week)
		w.sweep()
		w.reads("a", 0, "one")
	})
}

func TestDeletedSecretIsDestroyedAfterWindow(t *testing.T) {
	for _, swept := range []bool{true, false} {
		onBoth(t, func(w *world) {
			w.create("a", "one")
			w.update("a", "two")
			w.must(w.store.Secrets.Delete(w.ctx, w.may("secret:delete", "a"), 0))
			w.now = w.now.Add(week)
			if swept {
				if n := w.sweep(); n != 1 {
					w.Fatalf("swept %d, want the secret with all its values", n)
				}
			}
			_, err := w.store.Secrets.Undelete(w.ctx, w.may("secret:undelete", "a"))
			w.want(err, fault.NotFound, "no secret")
			_, err = w.store.Secrets.Describe(w.ctx, w.may("secret:describe", "a"))
			w.want(err, fault.NotFound, "no secret")
			if got := w.create("a", "three").Current; got != 3 {
				w.Fatalf("created again with version %d, want 3", got)
			}
			history, err := w.store.Secrets.History(w.ctx, w.may("secret:describe", "a"))
			w.must(err)
			if len(history) != 1 || history[0].Version != 3 {
				w.Fatalf("got %+v", history)
			}
			w.refuses("a", 2, fault.NotFound, "no such version")
		})
	}
}

func TestDestroyLeavesOnlyATombstone(t *testing.T) {
	onBoth(t, func(w *world) {
		empty := len(w.dump())
		w.create("a", "one")
		for i := range 130 { // more than fit one commit
			w.update("a", fmt.Sprint(i))
		}
		w.must(w.store.Secrets.Destroy(w.ctx, w.may("secret:destroy", "a")))
		w.now = w.now.Add(week)
		w.sweep() // takes the expiry records
		_, err := w.store.PruneDecisions(w.ctx, w.system("cluster:configure", ""), time.Now().Add(time.Hour))
		w.must(err)
		if got := len(w.dump()) - empty; got != 2 { // the tombstone, and the prune's own decision
			w.Fatalf("%d records are left, want 2", got)
		}
		w.want(w.store.Secrets.Destroy(w.ctx, w.may("secret:destroy", "a")), fault.NotFound, "no secret")
		if got := w.create("a", "again").Current; got != 132 {
			w.Fatalf("created again with version %d, want 132", got)
		}
	})
}

func TestCaseConflict(t *testing.T) {
	w := newWorld(t, memory.New())
	w.create("prod/Db", "1")
	_, err := w.store.Secrets.Create(w.ctx, w.may("secret:create", "PROD/db"), storage.NewSecret{})
	w.want(err, fault.Conflict, "differs from this one only by upper and lower case")
	if strings.Contains(err.Error(), "Db") {
		t.Fatal("the error names the other secret")
	}
	_, err = w.store.Secrets.Create(w.ctx, w.may("secret:create", "prod/Db"), storage.NewSecret{})
	w.want(err, fault.Conflict, "exists at this path already")
	w.must(w.store.Secrets.Destroy(w.ctx, w.may("secret:destroy", "prod/Db")))
	w.create("PROD/db", "2")
}

func TestLimits(t *testing.T) {
	w := newWorld(t, memory.New())
	labels := map[string]string{}
	for i := range storage.MaxLabels + 1 {
		labels[fmt.Sprint(i)] = ""
	}
	cases := []struct {
		n      storage.NewSecret
		kind   fault.Kind
		detail string
	}{
		{storage.NewSecret{Value: value(strings.Repeat("x", 1<<20+1))}, fault.TooLarge, "larger than 1 MiB"},
		{storage.NewSecret{Description: strings.Repeat("x", 1025)}, fault.TooLarge, "longer than 1024"},
		{storage.NewSecret{Description: "a\x1b[2Jb"}, fault.InvalidArgument, "control character"},
		{storage.NewSecret{Description: "a\xff"}, fault.InvalidArgument, "not UTF-8"},
		{storage.NewSecret{Description: "a\u202eb"}, fault.InvalidArgument, "description"},
		{storage.NewSecret{Owner: "a\nb"}, fault.InvalidArgument, "owner"},
		{storage.NewSecret{Owner: strings.Repeat("x", 129)}, fault.TooLarge, "owner"},
		{storage.NewSecret{Labels: labels}, fault.TooLarge, "more than 32 labels"},
		{storage.NewSecret{Labels: map[string]string{"A": ""}}, fault.InvalidArgument, "a label's key"},
		{storage.NewSecret{Labels: map[string]string{"": ""}}, fault.InvalidArgument, "a label's key"},
		{storage.NewSecret{Labels: map[string]string{"a.": ""}}, fault.InvalidArgument, "a label's key"},
		{storage.NewSecret{Labels: map[string]string{"a": strings.Repeat("x", 257)}}, fault.TooLarge, "label's value"},
		{storage.NewSecret{Labels: map[string]string{"a": "\x00"}}, fault.InvalidArgument, "label's value"},
		{storage.NewSecret{Window: -1}, fault.InvalidArgument, "window"},
		{storage.NewSecret{Window: time.Millisecond}, fault.InvalidArgument, "window"},
	}
	for _, c := range cases {
		_, err := w.store.Secrets.Create(w.ctx, w.may("secret:create", "a"), c.n)
		w.want(err, c.kind, c.detail)
	}
	big := strings.Repeat("x", 1<<20)
	w.create("big", big)
	w.reads("big", 0, big)
	w.create("empty", "")
	w.reads("empty", 0, "")
}

func TestPermitsAreForOneThing(t *testing.T) {
	w := newWorld(t, memory.New())
	w.create("a", "1")
	wrong := []permit.Permit{{}, w.may("secret:list", "a"), w.may("user:describe", "a"), w.may("token:list", "")}
	for _, p := range wrong {
		s := w.store.Secrets
		_, err1 := s.Create(w.ctx, p, storage.NewSecret{})
		_, _, err2 := s.Read(w.ctx, p, 0)
		_, _, err3 := s.Inject(w.ctx, p, 0)
		_, err4 := s.Describe(w.ctx, p)
		_, err5 := s.History(w.ctx, p)
		_, err6 := s.Update(w.ctx, p, storage.SecretChange{Value: ptr(value("x"))})
		_, err7 := s.Rollback(w.ctx, p, 1, 0)
		_, err8 := s.Undelete(w.ctx, p)
		_, err9 := s.List(w.ctx, p, storage.ListQuery{})
		_, err10 := s.Sweep(w.ctx, p)
		for i, err := range []error{err1, err2, err3, err4, err5, err6, err7, err8, err9, err10, s.Delete(w.ctx, p, 0), s.Destroy(w.ctx, p)} {
			if !errors.Is(err, fault.Denied) {
				t.Errorf("method %d: got %v, want denied", i+1, err)
			}
		}
	}
	if _, err := w.store.Secrets.Sweep(w.ctx, w.may("secret:destroy", "a")); !errors.Is(err, fault.Denied) {
		t.Errorf("a user's permit sweeps: %v", err)
	}
	_, _, err := w.store.Secrets.Inject(w.ctx, w.may("secret:inject", "a"), 0)
	w.must(err)
}

func TestConcurrentUpdates(t *testing.T) {
	onBoth(t, func(w *world) {
		w.create("a", "0")
		const clients, each = 8, 10
		seen := make([][]schema.Version, clients)
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				for i := range each {
					text := fmt.Sprint(c, "/", i)
					info, err := w.store.Secrets.Update(w.ctx, w.may("secret:update", "a"), storage.SecretChange{Value: ptr(value(text))})
					if err != nil {
						w.Error(err)
						return
					}
					seen[c] = append(seen[c], info.Current)
				}
			})
		}
		wg.Wait()
		got := map[schema.Version]bool{}
		for c, versions := range seen {
			for i, v := range versions {
				got[v] = true
				w.reads("a", v, fmt.Sprint(c, "/", i))
			}
		}
		if len(got) != clients*each {
			w.Fatalf("%d distinct versions, want %d", len(got), clients*each)
		}
	})
}

func TestConcurrentCompareAndSetHasOneWinner(t *testing.T) {
	w := newWorld(t, memory.New())
	w.create("a", "0")
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = w.store.Secrets.Update(w.ctx, w.may("secret:update", "a"), storage.SecretChange{Value: ptr(value("x")), IfVersion: 1})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			w.want(err, fault.Conflict, "current version")
		}
	}
	if won != 1 {
		t.Fatalf("%d updates won, want 1", won)
	}
}
