package workflows

import (
	"cmp"
	"fmt"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// Reconciled is what a Reconcile leaves for the next one of its schedule.
type Reconciled struct {
	Fans     int               `json:"fans"`
	Readings int               `json:"readings"`
	Open     map[string]string `json:"open,omitempty"` // the alert of each fan whose counts differ
}

// Reconcile holds acknowledgements, landing log and table against each other. A fan of which the lake lacks
// readings, or has some twice, gets an alert of kind Difference, which ends when its counts agree again. A
// schedule runs it; each run knows from the one before which alerts are open.
func Reconcile(ctx workflow.Context, stream string) (Reconciled, error) {
	var before Reconciled
	if workflow.HasLastCompletionResult(ctx) {
		if err := workflow.GetLastCompletionResult(ctx, &before); err != nil {
			return before, err
		}
	}
	found, err := reconcile(ctx, stream)
	if err != nil {
		return before, err
	}
	now := Reconciled{Fans: found.Fans, Readings: found.Readings, Open: make(map[string]string)}
	for _, d := range found.Differences {
		d.Fan = cmp.Or(d.Fan, "unknown")
		id, open := before.Open[d.Fan]
		if open {
			open, err = tellAlert(ctx, id, SignalObserve, d)
		}
		if err == nil && !open {
			id, err = openDifference(ctx, d)
		}
		if err != nil {
			return before, err
		}
		now.Open[d.Fan] = id
	}
	for _, fan := range workflow.DeterministicKeys(before.Open) {
		_, still := now.Open[fan]
		if !still && len(found.Differences) >= activities.DifferencesNamed {
			now.Open[fan] = before.Open[fan] // it may differ, but was not named
		} else if !still {
			if _, err := tellAlert(ctx, before.Open[fan], SignalResolve, activities.Difference{Fan: fan, Why: "The readings of " + fan + " in log and table agree again."}); err != nil {
				return before, err
			}
		}
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d readings of %d fans, %d fans differ.", now.Readings, now.Fans, len(now.Open)))
	return now, nil
}

// openDifference starts the alert. Its ID holds the time at which this run began: a run that is made again
// opens no second one.
func openDifference(ctx workflow.Context, d activities.Difference) (string, error) {
	at := workflow.GetInfo(ctx).WorkflowStartTime.UTC()
	a := fanwatch.Alert{V: fanwatch.AlertVersion, ID: AlertID(d.Fan, fanwatch.Difference, at), Fan: d.Fan, Kind: fanwatch.Difference, Opened: at, State: fanwatch.Open,
		Why: "Readings of " + d.Fan + ": " + d.Why}
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            a.ID,
		TaskQueue:             QueueControl,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		TypedSearchAttributes: temporal.NewSearchAttributes(SearchFan.ValueSet(d.Fan), SearchState.ValueSet(string(fanwatch.Open))),
		StaticSummary:         a.Why,
	}), Alert, AlertInput{Alert: a})
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return a.ID, nil
	}
	return a.ID, err
}

// tellAlert signals an alert that was opened before, and tells whether it is open still: a person may have
// terminated it.
func tellAlert(ctx workflow.Context, id, signal string, d activities.Difference) (open bool, err error) {
	o := fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: d.Fan, Time: workflow.Now(ctx).UTC(), Anomaly: fanwatch.Anomaly{Kind: fanwatch.Difference, Why: d.Why}}
	err = workflow.SignalExternalWorkflow(ctx, id, "", signal, o).Get(ctx, nil)
	if temporal.IsCanceledError(err) {
		return false, err
	}
	return err == nil, nil
}
