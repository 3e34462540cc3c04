package schema

import (
	"slices"
	"strings"
)

// Template is a segment of a pattern that stands for an attribute of the principal.
type Template string

// The templates; append-only.
const (
	TemplateUser Template = "{{user.name}}" // who asks
	TemplateJob  Template = "{{job.name}}"  // the job acted for
)

// Templates returns every template, in the order they are shown.
func Templates() []Template { return []Template{TemplateUser, TemplateJob} }

const templateProblem = "has a brace; a template is a whole segment, {{user.name}} or {{job.name}}"

func isTemplate(segment string) bool { return slices.Contains(Templates(), Template(segment)) }

// Value returns what the template stands for, or "" when the principal has no such
// attribute.
func (t Template) Value(of Principal) string {
	switch t {
	case TemplateUser:
		return of.User
	case TemplateJob:
		return of.Job
	}
	return ""
}

// HasTemplate reports whether the pattern has a template.
func (p Pattern) HasTemplate() bool { return strings.Contains(p.text, "{{") }

// Templates returns the templates of the pattern by the index of their segment; nil
// when there are none.
func (p Pattern) Templates() map[int]Template {
	if !p.HasTemplate() {
		return nil
	}
	at := map[int]Template{}
	for i, segment := range strings.Split(p.text, "/") {
		if isTemplate(segment) {
			at[i] = Template(segment)
		}
	}
	return at
}

// Widened returns the pattern with "+" in place of each template: it covers whatever
// the pattern covers for anyone.
func (p Pattern) Widened() Pattern {
	text := p.text
	for _, t := range Templates() {
		text = strings.ReplaceAll(text, string(t), "+")
	}
	return Pattern{text}
}

// Binding says what became of a pattern when its templates were given values.
type Binding int

// The bindings. The zero Binding covers nothing.
const (
	Unbound Binding = iota // a template has no value: the rule does not match
	Bound                  // the pattern stands for what it returns
	Suspect                // a value has characters that mean something in a pattern
)

// Bind gives the templates their values. A value that is missing leaves the pattern
// Unbound. One with a "+", "*" or "/" would widen the pattern, and makes it Suspect:
// then the pattern returned is Widened, and a call it covers must be denied. A pattern
// without templates is bound as it is.
func (p Pattern) Bind(of Principal) (Pattern, Binding) {
	if !p.HasTemplate() {
		return p, Bound
	}
	segments, binding := strings.Split(p.text, "/"), Bound
	for i, t := range p.Templates() {
		value := t.Value(of)
		if value == "" {
			return Pattern{}, Unbound
		}
		if strings.ContainsAny(value, "+*/") {
			binding = Suspect
		}
		segments[i] = value
	}
	if binding == Suspect {
		return p.Widened(), Suspect
	}
	return Pattern{strings.Join(segments, "/")}, Bound
}
