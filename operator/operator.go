// Package operator is the client by which the CLI, the dashboard and the scorers work with the workflows: it starts
// them, asks them, and tells them what people and scorers say. Package workflows has their code.
//
// What lists and inspections say comes from Temporal alone (memos, pending activities, heartbeats), so that it holds
// while no worker runs.
package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/workflows"
)

// Client works with the workflows of one Temporal namespace. It is safe for concurrent use.
type Client struct {
	Temporal  client.Client
	Namespace string
}

// ErrUnknown says that there is no such fan or alert, ErrEnded that the alert is resolved.
var (
	ErrUnknown = errors.New("unknown")
	ErrEnded   = errors.New("over already")
)

// update sends the update to the workflow, waits for its answer and puts that into out.
func (o Client) update(ctx context.Context, id, name string, out any, args ...any) error {
	handle, err := o.Temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, Args: args, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err == nil {
		err = handle.Get(ctx, out) // a validator's rejection comes from here
	}
	var none *serviceerror.NotFound
	var said *temporal.ApplicationError
	switch {
	case errors.As(err, &none):
		return o.closed(ctx, id)
	case errors.As(err, &said) && said.Type() == workflows.TypeEnded:
		return fmt.Errorf("%s: the alert is %w", id, ErrEnded)
	case err != nil:
		return fmt.Errorf("%s %s: %w", name, id, userMessage(err))
	}
	return nil
}

// closed says why no workflow of a fan or an alert takes an update: it has ended, or Temporal knows none of that ID.
func (o Client) closed(ctx context.Context, id string) error {
	w, err := o.describe(ctx, id)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return err
	}
	if fan, ok := strings.CutPrefix(id, workflows.FanID("")); ok {
		if s, _, err := memo[fanwatch.FanStatus](w, workflows.MemoFan); err == nil && s.Phase == fanwatch.PhaseRetired {
			return fmt.Errorf("fan %s is retired already", fan)
		}
		return fmt.Errorf("fan %s: %w: no fan of that name is provisioned (see fanwatch fans)", fan, ErrUnknown)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: there is no such alert (see fanwatch alerts --all)", id, ErrUnknown)
	}
	return fmt.Errorf("%s: the alert is %w", id, ErrEnded)
}

// userMessage returns an update's error as a user is to read it: the message of an error of a workflow or an activity
// without Temporal's wrapping; of an answer that did not come in time, that the update may still take effect; otherwise
// err.
func userMessage(err error) error {
	var waited *client.WorkflowUpdateServiceTimeoutOrCanceledError
	var said *temporal.ApplicationError
	switch {
	case errors.As(err, &waited):
		return errors.New("no answer in time (does a worker run?): it may still take effect, so look with fanwatch " +
			"fans or alerts before you try again")
	case errors.As(err, &said):
		return saidError{said}
	}
	return err
}

// saidError is an error of a workflow or an activity, as it was worded there.
type saidError struct{ said *temporal.ApplicationError }

func (e saidError) Error() string { return e.said.Message() }
func (e saidError) Unwrap() error { return e.said }
