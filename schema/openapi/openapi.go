// Package openapi carries the published description of the REST interface. It is
// generated from the schema, committed beside it and served as it is.
package openapi

import _ "embed"

//go:embed openapi.json
var document []byte

// Document returns the OpenAPI 3.1 document as JSON. The bytes must not be
// changed.
func Document() []byte { return document }
