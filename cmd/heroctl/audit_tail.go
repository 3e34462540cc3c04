package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/gateway/client"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// tail follows the trail. It asks for the newest records again and again, each
// time from a little before the newest one shown: a change has its place where it
// began, and is shown when it is done.
type tail struct {
	a        *app
	cl       *client.Client
	request  *heroctlv1.ListRecordsRequest
	format   string
	own      string // accessor of our token: our own questions are not shown
	shown    map[uint64]bool
	newest   uint64
	held     map[uint64]bool // changes held back
	floor    uint64          // what is older was there before we were
	interval time.Duration
}

const (
	tailOverlap  = 256              // sequences asked for again
	tailPatience = 10 * time.Second // how long a change without an outcome is held back
)

func (a *app) newAuditTail() *cobra.Command {
	var q auditQuery
	var follow bool
	var lines int
	var interval time.Duration
	c := &cobra.Command{
		Use: "tail", Short: "Show the newest records, and new ones as they come", Args: takes(),
		Long: `Show the newest records, the oldest of them first. With --follow, go on with new ones as
they come, until interrupted; what it asks itself is on record like everything else, and is
not shown.`,
		Example: "  heroctl audit tail -f\n  heroctl audit tail -f --result deny --format json",
	}
	flags := c.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "go on with new records")
	flags.IntVarP(&lines, "lines", "n", 20, "begin with the newest `N` records, 1000 at most")
	flags.DurationVar(&interval, "interval", 2*time.Second, "with --follow, how often to ask")
	flags.StringVar(&q.user, "user", "", "only what `USER` did")
	q.filters(flags)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if lines < 0 || lines > 1000 || interval < 100*time.Millisecond {
			return usageError("--lines is 1000 at most, and --interval 100ms at least")
		}
		q.limit = max(lines, 1)
		request, err := q.request(time.Now())
		if err != nil {
			return err
		}
		format, err := a.recordFormat()
		if err != nil {
			return err
		}
		return a.with("audit", func(cl *client.Client) error {
			t := &tail{a: a, cl: cl, request: request, format: format, shown: map[uint64]bool{}, held: map[uint64]bool{}, interval: interval}
			err := t.run(c.Context(), lines, follow)
			if c.Context().Err() != nil {
				return nil // it was asked to end
			}
			return err
		})
	}
	return c
}

func (t *tail) run(ctx context.Context, lines int, follow bool) error {
	who, err := t.cl.Access().WhoAmI(ctx, &heroctlv1.WhoAmIRequest{})
	if err != nil {
		return err
	}
	t.own = who.GetAccessor()
	first, err := t.cl.Audit().ListRecords(ctx, t.request)
	if err != nil {
		return err
	}
	records := first.GetRecords()
	slices.Reverse(records)
	if t.format == formatCSV {
		if err := t.a.csv(csvColumns); err != nil {
			return err
		}
	}
	if err := t.show(records, lines > 0, !follow); err != nil || !follow {
		return err
	}
	t.floor = t.newest
	for sequence := range t.held {
		t.floor = max(t.floor, sequence)
	}
	t.request.OldestFirst, t.request.PageSize = true, 1000
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(t.interval):
		}
		if err := t.poll(ctx); err != nil && !passing(err) {
			return err
		} else if err != nil {
			t.a.say("%s; trying again", sentence(err))
		}
	}
}

// passing reports whether a failure may be over soon.
func passing(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && exitCodes[e.Kind()] == exitUnavailable
}

// poll shows what is new.
func (t *tail) poll(ctx context.Context) error {
	t.request.AfterSequence = t.newest - min(t.newest, tailOverlap)
	return eachPage(func(token string) (string, error) {
		t.request.PageToken = token
		page, err := t.cl.Audit().ListRecords(ctx, t.request)
		if err != nil {
			return "", err
		}
		return page.GetNextPageToken(), t.show(page.GetRecords(), true, false)
	})
}

// show prints the records that have not been, and remembers them.
func (t *tail) show(records []*heroctlv1.Record, print, all bool) error {
	for _, r := range records {
		recent := time.Since(r.GetTime().AsTime()) < tailPatience
		if t.shown[r.GetSequence()] || r.GetSequence() <= t.floor && !t.held[r.GetSequence()] {
			continue
		}
		if r.GetResult() == "unknown" && recent && !all {
			t.held[r.GetSequence()] = true
			continue
		}
		delete(t.held, r.GetSequence())
		t.shown[r.GetSequence()] = true
		t.newest = max(t.newest, r.GetSequence())
		ours := r.GetAccessor() == t.own && (r.GetMethod() == "Audit.ListRecords" || r.GetMethod() == "Access.WhoAmI")
		if !print || ours {
			continue
		}
		if err := t.line(r); err != nil {
			return err
		}
	}
	for sequence := range t.shown {
		if sequence+2*tailOverlap < t.newest {
			delete(t.shown, sequence)
		}
	}
	return nil
}

// line prints one record. In a table the columns have a fixed width, since what
// comes later is not known.
func (t *tail) line(r *heroctlv1.Record) error {
	if t.format != formatTable && t.format != formatYAML {
		return t.a.recordLines(t.format, wholeView, []*heroctlv1.Record{r})
	}
	cells := wholeView.row(r)
	for i, cell := range cells {
		if cells[i] = clean(cell); cell == "" {
			cells[i] = "-"
		}
	}
	_, err := fmt.Fprintf(t.a.stdout, "%-20s  %-16s  %-18s  %-15s  %-24s  %s\n", cells[0], cells[1], cells[2], cells[3], cells[4], cells[5])
	return err
}
