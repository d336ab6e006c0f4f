package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"

	enums "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"fanwatch"
	"fanwatch/workflows"
)

// Alert returns one alert, open or over. It asks no worker.
func (o Client) Alert(ctx context.Context, id string) (fanwatch.Alert, error) {
	w, err := o.describe(ctx, id)
	if err != nil {
		return fanwatch.Alert{}, err
	}
	a, _ := alertOf(w)
	return a, nil
}

// endedAlerts is how many ended alerts Alerts gives at most.
const endedAlerts = 200

// Alerts lists the open alerts, newest first, and with ended the newest of those that are over, by whichever way they
// ended; the canary's are not among them. It asks no worker.
func (o Client) Alerts(ctx context.Context, ended bool) ([]fanwatch.Alert, error) {
	alerts, err := o.listAlerts(ctx, `ExecutionStatus = "Running"`)
	if err != nil {
		return nil, err
	}
	if ended {
		over, err := o.listAlerts(ctx, `ExecutionStatus IN ("Completed", "Terminated", "Canceled", "Failed", "TimedOut")`)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(over, newestFirst)
		alerts = append(alerts, over[:min(len(over), endedAlerts)]...)
	}
	slices.SortFunc(alerts, newestFirst)
	return alerts, nil
}

func newestFirst(a, b fanwatch.Alert) int {
	if c := b.Opened.Compare(a.Opened); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

func (o Client) listAlerts(ctx context.Context, status string) ([]fanwatch.Alert, error) {
	found, err := o.executions(ctx, `WorkflowType = "Alert" AND `+status, 0)
	if err != nil {
		return nil, err
	}
	var all []fanwatch.Alert
	for _, w := range found {
		if a, ok := alertOf(w); ok && a.Fan != fanwatch.CanaryFan {
			all = append(all, a)
		}
	}
	return all, nil
}

// alertOf returns the alert as its workflow showed it last. One whose workflow was ended from outside, or by the
// server, is AlertTerminated. Of one that shows nothing, or nothing that can be read, the ID has to do; ok is false
// when it has only just started.
func alertOf(w *workflowpb.WorkflowExecutionInfo) (a fanwatch.Alert, ok bool) {
	a, shown, err := memo[fanwatch.Alert](w, workflows.MemoAlert)
	if !shown || err != nil {
		a = fanwatch.Alert{V: fanwatch.AlertVersion, ID: w.GetExecution().GetWorkflowId(), State: fanwatch.AlertOpen,
			Opened: w.GetStartTime().AsTime()}
		if part := strings.Split(a.ID, "/"); len(part) == 4 {
			a.Fan, a.Kind = part[1], fanwatch.Kind(part[2])
		}
		a.Why = "What was wrong cannot be read."
	}
	switch w.GetStatus() {
	case enums.WORKFLOW_EXECUTION_STATUS_TERMINATED, enums.WORKFLOW_EXECUTION_STATUS_CANCELED,
		enums.WORKFLOW_EXECUTION_STATUS_FAILED,
		enums.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
		if a.State != fanwatch.AlertResolved { // as it is while the alert waits for the lake
			a.State, a.EndedAt = fanwatch.AlertTerminated, w.GetCloseTime().AsTime()
		}
		return a, true
	}
	return a, shown || err != nil
}

// Acknowledge stops an alert's escalation and answers the alert.
func (o Client) Acknowledge(ctx context.Context, alertID string, k fanwatch.Acknowledgement) (fanwatch.Alert, error) {
	var a fanwatch.Alert
	if !strings.HasPrefix(alertID, "alert/") {
		return a, fmt.Errorf("alert %.120q: %w: an alert's ID begins with alert/ (see fanwatch alerts)", alertID, ErrUnknown)
	}
	k = k.Trim()
	if err := k.Check(); err != nil {
		return a, fmt.Errorf("acknowledge %.120q: %w", alertID, err)
	}
	err := o.update(ctx, alertID, workflows.UpdateAcknowledge, &a, k)
	return a, err
}
