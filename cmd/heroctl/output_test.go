package main

import (
	"strings"
	"testing"

	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// TestFormats prints the same list in every format. Scripts rely on these bytes.
func TestFormats(t *testing.T) {
	users := []*heroctlv1.User{
		{Name: "ana", Description: "true"}, {Name: "bo", Description: "two\nlines <&> \"é\"", Disabled: true}, {Name: "c", Description: "0x1"},
	}
	for format, want := range map[string]string{
		"table": "NAME  DISABLED  CREATED  AUTHOR  UPDATED  DESCRIPTION\n" +
			"ana   no        -        -       -        true\n" +
			"bo    yes       -        -       -        two\\nlines <&> \"é\"\n" +
			"c     no        -        -       -        0x1\n",
		"name": "ana\nbo\nc\n",
		"jsonl": `{"name":"ana","description":"true"}` + "\n" +
			`{"name":"bo","description":"two\nlines <&> \"é\"","disabled":true}` + "\n" +
			`{"name":"c","description":"0x1"}` + "\n",
		"json": `[
  {
    "name": "ana",
    "description": "true"
  },
  {
    "name": "bo",
    "description": "two\nlines <&> \"é\"",
    "disabled": true
  },
  {
    "name": "c",
    "description": "0x1"
  }
]
`,
		"yaml": `- name: ana
  description: "true"
- name: bo
  description: |-
    two
    lines <&> "é"
  disabled: true
- name: c
  description: "0x1"
`,
	} {
		for range 20 { // the schema's encoder puts spaces at random
			var out strings.Builder
			a := &app{stdout: &out, env: func(string) string { return "" }, flags: globalFlags{format: format}}
			if err := printList(a, userView, users); err != nil {
				t.Fatal(err)
			}
			if out.String() != want {
				t.Fatalf("%s: got\n%s\nwant\n%s", format, out.String(), want)
			}
		}
	}
}

func TestEmptyLists(t *testing.T) {
	for format, want := range map[string]string{
		"table": "NAME  DISABLED  CREATED  AUTHOR  UPDATED  DESCRIPTION\n", "json": "[]\n", "jsonl": "", "yaml": "[]\n", "name": "",
	} {
		var out strings.Builder
		a := &app{stdout: &out, env: func(string) string { return "" }, flags: globalFlags{format: format}}
		if err := printList(a, userView, nil); err != nil || out.String() != want {
			t.Errorf("%s: got %q, %v; want %q", format, out.String(), err, want)
		}
	}
}
