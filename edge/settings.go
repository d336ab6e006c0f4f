package edge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
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
	Interval   fanwatch.Duration `json:"interval"`    // "100ms" to "1m"; by the shadow half of the fan's silence at most
	FlushEvery fanwatch.Duration `json:"flush_every"` // "0s" to "24h"; by the shadow as interval
	Batch      int               `json:"batch"`       // 1..fanwatch.MaxBatch
	Jump       float64           `json:"jump"`        // above 0 to 10
	MinRPM     float64           `json:"min_rpm"`     // 0..fanwatch.MaxRPM; 0 = TachConfig's default
	MaxRPM     float64           `json:"max_rpm"`     // above MinRPM to fanwatch.MaxRPM; 0 = TachConfig's default
	// a reading every second (or Interval, when that is shorter), each published at once
	Live bool `json:"live"`
}

// liveInterval is how often a fan that is watched live is measured at least.
const liveInterval = time.Second

func (c Config) settings() Settings {
	return Settings{fanwatch.Duration(c.Interval), fanwatch.Duration(c.FlushEvery), c.Batch, c.Jump, c.MinRPM, c.MaxRPM,
		c.Live}
}

// WithDefaults returns the settings with a Config's defaults in the place of zeros.
func (s Settings) WithDefaults() Settings {
	c := Config{Interval: time.Duration(s.Interval), FlushEvery: time.Duration(s.FlushEvery), Batch: s.Batch, Jump: s.Jump,
		Live: s.Live}
	c.MinRPM, c.MaxRPM = s.MinRPM, s.MaxRPM
	c.fill()
	return c.settings()
}

// Check returns an error that names the field and says what is wrong with it.
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

// settingGroups are the fields of a desired state that hold or are refused together, in the order in which they are
// tried: a group may depend on those before it.
var settingGroups = [][]string{{"live"}, {"batch"}, {"jump"}, {"min_rpm", "max_rpm"}, {"interval"}, {"flush_every"}}

// refusalsTold is how many reasons a report names.
const refusalsTold = 5

// desire returns the settings as the desired state changes them, what of it holds, and why the rest does not. A field
// that is refused keeps the value that before, what held last, has for it; one that desired leaves out is as s has it.
// An unknown field is refused, because a misspelt one would silently do nothing; names count to the letter. silence is
// the fan's, see quiet.
func (s Settings) desire(desired, before map[string]json.RawMessage, silence time.Duration) (next Settings,
	holds map[string]json.RawMessage, refused []error) {
	next, holds = s, map[string]json.RawMessage{}
	if raw, ok := desired["v"]; ok {
		if err := version(raw); err != nil { // its fields may mean something else
			next, holds, _ = s.desire(before, nil, silence)
			return next, holds, []error{err}
		}
		holds["v"] = raw
	}
	known := []string{"v"}
	for _, group := range settingGroups {
		known = append(known, group...)
	}
	slices.Sort(known)
	for _, name := range slices.Sorted(maps.Keys(desired)) {
		if !slices.Contains(known, name) {
			refused = append(refused, fmt.Errorf("%.60q is no setting: there are %s", name, strings.Join(known, ", ")))
		}
	}
	for _, group := range settingGroups {
		if err := next.take(group, desired, holds, silence); err != nil {
			refused = append(refused, err)
			_ = next.take(group, before, holds, silence) // where that does not hold now either, the field is as s has it
		}
	}
	return next, holds, refused
}

// take sets the group's fields to what from says, notes it in holds, and changes nothing when that is refused.
func (s *Settings) take(group []string, from, holds map[string]json.RawMessage, silence time.Duration) error {
	next, changes := *s, false
	for _, name := range group {
		if raw, ok := from[name]; ok {
			if err := next.set(name, raw); err != nil {
				return err
			}
			changes = true
		}
	}
	if !changes {
		return nil
	}
	if err := next.Check(); err != nil {
		return err
	}
	if err := next.quiet(group[0], silence); err != nil {
		return err
	}
	*s = next
	for _, name := range group {
		if raw, ok := from[name]; ok {
			holds[name] = raw
		}
	}
	return nil
}

// set reads one field.
func (s *Settings) set(name string, raw json.RawMessage) error {
	var batch float64 // 10.0 is a whole number, too
	to := map[string]any{"interval": &s.Interval, "flush_every": &s.FlushEvery, "batch": &batch, "jump": &s.Jump,
		"min_rpm": &s.MinRPM, "max_rpm": &s.MaxRPM, "live": &s.Live}[name]
	if string(raw) == "null" {
		return fmt.Errorf("%s is null: leave it out", name)
	}
	err := json.Unmarshal(raw, to)
	if err == nil && name == "batch" {
		if batch != math.Trunc(batch) {
			return fmt.Errorf("batch holds %.60s: want a whole number", raw)
		}
		s.Batch = int(min(max(batch, math.MinInt32), math.MaxInt32))
	}
	if err != nil {
		return fmt.Errorf("%s holds %.60s: %w", name, raw, plainError(err))
	}
	return nil
}

// quiet refuses an interval or a flush_every, the field that is named, that has the publisher say nothing for more
// than half of the time after which people are told that the fan is silent; 0 = they are never told.
func (s Settings) quiet(field string, silence time.Duration) error {
	longest := map[string]time.Duration{"interval": s.interval(), "flush_every": s.flushEvery()}[field]
	if silence == 0 || longest <= silence/2 {
		return nil
	}
	return fmt.Errorf("%s %s is over half of the %s after which people are told that the fan is silent: at most "+
		"%s, or provision the fan with a longer silence "+
		"and write it into the configuration (silence)", field, longest, silence, silence/2)
}

// version refuses a desired state of another version.
func version(raw json.RawMessage) error {
	var v float64
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("v holds %.60s: %w", raw, plainError(err))
	}
	if v != SettingsVersion {
		return fmt.Errorf("v is %.60s, this program knows %d", raw, SettingsVersion)
	}
	return nil
}

// reasons is one line of why fields are refused, "" when none are.
func reasons(refused []error) string {
	var lines []string
	for _, err := range refused[:min(len(refused), refusalsTold)] {
		lines = append(lines, err.Error())
	}
	if more := len(refused) - refusalsTold; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "; ")
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

// sameJSON reports whether two texts are the same JSON value, however it is written.
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
