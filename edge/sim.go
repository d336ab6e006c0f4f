package edge

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"fanwatch"
)

// FaultKind is what goes wrong with a simulated fan.
type FaultKind string

// The faults of a simulated fan. The rotor follows its load and its drive as a first-order lag throughout.
const (
	// FaultStall is a blocked rotor: it stops within a second and spins up when the fault ends. Severity is not used.
	FaultStall FaultKind = "stall"
	// FaultDrag is a hot motor or a rubbing cable: within 5 s the fan loses Severity of its speed.
	FaultDrag FaultKind = "drag"
	// FaultDust is settling dust: the speed sinks evenly over the fault's time, by Severity at its end.
	FaultDust FaultKind = "dust"
	// FaultAirflow is a blocked inlet: the load falls away, so the speed rises by up to a quarter, and surges.
	FaultAirflow FaultKind = "airflow"
	// FaultBearing is a worn bearing: periods jitter by up to Severity of themselves, growing over the fault's time;
	// the mean speed stays.
	FaultBearing FaultKind = "bearing"
	// FaultImbalance shifts pulses once per revolution, by up to a fifth of a period; it shows from 2 pulses per
	// revolution on.
	FaultImbalance FaultKind = "imbalance"
	// FaultGlitch is interference on the tacho wire: Severity of the pulses are followed by a false edge. The rotor is
	// not affected.
	FaultGlitch FaultKind = "glitches"
	// FaultTacho is a lost tacho signal: the fan turns but no pulse arrives.
	FaultTacho FaultKind = "lost-tacho"
	// FaultPWM commands a duty cycle of Severity instead of SimConfig.PWM: a change of speed that is no fault.
	FaultPWM FaultKind = "pwm"
)

// FaultKinds returns all faults, in the order of their constants.
func FaultKinds() []FaultKind {
	return []FaultKind{FaultStall, FaultDrag, FaultDust, FaultAirflow, FaultBearing, FaultImbalance, FaultGlitch,
		FaultTacho, FaultPWM}
}

// Fault is one fault of a simulated fan. From and To are offsets from its start, To > From; Severity is 0..1.
type Fault struct {
	Kind     FaultKind         `yaml:"kind"`
	From     fanwatch.Duration `yaml:"from"`
	To       fanwatch.Duration `yaml:"to"`
	Severity float64           `yaml:"severity"`
}

// Check returns an error that says what is wrong with the fault.
func (f Fault) Check() error {
	if !slices.Contains(FaultKinds(), f.Kind) {
		return fmt.Errorf("fault %q: there are %v", f.Kind, FaultKinds())
	}
	if f.From < 0 || f.To <= f.From {
		return fmt.Errorf("fault %s: from %s to %s: want 0 <= from < to", f.Kind, f.From, f.To)
	}
	if !(f.Severity >= 0 && f.Severity <= 1) {
		return fmt.Errorf("fault %s: severity %g is outside 0..1", f.Kind, f.Severity)
	}
	return nil
}

// SimConfig describes a simulated fan. The zero value of a field gives its default.
type SimConfig struct {
	Seed uint64  `yaml:"seed"` // the same seed gives the same fan, edge by edge
	RPM  float64 `yaml:"rpm"`  // nominal speed, 60..60,000; 0 = 1800
	// duty cycle that the fan is told, above 0 to 1, which gives that part of the nominal speed; 0 = 1, and not known
	// unless a fault is of kind pwm
	PWM       float64 `yaml:"pwm"`
	Pulses    int     `yaml:"-"`         // pulses per revolution; 0 = 2
	Wander    float64 `yaml:"wander"`    // how far the speed swings slowly, of itself; 0 = 0.005, negative = none
	Noise     float64 `yaml:"noise"`     // standard deviation of a period, of itself; 0 = 0.002, negative = none
	Asymmetry float64 `yaml:"asymmetry"` // how far poles are from their ideal place, of a period; 0 = none
	Faults    []Fault `yaml:"faults"`
}

// Sim is a simulated fan. It computes the edges of a window when asked for them, so that it costs
// microseconds per window and gives the same edges in real time as on a SimulatedClock. Not safe
// for concurrent use.
type Sim struct {
	c     SimConfig
	rng   *rand.Rand
	poles []float64
	start time.Duration
	told  bool // the duty cycle can be read
	swing [2]float64

	t      time.Duration // since start
	speed  float64       // revolutions per second now
	phase  float64       // pulses since the last edge, 0..need
	need   float64       // at which phase the next edge comes
	turned uint64        // pulses since start
	spur   time.Duration // when a false edge comes; 0 = none is due
	seq    uint32        // edges that the line has seen
}

