package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

func (a *app) newAuditExport() *cobra.Command {
	var after uint64
	var since, until string
	c := &cobra.Command{
		Use: "export", Short: "Write the trail as lines that can be verified anywhere", Args: takes(),
		Long: `Write the trail to stdout, the oldest record first, one canonical record on each line, and at
the end the signed checkpoint that vouches for them. "heroctl audit verify --file" checks such
a file without a server. A record that your token may not export is written as its hash.

An export that was cut off goes on with --after and the last sequence of the file; append
what comes to the same file.`,
		Example: `  heroctl audit export > audit.jsonl
  heroctl audit export --since 2026-10-01 --until 2026-11-01 > october.jsonl
  heroctl audit export --after 48213 >> audit.jsonl`,
	}
	flags := c.Flags()
	flags.Uint64Var(&after, "after", 0, "only records after this `SEQUENCE`")
	flags.StringVar(&since, "since", "", "only from `TIME` on: 30d, a date or RFC 3339")
	flags.StringVar(&until, "until", "", "only before `TIME`")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if f, err := a.format(); err != nil {
			return err
		} else if f == formatYAML || f == formatName {
			return usageError("an export is JSON lines; there is no other form of it")
		}
		request := &heroctlv1.ExportRecordsRequest{AfterSequence: after, PageSize: 1000}
		for _, bound := range []struct {
			flag, text string
			set        **timestamppb.Timestamp
		}{{"since", since, &request.Since}, {"until", until, &request.Until}} {
			if bound.text == "" {
				continue
			}
			t, err := timeFlag(bound.flag, bound.text, time.Now())
			if err != nil {
				return err
			}
			*bound.set = timestamppb.New(t)
		}
		return a.with("audit export", func(cl *client.Client) error { return a.exportTrail(c, cl, request) })
	}
	return c
}

// exportTrail writes page after page as it comes.
func (a *app) exportTrail(c *cobra.Command, cl *client.Client, request *heroctlv1.ExportRecordsRequest) error {
	var bar *progressbar.ProgressBar
	last, done := uint64(0), false
	err := eachPage(func(token string) (string, error) {
		request.PageToken = token
		page, err := cl.Audit().ExportRecords(c.Context(), request)
		if err != nil {
			return "", err
		}
		if bar == nil {
			bar = a.progress(int64(page.GetLast()-page.GetFirst()+1), "exporting", false)
			last = page.GetFirst() - 1
		}
		for _, line := range page.GetLines() {
			if _, err := fmt.Fprintln(a.stdout, line); err != nil {
				return "", err
			}
		}
		last += uint64(page.GetRecords())
		done = page.GetNextPageToken() == ""
		_ = bar.Add(int(page.GetRecords())) // a bar that cannot be drawn is no failure
		return page.GetNextPageToken(), nil
	})
	if err != nil && !done && last > 0 {
		a.say("the export has everything up to record %d; go on with --after %d and append to the same file", last, last)
	}
	return err
}

// progress returns a bar on stderr; it shows nothing where stderr is no terminal.
func (a *app) progress(most int64, what string, bytes bool) *progressbar.ProgressBar {
	out := io.Discard
	if isTerminal(a.stderr) {
		out = a.stderr
	}
	return progressbar.NewOptions64(most,
		progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(bytes),
		progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionEnableColorCodes(false),
	)
}

func (a *app) newAuditProve() *cobra.Command {
	return &cobra.Command{
		Use: "prove SEQUENCE|DECISION_ID", Short: "Write a record with the proof that it is in the trail", Args: takes("SEQUENCE|DECISION_ID"),
		Long: `Write a record, the proof that it is in the trail and the signed checkpoint that the proof
leads to, as JSON. "heroctl audit verify --proof FILE --key KEY" checks it without a server.`,
		Example: "  heroctl audit prove 48213 > record.json",
		RunE: func(c *cobra.Command, args []string) error {
			request := &heroctlv1.ProveRecordRequest{}
			sequence, err := strconv.ParseUint(args[0], 10, 64)
			if err == nil && sequence > 0 {
				request.Sequence = sequence
			} else {
				id, err := schema.ParseDecisionID(args[0])
				if err != nil {
					return about("sequence or decision id", err)
				}
				request.DecisionId = string(id)
			}
			return a.with("record "+clean(args[0]), func(cl *client.Client) error {
				got, err := cl.Audit().ProveRecord(c.Context(), request)
				if err != nil {
					return err
				}
				return a.printProof(got)
			})
		},
	}
}

func (a *app) printProof(got *heroctlv1.RecordProof) error {
	proof, err := parseHashes(got.GetProof())
	if err != nil {
		return err
	}
	text, err := json.Marshal(audit.Proof{
		Sequence: got.GetSequence(), Record: json.RawMessage(got.GetRecord()), Proof: proof, Checkpoint: got.GetCheckpoint(),
	})
	if err != nil {
		return fmt.Errorf("encode the proof: %w", err)
	}
	format, err := a.format()
	if err != nil {
		return err
	}
	return a.encoded(format, text)
}

func parseHashes(texts []string) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(texts))
	for i, text := range texts {
		h, err := tlog.ParseHash(text)
		if err != nil {
			return nil, fault.New(fault.Integrity, "the server's proof cannot be read")
		}
		hashes[i] = h
	}
	return hashes, nil
}

func (a *app) newAuditCheckpoint() *cobra.Command {
	return &cobra.Command{
		Use: "checkpoint", Short: "Write the signed checkpoint of the trail", Args: takes(),
		Long: `Write the signed checkpoint of everything recorded so far: a signed note (C2SP
tlog-checkpoint). Keep it somewhere else; "heroctl audit verify --checkpoint FILE" shows later
that what it covers is still there, unchanged.`,
		Example: "  heroctl audit checkpoint > 2026-11.checkpoint",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with("audit checkpoint", func(cl *client.Client) error {
				got, err := cl.Audit().GetCheckpoint(c.Context(), &heroctlv1.GetCheckpointRequest{})
				if err != nil {
					return err
				}
				return a.printNote(got, got.GetCheckpoint())
			})
		},
	}
}

func (a *app) newAuditKey() *cobra.Command {
	return &cobra.Command{
		Use: "key", Short: "Write the public key of the trail's checkpoints", Args: takes(),
		Long: `Write the public key that checkpoints, exports and proofs are verified with. Fetch it once,
soon after the cluster was made, and keep it apart from the server.`,
		Example: "  heroctl audit key > trail.pub",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with("audit key", func(cl *client.Client) error {
				got, err := cl.Audit().GetCheckpoint(c.Context(), &heroctlv1.GetCheckpointRequest{})
				if err != nil {
					return err
				}
				return a.printNote(got, got.GetKey()+"\n")
			})
		},
	}
}

// printNote writes the text as it is, or the whole answer as data.
func (a *app) printNote(got *heroctlv1.SignedCheckpoint, text string) error {
	format, err := a.format()
	if err != nil {
		return err
	}
	if format == formatTable || format == formatName {
		_, err := io.WriteString(a.stdout, text)
		return err
	}
	encoded, err := encode(got)
	if err != nil {
		return err
	}
	return a.encoded(format, encoded)
}
