package edge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// disk models what a power cut leaves of a directory: of what was synced everything, of what was written since anything
// at all (Pillai et al., All File Systems Are Not Created Equal, OSDI 2014).
type disk struct {
	dir     string
	rng     *rand.Rand
	durable map[string][]byte
	slots   [2][][]byte // what each slot of the cursor file ever held; nobody syncs it
}

func (d *disk) read() map[string][]byte {
	files := map[string][]byte{}
	entries, _ := os.ReadDir(d.dir)
	for _, e := range entries {
		if b, err := os.ReadFile(filepath.Join(d.dir, e.Name())); err == nil && strings.HasSuffix(e.Name(), ".seg") {
			files[e.Name()] = b
		}
	}
	return files
}

// look remembers the cursor's states.
func (d *disk) look() {
	b, err := os.ReadFile(filepath.Join(d.dir, "cursor"))
	if err != nil {
		return
	}
	for i := range d.slots {
		if from := i * cursorSlot; len(b) >= from+cursorSize {
			d.slots[i] = append(d.slots[i], bytes.Clone(b[from:from+cursorSize]))
		}
	}
}

// cut leaves one of the states that are possible.
func (d *disk) cut(t *testing.T) {
	t.Helper()
	now := d.read()
	for name, b := range d.durable {
		if _, exists := now[name]; !exists && d.rng.IntN(2) == 0 {
			now[name] = b // its removal was not synced
		}
	}
	for name, b := range now {
		synced, known := d.durable[name]
		path := filepath.Join(d.dir, name)
		if !known && d.rng.IntN(3) == 0 {
			os.Remove(path) // its name was not synced
			continue
		}
		rest := b[len(synced):]
		left := append(bytes.Clone(synced), rest[:d.rng.IntN(len(rest)+1)]...)
		switch lost := len(b) - len(left); d.rng.IntN(3) {
		case 0:
			left = append(left, make([]byte, lost)...)
		case 1:
			for range lost {
				left = append(left, byte(d.rng.Uint32()))
			}
		}
		if err := os.WriteFile(path, left, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cursor := make([]byte, cursorSlot+cursorSize)
	for i, states := range d.slots {
		if len(states) == 0 {
			continue
		}
		slot := bytes.Clone(states[d.rng.IntN(len(states))])
		if d.rng.IntN(4) == 0 { // torn, but not both: each is written after the other
			copy(slot[d.rng.IntN(len(slot)):], states[len(states)-1])
		}
		copy(cursor[i*cursorSlot:], slot)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "cursor"), cursor, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPowerCutLosesOnlyWhatWasNotSynced cuts the power at random and leaves on the disk any state that is possible:
// everything up to the last Sync comes out, in order and without a hole; behind it holes are counted as dropped.
func TestPowerCutLosesOnlyWhatWasNotSynced(t *testing.T) {
	seeds := uint64(25)
	if testing.Short() {
		seeds = 5
	}
	torn, holes := uint64(0), uint64(0)
	for seed := range seeds {
		d := &disk{dir: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 5))}
		synced, acked := map[uint64]uint64{}, map[uint64]uint64{}
		for run := uint64(1); run <= 4; run++ {
			s := open(t, SpoolConfig{Dir: d.dir, Run: run, SegmentBytes: 1500})
			d.durable = d.read() // recovery has read it, so it is there
			seq := uint64(0)
			for range 30 + d.rng.IntN(300) {
				switch d.rng.IntN(20) {
				case 0:
					if err := s.Sync(); err != nil {
						t.Fatal(err)
					}
					d.durable, synced[run] = d.read(), seq
				case 1, 2:
					if b := s.Next(1 + d.rng.IntN(15)); b != nil {
						last := b.Records[len(b.Records)-1].ReadingID
						acked[last.Run] = max(acked[last.Run], last.Seq)
						s.Ack(b)
						d.look()
					}
				default:
					seq++
					s.Append(record(seq))
				}
			}
			s.mu.Lock()
			s.closed = true
			s.release()
			s.mu.Unlock()
			d.cut(t)
		}
		s := open(t, SpoolConfig{Dir: d.dir, Run: 9})
		next, dropped := map[uint64]uint64{}, map[uint64]uint64{}
		lastRun := uint64(0)
		for b := s.Next(10); b != nil; b = s.Next(10) {
			for _, r := range b.Records {
				want := next[r.Run]
				missing := max(want, acked[r.Run]+1) // the first that may not be
				switch {
				case r.Run < lastRun || r.Seq < want:
					t.Errorf("seed %d: %v comes after run %d and number %d of its own", seed, r.ReadingID, lastRun, want-1)
				case r.Seq > missing && missing <= synced[r.Run]:
					t.Errorf("seed %d: %v follows %d, but 1..%d were synced and only 1..%d acknowledged", seed, r.ReadingID, want,
						synced[r.Run], acked[r.Run])
				case want > 0 && r.Seq > want:
					dropped[r.Run] += r.Seq - want
				}
				next[r.Run], lastRun = r.Seq+1, r.Run
			}
			if b.Dropped < dropped[lastRun] {
				t.Errorf("seed %d: run %d has holes of %d readings, the batch says %d", seed, lastRun, dropped[lastRun], b.Dropped)
			}
			s.Ack(b)
		}
		for run, n := range synced {
			if next[run] <= n && acked[run] < n {
				t.Errorf("seed %d: run %d: 1..%d were synced, 1..%d acknowledged, but the last to come was %d", seed, run, n,
					acked[run], next[run]-1)
			}
		}
		torn += s.Stats().Torn
		for _, n := range dropped {
			holes += n
		}
	}
	if torn == 0 {
		t.Error("no cut tore anything")
	}
	t.Logf("%d disks: %d bytes of damage at the last opening, %d readings lost between others", seeds, torn, holes)
}

// TestReadOnlyDiskForReal starts on a disk that is mounted read-only: readings stay in memory, it says so, and they
// go to the disk when that can be written again.
func TestReadOnlyDiskForReal(t *testing.T) {
	dir := t.TempDir()
	mount := func(args ...string) error {
		out, err := exec.Command("mount", args...).CombinedOutput()
		if err != nil {
			t.Logf("mount %v: %s", args, out)
		}
		return err
	}
	if mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", dir) != nil {
		t.Skip("cannot mount a file system here")
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	if err := mount("-o", "remount,ro", dir); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := open(t, SpoolConfig{Dir: filepath.Join(dir, "spool"), Run: 7, Log: slog.New(slog.NewTextHandler(&log, nil))})
	fill(s, 1, 50)
	st := s.Stats()
	if !strings.Contains(st.Disk, "read-only") || st.Memory != 50 || st.Failures == 0 ||
		!strings.Contains(log.String(), "stay in memory") {
		t.Fatalf("%+v\n%s", st, log.String())
	}
	s.Ack(s.Next(10))
	if s.Sync() != nil || s.Stats().Disk == "" {
		t.Error("a read-only disk became none by Sync")
	}
	if err := mount("-o", "remount,rw", dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Disk != "" || st.Memory != 0 || st.Spooled != 40 {
		t.Errorf("on a disk that can be written again: %+v", st)
	}
	fill(s, 51, 55)
	s.Close()
	s = open(t, SpoolConfig{Dir: filepath.Join(dir, "spool"), Run: 8})
	if got := drain(t, s); !reflect.DeepEqual(seqs(got), span(11, 55)) {
		t.Errorf("after a restart %v", seqs(got))
	}
}

// TestDrainKeepsToItsRate: a backlog goes out in full batches, at no more than Rate messages a second. A slow
// machine can only make it slower.
func TestDrainKeepsToItsRate(t *testing.T) {
	b := newBroker(t, newAuthority(t, "fan-01"))
	c := quick(b, t)
	c.Rate = 80
	s := open(t, SpoolConfig{Dir: t.TempDir(), Run: 7})
	const messages = 41
	fill(s, 1, 10*messages)
	began := time.Now()
	_, stop := publish(c, s)
	until(t, "the spool to drain", func() bool { return s.Stats().Spooled == 0 })
	took := time.Since(began)
	stop()
	if least := (messages - 1) * time.Second / 80; took < least || len(b.batches) != messages {
		t.Errorf("%d messages in %s, want %d in %s at least", len(b.batches), took, messages, least)
	}
}

// TestBackOffGrowsWithJitter: pauses double up to the longest, and each is somewhere in the upper half of its span,
// so that a thousand fans do not come back in the same instant.
func TestBackOffGrowsWithJitter(t *testing.T) {
	pauses := func(run uint64) (out []time.Duration) {
		c := Config{Fan: "fan-01", Broker: "127.0.0.1:1", BackoffMin: 20 * time.Millisecond,
			BackoffMax: 100 * time.Millisecond}
		c.fill()
		h := &pauseLog{}
		c.Log = slog.New(h)
		s := open(t, SpoolConfig{Dir: t.TempDir(), Run: run})
		_, stop := publish(c, s)
		until(t, "six attempts", func() bool { return len(h.seen()) >= 6 })
		stop()
		return h.seen()[:6]
	}
	first, second := pauses(1), pauses(2)
	for i, most := range []time.Duration{20, 40, 80, 100, 100, 100} {
		most *= time.Millisecond
		if first[i] < most/2 || first[i] > most {
			t.Errorf("pause %d is %s, want %s to %s", i, first[i], most/2, most)
		}
	}
	if reflect.DeepEqual(first, second) {
		t.Errorf("two publishers pause alike: %v", first)
	}
}

// pauseLog collects the pauses that the publisher logs.
type pauseLog struct {
	slog.Handler
	mu     sync.Mutex
	pauses []time.Duration
}

func (h *pauseLog) Enabled(context.Context, slog.Level) bool { return true }

func (h *pauseLog) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *pauseLog) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "pause" {
			h.pauses = append(h.pauses, a.Value.Duration())
		}
		return true
	})
	return nil
}

