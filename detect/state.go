package detect

import (
	"slices"
	"strings"
	"time"

	"fanwatch"
	"fanwatch/detect/judge"
)

const recoverInARow = 5 // less grave readings in a row that end an anomaly

// families are the families of a fan, in the order of state.Families.
var families = fanwatch.Families()

const (
	familySpeed = iota
	familySource
	familyTexture
	familyDrift
	familyForest
	familyCount
)

// state is all that scoring carries from reading to reading besides the judge and the forest.
type state struct {
	Families [familyCount]familyState `json:"families"`
	Forest   forestState              `json:"forest"`
	Repeats  repeats                  `json:"repeats"`          // equal readings
	Labels   []labelID                `json:"labels,omitempty"` // applied, newest first, at most keptLabels

	// Suggestions are what the readings suggest. They are not to be written through: observations share them.
	Suggestions []fanwatch.Suggestion `json:"suggestions,omitempty"`

	Pauses []fanwatch.Pause `json:"pauses,omitempty"` // by their end, at most keptPauses

	// The fields below are set by every accepted reading; Arrivals by refused ones too.
	LastTime   int64      `json:"last_time"` // legacy format: newest time on the clock that is followed, Unix microseconds
	OlderClock olderClock `json:"line,omitzero"`
	Speakers   speakers   `json:"speakers"`
	Arrivals   Arrivals   `json:"heard"`
}

// labelID identifies a label, which the stream may bring twice.
type labelID struct {
	Alert string    `json:"alert"`
	At    time.Time `json:"at"`
}

const keptLabels = 8

// familyState is the state of one family of trouble.
type familyState struct {
	Current fanwatch.Anomaly `json:"current,omitzero"`
	Fine    int              `json:"fine,omitempty"`  // readings in a row less grave than Current
	Lesser  fanwatch.Anomaly `json:"lesser,omitzero"` // the gravest of those readings
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

// transition changes the state of a family by what a reading shows, and reports whether it changed: at once to what
// is graver, after recoverInARow readings to another kind that is less grave or to normal. While two publishers
// take turns it takes returnsWithin readings more, so that the readings of one do not end what those of the other
// show. anomaly returns that of found.
func (s *state) transition(family int, found judge.Finding, anomaly func() fanwatch.Anomaly) bool {
	f := &s.Families[family]
	now := fanwatch.Anomaly{Kind: found.Kind, Severity: found.Severity}
	if f.Current.Kind == fanwatch.KindNone && found.Kind == fanwatch.KindNone {
		return false
	}
	if now.Graver(f.Current) {
		f.Fine, f.Lesser = 0, fanwatch.Anomaly{}
		since := f.Current.Since
		f.Current = anomaly()
		if !since.IsZero() && since.Before(f.Current.Since) {
			f.Current.Since = since
		}
		return true
	}
	if found.Kind == f.Current.Kind || !f.Current.Graver(now) {
		f.Fine, f.Lesser = 0, fanwatch.Anomaly{}
		return false
	}
	if f.Lesser.Kind == fanwatch.KindPublishers && s.Speakers.Twins == nil {
		f.Fine, f.Lesser = 0, fanwatch.Anomaly{}
	}
	f.Fine++
	if now.Graver(f.Lesser) {
		f.Lesser = anomaly()
	}
	least := recoverInARow
	if s.Speakers.Twins != nil {
		least += returnsWithin
	}
	if f.Fine < least {
		return false
	}
	f.Current = f.Lesser
	f.Fine, f.Lesser = 0, fanwatch.Anomaly{}
	return true
}

// worst returns the family whose trouble is gravest; the first where there is none.
func (s *state) worst() int {
	worst := 0
	for i := range s.Families {
		if s.Families[i].Current.Graver(s.Families[worst].Current) {
			worst = i
		}
	}
	return worst
}

// verdict returns the kinds of all trouble, gravest first, by commas; without trouble it returns otherwise.
func (s *state) verdict(otherwise string) string {
	var found []fanwatch.Anomaly
	for i := range s.Families {
		if a := s.Families[i].Current; a.Kind != fanwatch.KindNone {
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		return otherwise
	}
	slices.SortStableFunc(found, func(a, b fanwatch.Anomaly) int {
		switch {
		case a.Graver(b):
			return -1
		case b.Graver(a):
			return 1
		}
		return 0
	})
	var text strings.Builder
	for i, a := range found {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString(string(a.Kind))
	}
	return text.String()
}