// NewSim makes a fan that has been turning at its nominal speed when its time starts, at start on the
// boot clock; fault offsets count from there.
func NewSim(c SimConfig, start time.Duration) (*Sim, error) {
	if c.RPM == 0 {
		c.RPM = 1800
	}
	if c.Pulses == 0 {
		c.Pulses = 2
	}
	if !(c.RPM >= 60 && c.RPM <= 60_000) {
		return nil, fmt.Errorf("sim: rpm %g is outside 60..60000", c.RPM)
	}
	if c.Pulses < 1 || c.Pulses > 64 {
		return nil, fmt.Errorf("sim: %d pulses per revolution are outside 1..64", c.Pulses)
	}
	told := c.PWM > 0
	for _, f := range c.Faults {
		if err := f.Check(); err != nil {
			return nil, fmt.Errorf("sim: %w", err)
		}
		told = told || f.Kind == FaultPWM
	}
	if c.PWM = orDefault(c.PWM, 1); !(c.PWM > 0 && c.PWM <= 1) {
		return nil, fmt.Errorf("sim: pwm %g is outside 0..1", c.PWM)
	}
	c.Wander, c.Noise = orDefault(c.Wander, 0.005), orDefault(c.Noise, 0.002)
	if !(c.Wander <= 0.5 && c.Noise <= 0.2 && c.Asymmetry >= 0 && c.Asymmetry <= 0.2) {
		return nil, fmt.Errorf("sim: wander %g, noise %g or asymmetry %g is too large (0.5, 0.2, 0.2)", c.Wander, c.Noise,
			c.Asymmetry)
	}
	s := &Sim{c: c, rng: rand.New(rand.NewPCG(c.Seed, 0x66616e)), start: start, told: told}
	s.speed = c.RPM / 60 * drive(c.PWM)
	s.poles = make([]float64, c.Pulses)
	for i := range s.poles {
		s.poles[i] = c.Asymmetry * (2*s.rng.Float64() - 1)
	}
	s.swing = [2]float64{s.rng.Float64(), s.rng.Float64()}
	s.need = 1
	return s, nil
}

// longest is the largest step in which the speed is taken as constant.
const longest = 20 * time.Millisecond

// Edges returns the edges up to now. After a pause of more than a minute it goes on from a minute ago.
func (s *Sim) Edges(now time.Duration, emit func(Edge)) error {
	until := now - s.start
	s.t = max(s.t, until-time.Minute)
	for s.t < until {
		step := min(longest, until-s.t)
		f := s.speed * float64(s.c.Pulses)
		due := false
		if f > 0 {
			if d := time.Duration((s.need - s.phase) / f * float64(time.Second)); d <= step {
				step, due = max(d, 1), true
			}
		}
		if d := s.spur - s.t; s.spur > 0 && d < step {
			step, due = max(d, 1), false
		}
		s.t += step
		s.phase += f * step.Seconds()
		if s.spur > 0 && s.t >= s.spur {
			s.spur = 0
			s.edge(emit)
		}
		if due {
			s.pulse(emit)
		}
		s.accelerate(step)
	}
	return nil
}

// Duty returns the duty cycle that the fan is told now, as the last call of Edges left it; 0 when the
// simulation has none.
func (s *Sim) Duty() fanwatch.Duty {
	if !s.told {
		return 0
	}
	return fanwatch.NewDuty(s.duty())
}

// Truth returns the fan's faults for the truth file, when its time starts at start.
func (s *Sim) Truth(fan string, start time.Time) []Truth {
	var out []Truth
	for _, f := range s.c.Faults {
		out = append(out, Truth{V: TruthVersion, Fan: fan, Fault: string(f.Kind), Severity: f.Severity,
			From: start.Add(time.Duration(f.From)).UTC(), To: start.Add(time.Duration(f.To)).UTC()})
	}
	return out
}

// pulse emits the edge that is due and draws the phase of the next.
func (s *Sim) pulse(emit func(Edge)) {
	s.edge(emit)
	s.turned++
	s.phase = 0
	s.need = 1 + s.displaced(s.turned+1) - s.displaced(s.turned) + s.c.Noise*s.rng.NormFloat64()
	if f, on := s.fault(FaultBearing); on {
		s.need += f.Severity * (0.3 + 0.7*s.grown(f)) * s.rng.NormFloat64()
	}
	s.need = min(max(s.need, 0.55), 1.45)
	if f, on := s.fault(FaultGlitch); on && s.rng.Float64() < f.Severity && s.speed > 0 {
		period := s.need / (s.speed * float64(s.c.Pulses))
		s.spur = s.t + time.Duration((0.02+0.38*s.rng.Float64())*period*float64(time.Second))
	}
}

