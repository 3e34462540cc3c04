package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// guideSetting makes what the guides ask about: ana reads, a stranger is denied,
// and rita is the auditor whose token the guides use.
const guideSetting = `
serve
heroctl acl role create deploy-prod --policy deploy-prod-secrets
heroctl acl role create auditors --policy auditor
heroctl acl user create ana
heroctl acl user create stranger
heroctl acl user create rita
exec sh -c 'heroctl acl token create --user ana --role deploy-prod -o json > ana.json'
exec sh -c 'heroctl acl token create --user stranger -o json > stranger.json'
exec sh -c 'heroctl acl token create --user rita --role auditors -o json > rita.json'
heroctl secret create prod/db_password --generate
exec sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' ana.json
keep HEROCTL_TOKEN
heroctl secret get prod/db_password
heroctl secret get prod/db_password
heroctl secret get prod/db_password
exec sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' stranger.json
keep HEROCTL_TOKEN
fails 5 heroctl secret get prod/db_password
fails 5 heroctl secret get prod/db_password
exec sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' rita.json
keep HEROCTL_TOKEN
`

// TestAuditGuides runs every command of the guides. A comment after a block says
// what its output must show.
func TestAuditGuides(t *testing.T) {
	dir := t.TempDir()
	for name, file := range map[string]string{"questions": "../../examples/audit/README.md", "trail": "../../docs/audit.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		script := &txtar.Archive{Comment: []byte(guideSetting)}
		blocks := strings.Split(string(text), "```sh\n")[1:]
		if len(blocks) < 5 {
			t.Fatalf("%s has %d blocks of commands; it should have more", file, len(blocks))
		}
		for i, block := range blocks {
			commands, rest, _ := strings.Cut(block, "```\n")
			step := fmt.Sprintf("step%02d.sh", i+1)
			script.Files = append(script.Files, txtar.File{Name: step, Data: []byte(commands)})
			script.Comment = fmt.Appendf(script.Comment, "exec sh -eu %s\n", step)
			if _, shows, ok := strings.Cut(firstLine(rest), "<!-- shows: "); ok {
				script.Comment = fmt.Appendf(script.Comment, "stdout '%s'\n", strings.TrimSuffix(shows, " -->"))
			}
		}
		script.Comment = append(script.Comment, "stop\n"...)
		if err := os.WriteFile(filepath.Join(dir, name+".txtar"), txtar.Format(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runScripts(t, dir)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
