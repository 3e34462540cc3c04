package main

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema/fault"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// TestEveryKindHasAnExitCode reads the list of kinds where it is written.
func TestEveryKindHasAnExitCode(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../schema/fault/fault.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Kind" {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if _, ok := exitCodes[fault.Kind(text)]; !ok {
			t.Errorf("kind %q has no exit code", text)
		}
		return true
	})
	if found != len(exitCodes) {
		t.Errorf("the table has %d kinds, package fault has %d", len(exitCodes), found)
	}
}

// TestInterruptWhileReading interrupts a command that waits for its input.
func TestInterruptWhileReading(t *testing.T) {
	for _, args := range [][]string{
		{"secret", "create", "x", "--from-stdin"}, {"policy", "check", "-"}, {"login", "--token-stdin"},
	} {
		in, open, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		home := map[string]string{"HOME": t.TempDir()}
		a := &app{stdin: in, stdout: io.Discard, stderr: &stderr, env: func(name string) string { return home[name] }}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		done := make(chan int, 1)
		go func() { done <- a.run(ctx, args) }()
		select {
		case code := <-done:
			if code != exitInterrupted || stderr.String() != "heroctl: interrupted\n" {
				t.Errorf("%v ended with %d: %q", args, code, stderr.String())
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%v cannot be interrupted", args)
		}
		cancel()
		open.Close()
	}
}

func TestReport(t *testing.T) {
	denied := &client.Error{Problem: &heroctlv1.Problem{
		Kind: "denied", Reason: "no_rule", DecisionId: "019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b", Detail: "no rule allows it",
	}}
	hostile := &client.Error{Problem: &heroctlv1.Problem{Kind: "not_found", Detail: "\x1b[2Jgone\u202e"}}
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{about(`secret "x"`, denied), 5, "heroctl: secret \"x\": denied: no rule allows it (no_rule), decision 019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b\n" +
			"hint: heroctl why 019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b\n"},
		{about("x", hostile), 6, "heroctl: x: \\x1b[2Jgone\\u202e\n"},
		{about("x", &client.Error{Problem: &heroctlv1.Problem{Kind: "of_tomorrow"}}), 1, "heroctl: x: of tomorrow\n"},
		{fault.Canceled, 130, "heroctl: interrupted\n"},
		{about("x", fault.New(fault.InvalidPath, "the path is empty")), 2, "heroctl: x: the path is empty\n"},
		{fault.Wrap(fault.NotFound, "there is no cluster", errors.New("no such file")), 6, "heroctl: there is no cluster: no such file\n"},
		{errors.New("something else"), 1, "heroctl: something else\n"},
		{usageError("wrong", "right"), 2, "heroctl: wrong\nhint: right\n"},
	} {
		var stderr strings.Builder
		a := &app{stderr: &stderr}
		if code := a.report(c.err); code != c.code || stderr.String() != c.want {
			t.Errorf("report(%v) = %d\n%q\nwant %d\n%q", c.err, code, stderr.String(), c.code, c.want)
		}
	}
}
