package policytest

import "fmt"

// NameOfTest is the name of a case's Rego test.
func NameOfTest(c Case, number int) string { return fmt.Sprintf("test_%s_%d", slug(c.Name), number) }

// PackageOf is the package of a file's Rego tests.
func PackageOf(file string) string { return "data." + packageOf(file) }

// Elsewhere is elsewhere.
var Elsewhere = elsewhere

// BuiltinRoles is builtinRoles.
var BuiltinRoles = builtinRoles
