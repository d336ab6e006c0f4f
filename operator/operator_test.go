package operator

import (
	"context"
	"errors"
	"strings"
	"testing"

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

// closedWorkflows is a Temporal server on which no workflow runs: what is in the map has ended, with that memo.
type closedWorkflows struct {
	client.Client
	memos map[string]map[string]any
}

func (c closedWorkflows) UpdateWorkflow(context.Context, client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle,
	error) {
	return nil, serviceerror.NewNotFound("workflow execution already completed")
}

func (c closedWorkflows) DescribeWorkflowExecution(_ context.Context, id,
	_ string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	memo, ok := c.memos[id]
	if !ok {
		return nil, serviceerror.NewNotFound("workflow not found")
	}
	fields := map[string]*commonpb.Payload{}
	for name, v := range memo {
		p, err := converter.GetDefaultDataConverter().ToPayload(v)
		if err != nil {
			return nil, err
		}
		fields[name] = p
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{
		Status: enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, Memo: &commonpb.Memo{Fields: fields}}}, nil
}

// TestWhatHasEndedIsNotUnknown guards against an alert that is over and a fan that is retired being called unknown.
func TestWhatHasEndedIsNotUnknown(t *testing.T) {
	o := Client{Temporal: closedWorkflows{memos: map[string]map[string]any{
		"alert/fan-07/stall/x": {workflows.MemoAlert: fanwatch.Alert{State: fanwatch.AlertResolved}},
		"fan/old":              {workflows.MemoFan: fanwatch.FanStatus{Phase: fanwatch.PhaseRetired}},
		"fan/refused":          {workflows.MemoFan: fanwatch.FanStatus{Phase: fanwatch.PhaseProvisioning}},
	}}}
	ack := func(id string) error {
		_, err := o.Acknowledge(t.Context(), id, fanwatch.Acknowledgement{By: "ada"})
		return err
	}
	retire := func(fan string) error {
		_, err := o.Retire(t.Context(), fan)
		return err
	}
	for _, c := range []struct {
		err  error
		want string
		kind error
	}{
		{ack("alert/fan-07/stall/x"), "alert/fan-07/stall/x: the alert is over already", ErrEnded},
		{ack("alert/fan-07/stall/y"), "alert/fan-07/stall/y: unknown: there is no such alert (see fanwatch alerts --all)",
			ErrUnknown},
		{retire("old"), "fan old is retired already", nil},
		{retire("refused"), "fan refused: unknown: no fan of that name is provisioned (see fanwatch fans)", ErrUnknown},
		{retire("none"), "fan none: unknown: no fan of that name is provisioned (see fanwatch fans)", ErrUnknown},
	} {
		if c.err == nil || c.err.Error() != c.want || c.kind != nil && !errors.Is(c.err, c.kind) || c.kind == nil &&
			errors.Is(c.err, ErrUnknown) {
			t.Errorf("%v, want %s", c.err, c.want)
		}
	}
}

func TestAnAlertIsReadFromItsMemo(t *testing.T) {
	o := Client{Temporal: closedWorkflows{memos: map[string]map[string]any{"alert/x": {workflows.MemoAlert: fanwatch.Alert{
		AckedBy: "ada"}}}}}
	if a, err := o.Alert(t.Context(), "alert/x"); err != nil || a.AckedBy != "ada" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := o.Alert(t.Context(), "alert/y"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an alert that nobody remembers: %v", err)
	}
}

// TestAnUpdateWithoutAnswerMayStillTakeEffect guards against a failure that is none and is applied later.
func TestAnUpdateWithoutAnswerMayStillTakeEffect(t *testing.T) {
	err := userMessage(client.NewWorkflowUpdateServiceTimeoutOrCanceledError(
		errors.New("stream terminated by RST_STREAM")))
	if !strings.Contains(err.Error(), "may still take effect") || strings.Contains(err.Error(), "RST_STREAM") {
		t.Error(err)
	}
}
