package schema

import "strings"

// Beats says by which step of the order of priority p wins over q, in words that
// complete "…, because": the first step of Rank in which they differ. It is "" when
// p does not win.
func (p Pattern) Beats(q Pattern) string {
	if p.Compare(q) <= 0 {
		return ""
	}
	first := func(r Pattern) int {
		if i := strings.IndexAny(r.text, wild); i >= 0 {
			return i
		}
		return MaxPathBytes
	}
	switch {
	case first(p) != first(q):
		return "its first wildcard comes later"
	case p.Open() != q.Open():
		return `it does not end in "*"`
	case strings.Count(p.text, "+") != strings.Count(q.text, "+"):
		return `it has fewer "+"`
	case len(p.text) != len(q.text):
		return "it is longer"
	}
	return "it sorts later as text"
}
