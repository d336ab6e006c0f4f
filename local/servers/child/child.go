// Package child is what the local system's child processes have in common: how they say that they are ready, and how
// they end.
//
// A child lives no longer than its parent. The parent holds the write end of the child's standard input and never
// writes to it; when the parent ends, by kill -9 too, the operating system closes that pipe, the child reads EOF and
// exits at once. This works the same on every operating system, unlike a parent-death signal or a process group. So a
// child started with its standard input closed or on /dev/null ends at once, which is right: no parent holds it.
package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"go.temporal.io/server/common/testing/freeport"
)

// stopLimit is how long a clean stop may take after SIGTERM before the process exits anyway. Both servers keep what
// they acknowledged on disk, so an unclean exit loses nothing.
const stopLimit = 5 * time.Second

// claimWait is how long Claim waits for a taken port: a predecessor whose parent was killed a moment ago may still be
// letting go of it.
const claimWait = 2 * time.Second

// Main runs one child program and returns only when run has returned nil. run works until ctx ends, which SIGTERM and
// SIGINT bring about, and calls ready once when the server answers: the value is printed as one line,
// `ready {"addr":...}`, the only one on standard output. An error ends the process with one line
// on standard error and status 1.
func Main(name string, run func(ctx context.Context, ready func(any) error) error) {
	// Libraries print banners to os.Stdout, and the parent reads nothing there but the ready line.
	stdout := os.Stdout
	os.Stdout = os.Stderr

	go exitWithParent(os.Stdin)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(stopLimit, func() { os.Exit(0) }) })

	err := run(ctx, func(v any) error {
		line, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("ready line: %w", err)
		}
		_, err = fmt.Fprintf(stdout, "ready %s\n", line)
		return err
	})
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Claim returns the loopback port to listen on: port itself, or a free one for 0. flag names the command-line flag that
// chooses it, for the error message. The port is not held: the servers open their own listeners, so a stranger can
// still take it in between, and then the server itself fails.
func Claim(ctx context.Context, flag string, port int) (int, error) {
	if port < 0 || port > 65535 {
		return 0, fmt.Errorf("--%s %d is not a port: give 0 (any free one) to 65535", flag, port)
	}
	if port == 0 {
		return freeport.MustGetFreePort(), nil // panics only where loopback has no free port at all
	}
	addr := Addr(port)
	for deadline := time.Now().Add(claimWait); ; {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			return port, l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return 0, fmt.Errorf("cannot listen on %s: %w; choose another port with --%s", addr, err, flag)
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("%s is taken: another program listens there; stop it, or choose another with --%s (of "+
				"fanwatch-local: --ports free)", addr, flag)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Addr is the loopback address of a port. Nothing here ever listens on another interface.
func Addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// SyncDir returns when the entries of a directory (files created, renamed or removed in it) are on the disk. Windows
// cannot sync a directory; there it does nothing. It is fanwatch/internal/durable's, which this module cannot import
// without requiring the whole of fanwatch.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// exitWithParent ends the process when stdin does, whatever else it is doing.
func exitWithParent(stdin io.Reader) {
	_, _ = io.Copy(io.Discard, stdin) // an error means the same as EOF: nothing holds the other end
	os.Exit(0)
}
