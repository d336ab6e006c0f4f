package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/workflows"
)

// Fan returns one fan's status. It asks the fan's workflow, and so needs a worker. The error wraps [ErrUnknown] when no
// such fan is provisioned.
func (o Client) Fan(ctx context.Context, fan string) (fanwatch.FanStatus, error) {
	var s fanwatch.FanStatus
	v, err := o.Temporal.QueryWorkflow(ctx, workflows.FanID(fan), "", workflows.QueryStatus)
	var none *serviceerror.NotFound
	if errors.As(err, &none) {
		return s, noFan(fan)
	}
	if err == nil {
		err = v.Get(&s)
	}
	if err != nil {
		return s, fmt.Errorf("fan %s: %w", fan, err)
	}
	if s.Phase == "" { // its first provisioning was refused
		return s, noFan(fan)
	}
	return s, nil
}

func noFan(fan string) error {
	return fmt.Errorf("fan %s: %w: provision it with fanwatch provision %s --csr FILE", fan, ErrUnknown, fan)
}

// FanStatus returns a fan's newest status from its memo. It needs no worker. The error wraps activities.ErrNoFan
// when no workflow of the fan runs.
func (o Client) FanStatus(ctx context.Context, fan string) (fanwatch.FanStatus, error) {
	w, err := o.describe(ctx, workflows.FanID(fan))
	if errors.Is(err, ErrUnknown) || err == nil && w.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return fanwatch.FanStatus{}, fmt.Errorf("fan %s: %w", fan, activities.ErrNoFan)
	}
	if err != nil {
		return fanwatch.FanStatus{}, err
	}
	s, _, err := memo[fanwatch.FanStatus](w, workflows.MemoFan)
	return s, err
}

// Known reports whether a fan of that name is provisioned, or was and is retired. It needs no worker.
func (o Client) Known(ctx context.Context, fan string) (bool, error) {
	w, err := o.describe(ctx, workflows.FanID(fan))
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s, ok, err := memo[fanwatch.FanStatus](w, workflows.MemoFan)
	return ok && s.Phase != "" && s.Phase != fanwatch.PhaseProvisioning, err
}

// newest returns a fan's status from the memo of its workflow's newest run, and whether that runs. It needs no worker.
// Without a readable memo the status is zero. The error wraps ErrUnknown when there is no workflow.
func (o Client) newest(ctx context.Context, fan string) (s fanwatch.FanStatus, running bool, err error) {
	w, err := o.describe(ctx, workflows.FanID(fan))
	if err != nil {
		return s, false, err
	}
	if s, _, err = memo[fanwatch.FanStatus](w, workflows.MemoFan); err != nil {
		s = fanwatch.FanStatus{}
	}
	return s, w.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

// Fans returns, sorted by name, all fans that are not retired, and retired ones whose certificates may still be active.
// It needs no worker.
func (o Client) Fans(ctx context.Context) ([]fanwatch.FanStatus, error) {
	fans, err := list[fanwatch.FanStatus](ctx, o, `WorkflowType = "Fan" AND ExecutionStatus = "Running"`,
		workflows.MemoFan)
	fans = slices.DeleteFunc(fans, func(s fanwatch.FanStatus) bool { return s.Device.Fan == fanwatch.CanaryFan })
	slices.SortFunc(fans, func(a, b fanwatch.FanStatus) int { return strings.Compare(a.Device.Fan, b.Device.Fan) })
	return fans, err
}

// Change changes a fan's device by c and returns the device as it took effect.
func (o Client) Change(ctx context.Context, fan string, c fanwatch.DeviceChange) (fanwatch.Device, error) {
	var out fanwatch.Device
	if c.Clients != nil {
		if err := o.checkClients(ctx, fan, *c.Clients); err != nil {
			return out, fmt.Errorf("configure %s: %w", fan, err)
		}
	}
	err := o.update(ctx, workflows.FanID(fan), workflows.UpdateChange, &out, c)
	return out, err
}

// Answer tells a fan what a person says to what its readings suggest, and returns the device as it holds then. The
// error wraps [ErrUnknown] when there is no such fan or it suggests no such thing.
func (o Client) Answer(ctx context.Context, fan string, a fanwatch.SuggestionAnswer) (fanwatch.Device, error) {
	var out fanwatch.Device
	err := o.update(ctx, workflows.FanID(fan), workflows.UpdateSuggestion, &out, a)
	return out, err
}

// Retire ends a fan: its readings are refused, its alert and its certificates end.
func (o Client) Retire(ctx context.Context, fan string) (workflows.RetireAnswer, error) {
	var out workflows.RetireAnswer
	err := o.update(ctx, workflows.FanID(fan), workflows.UpdateRetire, &out)
	return out, err
}
