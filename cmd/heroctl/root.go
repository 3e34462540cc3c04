package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// globalFlags are the flags that every verb has.
type globalFlags struct {
	format            string
	addr              string
	tokenFile         string
	caCert            string
	context           string
	noColor           bool
	insecurePlaintext bool
}

func (a *app) newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "heroctl",
		Short: "Keep secrets, decide who may use them, and know who did",
		Long: `heroctl keeps secrets encrypted and versioned, decides every request by policies,
and records it before it answers.

Settings are taken from the flag, then the environment (HEROCTL_ADDR, HEROCTL_TOKEN,
HEROCTL_TOKEN_FILE, HEROCTL_CACERT, HEROCTL_FORMAT, HEROCTL_CONTEXT), then the context file
that "heroctl login" writes, then the default.

Exit codes: 0 ok, 1 failure, 2 usage, 3 a check failed, 4 not authenticated, 5 denied,
6 not found, 7 conflict, 8 unavailable or sealed, 130 interrupted.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&a.flags.format, "format", "o", "", "`FORMAT` of results: table, json, jsonl, yaml or name")
	flags.StringVar(&a.flags.addr, "addr", "", "server `URL`: http, https, grpc or grpcs (default "+defaultAddr+")")
	flags.StringVar(&a.flags.tokenFile, "token-file", "", "`FILE` with the token, mode 0600")
	flags.StringVar(&a.flags.caCert, "cacert", "", "PEM `FILE` with the certificates to trust")
	flags.StringVar(&a.flags.context, "context", "", "`NAME` of the context to use")
	flags.BoolVar(&a.flags.noColor, "no-color", false, "write no colors")
	flags.BoolVar(&a.flags.insecurePlaintext, "insecure-plaintext", false, "allow http and grpc to other hosts: everyone on the way can read the token")
	root.SetFlagErrorFunc(flagError)
	// The only error is a flag that does not exist, and this one does.
	_ = root.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))

	root.AddCommand(
		a.newSecretCommand(), a.newPolicyCommand(), a.newACLCommand(), a.newAuditCommand(), a.newWhyCommand(),
		a.newLoginCommand(), a.newLogoutCommand(), a.newWhoAmICommand(), a.newContextCommand(),
		newServerCommand(a), a.newClusterCommand(), a.newVersionCommand(), a.newCompletionCommand(),
	)
	root.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return missingVerb(c, args)
		}
		return c.Help()
	}
	root.Args = cobra.ArbitraryArgs
	finish(root)
	return root
}

// finish gives every command of nouns its answer to a missing or unknown verb,
// and makes too many or too few words a matter of usage everywhere.
func finish(c *cobra.Command) {
	for _, child := range c.Commands() {
		finish(child)
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			var f *failure
			if err == nil || errors.As(err, &f) {
				return err
			}
			return usageError(clean(err.Error()), c.CommandPath()+" --help")
		}
	}
	if c.HasSubCommands() && c.Run == nil && c.RunE == nil {
		c.Args = cobra.ArbitraryArgs
		c.RunE = missingVerb
	}
}

// missingVerb answers "heroctl secret" and "heroctl secret lst".
func missingVerb(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError(fmt.Sprintf("%q needs a verb: %s", c.CommandPath(), strings.Join(verbsOf(c), ", ")),
			c.CommandPath()+" --help")
	}
	hint := c.CommandPath() + " --help"
	if best := nearest(args[0], verbsOf(c)); best != "" {
		hint = "did you mean " + c.CommandPath() + " " + best + "?"
	}
	return usageError(fmt.Sprintf("%q has no verb %q", c.CommandPath(), clean(args[0])), hint)
}

func verbsOf(c *cobra.Command) []string {
	var names []string
	for _, child := range c.Commands() {
		if !child.Hidden {
			names = append(names, child.Name())
		}
	}
	return names
}

// flagError answers a flag that does not exist or has a bad value.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usageError(clean(err.Error()), c.CommandPath()+" --help")
	}
	hint := c.CommandPath() + " --help"
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if best := nearest(unknown.GetSpecifiedName(), names); best != "" {
		hint = "did you mean --" + best + "?"
	}
	return usageError(clean(err.Error()), hint)
}

// nearest returns the word that was probably meant, or "".
func nearest(given string, words []string) string {
	best, distance := "", max(2, len(given)/3)+1
	for _, word := range words {
		if d := levenshtein.ComputeDistance(given, word); d < distance && d < len(word) {
			best, distance = word, d
		}
	}
	return best
}

// takes returns a check for the number of words after the verb, named by the
// given placeholders; a last one in brackets may be left out, one that ends in
// "…" may be repeated. It does not repeat the words: one of them may be a value.
func takes(names ...string) cobra.PositionalArgs {
	least, most := 0, 0
	for _, name := range names {
		most++
		if !strings.HasPrefix(name, "[") {
			least++
		}
		if strings.Contains(name, "…") {
			most = 1 << 20
		}
	}
	return func(c *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		want := strings.Join(names, " ")
		if want == "" {
			want = "nothing more"
		}
		return usageError(fmt.Sprintf("%q takes %s and got %d %s", c.CommandPath(), want, len(args), plural(len(args), "word")),
			c.CommandPath()+" --help")
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