func (h *pauseLog) seen() []time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pauses
}

// TestAChangeOfStateIsSyncedAtOnce: what a stall looked like must not wait for the next sync.
func TestAChangeOfStateIsSyncedAtOnce(t *testing.T) {
	sim, err := NewSim(SimConfig{Faults: []Fault{{Kind: FaultStall, From: seconds(1), To: seconds(60), Severity: 1}}},
		System().Boot())
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(Config{Fan: "fan-01", Source: sim, Interval: 100 * time.Millisecond, Dir: t.TempDir(),
		Broker: "127.0.0.1:1", SyncEvery: time.Hour, Drain: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	unsynced := func() bool {
		n.spool.mu.Lock()
		defer n.spool.mu.Unlock()
		return n.spool.newNames
	}
	until(t, "the sync of the first reading", func() bool { return n.Status().Spooled > 0 && !unsynced() })
	n.spool.mu.Lock()
	n.spool.newNames = true // as if a segment had been opened since
	n.spool.mu.Unlock()
	for running := true; running; { // nothing is synced while the state stays
		if running = n.Status().Spooled < 5; !unsynced() {
			t.Fatal("synced without a change of state")
		}
	}
	until(t, "the sync of the stall", func() bool { return !unsynced() })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestALogSaysWhatMakesReadingsDoubtful: which fan, a clock that is not right and when it is, and a configuration with
// which people are told that the fan is silent.
func TestALogSaysWhatMakesReadingsDoubtful(t *testing.T) {
	var logged bytes.Buffer
	clock, right := SimulatedClock(time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)), false
	sim, err := NewSim(SimConfig{}, clock.Boot())
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(Config{Fan: "fan-07", Source: sim, Clock: clock, Synchronised: func() bool { return right },
		Dir: t.TempDir(), Broker: "127.0.0.1:1",
		FlushEvery: time.Minute, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	take, seen := n.take(), 0
	err = measure(t.Context(), n.c, n.pub.now.Load, func(r Record) error {
		if seen++; seen == 3 {
			right = true
		}
		if seen == 6 {
			return io.EOF
		}
		return take(r)
	})
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := n.spool.Close(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"the fan will be taken for silent", "flush_every 1m0s is over half of the 30s",
		"the clock of this machine is not synchronised and says 1970-01-01", "clock: synchronised"} {
		if strings.Count(logged.String(), text) != 1 {
			t.Errorf("%d times %q in %s", strings.Count(logged.String(), text), text, &logged)
		}
	}
	for line := range strings.Lines(logged.String()) {
		if !strings.Contains(line, "fan=fan-07") {
			t.Errorf("of which fan? %s", line)
		}
	}
}
