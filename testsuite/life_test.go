package testsuite

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"go.temporal.io/sdk/client"

	"fanwatch"
	"fanwatch/workflows"
)

// TestAFanIsWatchedFromItsProvisioningToItsEnd goes through the life of a fan as its operators bring it about: its
// workflow is cancelled and terminated, it is configured, gets another certificate, is revoked, retired and
// provisioned again.
func TestAFanIsWatchedFromItsProvisioningToItsEnd(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "0")
	tc := s.temporal()
	id := workflows.FanID("fan-l")
	cert, key := s.provision("fan-l", "--min-rpm", "900", "--site", "Hall A", "--silence", "-1s")
	c := mustConnect(s, "fan-l", cert, key)
	at := time.Now().Add(-10 * time.Minute)
	publish := func(c mqtt.Client, rpm float64, n int) {
		for range n {
			at = at.Add(time.Second)
			demo(t, c, "fan-l", at, rpm)
		}
	}
	run := func() string {
		d, err := tc.DescribeWorkflowExecution(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		return d.GetWorkflowExecutionInfo().GetExecution().GetRunId()
	}
	status := func() fanwatch.FanStatus { return ask[fanwatch.FanStatus](s, "show", "fan-l") }
	publish(c, 1800, 10)

	// Cancelled, it goes on as another run, which hears of the next trouble.
	first := run()
	if err := tc.CancelWorkflow(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	s.until(20*time.Second, "the run after the cancelled one", func() (bool, string) { return run() != first, first })
	publish(c, 300, 3)
	a := s.openAlert("fan-l", 20*time.Second)

	// A workflow that knows nothing of the one before it takes over the alert that is open, instead of opening
	// another.
	last := status().Last
	if err := tc.TerminateWorkflow(t.Context(), id, "", "by hand"); err != nil {
		t.Fatal(err)
	}
	input := workflows.FanInput{Status: fanwatch.FanStatus{Phase: fanwatch.PhaseActive, Device: fanwatch.Device{V: 1,
		Fan: "fan-l", Site: "Hall A", Silence: -1, Limits: fanwatch.Limits{MinRPM: 900}}}}
	if _, err := tc.SignalWithStartWorkflow(t.Context(), id, workflows.SignalObserve, last,
		client.StartWorkflowOptions{ID: id, TaskQueue: workflows.QueueControl}, workflows.Fan, input); err != nil {
		t.Fatal(err)
	}
	s.until(20*time.Second, "the alert at the new workflow", func() (bool, string) {
		f := status()
		return f.Alert == a.ID,
			fmt.Sprintf("%+v", f)
	})
	if open := ask[[]fanwatch.Alert](s, "alerts"); len(open) != 1 {
		t.Errorf("open: %+v", open)
	}

	// Terminated, it is started again by the scorer with the next change, and knows the alert.
	if err := tc.TerminateWorkflow(t.Context(), id, "", "by hand"); err != nil {
		t.Fatal(err)
	}
	terminated := run()
	publish(c, 1800, 20)
	s.until(30*time.Second, "the run after the terminated one", func() (bool, string) { return run() != terminated, "" })
	if f := status(); f.Device.Site != "Hall A" || f.Phase != fanwatch.PhaseActive || f.Alert != a.ID ||
		f.Device.Limits.MinRPM != 900 {
		t.Errorf("started again as %+v", f)
	}

	// What is named changes, and nothing else; a new certificate leaves all of it.
	d := ask[fanwatch.Device](s, "configure", "fan-l", "--max-rpm", "2000")
	if d.Limits != (fanwatch.Limits{MinRPM: 900, MaxRPM: 2000}) || d.Site != "Hall A" {
		t.Errorf("configured: %+v", d)
	}
	second, key2 := s.provision("fan-l")
	if f := status(); f.Device.Limits != d.Limits || f.Device.Site != "Hall A" || f.Device.Silence != d.Silence ||
		f.Certificate == "" {
		t.Errorf("with another certificate: %+v", f)
	}
	if _, err := s.connect("fan-l", cert, key); err == nil {
		t.Error("the certificate of before still connects")
	}

	// Revoked by its ID, it connects no more; with the next one it does.
	out, err := s.cli("revoke", "arn:aws:iot:x:y:cert/"+status().Certificate)
	if err != nil || !strings.Contains(out, "is inactive") {
		t.Errorf("revoke: %s, %v", out, err)
	}
	if _, err := s.connect("fan-l", second, key2); err == nil {
		t.Error("a revoked certificate connects")
	}
	cert, key = s.provision("fan-l")
	c = mustConnect(s, "fan-l", cert, key)
	publish(c, 300, 3)
	s.until(20*time.Second, "trouble", func() (bool, string) {
		f := status()
		return f.Last.Anomaly.Kind != fanwatch.KindNone && f.Alert != "", fmt.Sprintf("%+v", f)
	})

	// Retired, neither alert nor certificate is left; provisioned again, it is judged at once.
	if _, err := s.cli("retire", "fan-l"); err != nil {
		t.Fatal(err)
	}
	s.until(20*time.Second, "the end of its alerts", func() (bool, string) {
		open := ask[[]fanwatch.Alert](s, "alerts")
		return len(open) == 0, fmt.Sprintf("%+v", open)
	})
	if _, err := s.connect("fan-l", cert, key); err == nil {
		t.Error("the certificate of a retired fan connects")
	}
	if fans := ask[[]fanwatch.FanStatus](s, "fans"); len(fans) != 0 {
		t.Errorf("listed: %+v", fans)
	}
	// as of one that an earlier program retired
	if out, err := s.cli("revoke", "fan-l"); err != nil || strings.Count(out, "is inactive") != 3 {
		t.Errorf("revoke of a retired fan: %s, %v", out, err)
	}
	for _, args := range [][]string{{"configure", "fan-none", "--site", "x"}, {"revoke", "fan-none"},
		{"ack", "fan-none", "--by", "ada"}} {
		if _, err := s.cli(args...); err == nil ||
			!strings.Contains(err.Error(), "exit status 2: fanwatch: fan fan-none: unknown: ") {
			t.Errorf("%s: %v, want exit status 2", args, err)
		}
	}
	cert, key = s.provision("fan-l", "--min-rpm", "900", "--silence", "-1s")
	c = mustConnect(s, "fan-l", cert, key)
	publish(c, 1800, 10)
	publish(c, 300, 3)
	b := s.openAlert("fan-l", 20*time.Second)
	if b.ID == a.ID {
		t.Errorf("%s was opened twice", a.ID)
	}
	if out, err := s.cli("ack", "fan-l", "--by", "ada"); err != nil ||
		!strings.Contains(out, b.ID+" is acknowledged by ada") {
		t.Errorf("ack by the fan's name: %s, %v", out, err)
	}
	s.suggests(t)
	refused := ask[[]refusal](s, "refused")
	if slices.ContainsFunc(refused, func(r refusal) bool { return strings.Contains(r.Reason, "retired") }) {
		t.Errorf("refused: %+v", refused)
	}
}

// suggests has a fan stand still in three nights, each of which is told of, and accepts what that suggests.
func (s *system) suggests(t *testing.T) {
	t.Helper()
	cert, key := s.provision("fan-n", "--silence", "-1s")
	c := mustConnect(s, "fan-n", cert, key)
	at := time.Now().UTC().Truncate(24 * time.Hour).Add(-4*24*time.Hour + 12*time.Hour)
	for end := at.Add(3*24*time.Hour + 3*time.Hour); at.Before(end); at = at.Add(20 * time.Minute) {
		rpm := 1800.0
		if at.Hour() >= 22 || at.Hour() < 6 {
			rpm = 0
		}
		demo(t, c, "fan-n", at, rpm)
	}
	status := func() fanwatch.FanStatus { return ask[fanwatch.FanStatus](s, "show", "fan-n") }
	s.until(30*time.Second, "a suggestion", func() (bool, string) {
		f := status()
		return len(f.Suggestions) == 1 && f.Alerts > 0 && f.Device.Hours == "", fmt.Sprintf("%+v", f)
	})
	if d := ask[fanwatch.Device](s, "configure", "fan-n", "--accept"); d.Hours != "06:00-22:00" {
		t.Errorf("configured: %+v", d)
	}
	if out, err := s.cli("configure", "fan-n", "--dismiss"); err == nil ||
		!strings.Contains(err.Error(), "exit status 2: fanwatch: unknown: fan fan-n: nothing is suggested") {
		t.Errorf("dismissed: %s, %v", out, err)
	}
	for range 3 {
		at = at.Add(20 * time.Minute)
		demo(t, c, "fan-n", at, 1800)
	}
	if f := status(); len(f.Suggestions) != 0 {
		t.Errorf("after it was accepted: %+v", f.Suggestions)
	}
}
