package detect

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

// TestOneWrongReadingIsNoTrouble: neither one among the first thirty nor one later, be it a little or far off, nor
// one every ten minutes; a stall does, by one reading.
func TestOneWrongReadingIsNoTrouble(t *testing.T) {
	for _, wrong := range []float64{1900, 60_000, 900_000, 1} {
		for _, at := range []int{0, 4, 29, 60, 150, 1000} {
			f := newFeed(fanwatch.Device{Fan: "a", Limits: fanwatch.Limits{MaxRPM: 5000}})
			rng := rand.New(rand.NewPCG(1, 1))
			for i := range 1200 {
				rpm := 1780 + 40*rng.Float64()
				if i == at {
					rpm = wrong
				}
				f.legacy("a", "a", rpm)
			}
			if len(f.obs) != 0 {
				t.Errorf("%g RPM as reading %d: %+v", wrong, at, f.obs)
			}
			f.legacy("a", "a", 0)
			if f.kinds() != "stall" {
				t.Errorf("%g RPM as reading %d: then a stall gives %q", wrong, at, f.kinds())
			}
		}
	}
	f := newFeed(fanwatch.Device{Fan: "a"})
	rng := rand.New(rand.NewPCG(2, 1))
	for i := range 4 * 3600 {
		rpm, jitter := 1780+40*rng.Float64(), 0.002+0.001*rng.Float64()
		if i%600 == 599 {
			rpm, jitter = rpm+100, 0.3
		}
		f.batch("a", 1, fanwatch.WireReading{Seq: uint64(1 + i), RPM: rpm, Jitter: jitter})
	}
	if len(f.obs) != 0 {
		t.Errorf("one wrong reading every ten minutes: %d changes of state, the first %+v", len(f.obs), f.obs[0])
	}
}

// TestADeclineOverDaysIsFound: from 2000 to 800 RPM over three days, from its first reading on and after an hour.
func TestADeclineOverDaysIsFound(t *testing.T) {
	for _, hours := range []float64{0, 1} {
		f := newFeed(fanwatch.Device{Fan: "a"})
		m := newMachine(1, 2000)
		const days = 3 * 24 * 3600.0
		for s := 0.0; s < days+3600*hours && !strings.Contains(f.kinds(), "underspeed"); s += 10 {
			m.rpm = 2000 - 1200*max(0, s-3600*hours)/days
			f.seq += 9
			f.legacy("a", "a", m.next(0.002))
		}
		if !strings.Contains(f.kinds(), "underspeed") {
			t.Errorf("after %g hours: told %q", hours, f.kinds())
			continue
		}
		o := f.obs[len(f.obs)-1]
		t.Logf("after %g hours: %s: %s", hours, o.Time.Sub(start).Round(time.Minute), o.Anomaly.Why)
	}
}

// TestTroubleNeverBecomesUsual by lasting: at 30 to 85 % of its usual speed a fan stays in trouble for a day, and is
// normal again when it is.
func TestTroubleNeverBecomesUsual(t *testing.T) {
	for _, left := range []float64{0.3, 0.4, 0.6, 0.85} {
		f := newFeed(fanwatch.Device{Fan: "a"})
		m := newMachine(3, 2000)
		run := func(n int, speed float64) {
			m.rpm = 2000 * speed
			for range n {
				f.seq += 4
				f.legacy("a", "a", m.next(0.002))
			}
		}
		run(720, 1)
		run(24*720, left)
		for _, o := range f.obs {
			if o.Anomaly.Kind == fanwatch.KindNone {
				t.Errorf("at %g: %s: %s", left, o.Time, o.Anomaly.Why)
			}
		}
		if len(f.obs) == 0 || !strings.Contains(f.obs[len(f.obs)-1].Anomaly.Why, "fanwatch ack a --normal") {
			t.Errorf("at %g: %+v", left, f.obs)
		}
		run(60, 1)
		if o := f.obs[len(f.obs)-1]; o.Anomaly.Kind != fanwatch.KindNone {
			t.Errorf("at %g, then as before: %+v", left, o)
		}
	}
}

