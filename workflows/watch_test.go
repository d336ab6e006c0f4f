package workflows

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// watchRun is a Watch whose activity answers one script, and alerts that note what they are told.
type watchRun struct {
	*testsuite.TestWorkflowEnvironment
	inputs []activities.WatchInput
	alerts []AlertInput
	told   []string // kinds that alerts were told; "" is normal
}

func newWatchRun(t *testing.T, answers ...activities.WatchResult) *watchRun {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet())
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(30 * time.Second)
	env.SetStartTime(opened)
	r := &watchRun{TestWorkflowEnvironment: env}
	env.RegisterWorkflow(Watch)
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context, in AlertInput) (fanwatch.Alert, error) {
		r.alerts = append(r.alerts, in)
		for {
			var o fanwatch.Observation
			if ok, _ := workflow.GetSignalChannel(ctx, SignalObserve).ReceiveWithTimeout(ctx, time.Hour, &o); !ok {
				return in.Alert, nil // the test is over: its environment waits for the children
			}
			r.told = append(r.told, o.Fan+":"+string(o.Anomaly.Kind))
		}
	}, workflow.RegisterOptions{Name: "Alert"})
	env.RegisterActivity(&activities.Watcher{})
	env.OnActivity("Watch", anything, anything).Return(func(_ context.Context, in activities.WatchInput) (
		activities.WatchResult, error) {
		r.inputs = append(r.inputs, in)
		if len(r.inputs) > len(answers) {
			return activities.WatchResult{}, temporal.NewNonRetryableApplicationError("the script is over", "Over", nil)
		}
		return answers[len(r.inputs)-1], nil
	})
	return r
}

func TestAPartThatFailsIsAnAlertByTheOperationsPolicyUntilItWorksAgain(t *testing.T) {
	lake := []activities.Finding{{Part: "lake", Why: "Nothing gets into the tables: S3 does not answer."}}
	r := newWatchRun(t, activities.WatchResult{Failed: lake}, activities.WatchResult{},
		activities.WatchResult{Over: []string{"lake"}})
	r.ExecuteWorkflow(Watch, WatchInput{Stream: "s"})
	if len(r.inputs) != 4 || r.inputs[1].Open["lake"] == "" || len(r.inputs[3].Open) != 0 {
		t.Fatalf("the activity was asked %+v", r.inputs)
	}
	if len(r.alerts) != 1 || r.alerts[0].Policy != PolicyOperations || r.alerts[0].Alert.Kind != fanwatch.KindPipeline ||
		r.alerts[0].Alert.Why != lake[0].Why ||
		strings.Join(r.told, " ") != "lake:" {
		t.Errorf("opened %+v, told %q", r.alerts, r.told)
	}
}

func TestAPartThatFailsAgainSoonGoesOnInItsAlert(t *testing.T) {
	lake := []activities.Finding{{Part: "lake", Why: "S3 does not answer."}}
	r := newWatchRun(t, activities.WatchResult{Failed: lake}, activities.WatchResult{Over: []string{"lake"}},
		activities.WatchResult{Failed: lake}, activities.WatchResult{})
	r.ExecuteWorkflow(Watch, WatchInput{Stream: "s"})
	if len(r.alerts) != 1 || strings.Join(r.told, " ") != "lake: lake:pipeline" ||
		r.inputs[1].Open["lake"] != r.inputs[3].Open["lake"] {
		t.Errorf("opened %d, told %q, asked %+v", len(r.alerts), r.told, r.inputs)
	}
}

// canaryWorld is the path from IoT Core to the channel; a stage that is broken passes nothing on.
type canaryWorld struct {
	broken string
	status fanwatch.FanStatus
	alert  fanwatch.Alert
}

func (w *canaryWorld) Record(_ context.Context, _ string, data []byte) error {
	_, err := fanwatch.DecodeRecord(data)
	return err
}

func (w *canaryWorld) Publish(_ context.Context, topic string, payload []byte) error {
	if w.broken == "iot" {
		return fmt.Errorf("no such rule")
	}
	rec, err := fanwatch.DecodeRecord([]byte(strings.Replace(string(payload), "{", `{"client":"n/a",`, 1)))
	if err != nil || topic != "$aws/rules/rule/"+fanwatch.CanaryFan || rec.Fan != fanwatch.CanaryFan {
		return fmt.Errorf("published %s on %s: %w", payload, topic, err)
	}
	if w.broken == "scorer" {
		return nil
	}
	last := rec.Readings[len(rec.Readings)-1]
	w.status.Phase, w.status.Last.Anomaly.Kind, w.status.Alert = fanwatch.PhaseActive, fanwatch.KindNone, ""
	if last.State == fanwatch.StateStalled {
		w.status.Last.Anomaly.Kind, w.status.Alert = fanwatch.KindStall, "alert/canary"
		w.alert = fanwatch.Alert{Notices: 1, State: fanwatch.AlertAcknowledged}
		if w.broken == "delivery" {
			w.alert.State = fanwatch.AlertOpen
		}
		if w.broken == "topic" {
			w.alert = fanwatch.Alert{Failed: []fanwatch.Failure{{Why: "topic does not exist"}}}
		}
	}
	return nil
}

func (w *canaryWorld) FanStatus(context.Context, string) (fanwatch.FanStatus, error) {
	if w.status.Phase == "" {
		return w.status, activities.ErrNoFan
	}
	return w.status, nil
}

func (w *canaryWorld) Alert(context.Context, string) (fanwatch.Alert, error) { return w.alert, nil }

func TestTheCanarySaysWhereThePageWasLost(t *testing.T) {
	for broken, want := range map[string]string{"": "", "iot": "IoT Core does not take",
		"scorer": "see rule, stream and scorer", "topic": "topic does not exist",
		"delivery": "SNS took the page and it did not come back"} {
		t.Run(broken, func(t *testing.T) {
			var suite testsuite.WorkflowTestSuite
			suite.SetLogger(quiet())
			env := suite.NewTestWorkflowEnvironment()
			w := &canaryWorld{broken: broken}
			env.RegisterWorkflow(Canary)
			env.RegisterActivity(&activities.Canary{IoT: w, Stream: w, System: w, Rule: "rule", AwaitsAck: true,
				Topic:  func(context.Context) error { return nil },
				Within: 20 * time.Millisecond, Poll: time.Millisecond, Now: time.Now})
			env.ExecuteWorkflow(Canary)
			err := env.GetWorkflowError()
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}
