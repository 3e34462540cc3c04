package policies

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heroctl/heroctl/schema"
)

func importShape(file string) ImportShape {
	switch filepath.Ext(file) {
	case ".lines":
		return ShapeLines
	case ".yaml":
		return ShapeYAML
	case ".vault":
		return ShapeVault
	}
	return ""
}

// TestImport imports each file of testdata/import and compares what comes out, and what
// is said about it, with the text beside it, word for word.
func TestImport(t *testing.T) {
	files, err := filepath.Glob("testdata/import/*.*")
	files = slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, ".txt") })
	if err != nil || len(files) < 18 {
		t.Fatalf("only %d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		o := ImportOptions{Shape: importShape(file)}
		if filepath.Base(file) == "kv1.vault" {
			o.Name, o.KV1 = schema.MustName("legacy"), []string{"legacy"}
		}
		got, refused := Import(filepath.Base(file), text, o)
		var out bytes.Buffer
		for _, part := range []struct {
			title string
			list  Diagnostics
		}{{"refused", refused}, {"left out", got.LeftOut}, {"notes", got.Notes}} {
			if len(part.list) > 0 {
				fmt.Fprintf(&out, "== %s\n", part.title)
				_ = part.list.Render(&out, text) // a buffer takes everything
			}
		}
		fmt.Fprintf(&out, "== policies\n%s", got.Text)
		golden(t, file+".txt", out.Bytes())
		if (got.Text == nil) != refused.HasErrors() {
			t.Errorf("%s: text %t, refused %t; want one of them", file, got.Text != nil, refused.HasErrors())
		}
		checkImported(t, got)
	}
}

// checkImported holds what every import must keep: the result is valid, laid out, lints
// without trouble, and nothing said about it repeats the text.
func checkImported(t testing.TB, got Imported) []*Policy {
	t.Helper()
	if got.Text == nil {
		return nil
	}
	list, diags := Parse("out.hcl", got.Text)
	if diags.HasErrors() {
		t.Fatalf("the result is not valid: %v\n%s", diags, got.Text)
	}
	if again, _ := Format("out.hcl", got.Text); !bytes.Equal(again, got.Text) {
		t.Fatalf("the result is not laid out:\n%s", got.Text)
	}
	Lint(list, LintOptions{})
	for _, d := range slices.Concat(got.LeftOut, got.Notes) {
		if d.Line < 1 || d.Summary == "" || d.Detail == "" {
			t.Fatalf("a diagnostic without place or words: %+v", d)
		}
	}
	return list
}

func TestShapesAreFoundOut(t *testing.T) {
	files, err := filepath.Glob("testdata/import/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		base := filepath.Base(file)
		if strings.HasSuffix(file, ".txt") || strings.HasPrefix(base, "headless") || base == "wrong.vault" || base == "empty.yaml" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := shapeOfText(text); got != importShape(file) {
			t.Errorf("the shape of %s is %q; want %q", file, got, importShape(file))
		}
	}
}

func TestImportRefusesWhatNoReaderShouldSee(t *testing.T) {
	for _, shape := range []ImportShape{ShapeLines, ShapeYAML, ShapeVault} {
		for want, text := range map[string]string{
			"the file is too large":       strings.Repeat("# x\n", MaxFileBytes/4+1),
			"the file is not UTF-8":       "policy \xff",
			"invisible control character": "policy \u202e",
		} {
			got, refused := Import("x", []byte(text), ImportOptions{Shape: shape})
			if got.Text != nil || len(refused) == 0 || refused[0].Summary != want {
				t.Errorf("%s: %v; want %q", shape, refused, want)
			}
		}
	}
	deep := "path \"x\" {\n" + strings.Repeat("a {\n", 40)
	if _, refused := Import("x", []byte(deep), ImportOptions{Shape: ShapeVault}); len(refused) == 0 || refused[0].Summary != "the text is nested too deeply" {
		t.Errorf("deep HCL: %v", refused)
	}
	var big strings.Builder
	big.WriteString("policy \"big\":\n")
	for i := range 900 {
		fmt.Fprintf(&big, "secret:\npath: p%d/x\ncapabilities: [list]\n", i)
	}
	got, refused := Import("x", []byte(big.String()), ImportOptions{})
	if got.Text != nil || len(refused) != 1 || refused[0].String() != "x:1:1: error: the result would not be valid; the file is too large" {
		t.Errorf("a result that is too large: %v", refused)
	}
}

// vaultModel decides as Vault does: by the most specific stanza that covers the API
// path.
type vaultModel []stanza

func (m vaultModel) words(path string) map[string]bool {
	best := -1
	for i, s := range m {
		if vaultCovers(s.path, path) && (best < 0 || vaultRank(s.path) > vaultRank(m[best].path)) {
			best = i
		}
	}
	if best < 0 || m[best].words["deny"] {
		return nil
	}
	return m[best].words
}

