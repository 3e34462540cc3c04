package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema/fault"
)

// The exit codes. Scripts rely on them; the list is append-only.
const (
	exitOK              = 0
	exitFailure         = 1
	exitUsage           = 2 // the command cannot be right as written
	exitCheckFailed     = 3 // a check, diff or test found something
	exitUnauthenticated = 4
	exitDenied          = 5
	exitNotFound        = 6
	exitConflict        = 7
	exitUnavailable     = 8 // not now: unreachable, sealed, over a rate
	exitInterrupted     = 130
)

// exitCodes says how each kind of failure ends the program. What is not listed
// ends with exitFailure.
var exitCodes = map[fault.Kind]int{
	fault.InvalidArgument: exitUsage,
	fault.InvalidPath:     exitUsage,
	fault.TooLarge:        exitUsage,
	fault.InvalidPolicy:   exitCheckFailed,
	fault.Unauthenticated: exitUnauthenticated,
	fault.Denied:          exitDenied,
	fault.NotFound:        exitNotFound,
	fault.Conflict:        exitConflict,
	fault.FailedCheck:     exitConflict,
	fault.RateLimited:     exitUnavailable,
	fault.Unavailable:     exitUnavailable,
	fault.Sealed:          exitUnavailable,
	fault.Timeout:         exitUnavailable,
	fault.Canceled:        exitInterrupted,
	fault.Unsupported:     exitFailure,
	fault.Integrity:       exitFailure,
	fault.Compacted:       exitFailure,
	fault.Internal:        exitFailure,
}

// failure is an error as the user reads it: one sentence, its hints and the exit
// code.
type failure struct {
	code  int
	text  string // "" when all has been said already
	hints []string
	cause error
}

// Error returns the sentence.
func (f *failure) Error() string { return f.text }

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.cause }

// usageError returns the failure of a command that cannot be right as written.
func usageError(text string, hints ...string) error {
	return &failure{code: exitUsage, text: text, hints: hints}
}

// about says what failed, in the user's words: `secret "prod/db"`. A nil error
// stays nil.
func about(subject string, err error) error {
	if err == nil {
		return nil
	}
	var f *failure
	if errors.As(err, &f) {
		return err
	}
	f = &failure{code: exitFailure, text: subject + ": " + sentence(err), cause: err}
	if code, ok := exitCodes[fault.KindOf(err)]; ok {
		f.code = code
	}
	var e *client.Error
	if errors.As(err, &e) {
		f.code = exitFailure
		if code, ok := exitCodes[e.Kind()]; ok {
			f.code = code
		}
		f.hints = hintsFor(e)
	}
	return f
}

// sentence tells an error in the words fit for the user: the detail, what the
// server decided and the decision's id.
func sentence(err error) string {
	var e *client.Error
	if !errors.As(err, &e) {
		if d := fault.Detail(err); d != "" {
			return d + causeOf(err)
		}
		return err.Error()
	}
	p := e.Problem
	text := clean(e.Error())
	if words := strings.ReplaceAll(p.GetKind(), "_", " "); e.Kind() == fault.Denied && !strings.HasPrefix(text, words) {
		text = words + ": " + text
	}
	if reason := p.GetReason(); reason != "" && reason != p.GetKind() {
		text += " (" + clean(reason) + ")"
	}
	if id := p.GetDecisionId(); id != "" && e.Kind() == fault.Denied {
		text += ", decision " + clean(id)
	}
	return text
}

// causeOf returns the cause of a failure on this machine, such as "permission
// denied".
func causeOf(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Cause != nil {
		return ": " + clean(f.Cause.Error())
	}
	return ""
}

func hintsFor(e *client.Error) []string {
	switch e.Kind() {
	case fault.Denied:
		if id := e.Problem.GetDecisionId(); id != "" {
			return []string{"heroctl why " + clean(id)}
		}
	case fault.Unauthenticated:
		return []string{"heroctl login, or set HEROCTL_TOKEN"}
	case fault.Unavailable:
		if e.Cause != nil {
			return []string{"is the server running, and are --addr, HEROCTL_ADDR and the context right?"}
		}
	case fault.Internal:
		if id := e.Problem.GetDecisionId(); id != "" {
			return []string{"the server's log names the cause under decision " + clean(id)}
		}
	}
	return nil
}

// report tells a failure on stderr and returns the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	var f *failure
	switch {
	case errors.As(err, &f):
	case fault.KindOf(err) != fault.Internal:
		errors.As(about("", err), &f)
		f.text = strings.TrimPrefix(f.text, ": ")
	default:
		f = &failure{code: exitFailure, text: err.Error()}
	}
	if f.code == exitInterrupted {
		f.text, f.hints = "interrupted", nil
	}
	if f.text != "" {
		a.say("%s", f.text)
	}
	for _, hint := range f.hints {
		fmt.Fprintln(a.stderr, "hint: "+hint)
	}
	return f.code
}

// say writes a line about what happens to stderr.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.stderr, "heroctl: "+format+"\n", args...)
}
