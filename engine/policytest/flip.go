package policytest

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// condition makes the mutants of a condition or an unless: without it, without each of
// its attributes, and with each attribute turned round.
func (m *mutator) condition(resource schema.Resource, block *hclsyntax.Block) {
	m.add(block.TypeRange, resource, "drop the "+block.Type, edit{at: wholeBlock(block)})
	attributes := inOrder(block)
	for _, attr := range attributes {
		if len(attributes) > 1 {
			m.add(attr.NameRange, resource, "drop "+attr.Name, edit{at: attr.SrcRange})
		}
		switch value := attr.Expr.(type) {
		case *hclsyntax.TupleConsExpr:
			m.list(resource, attr, value)
		default:
			m.flip(resource, attr)
		}
	}
}

// list drops each word of a condition's list, and turns the list round.
func (m *mutator) list(resource schema.Resource, attr *hclsyntax.Attribute, list *hclsyntax.TupleConsExpr) {
	words := literals(list)
	if len(words) > 1 {
		for i, word := range words {
			m.add(list.SrcRange, resource, "drop "+word, edit{list.SrcRange, written(slices.Delete(slices.Clone(words), i, i+1))})
		}
	}
	var others []string
	switch attr.Name {
	case "days":
		for _, day := range schema.Days() {
			if !slices.Contains(words, day) {
				others = append(others, day)
			}
		}
	case "source_cidrs":
		others = elsewhere(words)
	}
	if len(others) > 0 {
		m.add(list.SrcRange, resource, "flip "+attr.Name, edit{list.SrcRange, written(others)})
	}
}

// flip turns an attribute with one value round.
func (m *mutator) flip(resource schema.Resource, attr *hclsyntax.Attribute) {
	text, ok := policies.Literal(attr.Expr)
	other := map[string]string{"not_before": "not_after", "not_after": "not_before"}[attr.Name]
	switch start, end, span := strings.Cut(text, "-"); {
	case attr.Name == "hours" && ok && span:
		m.add(attr.NameRange, resource, "flip hours", edit{attr.Expr.Range(), `"` + end + "-" + start + `"`})
	case other != "":
		m.add(attr.NameRange, resource, "turn "+attr.Name+" into "+other, edit{hcl.Range(attr.NameRange), other})
	}
}

// elsewhere returns the networks that cover every address outside the given ones.
func elsewhere(cidrs []string) []string {
	rest := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for _, text := range cidrs {
		hole, err := netip.ParsePrefix(text)
		if err != nil {
			return nil
		}
		var next []netip.Prefix
		for _, p := range rest {
			next = append(next, without(p, hole.Masked())...)
		}
		rest = next
	}
	var texts []string
	for _, p := range rest {
		texts = append(texts, p.String())
	}
	return texts
}

// without returns what is left of a network when a hole is cut into it.
func without(p, hole netip.Prefix) []netip.Prefix {
	switch {
	case !p.Overlaps(hole):
		return []netip.Prefix{p}
	case hole.Bits() <= p.Bits():
		return nil
	}
	bytes := p.Addr().AsSlice()
	bytes[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	upper, _ := netip.AddrFromSlice(bytes)
	low, high := netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(upper, p.Bits()+1)
	return append(without(low, hole), without(high, hole)...)
}
