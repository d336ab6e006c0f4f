package fanwatch

import (
	"fmt"
	"strings"
	"time"
)

// Hours are the times of the week in which a fan runs.
type Hours []hourSpan

// hourSpan is a span of a day, in minutes since midnight, on some weekdays. To at or below From ends on the next day.
type hourSpan struct {
	days     [7]bool // by time.Weekday
	from, to int
}

var weekdays = [7]string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// ParseHours reads spans such as "06:00-22:00" or "Mon-Fri 06:00-22:00; Sat 08:00-12:00". No span is always.
func ParseHours(text string) (Hours, error) {
	var out Hours
	for _, part := range strings.Split(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		span, ok := parseSpan(part)
		if !ok || len(out) == 20 || len(part) > 60 {
			return nil, fmt.Errorf("hours %.80q: write them as 06:00-22:00, or Mon-Fri 06:00-22:00; Sat 08:00-12:00", text)
		}
		out = append(out, span)
	}
	return out, nil
}

func parseSpan(part string) (span hourSpan, ok bool) {
	fields := strings.Fields(part)
	first, last := 0, 6
	if len(fields) == 2 {
		a, b, isRange := strings.Cut(fields[0], "-")
		if !isRange {
			b = a
		}
		if first, ok = weekday(a); !ok {
			return span, false
		}
		if last, ok = weekday(b); !ok {
			return span, false
		}
		fields = fields[1:]
	}
	if len(fields) != 1 {
		return span, false
	}
	for d := first; ; d = (d + 1) % 7 {
		span.days[d] = true
		if d == last {
			break
		}
	}
	a, b, ok := strings.Cut(fields[0], "-")
	if !ok {
		return span, false
	}
	if span.from, ok = minuteOfDay(a); !ok {
		return span, false
	}
	span.to, ok = minuteOfDay(b)
	return span, ok
}

func weekday(s string) (int, bool) {
	for i, name := range weekdays {
		if strings.EqualFold(s, name) {
			return i, true
		}
	}
	return 0, false
}

func minuteOfDay(s string) (int, bool) {
	if s == "24:00" {
		return 24 * 60, true
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err == nil
}

// Include reports whether the fan runs at t, which is read in the zone that it bears.
func (h Hours) Include(t time.Time) bool {
	if len(h) == 0 {
		return true
	}
	day, minute := t.Weekday(), t.Hour()*60+t.Minute()
	for _, s := range h {
		before := (day + 6) % 7
		switch {
		case s.to > s.from:
			if s.days[day] && minute >= s.from && minute < s.to {
				return true
			}
		case s.days[day] && minute >= s.from, s.days[before] && minute < s.to:
			return true
		}
	}
	return false
}
