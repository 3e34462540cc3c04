package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema/fault"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// auditVerify are the flags of a verification.
type auditVerify struct{ file, proof, checkpoint, key, since string }

func (a *app) newAuditVerify() *cobra.Command {
	var f auditVerify
	c := &cobra.Command{
		Use: "verify", Short: "Verify the trail, an export or a proof", Args: takes(),
		Long: `Verify that the trail is as it was written (integrity) and that nothing is missing
(completeness). Without --file the server reads its own trail from the disk and holds it
against a signed checkpoint; with --file an export is verified here, without a server; with
--proof, a single record.

--checkpoint names a checkpoint that was kept earlier ("heroctl audit checkpoint"): what it
covers must still be the beginning of the trail. --key is the public key ("heroctl audit
key") or a file with it; online, without it, the server's word is taken for it.

The exit code is 3 if something is wrong.`,
		Example: `  heroctl audit verify --checkpoint 2026-10.checkpoint --key trail.pub
  heroctl audit verify --file audit.jsonl --key trail.pub
  heroctl audit verify --proof record.json --key trail.pub`,
	}
	flags := c.Flags()
	flags.StringVar(&f.file, "file", "", "verify the export in `FILE`; - for stdin")
	flags.StringVar(&f.proof, "proof", "", "verify the record and proof in `FILE`")
	flags.StringVar(&f.checkpoint, "checkpoint", "", "`FILE` with a checkpoint that was kept")
	flags.StringVar(&f.key, "key", "", "the public `KEY`, or a file with it")
	flags.StringVar(&f.since, "since", "", "online: only from `TIME` on")
	c.RunE = func(c *cobra.Command, _ []string) error {
		offline := f.file != "" || f.proof != ""
		switch {
		case f.file != "" && f.proof != "":
			return usageError("--file and --proof exclude each other")
		case offline && f.key == "":
			return usageError("without a server, --key is needed", "heroctl audit key > trail.pub, once")
		case offline && f.since != "":
			return usageError("--since is for the trail of a server; export the range that is wanted")
		case f.proof != "" && f.checkpoint != "":
			return usageError("a proof has its checkpoint in it; --checkpoint is for trails and exports")
		}
		if _, err := a.format(); err != nil {
			return err
		}
		key, err := readKey(f.key)
		switch {
		case err != nil:
			return err
		case f.proof != "":
			return a.verifyProof(f.proof, key)
		case f.file != "":
			return a.verifyExport(c.Context(), f, key)
		}
		return a.with("audit verify", func(cl *client.Client) error { return a.verifyTrail(c.Context(), cl, f, key) })
	}
	return c
}

// readKey reads a public key, or the file with it; "" is nil.
func readKey(text string) (note.Verifier, error) {
	if text == "" {
		return nil, nil
	}
	if !strings.HasPrefix(text, "heroctl/") || !strings.Contains(text, "+") {
		b, err := os.ReadFile(text)
		if err != nil {
			return nil, usageError("--key: "+err.Error(), "the key itself, or a file with it")
		}
		text = string(b)
	}
	key, err := note.NewVerifier(strings.TrimSpace(text))
	if err != nil {
		return nil, usageError("--key: this is not a public key of a trail", "heroctl audit key")
	}
	return key, nil
}

// readPin reads a checkpoint that was kept; "" is nil.
func readPin(file string, key note.Verifier) (*audit.Checkpoint, error) {
	if file == "" {
		return nil, nil
	}
	signed, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError("--checkpoint: " + err.Error())
	}
	c, err := audit.OpenCheckpoint(signed, key)
	if err != nil {
		return nil, &failure{code: exitCheckFailed, text: "checkpoint " + clean(file) + ": " + fault.Detail(err)}
	}
	return &c, nil
}

// verdicts is what a verification found, as it is printed.
type verdicts struct {
	Integrity    verdict `json:"integrity"`
	Completeness verdict `json:"completeness"`
	First        uint64  `json:"first"`
	Last         uint64  `json:"last"`
	Records      uint64  `json:"records"`
	Hidden       uint64  `json:"hidden,omitempty"`
	From         string  `json:"from,omitempty"`
	To           string  `json:"to,omitempty"`
	Root         string  `json:"root,omitempty"`
	Pinned       uint64  `json:"pinned,omitempty"` // size of the checkpoint that was kept
}

type verdict struct {
	OK       bool   `json:"ok"`
	Detail   string `json:"detail,omitempty"`
	Segment  uint64 `json:"segment,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"` // first bad or missing record
}

