package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/workflows"
)

// Observe sends an observation to a fan's workflow. When that was cancelled, terminated or has failed, it starts
// another, which continues from its memo, with the device d if that is newer. The error wraps activities.ErrNoFan
// when the fan is retired, and activities.ErrRefused when Temporal will never take the signal. It takes 10 s at
// most.
func (o Client) Observe(ctx context.Context, d fanwatch.Device, obs fanwatch.Observation) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := o.Temporal.SignalWorkflow(ctx, workflows.FanID(obs.Fan), "", workflows.SignalObserve, obs)
	var none *serviceerror.NotFound
	if errors.As(err, &none) {
		err = o.revive(ctx, d, obs)
	}
	var invalid *serviceerror.InvalidArgument
	var exhausted *serviceerror.ResourceExhausted
	if errors.As(err, &invalid) || errors.As(err, &exhausted) && strings.Contains(exhausted.Message,
		"execution limit for signal events") {
		return fmt.Errorf("fan %s: %w: %w", obs.Fan, activities.ErrRefused, err)
	}
	return err
}

// revive starts the workflow of a fan that has none, with the observation.
func (o Client) revive(ctx context.Context, d fanwatch.Device, obs fanwatch.Observation) error {
	s, running, err := o.newest(ctx, obs.Fan)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return err
	}
	if !running && s.Phase == fanwatch.PhaseRetired || d.Retired {
		return fmt.Errorf("fan %s: %w", obs.Fan, activities.ErrNoFan)
	}
	// The scorer knows the fan, so it was active: in another database, or in a run without memo.
	if s.Phase != fanwatch.PhaseActive {
		s = fanwatch.FanStatus{Phase: fanwatch.PhaseActive}
	}
	if d.Revision >= s.Device.Revision && d.Fan == obs.Fan {
		s.Device = d
	}
	if s.Device.Fan != obs.Fan {
		return fmt.Errorf("fan %s: %w: nothing is known of it", obs.Fan, activities.ErrNoFan)
	}
	_, err = o.Temporal.SignalWithStartWorkflow(ctx, workflows.FanID(obs.Fan), workflows.SignalObserve, obs,
		fanOptions(obs.Fan, s.Phase), workflows.Fan, workflows.FanInput{Status: s})
	return err
}
