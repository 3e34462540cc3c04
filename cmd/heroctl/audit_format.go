package main

import (
	"encoding/csv"
	"fmt"
	"strings"

	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// formatCSV is a format of records alone: other results have no fixed columns.
const formatCSV = "csv"

// recordFormat returns the output format of records. What prints everything else
// is told "table" in place of "csv".
func (a *app) recordFormat() (string, error) {
	if first(a.flags.format, a.env("HEROCTL_FORMAT")) == formatCSV {
		a.flags.format = formatTable
		return formatCSV, nil
	}
	return a.format()
}

// recordLines writes records in a format that needs no end: JSON lines, names or
// CSV.
func (a *app) recordLines(format string, shown view[*heroctlv1.Record], records []*heroctlv1.Record) error {
	for _, record := range records {
		if format == formatCSV {
			if err := a.csv(csvRow(record)); err != nil {
				return err
			}
			continue
		}
		if format == formatName {
			if _, err := fmt.Fprintln(a.stdout, clean(shown.name(record))); err != nil {
				return err
			}
			continue
		}
		line, err := encode(record)
		if err == nil {
			err = a.jsonLines(line)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var csvColumns = []string{
	"time", "sequence", "decision_id", "user", "accessor", "roles", "job", "source", "user_agent", "method",
	"resource", "action", "path", "version", "decision", "reason", "rule", "result", "revision", "count", "node", "kind",
}

func csvRow(r *heroctlv1.Record) []string {
	return []string{
		when(r.GetTime()), fmt.Sprint(r.GetSequence()), r.GetDecisionId(), r.GetUser(), r.GetAccessor(), strings.Join(r.GetRoles(), " "),
		r.GetJob(), r.GetSource(), r.GetUserAgent(), r.GetMethod(), r.GetResource(), r.GetAction(), r.GetPath(), number(r.GetVersion()),
		r.GetDecision(), r.GetReason(), ruleText(r.GetRule()), r.GetResult(), fmt.Sprint(r.GetRevision()), number(r.GetCount()), r.GetNode(), r.GetKind(),
	}
}

// csv writes one row (RFC 4180). Cells come from whoever made the request: one
// that a spreadsheet would take for a formula is quoted with an apostrophe.
func (a *app) csv(row []string) error {
	cells := make([]string, len(row))
	for i, cell := range row {
		if cells[i] = clean(cell); cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
			cells[i] = "'" + cells[i]
		}
	}
	w := csv.NewWriter(a.stdout)
	if err := w.Write(cells); err != nil {
		return err
	}
	w.Flush()
	return w.Error()
}

// wholeView is how records of every kind are listed.
var wholeView = view[*heroctlv1.Record]{
	columns: []string{"TIMESTAMP", "USER", "ACTION", "SOURCE", "RESULT", "PATH"},
	row: func(r *heroctlv1.Record) []string {
		action := r.GetMethod()
		if r.GetResource() != "" {
			action = capability(r)
		}
		return []string{when(r.GetTime()), r.GetUser(), action, r.GetSource(), resultText(r), r.GetPath()}
	},
	name: (*heroctlv1.Record).GetDecisionId,
}
