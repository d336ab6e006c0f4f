package policy

import "time"

// wall returns the time at which clocks in the zone show that minute (0 to 1,439) of the date. A day outside its month
// is one of another month. Of a time that comes twice, because clocks are put back, it is the first; one that does not
// come, because they are put forward, is the moment at which they are.
func wall(year int, month time.Month, day, minute int, zone *time.Location) time.Time {
	t := time.Date(year, month, day, 0, minute, 0, 0, zone)
	want := time.Date(year, month, day, 0, minute, 0, 0, time.UTC)
	begin, end := t.ZoneBounds()
	switch shown := shows(t); {
	case shown.After(want): // after the gap
		return begin
	case shown.Before(want): // before it
		return end
	}
	if begin.IsZero() {
		return t
	}
	_, now := t.Zone()
	_, then := begin.Add(-1).Zone()
	if first := t.Add(time.Duration(now-then) * time.Second); first.Before(begin) && shows(first).Equal(want) {
		return first
	}
	return t
}

// shows returns what clocks show at t, as a time in UTC.
func shows(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// days returns the number of the date since 1970-01-01.
func days(year int, month time.Month, day int) int {
	return int(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60))
}
