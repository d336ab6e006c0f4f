package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

func startOptions(id string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: id, TaskQueue: QueueControl}
}

func asContinue(err error, next **workflow.ContinueAsNewError) bool { return errors.As(err, next) }

func decode(next *workflow.ContinueAsNewError, v any) error {
	return converter.GetDefaultDataConverter().FromPayloads(next.Input, v)
}

// messageOf gives the message of a workflow's or an activity's error without Temporal's wrapping; of another error its
// text.
func messageOf(err error) string {
	var said *temporal.ApplicationError
	if errors.As(err, &said) {
		return said.Message()
	}
	return fmt.Sprint(err)
}
