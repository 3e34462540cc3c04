package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heroctl/heroctl/engine"
	"github.com/heroctl/heroctl/gateway"
	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// explainFlags are the flags of heroctl policy explain.
type explainFlags struct {
	as    []string
	can   string
	at    string
	from  string
	job   string
	files []string
}

func (a *app) newPolicyExplain() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use: "explain PATH --as WHO --can CAPABILITY", Short: "Say how a request would be decided, and why", Args: takes("PATH"),
		Long: `Say how a request would be decided, with every rule that covers the path, from the most
specific to the least, and which step settled it. It asks the server's policies, and needs
audit:explain on the path; with --files it asks the policies in these files instead, offline.

WHO is user:NAME (all that his tokens hold together), token:USER/ACCESSOR, role:NAME or
policy:NAME; the last two may be given several times. Offline, user:NAME only fills in
{{user.name}}, and without policy:NAME all policies of the files are attached.`,
		Example: `  heroctl policy explain prod/db_password --as user:ana --can secret:read
  heroctl policy explain prod/db_password --as role:deployer --can secret:inject --from 10.20.0.7 --at 2026-03-02T22:00:00Z
  heroctl policy explain prod/admin/x --as policy:deploy-prod-secrets --can secret:list --files examples/policies`,
		RunE: func(c *cobra.Command, args []string) error { return a.explain(c.Context(), args[0], f) },
	}
	c.Flags().StringArrayVar(&f.as, "as", nil, "`WHO` asks: user:NAME, token:USER/ACCESSOR, role:NAME or policy:NAME")
	c.Flags().StringVar(&f.can, "can", "", "`CAPABILITY` asked for, such as secret:read")
	c.Flags().StringVar(&f.at, "at", "", "`TIME` of the request, RFC 3339; now if not given")
	c.Flags().StringVar(&f.from, "from", "", "`ADDRESS` the request comes from")
	c.Flags().StringVar(&f.job, "job", "", "`NAME` of the job the request is made for")
	c.Flags().StringArrayVar(&f.files, "files", nil, "ask the policies in this `FILE` or folder, offline")
	return c
}

func (a *app) explain(ctx context.Context, path string, f explainFlags) error {
	req, err := f.request(path)
	if err != nil {
		return err
	}
	if len(f.files) > 0 {
		x, err := a.explainOffline(ctx, req, f)
		if err != nil {
			return err
		}
		return a.printWeighed(x)
	}
	return a.with("explain", func(cl *client.Client) error {
		x, err := cl.Policies().ExplainAccess(ctx, req)
		if err != nil {
			return err
		}
		return a.printWeighed(x)
	})
}

// request checks the flags before anything is sent.
func (f explainFlags) request(path string) (*heroctlv1.ExplainAccessRequest, error) {
	if _, err := schema.ParsePath(path); err != nil {
		return nil, about("path", err)
	}
	if _, err := schema.ParseCapability(f.can); err != nil {
		return nil, usageError("--can names a capability, such as secret:read")
	}
	req := &heroctlv1.ExplainAccessRequest{Path: path, Capability: f.can, From: f.from, Job: f.job}
	for _, who := range f.as {
		kind, name, _ := strings.Cut(who, ":")
		switch {
		case name != "" && kind == "user":
			req.User = name
		case name != "" && kind == "token":
			req.Token = name
		case name != "" && kind == "role":
			req.Roles = append(req.Roles, name)
		case name != "" && kind == "policy":
			req.Policies = append(req.Policies, name)
		default:
			return nil, usageError("--as takes user:NAME, token:USER/ACCESSOR, role:NAME or policy:NAME")
		}
	}
	if len(f.as) == 0 && len(f.files) == 0 {
		return nil, usageError("--as is needed: who asks, such as user:ana")
	}
	if f.from != "" {
		if _, err := netip.ParseAddr(f.from); err != nil {
			return nil, usageError("--from is an address, such as 10.20.0.7")
		}
	}
	if f.at != "" {
		at, err := time.Parse(time.RFC3339, f.at)
		if err != nil {
			return nil, usageError("--at is a time such as 2026-03-02T22:00:00Z")
		}
		req.At = timestamppb.New(at)
	}
	return req, nil
}

