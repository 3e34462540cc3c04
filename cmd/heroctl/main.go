// Command heroctl is the server and its command line in one binary.
//
// The command line is a thin client: each verb parses its words into the types
// of package schema, makes one call through package client and prints what came
// back. It decides nothing. The rules that every verb keeps:
//
//   - Results go to stdout. Everything said about them goes to stderr, begins
//     with "heroctl: ", is lower case and ends without a period; a line that
//     begins with "hint: " tells what to try.
//   - A question is asked on a terminal only. Without one, what would need an
//     answer is refused and says which flag answers it.
//   - Exit codes are those of exit.go and nothing else.
//   - A value reaches stdout in "secret get" and nowhere else, a token in "acl
//     token create" and nowhere else.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(main1(os.Args[1:]...)) }

// main1 runs heroctl on the process' own streams and returns its exit code. An
// interrupt cancels what runs.
func main1(args ...string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv}
	return a.run(ctx, args)
}

// app is one run of the program: its streams, its environment and, once the
// command line is read, its global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string

	flags globalFlags
}

// run reads the command line, does what it says, reports a failure on stderr and
// returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.newRootCommand()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	return a.report(root.ExecuteContext(ctx))
}
