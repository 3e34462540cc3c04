package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/heroctl/heroctl"

// importTable says which folders of ours the packages of a folder may import. A
// row covers the folders below it that have no row of their own; so does an
// entry. Tests may import more. A new import is a line here and a sentence in the
// commit that makes it.
var importTable = map[string][]string{
	"schema":         {"schema"},
	"crypto":         {"schema"},
	"engine/permit":  {"schema"},
	"storage":        {"crypto", "engine/permit", "schema", "storage"},
	"storage/pebble": {"storage", "schema"},
	"storage/memory": {"storage", "schema"},
	// The kit of tests that every backend passes; it compares them with memory.
	"storage/storagetest": {"storage", "storage/memory", "crypto", "engine/permit", "schema"},
	"policies":            {"schema"},
	"engine":              {"policies", "engine/permit", "schema"},
	"engine/policytest":   {"engine", "policies", "schema"},
	"audit":               {"storage", "crypto", "engine/permit", "schema"},
	"gateway":             {"engine", "policies", "audit", "storage", "engine/permit", "schema"},
	"gateway/client":      {"schema"},
	"examples":            {},
	"e2e":                 {}, // tests of the program as a process
	"cmd/heroctl":         {"schema", "crypto", "engine", "storage", "engine/policytest", "policies", "audit", "gateway", "examples", "storage/pebble", "storage/memory", "gateway/client", "engine/permit"},
}

// barred are imports that no package may have: the SDKs of clouds and vaults
// stay out of the program until a leaf package of their own is made for them.
var barred = []string{"github.com/aws/", "cloud.google.com/", "github.com/Azure/", "github.com/hashicorp/vault/"}

// exposeSites lists where plaintext leaves its wrapper, and how often. Each was
// looked at; a new one is a line here.
var exposeSites = map[string]int{
	"schema/secret/value.go":       2, // Equal
	"crypto/keyfile.go":            1, // the root key into its file
	"crypto/keyringcodec.go":       2, // the keyring into its record, before sealing
	"crypto/rootkey.go":            1, // keys from the root key
	"storage/write.go":             1, // a value into its record, before sealing
	"storage/tokens.go":            1, // a token into its hash
	"gateway/secrets.go":           1, // a value into the answer
	"gateway/tokens.go":            1, // a new token into the answer
	"gateway/client/grpc.go":       1, // the token into the header of a request
	"cmd/heroctl/cluster_init.go":  1, // the first admin token to stdout
	"cmd/heroctl/server.go":        1, // the token of --dev to stdout
	"cmd/heroctl/context.go":       1, // the token from the context file
	"cmd/heroctl/login.go":         1, // the token from stdin, to cut the line feed
	"cmd/heroctl/secret_change.go": 2, // a value into the request, create and update
}

// source is a parsed Go file.
type source struct {
	name, dir string
	test      bool
	file      *ast.File
}

