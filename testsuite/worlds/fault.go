package worlds

import (
	"fmt"
	"slices"
	"time"
)

// Fault is what goes wrong with a fan. Exactly the fields that its description names are set.
type Fault struct {
	Name  string
	About string // one line
	// Speed is the part by which the speed changes: -0.1 is a tenth slower.
	Speed float64
	// Jitter is the factor of the jitter; 0 = unchanged.
	Jitter float64
	// Ramp is the time in seconds over which Speed or Jitter comes about; 0 = at once.
	Ramp float64
	// Hosts are the worlds on which a trial puts it, by turns.
	Hosts []string
	// From and To bound the time of the onset in a trial; equal: exactly then.
	From, To time.Duration
	// Watch is how long after its first effect it may still be found.
	Watch time.Duration
	// Within is the delay within which it is to be found.
	Within time.Duration

	stall    bool    // the rotor blocks
	noSignal bool    // the publisher restarts as it blocks
	surge    float64 // the speed swings by that part, for seconds
	stops    bool    // it blocks for seconds, every few minutes
	stuck    bool    // it keeps its speed whatever is commanded
	noStart  bool    // it does not start again after the next command to stop
}

// Faults returns all faults, in the order of the tables.
func Faults() []Fault { return faults }

// FindFault returns the fault of that name.
func FindFault(name string) (*Fault, error) {
	for i := range faults {
		if faults[i].Name == name {
			return &faults[i], nil
		}
	}
	return nil, fmt.Errorf("fault %.60q is unknown: list them with -list", name)
}

// Hidden returns why the fault cannot be told from a healthy fan of this stream, or "". It is known once the fault has
// had its first effect.
func (s *Stream) Hidden() string {
	p, f := &s.p, s.fault
	if f == nil {
		return ""
	}
	noise := p.white + float64(p.tails*0.2) + p.rough
	change := max(f.Speed, -f.Speed, f.surge)
	switch {
	case f.Jitter > 0 && p.jitter == 0:
		return "its jitter is not measured"
	case change > 0 && float64(change*s.usual) < float64(2.5*p.step()):
		return "less than two and a half steps of its speed"
	case f.surge > 0 && f.surge < float64(2.5*noise):
		return "within its noise"
	case f.surge > 0 && p.interval > 2, f.stops && p.interval > 10:
		return "faster than its readings"
	}
	return ""
}

// Slack returns what the rotor's lag and the readings' interval add to the delay within which the fault can be found:
// twice the lag and four intervals.
func (s *Stream) Slack() time.Duration {
	return time.Duration((float64(2*max(s.p.up, s.p.down)) + float64(4*s.p.interval)) * float64(time.Second))
}

const hour = time.Hour

// The worlds of faults: fans at one speed, told ones and those that a level is learned of.
var (
	plain = []string{"steady", "day", "office-5s", "slow-10s", "tails", "rough", "blower", "noisy-600", "supply",
		"steps-30", "steps-15", "wrong-2000", "restarts", "losses", "three-wire", "interference"}
	told     = []string{"duty-5", "duty-30", "lazy", "staircase", "follows-told", "steps-told"}
	untold   = []string{"load-steps", "load-noisy", "thermostat", "untold-3"}
	everyone = append(append(append([]string{"minute", "by-hand", "follows", "untold-5"}, plain...), told...), untold...)
	both     = append(append([]string{}, plain...), told...)
	drifting = slices.DeleteFunc(slices.Clone(both), func(name string) bool { return name == "supply" })
)

