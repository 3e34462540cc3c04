package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/heroctl/heroctl/gateway/client"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// contextFile is what "heroctl login" writes: the servers the user works with,
// and his token on each.
//
//	current: prod
//	contexts:
//	  - name: prod
//	    addr: https://vault.example:8420
//	    cacert: /etc/heroctl/ca.pem
//	    token: hero_…
type contextFile struct {
	Current  string       `yaml:"current,omitempty"`
	Contexts []serverUser `yaml:"contexts"`
}

// serverUser is one context: a server and who the user is there.
type serverUser struct {
	Name   string `yaml:"name"`
	Addr   string `yaml:"addr"`
	CACert string `yaml:"cacert,omitempty"`
	Token  stored `yaml:"token,omitempty"`
}

// stored is a token in the context file. It prints as a mask and is written in
// the clear to that file alone, which has mode 0600.
type stored struct{ secret.Value }

func store(token string) stored { return stored{secret.New([]byte(token))} }

func (s stored) reveal() (token string) {
	s.Expose(func(b []byte) { token = string(b) })
	return token
}

// IsZero implements yaml.IsZeroer.
func (s stored) IsZero() bool { return s.Len() == 0 }

// MarshalYAML implements yaml.Marshaler.
func (s stored) MarshalYAML() (any, error) { return s.reveal(), nil }

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *stored) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return errors.New("the token is not a text")
	}
	*s = store(n.Value)
	return nil
}

// contextPath returns where the context file is.
func (a *app) contextPath() (string, error) {
	if dir := a.env("XDG_CONFIG_HOME"); dir != "" {
		if !filepath.IsAbs(dir) {
			return "", usageError("XDG_CONFIG_HOME is not an absolute path")
		}
		return filepath.Join(dir, "heroctl", "contexts.yaml"), nil
	}
	home := a.env("HOME")
	if home == "" {
		return "", usageError("there is no place for the context file", "set HOME or XDG_CONFIG_HOME")
	}
	return filepath.Join(home, ".config", "heroctl", "contexts.yaml"), nil
}

// loadContexts reads the context file; one that does not exist is empty. A file
// that others can read is refused, and so is a key it does not know.
func (a *app) loadContexts() (contextFile, error) {
	path, err := a.contextPath()
	if err != nil {
		return contextFile{}, err
	}
	text, err := client.ReadPrivateFile(path, "context file")
	if errors.Is(err, fault.NotFound) {
		return contextFile{}, nil
	}
	if err != nil {
		return contextFile{}, about(path, err)
	}
	var file contextFile
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		// The decoder's words would repeat the file, tokens included.
		return contextFile{}, &failure{code: exitUsage, text: path + ": not a context file",
			hints: []string{"remove it and log in again"}}
	}
	return file, nil
}

// saveContexts replaces the context file, at once and with mode 0600.
func (a *app) saveContexts(file contextFile) error {
	path, err := a.contextPath()
	if err != nil {
		return err
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".contexts-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (f *contextFile) find(name string) *serverUser {
	i := slices.IndexFunc(f.Contexts, func(c serverUser) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &f.Contexts[i]
}

// put adds or replaces a context and makes it the current one.
func (f *contextFile) put(c serverUser) {
	if old := f.find(c.Name); old != nil {
		*old = c
	} else {
		f.Contexts = append(f.Contexts, c)
		slices.SortFunc(f.Contexts, func(x, y serverUser) int { return strings.Compare(x.Name, y.Name) })
	}
	f.Current = c.Name
}

// chosenContext returns the context to use: the one that is asked for, which
// must exist, or the current one, or nil.
func (a *app) chosenContext() (*serverUser, error) {
	name := first(a.flags.context, a.env("HEROCTL_CONTEXT"))
	file, err := a.loadContexts()
	if err != nil {
		return nil, err
	}
	if name == "" {
		return file.find(file.Current), nil
	}
	found := file.find(name)
	if found == nil {
		return nil, noContext(file, name)
	}
	return found, nil
}

func noContext(file contextFile, name string) error {
	var names []string
	for _, c := range file.Contexts {
		names = append(names, c.Name)
	}
	hint := "heroctl login --context " + clean(name) + " makes it"
	if best := nearest(name, names); best != "" {
		hint = "did you mean " + best + "?"
	}
	return &failure{code: exitNotFound, text: fmt.Sprintf("there is no context %q", clean(name)), hints: []string{hint}}
}

// checkContextName parses the name of a new context.
func checkContextName(name string) error {
	if _, err := schema.ParseName(name); err != nil {
		return about("context", err)
	}
	return nil
}
