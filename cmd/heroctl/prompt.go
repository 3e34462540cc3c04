package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// terminal returns the terminal the user sits at, or nil. Questions are asked
// when stdin and stderr are terminals, so that piped input is never taken for an
// answer.
func (a *app) terminal() *os.File {
	in, ok := a.stdin.(*os.File)
	if !ok || !isTerminal(in) || !isTerminal(a.stderr) {
		return nil
	}
	return in
}

// confirm asks whether to do what cannot simply be taken back. Without a
// terminal it refuses, unless yes says that the question is answered.
func (a *app) confirm(ctx context.Context, yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	question := fmt.Sprintf(format, args...)
	in := a.terminal()
	if in == nil {
		return usageError(question+" needs a yes, and there is no terminal to ask on", "--yes")
	}
	fmt.Fprintf(a.stderr, "%s? [y/N] ", question)
	answer, err := wait(ctx, func() (string, error) { return bufio.NewReader(in).ReadString('\n') })
	if err != nil {
		fmt.Fprintln(a.stderr)
		return err
	}
	if word := strings.ToLower(strings.TrimSpace(answer)); word != "y" && word != "yes" {
		return &failure{code: exitFailure, text: "nothing was done"}
	}
	return nil
}

// askSecret asks for a line without showing it.
func (a *app) askSecret(ctx context.Context, in *os.File, label string) (secret.Value, error) {
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return secret.Value{}, err
	}
	fmt.Fprint(a.stderr, label+": ")
	line, err := wait(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(a.stderr)
	if err != nil {
		_ = term.Restore(fd, before) // the reader may still be waiting, with the echo off
		return secret.Value{}, err
	}
	return secret.New(line), nil
}

// wait runs what blocks on a terminal until it is done or the user interrupts.
// After an interrupt the reader is left behind; the program ends.
func wait[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		value, err := read()
		done <- answer{value, err}
	}()
	select {
	case got := <-done:
		return got.value, got.err
	case <-ctx.Done():
		var zero T
		return zero, fault.Canceled
	}
}
