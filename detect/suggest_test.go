package detect

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"fanwatch"
)

// TestAHabitIsSuggestedOnceAndHidesNoStall: three nights make one suggestion, which stays the same from night to night,
// in a snapshot too, while each stop is told of; hours that are configured end it and the stalls.
func TestAHabitIsSuggestedOnceAndHidesNoStall(t *testing.T) {
	f := newFeed(fanwatch.Device{Fan: "a", Silence: fanwatch.Duration(-time.Second)})
	at := time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)
	stalls := 0
	day := func(n int) {
		for minute := range 24 * 60 {
			rpm := 1800 + float64((minute*7+n)%5)
			if minute > 16*60+n%3*4 && minute < 24*60-n%2*6 {
				rpm = 0
			}
			out := feedAt(f, at, fmt.Appendf(nil, `{"TIME":%q,"FANID":"a","RPM":%v,"client":"a"}`, at.Format(time.RFC3339), rpm))
			stalls += len(slicesOf(out.Observations, fanwatch.KindStall))
			at = at.Add(time.Minute)
		}
	}
	for n := range 3 {
		day(n)
		if got := f.Suggestions("a"); len(got) != 0 {
			t.Fatalf("after %d nights: %+v", n, got)
		}
	}
	day(3)
	first := f.Suggestions("a")
	if len(first) != 1 || first[0].Kind != fanwatch.SuggestionHours || first[0].V != fanwatch.SuggestionVersion ||
		*first[0].Change.Hours != "06:00-22:01" || !first[0].Since.Equal(time.Date(2026, 3, 5, 6, 0, 0, 0, time.UTC)) {
		t.Fatalf("%+v", first)
	}
	before, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if f.Models, err = Restore(f.cfg, before); err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		day(4 + n)
	}
	if got := f.Suggestions("a"); !fanwatch.SameSuggestions(got, first) {
		t.Errorf("%+v, want %+v", got, first)
	}
	if stalls != 8 {
		t.Errorf("%d stalls in 8 nights", stalls)
	}
	data, _ := fanwatch.EncodeDevice(first[0].Change.Apply(fanwatch.Device{V: 1, Revision: 9, Fan: "a", Silence: -1}))
	feedAt(f, at, data)
	day(8)
	if got := f.Suggestions("a"); len(got) != 0 || stalls != 8 {
		t.Errorf("with hours: %+v, %d stalls", got, stalls)
	}
	if after, err := f.Snapshot(); err != nil || bytes.Contains(after, []byte(`"suggestions"`)) {
		t.Errorf("the snapshot keeps them, %v", err)
	}
}

// feedAt feeds a record that arrives at.
func feedAt(f *feed, at time.Time, data []byte) Output {
	f.seq++
	return f.Feed(Input{Position: fanwatch.Position{Shard: "s",
		Sequence: fanwatch.SequenceNumber(fmt.Sprint(1000 + f.seq))}, Arrived: at, Data: data})
}
