package judge

import (
	"fmt"
	"math"
	"time"

	"fanwatch"
)

const (
	habitWithin = 30  // minutes within which three long stops begin, and end, at the same hour
	habitMoved  = 15  // minutes by which they may move before hours that were suggested are suggested anew
	longEnough  = 100 // readings after which the usual interval may be suggested for
)

// Habits is what suggestions rest on. While it stays the same, so do they.
type Habits struct {
	stops  [2][3]int16
	count  uint8
	octave int  // of the usual interval in s
	slow   int8 // 1: the interval is too long for the silence; 0: it may be; -1: it is not
}

// Habits returns what suggestions rest on after the newest reading.
func (f *Fan) Habits() Habits {
	s := &f.s
	h := Habits{stops: [2][3]int16{s.Stop.From, s.Stop.To}, count: s.Stop.Count, slow: -1}
	silence := f.device.SilenceAfter().Seconds()
	if silence == 0 || s.N < longEnough || s.Interval < 0.5*silence {
		return h
	}
	_, h.octave = math.Frexp(s.Interval)
	if h.slow = 0; s.Interval > 0.8*silence {
		h.slow = 1
	}
	return h
}

// Suggest returns what the readings up to the newest suggest, where before is what they suggested before. What stands
// stays until what it rests on has moved, so that it does not change from night to night.
func (f *Fan) Suggest(before []fanwatch.Suggestion) []fanwatch.Suggestion {
	var out []fanwatch.Suggestion
	add := func(kind fanwatch.SuggestionKind, of func(before *fanwatch.Suggestion) (fanwatch.Suggestion, bool)) {
		var was *fanwatch.Suggestion
		for i := range before {
			if before[i].Kind == kind {
				was = &before[i]
			}
		}
		s, ok := of(was)
		if !ok {
			return
		}
		if s.V == 0 {
			s.V, s.Fan, s.Kind, s.Since = fanwatch.SuggestionVersion, f.device.Fan, kind, time.UnixMicro(f.s.Last).UTC()
		}
		out = append(out, s)
	}
	add(fanwatch.SuggestionHours, f.suggestHours)
	add(fanwatch.SuggestionInterval, f.suggestSilence)
	return out
}

// suggestHours suggests the hours between long stops. was is the one that stands; nil: none.
func (f *Fan) suggestHours(was *fanwatch.Suggestion) (s fanwatch.Suggestion, ok bool) {
	from, to, ok := f.nightly()
	if !ok {
		return s, false
	}
	if was != nil && was.Change.Hours != nil {
		var a, b, c, d int16
		if n, _ := fmt.Sscanf(*was.Change.Hours, "%d:%d-%d:%d", &a, &b, &c, &d); n == 4 &&
			apart(60*a+b, to) <= habitMoved && apart(60*c+d, from) <= habitMoved {
			return *was, true
		}
	}
	hours := clock(to) + "-" + clock(from)
	s.Change.Hours = &hours
	s.Text = fmt.Sprintf("Its last three long stops began at about %s and ended at about %s.", clock(from), clock(to))
	return s, true
}

// nightly returns the times of day, in minutes, at which the last three long stops began and ended: the earliest and
// the latest of them. ok is false where they differ by more than habitWithin, or the fan may stop already.
func (f *Fan) nightly() (from, to int16, ok bool) {
	s := &f.s.Stop
	if s.Count < uint8(len(s.From)) || len(f.hours) > 0 || f.device.Kind == fanwatch.FanIntermittent {
		return 0, 0, false
	}
	from, to = s.From[0], s.To[0]
	for i := range s.From {
		if apart(s.From[i], s.From[0]) > habitWithin || apart(s.To[i], s.To[0]) > habitWithin {
			return 0, 0, false
		}
		if earlier(s.From[i], from) {
			from = s.From[i]
		}
		if earlier(to, s.To[i]) {
			to = s.To[i]
		}
	}
	return from, to, from != to
}

// suggestSilence suggests a silence of three usual intervals, in whole half minutes. was is the one that stands; nil:
// none.
func (f *Fan) suggestSilence(was *fanwatch.Suggestion) (s fanwatch.Suggestion, ok bool) {
	interval := f.s.Interval
	switch h := f.Habits(); {
	case h.slow < 0, h.slow == 0 && was == nil:
		return s, false
	case was != nil && was.Change.Silence != nil:
		if x := time.Duration(*was.Change.Silence).Seconds(); x >= 2*interval && x <= 5*interval {
			return *was, true
		}
	}
	silence := fanwatch.Duration(time.Duration(math.Ceil(3*interval/30)) * 30 * time.Second)
	s.Change.Silence = &silence
	s.Text = fmt.Sprintf("Its readings come every %.0f s, and it is called silent after %s.", interval,
		f.device.SilenceAfter())
	return s, true
}

// ForgetStops forgets when the fan stopped, such as when its zone has changed.
func (f *Fan) ForgetStops() { f.s.Stop.Count = 0 }

func clock(minute int16) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

// apart returns the minutes between two times of day.
func apart(a, b int16) int16 {
	d := (a - b + 1440) % 1440
	return min(d, 1440-d)
}

// earlier reports whether a is before b on the shorter way round the day.
func earlier(a, b int16) bool { return (b-a+1440)%1440 > 0 && (b-a+1440)%1440 < 720 }
