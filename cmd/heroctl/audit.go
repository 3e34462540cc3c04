package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// tableLimit is how many records a table shows unless --limit says otherwise.
const tableLimit = 1000

func (a *app) newAuditCommand() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Ask who did what"}
	c.AddCommand(a.newAuditSecret())
	return c
}

// auditQuery are the flags of a question to the trail.
type auditQuery struct {
	name, user, since, until string
	limit                    int
	oldestFirst              bool
}

func (a *app) newAuditSecret() *cobra.Command {
	var q auditQuery
	c := &cobra.Command{
		Use: "secret", Short: "List who did what to secrets, newest first", Args: takes(),
		Long: `List who did what to secrets, newest first. A table shows the newest 1000 records unless
--limit says otherwise; other formats give all there are. The json format is JSON lines, one
record each, ready to be stored.`,
		Example: `  heroctl audit secret --name db_password --since 30d
  heroctl audit secret --since 30d --format json > audit.jsonl`,
	}
	flags := c.Flags()
	flags.StringVar(&q.name, "name", "", "only the secret of this `NAME`")
	flags.StringVar(&q.user, "user", "", "only what `USER` did")
	flags.StringVar(&q.since, "since", "", "only from `TIME` on: 30d, 12h, 2w, a date or RFC 3339")
	flags.StringVar(&q.until, "until", "", "only before `TIME`")
	flags.IntVar(&q.limit, "limit", 0, "at most `N` records; 0 for all (table: 1000)")
	flags.BoolVar(&q.oldestFirst, "oldest-first", false, "begin with the oldest")
	c.RunE = func(c *cobra.Command, _ []string) error {
		request, err := q.request(time.Now())
		if err != nil {
			return err
		}
		format, err := a.format()
		if err != nil {
			return err
		}
		limit := q.limit
		if format == formatTable && !flags.Changed("limit") {
			limit = tableLimit
		}
		return a.with("audit", func(cl *client.Client) error {
			return a.printRecords(format, q.name == "", limit, func(token string) (*heroctlv1.ListRecordsResponse, error) {
				request.PageToken = token
				return cl.Audit().ListRecords(c.Context(), request)
			})
		})
	}
	return c
}

// request parses the question.
func (q auditQuery) request(now time.Time) (*heroctlv1.ListRecordsRequest, error) {
	r := &heroctlv1.ListRecordsRequest{Resource: string(schema.Secret), User: q.user, OldestFirst: q.oldestFirst, PageSize: 1000}
	if q.limit < 0 {
		return nil, usageError("--limit must not be negative")
	}
	if q.limit > 0 && q.limit < 1000 {
		r.PageSize = uint32(q.limit)
	}
	if q.name != "" {
		path, _, err := secretPath(q.name)
		if err != nil {
			return nil, err
		}
		r.Path = path
	}
	for _, bound := range []struct {
		flag, text string
		set        **timestamppb.Timestamp
	}{{"since", q.since, &r.Since}, {"until", q.until, &r.Until}} {
		if bound.text == "" {
			continue
		}
		t, err := timeFlag(bound.flag, bound.text, now)
		if err != nil {
			return nil, err
		}
		*bound.set = timestamppb.New(t)
	}
	return r, nil
}

// printRecords writes page after page as it comes, so that a long answer needs
// no memory; only a table and a document wait for the end.
func (a *app) printRecords(format string, paths bool, limit int, page func(string) (*heroctlv1.ListRecordsResponse, error)) error {
	left, more := limit, false
	var kept []*heroctlv1.Record
	err := eachPage(func(token string) (string, error) {
		answer, err := page(token)
		if err != nil {
			return "", err
		}
		records, next := answer.GetRecords(), answer.GetNextPageToken()
		if limit > 0 && len(records) >= left {
			more = len(records) > left || next != ""
			records, next = records[:left], ""
		}
		left -= len(records)
		if format == formatJSON || format == formatJSONL {
			return next, a.recordLines(records)
		}
		kept = append(kept, records...)
		return next, nil
	})
	if err != nil || format == formatJSON || format == formatJSONL {
		return err
	}
	if more {
		a.say("there are more records; --limit 0 shows all, --since and --name narrow them down")
	}
	return printList(a, recordView(paths), kept)
}

func (a *app) recordLines(records []*heroctlv1.Record) error {
	lines := make([]json.RawMessage, len(records))
	for i, record := range records {
		line, err := encode(record)
		if err != nil {
			return err
		}
		lines[i] = line
	}
	return a.jsonLines(lines...)
}

// recordView is how a record is listed; without --name the secret is a column
// too.
func recordView(paths bool) view[*heroctlv1.Record] {
	v := view[*heroctlv1.Record]{
		columns: []string{"TIMESTAMP", "USER", "ACTION", "SOURCE", "RESULT"},
		row: func(r *heroctlv1.Record) []string {
			return []string{when(r.GetTime()), r.GetUser(), r.GetAction(), r.GetSource(), resultText(r)}
		},
		name: (*heroctlv1.Record).GetDecisionId,
	}
	if paths {
		row := v.row
		v.columns = append(v.columns, "SECRET")
		v.row = func(r *heroctlv1.Record) []string { return append(row(r), r.GetPath()) }
	}
	return v
}

// resultText shows what came of a request, and why when it was denied.
func resultText(r *heroctlv1.Record) string {
	if r.GetResult() == "denied" && r.GetReason() != "" {
		return fmt.Sprintf("denied (%s)", r.GetReason())
	}
	return r.GetResult()
}
