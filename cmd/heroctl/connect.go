package main

import (
	"github.com/heroctl/heroctl/gateway/client"
)

// defaultAddr is where a server of this machine listens.
const defaultAddr = "http://127.0.0.1:8420"

// settings say which server is asked and as whom.
type settings struct {
	addr      string
	token     string
	tokenFile string
	caCert    string
	context   string // the context they came from, if any
}

// settings resolves flag, environment, context file and default, in this order.
// The token of a context goes to the server of that context only: with another
// address it stays where it is.
func (a *app) settings() (settings, error) {
	s := settings{
		addr:      first(a.flags.addr, a.env("HEROCTL_ADDR")),
		tokenFile: a.flags.tokenFile,
		caCert:    first(a.flags.caCert, a.env("HEROCTL_CACERT")),
	}
	if s.tokenFile == "" {
		s.token, s.tokenFile = a.env("HEROCTL_TOKEN"), a.env("HEROCTL_TOKEN_FILE")
	}
	chosen, err := a.chosenContext()
	if err != nil {
		return settings{}, err
	}
	if chosen != nil {
		s.context = chosen.Name
		s.addr = first(s.addr, chosen.Addr)
		if s.addr == chosen.Addr {
			s.caCert = first(s.caCert, chosen.CACert)
			if s.token == "" && s.tokenFile == "" {
				s.token = chosen.Token.reveal()
			}
		}
	}
	s.addr = first(s.addr, defaultAddr)
	return s, nil
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// connect returns a client for the server, with a token.
func (a *app) connect() (*client.Client, error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	if s.token == "" && s.tokenFile == "" {
		return nil, &failure{
			code: exitUnauthenticated, text: "no token for " + clean(s.addr),
			hints: []string{"heroctl login, or set HEROCTL_TOKEN"},
		}
	}
	return a.dial(s)
}

func (a *app) dial(s settings) (*client.Client, error) {
	c, err := client.Dial(client.Config{
		Addr: s.addr, Token: s.token, TokenFile: s.tokenFile, CACert: s.caCert,
		UserAgent: "heroctl/" + version(), InsecurePlaintext: a.flags.insecurePlaintext,
	})
	if err != nil {
		return nil, about("server "+clean(s.addr), err)
	}
	return c, nil
}

// with connects, makes a call and says what it was about when it fails.
func (a *app) with(subject string, call func(*client.Client) error) error {
	if _, err := a.format(); err != nil {
		return err // before anything happens, not after
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return about(subject, call(c))
}

// eachPage asks for page after page until the last.
func eachPage(page func(token string) (next string, err error)) error {
	for token := ""; ; {
		next, err := page(token)
		if err != nil || next == "" {
			return err
		}
		token = next
	}
}
