package engine

import (
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema"
)

// node is a trie of patterns by segment. It finds the ids of exactly the patterns
// that cover a path: what Pattern.Matches says of each, without asking each. It is
// built once and then read only. It takes a template for a "+": whether the path has the
// template's value there is seen afterwards.
type node struct {
	ends     []uint32            // patterns that end with this segment
	literals map[string]*node    // next segment, literally
	plus     *node               // next segment "+"
	stars    map[string][]uint32 // patterns whose next and last segment is the key and "*"
	lengths  []int               // lengths of the keys of stars, sorted
}

// add puts a pattern in.
func (n *node) add(p schema.Pattern, id uint32) {
	segment, rest, more := "", p.Widened().String(), true
	for more {
		segment, rest, more = strings.Cut(rest, "/")
		if prefix, star := strings.CutSuffix(segment, "*"); star {
			n.addStar(prefix, id)
			return
		}
		n = n.child(segment)
	}
	n.ends = append(n.ends, id)
}

func (n *node) addStar(prefix string, id uint32) {
	if n.stars == nil {
		n.stars = map[string][]uint32{}
	}
	n.stars[prefix] = append(n.stars[prefix], id)
	if at, found := slices.BinarySearch(n.lengths, len(prefix)); !found {
		n.lengths = slices.Insert(n.lengths, at, len(prefix))
	}
}

// child returns the node of the next segment, making it if need be.
func (n *node) child(segment string) *node {
	if segment == "+" {
		if n.plus == nil {
			n.plus = &node{}
		}
		return n.plus
	}
	next := n.literals[segment]
	if next == nil {
		if n.literals == nil {
			n.literals = map[string]*node{}
		}
		next = &node{}
		n.literals[segment] = next
	}
	return next
}

// match appends the ids of the patterns that cover the path; those it appends are
// sorted.
func (n *node) match(ids []uint32, path schema.Path) []uint32 {
	if path.IsZero() {
		return append(ids, n.stars[""]...)
	}
	before := len(ids)
	ids = n.walk(ids, path.String())
	sortIDs(ids[before:])
	return ids
}

// walk appends the ids for what is left of a path, which is at least one segment.
func (n *node) walk(ids []uint32, rest string) []uint32 {
	for _, length := range n.lengths {
		if length > len(rest) {
			break
		}
		ids = append(ids, n.stars[rest[:length]]...)
	}
	segment, tail, more := strings.Cut(rest, "/")
	for _, next := range [2]*node{n.literals[segment], n.plus} {
		switch {
		case next == nil:
		case more:
			ids = next.walk(ids, tail)
		default:
			ids = append(ids, next.ends...)
		}
	}
	return ids
}

// sortIDs sorts a list that is nearly always a handful.
func sortIDs(ids []uint32) {
	if len(ids) > 16 {
		slices.Sort(ids)
		return
	}
	for i := 1; i < len(ids); i++ {
		for j := i; j > 0 && ids[j] < ids[j-1]; j-- {
			ids[j], ids[j-1] = ids[j-1], ids[j]
		}
	}
}
