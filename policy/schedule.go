package policy

import (
	"fmt"
	"strings"
	"time"
)

// Schedule is a rotation: persons are on call by turns, handing over at a time of the week.
type Schedule struct {
	Zone      string     `yaml:"zone"`     // IANA zone of all times; "" = that of the file
	Handover  string     `yaml:"handover"` // such as Mon 09:00, which is the default
	Every     int        `yaml:"every"`    // weeks of a turn; 0 = 1
	Start     string     `yaml:"start"`    // day in whose week the first of People begins, as 2006-01-02; "" = 2026-01-05
	People    []string   `yaml:"people"`
	Overrides []Override `yaml:"overrides"`
}

// Override puts a person on call in place of the rotation's. Of two that cover a time, the later in the list holds.
type Override struct {
	Who  string `yaml:"who"`
	From string `yaml:"from"` // as 2006-01-02 15:04 or 2006-01-02 in the schedule's zone, or RFC 3339
	To   string `yaml:"to"`   // first time that it no longer covers; a day alone: its end
	Note string `yaml:"note"`
}

// OnCall is who is on call on a schedule.
type OnCall struct {
	Schedule string    `json:"schedule"`
	Who      string    `json:"who"`
	Channels []string  `json:"channels"`
	Until    time.Time `json:"until"` // next hand-over
	Next     string    `json:"next"`  // who is on call from then on
	Zone     string    `json:"zone"`
	Note     string    `json:"note,omitempty"` // of an override
}

var weekdays = map[string]time.Weekday{"Sun": 0, "Mon": 1, "Tue": 2, "Wed": 3, "Thu": 4, "Fri": 5, "Sat": 6}

// handover returns weekday and time of day of the hand-over.
func (s Schedule) handover() (day time.Weekday, at time.Time, err error) {
	if s.Handover == "" {
		return time.Monday, time.Date(0, 1, 1, 9, 0, 0, 0, time.UTC), nil
	}
	name, clock, _ := strings.Cut(s.Handover, " ")
	day, ok := weekdays[name]
	at, err = time.Parse("15:04", clock)
	if !ok || err != nil {
		return 0, at, fmt.Errorf("handover %.40q: write it as Mon 09:00", s.Handover)
	}
	return day, at, nil
}

// turn returns the number of the turn at a time, counted from the week of Start, and when it ends.
func (s Schedule) turn(at time.Time, fileZone string) (n int, end time.Time) {
	z := zone(s.Zone, fileZone)
	day, clock, _ := s.handover() // Parse has checked it
	start, err := time.ParseInLocation(time.DateOnly, s.Start, z)
	if err != nil {
		start = time.Date(2026, 1, 5, 0, 0, 0, 0, z)
	}
	y, m, d := start.Date()
	d += (int(day) - int(start.Weekday()) + 7) % 7
	begin := func(turn int) time.Time { // by the clock on the wall
		return time.Date(y, m, d+7*turn*s.weeks(), clock.Hour(), clock.Minute(), 0, 0, z)
	}
	n = int(at.Sub(begin(0)).Hours()/(7*24)) / s.weeks()
	for at.Before(begin(n)) {
		n--
	}
	for !at.Before(begin(n + 1)) {
		n++
	}
	return n, begin(n + 1)
}

func (s Schedule) weeks() int { return max(1, s.Every) }

// times returns the times that an override covers.
func (o Override) times(z *time.Location) (from, to time.Time, err error) {
	parse := func(text string, last bool) (time.Time, error) {
		for _, layout := range []string{"2006-01-02 15:04", time.RFC3339} {
			if t, err := time.ParseInLocation(layout, text, z); err == nil {
				return t, nil
			}
		}
		t, err := time.ParseInLocation(time.DateOnly, text, z)
		if err != nil {
			return t, fmt.Errorf("override of %.60q: %.60q is no time: write it as 2026-12-24 18:00", o.Who, text)
		}
		if last {
			t = t.AddDate(0, 0, 1)
		}
		return t, nil
	}
	if from, err = parse(o.From, false); err != nil {
		return from, to, err
	}
	if to, err = parse(o.To, true); err == nil && !to.After(from) {
		err = fmt.Errorf("override of %.60q: it ends at or before its beginning", o.Who)
	}
	return from, to, err
}

// onCall returns who is on call at a time, and the override by which, if one covers it.
func (s Schedule) onCall(at time.Time, fileZone string) (who string, by *Override) {
	for i := len(s.Overrides) - 1; i >= 0; i-- {
		from, to, err := s.Overrides[i].times(zone(s.Zone, fileZone))
		if err == nil && !at.Before(from) && at.Before(to) {
			return s.Overrides[i].Who, &s.Overrides[i]
		}
	}
	if len(s.People) == 0 {
		return "", nil
	}
	n, _ := s.turn(at, fileZone)
	return s.People[((n%len(s.People))+len(s.People))%len(s.People)], nil
}

// until returns when another is on call next: the next hand-over, or the beginning or end of an override.
func (s Schedule) until(at time.Time, fileZone string) time.Time {
	_, next := s.turn(at, fileZone)
	for _, o := range s.Overrides {
		from, to, err := o.times(zone(s.Zone, fileZone))
		if err != nil {
			continue
		}
		for _, t := range []time.Time{from, to} {
			if t.After(at) && t.Before(next) {
				next = t
			}
		}
	}
	return next
}

// OnCall returns who is on call on each schedule at a time, by the names of the schedules.
func (f *File) OnCall(at time.Time) []OnCall {
	all := []OnCall{}
	for _, name := range sorted(f.Schedules) {
		s := f.Schedules[name]
		who, by := s.onCall(at, f.Zone)
		until := s.until(at, f.Zone)
		next, _ := s.onCall(until, f.Zone)
		c := OnCall{Schedule: name, Who: who, Channels: f.names(who, at), Until: until, Next: next,
			Zone: zone(s.Zone, f.Zone).String()}
		if by != nil {
			c.Note = by.Note
		}
		all = append(all, c)
	}
	return all
}
