package detect

import (
	"fmt"
	"time"

	"fanwatch"
)

const (
	recoverInARow = 5  // less grave readings in a row that end an anomaly
	settleOver    = 20 // readings that a rotor has to follow a step
)

// grace is how long a rotor may take to turn after its duty cycle rises from 0.
const grace = 10 * time.Second

// pauseAfter is the time between two readings after which the spread begins anew: twice the longest interval.
const pauseAfter = 2 * time.Minute

// state is all that scoring carries from reading to reading besides the forest.
type state struct {
	N       int                 `json:"n"`                    // readings judged
	Learned int                 `json:"learned"`              // readings that the forest learned
	Stats   [features]running   `json:"stats"`                // usual values of Raw
	Raw     [features]float64   `json:"raw"`                  // features of the newest reading, before scaling
	RPMs    [spreadOver]float64 `json:"rpms"`                 // ring, indexed by N
	Scores  [judgeOver]float64  `json:"scores"`               // ring, indexed by N
	Usual   running             `json:"usual"`                // of the score
	Under   int                 `json:"under"`                // readings in a row below the limit
	Over    int                 `json:"over"`                 // readings in a row above the limit
	Absent  int                 `json:"absent"`               // readings in a row with StateNoSignal
	Still   int                 `json:"still,omitempty"`      // readings in a row at 0 RPM, running or starting
	Repeats repeats             `json:"repeats"`              // equal readings
	Fine    int                 `json:"fine"`                 // readings in a row less grave than Current
	Lesser  fanwatch.Anomaly    `json:"lesser"`               // the gravest of those readings
	Current fanwatch.Anomaly    `json:"current"`              // the fan's state
	Run     uint64              `json:"run,string,omitempty"` // of the newest reading judged
	Seq     uint64              `json:"seq,string,omitempty"` // of the newest reading judged

	// The fields below are set by every accepted reading, judged or not; Arrivals by refused ones too.
	LastTime   int64      `json:"last_time"` // legacy format: newest time on the clock that is followed, Unix microseconds
	OlderClock olderClock `json:"line,omitzero"`
	Speakers   speakers   `json:"speakers"`
	Arrivals   Arrivals   `json:"heard"`

	// The fields below are set when the PWM duty cycle is known; then Stats[featureRPM] is of Duty.
	Duty     fanwatch.Duty              `json:"duty,omitempty"`   // commanded at the last step
	Settling int                        `json:"settle,omitempty"` // readings until the rotor has followed the step
	Usuals   map[fanwatch.Duty]running  `json:"usuals,omitempty"` // usual RPM at earlier duty cycles, by dutyBin
	Bases    map[fanwatch.Duty]baseline `json:"bases,omitempty"`  // baselines of all duty cycles, by dutyBin
	Off      bool                       `json:"off,omitempty"`    // commanded to 0
	Grace    int64                      `json:"grace,omitempty"`  // end of the grace, Unix microseconds; 0 = none
}

// olderClockAfter is the number of readings in a row after which an older clock is followed.
const olderClockAfter = 3

// olderClock counts readings in a row, in the legacy format, whose TIME lies behind the newest. After olderClockAfter
// of them the publisher's clock counts as put back.
type olderClock struct {
	N    int   `json:"n"`
	Last int64 `json:"last"` // Unix microseconds
}

// next reports whether a reading at t completes the row after which its clock is followed.
func (l olderClock) next(t int64) bool { return l.N == olderClockAfter-1 && t > l.Last }

func (l *olderClock) add(t int64) {
	if t <= l.Last {
		l.N = 0
	}
	l.N, l.Last = l.N+1, t
}

// resume begins the spread anew after a gap: another run, more dropped readings than the spread is taken over, or a
// pause. Load and temperature may have moved the speed meanwhile, and that step is no wobble. A rotor that begins to
// turn has to settle.
func (f *fan) resume(r fanwatch.Reading) {
	s := &f.st
	dropped := r.Run != 0 && r.Seq > s.Seq+spreadOver // with run 0 Seq is a time
	stood := s.N > 0 && f.last.RPM == 0 && r.RPM > 0
	if r.Run != s.Run || dropped || r.Time.Sub(f.last.Time) > pauseAfter || stood {
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

// idle reports whether the fan is commanded to stand still, or was within grace. Such a reading is not judged and not
// learned; no trouble begins or ends by it.
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

// command sets the commanded duty cycle. After a step, speed and spread are not judged for settleOver readings;
// then the speed is judged by what is usual at the duty cycle, which at a new one is learned first. Jitter is
// judged throughout by one usual value, and the hard limits hold.
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

// transition changes the fan's state by what a reading shows, and reports whether it changed: at once to what is
// graver, after recoverInARow readings to what is less grave or normal. While two publishers take turns it takes
// returnsWithin readings more, so that the readings of one do not end what those of the other show.
func (f *fan) transition(found fanwatch.Anomaly) (changed bool) {
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
	least := recoverInARow
	if s.Speakers.Twins != nil {
		least = returnsWithin + recoverInARow
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
