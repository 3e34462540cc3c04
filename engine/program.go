package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/cache"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// builtins are the functions of Rego that compiled policies use. A module that calls
// any other does not compile, so that nothing can be fetched, timed or drawn at random
// during an evaluation.
var builtins = []string{
	"assign", "contains", "count", "eq", "equal", "glob.match", "gt", "gte", "internal.member_2", "lt", "lte", "max", "min",
	"neq", "net.cidr_contains", "split", "startswith",
}

// compiler makes programs. It is immutable.
type compiler struct {
	main         *ast.Module
	capabilities *ast.Capabilities
}

func newCompiler() compiler {
	main, err := parseMain(string(policies.Main()))
	if err != nil {
		panic("engine: main module: " + err.Error())
	}
	all := ast.CapabilitiesForThisVersion()
	all.Builtins = slices.DeleteFunc(all.Builtins, func(b *ast.Builtin) bool { return !slices.Contains(builtins, b.Name) })
	all.AllowNet = []string{}
	return compiler{main: main, capabilities: all}
}

func parseMain(text string) (*ast.Module, error) {
	return ast.ParseModuleWithOpts(policies.MainFile, text, ast.ParserOptions{RegoVersion: ast.RegoV1})
}

// program is a list of policies compiled with the main module: what OPA evaluates. It
// is safe for concurrent use.
type program struct {
	compiler *ast.Compiler
	query    ast.Body
	queries  ast.QueryCompiler
	store    storage.Store
	reading  storage.Transaction // on the empty store; nothing ever writes to it
	globs    cache.InterQueryValueCache
}

// answerVar is bound to the answer of a query.
const answerVar = ast.Var("answer")

// compile compiles the policies under OPA's strict rules.
func (c compiler) compile(ctx context.Context, list []*policies.Policy) (*program, error) {
	modules := map[string]*ast.Module{policies.MainFile: c.main}
	for _, p := range list {
		module, err := ast.ParseModuleWithOpts(p.ModuleFile(), string(p.Module()), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			return nil, fmt.Errorf("parse module of policy %s: %w", p.Name, err)
		}
		modules[p.ModuleFile()] = module
	}
	compiled := ast.NewCompiler().WithStrict(true).WithCapabilities(c.capabilities)
	if compiled.Compile(modules); compiled.Failed() {
		return nil, fmt.Errorf("compile %d policies: %w", len(list), compiled.Errors)
	}
	queries := compiled.QueryCompiler()
	query, err := queries.Compile(ast.MustParseBody("data.heroctl.authz.answer = " + string(answerVar)))
	if err != nil {
		return nil, fmt.Errorf("compile query: %w", err)
	}
	store := inmem.NewWithOpts(inmem.OptReturnASTValuesOnRead(true))
	reading, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("open policy data: %w", err)
	}
	return &program{compiled, query, queries, store, reading, cache.NewInterQueryValueCache(ctx, nil)}, nil
}

// eval asks OPA. It is stopped when the context ends or the time is up; then the
// answer is an error.
func (p *program) eval(ctx context.Context, timeout time.Duration, input *ast.Term) (verdict, error) {
	if err := ctx.Err(); err != nil {
		return verdict{}, err
	}
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(timeout, cancel.Cancel)
	defer timer.Stop()
	defer context.AfterFunc(ctx, cancel.Cancel)()

	var answers []*ast.Term
	err := topdown.NewQuery(p.query).
		WithQueryCompiler(p.queries).
		WithCompiler(p.compiler).
		WithStore(p.store).
		WithTransaction(p.reading).
		WithMetrics(metrics.NoOp()).
		WithIndexing(true).
		WithEarlyExit(true).
		WithStrictBuiltinErrors(true).
		WithInterQueryBuiltinValueCache(p.globs).
		WithCancel(cancel).
		WithInput(input).
		Iter(ctx, func(result topdown.QueryResult) error {
			answers = append(answers, result[answerVar])
			return nil
		})
	switch {
	case err != nil:
		return verdict{}, err
	case cancel.Cancelled():
		return verdict{}, errors.New("the evaluation was stopped")
	case len(answers) != 1 || answers[0] == nil:
		return verdict{}, fmt.Errorf("%d answers in place of one", len(answers))
	}
	return readAnswer(answers[0].Value)
}

// readAnswer reads the answer document. It insists on the shape: what it does not
// understand is an error, never a grant.
func readAnswer(answer ast.Value) (verdict, error) {
	decision, ok1 := field[ast.Boolean](answer, "decision")
	context, ok2 := field[ast.Object](answer, "context")
	if !ok1 || !ok2 {
		return verdict{}, errors.New("the answer has no decision and context")
	}
	reason, ok1 := field[ast.String](context, "reason")
	rules, ok2 := field[*ast.Array](context, "rules")
	if !ok1 || !ok2 {
		return verdict{}, errors.New("the answer has no reason and rules")
	}
	v := verdict{reason: schema.Reason(reason)}
	switch v.reason {
	case schema.Granted, schema.NoRule, schema.ExplicitDeny, schema.CapabilityMissing,
		schema.ConditionFailed, schema.GuardrailDenied, schema.TemplateValue:
	default:
		return verdict{}, errors.New("the answer has an unknown reason")
	}
	if bool(decision) != (v.reason == schema.Granted) || (rules.Len() == 0) != (v.reason == schema.NoRule) {
		return verdict{}, errors.New("decision, reason and rules of the answer do not fit")
	}
	if rules.Len() == 0 {
		return v, nil
	}
	var err1, err2 error
	v.rule, err1 = readRule(rules.Elem(0).Value)
	v.unmet, err2 = readUnmet(v.reason, context)
	return v, errors.Join(err1, err2)
}

// readUnmet reads what of a condition does not hold, where the reason has one.
func readUnmet(reason schema.Reason, context ast.Object) (string, error) {
	if reason != schema.ConditionFailed && reason != schema.GuardrailDenied {
		return "", nil
	}
	unmet, ok := field[ast.Set](context, "unmet")
	if !ok || unmet.Len() == 0 && reason == schema.ConditionFailed {
		return "", errors.New("the answer does not say what does not hold")
	}
	var names []string
	for _, term := range unmet.Slice() {
		name, ok := term.Value.(ast.String)
		if !ok {
			return "", errors.New("what does not hold of the answer is not a text")
		}
		names = append(names, string(name))
	}
	return joinUnmet(names), nil
}

// joinUnmet writes sorted attributes of a condition as Decision.Condition does.
func joinUnmet(names []string) string { return strings.Join(names, ",") }

// readRule reads one rule of an answer.
func readRule(rule ast.Value) (schema.RuleRef, error) {
	policy, ok1 := field[ast.String](rule, "policy")
	text, ok2 := field[ast.String](rule, "digest")
	number, ok3 := field[ast.Number](rule, "line")
	if !ok1 || !ok2 || !ok3 {
		return schema.RuleRef{}, errors.New("a rule of the answer is incomplete")
	}
	digest, err := schema.ParseDigest(string(text))
	line, whole := number.Int()
	if err != nil || !whole {
		return schema.RuleRef{}, errors.New("a rule of the answer has no digest and line")
	}
	return schema.RuleRef{Policy: string(policy), Digest: digest, Line: line}, nil
}

// field returns a field of an object, if it is there and of the type.
func field[T ast.Value](object ast.Value, name string) (T, bool) {
	var none T
	fields, ok := object.(ast.Object)
	if !ok {
		return none, false
	}
	term := fields.Get(ast.InternedTerm(name))
	if term == nil {
		return none, false
	}
	value, ok := term.Value.(T)
	return value, ok
}
