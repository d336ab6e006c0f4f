// Package operator is the client of the workflows for the CLI, the dashboard, the scorers and the workers: it starts,
// lists, inspects and updates them. Package workflows has their code.
//
// Lists and inspections read Temporal alone (memos, pending activities, heartbeats), so that they need no worker.
package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/workflows"
)

// Client works with the workflows of one Temporal namespace. Safe for concurrent use.
type Client struct {
	Temporal  client.Client
	Namespace string
}

var (
	// ErrUnknown says that there is no such fan, alert or certificate.
	ErrUnknown = errors.New("unknown")
	// ErrEnded says that the alert is over.
	ErrEnded = errors.New("over already")
	// ErrUsed says that the alert took an answer with this token before.
	ErrUsed = errors.New("used before")
)

// MissingSearchAttributes returns the names of those of workflows.SearchKeys that the namespace lacks, or has with
// another type than Keyword.
func (o Client) MissingSearchAttributes(ctx context.Context) ([]string, error) {
	has, err := o.Temporal.OperatorService().ListSearchAttributes(ctx,
		&operatorservice.ListSearchAttributesRequest{Namespace: o.Namespace})
	if err != nil {
		return nil, fmt.Errorf("list search attributes: %w", err)
	}
	var missing []string
	for _, key := range workflows.SearchKeys() {
		if has.GetCustomAttributes()[key.GetName()] != enums.INDEXED_VALUE_TYPE_KEYWORD {
			missing = append(missing, key.GetName())
		}
	}
	return missing, nil
}

// update sends the update to the workflow, waits for its result and stores it in out.
func (o Client) update(ctx context.Context, id, name string, out any, args ...any) error {
	handle, err := o.Temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, Args: args, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err == nil {
		err = handle.Get(ctx, out) // a validator's rejection comes from here
	}
	var none *serviceerror.NotFound
	var app *temporal.ApplicationError
	switch {
	case errors.As(err, &none):
		return o.closed(ctx, id)
	case errors.As(err, &app) && app.Type() == workflows.TypeEnded:
		return fmt.Errorf("%s: the alert is %w", id, ErrEnded)
	case used(err):
		return fmt.Errorf("%s: the link was %w", id, ErrUsed)
	case errors.As(err, &app) && app.Type() == workflows.TypeNotSuggested:
		return fmt.Errorf("%w: %s", ErrUnknown, app.Message())
	case err != nil:
		return fmt.Errorf("%s %s: %w", name, id, userMessage(err))
	}
	return nil
}

// closed returns the error for a fan or an alert of which no workflow takes an update: it has ended, or never existed.
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

// userMessage returns an update's error for a user: that of a workflow or an activity without Temporal's wrapping;
// for a result that did not come in time, that the update may still take effect; otherwise err.
func userMessage(err error) error {
	var waited *client.WorkflowUpdateServiceTimeoutOrCanceledError
	var app *temporal.ApplicationError
	switch {
	case errors.As(err, &waited):
		return errors.New("no answer in time (does a worker run?): it may still take effect, so look with fanwatch " +
			"fans or alerts before you try again")
	case errors.As(err, &app):
		return userError{app}
	}
	return err
}

// userError is an error of a workflow or an activity without Temporal's wrapping.
type userError struct{ app *temporal.ApplicationError }

func (e userError) Error() string { return e.app.Message() }
func (e userError) Unwrap() error { return e.app }
