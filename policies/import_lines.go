package policies

import (
	"regexp"
	"slices"
	"strings"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// The indented block repeats its keys, so that it is no YAML, and its indentation is
// easily lost on the way. Its lines say enough without: a reader of lines needs no more.
//
//	policy "deploy-prod-secrets":
//	  secret:
//	    path: "prod/*"
//	    capabilities: ["read", "list"]
//	  secret:
//	    path: "prod/admin/*"
//	    capabilities: []  # not even list
var (
	policyLine = regexp.MustCompile(`^policy\s+("[^"]*"|[^\s"]+)\s*:$`)
	keyLine    = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_-]*)\s*:\s*(.*)$`)
	itemLine   = regexp.MustCompile(`^-\s+(.*)$`)
	quotedWord = regexp.MustCompile(`^("[^"\\]*"|'[^']*'|[^\s"'\[\],{}]+)$`)
)

// lineRule is a resource block while its lines are read.
type lineRule struct {
	line, pathLine, wordsLine int
	resource, path            string
	words                     []string
	given, open, broken       bool // capabilities were there; items may follow; a line was not understood
}

// lineReader reads the lines of one text.
type lineReader struct {
	*importer
	policy *draft
	rule   *lineRule
}

func (m *importer) readLines(text []byte) Diagnostics {
	if _, diags := guard(m.file, text); diags.HasErrors() {
		return diags
	}
	r := &lineReader{importer: m}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if bare := strings.TrimSpace(withoutComment(line)); bare != "" {
			if refused := r.read(bare, n); refused != nil {
				return Diagnostics{*refused}
			}
		}
	}
	r.endRule()
	return nil
}

// guard refuses what no reader should see: texts that are too large, not UTF-8 or hide
// something.
func guard(file string, text []byte) (ok bool, diags Diagnostics) {
	if len(text) > MaxFileBytes {
		_, diags, _ = scan(file, text)
		return false, diags
	}
	diags = scanRunes(file, text)
	return !diags.HasErrors(), diags
}

// withoutComment cuts a "#" outside quotes, and what follows it.
func withoutComment(line string) string {
	quote := byte(0)
	for i := range len(line) {
		switch c := line[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return line[:i]
		}
	}
	return line
}

func (r *lineReader) read(line string, n int) *Diagnostic {
	if match := policyLine.FindStringSubmatch(line); match != nil {
		r.endRule()
		r.policy = r.begin(strings.Trim(match[1], `"`), n)
		return nil
	}
	if r.policy == nil {
		d := r.at(n, Error, "a line before the first policy", `the text begins with policy "name":`)
		return &d
	}
	if match := itemLine.FindStringSubmatch(line); match != nil && r.rule != nil && r.rule.open {
		r.words(match[1], n)
		return nil
	}
	match := keyLine.FindStringSubmatch(line)
	switch {
	case match == nil:
		r.unknown(n, "the line is not understood", "a line is a key, a colon and a value")
	case match[2] == "" && match[1] != "capabilities" && match[1] != "path" && match[1] != "description":
		r.endRule()
		r.rule = &lineRule{line: n, resource: match[1]}
	default:
		r.value(match[1], match[2], n)
	}
	return nil
}

// unknown leaves a line out, and with it the rule that it may have restricted.
func (r *lineReader) unknown(n int, summary, detail string) {
	r.drop(n, summary, detail)
	if r.rule != nil {
		r.rule.broken, r.rule.open = true, false
	}
}

func (r *lineReader) value(key, value string, n int) {
	if r.rule != nil {
		r.rule.open = false
	}
	switch {
	case key == "description" && r.rule == nil:
		r.describe(r.policy, unquote(value), n)
	case r.rule == nil:
		r.drop(n, "the key is not known here", "a policy has a description and resource blocks")
	case key == "path" && r.rule.path == "" && quotedWord.MatchString(value):
		r.rule.path, r.rule.pathLine = unquote(value), n
	case key == "capabilities" && !r.rule.given:
		r.rule.given, r.rule.wordsLine = true, n
		r.list(value, n)
	case key == "path" || key == "capabilities":
		r.unknown(n, "the value is not understood", "a block has one path and one list of capabilities; the rule is left out")
	default:
		r.unknown(n, "the key is not known here", didYouMean(key, []string{"path", "capabilities"},
			"a resource block has path and capabilities; the rule is left out, since the key may restrict it"))
	}
}

