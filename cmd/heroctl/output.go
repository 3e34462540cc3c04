package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
	"golang.org/x/term"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The output formats.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatJSONL = "jsonl"
	formatYAML  = "yaml"
	formatName  = "name"
)

var formats = []string{formatTable, formatJSON, formatJSONL, formatYAML, formatName}

// format returns the output format in force.
func (a *app) format() (string, error) {
	text := first(a.flags.format, a.env("HEROCTL_FORMAT"), formatTable)
	for _, f := range formats {
		if text == f {
			return f, nil
		}
	}
	hint := "one of " + strings.Join(formats, ", ")
	if best := nearest(text, formats); best != "" {
		hint = "did you mean " + best + "?"
	}
	return "", usageError(fmt.Sprintf("there is no output format %q", clean(text)), hint)
}

// view says how one kind of result is shown: as a row, and by name.
type view[T proto.Message] struct {
	columns []string
	row     func(T) []string
	name    func(T) string
}

// printList writes results in the chosen format.
func printList[T proto.Message](a *app, v view[T], items []T) error {
	format, err := a.format()
	if err != nil {
		return err
	}
	if format == formatTable {
		rows := [][]string{v.columns}
		for _, item := range items {
			rows = append(rows, v.row(item))
		}
		return a.table(rows)
	}
	if format == formatName {
		for _, item := range items {
			fmt.Fprintln(a.stdout, clean(v.name(item)))
		}
		return nil
	}
	encoded := make([]json.RawMessage, len(items))
	for i, item := range items {
		if encoded[i], err = encode(item); err != nil {
			return err
		}
	}
	if format == formatJSONL {
		return a.jsonLines(encoded...)
	}
	return a.document(format, encoded)
}

// printOne writes a single result in the chosen format. As a table, it is one
// line for each column.
func printOne[T proto.Message](a *app, v view[T], item T) error {
	format, err := a.format()
	if err != nil {
		return err
	}
	switch format {
	case formatTable:
		var rows [][]string
		for i, cell := range v.row(item) {
			rows = append(rows, []string{v.columns[i], cell})
		}
		return a.table(rows)
	case formatName:
		_, err := fmt.Fprintln(a.stdout, clean(v.name(item)))
		return err
	}
	encoded, err := encode(item)
	if err != nil {
		return err
	}
	return a.encoded(format, encoded)
}

// printDone writes the result of a change: as a table it is said on stderr,
// since nobody asked for anything; in other formats it is data.
func printDone[T proto.Message](a *app, v view[T], item T, format string, args ...any) error {
	chosen, err := a.format()
	if err != nil {
		return err
	}
	if chosen == formatTable {
		a.say(format, args...)
		return nil
	}
	return printOne(a, v, item)
}

// encode returns a message as compact JSON with the schema's own names. The
// encoder of the schema puts spaces at random; they are taken out.
func encode(m proto.Message) (json.RawMessage, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return compact.Bytes(), nil
}

// encoded writes one JSON text as the format wants it.
func (a *app) encoded(format string, text json.RawMessage) error {
	if format == formatJSONL {
		return a.jsonLines(text)
	}
	return a.document(format, text)
}

func (a *app) jsonLines(texts ...json.RawMessage) error {
	for _, text := range texts {
		if _, err := fmt.Fprintf(a.stdout, "%s\n", text); err != nil {
			return err
		}
	}
	return nil
}

// document writes a value that encodes to JSON as one indented JSON or YAML text.
func (a *app) document(format string, value any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if format != formatYAML {
		_, err := a.stdout.Write(text.Bytes())
		return err
	}
	// JSON is YAML, so that the node keeps the order of the keys.
	var node yaml.Node
	if err := yaml.Unmarshal(text.Bytes(), &node); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	blockStyle(&node)
	out := yaml.NewEncoder(a.stdout)
	out.SetIndent(2)
	if err := out.Encode(&node); err != nil {
		return err
	}
	return out.Close()
}

// blockStyle takes JSON's braces and quotes off a YAML node.
func blockStyle(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		var plain yaml.Node
		plain.SetString(n.Value)
		n.Style = plain.Style
	} else {
		n.Style = 0
	}
	for _, child := range n.Content {
		blockStyle(child)
	}
}

// table writes rows in aligned columns. Cells come from whoever wrote them, so
// nothing in them may steer the terminal.
func (a *app) table(rows [][]string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if cell = clean(cell); cell == "" {
				cell = "-"
			}
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// clean writes characters that could steer a terminal, or hide or reorder text
// on it, as escapes.
func clean(text string) string {
	plain := func(r rune) bool { return unicode.IsPrint(r) && r != unicode.ReplacementChar }
	if strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`), `\\`, `\`)
}

// when shows a time in UTC, to the second.
func when(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colors reports whether a stream should get colors.
func (a *app) colors(stream io.Writer) bool {
	return !a.flags.noColor && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" && isTerminal(stream)
}
