package edge

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"fanwatch"
)

// ideal returns the edges of a fan at constant speed over d: each edge is displaced from its ideal place
// by up to noise and its pole by up to asymmetry of a period. spread is the largest displacement.
func ideal(rpm float64, pulses int, d, noise time.Duration, asymmetry float64, seed uint64) (edges []Edge,
	spread time.Duration) {
	rng := rand.New(rand.NewPCG(seed, 3))
	period := 60e9 / (rpm * float64(pulses))
	poles := make([]float64, pulses)
	for i := range poles {
		poles[i] = asymmetry * (2*rng.Float64() - 1)
	}
	first := rng.Float64() * period
	for k := 0; ; k++ {
		at := first + period*(float64(k)+poles[k%pulses]) + float64(noise)*(2*rng.Float64()-1)
		if at > float64(d) {
			return edges, noise + time.Duration(asymmetry*period)
		}
		if at > 0 && (len(edges) == 0 || time.Duration(at) > edges[len(edges)-1].At) {
			edges = append(edges, Edge{At: time.Duration(at), Seq: uint32(k + 1)})
		}
	}
}

// windows feeds the edges and gives the reading of each window of a second.
func windows(t *Tach, edges []Edge, d time.Duration) (out []fanwatch.Reading) {
	for now := time.Second; now <= d; now += time.Second {
		for len(edges) > 0 && edges[0].At <= now {
			t.Observe(edges[0])
			edges = edges[1:]
		}
		out = append(out, t.Window(now))
	}
	return out
}

var speeds = []float64{100, 137, 300, 600, 1200, 1800, 3333, 6000, 9000, 14_000, 20_000}

// TestTachErrorBound holds the estimator to 2d/(T - 1/f), and half a thousandth RPM for rounding, from 100
// to 20,000 RPM with edges up to 20 us off and poles up to 2 % of a period off, together at most d; and
// it beats a plain counter of pulses.
func TestTachErrorBound(t *testing.T) {
	for _, pulses := range []int{1, 2, 4} {
		for _, rpm := range speeds {
			for _, poles := range []float64{0, 0.02} {
				edges, spread := ideal(rpm, pulses, 60*time.Second, 20*time.Microsecond, poles, uint64(rpm))
				tach := NewTach(TachConfig{Pulses: pulses, MinRPM: 50})
				f := rpm * float64(pulses) / 60
				bound := 2*spread.Seconds()/(1-1/f) + 0.0005/rpm
				worst, plain := 0.0, 0.0
				for i, r := range windows(tach, edges, 60*time.Second) {
					if r.State != fanwatch.StateRunning || r.Glitch != 0 || r.Lost != 0 {
						t.Fatalf("%g RPM, %d pulses, window %d: %+v", rpm, pulses, i, r)
					}
					if i == 0 {
						continue // began in the middle
					}
					worst = max(worst, math.Abs(r.RPM-rpm)/rpm)
					plain = max(plain, math.Abs(float64(r.Edges)*60/float64(pulses)-rpm)/rpm)
				}
				if worst > bound {
					t.Errorf("%g RPM, %d pulses, poles %g: error %.3g is over the bound %.3g", rpm, pulses, poles, worst, bound)
				}
				t.Logf("%6.0f RPM, %d pulses, poles %3.0f %% off: error at most %.2e, bound %.2e", rpm, pulses, 100*poles, worst,
					bound)
				if poles == 0 && worst > plain && plain > 0 {
					t.Errorf("%g RPM, %d pulses: error %.3g, a plain counter has %.3g", rpm, pulses, worst, plain)
				}
			}
		}
	}
}

