package storage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/memory"
)

func TestList(t *testing.T) {
	onBoth(t, func(w *world) {
		for _, path := range []string{"prod/db", "prod", "prod-x/a", "prod/admin/key", "dev/db", "prod.y", "zz"} {
			w.create(path, "x")
		}
		prefix := func(text string) schema.Prefix {
			p, err := schema.ParsePrefix(text)
			w.must(err)
			return p
		}
		cases := []struct {
			see  sight
			q    storage.ListQuery
			want []string
		}{
			{everywhere(), storage.ListQuery{}, []string{"dev/db", "prod", "prod-x/a", "prod.y", "prod/admin/key", "prod/db", "zz"}},
			{everywhere(), storage.ListQuery{Limit: 2}, []string{"dev/db", "prod", "prod-x/a", "prod.y", "prod/admin/key", "prod/db", "zz"}},
			{everywhere(), storage.ListQuery{Prefix: prefix("prod"), Limit: 1}, []string{"prod", "prod/admin/key", "prod/db"}},
			{under("prod/"), storage.ListQuery{Prefix: prefix("prod")}, []string{"prod/admin/key", "prod/db"}},
			{under("prod/a", "prod/d"), storage.ListQuery{Prefix: prefix("prod")}, []string{"prod/admin/key", "prod/db"}},
			{under("prod/a", "prod/d"), storage.ListQuery{Prefix: prefix("prod/admin")}, []string{"prod/admin/key"}},
			{under("dev/", "zz"), storage.ListQuery{}, []string{"dev/db", "zz"}},
			{under("dev/"), storage.ListQuery{Prefix: prefix("prod")}, nil},
			{under(), storage.ListQuery{}, nil},
			{everywhere(), storage.ListQuery{Search: "DB"}, []string{"dev/db", "prod/db"}},
			{everywhere(), storage.ListQuery{Search: "n/k"}, []string{"prod/admin/key"}},
			{everywhere(), storage.ListQuery{After: schema.MustPath("prod/aaa")}, []string{"prod/admin/key", "prod/db", "zz"}},
		}
		for i, c := range cases {
			if diff := cmp.Diff(c.want, w.lists(c.see, c.q)); diff != "" {
				w.Errorf("case %d (-want +got)\n%s", i, diff)
			}
		}
	})
}

func TestListShowsAcknowledgedChanges(t *testing.T) {
	onBoth(t, func(w *world) {
		w.create("a", "x")
		check := func(want ...string) {
			w.Helper()
			if got := w.lists(everywhere(), storage.ListQuery{}); !slices.Equal(got, want) {
				w.Fatalf("got %v, want %v", got, want)
			}
		}
		check("a")
		w.create("b", "x")
		check("a", "b")
		w.must(w.store.Secrets.Delete(w.ctx, w.may("secret:delete", "a"), 0))
		check("b")
		_, err := w.store.Secrets.Undelete(w.ctx, w.may("secret:undelete", "a"))
		w.must(err)
		check("a", "b")
		w.must(w.store.Secrets.Destroy(w.ctx, w.may("secret:destroy", "a")))
		check("b")
		w.create("a", "x")
		check("a", "b")
	})
}

// TestListSeesOthersChanges changes the store through a second Store, as another
// gateway would.
func TestListSeesOthersChanges(t *testing.T) {
	w := newWorld(t, memory.New())
	w.create("a", "x")
	w.lists(everywhere(), storage.ListQuery{})
	other, err := storage.Open(w.ctx, w.kv, w.root)
	w.must(err)
	defer other.Close()
	_, err = other.Secrets.Create(w.ctx, w.may("secret:create", "b"), storage.NewSecret{})
	w.must(err)
	for range 200 {
		if len(w.lists(everywhere(), storage.ListQuery{})) == 2 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the other's secret never showed up")
}

func TestListDescribesOnlyWhatItMay(t *testing.T) {
	w := newWorld(t, memory.New())
	w.create("a", "x")
	page, err := w.store.Secrets.List(w.ctx, w.mayList("secret:list", everywhere()), storage.ListQuery{})
	w.must(err)
	if page.Items[0].Info == nil || page.Items[0].Info.Current != 1 {
		t.Fatalf("got %+v", page.Items[0])
	}
	page, err = w.store.Secrets.List(w.ctx, w.mayList("secret:list", sight{prefixes: []string{""}}), storage.ListQuery{})
	w.must(err)
	if page.Items[0].Info != nil {
		t.Fatal("described without describe")
	}
	_, err = w.store.Secrets.List(w.ctx, w.mayList("secret:list", everywhere()), storage.ListQuery{Limit: storage.MaxPage + 1})
	w.want(err, fault.InvalidArgument, "1 to 1000")
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	fresh, err := storage.Open(w.ctx, w.kv, w.root)
	w.must(err)
	defer fresh.Close()
	if _, err := fresh.Secrets.List(ctx, w.mayList("secret:list", everywhere()), storage.ListQuery{}); !errors.Is(err, context.Canceled) && !errors.Is(err, fault.Canceled) {
		t.Fatalf("got %v, want canceled", err)
	}
}

// TestListLooksOnlyAtItsRanges counts how often the filter is asked.
func TestListLooksOnlyAtItsRanges(t *testing.T) {
	w := newWorld(t, memory.New())
	for i := range 300 {
		w.create(fmt.Sprintf("team%d/s%d", i%10, i), "x")
	}
	asked := 0
	see := sight{prefixes: []string{"team3/"}, asked: &asked}
	if got := len(w.lists(see, storage.ListQuery{})); got != 30 || asked != 30 {
		t.Fatalf("found %d after asking %d times, want 30 and 30", got, asked)
	}
}