// list reads [a, b], or nothing when the items follow on lines of their own.
func (r *lineReader) list(value string, n int) {
	if value == "" {
		r.rule.open = true
		return
	}
	inner, ok := strings.CutPrefix(value, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !ok || !closed {
		r.unknown(n, "the value is not understood", `write a list such as ["read"] on one line; the rule is left out`)
		return
	}
	for word := range strings.SplitSeq(strings.TrimSpace(inner), ",") {
		if word = strings.TrimSpace(word); word != "" {
			r.words(word, n)
		}
	}
}

func (r *lineReader) words(word string, n int) {
	if word = strings.TrimSpace(word); !quotedWord.MatchString(word) {
		r.unknown(n, "the value is not understood", "a capability is one word; the rule is left out")
		return
	}
	r.rule.words = append(r.rule.words, unquote(word))
}

func unquote(text string) string {
	if n := len(text); n >= 2 && (text[0] == '"' || text[0] == '\'') && text[n-1] == text[0] {
		return text[1 : n-1]
	}
	return text
}

// endRule turns the block that was read into a rule.
func (r *lineReader) endRule() {
	rule := r.rule
	r.rule = nil
	if rule == nil {
		return
	}
	resource := schema.Resource(rule.resource)
	if resource.Verbs() == nil {
		r.drop(rule.line, "unknown resource", didYouMean(rule.resource, resourceWords(), "the rule is left out"))
		return
	}
	if rule.path == "" {
		r.drop(rule.line, "the block has no path", "the rule is left out")
		return
	}
	pattern, err := schema.ParsePattern(rule.path)
	if err != nil {
		r.drop(rule.pathLine, "the path cannot be one here", fault.Detail(err))
		return
	}
	if !rule.given && !rule.broken || rule.open && len(rule.words) == 0 {
		r.drop(rule.line, "the block has no capabilities", "the rule is held closed; write [] to deny")
		rule.broken = true
	}
	if rule.broken {
		r.hold(r.policy, resource, pattern, rule.line)
		return
	}
	r.translate(r.policy, resource, pattern, rule.words, rule.line, rule.wordsLine)
}

// translate adds a rule whose capabilities are written in words of ours or near ones.
func (m *importer) translate(d *draft, resource schema.Resource, pattern schema.Pattern, words []string, line, wordsLine int) {
	var verbs []schema.Verb
	deny := len(words) == 0
	for _, word := range words {
		known := verbsOfWord(resource, word)
		switch {
		case word == "deny":
			deny = true
		case known == nil:
			m.drop(wordsLine, "a capability has no equivalent", didYouMean(word, verbWords(resource),
				string(resource)+" has "+strings.Join(verbWords(resource), ", ")))
		default:
			verbs = append(verbs, known...)
		}
	}
	switch {
	case deny:
		m.add(d, &draftRule{resource: resource, pattern: pattern, lines: []int{line}})
	case len(verbs) == 0:
		m.hold(d, resource, pattern, line)
	default:
		m.add(d, &draftRule{resource: resource, pattern: pattern, verbs: union(resource, verbs), lines: []int{line}})
	}
}

// foreignVerbs are the words of the published shapes that are not ours.
var foreignVerbs = map[schema.Resource]map[string][]schema.Verb{
	schema.Secret: {"write": {"create", "update"}},
	schema.Job:    {"read": {"describe"}, "submit": {"run"}, "restart": {"redeploy"}},
}

// verbsOfWord returns the verbs that a word stands for, or nil.
func verbsOfWord(resource schema.Resource, word string) []schema.Verb {
	if slices.Contains(resource.Verbs(), schema.Verb(word)) {
		return []schema.Verb{schema.Verb(word)}
	}
	return foreignVerbs[resource][word]
}
