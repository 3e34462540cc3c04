package gateway_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/schema"
	v1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

var (
	seed  = flag.Int64("seed", 0, "seed of the random tests; 0 for a new one")
	cases = flag.Int("cases", 10_000, "how many random requests are decided over both protocols")
)

// random returns a generator whose seed is in the test's log.
func random(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = time.Now().UnixNano()
	}
	t.Logf("-seed=%d", s)
	return rand.New(rand.NewPCG(uint64(s), 1))
}

// A second reading of the policy language, from its description, for secrets
// only. It shares nothing with the server, not even its types.

type refRule struct {
	pattern string
	verbs   []string // none: a denial
	line    int
}

type refPolicies map[string][]refRule // by name

type refAnswer struct{ reason, rule string }

// decide asks every rule of the named policies.
func (all refPolicies) decide(names []string, verb, path string) refAnswer {
	type hit struct {
		refRule
		policy string
	}
	var best []hit
	for _, name := range names {
		for _, rule := range all[name] {
			if !refCovers(rule.pattern, path) {
				continue
			}
			order := 1
			if len(best) > 0 {
				order = refOrder(rule.pattern, best[0].pattern)
			}
			if order > 0 {
				best = nil
			}
			if order >= 0 {
				best = append(best, hit{rule, name})
			}
		}
	}
	if len(best) == 0 {
		return refAnswer{"no_rule", ""}
	}
	slices.SortFunc(best, func(a, b hit) int { return cmp.Compare(a.policy, b.policy) })
	named := func(reason string, h hit) refAnswer { return refAnswer{reason, h.policy + ":" + strconv.Itoa(h.line)} }
	for _, h := range best {
		if len(h.verbs) == 0 {
			return named("explicit_deny", h)
		}
	}
	for _, h := range best {
		if slices.Contains(h.verbs, verb) || verb == "describe" && slices.Contains(h.verbs, "read") || verb == "rollback" && slices.Contains(h.verbs, "update") {
			return named("granted", h)
		}
	}
	return named("capability_missing", best[0])
}

func refCovers(pattern, path string) bool {
	if refExpressions[pattern] == nil {
		text := strings.NewReplacer(".", `\.`, "+", "[^/]+", "*", ".*").Replace(pattern)
		refExpressions[pattern] = regexp.MustCompile("^(?:" + text + ")$")
	}
	return refExpressions[pattern].MatchString(path)
}

var refExpressions = map[string]*regexp.Regexp{}

