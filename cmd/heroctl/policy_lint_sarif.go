package main

import (
	"net/url"
	"path/filepath"
	"slices"

	"github.com/heroctl/heroctl/policies"
)

// sarifLog is a report in the Static Analysis Results Interchange Format, 2.1.0. Only
// the parts that code review tools read are there.
type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool struct {
		Driver sarifDriver `json:"driver"`
	} `json:"tool"`
	ColumnKind string        `json:"columnKind"`
	Results    []sarifResult `json:"results"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version"`
	Rules   []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID      string    `json:"id"`
	Short   sarifText `json:"shortDescription"`
	Default struct {
		Level policies.Severity `json:"level"`
	} `json:"defaultConfiguration"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifResult struct {
	RuleID       string             `json:"ruleId"`
	RuleIndex    int                `json:"ruleIndex"`
	Level        policies.Severity  `json:"level"` // the words are the same
	Message      sarifText          `json:"message"`
	Locations    []sarifLocation    `json:"locations,omitempty"`
	Related      []sarifLocation    `json:"relatedLocations,omitempty"`
	Suppressions []sarifSuppression `json:"suppressions,omitempty"`
}

type sarifLocation struct {
	ID       int           `json:"id,omitempty"`
	Physical sarifPhysical `json:"physicalLocation"`
	Message  *sarifText    `json:"message,omitempty"`
}

type sarifPhysical struct {
	Artifact struct {
		URI string `json:"uri"`
	} `json:"artifactLocation"`
	Region sarifRegion `json:"region"`
}

type sarifRegion struct {
	StartLine   int `json:"startLine"`
	StartColumn int `json:"startColumn"`
	EndLine     int `json:"endLine"`
	EndColumn   int `json:"endColumn"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Justification string `json:"justification"`
}

func sarifOf(findings policies.Findings) sarifLog {
	rules := append(policies.LintRules(), policies.LintRule{ID: syntaxID, Level: policies.Error, Summary: "the text is not a valid policy"})
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "heroctl", Version: version()}
	for _, r := range rules {
		rule := sarifRule{ID: r.ID, Short: sarifText{r.Summary}}
		rule.Default.Level = r.Level
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
	}
	for _, f := range findings {
		result := sarifResultOf(f)
		result.RuleIndex = slices.IndexFunc(rules, func(r policies.LintRule) bool { return r.ID == f.ID })
		run.Results = append(run.Results, result)
	}
	return sarifLog{
		Schema:  "https://json.schemastore.org/sarif-2.1.0.json",
		Version: "2.1.0", Runs: []sarifRun{run},
	}
}

func sarifResultOf(f policies.Finding) sarifResult {
	text := f.Summary
	for _, more := range []string{f.Detail, f.Advice} {
		if more != "" {
			text += "; " + more
		}
	}
	result := sarifResult{RuleID: f.ID, Level: f.Severity, Message: sarifText{text}}
	if f.Line > 0 {
		result.Locations = []sarifLocation{sarifPlace(f.Span)}
	}
	for i, r := range f.Related {
		if r.Line > 0 {
			place := sarifPlace(r.Span)
			place.ID, place.Message = i+1, &sarifText{r.Text}
			result.Related = append(result.Related, place)
		}
	}
	if f.Accepted != "" {
		result.Suppressions = []sarifSuppression{{"inSource", f.Accepted}}
	}
	return result
}

func sarifPlace(at policies.Span) sarifLocation {
	place := sarifLocation{Physical: sarifPhysical{Region: sarifRegion{at.Line, at.Column, at.EndLine, at.EndColumn}}}
	place.Physical.Artifact.URI = (&url.URL{Path: filepath.ToSlash(at.File)}).EscapedPath()
	return place
}
