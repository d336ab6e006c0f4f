package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/serviceerror"
	"golang.org/x/sync/errgroup"

	"fanwatch"
	"fanwatch/workflows"
)

// renewers is how many workflows are asked to renew themselves at once, and renewing how long all of them may take.
const (
	renewers = 16
	renewing = 30 * time.Second
)

// renew asks the runs of Fan that began with an earlier program to go on as this one's. One that cannot be asked does
// not keep the others from it.
func (o Client) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewing)
	defer cancel()
	fans, err := o.Fans(ctx)
	if err != nil {
		return err
	}
	var asking errgroup.Group
	asking.SetLimit(renewers)
	errs := make([]error, len(fans))
	for i, s := range fans {
		if s.V >= fanwatch.FanStatusVersion {
			continue
		}
		asking.Go(func() error {
			err := o.Temporal.SignalWorkflow(ctx, workflows.FanID(s.Device.Fan), "", workflows.SignalRenew, nil)
			var none *serviceerror.NotFound
			if err != nil && !errors.As(err, &none) { // it has ended meanwhile
				errs[i] = fmt.Errorf("renew fan %s: %w", s.Device.Fan, err)
			}
			return nil
		})
	}
	_ = asking.Wait() // the errors are in errs
	return errors.Join(errs...)
}

// renewAlerts has every open alert of the first code go on under today's. One that does not take the signal goes on
// as it was, until the next start asks again.
func (o Client) renewAlerts(ctx context.Context) error {
	open, err := o.listAlerts(ctx, `ExecutionStatus = "Running"`)
	if err != nil {
		return err
	}
	for _, a := range open {
		if a.V < fanwatch.AlertVersion {
			_ = o.Temporal.SignalWorkflow(ctx, a.ID, "", workflows.SignalRenew, nil) // it may have ended meanwhile
		}
	}
	return ctx.Err()
}
