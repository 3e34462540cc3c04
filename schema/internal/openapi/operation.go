package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// finishOperation says of a call what it needs, how it fails, and its
// parameters' names.
func finishOperation(operation object) error {
	id, _ := operation["operationId"].(string)
	method, err := methodOf(id)
	if err != nil {
		return err
	}
	needs, ok := proto.GetExtension(method.Options(), heroctlv1.E_Needs).(*heroctlv1.Needs)
	if !ok || needs == nil {
		return fmt.Errorf("%s does not say what it needs", method.FullName())
	}
	if operation["x-heroctl-needs"], err = asObject(needs); err != nil {
		return err
	}
	text, _ := operation["description"].(string)
	operation["description"] = strings.TrimSpace(text + "\n\n" + needsText(needs))
	if needs.GetOpen() {
		operation["security"] = []any{}
	}
	responses := at(operation, "responses")
	responses["default"] = object{
		"description": "What went wrong: an RFC 9457 problem document.",
		"content":     object{"application/problem+json": object{"schema": object{"$ref": "#/components/schemas/heroctl.v1.Problem"}}},
	}
	if method.Output().FullName() == "heroctl.v1.SecretValue" {
		at(responses, "200", "content")["application/octet-stream"] = object{
			"schema": object{"type": "string", "format": "binary", "description": "The value itself, byte for byte."},
		}
	}
	parameters, _ := operation["parameters"].([]any)
	for _, p := range parameters {
		p := p.(object)
		name, _ := p["name"].(string)
		if field := method.Input().Fields().ByJSONName(name); field != nil {
			p["name"] = string(field.Name())
		}
		if p["in"] == "path" && needs.GetPathField() == p["name"] && p["name"] == "path" {
			p["description"] = fmt.Sprint(p["description"], ` The "/" between its segments is written as it is.`)
		}
	}
	return nil
}

// methodOf finds the method of an operation, "Secrets_GetSecret".
func methodOf(id string) (protoreflect.MethodDescriptor, error) {
	service, name, _ := strings.Cut(id, "_")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("heroctl.v1." + service + "." + name))
	if err != nil {
		return nil, fmt.Errorf("operation %q is not of the schema: %w", id, err)
	}
	method, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, fmt.Errorf("operation %q is not a call", id)
	}
	return method, nil
}

func asObject(m proto.Message) (object, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var o object
	err = json.Unmarshal(text, &o)
	return o, err
}

// needsText says in a sentence what a call needs.
func needsText(n *heroctlv1.Needs) string {
	capability := n.GetResource() + ":" + n.GetCapability()
	switch {
	case n.GetOpen():
		return "Needs no token, and is not recorded."
	case n.GetSelf():
		return "Needs a valid token and nothing else; recorded as " + capability + "."
	case n.GetFiltered():
		text := "Answers with what the caller has " + capability + " on."
		if n.GetDeniedIfNothing() {
			text += " Denied, rather than answered empty, where nothing may be seen."
		}
		return text
	}
	where := n.GetPath()
	if where == "" {
		where = "the path in " + strconv.Quote(n.GetPathField())
	}
	text := "Needs " + capability + " on " + where
	if other := n.GetCapabilityIfAbsent(); other != "" {
		text += ", or " + n.GetResource() + ":" + other + " if it does not exist yet"
	}
	return text + "."
}

// renameProperties gives a type's properties the schema's own names; the
// generator writes them in camel case.
func renameProperties(name string, schema object) error {
	properties := at(schema, "properties")
	if len(properties) == 0 || !strings.HasPrefix(name, "heroctl.v1.") {
		return nil
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return fmt.Errorf("type %s is not of the schema: %w", name, err)
	}
	renamed := object{}
	for property, value := range properties {
		field := d.(protoreflect.MessageDescriptor).Fields().ByJSONName(property)
		if field == nil {
			return fmt.Errorf("type %s has no field %s", name, property)
		}
		renamed[string(field.Name())] = value
	}
	schema["properties"] = renamed
	return nil
}

// problemSchemas reads the messages of a small schema file: comments, fields of
// texts and numbers, and lists of messages.
func problemSchemas(lines []string) map[string]object {
	schemas := map[string]object{}
	var comment []string
	var message object
	for _, line := range lines {
		line = strings.TrimSpace(line)
		words := strings.Fields(strings.TrimSuffix(line, ";"))
		switch {
		case strings.HasPrefix(line, "//"):
			comment = append(comment, strings.TrimSpace(strings.TrimPrefix(line, "//")))
			continue
		case len(words) == 3 && words[0] == "message":
			message = object{"type": "object", "description": strings.Join(comment, " "), "properties": object{}}
			schemas["heroctl.v1."+words[1]] = message
		case message != nil && len(words) >= 4 && words[len(words)-2] == "=":
			property := propertyOf(words)
			property["description"] = strings.Join(comment, " ")
			at(message, "properties")[words[len(words)-3]] = property
		}
		comment = nil
	}
	return schemas
}

// propertyOf returns the type of "string detail = 4" or "repeated Diagnostic
// diagnostics = 8".
func propertyOf(words []string) object {
	if words[0] == "repeated" {
		return object{"type": "array", "items": object{"$ref": "#/components/schemas/heroctl.v1." + words[1]}}
	}
	if words[0] == "int32" {
		return object{"type": "integer", "format": "int32"}
	}
	return object{"type": "string"}
}
