package trial

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/testsuite/worlds"
)

func change(seconds int, kind fanwatch.Kind) Change {
	return Change{Time: epoch.Add(time.Duration(seconds) * time.Second), Family: fanwatch.FamilySpeed, Kind: kind,
		Severity: kind.Severity()}
}

func TestTroubleThatReturnsWithinTheHoldContinuesItsAlert(t *testing.T) {
	drift := change(10, fanwatch.KindDrift)
	drift.Family = fanwatch.FamilyDrift
	all := alerts([]Change{change(0, fanwatch.KindSpeed), drift, change(20, fanwatch.KindNone),
		change(80, fanwatch.KindStall), change(90, fanwatch.KindNone), change(151, fanwatch.KindSpeed)})
	if len(all) != 3 || all[0].Severity != fanwatch.SeverityCritical || all[1].Kind != fanwatch.KindDrift ||
		!all[2].End.IsZero() || !all[0].Page() || all[1].Page() {
		t.Fatalf("%+v", all)
	}
	for _, c := range []struct{ from, first int }{{0, 0}, {1, 10}, {11, 80}, {81, 151}, {152, -1}} {
		first, ok := firstSince(all, "", epoch.Add(time.Duration(c.from)*time.Second), "")
		if ok != (c.first >= 0) || ok && !first.Time.Equal(epoch.Add(time.Duration(c.first)*time.Second)) {
			t.Errorf("first since %d s: %v %v, want %d s", c.from, first.Time, ok, c.first)
		}
	}
}

func TestAnObservationWithoutFamilyEndsEveryFamily(t *testing.T) {
	if got := changesOf(&fanwatch.Observation{}); len(got) != 5 {
		t.Errorf("%d changes, want one for each of 5 families", len(got))
	}
	o := fanwatch.Observation{Anomaly: fanwatch.Anomaly{Kind: fanwatch.KindStall}}
	if got := changesOf(&o); len(got) != 1 || got[0].Family != fanwatch.FamilySpeed || got[0].Severity != "critical" {
		t.Errorf("%+v", got)
	}
}

