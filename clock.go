package fanwatch

import (
	"fmt"
	"time"
)

// Clock returns the current time. Tests pass a fake; production passes [time.Now].
type Clock func() time.Time

// Duration is a time.Duration that reads and writes as text ("90s", "15m") in JSON and YAML.
type Duration time.Duration

// String returns the duration as time.Duration prints it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the duration as [time.ParseDuration] does.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration %q: write a number and a unit, such as 90s or 15m", b)
	}
	*d = Duration(v)
	return nil
}
