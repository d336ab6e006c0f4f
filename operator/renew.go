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

const (
	renewers = 16               // signals under way at once
	renewing = 30 * time.Second // bound of all signals
)

// renew signals the runs of Fan that began with an earlier program to continue as new. The error joins those of the
// signals that failed.
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

// renewAlerts signals every open alert of version 1 to continue as new. A signal that fails is repeated by the next
// start.
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
