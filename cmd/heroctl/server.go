package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/heroctl/heroctl/gateway"
)

// serverFlags are the flags of heroctl server.
type serverFlags struct {
	config     string
	dev        bool
	dataDir    string
	listen     string
	grpcListen string
	tls        bool

	acceptMissingCheckpoint bool
}

func newServerCommand(a *app) *cobra.Command {
	var f serverFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the server",
		Long: `Run the server: with --config on an initialised cluster, or with --dev in a
temporary folder that is removed at exit, with sample policies and an admin token.

With --dev, standard output has exactly two lines once the server is ready:

	export HEROCTL_ADDR=...
	export HEROCTL_TOKEN=...`,
		Example: `  heroctl server --dev
  heroctl server --config /etc/heroctl/server.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.runServer(ctx, f)
		},
	}
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file")
	cmd.Flags().BoolVar(&f.dev, "dev", false, "everything in a temporary folder, plain HTTP on loopback")
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "", "with --dev: keep the data in this folder")
	cmd.Flags().StringVar(&f.listen, "listen", "", "REST address (default "+defaultListen+")")
	cmd.Flags().StringVar(&f.grpcListen, "grpc-listen", "", `gRPC address, or "off" (default `+defaultGRPCListen+")")
	cmd.Flags().BoolVar(&f.tls, "tls", false, "with --dev: serve TLS with a self-signed certificate")
	cmd.Flags().BoolVar(&f.acceptMissingCheckpoint, "accept-missing-checkpoint", false,
		"start although the checkpoint file beside the root key is lost; an old copy put back then goes unnoticed")
	return cmd
}

func (a *app) runServer(ctx context.Context, f serverFlags) error {
	slog.SetDefault(slog.New(slog.NewTextHandler(a.stderr, nil)))
	switch {
	case f.dev && f.config != "":
		return usageError("--dev and --config exclude each other")
	case f.dev:
		return a.runDev(ctx, f)
	case f.config == "":
		return usageError("server needs --config FILE, or --dev to try it out")
	case f.dataDir != "" || f.tls:
		return usageError("--data-dir and --tls go with --dev; the configuration file says it otherwise")
	}
	c, err := readConfig(f.config)
	if err != nil {
		return usageError(err.Error())
	}
	if err := f.override(&c); err != nil {
		return err
	}
	if _, err := c.TLS.load(); err != nil {
		return usageError(f.config + ": " + err.Error())
	}
	if err := harden(); err != nil {
		return err
	}
	c.acceptMissingCheckpoint = f.acceptMissingCheckpoint
	n, err := openNode(ctx, c)
	if err != nil {
		return err
	}
	return a.serve(ctx, n, nil)
}

// override applies the flags that outrank the configuration.
func (f *serverFlags) override(c *serverConfig) error {
	if f.listen != "" {
		c.Listen = f.listen
	}
	if f.grpcListen != "" {
		c.GRPCListen = f.grpcListen
	}
	if err := c.check(); err != nil {
		return usageError(err.Error())
	}
	return nil
}

// runDev runs a server in a folder of its own.
func (a *app) runDev(ctx context.Context, f serverFlags) error {
	dir := f.dataDir
	if dir == "" {
		temporary, err := os.MkdirTemp("", "heroctl-dev-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(temporary) }() // best effort at exit
		dir = temporary
	}
	if err := harden(); err != nil {
		return err
	}
	c := serverConfig{Node: "dev", DataDir: filepath.Join(dir, "data"), KeyFile: filepath.Join(dir, "key", "root.key")}
	if f.tls {
		var err error
		if c.TLS, err = selfSigned(filepath.Join(dir, "tls")); err != nil {
			return err
		}
	}
	c.complete(dir)
	if err := f.override(&c); err != nil {
		return err
	}
	n, fresh, err := openOrInit(ctx, c)
	if err != nil {
		return err
	}
	if fresh {
		if err := n.applySamples(ctx); err != nil {
			return errors.Join(err, n.Close())
		}
	}
	token, _, err := n.mintAdmin(ctx)
	if err != nil {
		return errors.Join(err, n.Close())
	}
	return a.serve(ctx, n, func(address string) {
		scheme := "http://"
		if f.tls {
			scheme = "https://"
			fmt.Fprintf(a.stderr, "heroctl: the certificate is self-signed; export HEROCTL_CACERT=%s\n", c.TLS.CertFile)
		}
		token.Expose(func(b []byte) {
			fmt.Fprintf(a.stdout, "export HEROCTL_ADDR=%s%s\nexport HEROCTL_TOKEN=%s\n", scheme, address, b)
		})
	})
}

func openOrInit(ctx context.Context, c serverConfig) (n *node, fresh bool, err error) {
	if _, err := os.Stat(c.KeyFile); errors.Is(err, os.ErrNotExist) {
		n, err := initNode(ctx, c)
		return n, true, err
	}
	n, err = openNode(ctx, c)
	return n, false, err
}

// serve listens until ctx ends, then lets requests under way finish and closes
// everything. ready is called with the REST address once requests are answered.
func (a *app) serve(ctx context.Context, n *node, ready func(address string)) (err error) {
	defer func() { err = errors.Join(err, n.Close()) }()
	tlsConfig, err := n.config.TLS.load()
	if err != nil {
		return err
	}
	handler, err := n.gateway.Handler()
	if err != nil {
		return err
	}
	rest, err := net.Listen("tcp", n.config.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	rest = gateway.LimitConnections(rest)
	if tlsConfig != nil {
		rest = tls.NewListener(rest, tlsConfig)
	}
	restServer := gateway.NewHTTPServer(handler)
	failed := make(chan error, 2)
	go func() { failed <- restServer.Serve(rest) }()
	grpcServer, err := n.serveGRPC(tlsConfig, failed)
	if err != nil {
		return errors.Join(err, restServer.Close())
	}
	background := n.startBackground(ctx)
	slog.Info("ready", "rest", rest.Addr().String(), "grpc", n.config.GRPCListen, "durability", n.config.Audit.Durability)
	if ready != nil {
		ready(rest.Addr().String())
	}
	select {
	case <-ctx.Done():
		slog.Info("shutting down")
	case err = <-failed:
	}
	shutdown(restServer, grpcServer)
	background()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (n *node) serveGRPC(tlsConfig *tls.Config, failed chan<- error) (*grpc.Server, error) {
	if n.config.GRPCListen == "off" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", n.config.GRPCListen)
	if err != nil {
		return nil, fmt.Errorf("listen for gRPC: %w", err)
	}
	n.config.GRPCListen = listener.Addr().String()
	var creds credentials.TransportCredentials
	if tlsConfig != nil {
		creds = credentials.NewTLS(tlsConfig)
	}
	server := n.gateway.GRPC(creds)
	go func() { failed <- server.Serve(gateway.LimitConnections(listener)) }()
	return server, nil
}

// shutdownGrace is how long requests under way may take at exit.
const shutdownGrace = 10 * time.Second

func shutdown(rest *http.Server, server *grpc.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if err := rest.Shutdown(ctx); err != nil {
		_ = rest.Close() // requests past their grace
	}
	if server == nil {
		return
	}
	done := make(chan struct{})
	go func() { server.GracefulStop(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		server.Stop()
	}
}

// sweepEvery is how often expired versions are looked for; the rest of the
// housekeeping happens once in housekeepingEvery sweeps.
const (
	sweepEvery        = time.Minute
	housekeepingEvery = 24 * 60 // in sweeps: once a day
)

// startBackground runs the server's own work until the function it returns is
// called, which waits for it.
func (n *node) startBackground(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for i := 1; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			n.tidy(ctx, i%housekeepingEvery == 0)
		}
	}()
	return func() { cancel(); <-done }
}

// tidy does one round of the server's own work; now and then the whole of it.
func (n *node) tidy(ctx context.Context, whole bool) {
	work := []func(context.Context) error{n.gateway.Sweep}
	if whole {
		work = append(work, n.gateway.SweepTokens, n.gateway.Prune)
	}
	for _, do := range work {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			slog.Error("housekeeping failed", "err", err)
		}
	}
}

// load reads the certificate, or returns nil when there is none: check has made
// sure that the listeners are on loopback then.
func (t tlsConfig) load() (*tls.Config, error) {
	if t.CertFile == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls.cert_file and tls.key_file cannot be used: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// selfSigned makes a certificate for loopback in dir, for a year.
func selfSigned(dir string) (tlsConfig, error) {
	t := tlsConfig{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return t, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return t, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return t, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "heroctl dev"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return t, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return t, err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return t, errors.Join(os.WriteFile(t.CertFile, cert, 0o600),
		os.WriteFile(t.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}
