//go:build linux

package edge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

// These tests speak to the kernel's GPIO character device. Their line is one of gpio-sim's, which needs
// root and kernel modules that distributions do not ship: go tool task test:gpio runs them in a virtual
// machine with Debian's kernel.

// simLine is a line of a chip simulated by the kernel (Documentation/admin-guide/gpio/gpio-sim.rst): its
// pull is what the open-drain output of a fan does.
type simLine struct {
	t     *testing.T
	pull  *os.File
	first bracket // of the first pulse since mark
	last  bracket // of the last
	n     int     // pulses since mark
}

// bracket is between which readings of the kernel's clock an edge was made.
type bracket struct{ after, before time.Duration }

// newSimLine makes a chip with the label "fanwatch-sim", whose line 1 is named TACHO.
func newSimLine(t *testing.T) *simLine {
	t.Helper()
	if os.Getenv("FANWATCH_GPIO_SIM") == "" {
		t.Skip("needs the kernel's gpio-sim: go tool task test:gpio runs this in a virtual machine")
	}
	dir := "/sys/kernel/config/gpio-sim/fanwatch"
	bank, line := filepath.Join(dir, "bank"), filepath.Join(dir, "bank", "line1")
	if err := os.MkdirAll(line, 0o755); err != nil {
		t.Fatal(err)
	}
	set := func(path, value string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	set(filepath.Join(bank, "num_lines"), "4")
	set(filepath.Join(bank, "label"), "fanwatch-sim")
	set(filepath.Join(line, "name"), "TACHO")
	set(filepath.Join(dir, "live"), "1")
	get := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	pull, err := os.OpenFile(filepath.Join("/sys/devices/platform", get(filepath.Join(dir, "dev_name")),
		get(filepath.Join(bank, "chip_name")), "sim_gpio1/pull"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pull.Close()
		set(filepath.Join(dir, "live"), "0")
		for _, d := range []string{line, bank, dir} {
			if err := os.Remove(d); err != nil {
				t.Error(err)
			}
		}
	})
	return &simLine{t: t, pull: pull}
}

// open requests the line as the configuration would.
func (l *simLine) open() *GPIO {
	l.t.Helper()
	g, err := OpenGPIO(GPIOConfig{Chip: "fanwatch-sim", Line: "TACHO"})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { g.Close() })
	return g
}

// pulse pulls the line down, which is the edge that counts, and lets it up again.
func (l *simLine) pulse() {
	at := bracket{after: sinceBoot()}
	l.set("pull-down")
	at.before = sinceBoot()
	l.set("pull-up")
	if l.n++; l.n == 1 {
		l.first = at
	}
	l.last = at
}

func (l *simLine) set(pull string) {
	if _, err := l.pull.WriteAt([]byte(pull), 0); err != nil {
		l.t.Fatal(err)
	}
}

// pulses returns n pulses, one each period, and says when each was made. After a pulse that the machine made late the
// next ones are late too, as a rotor's are: made up for, they would come so fast that they are taken for glitches.
func (l *simLine) pulses(n int, period time.Duration) (made []bracket) {
	next := sinceBoot()
	for range n {
		l.pulse()
		made = append(made, l.last)
		next = max(next, l.last.after-period/4) + period
		time.Sleep(next - sinceBoot())
	}
	return made
}

// mark begins a count at the last pulse.
func (l *simLine) mark() { l.first, l.n = l.last, 1 }

// rpm returns the limits of the speed since mark, at p pulses per revolution, by the brackets of the first
// and the last pulse: no tolerance beyond what is known of when the pulses were made.
func (l *simLine) rpm(p float64) (low, high float64) {
	n := float64(l.n - 1)
	return 60 * n / p / (l.last.before - l.first.after).Seconds(), 60 * n / p / (l.last.after - l.first.before).Seconds()
}

// settled returns the edges that g has taken once there are n of them.
func settled(t *testing.T, g *GPIO, n int) []Edge {
	t.Helper()
	var edges []Edge
	until(t, fmt.Sprintf("%d edges", n), func() bool {
		if err := g.Edges(sinceBoot(), func(e Edge) { edges = append(edges, e) }); err != nil {
			t.Fatal(err)
		}
		return len(edges) >= n
	})
	return edges
}

// TestKernelEdgesAreExact: at 40 to 500 pulses a second every edge arrives, numbered without a gap and
// stamped between the times before and after it was made, and the reading's speed is that of the pulses.
func TestKernelEdgesAreExact(t *testing.T) {
	for _, hz := range []int{40, 100, 250, 500} {
		t.Run(fmt.Sprintf("%dHz", hz), func(t *testing.T) {
			l := newSimLine(t)
			g := l.open()
			made := l.pulses(hz, time.Second/time.Duration(hz))
			edges := settled(t, g, hz)
			if len(edges) != hz {
				t.Fatalf("%d pulses gave %d edges", hz, len(edges))
			}
			tach := NewTach(TachConfig{})
			for i, e := range edges {
				if e.At < made[i].after || e.At > made[i].before {
					t.Errorf("edge %d stamped %s, made between %s and %s", i, e.At, made[i].after, made[i].before)
				}
				if e.Seq != edges[0].Seq+uint32(i) {
					t.Errorf("edge %d has number %d after %d", i, e.Seq, edges[0].Seq)
				}
				tach.Observe(e)
			}
			low, high := l.rpm(2)
			r := tach.Window(edges[hz-1].At)
			if r.State != fanwatch.StateRunning || r.RPM < low-0.001 || r.RPM > high+0.001 || int(r.Edges) != hz ||
				r.Glitch != 0 || r.Lost != 0 {
				t.Errorf("reading %+v, want %.3f to %.3f RPM", r, low, high)
			}
			t.Logf("%d edges, %.2f RPM within %.2f..%.2f", len(edges), r.RPM, low, high)
		})
	}
}

