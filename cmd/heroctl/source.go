package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// maxValueBytes is the server's limit of a value.
const maxValueBytes = 1 << 20

// charsets are the alphabets of generated values.
var charsets = map[string]string{
	"alnum":     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
	"base64url": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
	"hex":       "0123456789abcdef",
	"digits":    "0123456789",
	"ascii":     "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~",
}

// valueSource are the flags that say where a value comes from. Bytes are taken
// exactly as they are; a line feed at the end stays.
type valueSource struct {
	literal    string
	file       string
	stdin      bool
	generate   bool
	length     int
	charset    string
	allowEmpty bool
	flags      *pflag.FlagSet
}

func (s *valueSource) register(flags *pflag.FlagSet) {
	s.flags = flags
	flags.StringVar(&s.literal, "from-literal", "", "the `VALUE` itself; it stays in the shell's history")
	flags.StringVar(&s.file, "from-file", "", "take the value from `FILE`")
	flags.BoolVar(&s.stdin, "from-stdin", false, "take the value from stdin")
	flags.BoolVar(&s.generate, "generate", false, "make a random value")
	flags.IntVar(&s.length, "length", 32, "characters of a generated value, 8 to 4096")
	flags.StringVar(&s.charset, "charset", "alnum", "alphabet of a generated value: alnum, base64url, hex, digits or ascii")
	flags.BoolVar(&s.allowEmpty, "allow-empty", false, "take an empty value")
}

// given returns the source flags in use.
func (s *valueSource) given() []string {
	var names []string
	for _, name := range []string{"from-literal", "from-file", "from-stdin", "generate"} {
		if s.flags.Changed(name) {
			names = append(names, "--"+name)
		}
	}
	return names
}

// check refuses combinations that cannot be meant.
func (s *valueSource) check() error {
	given := s.given()
	if len(given) > 1 {
		return usageError("a value has one source, not "+strings.Join(given, " and "), "drop all but one of them")
	}
	if !s.generate && (s.flags.Changed("length") || s.flags.Changed("charset")) {
		return usageError("--length and --charset belong to --generate", "add --generate")
	}
	if _, ok := charsets[s.charset]; !ok {
		return usageError("--charset: there is no such alphabet", "alnum, base64url, hex, digits or ascii")
	}
	if s.length < 8 || s.length > 4096 {
		return usageError("--length must be from 8 to 4096")
	}
	return nil
}

// read returns the value, asking for it when no source is given.
func (a *app) readValue(ctx context.Context, s *valueSource) (secret.Value, error) {
	if err := s.check(); err != nil {
		return secret.Value{}, err
	}
	value, err := a.takeValue(ctx, s)
	if err != nil {
		return secret.Value{}, err
	}
	if value.Len() == 0 && !s.allowEmpty {
		return secret.Value{}, usageError("the value is empty", "--allow-empty, if that is meant")
	}
	return value, nil
}

func (a *app) takeValue(ctx context.Context, s *valueSource) (secret.Value, error) {
	switch {
	case s.flags.Changed("from-literal"):
		a.say("--from-literal leaves the value in the shell's history and in the list of processes")
		fmt.Fprintln(a.stderr, "hint: --from-stdin and --from-file do not")
		return secret.New([]byte(s.literal)), nil
	case s.flags.Changed("from-file"):
		// Either may be a pipe that nobody writes to: an interrupt must end that.
		return wait(ctx, func() (secret.Value, error) { return readValueFile(s.file) })
	case s.stdin:
		return wait(ctx, func() (secret.Value, error) { return readBounded(a.stdin, "stdin") })
	case s.generate:
		return generateValue(s.length, charsets[s.charset])
	}
	return a.askValue(ctx)
}

// askValue asks twice, so that a slip is noticed.
func (a *app) askValue(ctx context.Context) (secret.Value, error) {
	t := a.openTerminal()
	if t == nil {
		return secret.Value{}, usageError("there is no value, and no terminal to ask for it on",
			"--from-stdin, --from-file FILE, --from-literal VALUE or --generate")
	}
	defer t.Close()
	value, err := t.askSecret(ctx, "value")
	if err != nil {
		return secret.Value{}, err
	}
	again, err := t.askSecret(ctx, "the same again")
	if err != nil {
		return secret.Value{}, err
	}
	defer again.Wipe()
	if !value.Equal(again) {
		return secret.Value{}, usageError("the two values differ; nothing was done")
	}
	return value, nil
}

func readValueFile(name string) (secret.Value, error) {
	f, err := os.Open(name)
	if err != nil {
		return secret.Value{}, fileFailure("--from-file", err)
	}
	defer f.Close()
	return readBounded(f, "--from-file")
}

// fileFailure tells why a file could not be read, with the system's word for it.
func fileFailure(subject string, err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", clean(p.Path), p.Err)
	}
	return &failure{code: exitFailure, text: subject + ": " + err.Error()}
}

func readBounded(r io.Reader, what string) (secret.Value, error) {
	value, err := io.ReadAll(io.LimitReader(r, maxValueBytes+1))
	if err != nil {
		return secret.Value{}, fileFailure(what, err)
	}
	if len(value) > maxValueBytes {
		return secret.Value{}, about(what, fault.New(fault.TooLarge, "a value may have at most 1 MiB"))
	}
	return secret.New(value), nil
}

// generateValue draws characters evenly from the alphabet: bytes that would
// favor its beginning are thrown away.
func generateValue(length int, alphabet string) (secret.Value, error) {
	value := make([]byte, 0, length)
	limit := 256 - 256%len(alphabet)
	draw := make([]byte, 64)
	for len(value) < length {
		if _, err := rand.Read(draw); err != nil {
			return secret.Value{}, fmt.Errorf("generate a value: %w", err)
		}
		for _, b := range draw {
			if int(b) < limit && len(value) < length {
				value = append(value, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	clear(draw)
	return secret.New(value), nil
}
