package engine

import (
	"strings"

	"github.com/heroctl/heroctl/schema"
)

// probes returns paths that try a pattern: first one that it covers, then those of one
// beside it, one below and one above, or the zero path if nothing is above.
func probes(p schema.Pattern) []schema.Path {
	text := strings.ReplaceAll(p.String(), "+", "probe")
	if before, open := strings.CutSuffix(text, "*"); open {
		text = before + "probe"
		if len(text) > schema.MaxPathBytes || len(text)-strings.LastIndexByte(text, '/')-1 > schema.MaxSegmentBytes {
			text = strings.TrimRight(before, ".") // "*" covers the empty rest too
		}
	}
	above := ""
	if i := strings.LastIndexByte(text, '/'); i > 0 {
		above = text[:i]
	}
	var paths []schema.Path
	for _, candidate := range []string{text, "x" + text, text + "x", text + "/probe", above} {
		if path, err := schema.ParsePath(candidate); err == nil {
			paths = append(paths, path)
		}
	}
	if above == "" {
		paths = append(paths, schema.Path{}) // a pattern of one segment, and only "*" covers it
	}
	return paths
}
