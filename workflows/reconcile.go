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

// Reconciled is the result of [Reconcile], which the next run of its schedule reads.
type Reconciled struct {
	Fans     int               `json:"fans"`
	Readings int               `json:"readings"`
	Open     map[string]string `json:"open,omitempty"` // ID of the open alert, by fan whose counts differ
}

// Reconcile compares acknowledgements, landing log and table. A fan of which the lake lacks readings, or has some
// twice, gets an alert of KindDifference, which ends when its counts agree again. A schedule runs it; each run
// reads the open alerts from the result of the run before, or from its error. It fails when counting fails and,
// after its work, when readings wait for the table for too long.
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
	return now, partsError("the count", parts, now)
}

// lastReconciled returns the result of the run before, also of one that failed.
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

// holdAgainst counts, and opens and ends alerts. With an error the result has the open alerts, too.
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
	var failed error // the newest error of a fan's alert; the others go on
	for _, d := range found.Differences {
		d.Fan = cmp.Or(d.Fan, "unknown")
		differ[d.Fan] = true
		id, open := before.Open[d.Fan]
		var err error
		if open {
			open, err = signalDifference(ctx, id, SignalObserve, d)
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
		if differ[fan] || len(found.Differences) >= activities.DifferencesNamed { // it may differ without being named
			continue
		}
		if _, err := signalDifference(ctx, before.Open[fan], SignalResolve, activities.Difference{Fan: fan,
			Why: "The readings of " +
				fan + " in log and table agree again."}); err != nil {
			return now, found.Parts, err
		}
		delete(now.Open, fan)
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d readings of %d fans, %d fans differ; %d segments of the "+
		"landing log were read.", now.Readings, now.Fans, len(now.Open), found.Segments)+partsText(found.Parts))
	return now, found.Parts, failed
}

// openDifference starts the alert of a difference. Its ID holds the start time of this run, so that a repeated run
// opens no second one.
func openDifference(ctx workflow.Context, d activities.Difference) (string, error) {
	at := workflow.GetInfo(ctx).WorkflowStartTime.UTC()
	a := fanwatch.Alert{V: fanwatch.AlertVersion, ID: AlertID(d.Fan, fanwatch.KindDifference, at), Fan: d.Fan,
		Kind: fanwatch.KindDifference, Opened: at, State: fanwatch.AlertOpen,
		Why: "Readings of " + d.Fan + ": " + d.Why}
	return a.ID, openAlert(ctx, AlertInput{Alert: a})
}

// signalDifference signals an alert of a difference and reports whether it is open; it may have been terminated.
func signalDifference(ctx workflow.Context, id, signal string, d activities.Difference) (open bool, err error) {
	o := fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: d.Fan, Time: workflow.Now(ctx).UTC(),
		Anomaly: fanwatch.Anomaly{Kind: fanwatch.KindDifference, Why: d.Why}}
	return signalAlert(ctx, id, signal, o)
}
