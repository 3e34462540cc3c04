package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema/fault"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

// printSecret describes a secret, and who read it where the caller may know.
func (a *app) printSecret(ctx context.Context, cl *client.Client, s *heroctlv1.Secret) error {
	usage, err := cl.Audit().GetUsage(ctx, &heroctlv1.GetUsageRequest{Path: s.GetPath()})
	var e *client.Error
	if errors.As(err, &e) && (e.Kind() == fault.Unsupported || e.Kind() == fault.NotFound) {
		usage, err = nil, nil // a server of an older release
	}
	if err != nil {
		a.say("who read it cannot be told: %s", sentence(err))
	}
	format, err := a.format()
	if err != nil {
		return err
	}
	if !usage.GetVisible() || format == formatName {
		return printOne(a, secretDetails, s)
	}
	if format == formatTable {
		return a.printSecretTable(s, usage)
	}
	text, err := encode(s)
	if err != nil {
		return err
	}
	extra, err := encode(usage)
	if err != nil {
		return err
	}
	if len(text) < 2 || text[len(text)-1] != '}' {
		return fmt.Errorf("encode the answer: not an object")
	}
	joined := append(text[:len(text)-1:len(text)-1], `,"usage":`...)
	return a.encoded(format, json.RawMessage(append(append(joined, extra...), '}')))
}

func (a *app) printSecretTable(s *heroctlv1.Secret, usage *heroctlv1.Usage) error {
	var rows [][]string
	for i, cell := range secretDetails.row(s) {
		rows = append(rows, []string{secretDetails.columns[i], cell})
	}
	last := usage.GetLast()
	reads := fmt.Sprint(usage.GetReads())
	if usage.GetMore() {
		reads = "more than " + reads
	}
	if n := len(usage.GetReaders()); n > 0 {
		reads += fmt.Sprintf(" by %d %s", n, plural(n, "reader"))
	}
	by := last.GetUser()
	if last.GetJob() != "" {
		by += ", job " + last.GetJob()
	}
	if last.GetSource() != "" {
		by += " from " + last.GetSource()
	}
	return a.table(append(rows, []string{"LAST READ", when(last.GetTime())}, []string{"LAST READ BY", by}, []string{"READS IN 30 DAYS", reads}))
}
