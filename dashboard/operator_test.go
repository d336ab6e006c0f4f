package dashboard

import (
	"context"
	"errors"
	"testing"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"fanwatch"
	"fanwatch/operator"
)

// overAlerts is a Temporal server on which every alert but alert/none has ended.
type overAlerts struct{ client.Client }

func (overAlerts) UpdateWorkflow(context.Context, client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	return nil, serviceerror.NewNotFound("workflow execution already completed")
}

func (overAlerts) DescribeWorkflowExecution(_ context.Context, id,
	_ string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	if id == "alert/none" {
		return nil, serviceerror.NewNotFound("workflow not found")
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{
		Status: enums.WORKFLOW_EXECUTION_STATUS_COMPLETED}}, nil
}

// TestAnAlertThatIsOverIsToldFromNone guards against a 404 for an alert that the page has just shown.
func TestAnAlertThatIsOverIsToldFromNone(t *testing.T) {
	c := Client{operator.Client{Temporal: overAlerts{}}}
	ada := fanwatch.Acknowledgement{By: "Ada"}
	if _, err := c.Acknowledge(t.Context(), "alert/x", ada); !errors.Is(err, operator.ErrEnded) ||
		err.Error() != "alert/x: the alert is over already" {
		t.Errorf("over: %v", err)
	}
	if _, err := c.Acknowledge(t.Context(), "alert/none", ada); !errors.Is(err, operator.ErrUnknown) {
		t.Errorf("none: %v", err)
	}
}