var faults = []Fault{
	{Name: "stall", About: "the rotor blocks", stall: true, Hosts: everyone, From: 30 * hour, To: 98 * hour,
		Watch: 10 * time.Minute},
	{Name: "stall-no-signal", About: "the rotor blocks and the publisher restarts", stall: true, noSignal: true,
		Hosts: both, From: 30 * hour, To: 98 * hour, Watch: 10 * time.Minute, Within: 10 * time.Second},
	{Name: "drop-25", About: "25 % slower at once", Speed: -0.25, Hosts: both, From: 30 * hour, To: 98 * hour,
		Watch: hour, Within: 10 * time.Second},
	{Name: "drop-12", About: "12 % slower at once", Speed: -0.12, Hosts: both, From: 30 * hour, To: 98 * hour,
		Watch: hour, Within: 10 * time.Second},
	{Name: "drop-10", About: "10 % slower at once", Speed: -0.10, Hosts: both, From: 30 * hour, To: 98 * hour,
		Watch: hour, Within: 10 * time.Second},
	{Name: "drop-5", About: "5 % slower at once", Speed: -0.05, Hosts: both, From: 30 * hour, To: 98 * hour,
		Watch: 2 * hour, Within: 2 * time.Minute},
	{Name: "drop-3", About: "3 % slower at once", Speed: -0.03, Hosts: both, From: 30 * hour, To: 98 * hour,
		Watch: 2 * hour, Within: 2 * time.Minute},
	{Name: "rise-10", About: "10 % faster at once", Speed: 0.10, Hosts: both, From: 30 * hour, To: 98 * hour,
		Watch: hour, Within: 10 * time.Second},
	{Name: "ramp-6", About: "6 % slower over an hour", Speed: -0.06, Ramp: 3600, Hosts: both,
		From: 30 * hour, To: 98 * hour, Watch: 3 * hour, Within: 3 * hour},
	{Name: "drift-10", About: "10 % slower over 12 hours", Speed: -0.10, Ramp: 12 * 3600, Hosts: drifting,
		From: 30 * hour, To: 98 * hour, Watch: 14 * hour, Within: 14 * hour},
	{Name: "drift-5", About: "5 % slower over 6 hours", Speed: -0.05, Ramp: 6 * 3600, Hosts: drifting,
		From: 30 * hour, To: 98 * hour, Watch: 10 * hour, Within: 10 * hour},
	{Name: "drift-8", About: "8 % slower over 30 hours", Speed: -0.08, Ramp: 30 * 3600, Hosts: drifting,
		From: 30 * hour, To: 98 * hour, Watch: 34 * hour, Within: 34 * hour},
	{Name: "jitter-2", About: "twice the jitter at once", Jitter: 2, Hosts: both, From: 30 * hour, To: 98 * hour,
		Watch: 2 * hour, Within: 2 * time.Minute},
	{Name: "jitter-2.5", About: "2.5 times the jitter at once", Jitter: 2.5, Hosts: both, From: 30 * hour, To: 98 * hour,
		Watch: 2 * hour, Within: 2 * time.Minute},
	{Name: "jitter-6", About: "6 times the jitter at once", Jitter: 6, Hosts: both, From: 30 * hour, To: 98 * hour,
		Watch: 2 * hour, Within: 2 * time.Minute},
	{Name: "jitter-grows", About: "the jitter grows to 4 times in 10 hours", Jitter: 4, Ramp: 10 * 3600, Hosts: both,
		From: 30 * hour, To: 98 * hour, Watch: 10 * hour, Within: 5 * hour}, // 2.5 times after 5 hours
	{Name: "surges-4", About: "surges by 4 % for seconds", surge: 0.04, Hosts: both, From: 30 * hour, To: 98 * hour,
		Watch: hour, Within: hour},
	{Name: "stops", About: "blocks for 4 to 12 s every few minutes", stops: true, Hosts: both,
		From: 30 * hour, To: 98 * hour, Watch: hour, Within: 10 * time.Second},
	{Name: "follows-not", About: "keeps its speed whatever is commanded", stuck: true,
		Hosts: []string{"duty-5", "duty-30", "lazy", "staircase", "steps-told"},
		From:  30 * hour, To: 98 * hour, Watch: 2 * hour, Within: 2 * time.Minute},
	{Name: "starts-not", About: "is commanded to start and stands", noStart: true,
		Hosts: []string{"off-told", "nights-told"}, From: 30 * hour, To: 70 * hour, Watch: 10 * time.Minute,
		Within: time.Minute},
	{Name: "slow-at-each", About: "8 % slower at each duty", Speed: -0.08, Hosts: told, From: 30 * hour, To: 98 * hour,
		Watch: hour, Within: 2 * time.Minute},
	{Name: "known-drop-10", About: "10 % slower at once, where levels are learned untold", Speed: -0.10, Hosts: untold,
		From: 24 * hour, To: 98 * hour, Watch: hour, Within: 2 * time.Minute},
	{Name: "known-jitter-6", About: "6 times the jitter at once, where the fan is moved untold", Jitter: 6,
		Hosts: append([]string{"untold-5", "by-hand"}, untold...), From: 30 * hour, To: 98 * hour, Watch: 2 * hour,
		Within: 10 * time.Minute},
	{Name: "hall-drift-5", About: "5 % slower over 6 hours, after 6 hours, one of six fans in a hall", Speed: -0.05,
		Ramp: 6 * 3600, Hosts: []string{"hall"}, From: 6 * hour, To: 6 * hour, Watch: 8 * hour, Within: 8 * hour},
	{Name: "hall-drift-2", About: "2 % slower over 12 hours, one of six fans in a hall", Speed: -0.02,
		Ramp: 12 * 3600, Hosts: []string{"hall"}, From: 40 * hour, To: 60 * hour, Watch: 24 * hour, Within: 24 * hour},
	{Name: "early-stall", About: "the rotor blocks 10 s after the first reading", stall: true, Hosts: plain[:2],
		From: 10 * time.Second, To: 10 * time.Second, Watch: 10 * time.Minute},
	{Name: "early-drop-25", About: "25 % slower after 6 min", Speed: -0.25, Hosts: plain,
		From: 6 * time.Minute, To: 6 * time.Minute, Watch: hour, Within: 10 * time.Second},
	{Name: "early-drop-10", About: "10 % slower after 20 min", Speed: -0.10, Hosts: plain,
		From: 20 * time.Minute, To: 20 * time.Minute, Watch: hour, Within: 10 * time.Second},
	{Name: "early-drop-5", About: "5 % slower after 1 h", Speed: -0.05, Hosts: plain,
		From: hour, To: hour, Watch: 2 * hour, Within: 2 * time.Minute},
}

// Onset returns when, after the first reading of the fan of a seed, a trial puts the fault on, in whole seconds.
func (f *Fault) Onset(seed uint64) time.Duration {
	r := newSource(seed, f.Name, "onset")
	return (f.From + time.Duration(float64(f.To-f.From)*r.uniform())).Round(time.Second)
}

// SizeAfter returns the factor of the speed or of the jitter that the fault has a time after its beginning.
func (f *Fault) SizeAfter(t time.Duration) float64 {
	size := f.Speed
	if f.Jitter > 0 {
		size = f.Jitter - 1
	}
	if f.Ramp > 0 {
		size *= max(0, min(1, t.Seconds()/f.Ramp))
	}
	return 1 + size
}
