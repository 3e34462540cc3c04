package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/heroctl/heroctl/schema"
)

// serverConfig is the server's configuration file, in YAML. Unknown keys are
// errors. Relative paths are relative to the file's folder.
type serverConfig struct {
	// Node names this server in records and status; the host's name if empty.
	Node string `yaml:"node"`
	// DataDir holds the store and the trail. Only the server may read it.
	DataDir string `yaml:"data_dir"`
	// KeyFile is the root key. It lies outside DataDir; beside it the server
	// keeps the trail's latest signed checkpoint.
	KeyFile string `yaml:"key_file"`
	// Listen is the REST address; 127.0.0.1:8420 if empty.
	Listen string `yaml:"listen"`
	// GRPCListen is the gRPC address; 127.0.0.1:8421 if empty, "off" for none.
	GRPCListen string    `yaml:"grpc_listen"`
	TLS        tlsConfig `yaml:"tls"`
	// TrustedProxies are networks, such as 10.0.0.0/8, whose X-Forwarded-For is
	// believed.
	TrustedProxies []string       `yaml:"trusted_proxies"`
	Audit          auditConfig    `yaml:"audit"`
	Versions       versionsConfig `yaml:"versions"`
	Limits         limitsConfig   `yaml:"limits"`
	// GRPCReflection offers the schema to gRPC clients without a token.
	GRPCReflection bool `yaml:"grpc_reflection"`

	acceptMissingCheckpoint bool // from a flag, for one start
}

// checkpoint is where the trail's latest signed checkpoint is kept.
func (c *serverConfig) checkpoint() string { return c.KeyFile + ".checkpoint" }

// tlsConfig names the certificate of both listeners. Without one they must be on
// loopback.
type tlsConfig struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

type auditConfig struct {
	// Durability is "strict" (the default: a record is on disk before the
	// answer) or "kernel" (handed to the kernel before the answer, on disk
	// within 10 ms).
	Durability string `yaml:"durability"`
}

type versionsConfig struct {
	// Window is how long a superseded version stays, such as 7d or 36h; 7d if
	// empty.
	Window string `yaml:"window"`
}

type limitsConfig struct {
	// RequestsPerSecond bounds the requests of one client address; 0 for any
	// number.
	RequestsPerSecond float64 `yaml:"requests_per_second"`
}

// Addresses when the configuration names none.
const (
	defaultListen     = "127.0.0.1:8420"
	defaultGRPCListen = "127.0.0.1:8421"
)

// readConfig reads, completes and checks a configuration file.
func readConfig(path string) (serverConfig, error) {
	var c serverConfig
	text, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil {
		return c, fmt.Errorf("%s: %s", path, plainYAML(err))
	}
	if err := decoder.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("%s: one document is allowed; remove what follows the second ---", path)
	}
	c.complete(filepath.Dir(path))
	if err := c.check(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// plainYAML turns the decoder's message into one that speaks of keys, not of Go
// types.
func plainYAML(err error) string {
	if errors.Is(err, io.EOF) {
		return "the file is empty; data_dir and key_file are needed"
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = strings.TrimPrefix(text, "unmarshal errors:\n  ")
	for _, kind := range []string{"serverConfig", "tlsConfig", "auditConfig", "versionsConfig", "limitsConfig"} {
		text = strings.ReplaceAll(text, " not found in type main."+kind, " is not a key of the configuration")
	}
	return wrongKind.ReplaceAllString(text, "the value is of the wrong kind")
}

// wrongKind is how the decoder speaks of a list where a word should be.
var wrongKind = regexp.MustCompile("cannot unmarshal !!\\w+( `[^\n]*`)? into \\S+")

// complete fills in defaults and makes paths absolute.
func (c *serverConfig) complete(folder string) {
	for _, p := range []*string{&c.DataDir, &c.KeyFile, &c.TLS.CertFile, &c.TLS.KeyFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
		if absolute, err := filepath.Abs(*p); *p != "" && err == nil {
			*p = absolute
		}
	}
	if c.Node == "" {
		c.Node, _ = os.Hostname()
	}
	if c.Node == "" {
		c.Node = "heroctl"
	}
	setDefault(&c.Listen, defaultListen)
	setDefault(&c.GRPCListen, defaultGRPCListen)
	setDefault(&c.Audit.Durability, "strict")
	setDefault(&c.Versions.Window, "7d")
}

func setDefault(p *string, value string) {
	if *p == "" {
		*p = value
	}
}

// check protects against a server that would start less safe than it was meant
// to be.
func (c *serverConfig) check() error {
	if c.DataDir == "" {
		return errors.New("data_dir is needed: the folder for the store and the trail")
	}
	if c.KeyFile == "" {
		return errors.New("key_file is needed: the root key's file, outside data_dir")
	}
	if err := keyOutsideData(c.KeyFile, c.DataDir); err != nil {
		return err
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return errors.New("tls needs both cert_file and key_file")
	}
	if problem := schema.CheckSegment(c.Node); problem != "" {
		return errors.New("node, or the host's name if there is none, " + problem)
	}
	if err := c.checkListen("listen", c.Listen); err != nil {
		return err
	}
	if c.GRPCListen != "off" {
		if err := c.checkListen("grpc_listen", c.GRPCListen); err != nil {
			return err
		}
	}
	if c.Audit.Durability != "strict" && c.Audit.Durability != "kernel" {
		return errors.New("audit.durability is strict or kernel")
	}
	if rate := c.Limits.RequestsPerSecond; !(rate >= 0 && rate <= math.MaxInt32) { // a comparison with NaN is false
		return errors.New("limits.requests_per_second is 0 (any number) or more")
	}
	if _, err := c.window(); err != nil {
		return err
	}
	_, err := c.proxies()
	return err
}

// keyOutsideData refuses a root key inside the folder it protects: one stolen
// copy would hold both. Links are followed.
func keyOutsideData(key, data string) error {
	resolve := func(p string) string {
		if r, err := filepath.EvalSymlinks(p); err == nil {
			return r
		}
		return p
	}
	key, data = filepath.Join(resolve(filepath.Dir(key)), filepath.Base(key)), resolve(data)
	rel, err := filepath.Rel(data, key)
	if err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return errors.New("key_file lies inside data_dir; move it out, so that a copy of the data does not hold its key")
	}
	return nil
}

func (c *serverConfig) checkListen(key, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s is host:port, such as %s", key, defaultListen)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%s needs a port from 0 to 65535; 0 picks a free one", key)
	}
	if c.TLS.CertFile == "" && !isLoopback(host) {
		return fmt.Errorf("%s is not on loopback and needs tls: cert_file and key_file; without them use 127.0.0.1", key)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func (c *serverConfig) window() (time.Duration, error) {
	d, err := parseDuration(c.Versions.Window)
	if err != nil || d <= 0 {
		return 0, errors.New("versions.window is a time greater than zero, such as 7d or 36h")
	}
	return d, nil
}

func (c *serverConfig) proxies() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for i, text := range c.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("trusted_proxies, entry %d: write a network such as 10.0.0.0/8 or 10.1.2.3/32", i+1)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}
