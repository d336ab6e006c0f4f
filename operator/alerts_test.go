package operator

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/timestamppb"

	"fanwatch"
	"fanwatch/workflows"
)

// listedWorkflows is a Temporal server that lists these alerts, and keeps who was signalled.
type listedWorkflows struct {
	client.Client
	running, ended []*workflowpb.WorkflowExecutionInfo
	signalled      *[]string
}

func (l listedWorkflows) ListWorkflow(_ context.Context,
	r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if strings.Contains(r.Query, "Running") {
		return &workflowservice.ListWorkflowExecutionsResponse{Executions: l.running}, nil
	}
	found := slices.DeleteFunc(slices.Clone(l.ended), func(w *workflowpb.WorkflowExecutionInfo) bool {
		return !strings.Contains(r.Query, w.Status.String())
	})
	return &workflowservice.ListWorkflowExecutionsResponse{Executions: found}, nil
}

func (l listedWorkflows) SignalWorkflow(_ context.Context, id, _, signal string, _ any) error {
	*l.signalled = append(*l.signalled, id+" "+signal)
	return serviceerror.NewNotFound("workflow execution already completed")
}

func listed(t *testing.T, id string, status enums.WorkflowExecutionStatus, memo any) *workflowpb.WorkflowExecutionInfo {
	t.Helper()
	w := &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: id}, Status: status,
		StartTime: timestamppb.New(opened), CloseTime: timestamppb.New(opened.Add(time.Hour))}
	if memo != nil {
		p, err := converter.GetDefaultDataConverter().ToPayload(memo)
		if err != nil {
			t.Fatal(err)
		}
		w.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{workflows.MemoAlert: p}}
	}
	return w
}

