package testsuite

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"fanwatch"
	"fanwatch/workflows"
)

// TestFanContinuesAsNewUnderAnOpenAlert sends a fan's workflow so many signals that it begins a new run while its
// alert is open. The alert goes on, and the new run ends it when the fan is normal again.
func TestFanContinuesAsNewUnderAnOpenAlert(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "0")
	p := newPublisher(t, s, 1)
	p.publish(s, 20)
	p.rpm = 300
	p.publish(s, 20)
	alert := s.openAlert(p.fan, 30*time.Second)

	c := s.temporal()
	run := func() string {
		d, err := c.DescribeWorkflowExecution(t.Context(), workflows.FanID(p.fan), "")
		if err != nil {
			t.Fatal(err)
		}
		return d.WorkflowExecutionInfo.Execution.RunId
	}
	first := run()
	signals, ctx := errgroup.WithContext(t.Context())
	signals.SetLimit(8)
	for range 2000 {
		signals.Go(func() error {
			// heard, and no news
			old := fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: p.fan, Position: fanwatch.Position{Sequence: "1"}}
			return c.SignalWorkflow(ctx, workflows.FanID(p.fan), "", workflows.SignalObserve, old)
		})
	}
	if err := signals.Wait(); err != nil {
		t.Fatal(err)
	}
	s.until(time.Minute, "a new run of the fan's workflow", func() (bool, string) { return run() != first, first })

	if a := s.openAlert(p.fan, 10*time.Second); a.ID != alert.ID {
		t.Errorf("another alert is open: %s, was %s", a.ID, alert.ID)
	}
	f := ask[fanwatch.FanStatus](s, "show", p.fan)
	if f.Alert != alert.ID || f.Alerts != 1 || f.Last.Anomaly.Kind != fanwatch.KindUnderspeed {
		t.Errorf("the new run knows %+v", f)
	}
	p.rpm = 1800
	p.publish(s, 30)
	s.until(time.Minute, "the end of the alert", func() (bool, string) {
		alerts := ask[[]fanwatch.Alert](s, "alerts")
		return len(alerts) == 0, fmt.Sprint(alerts)
	})
}
