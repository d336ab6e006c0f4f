package edge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fanwatch"
)

// SettingsVersion is the version of Settings that this program reads and reports.
const SettingsVersion = 1

// Settings are what of a Config may be changed while a Node runs: the fields of the shadow's desired and
// reported state, by their JSON names. What a desired state leaves out stays as the Config has it.
type Settings struct {
	Interval   fanwatch.Duration `json:"interval"`    // "100ms" to "1m"
	FlushEvery fanwatch.Duration `json:"flush_every"` // "0s" to "24h"
	Batch      int               `json:"batch"`       // 1..fanwatch.MaxBatch
	Jump       float64           `json:"jump"`        // above 0 to 10
	MinRPM     float64           `json:"min_rpm"`     // 0..fanwatch.MaxRPM; 0 = TachConfig's default
	MaxRPM     float64           `json:"max_rpm"`     // likewise, above MinRPM
	Live       bool              `json:"live"`        // a reading every second (or Interval, when that is shorter), each published at once
}

// liveInterval is how often a fan that is watched live is measured at least.
const liveInterval = time.Second

func (c Config) settings() Settings {
	return Settings{fanwatch.Duration(c.Interval), fanwatch.Duration(c.FlushEvery), c.Batch, c.Jump, c.MinRPM, c.MaxRPM, c.Live}
}

// WithDefaults gives the settings with a Config's defaults in the place of zeros.
func (s Settings) WithDefaults() Settings {
	c := Config{Interval: time.Duration(s.Interval), FlushEvery: time.Duration(s.FlushEvery), Batch: s.Batch, Jump: s.Jump, Live: s.Live}
	c.MinRPM, c.MaxRPM = s.MinRPM, s.MaxRPM
	c.fill()
	return c.settings()
}

// Check says what is wrong with the settings, naming the field, or nil.
func (s Settings) Check() error {
	switch {
	case time.Duration(s.Interval) < shortestInterval:
		return fmt.Errorf("interval %s is under %s", s.Interval, shortestInterval)
	case time.Duration(s.Interval) > time.Minute:
		return fmt.Errorf("interval %s is over a minute: a stall would show too late", s.Interval)
	case s.FlushEvery < 0 || time.Duration(s.FlushEvery) > 24*time.Hour:
		return fmt.Errorf("flush_every %s is outside 0s..24h", s.FlushEvery)
	case s.Batch < 1 || s.Batch > fanwatch.MaxBatch:
		return fmt.Errorf("batch of %d is outside 1..%d", s.Batch, fanwatch.MaxBatch)
	case !(s.Jump > 0 && s.Jump <= 10):
		return fmt.Errorf("jump %g is outside 0..10: 0.1 is a tenth of the speed", s.Jump)
	case !(s.MinRPM >= 0 && s.MinRPM <= fanwatch.MaxRPM && s.MaxRPM >= 0 && s.MaxRPM <= fanwatch.MaxRPM):
		return fmt.Errorf("min_rpm %g and max_rpm %g: want 0..%g", s.MinRPM, s.MaxRPM, float64(fanwatch.MaxRPM))
	case s.MaxRPM > 0 && s.MinRPM >= s.MaxRPM:
		return fmt.Errorf("min_rpm %g is not below max_rpm %g", s.MinRPM, s.MaxRPM)
	case s.MaxRPM > 0 && s.MinRPM == 0 && s.MaxRPM <= defaultMinRPM:
		return fmt.Errorf("min_rpm %g, the default, is not below max_rpm %g", float64(defaultMinRPM), s.MaxRPM)
	}
	return nil
}

// interval and flushEvery apply Live.
func (s Settings) interval() time.Duration {
	if s.Live {
		return min(time.Duration(s.Interval), liveInterval)
	}
	return time.Duration(s.Interval)
}

func (s Settings) flushEvery() time.Duration {
	if s.Live {
		return 0
	}
	return time.Duration(s.FlushEvery)
}

// with gives the settings as the desired state, a JSON object, changes them. An unknown field is an error,
// because a misspelt one would silently do nothing; names count to the letter.
func (s Settings) with(desired []byte) (Settings, error) {
	raw, err := members(desired)
	if err != nil {
		return s, err
	}
	fields := map[string]any{"interval": &s.Interval, "flush_every": &s.FlushEvery, "batch": &s.Batch, "jump": &s.Jump,
		"min_rpm": &s.MinRPM, "max_rpm": &s.MaxRPM, "live": &s.Live}
	version := SettingsVersion
	fields["v"] = &version
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		to, ok := fields[name]
		if !ok {
			return s, fmt.Errorf("%.60q is no setting: there are %s", name, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		}
		if string(raw[name]) == "null" {
			return s, fmt.Errorf("%s is null: leave it out", name)
		}
		if err := json.Unmarshal(raw[name], to); err != nil {
			return s, fmt.Errorf("%s holds %.60s: %w", name, raw[name], plainError(err))
		}
	}
	if version != SettingsVersion {
		return s, fmt.Errorf("v is %d, this program knows %d", version, SettingsVersion)
	}
	return s, s.Check()
}

// members reads the members of one JSON object.
func members(b []byte) (map[string]json.RawMessage, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil || raw == nil {
		return nil, fmt.Errorf("%.60q is not a JSON object", b)
	}
	return raw, nil
}

// plainError says a type error of encoding/json in the words of the document.
func plainError(err error) error {
	if t, ok := err.(*json.UnmarshalTypeError); ok {
		switch t.Type.Kind().String() {
		case "int", "float64":
			return fmt.Errorf("want a number")
		case "bool":
			return fmt.Errorf("want true or false")
		default:
			return fmt.Errorf("want a duration in quotes, such as \"1s\"")
		}
	}
	return err
}

// sameJSON tells whether two texts are the same JSON value, however it is written.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && equalJSON(x, y)
}

func equalJSON(x, y any) bool {
	switch x := x.(type) {
	case map[string]any:
		y, ok := y.(map[string]any)
		return ok && maps.EqualFunc(x, y, equalJSON)
	case []any:
		y, ok := y.([]any)
		return ok && slices.EqualFunc(x, y, equalJSON)
	}
	switch y.(type) {
	case map[string]any, []any:
		return false // == would panic
	}
	return x == y
}
