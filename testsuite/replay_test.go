package testsuite

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRecordedReadingsAreReplayedExplainedAndJudgedAgain publishes a recording through the live path, where it alerts
// as the fan would have; why explains the moment of the alert, and a backtest of the lake finds it once more.
func TestRecordedReadingsAreReplayedExplainedAndJudgedAgain(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "0", "--snapshot-every", "5s")
	var text strings.Builder
	text.WriteString("time,rpm,jitter,pwm\n")
	began := time.Date(2026, 5, 28, 0, 0, 0, 0, time.UTC)
	const seconds, stalled = 300, 280
	for n := range seconds {
		rpm := 1800 + float64(n*7919%13)
		if n >= stalled {
			rpm = 0
		}
		fmt.Fprintf(&text, "%s,%g,0.01,0.5\n", began.Add(time.Duration(n)*time.Second).Format(time.RFC3339), rpm)
	}
	file := filepath.Join(t.TempDir(), "fan-07.csv")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	const fan = "replay-fan-07"
	for range 2 { // a second time with the same certificate, as another run
		out, err := s.cli("replay", "--csv", file, "--fan", "fan-07", "--speed", "0")
		if err != nil || !strings.Contains(out, "300 readings of fan-07 published as "+fan) {
			t.Fatalf("%v: %s", err, out)
		}
	}
	a := s.openAlert(fan, 30*time.Second)
	if a.Kind != "stall" {
		t.Errorf("alert %+v", a)
	}
	type point struct {
		From time.Time
		Min  float64
	}
	var points []point
	s.until(time.Minute, "the readings in the table", func() (bool, string) {
		out, err := s.cli("lake", "query", fan, "--from", "1h", "--points", "0", "--json")
		if err == nil {
			err = json.Unmarshal([]byte(out), &points)
		}
		return len(points) == 2*seconds, fmt.Sprint(len(points), err) // at first nothing has landed
	})
	last := points[len(points)-1].From
	if since := time.Since(last); since < 0 || since > 2*time.Minute {
		t.Errorf("the last reading is of %s", last)
	}

	type decision struct {
		RPM     float64
		Anomaly string
		Source  string
		Time    time.Time
	}
	d := ask[decision](s, "why", fan, "--at", a.Opened.Format(time.RFC3339Nano))
	if d.RPM != 0 || d.Anomaly != "stall" || d.Source != "models" || !d.Time.Equal(a.Opened) {
		t.Errorf("at the alert: %+v", d)
	}
	if d = ask[decision](s, "why", fan, "--at", a.Opened.Add(-time.Second).Format(time.RFC3339Nano)); d.RPM < 1800 ||
		d.Anomaly != "" || d.Source != "models" {
		t.Errorf("a second before it: %+v", d)
	}
	if out, err := s.cli("why", "no-such-fan"); err == nil || strings.Count(err.Error(), "\n") > 1 {
		t.Errorf("%s, %v", out, err)
	}

	type report struct {
		Readings   int
		Would, Did struct{ Alerts, Pages int }
	}
	if r := ask[report](s, "backtest", "--fan", fan); r.Readings != 2*seconds || r.Would.Pages == 0 || r.Would != r.Did {
		t.Errorf("backtest: %+v", r)
	}
}
