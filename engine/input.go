package engine

import (
	"encoding/json"
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/heroctl/heroctl/schema"
)

// inputTerm builds the document of schema.Call.Input as OPA's own value, which spares
// the way through JSON. A test holds the two against each other. The policies are
// those of the attached set: the same as the principal's, in its order.
func inputTerm(c schema.Call, attached []string) *ast.Term {
	properties := ast.NewObjectWithCapacity(4)
	insertText(properties, "token", c.Principal.Token)
	insertList(properties, "roles", c.Principal.Roles)
	insertList(properties, "policies", attached)
	insertText(properties, "job", c.Principal.Job)

	return ast.ObjectTerm(
		ast.Item(ast.InternedTerm("subject"), ast.ObjectTerm(
			ast.Item(ast.InternedTerm("type"), ast.StringTerm(string(c.Principal.Kind))),
			ast.Item(ast.InternedTerm("id"), ast.StringTerm(c.Principal.User)),
			ast.Item(ast.InternedTerm("properties"), ast.NewTerm(properties)),
		)),
		ast.Item(ast.InternedTerm("action"), ast.ObjectTerm(
			ast.Item(ast.InternedTerm("name"), ast.StringTerm(c.Capability.String())),
		)),
		ast.Item(ast.InternedTerm("resource"), ast.ObjectTerm(
			ast.Item(ast.InternedTerm("type"), ast.StringTerm(string(c.Capability.Resource))),
			ast.Item(ast.InternedTerm("id"), ast.StringTerm(c.Path.String())),
		)),
		ast.Item(ast.InternedTerm("context"), contextTerm(c.Context)),
	)
}

func contextTerm(c schema.Context) *ast.Term {
	context := ast.NewObjectWithCapacity(5)
	context.Insert(ast.InternedTerm("time"), ast.StringTerm(schema.FormatTime(c.Time)))
	if source := c.Address(); source.IsValid() {
		context.Insert(ast.InternedTerm("source"), ast.StringTerm(source.String()))
	}
	insertText(context, "auth_method", c.Method)
	if age, known := c.TokenAge(); known {
		context.Insert(ast.InternedTerm("token_age"), ast.NumberTerm(json.Number(strconv.FormatInt(age, 10))))
	}
	if len(c.Zones) > 0 {
		zones := ast.NewObjectWithCapacity(len(c.Zones))
		for name, local := range c.Zones {
			zones.Insert(ast.StringTerm(name), ast.ObjectTerm(
				ast.Item(ast.InternedTerm("day"), ast.InternedTerm(local.Day)),
				ast.Item(ast.InternedTerm("minute"), ast.InternedTerm(local.Minute)),
			))
		}
		context.Insert(ast.InternedTerm("zones"), ast.NewTerm(zones))
	}
	return ast.NewTerm(context)
}

// insertText and insertList leave empty fields out, as the JSON form does.
func insertText(object ast.Object, name, text string) {
	if text != "" {
		object.Insert(ast.InternedTerm(name), ast.StringTerm(text))
	}
}

func insertList(object ast.Object, name string, list []string) {
	if len(list) == 0 {
		return
	}
	terms := make([]*ast.Term, len(list))
	for i, text := range list {
		terms[i] = ast.StringTerm(text)
	}
	object.Insert(ast.InternedTerm(name), ast.ArrayTerm(terms...))
}
