package policytest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/heroctl/heroctl/policies"
	"github.com/heroctl/heroctl/schema"
)

// Report is one run, ready to be shown.
type Report struct {
	Set     *policies.Set
	Results []Result
	Took    time.Duration
}

// Text writes what failed, for people, and a line with the sum.
//
//	FAIL  deployer reads prod  tests/deploy_test.hcl:7
//	      secret:read prod/db_password as ana with deploy-prod-secrets
//	      got   deny, capability_missing, by deploy-prod-secrets:4
//	      want  allow
//	      rule  deploy.hcl:4  secret "prod/*"
func (r Report) Text(w io.Writer) error {
	var b strings.Builder
	for _, f := range Failed(r.Results) {
		fmt.Fprintf(&b, "FAIL  %s  %s:%d\n", f.Name, f.File, f.Line)
		fmt.Fprintf(&b, "      %s\n", question(f.Call))
		fmt.Fprintf(&b, "      got   %s\n      want  %s\n", describe(f.Got), f.Want)
		if f.Got.Condition != "" {
			fmt.Fprintf(&b, "      these attributes of the condition do not hold: %s\n", f.Got.Condition)
		}
		if place := ruleAt(r.Set, f.Got.Rule); place != "" {
			fmt.Fprintf(&b, "      rule  %s  %s\n", place, ruleText(r.Set, f.Got.Rule))
		}
	}
	fmt.Fprintf(&b, "%s\n", r.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary is the sum of the run: "12 passed, 1 failed in 3ms".
func (r Report) Summary() string {
	failed := len(Failed(r.Results))
	return fmt.Sprintf("%d passed, %d failed in %s", len(r.Results)-failed, failed, r.Took.Round(time.Millisecond))
}

// question returns a call as a person asks it.
func question(c schema.Call) string {
	text := fmt.Sprintf("%s %s as %s", c.Capability, c.Path, c.Principal.User)
	if len(c.Principal.Policies) == 0 {
		text += " with no policies"
	} else {
		text += " with " + strings.Join(c.Principal.Policies, ", ")
	}
	if c.Principal.Job != "" {
		text += " for job " + c.Principal.Job
	}
	text += " at " + c.Context.Time.Format(time.RFC3339)
	if c.Context.Source.IsValid() {
		text += " from " + c.Context.Source.String()
	}
	return text
}

// jsonCase is a result as JSON shows it.
type jsonCase struct {
	Name   string       `json:"name"`
	File   string       `json:"file"`
	Line   int          `json:"line"`
	Passed bool         `json:"passed"`
	Input  schema.Input `json:"input"`
	Got    jsonDecision `json:"got"`
	Want   jsonDecision `json:"want"`
}

type jsonDecision struct {
	Verdict   string        `json:"verdict"`
	Reason    schema.Reason `json:"reason,omitempty"`
	Policy    string        `json:"policy,omitempty"`
	Line      int           `json:"line,omitempty"`
	Condition string        `json:"condition,omitempty"`
	At        string        `json:"at,omitempty"` // file and line of the rule
}

// JSON writes every result as one document. The document of a run has no time in it, so
// that two runs compare.
func (r Report) JSON(w io.Writer) error {
	document := struct {
		Passed int        `json:"passed"`
		Failed int        `json:"failed"`
		Cases  []jsonCase `json:"cases"`
	}{Cases: []jsonCase{}}
	for _, one := range r.Results {
		if one.Passed() {
			document.Passed++
		} else {
			document.Failed++
		}
		document.Cases = append(document.Cases, jsonCase{
			Name: one.Name, File: one.File, Line: one.Line, Passed: one.Passed(), Input: one.Call.Input(),
			Got: jsonDecision{verdict(one.Got.Allow), one.Got.Reason, one.Got.Rule.Policy, one.Got.Rule.Line,
				one.Got.Condition, ruleAt(r.Set, one.Got.Rule)},
			Want: jsonDecision{Verdict: verdict(one.Want.Allow), Reason: one.Want.Reason, Policy: one.Want.Policy, Line: one.Want.Line},
		})
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}

// TAP writes the results in the Test Anything Protocol, version 13.
func (r Report) TAP(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "TAP version 13\n1..%d\n", len(r.Results))
	for i, one := range r.Results {
		word := "ok"
		if !one.Passed() {
			word = "not ok"
		}
		fmt.Fprintf(&b, "%s %d - %s\n", word, i+1, strings.ReplaceAll(one.Name, "#", "\\#"))
		if !one.Passed() {
			fmt.Fprintf(&b, "  ---\n  at: %q\n  got: %q\n  want: %q\n  rule: %q\n  ...\n",
				fmt.Sprintf("%s:%d", one.File, one.Line), describe(one.Got), one.Want.String(), ruleAt(r.Set, one.Got.Rule))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Line    int           `xml:"line,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the results as the XML that build servers read.
func (r Report) JUnit(w io.Writer) error {
	suite := junitSuite{Name: "policy test", Tests: len(r.Results), Failures: len(Failed(r.Results)), Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
	for _, one := range r.Results {
		c := junitCase{Name: one.Name, Class: strings.TrimSuffix(one.File, ".hcl"), File: one.File, Line: one.Line}
		if !one.Passed() {
			c.Failure = &junitFailure{
				Message: "got " + describe(one.Got) + "; want " + one.Want.String(),
				Text:    question(one.Call) + "\nrule " + ruleAt(r.Set, one.Got.Rule),
			}
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
