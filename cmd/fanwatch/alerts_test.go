package main

import (
	"testing"
	"time"

	"fanwatch"
)

// TestASnoozeEndsWhenItIsSaid: by the clock of the person, at the next such time; by a length; never by both.
func TestASnoozeEndsWhenItIsSaid(t *testing.T) {
	now := time.Date(2026, 12, 1, 22, 0, 0, 0, time.Local)
	for _, c := range []struct {
		until  string
		during time.Duration
		want   time.Time // zero: it is refused
	}{
		{"", 2 * time.Hour, now.Add(2 * time.Hour)},
		{"23:30", 0, now.Add(90 * time.Minute)},
		{"07:30", 0, time.Date(2026, 12, 2, 7, 30, 0, 0, time.Local)},
		{"2026-12-02T06:00:00Z", 0, time.Date(2026, 12, 2, 6, 0, 0, 0, time.UTC)},
		{"", 0, time.Time{}}, {"07:30", time.Hour, time.Time{}}, {"tomorrow", 0, time.Time{}},
	} {
		got, err := snoozeEnd(c.until, c.during, now)
		if (err == nil) == c.want.IsZero() || err == nil && !got.Equal(c.want) {
			t.Errorf("%q, %s: %s, %v, want %s", c.until, c.during, got, err, c.want)
		}
	}
}

// TestASiteCoversItsRacks and no other site whose name begins alike.
func TestASiteCoversItsRacks(t *testing.T) {
	s := selection{site: "Hall A"}
	for site, want := range map[string]bool{"Hall A": true, "Hall A, rack 3": true, "Hall AB": false, "": false} {
		if got := s.covers(fanwatch.Alert{Site: site}); got != want {
			t.Errorf("%q: %t", site, got)
		}
	}
	if (selection{}).covers(fanwatch.Alert{}) || !(selection{all: true}).covers(fanwatch.Alert{}) {
		t.Error("nothing is selected, or not all")
	}
}

// TestAnAnswerThatIsNotWholeIsNotSent: what it lacks is said before a system is asked.
func TestAnAnswerThatIsNotWholeIsNotSent(t *testing.T) {
	fails(t, "without a reason", "alerts", "resolve", "fan-07")
	fails(t, "to whom", "alerts", "hand", "fan-07")
	fails(t, "give one of them", "alerts", "snooze", "fan-07")
	fails(t, "note is empty", "alerts", "note", "fan-07")
	fails(t, "no alert is named", "alerts", "take")
	fails(t, "fanwatch alerts has no command", "alerts", "nonsense")
}
