//go:build unix

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanwatch/edge"
)

// listener is the service manager's end.
type listener struct{ *net.UnixConn }

func newListener(t *testing.T) (listener, manager) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	env := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "150000", "WATCHDOG_PID": strconv.Itoa(os.Getpid())}
	m, err := serviceManager(func(name string) string { return env[name] })
	must(t, err)
	return listener{conn}, m
}

func (l listener) hear(t *testing.T) string {
	t.Helper()
	b := make([]byte, 4096)
	must(t, l.SetReadDeadline(time.Now().Add(30*time.Second)))
	n, err := l.Read(b)
	must(t, err)
	return string(b[:n])
}

// stoppable is a source that can stand still, as a driver that hangs does.
type stoppable struct {
	edge.Source
	still atomic.Bool
	free  chan struct{}
}

func (s *stoppable) Edges(now time.Duration, emit func(edge.Edge)) error {
	if s.still.Load() {
		<-s.free
		return errors.New("freed")
	}
	return s.Source.Edges(now, emit)
}

// TestWatchdogIsFedWhileReadingsAreMade: READY when it measures, WATCHDOG as long as it does and no longer, STATUS
// throughout; a broker that nobody can reach is no reason to be restarted.
func TestWatchdogIsFedWhileReadingsAreMade(t *testing.T) {
	l, m := newListener(t)
	sim, err := edge.NewSim(edge.SimConfig{}, edge.System().Boot())
	must(t, err)
	s := &stoppable{Source: sim, free: make(chan struct{})}
	const interval = 100 * time.Millisecond
	n, err := edge.New(edge.Config{Fan: "fan-21", Source: s, Interval: interval, Dir: t.TempDir(), Broker: "127.0.0.1:1",
		Drain: -1})
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- m.supervise(context.Background(), []*edge.Node{n}) }()
	if first := l.hear(t); !strings.HasPrefix(first, "READY=1\nSTATUS=fan-21: 0 readings acknowledged") {
		t.Errorf("first it says %q", first)
	}
	for range 5 {
		for !strings.HasPrefix(l.hear(t), "WATCHDOG=1\nSTATUS=") { // one at the latest is the test's deadline
		}
	}
	for !strings.Contains(l.hear(t), "not connected: connect") {
	}
	s.still.Store(true)
	for strings.Contains(l.hear(t), "WATCHDOG=1") { // the intervals that it still waits for a reading
	}
	for range 5 {
		if said := l.hear(t); strings.Contains(said, "WATCHDOG") {
			t.Errorf("no reading is made, and it says %q", said)
		}
	}
	close(s.free)
	if err := <-done; err == nil || !strings.Contains(err.Error(), "freed") {
		t.Errorf("ended with %v", err)
	}
}

func TestServiceManagerOfTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		env      map[string]string
		watchdog time.Duration
		wrong    bool
	}{
		{map[string]string{}, 0, false},
		{map[string]string{"WATCHDOG_USEC": "1000"}, 0, false}, // nobody listens
		{map[string]string{"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1000"}, time.Millisecond, false},
		// another process's
		{map[string]string{"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, 0, false},
		{map[string]string{"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "soon"}, 0, true},
		{map[string]string{"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "-1"}, 0, true},
	} {
		m, err := serviceManager(func(name string) string { return c.env[name] })
		if m.watchdog != c.watchdog || (err != nil) != c.wrong {
			t.Errorf("%v: %+v, %v", c.env, m, err)
		}
	}
	if err := (manager{}).tell("READY=1"); err != nil {
		t.Errorf("without a manager: %v", err)
	}
	if err := (manager{socket: "/nowhere/notify"}).tell("READY=1"); err == nil {
		t.Error("a manager that is not there was told")
	}
}
