package main

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/lake/landing"
)

// TestWhySaysWhatTheJudgeKnewThen: whatever came later, an explanation is that of the models at the moment, with a
// snapshot before it, without one, and in the midst of trouble.
func TestWhySaysWhatTheJudgeKnewThen(t *testing.T) {
	p := newPast(t)
	then := make(map[int]detect.Explanation)
	rpms := make(map[int]float64)
	p.live(2400, func(n int) {
		if n%300 == 7 || n == 1530 {
			e, ok := p.models.Why("fan-a")
			if !ok {
				t.Fatalf("second %d: nothing to explain", n)
			}
			then[n], rpms[n] = e, e.RPM
		}
		if n == 900 || n == 1500 {
			p.land()
			p.snapshot()
		}
	})
	for n, want := range then {
		q := question{"fan-a", second(n).Add(400 * time.Millisecond), detect.Config{Seed: 1}}
		d, err := q.askModels(t.Context(), []landing.Log{p.log})
		if err != nil || d.Source != fromModels || !d.Time.Equal(second(n)) || d.Note != "" {
			t.Fatalf("second %d: %+v, %v", n, d, err)
		}
		if !reflect.DeepEqual(d.Facts, want.Facts) || !reflect.DeepEqual(d.States, want.States) || d.RPM != rpms[n] {
			t.Errorf("second %d: %+v, want %+v", n, d.Explanation, want)
		}
		if stalled := n >= 1500 && n < 1560; (d.Anomaly == fanwatch.KindStall) != stalled {
			t.Errorf("second %d: %q", n, d.Anomaly)
		}
	}
	q := question{"fan-a", pastBegan.Add(-time.Hour), detect.Config{Seed: 1}}
	if d, err := q.askModels(t.Context(), []landing.Log{p.log}); err != nil || d.Source != "" {
		t.Errorf("before the first reading: %+v, %v", d, err)
	}
}

// TestWhyFallsBackOnTheTable: where the log's rows are gone, the row's columns are what there is, and it says so.
func TestWhyFallsBackOnTheTable(t *testing.T) {
	p := newPast(t)
	p.live(600, func(n int) {
		for i := range p.rows {
			if r := &p.rows[i]; r.Kind == fanwatch.RowScored {
				r.Judged = fanwatch.Judged{Expected: 1800.3, Low: 1773.3, High: 1827.3, Verdict: "normal"}
			}
		}
		if n == 300 {
			p.land()
			p.snapshot()
		}
	})
	tables := p.tables()
	h, err := p.log.NextHeader(t.Context(), "0")
	if err == nil {
		err = p.log.Tombstone(t.Context(), h)
	}
	if err != nil {
		t.Fatal(err)
	}
	q := question{"fan-a", second(200), detect.Config{Seed: 1}}
	d, err := q.askModels(t.Context(), []landing.Log{p.log})
	if err != nil || d.Source != "" || !strings.Contains(d.Note, "no longer has the rows") {
		t.Fatalf("%+v, %v", d, err)
	}
	if d, err = q.askTable(t.Context(), tables.Table); err != nil || d.Source != fromColumns || !d.Time.Equal(q.at) ||
		d.Expected != 1800.3 || d.Low != 1773.3 || d.High != 1827.3 || d.Verdict != "normal" {
		t.Fatalf("%+v, %v", d, err)
	}
	var out bytes.Buffer
	if err := printDecision(&out, d); err != nil || !strings.Contains(out.String(),
		"1800.3 RPM, band 1773.3 to 1827.3") {
		t.Errorf("%v: %s", err, out.String())
	}
	if d, err = (question{"fan-c", second(200), detect.Config{}}).askTable(t.Context(), tables.Table); err != nil ||
		d.Source != "" {
		t.Errorf("of no fan: %+v, %v", d, err)
	}
}
