package policies

import (
	"cmp"
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema"
)

// maxCases bounds the work of one question. Whether some patterns cover another is as
// hard as finding a hole in a formula, so that a text can be made to ask for ever; a
// policy that a person wrote needs a few hundred.
const maxCases = 1 << 20

// walk builds paths segment by segment. What may follow depends only on how many
// segments there are and on which patterns of out are still alive, that is, could yet
// cover the path; so of all the beginnings that agree in this the shortest is kept.
// Segments that pass the same tests are alike, and the shortest stands for all.
type walk struct {
	in, out []shape
	budget  *int
}

// beginning is a path so far.
type beginning struct {
	alive    []int // of out, by index
	segments []string
	length   int // in bytes
}

func newWalk(in, out []schema.Pattern, values map[string]string, budget *int) *walk {
	w := &walk{budget: budget}
	for _, p := range in {
		w.in = append(w.in, shapeOf(p, values))
	}
	for _, p := range out {
		w.out = append(w.out, shapeOf(p, values))
	}
	return w
}

func (w *walk) run() (schema.Path, outcome) {
	start := &beginning{length: -1} // the first segment has no slash before it
	for i := range w.out {
		start.alive = append(start.alive, i)
	}
	layer := []*beginning{start}
	for n := 1; n <= schema.MaxPathSegments && len(layer) > 0; n++ {
		next := map[string]*beginning{}
		for _, b := range layer {
			if *w.budget <= 0 {
				return schema.Path{}, gaveUp
			}
			w.extend(b, next)
		}
		layer = sorted(next)
		for _, b := range layer {
			if w.accepts(b, n) {
				if path, err := schema.ParsePath(strings.Join(b.segments, "/")); err == nil {
					return path, exists
				}
			}
		}
	}
	return schema.Path{}, none
}

// sorted returns the beginnings, the shortest first, so that the same question always
// has the same answer.
func sorted(next map[string]*beginning) []*beginning {
	layer := make([]*beginning, 0, len(next))
	for _, b := range next {
		layer = append(layer, b)
	}
	slices.SortFunc(layer, func(a, b *beginning) int {
		return cmp.Or(a.length-b.length, slices.Compare(a.segments, b.segments))
	})
	return layer
}

// extend adds each kind of segment to the beginning.
func (w *walk) extend(b *beginning, next map[string]*beginning) {
	if w.covers(b) {
		return
	}
	for _, segment := range w.segments(b) {
		*w.budget -= 1 + len(b.alive)
		length := b.length + 1 + len(segment)
		if length > schema.MaxPathBytes {
			continue
		}
		alive, covered := w.survivors(b, segment)
		if covered {
			continue
		}
		key := keyOf(alive)
		if best, ok := next[key]; !ok || length < best.length || length == best.length && segment < best.segments[len(best.segments)-1] {
			next[key] = &beginning{alive: alive, segments: append(slices.Clip(b.segments), segment), length: length}
		}
	}
}

// covers reports whether some pattern of out covers all that is longer.
func (w *walk) covers(b *beginning) bool {
	return slices.ContainsFunc(b.alive, func(i int) bool {
		t, _ := w.out[i].at(len(b.segments))
		return t == test{"", prefix}
	})
}

func keyOf(alive []int) string {
	key := make([]byte, 0, 4*len(alive))
	for _, i := range alive {
		key = append(key, byte(i), byte(i>>8), byte(i>>16), byte(i>>24))
	}
	return string(key)
}

// survivors returns which patterns of out could still cover the path with the segment
// added. covered is true when one does already, whatever follows.
func (w *walk) survivors(b *beginning, segment string) (alive []int, covered bool) {
	n := len(b.segments)
	for _, i := range b.alive {
		t, ok := w.out[i].at(n)
		switch {
		case !ok || !t.passes(segment):
		case t.kind == prefix:
			return nil, true
		default:
			alive = append(alive, i)
		}
	}
	return alive, false
}

// accepts reports whether the path may end here: every pattern of in covers it, and no
// living pattern of out ends here too.
func (w *walk) accepts(b *beginning, n int) bool {
	for _, s := range w.in {
		if !s.ends(n) {
			return false
		}
	}
	return !slices.ContainsFunc(b.alive, func(i int) bool { return w.out[i].ends(n) })
}

// segments returns the shortest segment of each kind that can come next: those that
// every pattern of in lets pass, told apart by the tests of out.
func (w *walk) segments(b *beginning) []string {
	n, start := len(b.segments), ""
	var only *test
	for _, s := range w.in {
		t, ok := s.at(n)
		if !ok {
			return nil
		}
		switch t.kind {
		case literal:
			only = &t
		case prefix:
			if len(t.text) > len(start) {
				start = t.text
			}
		}
	}
	var found []string
	if only != nil {
		found = []string{only.text}
	} else {
		found = kinds(start, w.tests(b))
	}
	return slices.DeleteFunc(found, func(segment string) bool {
		return schema.CheckSegment(segment) != "" || slices.ContainsFunc(w.in, func(s shape) bool {
			t, _ := s.at(n)
			return !t.passes(segment)
		})
	})
}

// tests returns what the living patterns of out ask of the next segment.
func (w *walk) tests(b *beginning) []test {
	var tests []test
	for _, i := range b.alive {
		if t, ok := w.out[i].at(len(b.segments)); ok && t.kind != anyOne {
			tests = append(tests, t)
		}
	}
	slices.SortFunc(tests, func(a, b test) int { return cmp.Or(strings.Compare(a.text, b.text), int(a.kind)-int(b.kind)) })
	return slices.Compact(tests)
}