// TestRelearnTakesWhatIsForUsual, once for each time that an operator says so, and hides no stall.
func TestRelearnTakesWhatIsForUsual(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	m := newMachine(3, 2000)
	run := func(n int) {
		for range n {
			f.legacy("a", "a", m.next(0.002))
		}
	}
	configure := func(revision, relearn int) {
		data, err := fanwatch.EncodeDevice(fanwatch.Device{V: 1, Revision: revision, Fan: "a", Relearn: relearn})
		if err != nil {
			t.Fatal(err)
		}
		f.record(data)
	}
	run(900)
	m.rpm = 800
	run(400)
	if !strings.HasSuffix(f.kinds(), "underspeed") {
		t.Fatalf("%q", f.kinds())
	}
	configure(2, 1)
	run(400)
	if !strings.HasSuffix(f.kinds(), "underspeed.") {
		t.Fatalf("after relearning: %q", f.kinds())
	}
	configure(3, 1)
	if e := f.fans["a"].judged.Expected; e < 760 || e > 840 {
		t.Errorf("%g RPM expected", e)
	}
	m.rpm = 300
	run(5)
	if !strings.HasSuffix(f.kinds(), "underspeed") {
		t.Errorf("below half of the new usual: %q", f.kinds())
	}
	f.legacy("a", "a", 0)
	configure(4, 2)
	f.legacy("a", "a", 0)
	if o, _ := f.Last("a"); o.Anomaly.Kind != fanwatch.KindStall {
		t.Errorf("relearning ended a stall: %+v", o)
	}
}

// TestAFanCommandedToStandStillIsNotJudged: nothing begins, nothing ends, nothing is learned, and after the command
// to turn it has ten seconds.
func TestAFanCommandedToStandStillIsNotJudged(t *testing.T) {
	c := newCommanded(1, 0.6)
	c.run(900, true)
	learned := c.fans["a"].st.Forest.Learned
	stand := func(n int, state fanwatch.State, duty float64) {
		for range n {
			c.seq++
			out := c.batch("a", 5, fanwatch.WireReading{Seq: c.seq, State: state, PWM: &duty})
			if len(out.Rows) != 1 || out.Rows[0].Kind != fanwatch.RowScored {
				t.Fatalf("%+v", out.Rows)
			}
		}
	}
	for _, state := range []fanwatch.State{fanwatch.StateStalled, fanwatch.StateNoSignal, fanwatch.StateStarting,
		fanwatch.StateRunning} {
		stand(100, state, 0)
	}
	stand(9, fanwatch.StateStalled, 0.6)
	if len(c.obs) != 0 || c.fans["a"].st.Forest.Learned != learned {
		t.Fatalf("commanded to stand still: %+v, learned %d", c.obs, c.fans["a"].st.Forest.Learned-learned)
	}
	c.speed = 0
	c.run(300, true)
	if len(c.obs) != 0 {
		t.Fatalf("turning again: %+v", c.obs)
	}
	stand(20, fanwatch.StateStalled, 0)
	stand(12, fanwatch.StateStalled, 0.6)
	if c.kinds() != "stall" {
		t.Fatalf("not turning again: %+v", c.obs)
	}
	stand(50, fanwatch.StateStalled, 0)
	if c.kinds() != "stall" {
		t.Fatalf("a stall ended by the command to stand still: %+v", c.obs)
	}
	c.run(60, true)
	if c.kinds() != "stall." {
		t.Errorf("%+v", c.obs)
	}
}

// TestARotorThatStaysAt0IsAStall, whatever its publisher calls it.
func TestARotorThatStaysAt0IsAStall(t *testing.T) {
	for state, after := range map[fanwatch.State]int{fanwatch.StateStarting: 30, fanwatch.StateRunning: 5,
		fanwatch.StateNoSignal: 5, fanwatch.StateStalled: 1} {
		f := newFeed(fanwatch.Device{Fan: "a"})
		for i := range 3600 {
			f.batch("a", 1, fanwatch.WireReading{Seq: uint64(1 + i), State: state})
			if (i+1 >= after) != (len(f.obs) > 0) {
				t.Fatalf("%s: %d observations after %d readings", state, len(f.obs), i+1)
			}
		}
		if f.kinds() != "stall" {
			t.Errorf("%s: %+v", state, f.obs)
		}
	}
}

// TestAValueThatIsRepeatedIsDoubted where it used to vary, and only there.
func TestAValueThatIsRepeatedIsDoubted(t *testing.T) {
	for name, c := range map[string]struct {
		next  func(rng *rand.Rand, i int) float64
		found bool
	}{
		"varies to the digit": {func(rng *rand.Rand, _ int) float64 { return 1800 + 20*rng.NormFloat64() }, true},
		"whole numbers":       {func(rng *rand.Rand, _ int) float64 { return float64(1780 + rng.IntN(40)) }, true},
		"two values": {func(rng *rand.Rand, _ int) float64 { return float64(1800 + 30*rng.IntN(2)) },
			true},
		"one value":                     {func(*rand.Rand, int) float64 { return 1800 }, false},
		"seldom another":                {func(_ *rand.Rand, i int) float64 { return 1800 + 30*float64(i%1000/999) }, false},
		"the same for minutes at night": {func(rng *rand.Rand, i int) float64 { return 1800 + 30*float64(i/300%2) }, false},
	} {
		f := newFeed(fanwatch.Device{Fan: "a"})
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range 3600 {
			f.legacy("a", "a", c.next(rng, i))
		}
		if frozen(f) {
			t.Errorf("%s: %+v", name, f.obs)
		}
		n := 0
		for ; n < 600 && !frozen(f); n++ {
			f.legacy("a", "a", 1807)
		}
		if c.found != frozen(f) {
			t.Errorf("%s: %d times the same: %+v", name, n, f.obs)
		}
		if !c.found {
			continue
		}
		t.Logf("%s: after %d readings: %s", name, n, f.obs[len(f.obs)-1].Anomaly.Why)
		for range 3600 {
			f.legacy("a", "a", 1807)
		}
		if !frozen(f) {
			t.Errorf("%s: it ended while the value was the same: %+v", name, f.obs)
		}
		for range 60 {
			f.legacy("a", "a", 1800+rng.NormFloat64())
		}
		if frozen(f) {
			t.Errorf("%s: it lasts though the value varies: %+v", name, f.obs)
		}
	}
}