func (v verdict) text() string {
	if v.OK {
		return "ok"
	}
	where := ""
	if v.Sequence > 0 {
		where = fmt.Sprintf(" at record %d", v.Sequence)
	}
	return "FAILED" + where + ": " + v.Detail
}

// printVerdicts writes what was found; the failure it returns has exit code 3.
func (a *app) printVerdicts(v verdicts) error {
	format, err := a.format()
	if err != nil {
		return err
	}
	if format == formatTable || format == formatName {
		rows := [][]string{
			{"INTEGRITY", v.Integrity.text()}, {"COMPLETENESS", v.Completeness.text()},
			{"RECORDS", fmt.Sprintf("%d to %d", v.First, v.Last)}, {"ROOT", v.Root},
		}
		if v.Hidden > 0 {
			rows = append(rows, []string{"SHOWN BY HASH", fmt.Sprint(v.Hidden)})
		}
		if v.From != "" {
			rows = append(rows, []string{"FROM", v.From}, []string{"TO", v.To})
		}
		if v.Pinned > 0 {
			rows = append(rows, []string{"CHECKPOINT", fmt.Sprintf("covers records 1 to %d", v.Pinned)})
		}
		err = a.table(rows)
	} else {
		var text []byte
		if text, err = json.Marshal(v); err == nil {
			err = a.encoded(format, text)
		}
	}
	if err != nil {
		return err
	}
	if !v.Integrity.OK || !v.Completeness.OK {
		return &failure{code: exitCheckFailed, text: "the verification failed"}
	}
	return nil
}

// verifyExport verifies a file, on this machine alone.
func (a *app) verifyExport(ctx context.Context, f auditVerify, key note.Verifier) error {
	pin, err := readPin(f.checkpoint, key)
	if err != nil {
		return err
	}
	from, size := a.stdin, int64(-1)
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return usageError("--file: " + err.Error())
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil {
			size = info.Size()
		}
		from = file
	}
	bar := a.progress(size, "verifying", true)
	got, err := audit.VerifyExport(ctx, from, audit.ExportCheck{Key: key, Pinned: pin, Progress: func(n int) { _ = bar.Add(n) }})
	_ = bar.Clear()
	if err != nil {
		return about("file "+clean(f.file), err)
	}
	v := verdicts{
		Integrity: verdict(got.Integrity), Completeness: verdict(got.Completeness), First: got.First, Last: got.Last,
		Records: got.Records, Hidden: got.Hidden,
	}
	if !got.From.IsZero() {
		v.From, v.To = got.From.Format(time.RFC3339), got.To.Format(time.RFC3339)
	}
	if got.Integrity.OK && got.Completeness.OK {
		v.Root = got.Root.String()
	}
	if pin != nil {
		v.Pinned = pin.Size
	}
	return a.printVerdicts(v)
}

// verifyProof verifies one record, on this machine alone.
func (a *app) verifyProof(file string, key note.Verifier) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return usageError("--proof: " + err.Error())
	}
	var p audit.Proof
	if err := json.Unmarshal(text, &p); err != nil {
		return &failure{code: exitCheckFailed, text: "proof " + clean(file) + " cannot be read"}
	}
	record, c, err := p.Verify(key)
	if err != nil {
		return &failure{code: exitCheckFailed, text: "proof " + clean(file) + ": " + fault.Detail(err)}
	}
	format, err := a.format()
	if err != nil {
		return err
	}
	if format != formatTable && format != formatName {
		return a.encoded(format, record.JSON())
	}
	return a.table([][]string{
		{"RECORD", fmt.Sprintf("%d is in the trail, which had %d records then", record.Sequence, c.Size)},
		{"TIME", record.Time.Format(time.RFC3339)}, {"USER", record.Input.Subject.ID},
		{"ASKED", record.Input.Action.Name + " on " + record.Input.Resource.ID}, {"SOURCE", record.Input.Context.Source},
		{"DECISION", string(record.Result.Reason)}, {"DECISION ID", string(record.Decision)},
	})
}

