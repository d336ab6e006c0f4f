package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/lake/landing"
)

// TestABacktestOfTheSameJudgeIsWhatWas: read from the lake and judged once more, the alerts are those that there were;
// a candidate's limits make others.
func TestABacktestOfTheSameJudgeIsWhatWas(t *testing.T) {
	p := newPast(t)
	p.live(2400, func(int) {})
	p.snapshot()
	tables, logs := p.tables(), []landing.Log{p.log}
	b := backtest{hold: time.Minute, candidate: parsed(t, "")}
	judge := func(from, to time.Time) *backtestReport {
		t.Helper()
		src, err := fromLake(t.Context(), tables, logs, nil, from, to)
		if err != nil {
			t.Fatal(err)
		}
		r, err := b.run(t.Context(), src)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := judge(time.Time{}, time.Time{})
	if len(r.Fans) != 2 || r.Readings != 4800 || r.Fans[0].Refused != 0 || len(r.Fans[0].Would) == 0 {
		t.Fatalf("%+v", r)
	}
	for _, f := range r.Fans {
		for _, pair := range f.pair() {
			if w, d := pair.would, pair.did; w == nil || d == nil || !w.From.Equal(d.From) || !w.To.Equal(d.To) ||
				w.Kind != d.Kind {
				t.Errorf("%s: would %+v, did %+v", f.Fan, w, d)
			}
		}
	}
	if w := r.Fans[0].Would[0]; w.Kind != fanwatch.KindStall || !w.From.Equal(second(1500)) || !w.pages() {
		t.Errorf("would %+v", w)
	}
	b.candidate = parsed(t, "version: 1\nfans: {fan-b: {limits: {max_rpm: 850}}}")
	if r = judge(time.Time{}, second(1200)); r.Would.Pages != 1 || r.Did.Pages != 0 ||
		r.Fans[1].Would[0].Kind != fanwatch.KindOverspeed || !r.Fans[1].Would[0].Open || r.Readings != 2400 {
		t.Errorf("%+v", r.Fans[1])
	}
	b.from = second(1800) // what began earlier does not count
	if r = judge(time.Time{}, time.Time{}); r.Readings != 1200 || len(r.Fans[0].Would)+len(r.Fans[0].Did) != 0 {
		t.Errorf("%+v", r.Fans[0])
	}
}

func parsed(t *testing.T, text string) *candidate {
	t.Helper()
	c, err := parseCandidate([]byte(text), 1)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestWhatPeopleSaidIsATestCase: a fault that is found has a delay; one that is missed and a normal that is alerted
// fail.
func TestWhatPeopleSaidIsATestCase(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	readings := file("readings.csv", csvOf("fan_id,time,rpm", func(fan string) string { return fan + "," }))
	at := func(n int) string { return second(n).Format(time.RFC3339) }
	const header = "alert_id,fan_id,time,until,kind,label\n"
	good := file("good.csv", header+"x,fan-a,"+at(1497)+","+at(1590)+",stall,fault\n"+
		"y,fan-b,"+at(1400)+","+at(1700)+",speed,normal\n")
	out, err := inProcess(t, "backtest", "--csv", readings, "--labels", good, "--json")
	var r backtestReport
	if bad := json.Unmarshal([]byte(out), &r); err != nil || bad != nil {
		t.Fatal(err, bad)
	}
	if c := r.Fans[0].Cases[0]; !c.OK || c.Delay != 3*time.Second || c.Found.Kind != fanwatch.KindStall ||
		!r.Fans[1].Cases[0].OK || r.Would.Alerts != 1 || r.Would.False != 0 {
		t.Errorf("%+v", r)
	}
	bad := file("bad.csv", header+"x,fan-a,"+at(1497)+","+at(1590)+",stall,normal\n"+
		"y,fan-b,"+at(1400)+",,speed,fault\n")
	out, err = inProcess(t, "backtest", "--csv", readings, "--labels", bad)
	if err == nil || !strings.HasPrefix(err.Error(), "2 test cases") || !strings.Contains(out, "MISSED") ||
		!strings.Contains(out, "ALERTED: critical stall") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestTroubleThatComesBackWithinTheHoldIsOneAlert, of each family for itself; a judge without families has one state.
func TestTroubleThatComesBackWithinTheHoldIsOneAlert(t *testing.T) {
	say := func(s *episodes, n int, family fanwatch.Family, kind fanwatch.Kind) {
		s.observe(fanwatch.Observation{Fan: "fan-a", Time: second(n), Family: family,
			Anomaly: fanwatch.Anomaly{Kind: kind, Why: string(kind)}})
	}
	s := episodes{hold: time.Minute}
	say(&s, 10, fanwatch.FamilySpeed, fanwatch.KindSpeed)
	say(&s, 15, fanwatch.FamilyTexture, fanwatch.KindJitter)
	say(&s, 20, fanwatch.FamilySpeed, fanwatch.KindNone)
	say(&s, 80, fanwatch.FamilySpeed, fanwatch.KindStall) // 60 s later
	say(&s, 90, fanwatch.FamilySpeed, fanwatch.KindNone)
	say(&s, 151, fanwatch.FamilySpeed, fanwatch.KindSpeed)
	all := s.finish(second(200), pastBegan)
	if len(all) != 3 || all[0].Kind != fanwatch.KindStall || !all[0].To.Equal(second(90)) || all[0].Why != "stall" ||
		all[1].Severity != fanwatch.SeverityInfo || !all[1].Open || !all[2].To.Equal(second(200)) {
		t.Errorf("%+v %+v %+v", all[0], all[1], all[2])
	}
	s = episodes{hold: time.Minute}
	say(&s, 10, "", fanwatch.KindUnusual)
	say(&s, 20, "", fanwatch.KindStall)
	say(&s, 30, "", fanwatch.KindNone)
	if all = s.finish(second(40), pastBegan); len(all) != 2 || !all[0].To.Equal(second(20)) || all[0].Open ||
		!all[1].To.Equal(second(30)) {
		t.Errorf("one state: %+v", all)
	}
}

// TestACandidateChangesWhatItNames, and a field that there is not is an error of one line.
func TestACandidateChangesWhatItNames(t *testing.T) {
	c := parsed(t, `version: 1
detect: {warmup: 300}
all: {forest: {severity: warning}, limits: {min_rpm: 100}}
fans:
  fan-a: {kind: 4-wire, nominal: 1800, limits: {max_rpm: 2500}, hours: "06:00-22:00"}
`)
	d, err := c.device(fanwatch.Device{Fan: "fan-a", Site: "hall", Revision: 9, Retired: true})
	if want := (fanwatch.Limits{MinRPM: 100, MaxRPM: 2500}); err != nil || d.Kind != fanwatch.FanFourWire ||
		d.Nominal != 1800 || d.Limits != want || d.Site != "hall" || d.Forest.Severity != fanwatch.SeverityWarning ||
		d.Retired || c.Detect != (detect.Config{Warmup: 300, Seed: 1}) {
		t.Errorf("%+v, %v, %+v", d, err, c.Detect)
	}
	if d, err = c.device(fanwatch.Device{Fan: "fan-b"}); err != nil || d.Kind != "" || d.Limits.MinRPM != 100 {
		t.Errorf("%+v, %v", d, err)
	}
	file := filepath.Join(t.TempDir(), "candidate.yaml")
	for text, want := range map[string]string{"version: 2": "version 2 is unknown", "speed: 3": "speed",
		"fans: {fan-a: {limit: 3}}": "fan-a", "all: {nominal: -1}": "nominal", "detect: {trees: -1}": "detect",
		"fans: {a/b: {}}": "fan name"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := inProcess(t, "backtest", "--config", file)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzCandidate and FuzzReadings read any text; it is an error, or can be used.
func FuzzCandidate(f *testing.F) {
	f.Add([]byte("version: 1\nall: {nominal: 3}\nfans: {a: {hours: 06:00-22:00}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseCandidate(text, 1)
		if err != nil {
			return
		}
		if d, err := c.device(fanwatch.Device{Fan: "fan-1"}); err == nil && (d.Fan != "fan-1" || d.Check() != nil) {
			t.Errorf("%q: %+v", text, d)
		}
	})
}

func FuzzReadings(f *testing.F) {
	f.Add([]byte("fan,time,rpm,pwm,jitter,state\nfan-a,2026-05-28T00:00:00Z,1800,0.5,0.01,running\n"))
	f.Add([]byte("\ufefftime,rpm\n1780000000,0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		src, err := fromCSV(bytes.NewReader(text), []string{"fan-a"}, time.Time{}, time.Time{})
		if err != nil {
			return
		}
		last := time.Time{}
		for _, fan := range src.fans {
			for r := range src.rows(fan) {
				if r.Check() != nil || r.Fan != "fan-a" || r.Time.Before(last) {
					t.Errorf("%q: %+v", text, r)
				}
				last = r.Time
			}
		}
	})
}