// explainOffline decides on the policies of the files, with the same engine.
func (a *app) explainOffline(ctx context.Context, req *heroctlv1.ExplainAccessRequest, f explainFlags) (*heroctlv1.AccessExplanation, error) {
	if len(req.GetRoles()) > 0 || req.GetToken() != "" {
		return nil, usageError("with --files there are no roles and tokens; name policies with --as policy:NAME")
	}
	files, err := a.readPolicyFiles(ctx, f.files)
	if err != nil {
		return nil, err
	}
	parsed, problems := a.parsePolicies(files)
	if problems.HasErrors() {
		a.renderDiagnostics(problems, files)
		return nil, refused(problems)
	}
	question, err := offlineCall(req, parsed)
	if err != nil {
		return nil, err
	}
	e := engine.New(engine.Config{})
	if err := e.Activate(ctx, policies.NewSet(parsed), 0); err != nil {
		return nil, err
	}
	return gateway.Weighed(question, e.Explain(ctx, question)), nil
}

// offlineCall is the question, asked by somebody with the named policies, or all.
func offlineCall(req *heroctlv1.ExplainAccessRequest, parsed []*policies.Policy) (schema.Call, error) {
	who := schema.Principal{Kind: schema.KindUser, User: first(req.GetUser(), "somebody"), Job: req.GetJob()}
	for _, p := range parsed {
		if name := p.Name.String(); len(req.GetPolicies()) == 0 || slices.Contains(req.GetPolicies(), name) {
			who.Policies = append(who.Policies, name)
		}
	}
	for _, name := range req.GetPolicies() {
		if !slices.Contains(who.Policies, name) {
			return schema.Call{}, usageError(fmt.Sprintf("the files have no policy %q", clean(name)))
		}
	}
	slices.Sort(who.Policies)
	path, err := schema.ParsePath(req.GetPath())
	if err != nil {
		return schema.Call{}, err
	}
	capability, err := schema.ParseCapability(req.GetCapability())
	if err != nil {
		return schema.Call{}, err
	}
	c := schema.Call{Principal: who, Capability: capability, Path: path, Context: schema.Context{Time: time.Now(), Method: schema.MethodToken}}
	if req.GetAt() != nil {
		c.Context.Time = req.GetAt().AsTime()
	}
	if req.GetFrom() != "" {
		c.Context.Source, err = netip.ParseAddr(req.GetFrom())
	}
	return c, err
}

// printWeighed shows a decision with its ladder.
func (a *app) printWeighed(x *heroctlv1.AccessExplanation) error {
	format, err := a.format()
	if err != nil {
		return err
	}
	if format != formatTable {
		return printOne(a, view[*heroctlv1.AccessExplanation]{name: (*heroctlv1.AccessExplanation).GetDecision}, x)
	}
	fmt.Fprintf(a.stdout, "%s (%s)\n%s\n", clean(x.GetDecision()), clean(x.GetReason()), clean(x.GetSentence()))
	return a.printLadder(x)
}

// printLadder lists what was weighed, the most specific rule first.
func (a *app) printLadder(x *heroctlv1.AccessExplanation) error {
	for _, part := range []struct {
		title string
		rungs []*heroctlv1.Rung
	}{{"guardrails on the path:", x.GetGuardrails()}, {"rules on the path, the most specific first:", x.GetLadder()}} {
		if len(part.rungs) == 0 {
			continue
		}
		fmt.Fprintf(a.stdout, "\n%s\n", part.title)
		rows := [][]string{{"PATTERN", "RULE", "SAYS", "BEATEN, BECAUSE THE FIRST"}}
		for _, r := range part.rungs {
			rows = append(rows, []string{r.GetPattern(), fmt.Sprintf("%s:%d", r.GetPolicy(), r.GetLine()), saying(r), strings.TrimPrefix(r.GetBeaten(), "it ")})
		}
		if err := a.table(rows); err != nil {
			return err
		}
	}
	if r := x.GetNearest(); r != nil {
		fmt.Fprintf(a.stdout, "\nthe nearest rule with the capability is %s:%d, for %s\n", clean(r.GetPolicy()), r.GetLine(), clean(r.GetPattern()))
	}
	return nil
}

func saying(r *heroctlv1.Rung) string {
	if len(r.GetUnmet()) == 0 {
		return r.GetSays()
	}
	return r.GetSays() + " (" + strings.Join(r.GetUnmet(), ", ") + ")"
}