func frozen(f *feed) bool {
	return f.fans["a"].st.Families[familySource].Current.Kind == fanwatch.KindFrozen
}

// TestWhatIsLessGraveIsToldWhenItLasts: a fan that turns again, but too slowly for its forest, is not said to stand
// still.
func TestWhatIsLessGraveIsToldWhenItLasts(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a"})
	m := newMachine(3, 2000)
	for range 900 {
		f.legacy("a", "a", m.next(0.002))
	}
	for range 10 {
		f.legacy("a", "a", 0)
	}
	m.rpm = 1400
	for range 60 {
		f.legacy("a", "a", m.next(0.002))
	}
	if got := f.kinds(); got != "stall..speed" && got != "stall.speed" {
		t.Errorf("%q", got)
	}
}

// TestAllOfItReplaysBitIdentical: clocks put back, two publishers, commands to stand still, values that freeze,
// refusals, learning anew; the stream is cut at many places, restored and replayed.
func TestAllOfItReplaysBitIdentical(t *testing.T) {
	whole := newFeed(fanwatch.Device{Fan: "a", Clients: []string{"b"}}, fanwatch.Device{Fan: "b"})
	m, rng := newMachine(9, 1800), rand.New(rand.NewPCG(9, 9))
	off, on := 0.0, 0.6
	for i := range 900 {
		seq := uint64(1 + i)
		switch {
		case i < 300:
			whole.one("a", 1, seq, m.next(0.002))
			whole.legacy("b", "b", m.next(0.002))
		case i < 360:
			whole.one("a", 1+uint64(rng.IntN(2)), seq, m.next(0.002))
			whole.legacyAt("b", "b", whole.now().Add(-time.Hour+500*time.Millisecond), time.RFC3339Nano, m.next(0.01))
		case i < 420:
			whole.batch("a", 1, fanwatch.WireReading{Seq: seq, State: fanwatch.StateStalled, PWM: &off},
				fanwatch.WireReading{Seq: 0, State: "odd"}, fanwatch.WireReading{Seq: 0})
			whole.legacyAt("b", "b", whole.now().Add(time.Duration(rng.IntN(9)-6)*time.Minute), time.RFC3339Nano, 1800)
		case i == 600:
			data, _ := fanwatch.EncodeDevice(fanwatch.Device{V: 1, Revision: 9, Fan: "a", Relearn: 1})
			whole.record(data)
		case i < 700:
			whole.batch("a", 1, fanwatch.WireReading{Seq: seq, RPM: m.next(0.002), PWM: &on})
		default:
			whole.batch("a", 1, fanwatch.WireReading{Seq: seq, RPM: 1800, PWM: &on})
			whole.record([]byte(`{"TIME":1,"FANID":"b","RPM":"x","client":"b"}`))
		}
	}
	want, err := whole.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[fanwatch.Kind]bool{}
	for _, o := range whole.obs {
		kinds[o.Anomaly.Kind] = true
	}
	if !kinds[fanwatch.KindPublishers] {
		t.Errorf("the stream shows too little: %v", kinds)
	}
	for cut := 0; cut <= len(whole.all); cut += 57 {
		part := New(Config{Seed: 7})
		if err := part.Replay(whole.all[:cut]); err != nil {
			t.Fatal(err)
		}
		snap, err := part.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Restore(Config{Seed: 7}, snap)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Replay(whole.all[cut:]); err != nil {
			t.Fatalf("cut %d: %v", cut, err)
		}
		if got, err := again.Snapshot(); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("cut %d: the models differ (%v): %s", cut, err, firstDifference(got, want))
		}
	}
}

func firstDifference(a, b []byte) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	from := max(0, i-60)
	return fmt.Sprintf("%.120q against %.120q", a[from:], b[from:])
}
