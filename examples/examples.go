// Package examples holds the examples that the program carries: the sample
// policies of heroctl server --dev.
package examples

import "embed"

// Policies are the sample policies, as files in the folder policies.
//
//go:embed policies/*.hcl
var Policies embed.FS
