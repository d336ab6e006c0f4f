//go:build unix

package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"fanwatch/edge"
	"fanwatch/failpoint"
)

// role says which child this process is, setting what it is to do.
const (
	role    = "FANWATCH_TORTURE_ROLE"
	setting = "FANWATCH_TORTURE_SETTING"
)

// node is the setting of one fan of the publisher.
type node struct {
	Fan, Dir string
	identity
}

// publish is the publisher's process: several fans, as on one Raspberry Pi. On standard output it says "FAN RUN N" when
// N readings of a run have been completed.
func publish() int {
	var nodes []node
	if err := json.Unmarshal([]byte(os.Getenv(setting)), &nodes); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var running sync.WaitGroup
	for i, n := range nodes {
		running.Go(func() {
			if err := n.run(ctx, uint64(i)); err != nil {
				fmt.Fprintln(os.Stderr, n.Fan, err)
				os.Exit(1)
			}
		})
	}
	running.Wait()
	return 0
}

func (n node) run(ctx context.Context, seed uint64) error {
	tls, err := edge.TLSConfig(n.CA, n.Cert, n.Key, nil)
	if err != nil {
		return err
	}
	sim, err := edge.NewSim(edge.SimConfig{Seed: seed}, edge.System().Boot())
	if err != nil {
		return err
	}
	truth := &truthful{Source: sim, fan: n.Fan}
	e, err := edge.New(edge.Config{Fan: n.Fan, Source: truth, Interval: 100 * time.Millisecond, Dir: n.Dir,
		Broker: n.Broker, TLS: tls, Topic: n.Topic,
		FlushEvery: 50 * time.Millisecond, // most readings travel alone, so that there is always something in flight
		BackoffMin: 20 * time.Millisecond, BackoffMax: 300 * time.Millisecond, AckTimeout: 3 * time.Second,
		ConnectTimeout: 3 * time.Second, Drain: 30 * time.Second})
	if err != nil {
		return err
	}
	truth.run = e.Status().Run
	truth.say()
	connected, end := context.WithCancel(context.Background())
	go func() {
		<-ctx.Done()
		// who has no connection when it ends leaves its readings to its next life, and this is the last
		for !e.Status().Connected {
			time.Sleep(5 * time.Millisecond)
		}
		end()
	}()
	err = e.Run(connected)
	if left := e.Status().Spooled; left > 0 {
		fmt.Fprintf(os.Stderr, "%s ends with %d readings in its spool\n", n.Fan, left)
	}
	return err
}

// truthful tells how many readings are complete: edge asks for a window's edges only after the reading before has been
// appended to the spool.
type truthful struct {
	edge.Source
	fan   string
	run   uint64
	calls int
}

func (s *truthful) Edges(now time.Duration, emit func(edge.Edge)) error {
	if s.calls++; s.calls > 1 {
		s.say()
	}
	return s.Source.Edges(now, emit)
}

func (s *truthful) say() {
	fmt.Fprintf(os.Stdout, "%s %d %d\n", s.fan, s.run, max(s.calls, 1)-1)
}

// publisher is that process as the test sees it.
type publisher struct {
	t       *testing.T
	setting string

	cmd    *exec.Cmd
	spoke  chan struct{} // closed when it has said something: it is up
	exited chan struct{} // closed when it is gone and its output read

	mu    sync.Mutex
	done  map[run]uint64
	order map[string][]uint64
}

func newPublisher(t *testing.T, b broker) *publisher {
	dir := t.TempDir()
	var nodes []node
	for i := range fans {
		fan := fmt.Sprintf("fan-%d", i)
		nodes = append(nodes, node{Fan: fan, Dir: filepath.Join(dir, fan), identity: b.identity(fan)})
	}
	text, err := json.Marshal(nodes)
	if err != nil {
		t.Fatal(err)
	}
	p := &publisher{t: t, setting: string(text), done: map[run]uint64{}, order: map[string][]uint64{}}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
		}
	})
	return p
}

// start begins another life, with failpoints armed.
func (p *publisher) start(failpoints string) {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), role+"=publisher", setting+"="+p.setting, failpoint.Environment+"="+failpoints)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	cmd, spoke, exited := p.cmd, make(chan struct{}), make(chan struct{})
	p.spoke, p.exited = spoke, exited
	go func() {
		p.listen(out, sync.OnceFunc(func() { close(spoke) }))
		_ = cmd.Wait() // killed: that it ended badly is the purpose
		close(exited)
	}()
}

func (p *publisher) listen(out io.Reader, spoke func()) {
	for lines := bufio.NewScanner(out); lines.Scan(); spoke() {
		var r run
		var n uint64
		if _, err := fmt.Sscan(lines.Text(), &r.Fan, &r.Run, &n); err != nil {
			continue // the line in which it was killed
		}
		p.mu.Lock()
		if _, known := p.done[r]; !known {
			p.order[r.Fan] = append(p.order[r.Fan], r.Run)
		}
		p.done[r] = n
		p.mu.Unlock()
	}
}

func (p *publisher) kill() {
	_ = p.cmd.Process.Kill() // it may have ended itself at a failpoint
	<-p.exited
}

func (p *publisher) waitForDeath(patience time.Duration) {
	select {
	case <-p.exited:
	case <-time.After(patience): // it never came by its failpoint
		p.kill()
	}
}

// finish lets the publisher empty its spool and end in order.
func (p *publisher) finish() {
	p.t.Helper()
	select {
	case <-p.spoke: // before it is up SIGTERM would kill it
	case <-p.exited:
	case <-time.After(60 * time.Second):
		p.t.Fatal("the publisher does not come up")
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(60 * time.Second):
		p.t.Error("the publisher does not end")
		p.kill()
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("the publisher ended with status %d", code)
	}
}

func (p *publisher) truth() (map[run]uint64, map[string][]uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	order := map[string][]uint64{}
	for fan, runs := range p.order {
		order[fan] = slices.Clone(runs)
	}
	return maps.Clone(p.done), order
}
