package activities

import (
	"context"
	"time"

	"fanwatch"
)

// PlanInput is the input of [Notifier.Plan].
type PlanInput struct {
	Policy string         `json:"policy"` // name of the escalation policy; "" = "default"
	Alert  fanwatch.Alert `json:"alert"`  // without Sent and Failed, with the severity that the judge gave
	At     time.Time      `json:"at"`
}

// Plan returns the policy of the alert, resolved for the time At.
func (n *Notifier) Plan(ctx context.Context, in PlanInput) (fanwatch.Policy, error) {
	p, err := n.Policy(ctx, in.Policy)
	if err == nil {
		p.Incident = n.incident(ctx, in.Alert, p)
	}
	return p, err
}
