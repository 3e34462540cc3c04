// Command openapi joins the OpenAPI documents that the generator writes, one for
// each service, into the one document that the server publishes.
//
// On the way it says what only this project knows: what each call needs
// (x-heroctl-needs, from the schema's option), that failures are problem
// documents, that a bearer token is expected, and that names in JSON are those of
// the schema. The same input gives the same bytes.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	in := flag.String("in", "tools/bin/openapi/heroctl/v1", "folder with the generated documents")
	schema := flag.String("schema", "schema/heroctl/v1", "folder with the schema")
	out := flag.String("out", "schema/openapi/openapi.json", "where the document goes")
	flag.Parse()
	if err := run(*in, *schema, *out); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

// object is a JSON object. Encoding one sorts its keys.
type object = map[string]any

func run(in, schema, out string) error {
	names, err := filepath.Glob(filepath.Join(in, "*.openapi.json"))
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("no *.openapi.json in %s", in)
	}
	slices.Sort(names)
	whole := frame()
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var part object
		if err := json.Unmarshal(text, &part); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := join(whole, part); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := addProblem(whole, filepath.Join(schema, "problem.proto")); err != nil {
		return err
	}
	text, err := encode(whole)
	if err != nil {
		return err
	}
	return os.WriteFile(out, text, 0o644)
}

// frame returns the document without calls and types.
func frame() object {
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title":   "heroctl",
			"version": "v1",
			"description": "Secrets, policies, access and audit. Every request is decided by the policies in force and " +
				"recorded before it is answered. Names in JSON are snake_case; unknown and repeated fields are refused.",
		},
		"security": []any{object{"bearer": []any{}}},
		"paths":    object{},
		"components": object{
			"schemas": object{},
			"securitySchemes": object{
				"bearer": object{"type": "http", "scheme": "bearer", "description": "A token of heroctl acl token create."},
			},
		},
	}
}

// join adds a part's calls and types to the whole. The same type may come with
// several parts, but must be the same.
func join(whole, part object) error {
	paths, schemas := whole["paths"].(object), at(whole, "components", "schemas")
	for path, item := range at(part, "paths") {
		if _, twice := paths[path]; twice {
			return fmt.Errorf("%s is in two documents", path)
		}
		for verb, operation := range item.(object) {
			if err := finishOperation(operation.(object)); err != nil {
				return fmt.Errorf("%s %s: %w", verb, path, err)
			}
		}
		paths[path] = item
	}
	for name, schema := range at(part, "components", "schemas") {
		if name == "google.rpc.Status" || name == "google.protobuf.Any" {
			continue // the generator's own idea of errors
		}
		if err := renameProperties(name, schema.(object)); err != nil {
			return err
		}
		if old, ok := schemas[name]; ok && !same(old, schema) {
			return fmt.Errorf("type %s differs between documents", name)
		}
		schemas[name] = schema
	}
	return nil
}

// at returns the object found by following keys; none is an empty one.
func at(o object, keys ...string) object {
	for _, key := range keys {
		o, _ = o[key].(object)
	}
	return o
}

func same(x, y any) bool {
	a, errA := encode(x)
	b, errB := encode(y)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

func encode(v any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(v)
	return text.Bytes(), err
}

// addProblem adds the types of failures, which no call names as its answer.
func addProblem(whole object, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	schemas := at(whole, "components", "schemas")
	for name, schema := range problemSchemas(strings.Split(string(text), "\n")) {
		schemas[name] = schema
	}
	for _, name := range []string{"heroctl.v1.Problem", "heroctl.v1.Diagnostic"} {
		if _, ok := schemas[name]; !ok {
			return fmt.Errorf("%s has no %s; it has %v", file, name, slices.Sorted(maps.Keys(schemas)))
		}
	}
	return nil
}
