package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/heroctl/heroctl/engine/policytest"
	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema/fault"
)

// policyFile is a file with policies, as it is on this machine.
type policyFile struct {
	name string
	text []byte
}

// readPolicyFiles reads files, the .hcl files below directories, and stdin for
// "-". A file larger than the language allows is not read to its end.
// Files with tests are left out, unless nothing else is named.
func (a *app) readPolicyFiles(ctx context.Context, args []string) ([]policyFile, error) {
	if others := slices.DeleteFunc(slices.Clone(args), isTestFile); len(others) > 0 {
		args = others
	}
	return a.readFiles(ctx, args)
}

// readFiles is readPolicyFiles with whatever files are named.
func (a *app) readFiles(ctx context.Context, args []string) ([]policyFile, error) {
	var files []policyFile
	for _, arg := range args {
		if arg == "-" {
			text, err := wait(ctx, func() ([]byte, error) { return readPolicy(a.stdin) })
			if err != nil {
				return nil, about("stdin", err)
			}
			files = append(files, policyFile{"-", text})
			continue
		}
		names, err := policyNames(arg)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := readPolicyFile(name)
			if err != nil {
				return nil, err
			}
			files = append(files, policyFile{name, text})
		}
	}
	return files, nil
}

// policyNames returns the file itself, or the .hcl files below a directory in
// order, without those that hold tests.
func policyNames(arg string) ([]string, error) {
	info, err := os.Stat(arg)
	if err != nil {
		return nil, fileFailure("policy file", err)
	}
	if !info.IsDir() {
		return []string{arg}, nil
	}
	names, err := hclNames(arg)
	if names = slices.DeleteFunc(names, isTestFile); err == nil && len(names) == 0 {
		return nil, usageError(fmt.Sprintf("%s holds no policies, only tests", clean(arg)))
	}
	return names, err
}

func isTestFile(name string) bool { return strings.HasSuffix(name, policytest.Suffix) }

// hclNames returns the .hcl files below a directory in order.
func hclNames(arg string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(arg, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(name, ".hcl") {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, fileFailure("policy directory", err)
	}
	if len(names) == 0 {
		return nil, usageError(fmt.Sprintf("%s holds no .hcl file", clean(arg)))
	}
	slices.Sort(names)
	return names, nil
}

func readPolicyFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fileFailure("policy file", err)
	}
	defer f.Close()
	text, err := readPolicy(f)
	return text, about(clean(name), err)
}

func readPolicy(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, policies.MaxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > policies.MaxFileBytes {
		return nil, fault.New(fault.InvalidPolicy, "a policy file may have at most 64 KiB")
	}
	return text, nil
}

// renderDiagnostics draws what is wrong on stderr, each file's findings on its
// own text.
func (a *app) renderDiagnostics(all policies.Diagnostics, files []policyFile) {
	var text bytes.Buffer
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].File == all[0].File {
			n++
		}
		var source []byte
		for _, f := range files {
			if f.name == all[0].File {
				source = f.text
			}
		}
		_ = all[:n].Render(&text, source) // a buffer takes everything
		all = all[n:]
	}
	if !a.colors(a.stderr) {
		_, _ = a.stderr.Write(text.Bytes()) // nowhere left to say that it failed
		return
	}
	for line := range strings.Lines(text.String()) {
		fmt.Fprint(a.stderr, colored(line))
	}
}

// colored makes headlines bold and carets red.
func colored(line string) string {
	const bold, red, plain = "\x1b[1m", "\x1b[31m", "\x1b[0m"
	text := strings.TrimSuffix(line, "\n")
	switch {
	case strings.HasPrefix(text, "      | "):
		return red + text + plain + "\n"
	case !strings.HasPrefix(text, " "):
		return bold + text + plain + "\n"
	}
	return line
}

// refused reports diagnostics that have been drawn already.
func refused(all policies.Diagnostics) error {
	n := 0
	for _, d := range all {
		if d.Severity == policies.Error {
			n++
		}
	}
	return &failure{code: exitCheckFailed, text: fmt.Sprintf("%d %s in the policies; nothing was done", n, plural(n, "error")), cause: all}
}
