package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) newContextCommand() *cobra.Command {
	c := &cobra.Command{Use: "context", Short: "Choose among the servers you are logged in to"}
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "List the contexts; the current one has a star", Args: takes(),
			RunE: func(*cobra.Command, []string) error { return a.contextList() }},
		&cobra.Command{Use: "use NAME", Short: "Make a context the current one", Args: takes("NAME"),
			RunE: func(_ *cobra.Command, args []string) error { return a.contextUse(args[0]) }},
		&cobra.Command{Use: "show [NAME]", Short: "Show a context, never its token", Args: takes("[NAME]"),
			RunE: func(_ *cobra.Command, args []string) error { return a.contextShow(args) }},
		&cobra.Command{Use: "delete NAME", Short: "Forget a context; its token stays valid", Args: takes("NAME"),
			RunE: func(_ *cobra.Command, args []string) error { return a.contextDelete(args[0]) }},
	)
	return c
}

// shownContext is a context as it is shown.
type shownContext struct {
	Name     string `json:"name"`
	Addr     string `json:"addr"`
	CACert   string `json:"cacert,omitempty"`
	Current  bool   `json:"current"`
	LoggedIn bool   `json:"logged_in"`
}

func shown(file contextFile, c serverUser) shownContext {
	return shownContext{c.Name, c.Addr, c.CACert, c.Name == file.Current, c.Token.Len() > 0}
}

func (a *app) contextList() error {
	file, err := a.loadContexts()
	if err != nil {
		return err
	}
	format, err := a.format()
	if err != nil {
		return err
	}
	all := []shownContext{}
	lines := []json.RawMessage{}
	rows := [][]string{{"CURRENT", "NAME", "ADDR", "LOGGED IN"}}
	for _, c := range file.Contexts {
		s := shown(file, c)
		line, err := json.Marshal(s)
		if err != nil {
			return err
		}
		all, lines = append(all, s), append(lines, line)
		rows = append(rows, []string{map[bool]string{true: "*"}[s.Current], s.Name, s.Addr, yesNo(s.LoggedIn)})
		if format == formatName {
			fmt.Fprintln(a.stdout, clean(s.Name))
		}
	}
	switch format {
	case formatName:
		return nil
	case formatTable:
		return a.table(rows)
	case formatJSONL:
		return a.jsonLines(lines...)
	}
	return a.document(format, all)
}

func (a *app) contextUse(name string) error {
	file, err := a.loadContexts()
	if err != nil {
		return err
	}
	if file.find(name) == nil {
		return noContext(file, name)
	}
	file.Current = name
	if err := a.saveContexts(file); err != nil {
		return about("context file", err)
	}
	a.say("context %s is the current one", clean(name))
	return nil
}

func (a *app) contextShow(args []string) error {
	file, err := a.loadContexts()
	if err != nil {
		return err
	}
	name := first(append(args, a.flags.context, a.env("HEROCTL_CONTEXT"), file.Current)...)
	c := file.find(name)
	if c == nil {
		return noContext(file, name)
	}
	format, err := a.format()
	if err != nil {
		return err
	}
	s := shown(file, *c)
	switch format {
	case formatName:
		_, err := fmt.Fprintln(a.stdout, clean(s.Name))
		return err
	case formatTable:
		return a.table([][]string{
			{"NAME", s.Name}, {"ADDR", s.Addr}, {"CACERT", s.CACert}, {"CURRENT", yesNo(s.Current)}, {"LOGGED IN", yesNo(s.LoggedIn)},
		})
	}
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return a.encoded(format, line)
}

func (a *app) contextDelete(name string) error {
	file, err := a.loadContexts()
	if err != nil {
		return err
	}
	if file.find(name) == nil {
		return noContext(file, name)
	}
	kept := file.Contexts[:0]
	for _, c := range file.Contexts {
		if c.Name != name {
			kept = append(kept, c)
		}
	}
	file.Contexts = kept
	if file.Current == name {
		file.Current = ""
	}
	if err := a.saveContexts(file); err != nil {
		return about("context file", err)
	}
	a.say("context %s is forgotten", clean(name))
	return nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
