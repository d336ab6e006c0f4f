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

// PolicyOperations is the policy of alerts of KindPipeline; when there is none of that name, the default one is.
const PolicyOperations = "operations"

// WatchInput is the input of [Watch], which also carries its state when it continues as new.
type WatchInput struct {
	Stream string            `json:"stream"`
	Open   map[string]string `json:"open,omitempty"`  // ID of the open alert by part
	Alerts map[string]string `json:"alert,omitempty"` // ID of the newest alert by part, which may be about to resolve
}

// changesPerRun is the number of results of its activity after which a Watch continues as new.
const changesPerRun = 200

// Watch opens an alert of KindPipeline for each part of fanwatch that does not do its work, and ends it when the part
// works again. It needs Temporal, a control worker and SNS; an outside service at the heartbeat URL notices when these
// fail.
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

// failed signals the part's newest alert, if it has not resolved yet, or opens one.
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

// openPipeline starts the alert of a part, which is its Fan.
func openPipeline(ctx workflow.Context, o fanwatch.Observation) (string, error) {
	a := fanwatch.Alert{V: fanwatch.AlertVersion, ID: AlertID(o.Fan, fanwatch.KindPipeline, o.Time), Fan: o.Fan,
		Kind: fanwatch.KindPipeline, Opened: o.Time,
		State: fanwatch.AlertOpen, Why: o.Anomaly.Why}
	return a.ID, openAlert(ctx, AlertInput{Alert: a, Policy: PolicyOperations})
}

// openAlert starts the alert unless one of its ID was started before. The alert outlives the workflow that opens it.
func openAlert(ctx workflow.Context, in AlertInput) error {
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            in.Alert.ID,
		TaskQueue:             queueOf(in.Alert.Kind),
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

// signalAlert signals an alert and reports whether it runs.
func signalAlert(ctx workflow.Context, id, signal string, o fanwatch.Observation) (running bool, err error) {
	err = workflow.SignalExternalWorkflow(ctx, id, "", signal, o).Get(ctx, nil)
	if temporal.IsCanceledError(err) {
		return false, err
	}
	return err == nil, nil
}

// watch runs Watcher.Watch for up to 1 h. An attempt whose worker is dead is given up after 30 s.
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

// Canary tests the path from reading to page. A schedule runs it; a failed run is a finding of Watch.
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