// TestEstimatorTable prints the table in the package's documentation (go test -run Table -v).
func TestEstimatorTable(t *testing.T) {
	out := "largest error, RPM, 2 pulses per revolution, edges 20 us off:\n     RPM  carry-over  counting  last period\n"
	for _, rpm := range []float64{103, 611, 1807, 6007, 19_993} {
		edges, _ := ideal(rpm, 2, 300*time.Second, 20*time.Microsecond, 0, 5)
		tach := NewTach(TachConfig{})
		var ours, counting, last float64
		n := 0
		for i, r := range windows(tach, edges, 300*time.Second) {
			n += int(r.Edges)
			if i == 0 {
				continue
			}
			ours = max(ours, math.Abs(r.RPM-rpm))
			counting = max(counting, math.Abs(float64(r.Edges)*30-rpm))
			last = max(last, math.Abs(30/(edges[n-1].At-edges[n-2].At).Seconds()-rpm))
		}
		out += fmt.Sprintf("%8.0f  %10.3f  %8.1f  %11.2f\n", rpm, ours, counting, last)
		if ours > counting && counting > 0 || ours > last {
			t.Errorf("%g RPM: %g against %g by counting and %g by the last period", rpm, ours, counting, last)
		}
	}
	t.Log(out)
}

func TestTachStates(t *testing.T) {
	tach := NewTach(TachConfig{Pulses: 2, MinRPM: 60}) // stalled after 0.5 s
	expect := func(now time.Duration, want fanwatch.State, rpm float64) {
		t.Helper()
		if r := tach.Window(now); r.State != want || math.Abs(r.RPM-rpm) > 0.01 {
			t.Errorf("at %s: %s %g RPM, want %s %g", now, r.State, r.RPM, want, rpm)
		}
	}
	ms := time.Millisecond
	expect(1000*ms, fanwatch.StateNoSignal, 0)
	tach.Observe(Edge{At: 1900 * ms, Seq: 1})
	expect(2000*ms, fanwatch.StateStarting, 0)
	seq := uint32(1)
	for at := 2000 * ms; at <= 3000*ms; at += 100 * ms {
		seq++
		tach.Observe(Edge{At: at, Seq: seq})
	}
	expect(3000*ms, fanwatch.StateRunning, 300)
	expect(3200*ms, fanwatch.StateRunning, 150) // no pulse for 200 ms: at most 5 Hz
	expect(3400*ms, fanwatch.StateRunning, 75)
	expect(3600*ms, fanwatch.StateStalled, 0)
	expect(9000*ms, fanwatch.StateStalled, 0)
	tach.Observe(Edge{At: 9900 * ms, Seq: seq + 1})
	expect(10000*ms, fanwatch.StateStarting, 0)
	tach.Observe(Edge{At: 10100 * ms, Seq: seq + 2})
	expect(10200*ms, fanwatch.StateRunning, 150)
	expect(11200*ms, fanwatch.StateStalled, 0)
}

func TestGlitchesAreRejectedAndCounted(t *testing.T) {
	for _, rpm := range []float64{300, 1800, 6000} {
		edges, _ := ideal(rpm, 2, 20*time.Second, 20*time.Microsecond, 0.02, 9)
		rng := rand.New(rand.NewPCG(1, 1))
		var noisy []Edge
		glitches, seq := 0, uint32(0)
		period := time.Duration(60e9 / (2 * rpm))
		for i, e := range edges {
			seq++
			noisy = append(noisy, Edge{e.At, seq})
			if i > 20 && i%7 == 0 { // ringing right behind the edge, or interference in the middle
				at := e.At + time.Duration((0.02+0.4*rng.Float64())*float64(period))
				seq++
				noisy = append(noisy, Edge{at, seq})
				glitches++
			}
		}
		counted := 0
		for i, r := range windows(NewTach(TachConfig{}), noisy, 20*time.Second) {
			counted += int(r.Glitch)
			if i > 0 && math.Abs(r.RPM-rpm)/rpm > 0.02 {
				t.Errorf("%g RPM read as %g", rpm, r.RPM)
			}
		}
		if counted < glitches-1 || counted > glitches {
			t.Errorf("%g RPM: %d glitches counted of %d", rpm, counted, glitches)
		}
	}
}

func TestLostEdgesAreCountedAndDoNotSlowTheFan(t *testing.T) {
	edges, _ := ideal(6000, 2, 10*time.Second, 0, 0, 4)
	rng := rand.New(rand.NewPCG(1, 1))
	var kept []Edge
	dropped := 0
	for i, e := range edges {
		if i > 10 && i < len(edges)-1 && rng.IntN(10) == 0 {
			dropped++
			continue
		}
		kept = append(kept, e)
	}
	lost := 0
	for i, r := range windows(NewTach(TachConfig{}), kept, 10*time.Second) {
		lost += int(r.Lost)
		if i > 0 && math.Abs(r.RPM-6000) > 0.1 {
			t.Errorf("window %d: %g RPM", i, r.RPM)
		}
	}
	if lost != dropped {
		t.Errorf("%d edges lost, %d counted", dropped, lost)
	}
}

