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

// Fan returns one fan's status.
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

// FanStatus returns a fan's newest status from its memo. It asks no worker. An error that wraps activities.ErrNoFan
// says that no workflow of that fan runs.
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

// Known reports whether a fan of that name is provisioned, or was and is retired. It asks no worker.
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

// newest returns a fan's status as the memo of its workflow's newest run has it, and whether that run is running. It
// asks no worker. A run that has shown nothing, or nothing that can be read, has the zero status. The error wraps
// ErrUnknown when there is no run.
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

// Fans lists by name all fans that are not retired, and those that are and whose certificates could not be ended yet.
// It asks no worker.
func (o Client) Fans(ctx context.Context) ([]fanwatch.FanStatus, error) {
	fans, err := list[fanwatch.FanStatus](ctx, o, `WorkflowType = "Fan" AND ExecutionStatus = "Running"`,
		workflows.MemoFan)
	fans = slices.DeleteFunc(fans, func(s fanwatch.FanStatus) bool { return s.Device.Fan == fanwatch.CanaryFan })
	slices.SortFunc(fans, func(a, b fanwatch.FanStatus) int { return strings.Compare(a.Device.Fan, b.Device.Fan) })
	return fans, err
}

// Change changes what c names of a fan and answers what took effect.
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

// Retire ends a fan: its readings are refused from then on, its alert and its certificates end.
func (o Client) Retire(ctx context.Context, fan string) (workflows.RetireAnswer, error) {
	var out workflows.RetireAnswer
	err := o.update(ctx, workflows.FanID(fan), workflows.UpdateRetire, &out)
	return out, err
}
