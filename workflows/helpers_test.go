package workflows

import (
	"errors"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
)

func startOptions(id string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: id, TaskQueue: QueueControl}
}

func asContinue(err error, next **workflow.ContinueAsNewError) bool { return errors.As(err, next) }

func decode(next *workflow.ContinueAsNewError, v any) error {
	return converter.GetDefaultDataConverter().FromPayloads(next.Input, v)
}
