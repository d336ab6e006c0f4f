package detect

import (
	"fmt"
	"time"

	"fanwatch"
)

const (
	speakersKept  = 4               // the newest speakers that are remembered
	returnsTell   = 2               // returns of one speaker that tell two publishers from a restart
	returnsWithin = 120             // readings in which they come, and after which without any the trouble is over
	returnsTime   = 5 * time.Minute // the same by arrival
	otherClock    = time.Minute     // a late TIME by more than this comes of another clock
)

// speakers tells two publishers of one fan, which take turns, from one that was started again, which never comes
// back. Runs and clients tell publishers apart; in the demo's format the client, and a clock behind the other.
type speakers struct {
	Rows   int       `json:"rows"`             // accepted readings
	Newest []speaker `json:"newest,omitempty"` // the one that spoke last first
	Twins  *twins    `json:"twins,omitempty"`  // nil while one publisher speaks
}

type speaker struct {
	Run     uint64    `json:"run,string"`
	Client  string    `json:"client"`
	Behind  bool      `json:"behind,omitempty"`  // in the demo's format: of a clock behind the other
	Returns int       `json:"returns,omitempty"` // how often it came back after another had spoken
	Row     int       `json:"row,omitempty"`     // at the newest return
	At      time.Time `json:"at,omitzero"`       // arrival then
}

func (s speaker) is(o speaker) bool {
	return s.Run == o.Run && s.Client == o.Client && s.Behind == o.Behind
}

// twins are two publishers that take turns, and when one came back last.
type twins struct {
	Speakers [2]speaker `json:"speakers"`
	Row      int        `json:"row"`
	At       time.Time  `json:"at"`
}

// hear takes note of who published an accepted reading.
func (s *speakers) hear(now speaker, arrived time.Time) {
	s.Rows++
	if t := s.Twins; t != nil && !s.recent(t.Row, t.At, arrived) {
		s.Twins = nil
	}
	if len(s.Newest) > 0 && s.Newest[0].is(now) {
		return
	}
	for i, old := range s.Newest {
		if !old.is(now) {
			continue
		}
		if !s.recent(old.Row, old.At, arrived) {
			old.Returns = 0
		}
		old.Returns, old.Row, old.At = old.Returns+1, s.Rows, arrived
		other := s.Newest[0]
		copy(s.Newest[1:i+1], s.Newest[:i])
		s.Newest[0] = old
		if old.Returns >= returnsTell || s.Twins != nil {
			s.Twins = &twins{Speakers: [2]speaker{old, other}, Row: s.Rows, At: arrived}
		}
		return
	}
	s.Newest = append([]speaker{now}, s.Newest[:min(len(s.Newest), speakersKept-1)]...)
}

// recent reports whether row, which arrived at at, is near enough to the newest one.
func (s *speakers) recent(row int, at, arrived time.Time) bool {
	return s.Rows-row < returnsWithin && arrived.Sub(at) < returnsTime
}

// found returns the trouble of a fan for which two publishers speak.
func (t *twins) found(fan string) fanwatch.Anomaly {
	a, b := t.Speakers[0], t.Speakers[1]
	who := fmt.Sprintf("clients %.128q and %.128q", a.Client, b.Client)
	switch {
	case a.Run != b.Run:
		who = fmt.Sprintf("runs %s and %s, ", runOf(a), runOf(b)) + who
	case a.Behind != b.Behind:
		who = fmt.Sprintf("client %.128q by two clocks", b.Client)
	}
	return fanwatch.Anomaly{Kind: fanwatch.KindPublishers,
		Why: fmt.Sprintf("Two publishers speak for %s: %s. Stop one, or give it a name of its own.", fan, who)}
}

func runOf(s speaker) string {
	if s.Run == 0 {
		return "none"
	}
	return fanwatch.FormatRun(s.Run)
}
