package policies

import (
	"embed"
	"slices"
)

//go:embed builtin/*.hcl
var builtin embed.FS

// Builtin returns the policies of the built-in roles admin, deployer, operator and
// viewer, sorted by name. They are ordinary policies that one can read and copy.
func Builtin() []*Policy {
	files, err := builtin.ReadDir("builtin")
	if err != nil {
		panic("policies: built-in policies: " + err.Error())
	}
	var list []*Policy
	for _, file := range files {
		text, err := builtin.ReadFile("builtin/" + file.Name())
		if err != nil {
			panic("policies: built-in policies: " + err.Error())
		}
		parsed, diags := Parse(file.Name(), text)
		if diags.HasErrors() {
			panic("policies: built-in policies: " + diags.Error())
		}
		list = append(list, parsed...)
	}
	slices.SortFunc(list, byName)
	return list
}
