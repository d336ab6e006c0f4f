package activities

import (
	"context"
	"log/slog"
	"time"

	"go.temporal.io/sdk/temporal"

	"fanwatch"
)

// Planner says by the policy file, as it is now, who is told of what. It must be safe for concurrent use.
type Planner interface {
	// Resolve returns the policy by which the alert goes at the time, with names of channels and SNS topics.
	Resolve(a fanwatch.Alert, at time.Time) (fanwatch.Policy, error)
	// Topics returns the SNS topics that the policies notify at any time, each with the sorted names of those policies.
	Topics() map[string][]string
}

// PlanInput is the input of [Notifier.Plan].
type PlanInput struct {
	Policy string         `json:"policy"` // name that the fan's device gives; "" = by the routes
	Alert  fanwatch.Alert `json:"alert"`
	At     time.Time      `json:"at"`
}

// hookFor bounds how long one of the Notifier's hooks may take: a page waits no longer for it.
const hookFor = 3 * time.Second

// Plan returns the policy by which the alert goes at the time: that of the policy file, with NotBefore of a maintenance
// where that ends later than quiet hours, and with the incident that notifies in the alert's place. A hook that fails
// is logged and left out: the alert notifies. The error is non-retryable when there is no policy.
func (n *Notifier) Plan(ctx context.Context, in PlanInput) (fanwatch.Policy, error) {
	if n.Planner == nil || in.Policy == fanwatch.CanaryPolicy {
		return n.Policy(ctx, in.Policy)
	}
	a := in.Alert
	a.Policy = in.Policy
	p, err := n.Planner.Resolve(a, in.At)
	if err != nil {
		return p, temporal.NewNonRetryableApplicationError(err.Error(), "NoPolicy", nil)
	}
	n.maintain(ctx, a, in.At, &p)
	if !p.NotBefore.After(in.At) { // what waits joins no incident, which would notify of it
		n.group(ctx, a, &p)
	}
	return p, nil
}

func (n *Notifier) maintain(ctx context.Context, a fanwatch.Alert, at time.Time, p *fanwatch.Policy) {
	if n.Maintain == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, hookFor)
	defer cancel()
	until, why, err := n.Maintain(ctx, a, at)
	if err != nil {
		n.logger().Error("whether an alert is under a maintenance is not known: it notifies", "alert", a.ID, "err", err)
		return
	}
	if until.After(at) && until.After(p.NotBefore) {
		p.NotBefore, p.Because = until.UTC(), why
	}
}

func (n *Notifier) group(ctx context.Context, a fanwatch.Alert, p *fanwatch.Policy) {
	if n.Group == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, groupFor)
	defer cancel()
	incident, err := n.Group(ctx, a, *p)
	if err != nil {
		n.logger().Error("whether an alert is part of an incident is not known: it stays as it was", "alert", a.ID,
			"err", err)
		incident = a.Incident // as it was: the next plan asks again
	}
	p.Incident = incident
}

func (n *Notifier) logger() *slog.Logger {
	if n.Log == nil {
		return slog.Default()
	}
	return n.Log
}

// named returns the SNS topics that are notified, each with the names of the policies that do.
func (n *Notifier) named() map[string][]string {
	if n.Planner != nil {
		return n.Planner.Topics()
	}
	return NamedTopics(n.Policies())
}

// resolve returns name and severity by which an alert goes.
func resolve(planner Planner, policies map[string]fanwatch.Policy, a fanwatch.Alert) (name string,
	severity fanwatch.Severity, err error) {
	if planner == nil {
		return policyOf(policies, a), a.Weighed(), nil
	}
	p, err := planner.Resolve(a, a.Opened)
	severity = p.Severity
	if severity == "" {
		severity = a.Weighed()
	}
	return p.Name, severity, err
}
