package policies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// readYAML reads documents of name, description and rules.
func (m *importer) readYAML(text []byte) Diagnostics {
	if _, diags := guard(m.file, text); diags.HasErrors() {
		return diags
	}
	if line := deepLine(text); line > 0 {
		deep := tooDeep(m.span(line))
		return Diagnostics{deep}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return Diagnostics{m.yamlError(err)}
		}
		if refused := m.checkNode(&document, 0); refused != nil {
			return Diagnostics{*refused}
		}
		if len(document.Content) == 1 && document.Content[0].Tag != "!!null" {
			if refused := m.document(document.Content[0]); refused != nil {
				return Diagnostics{*refused}
			}
		}
	}
}

// deepLine returns the line on which brackets are nested too deeply, or 0.
func deepLine(text []byte) int {
	depth, line := 0, 1
	for _, c := range text {
		switch c {
		case '\n':
			line++
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		}
		if depth > MaxDepth {
			return line
		}
	}
	return 0
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// yamlError tells where a text is no YAML, without the library's words: they repeat it.
func (m *importer) yamlError(err error) Diagnostic {
	line := 1
	if match := yamlLine.FindStringSubmatch(err.Error()); match != nil {
		line, _ = strconv.Atoi(match[1]) // it is a number
	}
	return m.at(max(1, line), Error, "the text is not YAML", "look at the indentation, the quotes and the colons of this line and the one before")
}

// checkNode refuses what policies have no use for: aliases, which can blow a text up,
// keys that stand twice, and deep nesting.
func (m *importer) checkNode(n *yaml.Node, depth int) *Diagnostic {
	refuse := func(summary, detail string) *Diagnostic {
		d := m.at(max(1, n.Line), Error, summary, detail)
		return &d
	}
	switch {
	case depth > MaxDepth:
		d := tooDeep(m.span(max(1, n.Line)))
		return &d
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return refuse("anchors and aliases are not allowed", "write the value out")
	}
	seen := map[string]bool{}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if child.Kind != yaml.ScalarNode {
				return refuse("a key is not a word", "write a word and a colon")
			}
			if seen[child.Value] {
				n = child
				return refuse("the key is there already", "a key stands once in a block")
			}
			seen[child.Value] = true
		}
		if refused := m.checkNode(child, depth+1); refused != nil {
			return refused
		}
	}
	return nil
}

// fields calls do with each key and value of a mapping.
func fields(n *yaml.Node, do func(key string, value *yaml.Node)) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		do(n.Content[i].Value, n.Content[i+1])
	}
}

// document reads one policy.
func (m *importer) document(n *yaml.Node) *Diagnostic {
	refuse := func(line int, summary, detail string) *Diagnostic {
		d := m.at(line, Error, summary, detail)
		return &d
	}
	if n.Kind != yaml.MappingNode {
		return refuse(n.Line, "the text is not a policy", "a policy has name, description and rules")
	}
	var name, description, rules *yaml.Node
	fields(n, func(key string, value *yaml.Node) {
		switch key {
		case "name":
			name = value
		case "description":
			description = value
		case "rules":
			rules = value
		default:
			m.drop(value.Line, "the key is not known here", didYouMean(key, []string{"name", "description", "rules"}, "a policy has name, description and rules"))
		}
	})
	if name == nil || name.Kind != yaml.ScalarNode {
		return refuse(n.Line, "the policy has no name", "write name: and a word")
	}
	if rules == nil || rules.Kind != yaml.SequenceNode {
		return refuse(n.Line, "the policy has no rules", "write rules: and a list")
	}
	d := m.begin(name.Value, name.Line)
	if description != nil {
		m.describe(d, description.Value, description.Line)
	}
	for _, rule := range rules.Content {
		m.yamlRule(d, rule)
	}
	return nil
}

// yamlRule is a rule of the list while it is read.
type yamlRule struct {
	resource, namespace, name, path string
	words                           []string
	wordsLine                       int
	given, broken                   bool
}

func (m *importer) yamlRule(d *draft, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		m.drop(n.Line, "the rule is not understood", "a rule has resource, namespace, name or path, and capabilities")
		return
	}
	var r yamlRule
	fields(n, func(key string, value *yaml.Node) { m.yamlField(&r, key, value) })
	resource, ok := m.yamlResource(r.resource, n.Line)
	if !ok {
		return
	}
	pattern, err := r.pattern()
	if err != nil {
		m.drop(n.Line, "the place cannot be a path here", fault.Detail(err))
		return
	}
	if !r.given && !r.broken {
		m.drop(n.Line, "the rule has no capabilities", "it is held closed; write [] to deny")
		r.broken = true
	}
	if r.broken {
		m.hold(d, resource, pattern, n.Line)
		return
	}
	m.translate(d, resource, pattern, r.words, n.Line, r.wordsLine)
}

func (m *importer) yamlField(r *yamlRule, key string, value *yaml.Node) {
	place := map[string]*string{"resource": &r.resource, "namespace": &r.namespace, "name": &r.name, "path": &r.path}[key]
	switch {
	case place != nil && value.Kind == yaml.ScalarNode && value.Tag == "!!str" && value.Value != "":
		*place = value.Value
	case key == "capabilities" && value.Kind == yaml.SequenceNode:
		r.given, r.wordsLine = true, value.Line
		for _, word := range value.Content {
			r.words = append(r.words, word.Value)
			r.broken = r.broken || word.Kind != yaml.ScalarNode
		}
		if r.broken {
			m.drop(value.Line, "the value is not understood", "capabilities is a list of words; the rule is held closed")
		}
	case place != nil || key == "capabilities":
		r.broken = true
		m.drop(value.Line, "the value is not understood", "names and paths are words, capabilities is a list; the rule is held closed")
	default:
		r.broken = true
		m.drop(value.Line, "the key is not known here", didYouMean(key, []string{"resource", "namespace", "name", "path", "capabilities"},
			"a rule has resource, namespace, name or path, and capabilities; it is held closed, since the key may restrict it"))
	}
}

// yamlResource translates the resource.
func (m *importer) yamlResource(word string, line int) (schema.Resource, bool) {
	switch {
	case word == "alloc":
		m.note(line, "an allocation counts as its job", "rules on allocations become rules on jobs")
		return schema.Job, true
	case word == "namespace":
		m.drop(line, "namespaces have no rules of their own here", "write a rule on job or secret with this namespace; the rule is left out")
		return "", false
	case word == "":
		m.drop(line, "the rule has no resource", "the rule is left out")
		return "", false
	case schema.Resource(word).Verbs() == nil:
		m.drop(line, "unknown resource", didYouMean(word, resourceWords(), "the rule is left out"))
		return "", false
	}
	return schema.Resource(word), true
}

// pattern returns where the rule holds: everywhere, below a namespace, or on a name or
// path in it.
func (r *yamlRule) pattern() (schema.Pattern, error) {
	switch {
	case r.name != "" && r.path != "":
		return schema.Pattern{}, fault.New(fault.InvalidPath, "it has a name and a path; write one of them")
	case r.namespace == "" && r.name == "" && r.path == "":
		return schema.MustPattern("*"), nil
	case r.namespace == "":
		return schema.ParsePattern(r.name + r.path)
	case r.namespace == "*" && r.name == "" && r.path == "":
		return schema.MustPattern("*"), nil
	case r.name == "" && r.path == "":
		return schema.ParsePattern(fmt.Sprintf("%s/*", r.namespace))
	case r.namespace == "*":
		return schema.ParsePattern("+/" + r.name + r.path)
	}
	return schema.ParsePattern(r.namespace + "/" + r.name + r.path)
}
