package edge

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"fanwatch"
)

// simulate measures a simulated fan for n seconds, as fast as possible.
func simulate(t testing.TB, c SimConfig, n int) (out []Record) {
	t.Helper()
	clock := SimulatedClock(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	sim, err := NewSim(c, clock.Boot())
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	err = Measure(context.Background(), Config{Fan: "fan-01", Source: sim, Clock: clock, Duty: sim.Duty},
		func(r Record) error {
			out = append(out, r)
			if len(out) == n {
				return enough
			}
			return nil
		})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	return out
}

func seconds(n int) fanwatch.Duration { return fanwatch.Duration(n) * fanwatch.Duration(time.Second) }

func TestSimulatedFaultsShowInTheReadings(t *testing.T) {
	faults := []Fault{
		{FaultStall, seconds(20), seconds(30), 1},
		{FaultDrag, seconds(50), seconds(70), 0.4},
		{FaultBearing, seconds(90), seconds(150), 0.15},
		{FaultTacho, seconds(170), seconds(180), 1},
	}
	got := simulate(t, SimConfig{Seed: 1, Faults: faults}, 200)
	mean := func(from, to int, value func(Record) float64) (m float64) {
		for _, r := range got[from:to] {
			m += value(r) / float64(to-from)
		}
		return m
	}
	rpm := func(r Record) float64 { return r.RPM }
	jitter := func(r Record) float64 { return r.Jitter }
	for i, r := range got {
		if r.Time != got[0].Time.Add(time.Duration(i)*time.Second) || r.Unsynch || r.Lost != 0 {
			t.Fatalf("reading %d: %+v", i, r)
		}
	}
	for _, quiet := range [][2]int{{1, 19}, {35, 49}, {80, 89}, {155, 169}, {185, 200}} {
		if m := mean(quiet[0], quiet[1], rpm); math.Abs(m-1800) > 20 {
			t.Errorf("quiet %v: %g RPM", quiet, m)
		}
		if j := mean(quiet[0], quiet[1], jitter); j > 0.01 {
			t.Errorf("quiet %v: jitter %g", quiet, j)
		}
	}
	if got[25].State != fanwatch.StateStalled || got[29].RPM != 0 || got[175].State != fanwatch.StateStalled {
		t.Errorf("stall %+v, lost tacho %+v", got[25], got[175])
	}
	if m := mean(60, 69, rpm); math.Abs(m-1080) > 20 {
		t.Errorf("drag: %g RPM, want 1080", m)
	}
	if j, m := mean(130, 149, jitter), mean(91, 149, rpm); j < 0.08 || math.Abs(m-1800) > 40 {
		t.Errorf("bearing: jitter %g at %g RPM", j, m)
	}
}

// TestSignatures holds each kind of fault to what it does to the readings: relative change of mean speed,
// jitter, spread of the speed from reading to reading, and glitches per pulse, before, during and after.
func TestSignatures(t *testing.T) {
	const rpm = 1800
	type signature struct{ speed, jitter, spread, glitches, edges float64 }
	take := func(rs []Record) (s signature) {
		n := float64(len(rs))
		for _, r := range rs {
			s.speed += r.RPM / rpm / n
			s.jitter += r.Jitter / n
			s.glitches += float64(r.Glitch) / 60 / n
			s.edges += float64(r.Edges) / 60 / n
		}
		for _, r := range rs {
			s.spread += (r.RPM/rpm - s.speed) * (r.RPM/rpm - s.speed) / n
		}
		s.spread = math.Sqrt(s.spread)
		return s
	}
	normal := signature{speed: 1, jitter: 0.002, spread: 0.002, edges: 1}
	for _, c := range []struct {
		kind     FaultKind
		severity float64
		want     signature // in the fault's second half
		state    fanwatch.State
	}{
		{FaultStall, 1, signature{}, fanwatch.StateStalled},
		{FaultDrag, 0.4, signature{speed: 0.6, jitter: 0.002, spread: 0.002, edges: 0.6}, fanwatch.StateRunning},
		// 0.1 to 0.2 lost, evenly: spread 0.1/sqrt(12)
		{FaultDust, 0.2, signature{speed: 0.85, jitter: 0.002, spread: 0.029, edges: 0.85}, fanwatch.StateRunning},
		{FaultAirflow, 0.6, signature{speed: 1.15, jitter: 0.004, spread: 0.012, edges: 1.15}, fanwatch.StateRunning},
		{FaultBearing, 0.15, signature{speed: 1, jitter: 0.12, spread: 0.012, edges: 1}, fanwatch.StateRunning},
		{FaultImbalance, 0.5, signature{speed: 1, jitter: 0.17, spread: 0.003, edges: 1}, fanwatch.StateRunning},
		{FaultGlitch, 0.3, signature{speed: 1, jitter: 0.002, spread: 0.002, glitches: 0.3, edges: 1.3},
			fanwatch.StateRunning},
		{FaultTacho, 1, signature{}, fanwatch.StateStalled},
		{FaultPWM, 0.5, signature{speed: 0.5, jitter: 0.002, spread: 0.002, edges: 0.5}, fanwatch.StateRunning},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			got := simulate(t, SimConfig{Seed: 3, RPM: rpm, Faults: []Fault{{c.kind, seconds(60), seconds(180), c.severity}}},
				240)
			check := func(when string, got, want signature) {
				t.Helper()
				for _, v := range []struct {
					what      string
					got, want float64
					room      float64
				}{{"speed", got.speed, want.speed, 0.015}, {"jitter", got.jitter, want.jitter, 0.3*want.jitter + 0.001},
					{"spread", got.spread, want.spread, 0.6*want.spread + 0.001},
					{"glitches", got.glitches, want.glitches, 0.05}, {"edges", got.edges, want.edges, 0.06}} {
					if math.Abs(v.got-v.want) > v.room {
						t.Errorf("%s: %s %.4f, want %.4f", when, v.what, v.got, v.want)
					}
				}
			}
			check("before", take(got[5:59]), normal)
			check("during", take(got[120:179]), c.want)
			check("after", take(got[190:]), normal)
			if r := got[150]; r.State != c.state {
				t.Errorf("state %s, want %s", r.State, c.state)
			}
			duty, known := got[150].PWM.Fraction()
			if known != (c.kind == FaultPWM) || known && duty != c.severity {
				t.Errorf("duty cycle %g %t", duty, known)
			}
		})
	}
}

