package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/heroctl/heroctl/schema/fault"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// route says how one call goes over HTTP.
type route struct {
	verb  string
	parts []part
	body  string // "" none, "*" the whole message, or the field that is the body
}

// part is a piece of a URL path: literal text, or the value of a field.
type part struct {
	literal string
	field   protoreflect.FieldDescriptor
	deep    bool // the value's "/" separate segments
}

// schemaRoutes derives the routes of every call from the schema's annotations,
// by full method name, "/heroctl.v1.Secrets/GetSecret".
func schemaRoutes() (map[string]route, error) {
	files := []protoreflect.FileDescriptor{
		heroctlv1.File_heroctl_v1_secrets_proto, heroctlv1.File_heroctl_v1_policies_proto,
		heroctlv1.File_heroctl_v1_access_proto, heroctlv1.File_heroctl_v1_audit_proto,
		heroctlv1.File_heroctl_v1_cluster_proto,
	}
	routes := map[string]route{}
	for _, file := range files {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
				if !ok || rule == nil || m.IsStreamingClient() || m.IsStreamingServer() {
					continue
				}
				rt, err := newRoute(m.Input(), rule)
				if err != nil {
					return nil, fault.Wrap(fault.Internal, "the schema has an annotation this client cannot read", fmt.Errorf("%s: %w", m.FullName(), err))
				}
				routes[fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())] = rt
			}
		}
	}
	return routes, nil
}

func newRoute(input protoreflect.MessageDescriptor, rule *annotations.HttpRule) (route, error) {
	rt := route{body: rule.GetBody()}
	var template string
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		rt.verb, template = http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		rt.verb, template = http.MethodPost, p.Post
	case *annotations.HttpRule_Put:
		rt.verb, template = http.MethodPut, p.Put
	case *annotations.HttpRule_Delete:
		rt.verb, template = http.MethodDelete, p.Delete
	case *annotations.HttpRule_Patch:
		rt.verb, template = http.MethodPatch, p.Patch
	default:
		return route{}, fmt.Errorf("a custom HTTP method")
	}
	var err error
	rt.parts, err = parseTemplate(input, template)
	return rt, err
}

// parseTemplate reads "/v1/secrets/{path=**}:history".
func parseTemplate(input protoreflect.MessageDescriptor, template string) ([]part, error) {
	var parts []part
	for rest := template; rest != ""; {
		literal, after, found := strings.Cut(rest, "{")
		if literal != "" {
			parts = append(parts, part{literal: literal})
		}
		if !found {
			break
		}
		variable, tail, closed := strings.Cut(after, "}")
		name, pattern, _ := strings.Cut(variable, "=")
		field := input.Fields().ByName(protoreflect.Name(name))
		if !closed || field == nil || field.Kind() != protoreflect.StringKind || field.IsList() {
			return nil, fmt.Errorf("template %q", template)
		}
		if pattern != "" && pattern != "*" && pattern != "**" {
			return nil, fmt.Errorf("template %q", template)
		}
		parts = append(parts, part{field: field, deep: pattern == "**"})
		rest = tail
	}
	return parts, nil
}

// target returns the path and query of the call's URL.
func (rt route) target(in proto.Message) (string, error) {
	var path strings.Builder
	used := map[protoreflect.Name]bool{}
	m := in.ProtoReflect()
	for _, p := range rt.parts {
		if p.field == nil {
			path.WriteString(p.literal)
			continue
		}
		used[p.field.Name()] = true
		text, err := p.escape(m.Get(p.field).String())
		if err != nil {
			return "", err
		}
		path.WriteString(text)
	}
	query, err := rt.query(m, used)
	if err != nil || query == "" {
		return path.String(), err
	}
	return path.String() + "?" + query, nil
}

// escape writes a value into a URL path. Segments that servers and proxies on
// the way might tidy up are refused: what is asked must be what is decided.
func (p part) escape(value string) (string, error) {
	segments := []string{value}
	if p.deep {
		segments = strings.Split(value, "/")
	}
	for i, s := range segments {
		if s == "" || s == "." || s == ".." {
			return "", newError(fault.InvalidPath, "the "+string(p.field.Name())+" has an empty segment, or one of dots only", nil)
		}
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/"), nil
}

// query writes the fields that are neither in the path nor the body.
func (rt route) query(m protoreflect.Message, used map[protoreflect.Name]bool) (string, error) {
	if rt.body == "*" {
		return "", nil
	}
	rest := proto.Clone(m.Interface()).ProtoReflect()
	m.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if used[f.Name()] || string(f.Name()) == rt.body {
			rest.Clear(f)
		}
		return true
	})
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(rest.Interface())
	if err != nil {
		return "", newError(fault.InvalidArgument, "the request cannot be encoded", nil)
	}
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		return "", newError(fault.Internal, "the request cannot be encoded", nil)
	}
	values := url.Values{}
	for name, value := range fields {
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		for _, v := range list {
			if _, nested := v.(map[string]any); nested {
				return "", newError(fault.Internal, "the call has a nested field outside its body", nil)
			}
			values.Add(name, fmt.Sprint(v))
		}
	}
	return values.Encode(), nil
}

// bodyOf returns the body, or nil for a call without one.
func (rt route) bodyOf(in proto.Message) ([]byte, error) {
	m := in.ProtoReflect()
	switch rt.body {
	case "":
		return nil, nil
	case "*":
		m = proto.Clone(in).ProtoReflect()
		for _, p := range rt.parts {
			if p.field != nil {
				m.Clear(p.field)
			}
		}
	default:
		field := m.Descriptor().Fields().ByName(protoreflect.Name(rt.body))
		if field == nil || field.Message() == nil {
			return nil, newError(fault.Internal, "the call's body is not a message", nil)
		}
		m = m.Get(field).Message()
	}
	body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m.Interface())
	if err != nil {
		return nil, newError(fault.InvalidArgument, "the request cannot be encoded; texts must be UTF-8", nil)
	}
	return body, nil
}
