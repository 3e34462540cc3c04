package gateway

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/heroctl/heroctl/schema"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// need is what one call of the schema needs, as its method option states it. The
// door decides by this table and by nothing else, so what is declared is what is
// decided.
type need struct {
	method   string // "/heroctl.v1.Secrets/GetSecret"
	label    string // "Secrets.GetSecret", as records name it
	cap      schema.Capability
	absent   schema.Capability // instead of cap, when the resource does not exist yet
	field    protoreflect.FieldDescriptor
	path     schema.Path // for calls that always concern the same one
	filtered bool
	strict   bool // filtered, but denied where nothing may be seen
	self     bool
	open     bool
}

// files lists the parts of the schema that define services.
func files() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		v1.File_heroctl_v1_secrets_proto, v1.File_heroctl_v1_policies_proto, v1.File_heroctl_v1_access_proto,
		v1.File_heroctl_v1_audit_proto, v1.File_heroctl_v1_cluster_proto,
	}
}

// eachMethod calls f for every call of the schema.
func eachMethod(f func(protoreflect.MethodDescriptor) error) error {
	for _, file := range files() {
		services := file.Services()
		for i := range services.Len() {
			methods := services.Get(i).Methods()
			for j := range methods.Len() {
				if err := f(methods.Get(j)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// readNeeds builds the table from the method options. A call without the option,
// or with one that makes no sense, is an error: the server does not start.
func readNeeds() (map[string]*need, error) {
	table := map[string]*need{}
	err := eachMethod(func(m protoreflect.MethodDescriptor) error {
		n, err := readNeed(m)
		if err != nil {
			return fmt.Errorf("needs of %s: %w", m.FullName(), err)
		}
		table[n.method] = n
		return nil
	})
	return table, err
}

func readNeed(m protoreflect.MethodDescriptor) (*need, error) {
	stated, ok := proto.GetExtension(m.Options(), v1.E_Needs).(*v1.Needs)
	if !ok || stated == nil {
		return nil, fmt.Errorf("the option is missing")
	}
	n := &need{
		method:   methodName(m),
		label:    string(m.Parent().Name()) + "." + string(m.Name()),
		filtered: stated.GetFiltered(), strict: stated.GetDeniedIfNothing(), self: stated.GetSelf(), open: stated.GetOpen(),
	}
	if n.open {
		return n, nil
	}
	n.cap = schema.Capability{Resource: schema.Resource(stated.GetResource()), Verb: schema.Verb(stated.GetCapability())}
	if !n.cap.Valid() {
		return nil, fmt.Errorf("there is no capability %q", n.cap)
	}
	if verb := stated.GetCapabilityIfAbsent(); verb != "" {
		n.absent = schema.Capability{Resource: n.cap.Resource, Verb: schema.Verb(verb)}
		if !n.absent.Valid() {
			return nil, fmt.Errorf("there is no capability %q", n.absent)
		}
	}
	return n, n.readPath(m, stated)
}

func (n *need) readPath(m protoreflect.MethodDescriptor, stated *v1.Needs) error {
	if field := stated.GetPathField(); field != "" {
		if n.field = m.Input().Fields().ByName(protoreflect.Name(field)); n.field == nil {
			return fmt.Errorf("the request has no field %q", field)
		}
		return nil
	}
	if stated.GetPath() != "" {
		var err error
		n.path, err = schema.ParsePath(stated.GetPath())
		return err
	}
	if !n.filtered && !n.self {
		return fmt.Errorf("neither path nor path_field is stated")
	}
	return nil
}

// pathText returns the text of the field that names the path, or "".
func (n *need) pathText(req proto.Message) string {
	if n.field == nil || n.field.Kind() != protoreflect.StringKind || n.field.IsList() {
		return n.path.String()
	}
	return req.ProtoReflect().Get(n.field).String()
}

func methodName(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}
