package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// buildVersion is set by the build, from the repository's tags.
var buildVersion string

// version returns the version of this binary.
func version() string {
	if buildVersion != "" {
		return buildVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func (a *app) newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version of this program", Args: takes(),
		RunE: func(*cobra.Command, []string) error {
			format, err := a.format()
			if err != nil {
				return err
			}
			switch format {
			case formatTable:
				_, err := fmt.Fprintf(a.stdout, "heroctl %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return err
			case formatName:
				_, err := fmt.Fprintln(a.stdout, version())
				return err
			}
			text, err := json.Marshal(map[string]string{"version": version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
			if err != nil {
				return err
			}
			return a.encoded(format, text)
		},
	}
}

func (a *app) newCompletionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Write a completion script for your shell", Args: takes("SHELL"),
		Long: `Write a completion script for your shell to stdout.

  bash   source <(heroctl completion bash)
  zsh    heroctl completion zsh > "${fpath[1]}/_heroctl"
  fish   heroctl completion fish > ~/.config/fish/completions/heroctl.fish`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(c *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return c.Root().GenZshCompletion(a.stdout)
			case "fish":
				return c.Root().GenFishCompletion(a.stdout, true)
			}
			return usageError("there is no completion for this shell", "bash, zsh or fish")
		},
	}
}
