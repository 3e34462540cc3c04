package storage

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/heroctl/heroctl/engine/permit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Limits of a page.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// ListQuery selects a page of names, in name order.
type ListQuery struct {
	Prefix schema.Prefix
	Search string      // part of the name, in any case; "" for all
	After  schema.Path // the last name of the page before; zero for the first page
	Limit  int         // 1 to MaxPage; 0 for DefaultPage
}

// ListItem is one visible name.
type ListItem struct {
	Path schema.Path
	Info *SecretInfo // nil unless the caller may describe the secret
}

// ListPage is a page of visible names.
type ListPage struct {
	Items []ListItem
	More  bool // whether a further page has at least one name
}

// pageSize checks the limit of a page.
func pageSize(limit int) (int, error) {
	if limit < 0 || limit > MaxPage {
		return 0, fault.Newf(fault.InvalidArgument, "a page has 1 to %d items", MaxPage)
	}
	if limit == 0 {
		return DefaultPage, nil
	}
	return limit, nil
}

// List returns the names that the permit's filter shows. It needs secret:list.
// Deleted secrets are left out. Only the ranges that the filter can show are
// looked at.
func (s *Secrets) List(ctx context.Context, p permit.Permit, q ListQuery) (ListPage, error) {
	filter, ok := p.Filter(secretList)
	if !ok {
		return ListPage{}, errNoPermit
	}
	limit, err := pageSize(q.Limit)
	if err != nil {
		return ListPage{}, err
	}
	sorted, err := s.names.snapshot(ctx)
	if err != nil {
		return ListPage{}, err
	}
	paths := walk(sorted, filter, q, limit+1)
	page := ListPage{More: len(paths) > limit}
	for _, path := range paths[:min(limit, len(paths))] {
		item, err := s.listItem(ctx, filter, path)
		if err != nil {
			return ListPage{}, fmt.Errorf("list secrets: %w", err)
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

func (s *Secrets) listItem(ctx context.Context, filter permit.Filter, path schema.Path) (ListItem, error) {
	item := ListItem{Path: path}
	if !filter.Has("describe", path) {
		return item, nil
	}
	l, err := s.load(ctx, path)
	if absent(err) {
		return item, nil // destroyed since the names were taken
	}
	info := s.info(l)
	item.Info = &info
	return item, err
}

// walk collects up to limit visible names of a query from a sorted slice.
func walk(sorted []schema.Path, filter permit.Filter, q ListQuery, limit int) []schema.Path {
	var found []schema.Path
	search := strings.ToLower(q.Search)
	for _, r := range ranges(filter.Prefixes(), q.Prefix.String()) {
		start := max(r.prefix, q.After.String())
		i := sort.Search(len(sorted), func(i int) bool { return sorted[i].String() >= start })
		for ; i < len(sorted) && r.has(sorted[i].String()); i++ {
			path := sorted[i]
			if path == q.After || !matches(path, search) || !filter.Visible(path) {
				continue
			}
			if found = append(found, path); len(found) == limit {
				return found
			}
		}
	}
	return found
}

func matches(path schema.Path, search string) bool {
	return search == "" || strings.Contains(path.Fold(), search)
}

// nameRange is a run of sorted names: those with a prefix, or one name.
type nameRange struct {
	prefix string
	exact  bool
}

func (r nameRange) has(name string) bool {
	if r.exact {
		return name == r.prefix
	}
	return strings.HasPrefix(name, r.prefix)
}

// ranges intersects a filter's literal prefixes with a query's subtree: the path
// itself and all below it, which are not neighbours in name order ("prod-x" lies
// between "prod" and "prod/x").
func ranges(visible []string, subtree string) []nameRange {
	if subtree == "" {
		all := make([]nameRange, len(visible))
		for i, prefix := range visible {
			all[i] = nameRange{prefix: prefix}
		}
		return all
	}
	var own []nameRange
	below := subtree + "/"
	if slices.ContainsFunc(visible, func(v string) bool { return strings.HasPrefix(subtree, v) }) {
		own = append(own, nameRange{prefix: subtree, exact: true})
	}
	for _, prefix := range visible {
		switch {
		case strings.HasPrefix(prefix, below):
			own = append(own, nameRange{prefix: prefix})
		case strings.HasPrefix(below, prefix):
			own = append(own, nameRange{prefix: below})
		}
	}
	return own
}
