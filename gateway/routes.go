package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/heroctl/heroctl/schema"
)

// route is one REST method of one call, from its google.api.http option. The
// front uses it to refuse what the generated mux would let through: unknown
// query parameters, bodies where none belongs, other methods.
type route struct {
	need   *need
	method string // "GET"
	prefix string // "/v1/secrets/"; the whole path when wild is false
	wild   bool   // whether a path or name follows the prefix
	name   bool   // whether it is a name
	verb   string // ":describe", or ""
	body   bool
	query  []string // names of the allowed query parameters
}

// readRoutes builds the routes from the method options.
func readRoutes(needs map[string]*need) ([]route, error) {
	var routes []route
	err := eachMethod(func(m protoreflect.MethodDescriptor) error {
		rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
		r, err := readRoute(m, rule)
		if err != nil {
			return fmt.Errorf("route of %s: %w", m.FullName(), err)
		}
		r.need = needs[methodName(m)]
		routes = append(routes, r)
		return nil
	})
	return routes, err
}

func readRoute(m protoreflect.MethodDescriptor, rule *annotations.HttpRule) (route, error) {
	r := route{body: rule.GetBody() != ""}
	var template string
	switch {
	case rule.GetGet() != "":
		r.method, template = http.MethodGet, rule.GetGet()
	case rule.GetPost() != "":
		r.method, template = http.MethodPost, rule.GetPost()
	case rule.GetPut() != "":
		r.method, template = http.MethodPut, rule.GetPut()
	case rule.GetDelete() != "":
		r.method, template = http.MethodDelete, rule.GetDelete()
	default:
		return r, fmt.Errorf("the http option is missing")
	}
	bound := []string{rule.GetBody()}
	if prefix, rest, ok := strings.Cut(template, "{"); ok {
		variable, verb, _ := strings.Cut(rest, "}")
		name, _, deep := strings.Cut(variable, "=")
		r.prefix, r.wild, r.name, r.verb = prefix, true, !deep, verb
		bound = append(bound, name)
	} else {
		r.prefix = template
	}
	if rule.GetBody() == "*" {
		return r, nil
	}
	fields := m.Input().Fields()
	for i := range fields.Len() {
		if name := string(fields.Get(i).Name()); !slices.Contains(bound, name) {
			r.query = append(r.query, name)
		}
	}
	return r, nil
}

// matches reports whether the route is the one for the path, whatever the method.
func (r *route) matches(path string) bool {
	if !r.wild {
		return path == r.prefix
	}
	rest, ok := strings.CutPrefix(path, r.prefix)
	if !ok || rest == "" {
		return false
	}
	_, verb, found := strings.Cut(rest, ":")
	if found {
		verb = ":" + verb
	}
	return verb == r.verb
}

// check parses what follows the prefix. The generated mux splits paths by rules
// of its own; what passes here has one reading.
func (r *route) check(path string) error {
	if !r.wild {
		return nil
	}
	rest := strings.TrimSuffix(strings.TrimPrefix(path, r.prefix), r.verb)
	if r.name {
		_, err := schema.ParseName(rest)
		return err
	}
	_, err := schema.ParsePath(rest)
	return err
}

// find returns the route of a request, or nil and the methods that the path does
// have.
func (g *Gateway) find(method, path string) (*route, []string) {
	var allowed []string
	for i := range g.routes {
		if r := &g.routes[i]; r.matches(path) {
			if r.method == method {
				return r, nil
			}
			allowed = append(allowed, r.method)
		}
	}
	return nil, allowed
}

// flaw says what is wrong with a request that the route took, or "". It never
// repeats the request.
func (r *route) flaw(req *http.Request) string {
	if strings.Contains(req.URL.EscapedPath(), "%") {
		return `a path has no "%": no character of a path needs escaping`
	}
	query, err := parseQuery(req.URL.RawQuery)
	if err != nil {
		return "the query string is malformed"
	}
	for name, values := range query {
		if !slices.Contains(r.query, name) {
			return allowedQuery(r.query)
		}
		if len(values) > 1 && !repeatable[name] {
			return "a query parameter is given twice"
		}
	}
	switch {
	case !r.body && req.ContentLength != 0 && len(req.TransferEncoding) == 0:
		return "this call takes no body"
	case req.Header.Get("Content-Encoding") != "":
		return "send the body as it is, without Content-Encoding"
	}
	return ""
}

// repeatable names the query parameters that may be given several times.
var repeatable = map[string]bool{"actions": true, "capabilities": true}

func allowedQuery(names []string) string {
	if len(names) == 0 {
		return "unknown query parameter: this call takes none; send tokens in the Authorization header"
	}
	return "unknown query parameter: this call takes " + strings.Join(names, ", ")
}
