package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// terminal is where questions are asked: answers come from stdin, which must be a
// terminal, so that piped input is never taken for one; the questions go to the
// controlling terminal, so that they are seen when stderr is a file.
type terminal struct {
	in  *os.File
	out io.WriteCloser
}

// openTerminal returns the terminal the user sits at, or nil.
func (a *app) openTerminal() *terminal {
	in, ok := a.stdin.(*os.File)
	if !ok || !isTerminal(in) {
		return nil
	}
	out, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0)
	if err != nil {
		return nil
	}
	return &terminal{in, out}
}

// Close gives the terminal back.
func (t *terminal) Close() { _ = t.out.Close() }

// confirm asks whether to do what cannot simply be taken back. Without a
// terminal it refuses, unless yes says that the question is answered.
func (a *app) confirm(ctx context.Context, yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	question := fmt.Sprintf(format, args...)
	t := a.openTerminal()
	if t == nil {
		return usageError("to "+question+" needs a yes, and there is no terminal to ask on", "--yes")
	}
	defer t.Close()
	fmt.Fprintf(t.out, "%s? [y/N] ", question)
	answer, err := wait(ctx, func() (string, error) { return bufio.NewReader(t.in).ReadString('\n') })
	if err != nil {
		fmt.Fprintln(t.out)
		return err
	}
	if word := strings.ToLower(strings.TrimSpace(answer)); word != "y" && word != "yes" {
		return &failure{code: exitFailure, text: "nothing was done"}
	}
	return nil
}

// askSecret asks for a line without showing it.
func (t *terminal) askSecret(ctx context.Context, label string) (secret.Value, error) {
	fd := int(t.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return secret.Value{}, err
	}
	fmt.Fprint(t.out, label+": ")
	line, err := wait(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(t.out)
	if err != nil {
		_ = term.Restore(fd, before) // the reader may still be waiting, with the echo off
		return secret.Value{}, err
	}
	return secret.New(line), nil
}

// wait runs what blocks on a terminal or a pipe until it is done or the user
// interrupts. After an interrupt the reader is left behind; the program ends.
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
