package operator

import (
	"context"
	"errors"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"fanwatch"
	"fanwatch/workflows"
)

// alertServer is a Temporal server with one alert; an update of it is answered with taken, or refused when it is over.
type alertServer struct {
	client.Client
	alert fanwatch.Alert
	taken *fanwatch.Alert // nil: the alert is over
	fan   []fanwatch.Label
}

type answer struct {
	client.WorkflowUpdateHandle
	value *fanwatch.Alert
}

func (a answer) Get(_ context.Context, out any) error {
	if to, ok := out.(*fanwatch.Alert); ok {
		*to = *a.value
	}
	return nil
}

func (s *alertServer) UpdateWorkflow(_ context.Context, o client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle,
	error) {
	if o.UpdateName == workflows.UpdateLabel && o.WorkflowID == "fan/fan-07" {
		s.fan = append(s.fan, o.Args[0].(fanwatch.Label))
		return answer{}, nil
	}
	if s.taken == nil {
		return nil, serviceerror.NewNotFound("workflow execution already completed")
	}
	return answer{value: s.taken}, nil
}

func (s *alertServer) DescribeWorkflowExecution(context.Context, string,
	string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	p, _ := converter.GetDefaultDataConverter().ToPayload(s.alert) // it always encodes
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{
		Status: enums.WORKFLOW_EXECUTION_STATUS_COMPLETED,
		Memo:   &commonpb.Memo{Fields: map[string]*commonpb.Payload{workflows.MemoAlert: p}}}}, nil
}

// TestAVerdictOnAnAlertThatIsOverGoesToItsFan, and so does one that a run of an earlier program passes over; one that
// the alert takes goes by the alert alone.
func TestAVerdictOnAnAlertThatIsOverGoesToItsFan(t *testing.T) {
	const id = "alert/fan-07/speed/20260528T202640.000000Z"
	at := time.Date(2026, 5, 28, 20, 26, 40, 0, time.UTC)
	over := fanwatch.Alert{ID: id, Fan: "fan-07", Kind: fanwatch.KindSpeed, Opened: at, EndedAt: at.Add(time.Hour),
		State: fanwatch.AlertResolved}
	k := fanwatch.Acknowledgement{By: "ada", Verdict: fanwatch.VerdictNormal}
	labelled := over
	labelled.Label = k.Verdict
	for _, c := range []struct {
		taken *fanwatch.Alert
		sent  int
	}{{nil, 1}, {&over, 1}, {&labelled, 0}} {
		s := &alertServer{alert: over, taken: c.taken}
		a, err := Client{Temporal: s}.Acknowledge(t.Context(), id, k)
		if err != nil || a.Label != fanwatch.VerdictNormal || len(s.fan) != c.sent {
			t.Errorf("%+v, %v, sent to the fan: %+v", a, err, s.fan)
		}
		if len(s.fan) > 0 && (!s.fan[0].Normal || s.fan[0].Alert != id || !s.fan[0].To.Equal(over.EndedAt)) {
			t.Errorf("sent to the fan: %+v", s.fan)
		}
	}
	s := &alertServer{alert: over}
	if _, err := (Client{Temporal: s}).Acknowledge(t.Context(), id, fanwatch.Acknowledgement{By: "ada"}); !errors.Is(err,
		ErrEnded) || len(s.fan) != 0 {
		t.Errorf("without a verdict: %v", err)
	}
}
