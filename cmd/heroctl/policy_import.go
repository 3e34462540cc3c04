package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// importOptions are the flags of policy import.
type importOptions struct {
	from, name string
	mounts     []string
	kv1        []string
	partial    bool
}

var importShapes = []string{string(policies.ShapeLines), string(policies.ShapeYAML), string(policies.ShapeVault)}

func (a *app) newPolicyImport() *cobra.Command {
	var o importOptions
	c := &cobra.Command{
		Use: "import FILE", Short: "Turn policies of another form into ours, without a server", Args: takes("FILE"),
		Long: `Turn policies of another form into ours and write them to stdout, without a server. The forms are

  lines   the indented block: policy "x": with secret: blocks below
  yaml    name, description and rules
  vault   policies of Vault and OpenBao: path blocks on KV engines

What has no equivalent is told with its line, and what a rule could say no more is held closed: nothing is
granted that the text does not grant. Then nothing is written, and the exit code is 3, unless --partial is
given. The result is looked through as by policy check.

The paths of Vault's KV engines lose the API prefix (data/, metadata/ …). They lose the mount, too, if it
is named by --mount; other mounts stay as first segment.`,
		Example: "  heroctl policy import old.yaml > policies/old.hcl\n  heroctl policy import --mount secret --mount kv app.hcl",
	}
	f := c.Flags()
	f.StringVar(&o.from, "from", "", "the `FORM` of the text: lines, yaml or vault; found out if not given")
	f.StringVar(&o.name, "name", "", "the policy's `NAME` for forms without one; the file's if not given")
	f.StringSliceVar(&o.mounts, "mount", []string{"secret"}, "the `MOUNT` of a KV engine to leave out of the paths; may be repeated")
	f.StringSliceVar(&o.kv1, "kv1", nil, "the `MOUNT` of a KV engine of version 1; may be repeated")
	f.BoolVar(&o.partial, "partial", false, "write what can be translated in spite of the rest")
	c.RunE = func(c *cobra.Command, args []string) error {
		options, err := o.parse(args[0])
		if err != nil {
			return err
		}
		if err := singleFile(args[0]); err != nil {
			return err
		}
		files, err := a.readPolicyFiles(c.Context(), args)
		if err != nil {
			return err
		}
		return a.importPolicies(files, options, o.partial)
	}
	return c
}

// parse checks the flags. The name of a policy comes from the file's, if it can be one.
func (o importOptions) parse(file string) (policies.ImportOptions, error) {
	options := policies.ImportOptions{Shape: policies.ImportShape(o.from), Mounts: o.mounts, KV1: o.kv1}
	if o.from != "" && !slices.Contains(importShapes, o.from) {
		return options, usageError("--from must be lines, yaml or vault")
	}
	for _, mount := range slices.Concat(o.mounts, o.kv1) {
		if _, err := schema.ParsePath(mount); err != nil {
			return options, about("mount", err)
		}
	}
	if o.name != "" {
		name, err := schema.ParseName(o.name)
		if err != nil {
			return options, about("policy name", err)
		}
		options.Name = name
		return options, nil
	}
	base := filepath.Base(file)
	if name, err := schema.ParseName(strings.TrimSuffix(base, filepath.Ext(base))); err == nil && file != "-" {
		options.FileName = name
	}
	return options, nil
}

// singleFile refuses a folder: one text makes one result.
func singleFile(name string) error {
	if name == "-" {
		return nil
	}
	names, err := policyNames(name)
	if err == nil && (len(names) != 1 || names[0] != name) {
		return usageError("policy import reads one file, not a folder")
	}
	return err
}

func (a *app) importPolicies(files []policyFile, o policies.ImportOptions, partial bool) error {
	file := files[0]
	got, found := policies.Import(file.name, file.text, o)
	if found.HasErrors() {
		a.renderDiagnostics(found, files)
		return &failure{code: exitCheckFailed, text: "the text cannot be imported", cause: found}
	}
	a.renderDiagnostics(slices.Concat(got.LeftOut, got.Notes), files)
	if n := len(got.LeftOut); n > 0 && !partial {
		return &failure{code: exitCheckFailed, cause: got.LeftOut,
			text:  fmt.Sprintf("%d %s no equivalent; nothing was written", n, plural2(n, "thing has", "things have")),
			hints: []string{"--partial writes the rest, with what it lacks as comments"}}
	}
	if _, err := a.stdout.Write(got.Text); err != nil {
		return err
	}
	result := file.name + " (imported)"
	parsed, _ := policies.Parse(result, got.Text) // Import has parsed it
	a.drawFindings(policies.Lint(parsed, policies.LintOptions{}).AtLeast(policies.Warning), []policyFile{{result, got.Text}})
	rules := policies.NewSet(parsed).Rules()
	a.say("%d %s with %d %s imported", len(parsed), plural2(len(parsed), "policy", "policies"), rules, plural(rules, "rule"))
	return nil
}
