package operator

import (
	"context"
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
)

// describe returns a workflow's newest run, also one that has ended. It needs no worker. The error wraps ErrUnknown
// when there is none.
func (o Client) describe(ctx context.Context, id string) (*workflowpb.WorkflowExecutionInfo, error) {
	d, err := o.Temporal.DescribeWorkflowExecution(ctx, id, "")
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return nil, fmt.Errorf("%s: %w", id, ErrUnknown)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	return d.GetWorkflowExecutionInfo(), nil
}

// Running reports whether a workflow of that ID runs.
func (o Client) Running(ctx context.Context, id string) (bool, error) {
	w, err := o.describe(ctx, id)
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	return err == nil && w.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, err
}

// executions returns the workflows that the query finds, newest first; at most most, 0 = all.
func (o Client) executions(ctx context.Context, query string, most int) ([]*workflowpb.WorkflowExecutionInfo, error) {
	var out []*workflowpb.WorkflowExecutionInfo
	var page []byte
	for {
		size := int32(1000)
		if most > 0 {
			size = int32(most)
		}
		resp, err := o.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: o.Namespace,
			Query: query, PageSize: size, NextPageToken: page})
		if err != nil {
			return nil, fmt.Errorf("list workflows: %w", err)
		}
		out = append(out, resp.Executions...)
		if page = resp.NextPageToken; len(page) == 0 || most > 0 {
			return out, nil
		}
	}
}

// list returns a memo field of every workflow that the query finds.
func list[T any](ctx context.Context, o Client, query, field string) ([]T, error) {
	found, err := o.executions(ctx, query, 0)
	if err != nil {
		return nil, err
	}
	var all []T
	for _, w := range found {
		v, ok, err := memo[T](w, field)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, v)
		}
	}
	return all, nil
}

// memo returns one memo field of a workflow; ok is false when it has just started and has none yet.
func memo[T any](e *workflowpb.WorkflowExecutionInfo, field string) (v T, ok bool, err error) {
	var p *commonpb.Payload
	if p, ok = e.GetMemo().GetFields()[field]; !ok {
		return v, false, nil
	}
	if err := converter.GetDefaultDataConverter().FromPayload(p, &v); err != nil {
		return v, false, fmt.Errorf("memo of %s: %w", e.GetExecution().GetWorkflowId(), err)
	}
	return v, true, nil
}
