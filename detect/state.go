package detect

import (
	"fmt"
	"time"

	"fanwatch"
)

const (
	leaveInARow = 5  // readings in a row with graver trouble gone
	settleOver  = 20 // readings that a rotor has to follow a step
)

// grace is how long a rotor may take to turn after its duty cycle rose from 0.
const grace = 10 * time.Second

// notWatched is a pause after which a fan's speed may be another: twice the longest interval between readings.
const notWatched = 2 * time.Minute

// state is all that scoring carries from reading to reading besides the forest.
type state struct {
	N       int                 `json:"n"`       // readings judged
	Learned int                 `json:"learned"` // readings that the forest was fed
	Stats   [features]running   `json:"stats"`
	Raw     [features]float64   `json:"raw"`  // of the newest reading, before scaling
	RPMs    [spreadOver]float64 `json:"rpms"` // ring
	Scores  [judgeOver]float64  `json:"scores"`
	Usual   running             `json:"usual"` // of the score
	Under   int                 `json:"under"` // readings in a row below, above, without signal, at 0 RPM but not stalled
	Over    int                 `json:"over"`
	Absent  int                 `json:"absent"`
	Still   int                 `json:"still,omitempty"`
	Repeats repeats             `json:"repeats"`
	Fine    int                 `json:"fine"`   // readings in a row less grave than Current
	Lesser  fanwatch.Anomaly    `json:"lesser"` // the gravest of them
	Current fanwatch.Anomaly    `json:"current"`
	Run     uint64              `json:"run,string,omitempty"` // of the newest reading judged
	Seq     uint64              `json:"seq,string,omitempty"`

	// In the order of arrival, judged or not.
	LastTime int64    `json:"last_time"` // Unix microseconds, of the demo's readings: the newest of the clock followed
	Line     line     `json:"line,omitzero"`
	Speakers speakers `json:"speakers"`
	Arrivals Arrivals `json:"heard"`

	// Of fans whose PWM duty cycle is known; Stats[featureRPM] is what is usual at Duty.
	Duty     fanwatch.Duty              `json:"duty,omitempty"`   // at the last step
	Settling int                        `json:"settle,omitempty"` // readings until the rotor has followed it
	Usuals   map[fanwatch.Duty]running  `json:"usuals,omitempty"` // usual RPM at the duty cycles before, by dutyBin
	Bases    map[fanwatch.Duty]baseline `json:"bases,omitempty"`  // for the rule, of all duty cycles
	Off      bool                       `json:"off,omitempty"`    // commanded to 0
	Grace    int64                      `json:"grace,omitempty"`  // its end, Unix microseconds; 0: none
}

// lineAfter is how many readings in a row on a clock behind the newest reading have that clock followed.
const lineAfter = 3

// line is the demo's readings in a row whose TIME lies behind that of the newest: once there are lineAfter of them,
// the clock was put back.
type line struct {
	N    int   `json:"n"`
	Last int64 `json:"last"` // Unix microseconds
}

// next reports whether a reading at t is in order on the line, and the last that it takes to follow its clock.
func (l line) next(t int64) bool { return l.N == lineAfter-1 && t > l.Last }

func (l *line) take(t int64) {
	if t <= l.Last {
		l.N = 0
	}
	l.N, l.Last = l.N+1, t
}

// resume begins the spread anew where the fan was not watched for a while: its publisher was started again, more
// readings were dropped than the spread is taken over, or the machine slept. Load and temperature moved the speed
// meanwhile, and the step from then to now is no wobble. Whether the speed itself is usual is judged as ever. A rotor
// that begins to turn has to settle.
func (f *fan) resume(r fanwatch.Reading) {
	s := &f.st
	dropped := r.Run != 0 && r.Seq > s.Seq+spreadOver // without a run the number is a time
	stood := s.N > 0 && f.last.RPM == 0 && r.RPM > 0
	if r.Run != s.Run || dropped || r.Time.Sub(f.last.Time) > notWatched || stood {
		s.spreadFrom(r.RPM)
	}
	if stood {
		s.Settling = settleOver
	}
	s.Run, s.Seq = r.Run, r.Seq
}

func (s *state) spreadFrom(rpm float64) {
	for i := range s.RPMs {
		s.RPMs[i] = rpm
	}
}

// idle reports whether the fan is commanded to stand still, or has had no time yet to turn after it was: then nothing
// is judged and nothing learned, no trouble begins and none ends.
func (s *state) idle(r fanwatch.Reading) bool {
	duty, known := r.PWM.Fraction()
	off, now := known && duty == 0, r.Time.UnixMicro()
	if s.Off && !off {
		s.Settling, s.Grace = settleOver, now+grace.Microseconds()
	}
	if s.Off = off; !off {
		if left := s.Grace - now; left <= 0 || left > grace.Microseconds() { // the clock may have gone back
			s.Grace = 0
			return false
		}
	}
	s.Under, s.Over, s.Absent, s.Still = 0, 0, 0, 0
	s.Repeats.RPM = 0
	s.spreadFrom(r.RPM)
	return true
}

// command takes note of the duty cycle that the fan is told. After a step neither the speed nor its wobble
// says anything until the rotor has followed; then the speed is held against what is usual at this duty
// cycle, which at a new one has to be learned first. What wears (the jitter) stays usual throughout, and
// the hard limits stay in force.
func (s *state) command(d fanwatch.Duty) {
	switch {
	case d == 0:
		return
	case s.Duty == 0:
		b := s.base()
		delete(s.Bases, 0)
		s.Duty = d
		s.setBase(b)
		return
	case max(d, s.Duty)-min(d, s.Duty) <= dutyStep:
		return
	}
	if s.Usuals == nil {
		s.Usuals = make(map[fanwatch.Duty]running)
	}
	s.Usuals[s.Duty/dutyBin] = s.Stats[featureRPM]
	s.Stats[featureRPM] = s.Usuals[d/dutyBin]
	s.Duty, s.Settling = d, settleOver
}

// turn decides whether the fan's state changes: at once to what is graver, and to what is less grave, or normal, after
// leaveInARow readings. While two publishers take turns, the readings of one do not end what the other's show.
func (f *fan) turn(found fanwatch.Anomaly) (changed bool) {
	s := &f.st
	now, then := found.Kind, s.Current.Kind
	if now == then || now.Gravity() > then.Gravity() {
		s.Fine, s.Lesser = 0, fanwatch.Anomaly{}
		if now == then {
			return false
		}
		s.Current = found
		return true
	}
	if s.Lesser.Kind == fanwatch.KindPublishers && s.Speakers.Twins == nil {
		s.Fine, s.Lesser = 0, fanwatch.Anomaly{}
	}
	s.Fine++
	if now.Gravity() > s.Lesser.Kind.Gravity() {
		s.Lesser = found
	}
	least := leaveInARow
	if s.Speakers.Twins != nil {
		least = returnsWithin + leaveInARow
	}
	if s.Fine < least {
		return false
	}
	s.Current = s.Lesser
	if s.Current.Kind == fanwatch.KindNone {
		s.Current = fanwatch.Anomaly{Score: found.Score, Why: fmt.Sprintf("%s is normal again.", f.device.Fan)}
	}
	s.Fine, s.Lesser = 0, fanwatch.Anomaly{}
	return true
}
