// Package servers_test builds the two programs and uses them as the local system does: as child processes, through the
// real clients, killed with kill -9 and started again.
package servers_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bin is where TestMain builds the programs.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "fanwatch-servers"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		for _, name := range []string{"temporal", "s3"} {
			build := exec.Command("go", "build", "-o", program(name), "./"+name)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

func program(name string) string { return filepath.Join(bin, "fanwatch-"+name) }

// everyServer names both programs with the arguments of a fresh state directory.
func everyServer(t *testing.T) map[string][]string {
	return map[string][]string{
		"temporal": {"--db", filepath.Join(t.TempDir(), "state", "t#1 50%.db"), "--namespace", "fanwatch"},
		"s3":       {"--dir", filepath.Join(t.TempDir(), "s3"), "--access-key-file", keyFile(t), "--bucket", "lake"},
	}
}

func TestEndsWithItsParent(t *testing.T) {
	for name, args := range everyServer(t) {
		t.Run(name, func(t *testing.T) {
			p := start(t, name, append(args, "--port", "0")...)
			p.stdin.Close()
			p.waitEnd(t)
		})
	}
}

func TestStopsOnSIGTERM(t *testing.T) {
	for name, args := range everyServer(t) {
		t.Run(name, func(t *testing.T) {
			p := start(t, name, append(args, "--port", "0")...)
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			p.waitEnd(t)
			if code := p.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit status %d, want 0; it said %s", code, p.stderr)
			}
			if more, err := io.ReadAll(p.stdout); err != nil || len(more) != 0 {
				t.Errorf("standard output holds more than the ready line: %q %v", more, err)
			}
		})
	}
}

func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for name, args := range everyServer(t) {
		t.Run(name, func(t *testing.T) {
			want := fmt.Sprintf("fanwatch-%s: %s is taken: ", name, l.Addr())
			if said := refused(t, name, append(args, "--port", port)...); !strings.HasPrefix(said, want) {
				t.Errorf("it said %q, want one line that starts with %q", said, want)
			}
		})
	}
}

func TestRefusesWhatCannotWork(t *testing.T) {
	one := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(one, []byte("onlyonelinewithasecret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"temporal", nil, "--db is missing"},
		{"temporal", []string{"--db", "x", "--retention", "1s"}, "--retention 1s is too short"},
		{"temporal", []string{"--db", "x", "--port", "70000"}, "--port 70000 is not a port"},
		{"temporal", []string{"--db", "/dev/null/x"}, "create database /dev/null/x"},
		{"s3", nil, "--dir is missing"},
		{"s3", []string{"--dir", "x"}, "--access-key-file is missing"},
		{"s3", []string{"--dir", "x", "--access-key-file", one}, "has 1 lines, not 2"},
		{"s3", []string{"--dir", "/dev/null/x", "--access-key-file", keyFile(t)}, "--dir: "},
		{"s3", []string{"--dir", t.TempDir(), "--access-key-file", keyFile(t), "--port", "0", "--bucket", "UP"},
			"bucket UP: not a bucket name"},
	} {
		said := refused(t, c.name, c.args...)
		if !strings.Contains(said, c.want) {
			t.Errorf("%s %v said %q, want %q in it", c.name, c.args, said, c.want)
		}
		if strings.Contains(said, "local/secret") || strings.Contains(said, "onlyoneline") {
			t.Errorf("%s %v told the secret: %q", c.name, c.args, said)
		}
	}
}

// process is a running child whose standard input the test holds.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr *bytes.Buffer // read it only after waitEnd
	ready  map[string]string
	ended  chan struct{}
}

// start runs a program until the test ends and returns when it is ready.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program(name), args...), stderr: &bytes.Buffer{}, ended: make(chan struct{})}
	p.cmd.Dir = t.TempDir()
	p.cmd.Stderr = p.stderr
	r, w, err := os.Pipe() // not StdoutPipe, which Wait closes under the reader
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.stdout = w, bufio.NewReader(r)
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		p.cmd.Wait() //nolint:errcheck // ProcessState tells
		close(p.ended)
	}()
	t.Cleanup(func() { p.kill(); r.Close() })

	if err := r.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	line, err := p.stdout.ReadString('\n')
	said, ok := strings.CutPrefix(line, "ready ")
	if err != nil || !ok || json.Unmarshal([]byte(said), &p.ready) != nil {
		p.kill()
		t.Fatalf("%s said %q (%v) instead of ready, and on standard error: %s", name, line, err, p.stderr)
	}
	return p
}

// kill is kill -9.
func (p *process) kill() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	<-p.ended
}

func (p *process) waitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it did not end")
	}
}

// refused runs a program that must end with status 1 and one line on standard error, which it returns.
func refused(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(name), args...)
	cmd.Dir = t.TempDir()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	stdin, err := cmd.StdinPipe() // held open: at its end the program would end too
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%s %v: %v, want exit status 1", name, args, err)
	}
	if stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("%s %v printed %q and %q, want one line on standard error", name, args, stdout.String(), stderr.String())
	}
	return stderr.String()
}

func keyFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte("AKLOCAL\nlocal/secret=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
