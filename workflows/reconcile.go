package workflows

import (
	"cmp"
	"errors"
	"fmt"
	"maps"

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
// readings, or has some twice, gets an alert of KindDifference, which ends when its counts agree again. A
// schedule runs it; each run knows from the one before which alerts are open, also from one that failed: then the
// error holds it. It fails where counting does, and at its end where readings wait for the table for too long.
func Reconcile(ctx workflow.Context, stream string) (Reconciled, error) {
	before, err := lastReconciled(ctx)
	if err != nil {
		return before, err
	}
	now, parts, err := holdAgainst(ctx, stream, before)
	switch {
	case temporal.IsCanceledError(err):
		return now, err
	case err != nil:
		return now, temporal.NewNonRetryableApplicationError("the readings were not counted: "+cause(err), TypeParts, err,
			now)
	}
	return now, ended("the count", parts, now)
}

// lastReconciled returns what the run before left.
func lastReconciled(ctx workflow.Context) (before Reconciled, err error) {
	var failed *temporal.ApplicationError
	if errors.As(workflow.GetLastError(ctx), &failed) && failed.Type() == TypeParts && failed.HasDetails() {
		return before, failed.Details(&before)
	}
	if workflow.HasLastCompletionResult(ctx) {
		err = workflow.GetLastCompletionResult(ctx, &before)
	}
	return before, err
}

// holdAgainst counts, and opens and ends alerts. With an error it gives the alerts that are open all the same.
func holdAgainst(ctx workflow.Context, stream string, before Reconciled) (Reconciled, activities.Parts, error) {
	found, err := reconcile(ctx, stream)
	if err != nil {
		return before, activities.Parts{}, err
	}
	now := Reconciled{Fans: found.Fans, Readings: found.Readings, Open: maps.Clone(before.Open)}
	if now.Open == nil {
		now.Open = make(map[string]string)
	}
	differ := make(map[string]bool)
	var failed error // of one fan's alert, which keeps no other's from its end
	for _, d := range found.Differences {
		d.Fan = cmp.Or(d.Fan, "unknown")
		differ[d.Fan] = true
		id, open := before.Open[d.Fan]
		var err error
		if open {
			open, err = tellAlert(ctx, id, SignalObserve, d)
		}
		if err == nil && !open {
			id, err = openDifference(ctx, d)
		}
		switch {
		case temporal.IsCanceledError(err):
			return now, found.Parts, err
		case err != nil:
			failed = err
			continue
		}
		now.Open[d.Fan] = id
	}
	for _, fan := range workflow.DeterministicKeys(before.Open) {
		if differ[fan] || len(found.Differences) >= activities.DifferencesNamed { // it may differ, but was not named
			continue
		}
		if _, err := tellAlert(ctx, before.Open[fan], SignalResolve, activities.Difference{Fan: fan, Why: "The readings of " +
			fan + " in log and table agree again."}); err != nil {
			return now, found.Parts, err
		}
		delete(now.Open, fan)
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d readings of %d fans, %d fans differ; %d segments of the "+
		"landing log were read.", now.Readings, now.Fans, len(now.Open), found.Segments)+partly(found.Parts))
	return now, found.Parts, failed
}

// openDifference starts the alert. Its ID holds the time at which this run began: a run that is made again
// opens no second one.
func openDifference(ctx workflow.Context, d activities.Difference) (string, error) {
	at := workflow.GetInfo(ctx).WorkflowStartTime.UTC()
	a := fanwatch.Alert{V: fanwatch.AlertVersion, ID: AlertID(d.Fan, fanwatch.KindDifference, at), Fan: d.Fan,
		Kind: fanwatch.KindDifference, Opened: at, State: fanwatch.AlertOpen,
		Why: "Readings of " + d.Fan + ": " + d.Why}
	return a.ID, openAlert(ctx, AlertInput{Alert: a})
}

// tellAlert signals an alert that was opened before, and tells whether it is open still: a person may have
// terminated it.
func tellAlert(ctx workflow.Context, id, signal string, d activities.Difference) (open bool, err error) {
	o := fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: d.Fan, Time: workflow.Now(ctx).UTC(),
		Anomaly: fanwatch.Anomaly{Kind: fanwatch.KindDifference, Why: d.Why}}
	return signalAlert(ctx, id, signal, o)
}
