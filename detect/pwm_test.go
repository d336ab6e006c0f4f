package detect

import (
	"bytes"
	"strings"
	"testing"

	"fanwatch"
)

// commanded is a fan at 3000 RPM per unit of duty cycle, whose rotor follows a step within seconds.
type commanded struct {
	*feed
	m     *machine
	seq   uint64
	duty  float64
	sick  float64 // of its speed that it has lost
	speed float64
}

func newCommanded(seed uint64, duty float64) *commanded {
	return &commanded{feed: newFeed(fanwatch.Device{Fan: "a"}), m: newMachine(seed, 3000*duty), duty: duty,
		speed: 3000 * duty}
}

// run publishes n readings; told says whether they carry the duty cycle.
func (c *commanded) run(n int, told bool) {
	for range n {
		c.speed += (3000*c.duty*(1-c.sick) - c.speed) * 0.4
		c.m.rpm = c.speed
		c.seq++
		rpm := c.m.next(0.002)
		r := fanwatch.WireReading{Seq: c.seq, RPM: rpm, Hz: rpm / 30, Jitter: 0.003 + 0.0005*c.m.rng.Float64(), Edges: 60}
		if told {
			r.PWM = &c.duty
		}
		c.batch("a", 5, r)
	}
}

// TestCommandedStepIsNoFault: what a controller asked for raises nothing, up, down, back or in small
// steps; the same change of speed without the command does.
func TestCommandedStepIsNoFault(t *testing.T) {
	steps := []float64{0.6, 0.4, 0.6, 0.9, 0.4, 0.25, 0.6, 0.63, 0.66, 0.69, 1, 0.6}
	told := newCommanded(1, 0.6)
	told.run(900, true)
	for _, duty := range steps {
		told.duty = duty
		told.run(150, true)
	}
	if len(told.obs) != 0 {
		t.Errorf("commanded steps raised %+v", told.obs)
	}
	untold := newCommanded(1, 0.6)
	untold.run(900, false)
	untold.duty = 0.4
	untold.run(150, false)
	if len(untold.obs) == 0 || untold.obs[0].Anomaly.Kind != fanwatch.KindSpeed {
		t.Errorf("the same step without a command raised %+v", untold.obs)
	}
}

// TestAFaultOfACommandedFanIsFound: a speed lost without a command raises an alert although the duty cycle is
// known, at the duty cycle of before and at one that the fan comes back to; a stall counts while a step
// settles.
func TestAFaultOfACommandedFanIsFound(t *testing.T) {
	lost := newCommanded(2, 0.6)
	lost.run(900, true)
	lost.sick = 0.25
	lost.run(30, true)
	if len(lost.obs) != 1 || lost.obs[0].Anomaly.Kind != fanwatch.KindSpeed || !strings.Contains(lost.obs[0].Anomaly.Why,
		"at 60 % PWM") {
		t.Errorf("speed lost at one duty cycle: %+v", lost.obs)
	}
	back := newCommanded(3, 0.6)
	back.run(900, true)
	back.duty = 0.4
	back.run(100, true)
	back.duty, back.sick = 0.6, 0.25
	back.run(50, true)
	if len(back.obs) != 1 || back.obs[0].Anomaly.Kind != fanwatch.KindSpeed {
		t.Errorf("speed lost on the way back: %+v", back.obs)
	}
	stalled := newCommanded(4, 0.6)
	stalled.run(400, true)
	duty := 0.9
	stalled.batch("a", 5, fanwatch.WireReading{Seq: stalled.seq + 1, State: fanwatch.StateStalled, PWM: &duty})
	if len(stalled.obs) != 1 || stalled.obs[0].Anomaly.Kind != fanwatch.KindStall {
		t.Errorf("stall at a step: %+v", stalled.obs)
	}
	limited := newCommanded(7, 0.6)
	limited.feed = newFeed(fanwatch.Device{Fan: "a", Limits: fanwatch.Limits{MinRPM: 900}})
	limited.run(400, true)
	limited.duty = 0.2 // 600 RPM: below the limit, commanded or not
	limited.run(8, true)
	if len(limited.obs) != 1 || limited.obs[0].Anomaly.Kind != fanwatch.KindUnderspeed {
		t.Errorf("commanded below the limit: %+v", limited.obs)
	}
	// A worn bearing does not hide behind steps: jitter stays what it was usual to be.
	worn := newCommanded(5, 0.6)
	worn.run(3000, true)
	for i := range 300 {
		d := 0.45 + 0.0001*float64(i)
		worn.seq++
		rpm := 3000 * d
		worn.batch("a", 5, fanwatch.WireReading{Seq: worn.seq, RPM: rpm, Hz: rpm / 30, Jitter: 0.15, PWM: &d})
	}
	if !strings.Contains(worn.kinds(), "jitter") {
		t.Errorf("a worn bearing after a step: %+v", worn.obs)
	}
}

// TestStepsReplayBitIdentical cuts the stream before, within and after steps.
func TestStepsReplayBitIdentical(t *testing.T) {
	whole := newCommanded(6, 0.6)
	whole.run(250, true)
	for _, duty := range []float64{0.4, 0.6, 0.8} {
		whole.duty = duty
		whole.run(70, true)
	}
	want, err := whole.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{1, 100, 251, 252, 260, 272, 290, 325, 330, len(whole.all)} {
		part := New(Config{Seed: 7})
		if err := part.Replay(whole.all[:cut]); err != nil {
			t.Fatal(err)
		}
		snap, err := part.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		m, err := Restore(Config{Seed: 7}, snap)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Replay(whole.all[cut:]); err != nil {
			t.Fatalf("cut %d: %v", cut, err)
		}
		if got, err := m.Snapshot(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("cut %d: the models differ after the replay (%v)", cut, err)
		}
	}
}
