package fanwatch

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

// ReadingID tells a reading from every other, whatever path and however often it came.
//
// Run is a random number in 1..2^63-1 that a publisher draws at each process start (63 bits, so that it
// fits the signed 64-bit column of every table format); Seq counts within the run from 1. A reading in
// the 2019 demo's format has neither: its Run is 0 and its Seq is its time in Unix microseconds, so that
// (fan, TIME) identifies it through the same three fields.
type ReadingID struct {
	Fan string
	Run uint64
	Seq uint64
}

// String returns fan/run/seq, the run in hexadecimal.
func (id ReadingID) String() string {
	return fmt.Sprintf("%s/%s/%d", id.Fan, FormatRun(id.Run), id.Seq)
}

// FormatRun writes a run as 16 hexadecimal digits. JSON carries it as text because many readers of JSON
// turn large numbers into float64.
func FormatRun(run uint64) string { return fmt.Sprintf("%016x", run) }

// ParseRun reads what FormatRun wrote; it refuses 0 and numbers of more than 63 bits.
func ParseRun(s string) (uint64, error) {
	run, err := strconv.ParseUint(s, 16, 64)
	if err != nil || run == 0 || run > math.MaxInt64 {
		return 0, fmt.Errorf("run %.40q: want 16 hexadecimal digits between 1 and 7fffffffffffffff", s)
	}
	return run, nil
}

// State is what the edge says of the rotor in a reading.
type State string

// The states of a rotor. StateNoSignal means that no edge was ever seen since the publisher started;
// StateStalled that edges came and have ceased; StateStarting that fewer than two edges came so far.
const (
	StateRunning  State = "running"
	StateStarting State = "starting"
	StateStalled  State = "stalled"
	StateNoSignal State = "no-signal"
)

// Valid reports whether s is one of the four states.
func (s State) Valid() bool {
	return s == StateRunning || s == StateStarting || s == StateStalled || s == StateNoSignal
}

// Reading is one measurement of one fan, usually over one second.
type Reading struct {
	ReadingID
	Time    time.Time // UTC, end of the measuring window, whole microseconds
	RPM     float64   // revolutions per minute, 0..MaxRPM
	Hz      float64   // tacho pulses per second
	Jitter  float64   // standard deviation of the pulse periods over their mean, 0 when unknown
	Edges   uint32    // falling edges in the window
	Glitch  uint32    // edges rejected as glitches in the window
	Lost    uint32    // edges that the kernel dropped in the window
	PWM     Duty      // what the fan was commanded to at the window's end; 0 when unknown
	State   State
	Unsynch bool // the device's clock was not synchronised: Time is arrival minus monotonic age
}

// Duty is the PWM duty cycle that a fan is commanded to, in steps of 0.01 %, plus one: the zero value says
// that it is not known, so that readings without it stay what they were, compare with == and replay to
// the bit. Fans see 256 steps at most.
type Duty uint16

// dutyOne is a duty cycle of 100 %.
const dutyOne Duty = 10_001

// NewDuty makes a Duty of a fraction 0..1. What is outside gives a Duty that Reading.Check refuses.
func NewDuty(fraction float64) Duty {
	if !(fraction >= 0 && fraction <= 1) {
		return math.MaxUint16
	}
	return Duty(math.Round(fraction*float64(dutyOne-1))) + 1
}

// Fraction returns the duty cycle, 0..1; known is false when it is not known.
func (d Duty) Fraction() (fraction float64, known bool) {
	if d == 0 {
		return 0, false
	}
	return float64(d-1) / float64(dutyOne-1), true
}

// MaxRPM bounds what any rotating machine here turns at; a larger value is a broken message.
const MaxRPM = 1e6

// Check says what is wrong with the reading's numbers in words a person can act on, or nil.
func (r Reading) Check() error {
	switch {
	case math.IsNaN(r.RPM) || math.IsInf(r.RPM, 0):
		return fmt.Errorf("RPM is not a number: check the sensor or the publisher")
	case r.RPM < 0:
		return fmt.Errorf("RPM %g is negative: a tacho cannot count backwards", r.RPM)
	case r.RPM > MaxRPM:
		return fmt.Errorf("RPM %g is above %g: check pulses per revolution", r.RPM, float64(MaxRPM))
	case math.IsNaN(r.Hz) || math.IsInf(r.Hz, 0) || r.Hz < 0:
		return fmt.Errorf("frequency %g Hz is not a number of 0 or more", r.Hz)
	case math.IsNaN(r.Jitter) || math.IsInf(r.Jitter, 0) || r.Jitter < 0:
		return fmt.Errorf("jitter %g is not a number of 0 or more", r.Jitter)
	case r.PWM > dutyOne:
		return fmt.Errorf("PWM duty is outside 0..1")
	case !r.State.Valid():
		return fmt.Errorf("state %.40q is none of running, starting, stalled, no-signal", string(r.State))
	}
	return nil
}

var fanName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:_-]{0,99}$`)

// CheckFan reports whether a fan's name can serve as IoT thing name, MQTT topic level, partition key and
// workflow ID: letters, digits, ':', '_' and '-', first a letter or digit, at most 100 of them.
func CheckFan(name string) error {
	if !fanName.MatchString(name) {
		return fmt.Errorf("fan name %.120q: use 1 to 100 letters, digits, ':', '_' or '-', the first a letter or digit", name)
	}
	return nil
}
