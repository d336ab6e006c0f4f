package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// schedule is a rotation of persons by weeks. One of them is on call at every time.
type schedule struct {
	line      int
	zone      *time.Location
	weekday   time.Weekday
	minute    int // of the day at which the hand-over is
	weeks     int // of one turn
	people    []text
	start     int // days since 1970-01-01 of the first person's first hand-over
	overrides []override
}

// override puts a person on call in place of the rotation.
type override struct {
	line     int
	who      text
	from, to time.Time
	note     string
}

// Shift is one time of a schedule in which one person is on call.
type Shift struct {
	Schedule string    `json:"schedule"`
	Person   string    `json:"person"`
	From     time.Time `json:"from,omitzero"`      // zero: from ever
	Until    time.Time `json:"until,omitzero"`     // zero: for good
	Override bool      `json:"override,omitempty"` // the person covers for another
	Note     string    `json:"note,omitempty"`     // of the override
}

// turn returns the beginning of the rotation's k-th turn; the first person's first is 0.
func (s schedule) turn(k int) time.Time {
	return wall(1970, time.January, 1+s.start+7*s.weeks*k, s.minute, s.zone)
}

// rotation returns which turn of the rotation t is in.
func (s schedule) rotation(t time.Time) int {
	y, m, d := t.In(s.zone).Date()
	k := (days(y, m, d) - s.start) / (7 * s.weeks) // off by one at the most, which the loops mend
	for s.turn(k).After(t) {
		k--
	}
	for !s.turn(k + 1).After(t) {
		k++
	}
	return k
}

// at returns the shift that t is in, as rotation and overrides cut it: two shifts in a row may be of one person.
func (s schedule) at(t time.Time) Shift {
	k := s.rotation(t)
	n := len(s.people)
	out := Shift{Person: s.people[(k%n+n)%n].string, From: s.turn(k), Until: s.turn(k + 1)}
	for _, o := range s.overrides {
		switch {
		case !t.Before(o.from) && t.Before(o.to):
			return Shift{Person: o.who.string, From: o.from, Until: o.to, Override: true, Note: o.note}
		case t.Before(o.from) && o.from.Before(out.Until):
			out.Until = o.from
		case !t.Before(o.to) && o.to.After(out.From):
			out.From = o.to
		}
	}
	return out
}

// mostTurns bounds how many turns of one person in a row are put together; after them the shift has no end.
const mostTurns = 60

// shift returns the shift that t is in, with those of the same person before and after it.
func (s schedule) shift(t time.Time) Shift {
	out := s.at(t)
	for i := 0; ; i++ {
		next := s.at(out.Until)
		if next.Person != out.Person || next.Override != out.Override || next.Note != out.Note {
			break
		}
		if i == mostTurns {
			out.Until = time.Time{}
			break
		}
		out.Until = next.Until
	}
	for i := 0; ; i++ {
		before := s.at(out.From.Add(-1))
		if before.Person != out.Person || before.Override != out.Override || before.Note != out.Note {
			return out
		}
		if i == mostTurns {
			out.From = time.Time{}
			return out
		}
		out.From = before.From
	}
}

// OnCall returns the shift of each schedule at the time, in the order of their names, and the one after it. A shift
// without end has none after it: then next has no Person.
func (f *File) OnCall(at time.Time) (now, next []Shift) {
	for _, name := range slices.Sorted(maps.Keys(f.schedules)) {
		s := f.schedules[name]
		shift, after := s.shift(at), Shift{}
		if !shift.Until.IsZero() {
			after = s.shift(shift.Until)
		}
		shift.Schedule, after.Schedule = name, name
		now, next = append(now, shift), append(next, after)
	}
	return now, next
}

// Zone returns the zone of a schedule; an unknown one has the file's.
func (f *File) Zone(schedule string) *time.Location {
	if s, ok := f.schedules[schedule]; ok {
		return s.zone
	}
	return f.zone
}

var weekdays = [7]string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// handover reads a weekday and a time of day.
func handover(s string) (day time.Weekday, minute int, ok bool) {
	a, b, _ := strings.Cut(s, " ")
	i := slices.IndexFunc(weekdays[:], func(name string) bool { return strings.EqualFold(name, a) })
	minute, ok = minuteOfDay(strings.TrimSpace(b))
	return time.Weekday(max(i, 0)), minute, ok && i >= 0
}

// moment reads a time as 2026-12-24T09:00:00+01:00, or in the zone as 2026-12-24 09:00 or 2026-12-24. The last is the
// beginning of that day, with end the end.
func moment(s string, zone *time.Location, end bool) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			return wall(t.Year(), t.Month(), t.Day(), t.Hour()*60+t.Minute(), zone), nil
		}
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return t, fmt.Errorf("%.40q is no time: write 2026-12-24, 2026-12-24 09:00 or 2026-12-24T09:00:00+01:00", s)
	}
	day := t.Day()
	if end {
		day++
	}
	return wall(t.Year(), t.Month(), day, 0, zone), nil
}

// quiet is a time of each day in which what is not critical waits.
type quiet struct {
	from, to   int // minutes since midnight; to at or below from ends on the next day
	zone       *time.Location
	severities []string
}

// until returns the end of the quiet hours that t is in; ok is false when it is in none.
func (q *quiet) until(t time.Time) (end time.Time, ok bool) {
	y, m, d := t.In(q.zone).Date()
	over := 0
	if q.to <= q.from {
		over = 1
	}
	for _, day := range []int{d - 1, d} {
		end := wall(y, m, day+over, q.to, q.zone)
		if begin := wall(y, m, day, q.from, q.zone); !t.Before(begin) && t.Before(end) {
			return end, true
		}
	}
	return end, false
}

func sortOverrides(all []override) {
	slices.SortFunc(all, func(a, b override) int { return cmp.Or(a.from.Compare(b.from), a.line-b.line) })
}
