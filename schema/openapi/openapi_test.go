package openapi

import (
	"encoding/json"
	"slices"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// TestEveryCallIsPublished holds the document against the schema: each call is
// there, says what it needs, and fails with a problem document.
func TestEveryCallIsPublished(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string         `json:"operationId"`
			Needs       map[string]any `json:"x-heroctl-needs"`
			Responses   map[string]struct {
				Content map[string]any `json:"content"`
			} `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(Document(), &doc); err != nil {
		t.Fatal(err)
	}
	var published []string
	for path, verbs := range doc.Paths {
		for verb, op := range verbs {
			published = append(published, op.OperationID)
			if len(op.Needs) == 0 {
				t.Errorf("%s %s does not say what it needs", verb, path)
			}
			if op.Responses["default"].Content["application/problem+json"] == nil {
				t.Errorf("%s %s does not fail with a problem document", verb, path)
			}
		}
	}
	var wanted []string
	for _, file := range []protoreflect.FileDescriptor{
		heroctlv1.File_heroctl_v1_secrets_proto, heroctlv1.File_heroctl_v1_policies_proto, heroctlv1.File_heroctl_v1_access_proto,
		heroctlv1.File_heroctl_v1_audit_proto, heroctlv1.File_heroctl_v1_cluster_proto,
	} {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				wanted = append(wanted, string(s.Name())+"_"+string(s.Methods().Get(j).Name()))
			}
		}
	}
	slices.Sort(published)
	slices.Sort(wanted)
	if !slices.Equal(published, wanted) {
		t.Errorf("published %v\nwanted    %v", published, wanted)
	}
}
