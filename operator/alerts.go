package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	enums "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"fanwatch"
	"fanwatch/workflows"
)

// Alert returns one alert, open or over. It needs no worker. The error wraps [ErrUnknown] when there is none.
func (o Client) Alert(ctx context.Context, id string) (fanwatch.Alert, error) {
	w, err := o.describe(ctx, id)
	if err != nil {
		return fanwatch.Alert{}, err
	}
	a, _ := alertOf(w)
	return a, nil
}

// endedAlerts is the largest number of ended alerts that Alerts returns.
const endedAlerts = 200

// Alerts returns the open alerts, the gravest severity first and of one severity the newest, and, with ended, behind
// them the newest 200 that have ended in any way, newest first, with what a person said of them after their end; all
// without the canary's. It needs no worker.
func (o Client) Alerts(ctx context.Context, ended bool) ([]fanwatch.Alert, error) {
	alerts, err := o.listAlerts(ctx, `ExecutionStatus = "Running"`)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(alerts, func(a, b fanwatch.Alert) int {
		return cmp.Or(cmp.Compare(b.Weighed().Weight(), a.Weighed().Weight()), newestFirst(a, b))
	})
	if ended {
		over, err := o.listAlerts(ctx, `ExecutionStatus IN ("Completed", "Terminated", "Canceled", "Failed", "TimedOut")`)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(over, newestFirst)
		over = over[:min(len(over), endedAlerts)]
		if err := o.label(ctx, over); err != nil {
			return nil, err
		}
		alerts = append(alerts, over...)
	}
	return alerts, nil
}

// label sets what persons said of alerts that are over: their workflows cannot be told, so that their fans' keep it,
// also those of fans that were retired since.
func (o Client) label(ctx context.Context, over []fanwatch.Alert) error {
	fans, err := list[fanwatch.FanStatus](ctx, o, `WorkflowType = "Fan" AND ExecutionStatus IN ("Running", "Completed")`,
		workflows.MemoFan)
	if err != nil {
		return err
	}
	labels := map[string][]fanwatch.Label{}
	for _, f := range fans {
		for _, l := range f.Labels {
			labels[l.Alert] = append(labels[l.Alert], l)
		}
	}
	for i := range over {
		for _, l := range labels[over[i].ID] {
			over[i] = over[i].Labelled(l)
		}
	}
	return nil
}

func newestFirst(a, b fanwatch.Alert) int {
	if c := b.Opened.Compare(a.Opened); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

func (o Client) listAlerts(ctx context.Context, which string) ([]fanwatch.Alert, error) {
	found, err := o.executions(ctx, `WorkflowType = "Alert" AND `+which, 0)
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

// AlertsBetween returns the alerts whose workflows started from one time on and before another, without the canary's.
func (o Client) AlertsBetween(ctx context.Context, from, to time.Time) ([]fanwatch.Alert, error) {
	return o.listAlerts(ctx, fmt.Sprintf("StartTime >= '%s' AND StartTime < '%s'", from.UTC().Format(time.RFC3339Nano),
		to.UTC().Format(time.RFC3339Nano)))
}

// AlertsSince returns the alerts, open and over, whose workflows started from one time on and before another, oldest
// first, with what a person said of them after their end; without the canary's. Zero times are no bounds.
func (o Client) AlertsSince(ctx context.Context, from, to time.Time) ([]fanwatch.Alert, error) {
	if to.IsZero() {
		to = time.Now().Add(time.Hour) // clocks differ
	}
	if from.IsZero() {
		from = time.Unix(0, 0)
	}
	all, err := o.AlertsBetween(ctx, from, to)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b fanwatch.Alert) int { return -newestFirst(a, b) })
	return all, o.label(ctx, all)
}

// alertOf returns the alert as its memo shows it. When its workflow was ended from outside or by the server it is
// AlertTerminated. Without a readable memo it has what its ID says; ok is false when the workflow has just started.
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
		if a.State != fanwatch.AlertResolved { // it is while the alert waits for the lake
			a.State, a.EndedAt = fanwatch.AlertTerminated, w.GetCloseTime().AsTime()
		}
		return a, true
	}
	return a, shown || err != nil
}

// Acknowledge stops an alert's escalation, has its fan put a verdict on the stream, and returns the alert. A verdict of
// an alert that is over goes to its fan. The error wraps [ErrUnknown] or, without a verdict, [ErrEnded].
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
	if k.Verdict == "" || err != nil && !errors.Is(err, ErrEnded) || err == nil && a.Label == k.Verdict {
		return a, err
	}
	// It is over, or a run of an earlier program, which passes over the verdict.
	if a, err = o.Alert(ctx, alertID); err != nil {
		return a, err
	}
	l := fanwatch.LabelOf(a, k)
	if err := l.Check(); err != nil {
		return a, err
	}
	if err := o.update(ctx, workflows.FanID(a.Fan), workflows.UpdateLabel, nil, l); err != nil {
		return a, err
	}
	a.Label, a.LabelledBy = k.Verdict, k.By
	return a, nil
}
