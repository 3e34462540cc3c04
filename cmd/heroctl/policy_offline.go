package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/policies"
)

// parsePolicies parses every file and draws what is wrong; the policies are nil
// when anything refuses them. A name that two files share is an error too.
func (a *app) parsePolicies(files []policyFile) ([]*policies.Policy, policies.Diagnostics) {
	var parsed []*policies.Policy
	var all policies.Diagnostics
	seen := map[string]string{}
	for _, f := range files {
		list, found := policies.Parse(f.name, f.text)
		all = append(all, found...)
		for _, p := range list {
			if other, twice := seen[p.Name.String()]; twice && other != f.name {
				all = append(all, policies.Diagnostic{
					Span: p.Span, Severity: policies.Error,
					Summary: "a policy of this name is in another file too", Detail: "it is also in " + clean(other),
				})
			}
			seen[p.Name.String()] = f.name
		}
		parsed = append(parsed, list...)
	}
	if all.HasErrors() {
		return nil, all
	}
	return parsed, all
}

func plural2(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func (a *app) newPolicyFmt() *cobra.Command {
	var write, check, showDiff bool
	c := &cobra.Command{
		Use: "fmt FILE|DIR…", Short: "Lay policy files out the one way, without a server", Args: takes("FILE|DIR…"),
		Long: `Lay policy files out the one way. The result goes to stdout, with -w into the files, with
--diff as a diff. --check names the files that are not laid out so, and exits with 3.`,
	}
	c.Flags().BoolVarP(&write, "write", "w", false, "write the result into the files")
	c.Flags().BoolVar(&check, "check", false, "only name the files that would change, and fail if there are any")
	c.Flags().BoolVarP(&showDiff, "diff", "d", false, "show what would change")
	c.RunE = func(c *cobra.Command, args []string) error {
		if write && (check || showDiff) {
			return usageError("--write cannot be combined with --check or --diff")
		}
		files, err := a.readFiles(c.Context(), withTests(args))
		if err != nil {
			return err
		}
		return a.formatFiles(files, write, check, showDiff)
	}
	return c
}

func (a *app) formatFiles(files []policyFile, write, check, showDiff bool) error {
	changed := 0
	for _, f := range files {
		text, found := policies.Format(f.name, f.text)
		if found.HasErrors() {
			a.renderDiagnostics(found, files)
			return refused(found)
		}
		same := bytes.Equal(text, f.text)
		if !same {
			changed++
		}
		switch {
		case write && !same && f.name != "-":
			if err := replaceFile(f.name, text); err != nil {
				return fileFailure("policy file", err)
			}
			a.say("%s laid out", clean(f.name))
		case showDiff && !same:
			fmt.Fprintf(a.stdout, "%s", diff.Diff(f.name, f.text, f.name+" (formatted)", text))
		case check && !same:
			fmt.Fprintln(a.stdout, clean(f.name))
		case !check && !showDiff && (!write || f.name == "-"):
			if _, err := a.stdout.Write(text); err != nil {
				return err
			}
		}
	}
	if check && changed > 0 {
		return &failure{code: exitCheckFailed, text: fmt.Sprintf("%d %s not laid out", changed, plural2(changed, "file is", "files are")),
			hints: []string{"heroctl policy fmt -w"}}
	}
	return nil
}

// replaceFile exchanges a file's content at once and keeps its mode.
func replaceFile(name string, text []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".fmt-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(text); err != nil {
		f.Close()
		return err
	}
	if err := f.Chmod(info.Mode().Perm()); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func (a *app) newPolicyCompile() *cobra.Command {
	var out string
	var tests bool
	c := &cobra.Command{
		Use: "compile FILE|DIR…", Short: "Write the Rego that decides, without a server", Args: takes("FILE|DIR…"),
		Long: `Compile policies to the Rego modules that decide. Stock OPA decides with them as heroctl does:

  heroctl policy compile -d out policies/
  opa eval -d out -i input.json data.heroctl.authz.answer

With --with-tests the tests beside the policies are compiled, too, and the built-in policies:

  heroctl policy compile --with-tests -d out policies/
  opa test out`,
	}
	c.Flags().StringVarP(&out, "dir", "d", "", "write one file for each module into `DIR`; stdout if not given")
	c.Flags().BoolVar(&tests, "with-tests", false, "compile the tests, too, for opa test")
	c.RunE = func(c *cobra.Command, args []string) error {
		modules, err := a.compileFiles(c.Context(), args, tests)
		if err != nil {
			return err
		}
		names := slices.Sorted(maps.Keys(modules))
		if out == "" {
			for _, name := range names {
				fmt.Fprintf(a.stdout, "# %s\n%s\n", name, modules[name])
			}
			return nil
		}
		for _, name := range names {
			file := filepath.Join(out, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return fileFailure("--dir", err)
			}
			if err := os.WriteFile(file, modules[name], 0o644); err != nil {
				return fileFailure("--dir", err)
			}
		}
		a.say("%d modules written to %s", len(names), clean(out))
		return nil
	}
	return c
}

// compileFiles returns the Rego modules of the files by name.
func (a *app) compileFiles(ctx context.Context, args []string, tests bool) (map[string][]byte, error) {
	if tests {
		in, err := a.readTests(args)
		if err != nil {
			return nil, err
		}
		modules := policies.CompileRego(in.set)
		compiled, err := in.suite.Rego(in.set)
		maps.Copy(modules, compiled)
		return modules, err
	}
	files, err := a.readPolicyFiles(ctx, args)
	if err != nil {
		return nil, err
	}
	parsed, found := a.parsePolicies(files)
	a.renderDiagnostics(found, files)
	if found.HasErrors() {
		return nil, refused(found)
	}
	return policies.CompileRego(policies.NewSet(parsed)), nil
}

// withTests names the files of folders one by one, so that those with tests are among
// them. What cannot be read is reported by who reads it.
func withTests(args []string) []string {
	var all []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil || !info.IsDir() {
			all = append(all, arg)
			continue
		}
		names, err := hclNames(arg)
		if err != nil {
			names = []string{arg}
		}
		all = append(all, names...)
	}
	return all
}

// printText writes a text with a line feed at its end.
func (a *app) printText(text string) error {
	if isTerminal(a.stdout) {
		for line := range bytes.Lines([]byte(text)) {
			fmt.Fprintln(a.stdout, cleanLine(string(line)))
		}
		return nil
	}
	if text != "" && text[len(text)-1] != '\n' {
		text += "\n"
	}
	_, err := fmt.Fprint(a.stdout, text)
	return err
}
