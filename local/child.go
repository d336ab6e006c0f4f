package local

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// childProcess is a server that runs as a child of this process. Its standard input is a pipe that this
// process holds: when this process ends, by kill -9 too, the child reads the end of it and exits.
type childProcess struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	addr  string // of the server, from its ready line
	ui    string // of its web page, if any
	done  chan struct{}
}

// readyWithin is how long a server may take to start.
const readyWithin = 60 * time.Second

// startChild starts the program and waits for its ready line. What the program says on standard error goes
// to logFile; its last line is part of the error when it does not become ready.
func startChild(ctx context.Context, program, logFile string, args ...string) (*childProcess, error) {
	name := program[strings.LastIndexByte(program, os.PathSeparator)+1:]
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: log file: %w", name, err)
	}
	c := &childProcess{name: name, cmd: exec.Command(program, args...), done: make(chan struct{})}
	last := &lastLine{w: log}
	c.cmd.Stderr = last
	ownGroup(c.cmd)
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		c.stdin, err = c.cmd.StdinPipe()
	}
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		_ = log.Close() // nothing was written to it
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	ready := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		if line, err := r.ReadString('\n'); err == nil {
			ready <- line
		}
		_, _ = io.Copy(io.Discard, r)
		_ = c.cmd.Wait() // how it ended stands in its log
		_ = log.Close()
		close(c.done)
	}()
	select {
	case line := <-ready:
		var says struct {
			Addr string `json:"addr"`
			UI   string `json:"ui"`
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "ready ")), &says); err != nil {
			c.kill()
			return nil, fmt.Errorf("%s said %q instead of that it is ready", name, strings.TrimSpace(line))
		}
		c.addr, c.ui = says.Addr, says.UI
		return c, nil
	case <-c.done:
		return nil, fmt.Errorf("%s", last.text(name+" ended at once"))
	case <-time.After(readyWithin):
		c.kill()
		return nil, fmt.Errorf("%s is not ready after %s; its log is %s", name, readyWithin, logFile)
	case <-ctx.Done():
		c.kill()
		return nil, ctx.Err()
	}
}

// supervised is a child that is started again, on the same ports, when it ends before stop, so that scoring and alerts
// go on when a server ends. Safe for concurrent use.
type supervised struct {
	restart func(context.Context) (*childProcess, error)
	log     *slog.Logger
	cancel  context.CancelFunc
	ended   chan struct{} // no child of this one runs any more, and none is started
}

// restartEvery is the pause before a child that ended is started again, and between two tries.
const restartEvery = time.Second

func supervise(c *childProcess, log *slog.Logger, restart func(context.Context) (*childProcess, error)) *supervised {
	ctx, cancel := context.WithCancel(context.Background()) // until stop
	s := &supervised{restart: restart, log: log, cancel: cancel, ended: make(chan struct{})}
	go s.run(ctx, c)
	return s
}

func (s *supervised) run(ctx context.Context, c *childProcess) {
	defer close(s.ended)
	for {
		select {
		case <-ctx.Done():
			c.stop()
			return
		case <-c.done:
		}
		s.log.Error("a server ended by itself and is started again", "server", c.name)
		for next := (*childProcess)(nil); next == nil; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(restartEvery):
			}
			var err error
			if next, err = s.restart(ctx); err != nil {
				s.log.Error("a server does not start again; it is tried for as long as this process runs",
					"server", c.name, "err", err)
				continue
			}
			c = next
		}
	}
}

// stop ends the child in order and keeps it from being started again.
func (s *supervised) stop() {
	s.cancel()
	<-s.ended
}

// stop ends the child in order: it is asked, and after ten seconds killed.
func (c *childProcess) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
		c.kill()
	}
}

func (c *childProcess) kill() {
	_ = c.cmd.Process.Kill() // it may have ended already
	<-c.done
}

// lastLine passes on what is written and remembers the last line. The writes of one process do not overlap.
type lastLine struct {
	mu   sync.Mutex
	w    io.Writer
	line string
}

func (l *lastLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := strings.TrimSpace(string(p)); s != "" {
		l.line = s[strings.LastIndexByte(s, '\n')+1:]
	}
	if _, err := l.w.Write(p); err != nil {
		l.w = io.Discard // the log file is closed or the disk is full: the child must not die of it
	}
	return len(p), nil
}

func (l *lastLine) text(otherwise string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line == "" {
		return otherwise
	}
	return l.line
}