func TestSameSeedSameFan(t *testing.T) {
	c := SimConfig{Seed: 7}
	for i, kind := range FaultKinds() {
		c.Faults = append(c.Faults, Fault{kind, seconds(1 + i), seconds(3 + i), 0.3})
	}
	if a, b := simulate(t, c, 20), simulate(t, c, 20); !reflect.DeepEqual(a, b) {
		t.Error("two runs of one seed differ")
	}
	// The edges do not depend on how often they are asked for.
	collect := func(step time.Duration) (out []Edge) {
		s, _ := NewSim(SimConfig{Seed: 7, Noise: -1, Wander: -1, PWM: 0.7}, 0)
		for now := step; now <= 10*time.Second; now += step {
			s.Edges(now, func(e Edge) { out = append(out, e) })
		}
		return out
	}
	a, b := collect(time.Second), collect(100*time.Millisecond)
	if len(a) != len(b) || (a[len(a)-1].At-b[len(b)-1].At).Abs() > time.Microsecond {
		t.Errorf("%d edges to %v, %d to %v", len(a), a[len(a)-1], len(b), b[len(b)-1])
	}
}

func TestTruthFile(t *testing.T) {
	s, err := NewSim(SimConfig{Faults: []Fault{{FaultStall, seconds(20), seconds(30), 1}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "truth.jsonl")
	for range 2 {
		if err := AppendTruth(path, s.Truth("fan-01", start)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var got Truth
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if want := (Truth{TruthVersion, "fan-01", "stall", 1, start.Add(20 * time.Second),
			start.Add(30 * time.Second)}); got != want {
			t.Errorf("got %+v", got)
		}
	}
	if n != 2 {
		t.Errorf("%d lines", n)
	}
}

func TestSimRefusesNonsense(t *testing.T) {
	for _, c := range []SimConfig{{RPM: math.NaN()}, {RPM: 1e9}, {Pulses: 100}, {Noise: 9}, {Wander: math.NaN()},
		{Asymmetry: -1}, {PWM: -1}, {PWM: 1.5}, {PWM: math.NaN()},
		{Faults: []Fault{{"flood", 0, 1, 0}}}, {Faults: []Fault{{FaultStall, 5, 5, 0}}},
		{Faults: []Fault{{FaultDrag, 0, 5, 2}}}} {
		if _, err := NewSim(c, 0); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

func TestClockThatIsBehindIsFlagged(t *testing.T) {
	clock := SimulatedClock(time.Unix(0, 0))
	sim, _ := NewSim(SimConfig{}, clock.Boot())
	stop := errors.New("stop")
	err := Measure(context.Background(), Config{Fan: "fan-01", Source: sim, Clock: clock}, func(r Record) error {
		if !r.Unsynch {
			t.Error("a reading of 1970 is taken for synchronised")
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Error(err)
	}
}

// BenchmarkSimulatedSecond is one window of one simulated fan at 1800 RPM: pulses and tacho.
func BenchmarkSimulatedSecond(b *testing.B) {
	sim, err := NewSim(SimConfig{}, 0)
	if err != nil {
		b.Fatal(err)
	}
	tach := NewTach(TachConfig{})
	b.ReportAllocs()
	now := time.Duration(0)
	for b.Loop() {
		now += time.Second
		sim.Edges(now, tach.Observe)
		tach.Window(now)
	}
}