// TestSpeedStepIsNotTakenForGlitches: a fan that a controller takes from 600 to 6000 RPM between two
// pulses (no rotor can, but a missed second could look so) is followed within a few pulses.
func TestSpeedStepIsNotTakenForGlitches(t *testing.T) {
	slow, _ := ideal(600, 2, 5*time.Second, 0, 0, 4)
	fast, _ := ideal(6000, 2, 5*time.Second, 0, 0, 4)
	last := slow[len(slow)-1]
	for _, e := range fast {
		slow = append(slow, Edge{At: last.At + e.At + 5*time.Millisecond - fast[0].At, Seq: last.Seq + e.Seq})
	}
	got := windows(NewTach(TachConfig{}), slow, 10*time.Second)
	if r := got[8]; math.Abs(r.RPM-6000) > 1 || r.Glitch != 0 {
		t.Errorf("3 s after the step: %+v", r)
	}
}

func TestJitterTellsABadBearing(t *testing.T) {
	for _, rpm := range []float64{120, 1800} {
		sim, err := NewSim(SimConfig{RPM: rpm, Noise: 0.05, Wander: -1}, 0)
		if err != nil {
			t.Fatal(err)
		}
		var edges []Edge
		for now := time.Second; now <= 60*time.Second; now += time.Second {
			sim.Edges(now, func(e Edge) { edges = append(edges, e) })
		}
		mean := 0.0
		all := windows(NewTach(TachConfig{}), edges, 60*time.Second)
		for _, r := range all[5:] {
			mean += r.Jitter / float64(len(all)-5)
		}
		if mean < 0.04 || mean > 0.06 {
			t.Errorf("%g RPM: mean jitter %g, want 0.05", rpm, mean)
		}
	}
}

func TestTachConfigOutOfRangeGetsDefaults(t *testing.T) {
	for _, c := range []TachConfig{{-1, math.NaN(), math.NaN()}, {1000, math.Inf(1), math.Inf(-1)}, {0, -5, 1},
		{64, 1e6, 0}, {1, 1e-9, 0}} {
		tach := NewTach(c)
		tach.Observe(Edge{1, 1})
		tach.Observe(Edge{2e9, 2})
		if err := tach.Window(3e9).Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// FuzzTach feeds arbitrary edges: whatever comes, the reading's numbers are numbers in their range.
func FuzzTach(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef"), uint8(2))
	f.Add(make([]byte, 64), uint8(1))
	regular := []byte{}
	for range 40 {
		regular = append(regular, 0, 0, 64, 0, 1)
	}
	f.Add(regular, uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, pulses uint8) {
		tach := NewTach(TachConfig{Pulses: int(pulses), MinRPM: 1})
		var at, now time.Duration
		var seq uint32
		for len(data) >= 5 {
			step := int32(binary.LittleEndian.Uint32(data)) // backwards too
			gap := data[4]
			data = data[5:]
			switch {
			case gap == 255:
				seq -= 3
			case gap >= 250:
				seq += uint32(step)
			default:
				seq += uint32(gap)
			}
			at += time.Duration(step) * 16
			tach.Observe(Edge{At: at, Seq: seq})
			if gap%3 == 0 {
				now = max(now, at) + time.Duration(gap)*time.Millisecond
				if r := tach.Window(now); r.Check() != nil {
					t.Fatalf("%v: %+v", r.Check(), r)
				}
			}
		}
		if r := tach.Window(now); r.Check() != nil {
			t.Fatalf("%v: %+v", r.Check(), r)
		}
	})
}

func BenchmarkTachEdge(b *testing.B) {
	tach := NewTach(TachConfig{})
	b.ReportAllocs()
	e := Edge{}
	for b.Loop() {
		e.At += 5 * time.Millisecond
		e.Seq++
		tach.Observe(e)
		if e.Seq%200 == 0 {
			tach.Window(e.At)
		}
	}
}
