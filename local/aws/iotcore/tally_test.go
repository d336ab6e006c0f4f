package iotcore

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
)

// TestTheSameRefusalIsToldOnceAMinute: at once, then with the count of the others, and it is forgotten when it ends.
func TestTheSameRefusalIsToldOnceAMinute(t *testing.T) {
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	y := newTally()
	var told []report
	for second := range 180 { // two minutes and a second of refusals, two a second
		now := at.Add(time.Duration(second) * time.Second)
		for range 2 {
			f := Refusal{Time: now, ClientID: "fan-01", Kind: RefusedPublish, Reason: "no policy"}
			if second <= 120 && y.news(f, origin{certificate: "c"}) {
				told = append(told, report{Refusal: f})
			}
		}
		told = append(told, y.due(now, false)...)
	}
	var said []string
	sum := 0
	for _, f := range told {
		said = append(said, fmt.Sprintf("%s %s", f.Time.Format("04:05"), f.reason()))
		sum += 1 + f.more
	}
	want := []string{"00:00 no policy", "01:00 no policy (and 120 more in the last minute)",
		"02:00 no policy (and 119 more in the last minute)"}
	if strings.Join(said, "; ") != strings.Join(want, "; ") || sum != 242 {
		t.Errorf("%d refusals told as %q\nwant %q", sum, said, want)
	}
	if y.due(at.Add(4*time.Minute), false); len(y.counted) != 0 || len(y.sources) != 0 {
		t.Errorf("remembered: %v %v", y.counted, y.sources)
	}
}

// TestBogusClientIDsAreBounded: in what is told and in what is remembered, and they do not hide the refusals of
// others.
func TestBogusClientIDsAreBounded(t *testing.T) {
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	y := newTally()
	told := 0
	for i := range 10_000 {
		if y.news(Refusal{Time: at, ClientID: fmt.Sprint("bogus-", i), Kind: RefusedConnect, Reason: fmt.Sprint("client/",
			i)}, origin{certificate: "bad"}) {
			told++
		}
	}
	if told != tallyPerSource+1 || len(y.counted) != told {
		t.Errorf("%d told, %d remembered, want %d", told, len(y.counted), tallyPerSource+1)
	}
	if !y.news(Refusal{Time: at, ClientID: "fan-02", Kind: RefusedPublish, Reason: "no policy"},
		origin{certificate: "good"}) {
		t.Error("another certificate's first refusal is not told")
	}
	sum := told
	for _, f := range y.due(at.Add(tallyEvery), false) {
		sum += 1 + f.more
	}
	if sum != 10_000 {
		t.Errorf("%d of 10000 are told or counted", sum)
	}
	for i := range 10_000 { // of as many certificates
		y.news(Refusal{Time: at, ClientID: "x", Kind: RefusedConnect, Reason: "r"}, origin{certificate: fmt.Sprint(i)})
	}
	if len(y.counted) > tallyTotal+1 || len(y.sources) > tallyTotal+1 {
		t.Errorf("%d are remembered of %d certificates", len(y.counted), len(y.sources))
	}
}

// TestAClockThatStepsBackHoldsNoRefusalBack: what was counted before the step is told.
func TestAClockThatStepsBackHoldsNoRefusalBack(t *testing.T) {
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	y := newTally()
	for range 2 {
		y.news(Refusal{Time: at, Kind: RefusedConnect, Reason: "r"}, origin{})
	}
	if told := y.due(at.Add(-time.Hour), false); len(told) != 1 {
		t.Errorf("told %v", told)
	}
}

func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"fan-01", "a\x1b[2J\r\n", "\xff\xfe", "\u202e", "L\u00fcfter 7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range printable(s) {
			if r != unicode.ReplacementChar && !unicode.IsPrint(r) {
				t.Errorf("%q keeps %q", s, r)
			}
		}
	})
}
