package main

import (
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fanwatch"
)

// TestReplayedReadingsKeepTheirDistancesAndEndNow: at sixty times the speed a minute takes a second, and the last
// reading has the time at which it is published.
func TestReplayedReadingsKeepTheirDistancesAndEndNow(t *testing.T) {
	var rows iter.Seq2[fanwatch.Row, error] = func(yield func(fanwatch.Row, error) bool) {
		for _, n := range []int{0, 60, 61, 600} {
			r := fanwatch.Row{Kind: fanwatch.RowScored}
			r.Time, r.RPM, r.Unsynch = second(n), float64(n), true
			if !yield(r, nil) {
				return
			}
		}
	}
	src := &recorded{fans: []string{"fan-a"}, rows: func(string) iter.Seq2[fanwatch.Row, error] { return rows }}
	first, last, err := src.span()
	if err != nil || !first.Equal(second(0)) || !last.Equal(second(600)) {
		t.Fatal(first, last, err)
	}
	for speed, took := range map[float64]time.Duration{60: 10 * time.Second, 0: 0, 1: 600 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlayer(first, last, speed, time.Now())
			var got []fanwatch.Reading
			err := p.play(t.Context(), rows, func(r fanwatch.Reading) error {
				if speed > 0 && !time.Now().Equal(p.began.Add(time.Duration(r.RPM/speed*float64(time.Second)))) {
					t.Errorf("speed %g: the reading of second %g is published at %s", speed, r.RPM, time.Since(p.began))
				}
				got = append(got, r)
				return nil
			}, func(time.Time) {})
			if err != nil || len(got) != 4 || time.Since(p.began) != took {
				t.Fatalf("speed %g: %d readings in %s, %v", speed, len(got), time.Since(p.began), err)
			}
			for _, r := range got {
				if want := time.Now().Add(time.Duration(r.RPM-600) * time.Second); !r.Time.Equal(want) || r.Unsynch {
					t.Errorf("speed %g: second %g is dated %s, want %s", speed, r.RPM, r.Time, want)
				}
			}
		})
	}
}

func TestReplaySaysWhatItLacks(t *testing.T) {
	refuses(t, "replay --csv x --broker b:1", "--broker, --ca, --cert and --key are given together, with one --fan "+
		"(see --help)")
	refuses(t, "replay --csv x --speed -1", "--speed -1: give 1 for as it was, 60 for a minute in a second, 0 for as "+
		"fast as possible (see --help)")
	if _, err := inProcess(t, "replay", "--csv", t.TempDir()); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}
