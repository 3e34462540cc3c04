package client

import (
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/heroctl/heroctl/schema/fault"
	"github.com/heroctl/heroctl/schema/secret"
)

// target is a checked address.
type target struct {
	host string // host or host:port, as in a URL
	grpc bool
	tls  bool
}

// parseTarget reads an address. It refuses what would be ignored silently, such
// as a path, and plain text to another host, which would show the token to
// everyone on the way.
func parseTarget(addr string, insecure bool) (target, error) {
	const want = "write it as http://, https://, grpc:// or grpcs:// with a host and a port"
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return target{}, fault.New(fault.InvalidArgument, "the server address cannot be read; "+want)
	}
	if u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return target{}, fault.New(fault.InvalidArgument, "the server address has more than a host and a port; "+want)
	}
	t := target{host: u.Host}
	switch u.Scheme {
	case "http":
	case "https":
		t.tls = true
	case "grpc":
		t.grpc = true
	case "grpcs":
		t.grpc, t.tls = true, true
	default:
		return target{}, fault.New(fault.InvalidArgument, "the server address has an unknown scheme; "+want)
	}
	if !t.tls && !insecure && !isLoopback(u.Hostname()) {
		return target{}, fault.Newf(fault.InvalidArgument,
			"%s sends the token in plain text to another host; use %ss", u.Scheme, u.Scheme)
	}
	return t, nil
}

// isLoopback reports whether a host is this one. Of names, only "localhost" is:
// looking others up would trust whoever answers.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// grpcAddr returns the host with a port, as gRPC wants it.
func (t target) grpcAddr() string {
	if _, _, err := net.SplitHostPort(t.host); err == nil {
		return t.host
	}
	return net.JoinHostPort(strings.Trim(t.host, "[]"), "8421")
}

func loadRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(fault.InvalidArgument, "the CA certificate file cannot be read", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.InvalidArgument, "the CA certificate file holds no PEM certificate")
	}
	return pool, nil
}

func loadToken(c Config) (secret.Value, error) {
	if c.Token != "" || c.TokenFile == "" {
		return checkToken([]byte(c.Token))
	}
	raw, err := ReadPrivateFile(c.TokenFile, "token file")
	if errors.Is(err, fault.NotFound) { // a wrong setting, not an answer about what was asked
		return secret.Value{}, fault.Wrap(fault.InvalidArgument, "the token file does not exist", nil)
	}
	if err != nil {
		return secret.Value{}, err
	}
	return checkToken([]byte(strings.TrimSpace(string(raw))))
}

// checkToken refuses bytes that could not stand in a header.
func checkToken(token []byte) (secret.Value, error) {
	for _, c := range token {
		if c <= ' ' || c > '~' {
			return secret.Value{}, fault.New(fault.InvalidArgument, "the token has a space or a character outside ASCII")
		}
	}
	return secret.New(token), nil
}
