package workflows

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// reconcileRun runs one Reconcile of the schedule.
type reconcileRun struct {
	started []fanwatch.Alert
	signals []string // "ID signal why"

	last   error // with which the run before ended
	counts error // with which counting ends
	failed error // with which this run ended
}

func (r *reconcileRun) run(t *testing.T, before *Reconciled, found activities.Reconciliation,
	gone ...string) Reconciled {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet())
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(30 * time.Second)
	env.SetStartTime(opened)
	if before != nil {
		env.SetLastCompletionResult(*before)
	}
	if r.last != nil {
		env.SetLastError(r.last)
	}
	env.RegisterWorkflow(Reconcile)
	env.RegisterWorkflow(Alert)
	var l *activities.Lake
	env.RegisterActivity(&activities.Lake{})
	env.OnActivity(l.Reconcile, anything, "fans").Return(found, r.counts)
	env.OnWorkflow(Alert, anything, anything).Return(func(_ workflow.Context, in AlertInput) (fanwatch.Alert, error) {
		r.started = append(r.started, in.Alert)
		return in.Alert, nil
	}).Maybe()
	env.OnSignalExternalWorkflow("default-test-namespace", anything, "", anything, anything).Return(func(_, id, _,
		signal string, arg any) error {
		r.signals = append(r.signals, fmt.Sprintf("%s %s %s", id, signal, arg.(fanwatch.Observation).Anomaly.Why))
		if slices.Contains(gone, id) {
			return fmt.Errorf("there is no such workflow")
		}
		return nil
	}).Maybe()
	env.ExecuteWorkflow(Reconcile, "fans")
	var out Reconciled
	if r.failed = env.GetWorkflowError(); r.failed != nil {
		var said *temporal.ApplicationError
		if !errors.As(r.failed, &said) || said.Details(&out) != nil {
			t.Fatal(r.failed)
		}
		r.last = said
		return out
	}
	if err := env.GetWorkflowResult(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestADifferenceIsAnAlertUntilItIsOver(t *testing.T) {
	r := &reconcileRun{}
	lost := activities.Reconciliation{Fans: 2, Readings: 50, Differences: []activities.Difference{{Fan: "fan-1",
		Why: "3 lost"}}}
	first := r.run(t, nil, lost)
	id := "alert/fan-1/difference/20260528T202640.000000Z"
	if len(r.started) != 1 || r.started[0].ID != id || r.started[0].Kind != fanwatch.KindDifference ||
		!strings.Contains(r.started[0].Why, "3 lost") || !maps.Equal(first.Open, map[string]string{"fan-1": id}) {
		t.Fatalf("started %+v, left %+v", r.started, first)
	}
	second := r.run(t, &first, lost)
	if len(r.started) != 1 || len(r.signals) != 1 || !strings.HasPrefix(r.signals[0], id+" observe") ||
		!maps.Equal(second.Open, first.Open) {
		t.Fatalf("started %+v, told %v, left %+v", r.started, r.signals, second)
	}
	third := r.run(t, &second, activities.Reconciliation{Fans: 2, Readings: 50})
	if len(r.signals) != 2 || !strings.HasPrefix(r.signals[1], id+" resolve") || len(third.Open) != 0 {
		t.Fatalf("told %v, left %+v", r.signals, third)
	}
}

// TestADifferenceWhoseAlertWasEndedGetsAnother gets another; one whose rows name no fan has a name all the same.
func TestADifferenceWhoseAlertWasEndedGetsAnother(t *testing.T) {
	r := &reconcileRun{}
	old := Reconciled{Open: map[string]string{"unknown": "alert/unknown/difference/x"}}
	now := r.run(t, &old, activities.Reconciliation{Differences: []activities.Difference{{Why: "3 lost"}}},
		"alert/unknown/difference/x")
	if len(r.started) != 1 || now.Open["unknown"] != "alert/unknown/difference/20260528T202640.000000Z" {
		t.Fatalf("started %+v, left %+v", r.started, now)
	}
}

// TestMoreDifferencesThanAreNamedEndNoAlert ends no alert of a fan that was not named.
func TestMoreDifferencesThanAreNamedEndNoAlert(t *testing.T) {
	r := &reconcileRun{}
	var found activities.Reconciliation
	for i := range activities.DifferencesNamed {
		found.Differences = append(found.Differences, activities.Difference{Fan: fmt.Sprintf("fan-%03d", i), Why: "lost"})
	}
	now := r.run(t, &Reconciled{Open: map[string]string{"fan-999": "alert/fan-999/difference/x"}}, found)
	if len(r.signals) != 0 || now.Open["fan-999"] == "" || len(now.Open) != activities.DifferencesNamed+1 {
		t.Fatalf("told %v, %d open", r.signals, len(now.Open))
	}
}

// TestACountThatFailsForgetsNoAlert: a run that fails, for it could not count or for readings wait for too long,
// fails after it has done what it could, and the next one knows the alerts that are open.
func TestACountThatFailsForgetsNoAlert(t *testing.T) {
	id := "alert/fan-1/difference/20260528T202640.000000Z"
	r := &reconcileRun{}
	lost := activities.Reconciliation{Differences: []activities.Difference{{Fan: "fan-1", Why: "3 lost"}},
		Parts: activities.Parts{Failed: []string{"50 readings of 2 fans wait"}}}
	if r.run(t, nil, lost); r.failed == nil || !strings.Contains(r.failed.Error(), "50 readings of 2 fans wait") ||
		len(r.started) != 1 {
		t.Fatalf("%v; started %+v", r.failed, r.started)
	}
	r.counts = temporal.NewNonRetryableApplicationError("the tables cannot be opened", "Gone", nil)
	if r.run(t, &Reconciled{}, lost); r.failed == nil || !strings.Contains(r.failed.Error(),
		"the tables cannot be opened") || len(r.started) != 1 {
		t.Fatalf("%v; started %+v", r.failed, r.started)
	}
	r.counts = nil
	if now := r.run(t, &Reconciled{}, activities.Reconciliation{}); r.failed != nil || len(now.Open) != 0 ||
		len(r.signals) != 1 || !strings.HasPrefix(r.signals[0], id+" resolve") {
		t.Fatalf("%v; told %v, left %+v", r.failed, r.signals, now)
	}
}