// verifyTrail lets the server verify its trail, part by part, against a
// checkpoint whose signature is checked here.
func (a *app) verifyTrail(ctx context.Context, cl *client.Client, f auditVerify, key note.Verifier) error {
	request := &heroctlv1.VerifyRecordsRequest{}
	if f.since != "" {
		since, err := timeFlag("since", f.since, time.Now())
		if err != nil {
			return err
		}
		request.Since = timestamppb.New(since)
	}
	if key == nil {
		got, err := cl.Audit().GetCheckpoint(ctx, &heroctlv1.GetCheckpointRequest{})
		if err != nil {
			return err
		}
		if key, err = note.NewVerifier(got.GetKey()); err != nil {
			return fault.Wrap(fault.Integrity, "the server's key cannot be read", err)
		}
	}
	pin, err := readPin(f.checkpoint, key)
	if err != nil {
		return err
	}
	v := verdicts{Integrity: verdict{OK: true}, Completeness: verdict{OK: true}}
	if pin != nil {
		v.Pinned = pin.Size
	}
	signed, cp, err := prefix(ctx, cl, key, pin, &v)
	if err != nil {
		return err
	}
	if v.Integrity.OK && v.Completeness.OK {
		request.Checkpoint = signed
		if err := a.verifyParts(ctx, cl, request, cp, &v); err != nil {
			return err
		}
	}
	return a.printVerdicts(v)
}

// prefix fetches a checkpoint and checks that the pinned one is its beginning.
func prefix(ctx context.Context, cl *client.Client, key note.Verifier, pin *audit.Checkpoint, v *verdicts) (string, audit.Checkpoint, error) {
	older := uint64(0)
	if pin != nil {
		older = pin.Size
	}
	got, err := cl.Audit().GetCheckpoint(ctx, &heroctlv1.GetCheckpointRequest{OlderSize: older})
	var e *client.Error
	if errors.As(err, &e) && e.Kind() == fault.FailedCheck {
		v.Completeness = verdict{Detail: e.Error()}
		return "", audit.Checkpoint{}, nil
	}
	if err != nil {
		return "", audit.Checkpoint{}, err
	}
	cp, err := audit.OpenCheckpoint([]byte(got.GetCheckpoint()), key)
	if err != nil {
		v.Integrity = verdict{Detail: fault.Detail(err)}
		return "", cp, nil
	}
	proof, err := parseHashes(got.GetProof())
	switch {
	case err != nil:
		return "", cp, err
	case pin == nil || pin.Size == 0:
	case pin.Size == cp.Size && pin.Root != cp.Root:
		err = errNotPrefix
	case pin.Size < cp.Size:
		err = tlog.CheckTree(proof, int64(cp.Size), cp.Root, int64(pin.Size), pin.Root)
	}
	if err != nil {
		v.Integrity = verdict{Detail: errNotPrefix.Error()}
	}
	return got.GetCheckpoint(), cp, nil
}

var errNotPrefix = errors.New("the trail does not begin with the records that the kept checkpoint covers")

// verifyParts asks for part after part. Each must start with the tree that the one
// before ended with, and the last must end with the checkpoint's.
func (a *app) verifyParts(ctx context.Context, cl *client.Client, request *heroctlv1.VerifyRecordsRequest, cp audit.Checkpoint, v *verdicts) error {
	bar := a.progress(int64(cp.Size), "verifying", false)
	defer func() { _ = bar.Clear() }()
	var end *heroctlv1.TreeState
	for {
		part, err := cl.Audit().VerifyRecords(ctx, request)
		if err != nil {
			return err
		}
		if end == nil {
			v.First = part.GetStart().GetSize() + 1
		} else if s := part.GetStart(); v.Integrity.OK && (s.GetSize() != end.GetSize() || s.GetRoot() != end.GetRoot()) {
			v.Integrity = verdict{Detail: "a segment does not continue the one before", Sequence: end.GetSize() + 1}
		}
		end = part.GetEnd()
		v.Records += part.GetRecords()
		v.Last = end.GetSize()
		v.Integrity.merge(part.GetIntegrity())
		v.Completeness.merge(part.GetCompleteness())
		_ = bar.Set64(int64(end.GetSize()))
		if request.Segment = part.GetNextSegment(); request.Segment == 0 {
			break
		}
	}
	if v.Integrity.OK && v.Completeness.OK {
		v.Root = end.GetRoot()
		if end.GetSize() != cp.Size || end.GetRoot() != cp.Root.String() {
			v.Integrity = verdict{Detail: "the records differ from the signed checkpoint", Sequence: end.GetSize()}
			v.Root = ""
		}
	}
	return nil
}

// merge keeps the first finding.
func (v *verdict) merge(part *heroctlv1.Verdict) {
	if v.OK && !part.GetOk() {
		*v = verdict{Detail: part.GetDetail(), Segment: part.GetSegment(), Sequence: part.GetSequence()}
	}
}
