package engine

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// vector is one case of testdata/acl, which holds the answers of Vault's priorities.
type vector struct {
	ID       string `json:"id"`
	Policies []struct {
		Name  string `json:"name"`
		Rules []struct {
			Pattern      string   `json:"pattern"`
			Capabilities []string `json:"capabilities"`
		} `json:"rules"`
	} `json:"policies"`
	Path    string          `json:"path"`
	Allowed map[string]bool `json:"allowed"`
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/acl/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) != 3000 {
		t.Fatalf("%d vectors; want 3000", len(vectors))
	}
	return vectors
}

// parse returns the vector's policies and their names.
func (v vector) parse(t *testing.T) (list []*policies.Policy, names []string) {
	t.Helper()
	for _, p := range v.Policies {
		var rules [][2]string
		for _, r := range p.Rules {
			rules = append(rules, [2]string{r.Pattern, strings.Join(r.Capabilities, " ")})
		}
		list = append(list, mustParse(t, hclOf(p.Name, "secret", rules...))...)
		names = append(names, p.Name)
	}
	return list, names
}

func TestVectors(t *testing.T) {
	asked, step := 0, 1
	if testing.Short() {
		step = 20
	}
	for i, v := range readVectors(t) {
		if i%step != 0 {
			continue
		}
		list, names := v.parse(t)
		e := mustActivate(t, Config{}, list)
		for verb, want := range v.Allowed {
			c := ask("secret:"+verb, v.Path, names...)
			if d := decide(t, e, c); d.Allow != want || d.Reason == schema.EvaluationFailed {
				t.Errorf("%s: %s on %s is %v (%s by %s line %d); want %v", v.ID, verb, v.Path, d.Allow, d.Reason, d.Rule.Policy, d.Rule.Line, want)
			}
			asked++
		}
	}
	if want := 4 * 3000 / step; asked != want {
		t.Errorf("%d questions asked; want %d", asked, want)
	}
}
