package fanwatch

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

// ReadingID identifies a reading, by whatever path and however often it arrives.
type ReadingID struct {
	Fan string
	Run uint64 // drawn at random by the publisher at its start, 1..2^63-1; 0 in the legacy format
	Seq uint64 // counts within the run, from 1; in the legacy format the time of the reading in Unix microseconds
}

// String returns fan/run/seq, the run in hexadecimal.
func (id ReadingID) String() string {
	return fmt.Sprintf("%s/%s/%d", id.Fan, FormatRun(id.Run), id.Seq)
}

// FormatRun returns a run as 16 hexadecimal digits. JSON carries it as text, because many readers of JSON turn large
// numbers into float64.
func FormatRun(run uint64) string { return fmt.Sprintf("%016x", run) }

// ParseRun reads what [FormatRun] wrote. It refuses 0 and numbers of more than 63 bits.
func ParseRun(s string) (uint64, error) {
	run, err := strconv.ParseUint(s, 16, 64)
	if err != nil || run == 0 || run > math.MaxInt64 {
		return 0, fmt.Errorf("run %.40q: want 16 hexadecimal digits between 1 and 7fffffffffffffff", s)
	}
	return run, nil
}

// State is the state of the rotor, as the publisher sees it at a reading.
type State string

// The states of a rotor.
const (
	// StateRunning says that edges come.
	StateRunning State = "running"
	// StateStarting says that fewer than two edges have come since the publisher started.
	StateStarting State = "starting"
	// StateStalled says that edges came and have ceased.
	StateStalled State = "stalled"
	// StateNoSignal says that no edge has come since the publisher started.
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
	Jitter  float64   // standard deviation of the pulse periods over their mean; 0 when unknown
	Edges   uint32    // falling edges in the window
	Glitch  uint32    // edges rejected as glitches in the window
	Lost    uint32    // edges that the kernel dropped in the window
	PWM     Duty      // commanded duty cycle at the window's end; 0 when unknown
	State   State
	Unsynch bool // the device's clock was not synchronised: Time is arrival minus monotonic age
}

// Duty is a commanded PWM duty cycle: 1 to 10,001 for 0 to 100 % in steps of 0.01 %; 0 when unknown.
type Duty uint16

const dutyOne Duty = 10_001 // 100 %

// NewDuty returns the Duty of a fraction 0..1. A fraction outside gives a Duty that [Reading.Check] refuses.
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

// MaxRPM is the highest speed of a valid reading, in RPM.
const MaxRPM = 1e6

// Check returns an error that names the mend when a number or the state of the reading is not valid.
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

// CheckFan returns an error when a fan's name cannot serve as IoT thing name, MQTT topic level, partition key and
// workflow ID: 1 to 100 letters, digits, ':', '_' and '-', the first a letter or digit.
func CheckFan(name string) error {
	if !fanName.MatchString(name) {
		return fmt.Errorf("fan name %.120q: use 1 to 100 letters, digits, ':', '_' or '-', the first a letter or digit", name)
	}
	return nil
}
