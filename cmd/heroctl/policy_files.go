package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
func (a *app) readPolicyFiles(args []string) ([]policyFile, error) {
	var files []policyFile
	for _, arg := range args {
		if arg == "-" {
			text, err := readPolicy(a.stdin)
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
// order.
func policyNames(arg string) ([]string, error) {
	info, err := os.Stat(arg)
	if err != nil {
		return nil, fileFailure("policy file", err)
	}
	if !info.IsDir() {
		return []string{arg}, nil
	}
	var names []string
	err = filepath.WalkDir(arg, func(name string, entry fs.DirEntry, err error) error {
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
		if err := all[:n].Render(a.stderr, source); err != nil {
			return
		}
		all = all[n:]
	}
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
