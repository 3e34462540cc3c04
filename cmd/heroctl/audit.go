package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// tableLimit is how many records a table shows unless --limit says otherwise.
const tableLimit = 1000

func (a *app) newAuditCommand() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Ask who did what, and verify the answer"}
	c.AddCommand(
		a.newAuditSecret(), a.newAuditQuery(), a.newAuditTail(), a.newAuditExport(),
		a.newAuditVerify(), a.newAuditProve(), a.newAuditCheckpoint(), a.newAuditKey(),
	)
	return c
}

// auditQuery are the flags of a question to the trail.
type auditQuery struct {
	name, user, since, until string
	limit                    int
	newestFirst, oldestFirst bool

	// Those that secrets do not have.
	role, accessor, job, resource, path, result, reason, source string
	actions                                                     []string
}

// times adds the flags that every question has.
func (q *auditQuery) times(flags *pflag.FlagSet) {
	flags.StringVar(&q.user, "user", "", "only what `USER` did")
	flags.StringVar(&q.since, "since", "", "only from `TIME` on: 30d, 12h, 2w, a date or RFC 3339")
	flags.StringVar(&q.until, "until", "", "only before `TIME`")
	flags.IntVar(&q.limit, "limit", 0, "at most `N` records; 0 for all (table: 1000)")
	flags.BoolVar(&q.newestFirst, "newest-first", false, "begin with the newest, as it is done anyway")
	flags.BoolVar(&q.oldestFirst, "oldest-first", false, "begin with the oldest")
}

// filters adds the flags that narrow a question down.
func (q *auditQuery) filters(flags *pflag.FlagSet) {
	flags.StringVar(&q.role, "role", "", "only users with `ROLE`")
	flags.StringVar(&q.accessor, "token", "", "only the token with this `ACCESSOR`")
	flags.StringVar(&q.job, "job", "", "only `JOB`")
	flags.StringVar(&q.resource, "resource", "", "only this `KIND`: secret, policy, token, …")
	flags.StringVar(&q.path, "path", "", "only this `PATH`, or a pattern as policies have: prod/*")
	flags.StringSliceVar(&q.actions, "action", nil, "only these `VERBS`, or capabilities: read or secret:read")
	flags.StringSliceVar(&q.actions, "capability", nil, "the same as --action")
	flags.StringVar(&q.result, "result", "", "only `RESULT`: allow, deny, failed or unknown")
	flags.StringVar(&q.reason, "reason", "", "only this `CLASS` of reason, such as no_rule or token_expired")
	flags.StringVar(&q.source, "source", "", "only clients of these `ADDRESSES`: 10.0.0.0/8, or one address")
}

func (a *app) newAuditSecret() *cobra.Command {
	var q auditQuery
	c := &cobra.Command{
		Use: "secret", Short: "List who did what to secrets, newest first", Args: takes(),
		Long: `List who did what to secrets, newest first. A table shows the newest 1000 records unless
--limit says otherwise; other formats give all there are. The json format is JSON lines, one
record each, ready to be stored; csv is for spreadsheets.`,
		Example: `  heroctl audit secret --name db_password --since 30d
  heroctl audit secret --since 30d --format json > audit.jsonl`,
	}
	c.Flags().StringVar(&q.name, "name", "", "only the secret of this `NAME`")
	q.times(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error {
		q.resource = string(schema.Secret)
		return a.askTrail(c, q, recordView(q.name == ""))
	}
	return c
}

func (a *app) newAuditQuery() *cobra.Command {
	var q auditQuery
	c := &cobra.Command{
		Use: "query", Short: "Find records by who, what, where, when and why", Args: takes(),
		Long: `Find records of the trail, newest first. Every flag narrows the answer down; a flag that
takes several values, with commas or repeated, selects any of them. A table shows 1000
records unless --limit says otherwise; other formats give all there are. The json format is
JSON lines; csv is for spreadsheets.`,
		Example: `  heroctl audit query --result deny --since 7d
  heroctl audit query --path 'prod/*' --action read,update --user ana --format csv
  heroctl audit query --capability policy:update,role:bind --oldest-first
  heroctl audit query --source 10.1.0.0/16 --reason token_expired`,
	}
	q.times(c.Flags())
	q.filters(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error { return a.askTrail(c, q, wholeView) }
	return c
}

// askTrail asks the question of the flags and prints the answer.
func (a *app) askTrail(c *cobra.Command, q auditQuery, shown view[*heroctlv1.Record]) error {
	request, err := q.request(time.Now())
	if err != nil {
		return err
	}
	format, err := a.recordFormat()
	if err != nil {
		return err
	}
	limit := q.limit
	if format == formatTable && !c.Flags().Changed("limit") {
		limit = tableLimit
	}
	return a.with("audit", func(cl *client.Client) error {
		return a.printRecords(format, shown, limit, func(token string) (*heroctlv1.ListRecordsResponse, error) {
			request.PageToken = token
			return cl.Audit().ListRecords(c.Context(), request)
		})
	})
}

// request parses the question.
func (q auditQuery) request(now time.Time) (*heroctlv1.ListRecordsRequest, error) {
	r := &heroctlv1.ListRecordsRequest{
		Resource: q.resource, User: q.user, OldestFirst: q.oldestFirst, PageSize: 1000,
		Role: q.role, Accessor: q.accessor, Job: q.job, Result: q.result, Reason: q.reason, Source: q.source,
	}
	if q.limit < 0 {
		return nil, usageError("--limit must not be negative")
	}
	if q.newestFirst && q.oldestFirst {
		return nil, usageError("--newest-first and --oldest-first exclude each other")
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
	if err := q.what(r); err != nil {
		return nil, err
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

// what parses paths and verbs. A plain path is asked for as such, so that whoever
// may read the records of that path only need not be allowed more.
func (q auditQuery) what(r *heroctlv1.ListRecordsRequest) error {
	if strings.ContainsAny(q.path, "*+") {
		p, err := schema.ParsePattern(q.path)
		if err != nil {
			return about("--path", err)
		}
		r.Pattern = p.String()
	} else if q.path != "" {
		p, err := schema.ParsePath(q.path)
		if err != nil {
			return about("--path", err)
		}
		r.Path = p.String()
	}
	for _, word := range q.actions {
		resource, verb, whole := strings.Cut(word, ":")
		if !whole {
			r.Actions = append(r.Actions, word)
			continue
		}
		if _, err := schema.ParseCapability(word); err != nil {
			return about("--action", err)
		}
		r.Capabilities = append(r.Capabilities, resource+":"+verb)
	}
	return nil
}

// printRecords writes page after page as it comes, so that a long answer needs
// no memory; only a table and a document wait for the end.
func (a *app) printRecords(format string, shown view[*heroctlv1.Record], limit int, page func(string) (*heroctlv1.ListRecordsResponse, error)) error {
	if format == formatCSV {
		if err := a.csv(csvColumns); err != nil {
			return err
		}
	}
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
		if format != formatTable && format != formatYAML {
			return next, a.recordLines(format, shown, records)
		}
		kept = append(kept, records...)
		return next, nil
	})
	if err != nil || format != formatTable && format != formatYAML {
		return err
	}
	if more {
		a.say("there are more records; --limit 0 shows all, --since and --name narrow them down")
	}
	return printList(a, shown, kept)
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
