package workflows

import (
	"fmt"
	"strings"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// PolicyOperations is the policy by which alerts of KindPipeline go, where there is one of that name; else the
// default one.
const PolicyOperations = "operations"

// WatchInput is what a Watch starts with and what it hands to itself when it continues as new.
type WatchInput struct {
	Stream string            `json:"stream"`
	Open   map[string]string `json:"open,omitempty"` // part -> ID of its open alert
	// part -> ID of the alert that was open last: it may be about to resolve
	Alerts map[string]string `json:"alert,omitempty"`
}

// changesPerRun is how many answers of its activity a Watch takes before it continues as new.
const changesPerRun = 200

// Watch watches the watcher: a part of fanwatch that does not do its work has an alert of KindPipeline, by the policy
// operations, until it works again. Its workflow ID is one per namespace. It needs Temporal, a control worker and the
// channel; that these work is what the outside service at the heartbeat URL notices.
func Watch(ctx workflow.Context, in WatchInput) error {
	if in.Open == nil {
		in.Open = map[string]string{}
	}
	if in.Alerts == nil {
		in.Alerts = map[string]string{}
	}
	for range changesPerRun {
		in.show(ctx)
		r, err := watch(ctx, activities.WatchInput{Stream: in.Stream, Open: in.Open})
		if err != nil {
			return err
		}
		for _, part := range r.Over {
			if err := in.over(ctx, part); err != nil {
				return err
			}
		}
		for _, f := range r.Failed {
			if err := in.failed(ctx, f); err != nil {
				return err
			}
		}
	}
	return workflow.NewContinueAsNewError(ctx, Watch, in)
}

// failed goes on in the alert that was open last, where it has not resolved yet, or opens one.
func (in *WatchInput) failed(ctx workflow.Context, f activities.Finding) error {
	o := fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: f.Part, Time: workflow.Now(ctx).UTC(),
		Anomaly: fanwatch.Anomaly{Kind: fanwatch.KindPipeline, Why: f.Why}}
	if id := in.Alerts[f.Part]; id != "" {
		running, err := signalAlert(ctx, id, SignalObserve, o)
		if err != nil {
			return err
		}
		if running {
			in.Open[f.Part] = id
			return nil
		}
	}
	id, err := openPipeline(ctx, o)
	if err != nil {
		return err
	}
	in.Open[f.Part], in.Alerts[f.Part] = id, id
	return nil
}

func (in *WatchInput) over(ctx workflow.Context, part string) error {
	id := in.Open[part]
	delete(in.Open, part)
	_, err := signalAlert(ctx, id, SignalObserve, fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: part,
		Time:    workflow.Now(ctx).UTC(),
		Anomaly: fanwatch.Anomaly{Why: fmt.Sprintf("%s works again.", part)}})
	return err
}

func (in *WatchInput) show(ctx workflow.Context) {
	details := "Every part of fanwatch does its work."
	if len(in.Open) > 0 {
		details = "In trouble: " + strings.Join(workflow.DeterministicKeys(in.Open), ", ") + "."
	}
	workflow.SetCurrentDetails(ctx, details)
}

// openPipeline starts the alert of a part; its Fan is the part.
func openPipeline(ctx workflow.Context, o fanwatch.Observation) (string, error) {
	a := fanwatch.Alert{V: fanwatch.AlertVersion, ID: AlertID(o.Fan, fanwatch.KindPipeline, o.Time), Fan: o.Fan,
		Kind: fanwatch.KindPipeline, Opened: o.Time,
		State: fanwatch.AlertOpen, Why: o.Anomaly.Why}
	return a.ID, openAlert(ctx, AlertInput{Alert: a, Policy: PolicyOperations})
}

// openAlert starts the alert unless one of that ID was started before. It outlives the workflow that opens it.
func openAlert(ctx workflow.Context, in AlertInput) error {
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            in.Alert.ID,
		TaskQueue:             QueueControl,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		TypedSearchAttributes: temporal.NewSearchAttributes(SearchFan.ValueSet(in.Alert.Fan),
			SearchState.ValueSet(string(fanwatch.AlertOpen))),
		StaticSummary: in.Alert.Why,
	}), Alert, in)
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return nil
	}
	return err
}

// signalAlert signals an alert that was opened before and tells whether it runs still.
func signalAlert(ctx workflow.Context, id, signal string, o fanwatch.Observation) (running bool, err error) {
	err = workflow.SignalExternalWorkflow(ctx, id, "", signal, o).Get(ctx, nil)
	if temporal.IsCanceledError(err) {
		return false, err
	}
	return err == nil, nil
}

// watch looks for an hour at most; an attempt that a dead worker held is given up after half a minute.
func watch(ctx workflow.Context, in activities.WatchInput) (r activities.WatchResult, err error) {
	var a *activities.Watcher
	in.For = time.Hour
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           QueueControl,
		StartToCloseTimeout: in.For + 10*time.Minute,
		HeartbeatTimeout:    30 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 10 * time.Second},
	})
	err = workflow.ExecuteActivity(ctx, a.Watch, in).Get(ctx, &r)
	return r, err
}

// Canary shows that a fan's failure reaches people. A schedule runs it; one that failed is a finding of Watch.
func Canary(ctx workflow.Context) (time.Duration, error) {
	var a *activities.Canary
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           QueueControl,
		StartToCloseTimeout: 10 * time.Minute,
		HeartbeatTimeout:    20 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumAttempts: 2},
	})
	var took time.Duration
	err := workflow.ExecuteActivity(ctx, a.Fly).Get(ctx, &took)
	if err == nil {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("The canary's page was sent %s after it stopped.",
			took.Round(time.Millisecond)))
	}
	return took, err
}