// refOrder says which of two patterns comes first: 1 for a, -1 for b, 0 for the
// same.
func refOrder(a, b string) int {
	first := func(p string) int {
		if i := strings.IndexAny(p, "+*"); i >= 0 {
			return i
		}
		return 1000
	}
	closed := func(p string) int {
		if strings.HasSuffix(p, "*") {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(first(a), first(b)), cmp.Compare(closed(a), closed(b)), cmp.Compare(strings.Count(b, "+"), strings.Count(a, "+")),
		cmp.Compare(len(a), len(b)), cmp.Compare(a, b),
	)
}

// refLegal reports whether a path is one, by its grammar.
var refLegal = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_-])?(/[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_-])?)*$`).MatchString

// The universe of the questions is small, so that rules meet.
var (
	refVerbs    = []string{"create", "update", "read", "describe", "list", "rollback", "delete", "undelete", "destroy"}
	refCalls    = map[string]string{"CreateSecret": "create", "UpdateSecret": "update", "GetSecret": "read", "DescribeSecret": "describe", "ListSecretVersions": "describe", "RollbackSecret": "rollback", "DeleteSecret": "delete", "UndeleteSecret": "undelete", "DestroySecret": "destroy"}
	refPatterns = []string{"*", "a*", "a/*", "a/b", "a/b*", "a/b/*", "a/+", "a/+/c", "+", "+/b", "+/+", "+/*", "+/b/*", "+/+/c", "a/+/*", "b/*", "b", "b/c", "b/+/c", "a/b/c", "c/*", "c/a.b", "a/b/c*", "+/+/+"}
	refBad      = []string{"a//b", "a/./b", "a/../b", "a/b/", "/a", "a/b.", "a/.b", "a/-b", "a/b;c", "a/*", "+/b", "A/b!"}
)

func refPaths() []string {
	segments := []string{"a", "b", "c"}
	all := []string{"c/a.b", "c/axb", "aa", "ab/c", "a/bb", "a/b/cc", "A/b"}
	for _, x := range segments {
		all = append(all, x)
		for _, y := range segments {
			all = append(all, x+"/"+y)
			for _, z := range segments {
				all = append(all, x+"/"+y+"/"+z)
			}
		}
	}
	return all
}

// question is one request, put over both protocols.
type question struct {
	asker  int
	method string
	path   string
	want   refAnswer
	set    int // which policy set was in force
}

// asker is a user who has a token with some policies.
type asker struct {
	name, token string
	policies    []string
}

// TestProtocolsAndReferenceAgree decides random requests on random policy sets
// over REST and gRPC, and by a reference of sixty lines. All three must come to
// the same decision for the same reason by the same rule, and the records of both
// protocols must be the same but for what names the request.
func TestProtocolsAndReferenceAgree(t *testing.T) {
	r := random(t)
	k := newKit(t, kitOptions{durability: audit.Kernel})
	d := &differential{t: t, k: k, r: r, paths: refPaths()}
	for i, path := range d.paths {
		if i%3 == 0 && !strings.HasPrefix(path, "A") {
			k.put(path, "v")
			d.stored = append(d.stored, path)
		}
	}
	d.makeAskers()
	perSet := 250
	for set := 0; len(d.asked) < *cases; set++ {
		d.newPolicies()
		var batch []question
		for range min(perSet, *cases-len(d.asked)) {
			batch = append(batch, d.question(set))
		}
		d.putAll(len(d.asked), batch)
		d.asked = append(d.asked, batch...)
		d.compareLists()
		if t.Failed() {
			return
		}
	}
	d.compareRecords()
}

type differential struct {
	t      *testing.T
	k      *kit
	r      *rand.Rand
	paths  []string
	stored []string
	askers []asker
	rules  refPolicies
	asked  []question
}

// makeAskers makes users with some of the policies attached directly and some
// through a role, in no particular order.
func (d *differential) makeAskers() {
	d.newPolicies()
	admin := d.k.over("grpc", d.k.admin)
	ctx := context.Background()
	for i, held := range [][2]string{{"p0", ""}, {"p1 p0", ""}, {"p3", "p2 p1"}, {"p4 p5 p0", "p3"}, {"", "p5 p4 p3 p2 p1 p0"}, {"", ""}} {
		a := asker{name: fmt.Sprintf("asker%d", i), policies: strings.Fields(held[0] + " " + held[1])}
		_, err := admin.Access().CreateUser(ctx, &v1.CreateUserRequest{Name: a.name})
		d.k.must(err)
		req := &v1.CreateTokenRequest{User: a.name, Policies: strings.Fields(held[0])}
		if held[1] != "" {
			_, err = admin.Access().CreateRole(ctx, &v1.CreateRoleRequest{Name: "role" + a.name, Role: &v1.NewRole{Policies: strings.Fields(held[1])}})
			d.k.must(err)
			req.Roles = []string{"role" + a.name}
		}
		made, err := admin.Access().CreateToken(ctx, req)
		d.k.must(err)
		a.token = made.GetToken()
		d.askers = append(d.askers, a)
	}
}

// newPolicies puts six random policies in force.
func (d *differential) newPolicies() {
	d.rules = refPolicies{}
	var files []*v1.PolicyFile
	for i := range 6 {
		name := fmt.Sprintf("p%d", i)
		text, line := "policy \""+name+"\" {\n", 2
		patterns := slices.Clone(refPatterns)
		d.r.Shuffle(len(patterns), func(i, j int) { patterns[i], patterns[j] = patterns[j], patterns[i] })
		for _, pattern := range patterns[:d.r.IntN(6)] {
			rule := refRule{pattern: pattern, line: line}
			if d.r.IntN(5) > 0 {
				for _, verb := range refVerbs {
					if d.r.IntN(2) == 0 {
						rule.verbs = append(rule.verbs, verb)
					}
				}
			}
			d.rules[name] = append(d.rules[name], rule)
			list, _ := json.Marshal(rule.verbs)
			if rule.verbs == nil {
				list = []byte([]string{"[]", `["deny"]`}[d.r.IntN(2)])
			}
			text += fmt.Sprintf("  secret {\n    path = %q\n    capabilities = %s\n  }\n", pattern, list)
			line += 4
		}
		files = append(files, &v1.PolicyFile{Name: name + ".hcl", Text: text + "}\n"})
	}
	_, err := d.k.over("grpc", d.k.admin).Policies().ApplyPolicies(context.Background(), &v1.ApplyPoliciesRequest{Files: files})
	d.k.must(err)
}

// question returns a random request. One that would change something is about a
// path where nothing is, so that it is decided and then not found.
func (d *differential) question(set int) question {
	methods := []string{"GetSecret", "DescribeSecret", "ListSecretVersions"}
	if d.r.IntN(4) == 0 { // fewer: their intents wait for the disk
		methods = []string{"CreateSecret", "UpdateSecret", "RollbackSecret", "DeleteSecret", "UndeleteSecret", "DestroySecret"}
	}
	q := question{asker: d.r.IntN(len(d.askers)), method: methods[d.r.IntN(len(methods))], set: set}
	for q.path == "" || slices.Contains(d.stored, q.path) && q.method != "GetSecret" && q.method != "DescribeSecret" && q.method != "ListSecretVersions" {
		q.path = d.paths[d.r.IntN(len(d.paths))]
	}
	if d.r.IntN(20) == 0 {
		q.path = refBad[d.r.IntN(len(refBad))]
	}
	q.want = refAnswer{"invalid_path", ""}
	if refLegal(q.path) {
		q.want = d.rules.decide(d.askers[q.asker].policies, refCalls[q.method], q.path)
	}
	return q
}

const askingWorkers = 24

// putAll puts a batch of questions over both protocols, many at a time. Each
// request bears its number where the record keeps it.
func (d *differential) putAll(first int, batch []question) {
	conn := d.k.conn()
	var group sync.WaitGroup
	for worker := range askingWorkers {
		group.Go(func() {
			for i := worker; i < len(batch); i += askingWorkers {
				q, number := batch[i], strconv.Itoa(first+i)
				token := d.askers[q.asker].token
				m := secretsMethod(q.method)
				method, target, body := restForm(m, q.path)
				over := d.k.ask(token, method, target, body, "X-Forwarded-For", "1:"+number)
				d.checkREST(q, over)
				req := dynamicpb.NewMessage(m.Input())
				req.Set(m.Input().Fields().ByName("path"), protoreflect.ValueOfString(q.path))
				err := conn.Invoke(as(token, "x-forwarded-for", "2:"+number), "/heroctl.v1.Secrets/"+q.method, req, dynamicpb.NewMessage(m.Output()))
				d.checkGRPC(q, err)
				if kind, other := over.problem().Kind, problemFrom(err).GetKind(); kind != other {
					d.t.Errorf("%v: REST says %q, gRPC %q", q, kind, other)
				}
			}
		})
	}
	group.Wait()
}

func secretsMethod(name string) protoreflect.MethodDescriptor {
	return v1.File_heroctl_v1_secrets_proto.Services().ByName("Secrets").Methods().ByName(protoreflect.Name(name))
}

// checkREST holds the status against the decision: what is granted is answered,
// or not found, or lacks a value; what is denied is 403.
func (d *differential) checkREST(q question, got answer) {
	wanted := []int{http.StatusForbidden}
	switch q.want.reason {
	case "granted":
		wanted = []int{http.StatusOK, http.StatusNotFound, http.StatusBadRequest}
	case "invalid_path":
		wanted = []int{http.StatusBadRequest}
	}
	if !slices.Contains(wanted, got.status) {
		d.t.Errorf("%+v: REST status %d, want %v", q, got.status, wanted)
	}
	if q.want.reason != "granted" && got.problem().Reason != q.want.reason {
		d.t.Errorf("%+v: REST reason %q", q, got.problem().Reason)
	}
}

func (d *differential) checkGRPC(q question, err error) {
	wanted := []codes.Code{codes.PermissionDenied}
	switch q.want.reason {
	case "granted":
		wanted = []codes.Code{codes.OK, codes.NotFound, codes.InvalidArgument}
	case "invalid_path":
		wanted = []codes.Code{codes.InvalidArgument}
	}
	if !slices.Contains(wanted, status.Code(err)) {
		d.t.Errorf("%+v: gRPC %v, want %v", q, err, wanted)
	}
	if q.want.reason != "granted" && problemFrom(err).GetReason() != q.want.reason {
		d.t.Errorf("%+v: gRPC reason %q", q, problemFrom(err).GetReason())
	}
}

// compareLists lists a random subtree as everyone over both protocols: exactly
// what the reference grants listing on is there.
func (d *differential) compareLists() {
	prefix := []string{"", "a", "a/b", "b", "c"}[d.r.IntN(5)]
	for _, a := range d.askers {
		var want []string
		for _, path := range d.stored {
			below := prefix == "" || path == prefix || strings.HasPrefix(path, prefix+"/")
			if below && d.rules.decide(a.policies, "list", path).reason == "granted" {
				want = append(want, path)
			}
		}
		slices.Sort(want)
		for _, protocol := range []string{"rest", "grpc"} {
			got, err := d.k.over(protocol, a.token).Secrets().ListSecrets(context.Background(), &v1.ListSecretsRequest{Prefix: prefix})
			var names []string
			for _, s := range got.GetSecrets() {
				names = append(names, s.GetPath())
				told := s.GetVersion() != 0
				if may := d.rules.decide(a.policies, "describe", s.GetPath()).reason == "granted"; told != may {
					d.t.Errorf("list over %s shows columns of %s: %v, want %v", protocol, s.GetPath(), told, may)
				}
			}
			if err != nil || !slices.Equal(names, want) {
				d.t.Errorf("list of %q over %s as %v: %v %v, want %v", prefix, protocol, a.policies, names, err, want)
			}
		}
	}
}

// compareRecords holds each pair of records against the question and each other.
func (d *differential) compareRecords() {
	byNumber := map[string]audit.Row{}
	for _, row := range d.k.everything() {
		if f := row.Source.Forwarded; f != "" {
			if _, twice := byNumber[f]; twice {
				d.t.Errorf("request %s is on record twice", f)
			}
			byNumber[f] = row
		}
	}
	if len(byNumber) != 2*len(d.asked) {
		d.t.Fatalf("%d requests are on record, want %d", len(byNumber), 2*len(d.asked))
	}
	for i, q := range d.asked {
		one, two := byNumber["1:"+strconv.Itoa(i)], byNumber["2:"+strconv.Itoa(i)]
		if a, b := essence(one), essence(two); a != b {
			d.t.Errorf("%+v is on record differently:\n%s\n%s", q, a, b)
		}
		if err := d.fits(q, one); err != nil {
			d.t.Errorf("%+v: %v", q, err)
		}
	}
}

func (d *differential) fits(q question, row audit.Row) error {
	rule := ""
	if ref := row.Record.Result.Rule; ref.Policy != "" {
		rule = ref.Policy + ":" + strconv.Itoa(ref.Line)
	}
	path := q.path
	if q.want.reason == "invalid_path" {
		path = ""
	}
	for _, pair := range [][2]string{
		{row.Input.Subject.ID, d.askers[q.asker].name},
		{row.Input.Action.Name, "secret:" + refCalls[q.method]},
		{row.Input.Resource.ID, path},
		{string(row.Record.Result.Reason), q.want.reason},
		{rule, q.want.rule},
		{strconv.FormatBool(row.Record.Result.Allow), strconv.FormatBool(q.want.reason == "granted")},
	} {
		if pair[0] != pair[1] {
			return errors.New("on record: " + pair[0] + ", want " + pair[1])
		}
	}
	return nil
}

// essence is a record without what differs from request to request.
func essence(row audit.Row) string {
	in := row.Input
	in.Context.Time, in.Context.TokenAge = "", 0
	came := row.Came()
	came.Revision = 0
	decided := row.Record.Result
	return fmt.Sprintf("%s %s %+v %s %+v %+v %v %d", row.Kind, row.Method, in, row.Attached, schema.Decision{Allow: decided.Allow, Reason: decided.Reason, Rule: decided.Rule, Set: decided.Set, Revision: decided.Revision}, came, row.Checks, row.Version)
}
