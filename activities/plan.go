package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"fanwatch"
)

// Planner resolves the policy of an alert at a time: by routes, schedules and quiet hours. It must be safe for
// concurrent use.
type Planner interface {
	Resolve(a fanwatch.Alert, at time.Time) (fanwatch.Policy, error)
}

// PlanInput is the input of [Notifier.Plan].
type PlanInput struct {
	Policy string         `json:"policy"` // name of the escalation policy; "" = "default"
	Alert  fanwatch.Alert `json:"alert"`  // without Sent and Failed, with the severity that the judge gave
	At     time.Time      `json:"at"`
}

// Plan returns the policy of the alert, resolved for the time At: whom each step notifies, until when nothing is to be
// notified, and the incident that notifies in its place. What a maintenance or an incident cannot tell keeps no alert
// from notifying.
func (n *Notifier) Plan(ctx context.Context, in PlanInput) (fanwatch.Policy, error) {
	a := in.Alert
	a.Policy = in.Policy
	if n.Planner == nil || in.Policy == fanwatch.CanaryPolicy {
		return n.Policy(ctx, in.Policy)
	}
	p, err := n.Planner.Resolve(a, in.At)
	if err != nil {
		return p, temporal.NewNonRetryableApplicationError(err.Error(), "NoPolicy", err)
	}
	if n.Maintain != nil {
		until, why, err := n.Maintain(ctx, a, in.At)
		switch {
		case err != nil:
			activity.GetLogger(ctx).Error("an alert goes on without what maintenances say", "alert", a.ID, "err", err)
		case until.After(p.NotBefore):
			p.NotBefore, p.Because = until, why
		}
	}
	if p.NotBefore.IsZero() {
		p.Incident = n.incident(ctx, a, p)
	}
	return p, nil
}
