package judge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"fanwatch/rcf"
)

// state is all that judging carries from reading to reading. It has a fixed size, so that a fan's memory is bounded
// and its snapshot is its fields in order. Times are seconds of the fan's readings, not of a clock.
type state struct {
	Last     int64   // time of the newest reading, Unix microseconds
	Interval float64 // usual time between two readings, s
	N        uint32  // readings, at most maxCount
	Age      float64 // time of readings that turned, s
	Running  float64 // time since the fan began to turn, s
	Gap      float64 // time left of a wider band after a gap, s
	Gaps     uint8   // gaps in a row

	Speeds  [4]float64 // logarithms of the newest speeds, newest first
	Turning uint8      // how many of them hold, at most 4

	Stop    stop
	Grain   grain
	Curve   curve
	Level   levels
	Jitter  jitter
	Wobble  wobble
	Drift   drift
	Limits  limits
	Command command
}

// StateSize is the memory of a fan's state, in bytes.
var StateSize = binary.Size(state{})

// stateVersion is the version of the state that is written. Version 1 has no drift.Peak and drift.Week; they are read
// as 0 and false.
const stateVersion = 2

// maxCount bounds counters of readings.
const maxCount = 1 << 30

// MarshalBinary returns the state for [Fan.UnmarshalBinary].
func (f *Fan) MarshalBinary() ([]byte, error) {
	out, err := binary.Append([]byte{stateVersion}, binary.LittleEndian, &f.s)
	if err != nil {
		return nil, fmt.Errorf("state of a judge: %w", err)
	}
	return out, nil
}

// ErrState says that bytes are not the state of a judge of a version that this program reads.
var ErrState = errors.New("not the state of a judge")

// UnmarshalBinary sets the state from what [Fan.MarshalBinary] returned. Any other bytes give an error that wraps
// [ErrState].
func (f *Fan) UnmarshalBinary(data []byte) error {
	var s state
	if len(data) == 0 || data[0] < 1 || data[0] > stateVersion {
		return fmt.Errorf("%w: version %d, this program knows 1 to %d", ErrState, append(data, 0)[0], stateVersion)
	}
	if data[0] == 1 {
		data = grow(data)
	}
	if n, err := binary.Decode(data[1:], binary.LittleEndian, &s); err != nil || n != len(data)-1 {
		return fmt.Errorf("%w: %d bytes, want %d", ErrState, len(data)-1, StateSize)
	}
	if !s.valid() {
		return fmt.Errorf("%w: a number is outside its range", ErrState)
	}
	f.s = s
	return nil
}

// grow returns a state of version 1 in the form of version 2.
func grow(data []byte) []byte {
	at := len(data) - binary.Size(limits{}) - binary.Size(command{}) // the end of Drift
	if at < 0 {
		return data
	}
	return slices.Insert(slices.Clone(data), at, make([]byte, binary.Size(float64(0))+binary.Size(false))...)
}

// valid reports whether every number is finite and what indexes lies in its range.
func (s *state) valid() bool {
	return finite(reflect.ValueOf(*s)) && s.Turning <= 4 && s.Level.Count >= 1 && s.Level.Count <= maxLevels &&
		s.Level.At < s.Level.Count && s.Level.Heading >= -1 && s.Level.Heading < int8(maxLevels) &&
		s.Curve.Follow[0] < lags && s.Curve.Follow[1] < lags
}

func finite(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Float64:
		return !math.IsNaN(v.Float()) && math.Abs(v.Float()) < 1e100
	case reflect.Struct:
		for i := range v.NumField() {
			if !finite(v.Field(i)) {
				return false
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			if !finite(v.Index(i)) {
				return false
			}
		}
	}
	return true
}

// ew is an exponentially weighted mean: it moves towards x by dt/tau of the distance.
func ew(mean *float64, x, dt, tau float64) {
	*mean += float64(min(1, dt/tau) * (x - *mean))
}

// spread is a variance about 0 that begins at a prior and learns with a memory. What goes in is clipped, so that a
// fault does not widen what is usual.
type spread struct {
	Var float64
	N   float64 // weight of Var, s
}

// sd returns the standard deviation with the prior of the given weight in s.
func (v *spread) sd(prior, weight float64) float64 {
	return math.Sqrt((float64(v.Var*v.N) + float64(float64(prior*prior)*weight)) / (v.N + weight))
}

// add takes x, clipped to 2.5 standard deviations sd, with a memory of tau s.
func (v *spread) add(x, sd, dt, tau float64) {
	x = clip(x, float64(2.5*sd))
	v.N = min(v.N+dt, tau)
	if v.N > 0 {
		v.Var += float64(dt / v.N * (float64(x*x) - v.Var))
	}
}

func clip(x, bound float64) float64 { return max(-bound, min(bound, x)) }

// exp returns e to the x. Close to 0 a series of a few terms is exact enough and cheaper.
func exp(x float64) float64 {
	if x > -0.01 && x < 0.01 {
		return 1 + float64(x*(1+float64(x*(0.5+float64(x/6)))))
	}
	return rcf.Exp(x)
}

// decay returns e to the -dt/tau.
func decay(dt, tau float64) float64 {
	if dt > float64(40*tau) {
		return 0
	}
	return exp(-dt / tau)
}

func median3(a, b, c float64) float64 { return max(min(a, b), min(max(a, b), c)) }

// lasting counts how long a condition holds: in s and in readings.
type lasting struct {
	Seconds  float64
	Readings uint32
}

// add counts a reading and reports whether the condition has held for at least seconds and readings.
func (l *lasting) add(holds bool, dt, seconds float64, readings uint32) bool {
	if !holds {
		*l = lasting{}
		return false
	}
	if l.Readings > 0 {
		l.Seconds += dt
	}
	l.Readings = min(l.Readings+1, maxCount)
	return l.Seconds >= seconds && l.Readings >= readings
}