// vaultCovers matches as Vault does. A pattern without "*" covers the folder that a list
// asks for without its slash.
func vaultCovers(pattern, path string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if have[len(have)-1] == "" && !strings.HasSuffix(pattern, "*") {
		have = have[:len(have)-1]
	}
	for i, segment := range want {
		if prefix, star := strings.CutSuffix(segment, "*"); star {
			return i < len(have) && strings.HasPrefix(have[i], prefix)
		}
		if i == len(have) || segment != "+" && segment != have[i] {
			return false
		}
	}
	return len(want) == len(have)
}

// grants says what the model lets one do with a secret, in our verbs.
func (m vaultModel) grants(path schema.Path, kept map[schema.Verb]bool) {
	text := path.String()
	folder := text[:strings.LastIndex("/"+text, "/")]
	for f, table := range kv2 {
		api := "secret/" + string(f) + "/" + text
		if f == facetList {
			api = "secret/metadata/" + folder
		}
		for word := range m.words(api) {
			for _, verb := range table[word] {
				kept[verb] = true
			}
		}
	}
}

// TestVaultAgreesWithAModel imports random Vault policies and compares what they grant
// with a model of Vault's own rules, on every small path: never more, and the same when
// nothing was left out.
func TestVaultAgreesWithAModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	list, paths := everyPattern(2, "a", "ab"), universe(3, "a", "ab", "x")
	words := []string{"create", "read", "update", "delete", "list"}
	whole, checks := 0, 0
	for range 400 {
		var model vaultModel
		var text strings.Builder
		for range 1 + rng.IntN(5) {
			prefix := []string{"data", "metadata", "delete", "undelete", "destroy", "+"}[rng.IntN(6)]
			rest := list[rng.IntN(len(list))].String()
			if i := strings.IndexByte(rest, '*'); i > 0 && rest[i-1] != '/' {
				continue // listing a folder such as ab* shows names at its side, too: a note says so
			}
			s := stanza{path: "secret/" + prefix + "/" + rest, words: map[string]bool{}}
			if slices.ContainsFunc(model, func(o stanza) bool { return o.path == s.path }) {
				continue
			}
			for range rng.IntN(3) {
				s.words[words[rng.IntN(len(words))]] = true
			}
			if rng.IntN(4) == 0 {
				s.words = map[string]bool{"deny": true}
			}
			model = append(model, s)
			fmt.Fprintf(&text, "path %q {\n  capabilities = [%s]\n}\n", s.path, quoted(s.words))
		}
		got, refused := Import("x.hcl", []byte(text.String()), ImportOptions{Shape: ShapeVault})
		if refused != nil {
			t.Fatalf("%v\n%s", refused, text.String())
		}
		p := checkImported(t, got)[0]
		exact := !slices.ContainsFunc(got.LeftOut, func(d Diagnostic) bool { return d.Summary == "the path crosses another one" })
		if exact {
			whole++
		}
		for _, path := range paths {
			want := map[schema.Verb]bool{}
			model.grants(path, want)
			have := winner(p.Rules, path)
			for _, verb := range schema.Secret.Verbs() {
				granted := have != nil && slices.Contains(have.Verbs, verb)
				checks++
				if granted && !want[verb] || exact && want[verb] && !granted {
					t.Fatalf("%s on %s: granted %t, by Vault %t; exact %t\n%s\n%s", verb, path, granted, want[verb], exact, text.String(), got.Text)
				}
			}
		}
	}
	t.Logf("%d of 400 without anything left out, %d checks", whole, checks)
	if whole < 100 {
		t.Errorf("only %d policies were translated whole", whole)
	}
}

// TestCommonIsTheIntersection holds what two patterns share against trying it out.
func TestCommonIsTheIntersection(t *testing.T) {
	list, paths := everyPattern(3, "a", "ab"), universe(4, "a", "ab", "abx", "x")
	found := 0
	for _, a := range list {
		for _, b := range list {
			m, ok := common(a, b)
			if !ok {
				continue
			}
			found++
			for _, path := range paths {
				if m.Matches(path) != (a.Matches(path) && b.Matches(path)) {
					t.Fatalf("common(%s, %s) = %s, which is wrong for %s", a, b, m, path)
				}
			}
		}
	}
	if t.Logf("%d intersections", found); found < 500 {
		t.Errorf("only %d intersections", found)
	}
}

func quoted(words map[string]bool) string {
	var list []string
	for _, word := range sortedWords(words) {
		list = append(list, fmt.Sprintf("%q", word))
	}
	return strings.Join(list, ", ")
}

func fuzzImport(f *testing.F, shape ImportShape) {
	files, err := filepath.Glob("testdata/import/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if importShape(file) == shape {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, refused := Import("x", text, ImportOptions{Shape: shape})
		if (got.Text == nil) != refused.HasErrors() {
			t.Fatalf("text %t, refused %v", got.Text != nil, refused)
		}
		checkImported(t, got)
	})
}

func FuzzImportLines(f *testing.F) { fuzzImport(f, ShapeLines) }
func FuzzImportYAML(f *testing.F)  { fuzzImport(f, ShapeYAML) }
func FuzzImportVault(f *testing.F) { fuzzImport(f, ShapeVault) }
