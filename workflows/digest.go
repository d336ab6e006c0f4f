package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch/activities"
)

// DigestState is the input of [Digest], by which it continues as new.
type DigestState struct {
	Through map[string]time.Time `json:"through,omitempty"` // by policy, when its newest message was due
}

const (
	digestEvery   = 15 * time.Minute // time between two reads of the policies, which may have changed
	digestFor     = 6 * time.Hour    // after which a message that its topic does not take is given up
	digestsPerRun = 100              // after which a Digest continues as new
)

// Digest tells once a day, at the time of each policy's info section, which alerts of SeverityInfo were opened since.
func Digest(ctx workflow.Context, in DigestState) error {
	for range digestsPerRun {
		r, err := compose(ctx, activities.DigestInput{Through: in.Through, Now: workflow.Now(ctx).UTC()})
		if err != nil {
			return err
		}
		in.Through = r.Through
		if err := deliver(ctx, r.Notifications, digestFor); err != nil {
			return err
		}
		wait := digestEvery
		if left := r.Next.Sub(workflow.Now(ctx)); !r.Next.IsZero() && left < wait {
			wait = max(left, 0)
		}
		details := "No policy has an info section: what is worth a look is shown and never sent."
		if !r.Next.IsZero() {
			details = fmt.Sprintf("The next message is due at %s.", r.Next.UTC().Format(time.DateTime))
		}
		workflow.SetCurrentDetails(ctx, details)
		if err := workflow.Sleep(ctx, wait); err != nil {
			return err
		}
	}
	return workflow.NewContinueAsNewError(ctx, Digest, in)
}

// deliver sends the messages side by side and returns when each was sent or given up after giveUp. The error is a
// cancellation's.
func deliver(ctx workflow.Context, messages []activities.Notification, giveUp time.Duration) error {
	left := len(messages)
	for _, n := range messages {
		workflow.GoNamed(ctx, "tell "+n.To, func(ctx workflow.Context) {
			defer func() { left-- }()
			if _, err := notify(ctx, n, giveUp); err != nil && !temporal.IsCanceledError(err) {
				workflow.GetLogger(ctx).Error("a message was given up", "topic", n.To, "err", err)
			}
		})
	}
	return workflow.Await(ctx, func() bool { return left == 0 })
}

// compose runs Digester.Compose, which is retried without limit.
func compose(ctx workflow.Context, in activities.DigestInput) (r activities.DigestResult, err error) {
	var a *activities.Digester
	err = workflow.ExecuteActivity(short(ctx, QueueControl), a.Compose, in).Get(ctx, &r)
	return r, err
}