// edge emits an edge of the line, unless its wire is off: then the kernel never sees it.
func (s *Sim) edge(emit func(Edge)) {
	if _, lost := s.fault(FaultTacho); lost {
		return
	}
	s.seq++
	emit(Edge{At: s.start + s.t, Seq: s.seq})
}

// displaced returns how far the pulse with that number lies from its ideal place, in periods.
func (s *Sim) displaced(pulse uint64) float64 {
	pole := int(pulse % uint64(len(s.poles)))
	x := s.poles[pole]
	if f, on := s.fault(FaultImbalance); on {
		x += 0.2 * f.Severity * math.Sin(2*math.Pi*float64(pole)/float64(len(s.poles))+1)
	}
	return x
}

// accelerate lets the speed follow its target as a first-order lag.
func (s *Sim) accelerate(step time.Duration) {
	t := s.t.Seconds()
	wave := func(period, phase float64) float64 { return math.Sin(2 * math.Pi * (t/period + phase)) }
	target := s.c.RPM / 60 * drive(s.duty()) * (1 + s.c.Wander*(0.6*wave(97, s.swing[0])+0.4*wave(631, s.swing[1])))
	lag := 0.5
	if f, on := s.fault(FaultDrag); on {
		target *= 1 - f.Severity*min(1, (s.t-time.Duration(f.From)).Seconds()/5)
	}
	if f, on := s.fault(FaultDust); on {
		target *= 1 - f.Severity*s.grown(f)
	}
	if f, on := s.fault(FaultAirflow); on {
		surge := 0.5*wave(2.7, s.swing[1]) + 0.3*wave(7.3, s.swing[0]) + 0.2*wave(1.3, s.swing[0])
		target *= 1 + f.Severity*(0.25*min(1, (s.t-time.Duration(f.From)).Seconds()/3)+0.05*surge)
	}
	if _, on := s.fault(FaultStall); on {
		target, lag = 0, 0.1
	}
	s.speed += (target - s.speed) * (1 - math.Exp(-step.Seconds()/lag))
	if target == 0 && s.speed < 0.1 {
		s.speed = 0
	}
}

// drive returns the speed at a duty cycle, of the nominal speed: in proportion, but a fan that turns at all
// turns at a fifth (Intel, "4-Wire Pulse Width Modulation Controlled Fans", 2005, allows up to 30 %).
func drive(duty float64) float64 {
	if duty == 0 {
		return 0
	}
	return max(duty, 0.2)
}

func (s *Sim) duty() float64 {
	if f, on := s.fault(FaultPWM); on {
		return f.Severity
	}
	return s.c.PWM
}

// grown returns how much of the fault's time has passed, 0..1.
func (s *Sim) grown(f Fault) float64 {
	return float64(s.t-time.Duration(f.From)) / float64(f.To-f.From)
}

func (s *Sim) fault(kind FaultKind) (Fault, bool) {
	for _, f := range s.c.Faults {
		if f.Kind == kind && s.t >= time.Duration(f.From) && s.t < time.Duration(f.To) {
			return f, true
		}
	}
	return Fault{}, false
}

func orDefault(v, d float64) float64 {
	switch {
	case v == 0:
		return d
	case v < 0:
		return 0
	}
	return v
}

// TruthVersion is the version of Truth that this program writes.
const TruthVersion = 1

// Truth is one line of the truth file: what was really wrong with a simulated fan, and when.
type Truth struct {
	V        int       `json:"v"`
	Fan      string    `json:"fan"`
	Fault    string    `json:"fault"`
	Severity float64   `json:"severity,omitempty"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
}

// AppendTruth adds lines to the truth file at path, creating it when missing. Lines of concurrent callers
// do not mix.
func AppendTruth(path string, lines []Truth) error {
	if len(lines) == 0 {
		return nil
	}
	var b []byte
	for _, l := range lines {
		j, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("truth: %w", err)
		}
		b = append(append(b, j...), '\n')
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("truth: %w", err)
	}
	_, err = f.Write(b)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("truth: %w", err)
	}
	return nil
}