// TestKernelDropsAreSeenByLineSequence: while nobody takes edges the kernel keeps the last 1024 and drops
// the rest; the gap in the line's numbers tells how many, and the speed stays right.
func TestKernelDropsAreSeenByLineSequence(t *testing.T) {
	l := newSimLine(t)
	g := l.open()
	tach := NewTach(TachConfig{})
	l.pulses(20, 2*time.Millisecond)
	for _, e := range settled(t, g, 20) {
		tach.Observe(e)
	}
	tach.Window(sinceBoot())
	l.mark()
	const pulses = 3000
	g.mu.Lock() // whoever takes edges waits here, as on a machine that is too busy
	l.pulses(pulses, 2*time.Millisecond)
	g.mu.Unlock()
	until(t, "the last edge", func() bool {
		if err := g.Edges(sinceBoot(), tach.Observe); err != nil {
			t.Fatal(err)
		}
		return tach.last.At >= l.last.after
	})
	r := tach.Window(tach.last.At)
	low, high := l.rpm(2)
	if r.Edges < edgeBuffer || r.Lost == 0 || r.Edges+r.Lost != pulses || r.RPM < low-0.001 || r.RPM > high+0.001 {
		t.Errorf("reading %+v of %d pulses, want %.3f to %.3f RPM", r, pulses, low, high)
	}
	t.Logf("%d pulses, %d edges, %d dropped by the kernel, %.2f RPM within %.2f..%.2f", pulses, r.Edges, r.Lost, r.RPM,
		low, high)
}

// TestKernelStall: a line that falls silent is running until 60/(p MinRPM) seconds have passed, stalled
// from then on, and running again with the next pulses.
func TestKernelStall(t *testing.T) {
	l := newSimLine(t)
	const stall = 500 * time.Millisecond
	c := Config{Fan: "fan-01", Source: l.open(), Interval: 100 * time.Millisecond, TachConfig: TachConfig{MinRPM: 60}}
	c.fill()
	records := make(chan Record, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- Measure(ctx, c, func(r Record) error { records <- r; return nil })
	}()
	next := func(state fanwatch.State) Record {
		for end := time.After(30 * time.Second); ; {
			select {
			case r := <-records:
				if r.State == state {
					return r
				}
			case <-end:
				t.Fatalf("no reading is %s", state)
			}
		}
	}
	next(fanwatch.StateNoSignal)
	l.pulses(50, 10*time.Millisecond)
	next(fanwatch.StateRunning)
	r := next(fanwatch.StateStalled)
	if idle := r.Boot - l.last.after; idle < stall || r.RPM != 0 {
		t.Errorf("stalled %s after the last pulse, at %g RPM", idle, r.RPM)
	}
	l.pulses(50, 10*time.Millisecond)
	if r := next(fanwatch.StateRunning); r.RPM <= 0 {
		t.Errorf("runs again at %g RPM", r.RPM)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestKernelGlitch: an extra edge shortly after every tenth pulse is counted as a glitch, and the speed
// is that of the pulses.
func TestKernelGlitch(t *testing.T) {
	l := newSimLine(t)
	g := l.open()
	const pulses, every, period = 100, 10, 20 * time.Millisecond
	l.pulses(10, period) // until the usual period is known
	l.mark()
	extra := 0
	for i := range pulses {
		l.pulse()
		if i%every == every/2 {
			last, n := l.last, l.n
			time.Sleep(period / 10)
			l.pulse()
			l.last, l.n = last, n
			extra++
		}
		time.Sleep(period)
	}
	edges := settled(t, g, 10+pulses+extra)
	tach := NewTach(TachConfig{})
	for _, e := range edges[:10] {
		tach.Observe(e)
	}
	tach.Window(edges[9].At)
	for _, e := range edges[10:] {
		tach.Observe(e)
	}
	r := tach.Window(edges[len(edges)-1].At)
	low, high := l.rpm(2)
	if int(r.Glitch) != extra || int(r.Edges) != pulses+extra || r.RPM < low-0.001 || r.RPM > high+0.001 {
		t.Errorf("reading %+v, want %d glitches and %.3f to %.3f RPM", r, extra, low, high)
	}
}

// TestKernelLineIsFoundByNameAndLabel: and what cannot be found or is in use says so.
func TestKernelLineIsFoundByNameAndLabel(t *testing.T) {
	newSimLine(t)
	for _, c := range []struct {
		conf GPIOConfig
		want string // in the error; "" = opens
	}{
		{GPIOConfig{Line: "TACHO"}, ""},
		{GPIOConfig{Chip: "fanwatch-sim", Line: "TACHO"}, ""},
		{GPIOConfig{Chip: "fanwatch-sim", Line: "1"}, ""},
		{GPIOConfig{Line: "NOBODY"}, `no chip has a line "NOBODY": there are [fanwatch-sim]`},
		{GPIOConfig{Line: "1"}, `no chip has a line "1"`}, // an offset needs its chip
		{GPIOConfig{Chip: "fanwatch-sim", Line: "4"}, "offsets go to 3"},
		{GPIOConfig{Chip: "pinctrl-rp1", Line: "17"}, "fanwatch-sim"},
	} {
		g, err := OpenGPIO(c.conf)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v", c.conf, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c.conf, err)
			continue
		}
		if second, err := OpenGPIO(c.conf); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("%+v, a second time: %v", c.conf, err)
			second.Close()
		}
		if err := g.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	}
}
