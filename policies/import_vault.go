package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// stanza is a path block of a Vault policy.
type stanza struct {
	path       string
	words      map[string]bool // capabilities
	line       int             // of the block
	wordsLine  int
	restricted bool // an attribute restricts what it grants
}

// oldPolicies are the words that Vault had before capabilities.
var oldPolicies = map[string][]string{
	"read": {"read", "list"}, "write": {"create", "read", "update", "delete", "list"}, "deny": {"deny"},
	"sudo": {"create", "read", "update", "delete", "list", "sudo"},
}

func (m *importer) readVault(text []byte) Diagnostics {
	_, diags, ok := scan(m.file, text)
	if !ok || diags.HasErrors() {
		return diags
	}
	parsed, problems := hclsyntax.ParseConfig(text, m.file, hcl.InitialPos)
	if diags = syntax(problems); diags.HasErrors() {
		return diags
	}
	body, ok := parsed.Body.(*hclsyntax.Body)
	if !ok {
		return Diagnostics{m.at(1, Error, "the text is not HCL", `a Vault policy has blocks of the form path "secret/data/x" { … }`)}
	}
	name, own := m.options.Name.String(), ""
	for key, attr := range body.Attributes {
		value, ok := Literal(attr.Expr)
		if key == "name" && ok {
			own = value
			continue
		}
		m.drop(attr.NameRange.Start.Line, "the attribute is not known here", "a Vault policy has path blocks")
	}
	d := m.begin(first(name, own, m.options.FileName.String(), "imported"), 1)
	v := &vaultReader{importer: m}
	for _, block := range body.Blocks {
		if s, ok := m.stanza(block); ok {
			v.stanza(s)
		}
	}
	v.finish(d)
	return nil
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// stanza reads one path block.
func (m *importer) stanza(block *hclsyntax.Block) (stanza, bool) {
	line := block.TypeRange.Start.Line
	if block.Type != "path" || len(block.Labels) != 1 {
		m.drop(line, "the block is not known here", `a Vault policy has blocks of the form path "secret/data/x" { … }`)
		return stanza{}, false
	}
	s := stanza{path: block.Labels[0], words: map[string]bool{}, line: line, wordsLine: line}
	for _, key := range sortedNames(block.Body.Attributes) {
		attr := block.Body.Attributes[key]
		at := attr.NameRange.Start.Line
		switch key {
		case "comment":
		case "capabilities", "policy":
			s.wordsLine = at
			if !s.read(key, attr.Expr) {
				s.restricted = true
				m.drop(at, "the value is not understood", "capabilities is a list of quoted words; the path is held closed")
			}
		default:
			s.restricted = true
			m.drop(at, "the attribute has no equivalent", "it restricts what the path grants, so the path is held closed")
		}
	}
	for _, inner := range block.Body.Blocks {
		s.restricted = true
		m.drop(inner.TypeRange.Start.Line, "the block has no equivalent", "it restricts what the path grants, so the path is held closed")
	}
	return s, true
}

func sortedNames(attributes hclsyntax.Attributes) []string {
	var names []string
	for name := range attributes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// read reads the words of capabilities, or the one of policy.
func (s *stanza) read(key string, expr hclsyntax.Expression) bool {
	if key == "policy" {
		word, ok := Literal(expr)
		for _, w := range oldPolicies[word] {
			s.words[w] = true
		}
		return ok && oldPolicies[word] != nil
	}
	list, ok := expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		return false
	}
	for _, item := range list.Exprs {
		word, ok := Literal(item)
		if !ok {
			return false
		}
		s.words[word] = true
	}
	return true
}

// facet is one of the things that Vault's paths of one secret say separately.
type facet string

// The facets of the engine of version 2: its API prefixes, and the listing apart, whose
// paths are folders. Version 1 has data and list.
const (
	facetData     facet = "data"
	facetMetadata facet = "metadata"
	facetList     facet = "list"
	facetDelete   facet = "delete"
	facetUndelete facet = "undelete"
	facetDestroy  facet = "destroy"
)

var prefixes = []facet{facetData, facetMetadata, facetDelete, facetUndelete, facetDestroy}

// kv2 says what Vault's capabilities mean on each facet. An empty list means that the
// capability does nothing there in Vault either.
var kv2 = map[facet]map[string][]schema.Verb{
	facetData: {"create": {"create"}, "update": {"update"}, "patch": {"update"}, "read": {"read"}, "delete": {"delete"},
		"list": {}, "scan": {}, "sudo": {}},
	facetMetadata: {"read": {"describe"}, "delete": {"destroy"}, "list": {}, "scan": {}, "sudo": {}},
	facetList: {"list": {"list"}, "scan": {"list"}, "create": {}, "update": {}, "patch": {}, "read": {}, "delete": {},
		"sudo": {}},
	facetDelete:   {"update": {"delete"}, "create": {}, "read": {}, "patch": {}, "delete": {}, "list": {}, "scan": {}, "sudo": {}},
	facetUndelete: {"update": {"undelete"}, "create": {}, "read": {}, "patch": {}, "delete": {}, "list": {}, "scan": {}, "sudo": {}},
	facetDestroy:  {"update": {"destroy"}, "create": {}, "read": {}, "patch": {}, "delete": {}, "list": {}, "scan": {}, "sudo": {}},
}

// claim is what one stanza says of one facet of the secrets that a pattern covers.
type claim struct {
	facet   facet
	pattern schema.Pattern
	rank    string // of the stanza's path: Vault's order of priority among the claims of a facet
	verbs   []schema.Verb
	deny    bool
	lines   []int
}

// vaultReader turns stanzas into claims, and claims into rules.
type vaultReader struct {
	*importer
	claims []*claim
}

// selfService are the paths by which a token minds itself. Here that needs no policy.
var selfService = []string{"auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self", "sys/capabilities-self"}

func (v *vaultReader) stanza(s stanza) {
	if slices.Contains(selfService, s.path) {
		v.note(s.line, "the path needs no rule", "to look at, renew and revoke one's own token needs authentication alone")
		return
	}
	mount, rest, one := v.mount(s.path)
	switch {
	case s.path == "*":
		v.drop(s.line, "the path covers more than secrets", "what it covers outside of the KV engine is left out")
		v.facets(s, "", prefixes, "*")
	case mount == "":
		v.drop(s.line, "the path has no equivalent", "it is none of a KV engine; see --mount and --kv1")
	case one:
		v.facets(s, v.kept(mount), []facet{facetData}, rest)
	default:
		v.versioned(s, v.kept(mount), rest)
	}
}

// mount splits the mount off a path. The mount of a KV engine is told by the API prefix
// behind it, or by the options.
func (v *vaultReader) mount(path string) (mount, rest string, one bool) {
	for _, known := range v.options.KV1 {
		if rest, ok := strings.CutPrefix(path, known+"/"); ok {
			return known, rest, true
		}
	}
	for _, known := range v.mounts() {
		if rest, ok := strings.CutPrefix(path, known+"/"); ok {
			return known, rest, false
		}
	}
	head, rest, ok := strings.Cut(path, "/")
	prefix, _, _ := strings.Cut(rest, "/")
	if !ok || strings.ContainsAny(head, "+*{") || !slices.Contains(prefixes, facet(prefix)) || head == "sys" || head == "auth" || head == "identity" {
		return "", "", false
	}
	return head, rest, false
}

func (v *vaultReader) mounts() []string {
	if len(v.options.Mounts) == 0 {
		return []string{"secret"}
	}
	return v.options.Mounts
}

// kept returns the first segments of the paths of a mount.
func (v *vaultReader) kept(mount string) string {
	if slices.Contains(v.mounts(), mount) {
		return ""
	}
	return mount + "/"
}

// versioned reads what follows the mount of an engine of version 2.
func (v *vaultReader) versioned(s stanza, mount, path string) {
	prefix, rest, more := strings.Cut(path, "/")
	text, star := strings.CutSuffix(prefix, "*")
	var which []facet
	for _, f := range prefixes {
		if prefix == "+" || prefix == string(f) || star && !more && strings.HasPrefix(string(f), text) {
			which = append(which, f)
		}
	}
	if star && !more {
		rest = "*"
	}
	if len(which) == 0 {
		v.drop(s.line, "the path is none of a KV engine of version 2", "there it covers nothing; see --kv1 for an engine of version 1")
		return
	}
	v.facets(s, mount, which, rest)
}

// facets makes the claims of a stanza.
func (v *vaultReader) facets(s stanza, mount string, which []facet, rest string) {
	v.words(s, which)
	covers := false
	for _, f := range which {
		if text := strings.TrimSuffix(rest, "/"); rest == "*" || text != "" && text == rest {
			covers = true
			v.claim(s, f, mount+rest)
		}
		if f == facetMetadata || f == facetData && v.isKV1(s.path) {
			covers = true
			v.claim(s, facetList, mount+listed(rest))
		}
	}
	if !covers {
		v.note(s.line, "the path covers nothing", "no secret has such a path in Vault either")
	}
	if strings.Contains(rest, "{{") {
		v.note(s.line, "a template ranks as a wildcard", "in Vault it ranks as what it stands for; look at the rules that compete with it")
	}
}

func (v *vaultReader) isKV1(path string) bool {
	return slices.ContainsFunc(v.options.KV1, func(m string) bool { return strings.HasPrefix(path, m+"/") })
}

// listed returns the pattern of the names that show when the folders of a path are
// listed.
func listed(rest string) string {
	rest = strings.TrimSuffix(rest, "/")
	switch {
	case strings.HasSuffix(rest, "*"):
		return rest
	case rest == "":
		return "+"
	}
	return rest + "/+"
}

// words reports the capabilities of a stanza that mean nothing here, or something a
// little different.
func (v *vaultReader) words(s stanza, which []facet) {
	for _, word := range sortedWords(s.words) {
		known, used := word == "deny", word == "deny"
		for _, f := range which {
			verbs, ok := v.meaning(s, f, word)
			known = known || ok
			used = used || len(verbs) > 0
		}
		switch {
		case !known:
			v.drop(s.wordsLine, "a capability has no equivalent", `"`+vaultWord(word)+`" on this path means nothing here`)
		case !used:
			v.note(s.wordsLine, "a capability does nothing", `"`+vaultWord(word)+`" does nothing on this path in Vault either`)
		}
		if slices.Contains(which, facetDestroy) && word == "update" || slices.Contains(which, facetMetadata) && word == "delete" {
			v.note(s.wordsLine, "destroy means the whole secret", "single versions cannot be destroyed here")
		}
	}
}

// vaultWord returns a capability of Vault's language as it is; any other word is not
// repeated.
func vaultWord(word string) string {
	known := []string{"create", "read", "update", "patch", "delete", "list", "sudo", "subscribe", "recover", "scan"}
	if slices.Contains(known, word) {
		return word
	}
	return "…"
}

func sortedWords(words map[string]bool) []string {
	var list []string
	for word := range words {
		list = append(list, word)
	}
	slices.Sort(list)
	return list
}

// meaning returns the verbs of a capability on a facet, or on the listing beside it.
func (v *vaultReader) meaning(s stanza, f facet, word string) ([]schema.Verb, bool) {
	verbs, ok := kv2[f][word]
	if f == facetMetadata || f == facetData && v.isKV1(s.path) {
		if more := kv2[facetList][word]; len(more) > 0 {
			return more, true
		}
	}
	return verbs, ok
}

// claim records what a stanza says of a facet. Stanzas of one path unite.
func (v *vaultReader) claim(s stanza, f facet, text string) {
	pattern, err := schema.ParsePattern(userTemplate(text))
	if err != nil {
		v.drop(s.line, "the path cannot be one here", fault.Detail(err))
		return
	}
	c := &claim{facet: f, pattern: pattern, rank: vaultRank(s.path), deny: s.words["deny"], lines: []int{s.line}}
	if !c.deny && !s.restricted {
		for word := range s.words {
			c.verbs = append(c.verbs, kv2[f][word]...)
		}
	}
	c.verbs = union(schema.Secret, c.verbs)
	for _, o := range v.claims {
		if o.facet == f && o.pattern == pattern && o.rank == c.rank {
			o.deny, o.lines = o.deny || c.deny, append(o.lines, s.line)
			o.verbs = union(schema.Secret, o.verbs, c.verbs)
			return
		}
	}
	v.claims = append(v.claims, c)
}

// userTemplate translates the one template that has an equivalent. Any other is refused
// with its braces.
func userTemplate(text string) string {
	for _, form := range []string{"{{identity.entity.name}}", "{{ identity.entity.name }}"} {
		text = strings.ReplaceAll(text, form, string(schema.TemplateUser))
	}
	return text
}

// vaultRank returns a text whose byte order is Vault's order of priority.
func vaultRank(path string) string {
	wild, end := strings.IndexAny(path, "+*"), 1
	if wild < 0 {
		wild = len(path) + 1
	}
	if strings.HasSuffix(path, "*") {
		end = 0
	}
	return fmt.Sprintf("%06d %d %06d %06d %s", wild, end, 99999-strings.Count(path, "+"), len(path), path)
}
