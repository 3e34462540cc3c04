package policies

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/heroctl/heroctl/schema"
)

// check names the check of one attribute of the rule's condition.
func (r Rule) check(name string) string { return fmt.Sprintf("%s_%d", name, r.Line) }

// writeChecks appends the checks of the rule's condition, and for what must name those
// that fail, the set of them. A check that reads what is not in the input is undefined,
// and so does not hold; a denial's checks say that they hold then.
func (r Rule) writeChecks(b *strings.Builder, kind Kind) {
	if r.Condition == nil {
		return
	}
	if !r.Deny {
		says := "what of its condition does not hold"
		if kind == KindGuardrail {
			says = "what of its exception does not hold"
		}
		fmt.Fprintf(b, "\n# line %d: %s\n", r.Line, says)
		for i, name := range r.Condition.Attributes() {
			if i > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(b, "%s contains %s if not %s\n", r.check("unmet"), quote(name), r.check(name))
		}
	}
	for _, name := range r.Condition.Attributes() {
		reads, bodies := r.Condition.compile(name)
		if r.Deny && reads != "" {
			fmt.Fprintf(b, "\n# not known, so it holds for a denial\n%s if not %s\n", r.check(name), reads)
		}
		for _, body := range bodies {
			fmt.Fprintf(b, "\n%s if %s\n", r.check(name), body)
		}
	}
}

// compile returns what part of the input an attribute reads, unless it is always there,
// and the bodies of its check, one of which must be true.
func (c *Condition) compile(name string) (reads string, bodies []string) {
	const context = "input.context."
	clock := ast.Ref{
		ast.VarTerm("input"), ast.StringTerm("context"), ast.StringTerm("zones"), ast.StringTerm(c.Zone),
	}.String()
	switch name {
	case attrMethod:
		return context + "auth_method", []string{among(context+"auth_method", c.Methods)}
	case attrDays:
		return clock, c.compileDays(clock)
	case attrHours:
		return clock, c.Hours.compile(clock)
	case attrNotAfter:
		return "", []string{context + "time <= " + quote(schema.FormatTime(c.NotAfter))}
	case attrNotBefore:
		return "", []string{context + "time >= " + quote(schema.FormatTime(c.NotBefore))}
	case attrSource:
		networks := make([]string, len(c.Sources))
		for i, n := range c.Sources {
			networks[i] = quote(n.String())
		}
		return context + "source", []string{"{\n\tsome network in [" + spread("\t", networks) +
			"]\n\tnet.cidr_contains(network, " + context + "source)\n}"}
	default:
		return context + "token_age", []string{fmt.Sprintf("%stoken_age <= %d", context, c.MaxAge/time.Second)}
	}
}

// among returns the test for one of some words.
func among(what string, words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = quote(word)
	}
	if len(words) == 1 {
		return what + " == " + quoted[0]
	}
	return what + " in {" + strings.Join(quoted, ", ") + "}"
}

// compile returns the bodies for hours: two when they pass midnight.
func (h Hours) compile(clock string) []string {
	from, until := fmt.Sprintf("%s.minute >= %d", clock, h.Start), fmt.Sprintf("%s.minute < %d", clock, h.End)
	switch {
	case h.PassMidnight() && h.End > 0:
		return []string{from, until}
	case h.PassMidnight() || h.End == 24*60:
		return []string{from}
	}
	return []string{"{\n\t" + from + "\n\t" + until + "\n}"}
}

// compileDays returns the bodies for days. The part of the hours after midnight belongs
// to the day before.
func (c *Condition) compileDays(clock string) []string {
	if c.Hours == nil || !c.Hours.PassMidnight() || c.Hours.End == 0 {
		return []string{among(clock+".day", c.Days)}
	}
	days := schema.Days()
	var next []string
	for i, day := range days {
		if slices.Contains(c.Days, days[(i+6)%7]) {
			next = append(next, day)
		}
	}
	return []string{
		fmt.Sprintf("{\n\t%s.minute >= %d\n\t%s\n}", clock, c.Hours.End, among(clock+".day", c.Days)),
		fmt.Sprintf("{\n\t%s.minute < %d\n\t%s\n}", clock, c.Hours.End, among(clock+".day", next)),
	}
}