// TestARecordHoldsTheReadings: what the judge is given is what the world gave.
func TestARecordHoldsTheReadings(t *testing.T) {
	w, err := worlds.Find("restarts")
	if err != nil {
		t.Fatal(err)
	}
	s := w.Open(worlds.Options{Seed: 1, Span: 12 * time.Hour})[0]
	b := newBatches([]fanwatch.Device{s.Device()})
	var given, got []fanwatch.Reading
	take := func(record []byte) {
		rec, err := fanwatch.DecodeRecord(record)
		if err != nil || rec.Client != s.Device().Fan || rec.Arrived.IsZero() || !json.Valid(record) {
			t.Fatalf("%+v %v", rec, err)
		}
		for _, r := range rec.Readings {
			got = append(got, r.Reading)
		}
	}
	for s.Next() {
		given = append(given, s.Reading)
		record, err := b.add(&s.Reading)
		if err != nil {
			t.Fatal(err)
		}
		if record != nil {
			take(record)
		}
	}
	if err := b.rest(func(record []byte) error { take(record); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(given) || len(given) < 40_000 {
		t.Fatalf("%d of %d readings", len(got), len(given))
	}
	for i := range got {
		if got[i] != given[i] {
			t.Fatalf("%+v, want %+v", got[i], given[i])
		}
	}
}

// TestATrialIsTheSameEachTime: neither processors nor their order change the tables.
func TestATrialIsTheSameEachTime(t *testing.T) {
	var tables [2]string
	for i := range tables {
		results, err := Run(Config{Judges: []string{"bands", "chart"}, First: 1, Seeds: 2, Span: 6 * time.Hour,
			History: 2 * time.Hour, Only: regexp.MustCompile("^(steady|thermostat|wrong-500|stall|drop-10|drift-10)$"),
			Worlds: true, Faults: true})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := results.Write(&b); err != nil {
			t.Fatal(err)
		}
		tables[i] = b.String()
	}
	if tables[0] != tables[1] {
		t.Errorf("%s\nand then\n%s", tables[0], tables[1])
	}
	for _, want := range []string{"figure detect.false.steady.bands 0 alerts/fan-day\n",
		"figure detect.found.stall.bands 100 %\n", "figure detect.delay.stall.bands 0 s\n",
		"figure detect.false.thermostat.chart "} {
		if !strings.Contains(tables[0], want) {
			t.Errorf("no line %q in\n%s", want, tables[0])
		}
	}
}

// TestHealthyFansWakeNoOne holds the judge to its targets on a small part of what go tool task bench:detect runs.
func TestHealthyFansWakeNoOne(t *testing.T) {
	if testing.Short() {
		t.Skip("15 s of processor time; -short is set")
	}
	results, err := Run(Config{Judges: []string{Project}, First: 1001, Seeds: 1, Span: 12 * time.Hour, Worlds: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range results.Healthy {
		if h.World.Regime == worlds.Announced && h.Alerts > 0 || h.Over > 0 {
			t.Errorf("%s: %d alerts, %d of them pages, in %.1f fan-days", h.World.Name, h.Alerts, h.Pages, h.Days)
		}
	}
}

// TestFaultsAreFoundInTime holds the judge to its targets on a small part of what go tool task bench:detect runs.
func TestFaultsAreFoundInTime(t *testing.T) {
	if testing.Short() {
		t.Skip("15 s of processor time; -short is set")
	}
	results, err := Run(Config{Judges: []string{Project}, First: 1001, Seeds: 2, History: 4 * time.Hour, Faults: true,
		Only: regexp.MustCompile("^(stall|drop-10|drop-3|rise-10|jitter-2|jitter-6|stops|early-.*)$")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range results.Faulty {
		if f := &results.Faulty[i]; f.Found < f.Fans || f.Late > 0 {
			t.Errorf("%s: found %d of %d (not on %v), %d of them late, median %s", f.Fault.Name, f.Found, f.Fans, f.Missed,
				f.Late, f.Median())
		}
	}
}

// TestALabelMidWayHolds: called normal, a level alerts once and no more; called a fault, it is never learned, and each
// visit alerts again.
func TestALabelMidWayHolds(t *testing.T) {
	if testing.Short() {
		t.Skip("8 s of processor time; -short is set")
	}
	w, err := worlds.Find("said-normal")
	if err != nil {
		t.Fatal(err)
	}
	for verdict, want := range map[fanwatch.Verdict]func(alerts, visits int) bool{
		fanwatch.VerdictNormal: func(alerts, _ int) bool { return alerts == 1 },
		fanwatch.VerdictFault:  func(alerts, visits int) bool { return alerts == visits },
	} {
		for seed := uint64(1); seed <= 2; seed++ {
			w.Verdict = verdict
			r := &run{}
			j := job{world: w, seed: seed, judges: []string{Project}}
			if err := r.try(&j, map[string]maker{Project: newForestless}); err != nil {
				t.Fatal(err)
			}
			visits, low := 0, false
			s, usual := w.Open(worlds.Options{Seed: seed})[0], 0.0
			for s.Next() {
				usual = max(usual, s.Truth.Healthy)
				if now := s.Truth.Healthy < 0.95*usual; now != low {
					if low = now; low {
						visits++
					}
				}
			}
			alerts := len(j.outcomes[0].alerts)
			if visits < 6 || !want(alerts, visits) {
				t.Errorf("%s, seed %d: %d alerts at %d visits", verdict, seed, alerts, visits)
				explain(os.Stderr, &j, Project, &j.outcomes[0])
			}
		}
	}
}

// TestLegacyReadingsGoInTheirOwnFormat: one to a record, without what that format does not know.
func TestLegacyReadingsGoInTheirOwnFormat(t *testing.T) {
	w, err := worlds.Find("legacy")
	if err != nil {
		t.Fatal(err)
	}
	s := w.Open(worlds.Options{Seed: 1, Span: time.Hour})[0]
	b := newBatches([]fanwatch.Device{s.Device()})
	n := 0
	for ; s.Next(); n++ {
		record, err := b.add(&s.Reading)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := fanwatch.DecodeRecord(record)
		if err != nil || len(rec.Readings) != 1 {
			t.Fatalf("%s: %v", record, err)
		}
		r := rec.Readings[0]
		at, err := fanwatch.ParseTime(r.Legacy, time.UTC, s.Reading.Time)
		if err != nil || !at.Equal(s.Reading.Time) || r.RPM != s.Reading.RPM || r.Hz != s.Reading.Hz ||
			r.State != s.Reading.State || s.Reading.PWM != 0 || s.Reading.Jitter != 0 || s.Reading.Edges != 0 {
			t.Fatalf("%s: %v, want %+v", record, err, s.Reading)
		}
	}
	if n < 1700 {
		t.Errorf("%d readings in an hour", n)
	}
}
