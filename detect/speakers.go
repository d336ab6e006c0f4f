package detect

import (
	"fmt"
	"time"

	"fanwatch"
)

const (
	speakersKept  = 4               // number of speakers that are remembered
	returnsTell   = 2               // returns of one speaker that prove two publishers
	returnsWithin = 120             // readings within which the returns count, and after which the trouble is over
	returnsTime   = 5 * time.Minute // time within which the returns count, by arrival
	otherClock    = time.Minute     // a TIME that is late by more than this comes from another clock
)

// speakers finds two publishers of one fan: they take turns, while a publisher that was restarted never returns under
// its former run. Publishers differ by run and client; in the legacy format by client and by a clock behind the other.
type speakers struct {
	Rows   int       `json:"rows"`             // number of accepted readings
	Newest []speaker `json:"newest,omitempty"` // newest first
	Twins  *twins    `json:"twins,omitempty"`  // nil while one publisher sends
}

// speaker is a publisher by its run, client and clock.
type speaker struct {
	Run     uint64    `json:"run,string"`
	Client  string    `json:"client"`
	Behind  bool      `json:"behind,omitempty"`  // in the legacy format: its clock is behind the other
	Returns int       `json:"returns,omitempty"` // times it sent again after another speaker
	Row     int       `json:"row,omitempty"`     // speakers.Rows at the newest return
	At      time.Time `json:"at,omitzero"`       // arrival of the newest return
}

func (s speaker) is(o speaker) bool {
	return s.Run == o.Run && s.Client == o.Client && s.Behind == o.Behind
}

// twins are two publishers that take turns.
type twins struct {
	Speakers [2]speaker `json:"speakers"`
	Row      int        `json:"row"` // speakers.Rows at the newest return
	At       time.Time  `json:"at"`  // arrival of the newest return
}

// note records the publisher of an accepted reading.
func (s *speakers) note(now speaker, arrived time.Time) {
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

// recent reports whether a row that arrived at at lies within returnsWithin and returnsTime of the newest row.
func (s *speakers) recent(row int, at, arrived time.Time) bool {
	return s.Rows-row < returnsWithin && arrived.Sub(at) < returnsTime
}

// sentence returns what two publishers of one fan say to people.
func (s *speakers) sentence(fan string) string {
	t := s.Twins
	if t == nil {
		return "Two publishers speak for " + fan + "."
	}
	a, b := t.Speakers[0], t.Speakers[1]
	who := fmt.Sprintf("clients %.128q and %.128q", a.Client, b.Client)
	switch {
	case a.Run != b.Run:
		who = fmt.Sprintf("runs %s and %s, ", runOf(a), runOf(b)) + who
	case a.Behind != b.Behind:
		who = fmt.Sprintf("client %.128q by two clocks", b.Client)
	}
	return fmt.Sprintf("Two publishers speak for %s: %s. Stop one, or give it a name of its own.", fan, who)
}

func runOf(s speaker) string {
	if s.Run == 0 {
		return "none"
	}
	return fanwatch.FormatRun(s.Run)
}
