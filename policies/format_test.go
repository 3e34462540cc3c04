package policies

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFormat(t *testing.T) {
	untidy := "\r\n\n# why\r\npolicy   \"a\" {\n\n description=\"x\"\n  secret   {\n path=\"prod/*\"\n      capabilities  =  [ \"read\" ,\"list\" ]   # both\n }\n}\n\n\n"
	want := `# why
policy "a" {

  description = "x"
  secret {
    path         = "prod/*"
    capabilities = ["read", "list"] # both
  }
}
`
	got, diags := Format("x.hcl", []byte(untidy))
	if diags != nil {
		t.Fatal(diags)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("formatted (-want +got):\n%s", diff)
	}
	for _, p := range Builtin() {
		got, diags := Format("x.hcl", append(p.Text, '\n'))
		if diags != nil || string(got) != string(p.Text)+"\n" {
			t.Errorf("the built-in policy %s is not in canonical layout:\n%s", p.Name, got)
		}
	}
}

func TestFormatLeavesWhatIsNotHCL(t *testing.T) {
	got, diags := Format("x.hcl", []byte("policy \"a\" {\n"))
	if got != nil || !diags.HasErrors() || !strings.HasPrefix(diags.Error(), "x.hcl:1:12: error: unclosed configuration block") {
		t.Errorf("Format = %q, %v; want diagnostics", got, diags)
	}
	if got, diags := Format("x.hcl", []byte("policy \"a\" {\n sercet {\n }\n}")); diags != nil || !strings.Contains(string(got), "  sercet {\n  }\n") {
		t.Errorf("Format = %q, %v; want the layout in spite of the unknown word", got, diags)
	}
}
