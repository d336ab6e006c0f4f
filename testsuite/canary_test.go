package testsuite

import (
	"fmt"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"fanwatch"
	"fanwatch/operator"
)

// TestTheCanaryComesBack: its reading goes through IoT Core, rule, stream, scorer, Fan and Alert, SNS delivers its
// page to fanwatch, where it acknowledges its alert, and no list shows it. What each stage that is broken is called
// is TestTheCanarySaysWhereThePageWasLost of package workflows.
func TestTheCanaryComesBack(t *testing.T) {
	t.Parallel() // it mostly waits
	s := start(t, t.TempDir(), nil, "--fans", "0", "--canary-every", "5s")
	c := s.temporal()
	runs := func(status string) int {
		resp, err := c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: s.Namespace,
			Query: fmt.Sprintf(`WorkflowType = "Canary" AND ExecutionStatus = %q`, status)})
		if err != nil {
			t.Fatal(err)
		}
		return len(resp.Executions)
	}
	s.until(2*time.Minute, "two canaries that came back", func() (bool, string) {
		return runs("Completed") >= 2, fmt.Sprintf("%d completed, %d failed", runs("Completed"), runs("Failed"))
	})
	if fans, alerts := ask[[]fanwatch.FanStatus](s, "fans"), ask[[]fanwatch.Alert](s, "alerts", "--all"); len(fans)+
		len(alerts) > 0 {
		t.Errorf("the lists show %+v %+v", fans, alerts)
	}
	landed := 0
	s.until(time.Minute, "the canary's alerts, acknowledged by the page", func() (bool, string) {
		resp, err := c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: s.Namespace,
			Query: `WorkflowType = "Alert" AND ExecutionStatus = "Completed"`})
		if err != nil {
			t.Fatal(err)
		}
		landed = 0
		for _, w := range resp.Executions {
			a, err := operator.Client{Temporal: c, Namespace: s.Namespace}.Alert(t.Context(), w.GetExecution().GetWorkflowId())
			if err == nil && a.Fan == fanwatch.CanaryFan && a.AckedBy == fanwatch.CanaryFan {
				landed++
			}
		}
		return landed >= 2, fmt.Sprintf("%d of %d alerts", landed, len(resp.Executions))
	})
	if n := runs("Failed"); n > 0 {
		t.Errorf("%d canaries did not come back", n)
	}
}