func TestAlertsThatWereEndedFromOutsideAreListed(t *testing.T) {
	open := fanwatch.Alert{ID: "alert/fan-07/stall/a", State: fanwatch.AlertOpen, Why: "fan-07 has stopped."}
	o := Client{Temporal: listedWorkflows{
		running: []*workflowpb.WorkflowExecutionInfo{
			listed(t, "alert/fan-08/stall/just-started", enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil),
			listed(t, "alert/fan-09/stall/unreadable", enums.WORKFLOW_EXECUTION_STATUS_RUNNING, 7)},
		ended: []*workflowpb.WorkflowExecutionInfo{
			listed(t, "terminated", enums.WORKFLOW_EXECUTION_STATUS_TERMINATED, open),
			listed(t, "cancelled", enums.WORKFLOW_EXECUTION_STATUS_CANCELED, open),
			listed(t, "failed", enums.WORKFLOW_EXECUTION_STATUS_FAILED, open),
			listed(t, "timed out", enums.WORKFLOW_EXECUTION_STATUS_TIMED_OUT, open),
			listed(t, "alert/fan-07/stall/shown-nothing", enums.WORKFLOW_EXECUTION_STATUS_TERMINATED, nil),
			listed(t, "waited for the lake", enums.WORKFLOW_EXECUTION_STATUS_TERMINATED,
				fanwatch.Alert{State: fanwatch.AlertResolved}),
			listed(t, "over", enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, fanwatch.Alert{State: fanwatch.AlertResolved})}}}
	alerts, err := o.Alerts(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	states := map[fanwatch.AlertState]int{}
	for _, a := range alerts {
		states[a.State]++
		if a.State == fanwatch.AlertTerminated && !a.EndedAt.Equal(opened.Add(time.Hour)) {
			t.Errorf("%+v", a)
		}
		if a.ID == "alert/fan-07/stall/shown-nothing" && (a.Fan != "fan-07" || a.Kind != fanwatch.KindStall) {
			t.Errorf("%+v", a)
		}
	}
	if states[fanwatch.AlertTerminated] != 5 || states[fanwatch.AlertResolved] != 2 || states[fanwatch.AlertOpen] != 1 ||
		len(alerts) != 8 {
		t.Errorf("%v: %+v", states, alerts)
	}
	if alerts, err = o.Alerts(t.Context(), false); err != nil || len(alerts) != 1 || alerts[0].Fan != "fan-09" {
		t.Errorf("%+v, %v", alerts, err)
	}
}

func TestStartRenewsTheAlertsOfTheFirstCode(t *testing.T) {
	var signalled []string
	o := Client{Temporal: listedWorkflows{signalled: &signalled, running: []*workflowpb.WorkflowExecutionInfo{
		listed(t, "alert/old", enums.WORKFLOW_EXECUTION_STATUS_RUNNING, fanwatch.Alert{V: 1, ID: "alert/old"}),
		listed(t, "alert/new", enums.WORKFLOW_EXECUTION_STATUS_RUNNING, fanwatch.Alert{V: 2, ID: "alert/new"})}}}
	if err := o.renewAlerts(t.Context()); err != nil || !slices.Equal(signalled, []string{"alert/old renew"}) {
		t.Errorf("%v, %v", signalled, err)
	}
}

// TestALabelGivenAfterTheEndIsListed with its alert: the newest, as the fan keeps it, also a fan that was retired
// since; one that the alert took itself later holds.
func TestALabelGivenAfterTheEndIsListed(t *testing.T) {
	over := func(fan string, label fanwatch.Verdict, at time.Time) fanwatch.Alert {
		return fanwatch.Alert{V: 2, ID: "alert/" + fan + "/speed/1", Fan: fan, Kind: fanwatch.KindSpeed, Opened: opened,
			State: fanwatch.AlertResolved, Label: label, LabelledAt: at}
	}
	status := func(fan string, said ...bool) fanwatch.FanStatus {
		s := fanwatch.FanStatus{V: 3, Phase: fanwatch.PhaseActive, Device: fanwatch.Device{V: 1, Fan: fan}}
		for i, normal := range said {
			s.Labels = append(s.Labels, fanwatch.Label{V: 1, Fan: fan, Alert: "alert/" + fan + "/speed/1", Normal: normal,
				By: "ada", At: opened.Add(time.Duration(i+1) * time.Hour)})
		}
		return s
	}
	fan := func(status enums.WorkflowExecutionStatus, s fanwatch.FanStatus) *workflowpb.WorkflowExecutionInfo {
		w := listed(t, "fan/"+s.Device.Fan, status, nil)
		p, err := converter.GetDefaultDataConverter().ToPayload(s)
		if err != nil {
			t.Fatal(err)
		}
		w.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{workflows.MemoFan: p}}
		return w
	}
	const done = enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	fans := []*workflowpb.WorkflowExecutionInfo{fan(enums.WORKFLOW_EXECUTION_STATUS_RUNNING, status("fan-1", true, false)),
		fan(done, status("fan-2", true)), fan(done, status("fan-3", true))}
	server := byType{all: map[string][]*workflowpb.WorkflowExecutionInfo{"Fan": fans}}
	for _, a := range []fanwatch.Alert{over("fan-1", "", time.Time{}), over("fan-2", "", time.Time{}),
		over("fan-3", fanwatch.VerdictFault, opened.Add(9*time.Hour)), over("fan-4", "", time.Time{})} {
		server.all["Alert"] = append(server.all["Alert"], listed(t, a.ID, done, a))
	}
	all, err := Client{Temporal: server}.Alerts(t.Context(), true)
	var got []string
	for _, a := range all {
		got = append(got, string(a.Label)+" "+a.LabelledBy)
	}
	if want := "fault ada, normal ada, fault ,  "; err != nil || strings.Join(got, ", ") != want {
		t.Errorf("%q, %v, want %q", strings.Join(got, ", "), err, want)
	}
}

// byType is a Temporal server that lists workflows by their type, those that run and those that do not.
type byType struct {
	client.Client
	all map[string][]*workflowpb.WorkflowExecutionInfo
}

func (b byType) ListWorkflow(_ context.Context,
	r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	out := &workflowservice.ListWorkflowExecutionsResponse{}
	for name, all := range b.all {
		if !strings.Contains(r.Query, `WorkflowType = "`+name+`"`) {
			continue
		}
		for _, w := range all {
			if strings.Contains(r.Query, `"`+w.Status.String()+`"`) {
				out.Executions = append(out.Executions, w)
			}
		}
	}
	return out, nil
}