// readSources parses the Go files of the repository; they are read here and not
// by a go command, so that the test cache notices their changes.
func readSources(t *testing.T, repository fs.FS) []source {
	t.Helper()
	var all []source
	err := fs.WalkDir(repository, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := path.Base(name); name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "tools" || base == "third_party" || base == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := fs.ReadFile(repository, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{name, path.Dir(name), strings.HasSuffix(name, "_test.go"), file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// imports returns the import paths of a file.
func (s source) imports() []string {
	var all []string
	for _, i := range s.file.Imports {
		if text, err := strconv.Unquote(i.Path.Value); err == nil {
			all = append(all, text)
		}
	}
	return all
}

// calls counts calls of x.name; if of is not "", x must be that word.
func (s source) calls(of, name string) int {
	n := 0
	ast.Inspect(s.file, func(node ast.Node) bool {
		if e, ok := node.(*ast.SelectorExpr); ok && e.Sel.Name == name {
			if x, ok := e.X.(*ast.Ident); of == "" || ok && x.Name == of {
				n++
			}
		}
		return true
	})
	return n
}

// covering returns the longest of the folders that a folder is or lies below.
func covering(dir string, folders []string) string {
	best := ""
	for _, f := range folders {
		if (dir == f || strings.HasPrefix(dir, f+"/")) && len(f) > len(best) {
			best = f
		}
	}
	return best
}

// brokenImports holds the files against the table.
func brokenImports(all []source, table map[string][]string) []string {
	rows := slices.Collect(maps.Keys(table))
	used := map[string]bool{}
	var broken []string
	for _, s := range all {
		row := covering(s.dir, rows)
		if row == "" {
			broken = append(broken, s.name+": its folder has no row in the table")
			continue
		}
		used[row] = true
		for _, i := range s.imports() {
			for _, b := range barred {
				if strings.HasPrefix(i, b) {
					broken = append(broken, fmt.Sprintf("%s imports %s, which nothing may", s.name, i))
				}
			}
			dir, ours := strings.CutPrefix(i, module+"/")
			if !ours || s.test {
				continue
			}
			if dir != s.dir && !slices.Contains(table[row], covering(dir, rows)) {
				broken = append(broken, fmt.Sprintf("%s imports %s, which %s may not", s.name, dir, row))
			}
		}
	}
	for _, row := range rows {
		if !used[row] {
			broken = append(broken, row+": the table has a row and there is no such folder")
		}
	}
	slices.Sort(broken)
	return broken
}

// brokenBorders finds permits issued outside the engine, and plaintext exposed
// at places that are not listed, or no longer.
func brokenBorders(all []source, sites map[string]int) []string {
	var broken []string
	issued := 0
	found := map[string]int{}
	for _, s := range all {
		if s.test {
			continue
		}
		if n := s.calls("permit", "Issue"); n > 0 {
			issued += n
			if s.dir != "engine" {
				broken = append(broken, s.name+": only package engine issues permits")
			}
		}
		if n := s.calls("", "Expose"); n > 0 {
			found[s.name] = n
		}
	}
	if issued == 0 {
		broken = append(broken, "no permit is issued anywhere; does this test look at the right word?")
	}
	if diff := cmp.Diff(sites, found); diff != "" {
		broken = append(broken, "places that expose plaintext (-listed +found):\n"+diff)
	}
	return broken
}

func TestImportTable(t *testing.T) {
	for _, b := range brokenImports(readSources(t, os.DirFS("../..")), importTable) {
		t.Error(b)
	}
}

func TestBorders(t *testing.T) {
	for _, b := range brokenBorders(readSources(t, os.DirFS("../..")), exposeSites) {
		t.Error(b)
	}
}

// TestImportGuardsCatch shows the guards what they are there for.
func TestImportGuardsCatch(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte("package p\n" + text)} }
	all := readSources(t, fstest.MapFS{
		"crypto/a.go":              file(`import _ "github.com/heroctl/heroctl/storage"`),
		"gateway/a.go":             file(`import _ "github.com/heroctl/heroctl/crypto"`),
		"gateway/b.go":             file(`import _ "github.com/heroctl/heroctl/storage/pebble"`),
		"gateway/c_test.go":        file(`import _ "github.com/heroctl/heroctl/storage/memory"`),
		"gateway/client/a.go":      file(`import _ "github.com/heroctl/heroctl/gateway"`),
		"schema/a.go":              file(`import _ "github.com/aws/aws-sdk-go-v2/aws"`),
		"storage/storagetest/a.go": file(`import _ "github.com/heroctl/heroctl/storage"`),
		"storage/a.go":             file(`import "x/permit"; var _ = permit.Issue(1)`),
		"engine/a.go":              file(`import "x/permit"; var _ = permit.Issue(1)`),
		"audit/a.go":               file(`func f(v T) { v.Expose(nil) }`),
		"audit/a_test.go":          file(`func g(v T) { v.Expose(nil) }`),
		"elsewhere/a.go":           file(``),
		"tools/x/a.go":             file(`import _ "github.com/aws/x"`),
		"policies/testdata/bad.go": file(`not Go`),
		"storage/pebble/a.go":      file(``),
		"storage/memory/a.go":      file(``),
		"engine/permit/a.go":       file(``),
		"policies/a.go":            file(``),
		"engine/policytest/a.go":   file(``),
		"examples/examples.go":     file(``),
		"e2e/doc.go":               file(``),
	})
	want := []string{
		"cmd/heroctl: the table has a row and there is no such folder",
		"crypto/a.go imports storage, which crypto may not",
		"elsewhere/a.go: its folder has no row in the table",
		"gateway/a.go imports crypto, which gateway may not",
		"gateway/b.go imports storage/pebble, which gateway may not",
		"gateway/client/a.go imports gateway, which gateway/client may not",
		"schema/a.go imports github.com/aws/aws-sdk-go-v2/aws, which nothing may",
	}
	if diff := cmp.Diff(want, brokenImports(all, importTable)); diff != "" {
		t.Errorf("imports (-want +got):\n%s", diff)
	}
	borders := brokenBorders(all, map[string]int{})
	if len(borders) != 2 || borders[0] != "storage/a.go: only package engine issues permits" || !strings.Contains(borders[1], "audit/a.go") {
		t.Errorf("borders: got %q", borders)
	}
	if got := brokenBorders(nil, map[string]int{}); len(got) != 1 {
		t.Errorf("of nothing: got %q, want a complaint that nothing was found", got)
	}
}
