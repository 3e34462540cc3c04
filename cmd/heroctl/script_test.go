package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run this very binary as heroctl.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"heroctl": func() { os.Exit(main1(os.Args[1:]...)) },
	})
}

// TestOffline runs the scripts that need no server.
func TestOffline(t *testing.T) { runScripts(t, "testdata/script/offline") }

// TestOnline runs the scripts that talk to a real server of their own.
func TestOnline(t *testing.T) { runScripts(t, "testdata/script/online") }

// runScripts runs a folder of scripts. Besides testscript's own commands they
// have:
//
//	serve [FLAGS]        start heroctl server --dev, and do what its two lines say;
//	                     $GRPC_ADDR is its other address
//	stop                 stop that server, which must end well
//	fails CODE COMMAND   run a command that must end with this exit code
//	keep VAR             keep what the last command wrote to stdout, as $VAR
func runScripts(t *testing.T, dir string) {
	if found, _ := filepath.Glob(filepath.Join(dir, "*.txtar")); len(found) == 0 {
		t.Fatalf("there are no scripts in %s", dir)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			examples, err := filepath.Abs("../../examples")
			e.Setenv("EXAMPLES", examples)
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Values[serverKey{}] = &devServer{}
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": cmdServe, "stop": cmdStop, "fails": cmdFails, "keep": cmdKeep,
		},
	})
}

// devServer is the server of one script, kept under serverKey.
type devServer struct {
	cmd  *exec.Cmd
	done chan error
}

type serverKey struct{}

func cmdServe(ts *testscript.TestScript, _ bool, args []string) {
	binary, err := exec.LookPath("heroctl")
	ts.Check(err)
	log, err := os.Create(ts.MkAbs("server.log"))
	ts.Check(err)
	defer log.Close()
	cmd := exec.Command(binary, append([]string{"server", "--dev", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"}, args...)...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=/no-home", "TMPDIR=" + ts.Getenv("TMPDIR")}
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	lines := make(chan string, 2)
	s := ts.Value(serverKey{}).(*devServer)
	s.cmd, s.done = cmd, make(chan error, 1)
	done := s.done // serve may run again
	go func() {
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			lines <- scanner.Text()
		}
		close(lines)
		done <- cmd.Wait()
	}()
	ts.Defer(func() { _ = cmd.Process.Kill() }) // one that was stopped is gone already
	for _, name := range []string{"HEROCTL_ADDR", "HEROCTL_TOKEN"} {
		select {
		case line, ok := <-lines:
			value, found := strings.CutPrefix(line, "export "+name+"=")
			if !ok || !found {
				ts.Fatalf("the server wrote %q instead of export %s=…; it said:\n%s", line, name, ts.ReadFile("server.log"))
			}
			ts.Setenv(name, value)
		case <-time.After(30 * time.Second):
			ts.Fatalf("the server is not ready after 30 s; it said:\n%s", ts.ReadFile("server.log"))
		}
	}
	_, addr, _ := strings.Cut(ts.ReadFile("server.log"), " grpc=")
	addr, _, _ = strings.Cut(addr, " ")
	ts.Setenv("GRPC_ADDR", "grpc://"+addr)
}

func cmdStop(ts *testscript.TestScript, _ bool, _ []string) {
	s := ts.Value(serverKey{}).(*devServer)
	if s.cmd == nil {
		ts.Fatalf("there is no server to stop")
	}
	ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-s.done:
		if err != nil {
			ts.Fatalf("the server ended with %v; it said:\n%s", err, ts.ReadFile("server.log"))
		}
	case <-time.After(20 * time.Second):
		ts.Fatalf("the server does not stop")
	}
}

func cmdFails(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: fails CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		ts.Fatalf("it succeeded; want exit code %d", want)
	case !errors.As(err, &exit):
		ts.Fatalf("%v", err)
	case exit.ExitCode() != want:
		ts.Fatalf("exit code %d; want %d", exit.ExitCode(), want)
	}
}

func cmdKeep(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: keep VAR")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}
