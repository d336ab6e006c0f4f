package workflows

import (
	"errors"
	"fmt"
	"slices"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// flight is a notification that is on its way.
type flight struct {
	activities.Notification
	round   int
	until   time.Time // it is given up then
	stopped bool      // it is not wanted any more; should it arrive still, it counts
	cancel  workflow.CancelFunc
}

func (f *flight) stop() {
	f.stopped = true
	f.cancel()
}

// send tells one topic of the alert as it is now. While a notification of this round is on its way to the topic there
// is no second one: it would stand behind the first where workers are slow, and a topic that hangs would never be
// found out. One of an earlier round, which says less, gives way.
func (a *alert) send(ctx workflow.Context, step int, key, to string) {
	if slices.ContainsFunc(a.Sent, func(n fanwatch.Notice) bool { return n.Key == a.ID+key }) {
		return // as in the turn that an alert of the first code was in
	}
	for _, f := range a.flights {
		switch {
		case f.stopped || f.To != to:
		case f.round == a.Round:
			return
		default:
			f.stop()
		}
	}
	n := activities.Notification{Key: a.ID + key, To: to, Step: step, Alert: small(a.Alert),
		Subject: a.subject(step), Body: a.body(step)}
	a.fly(ctx, n, workflow.Now(ctx).Add(notifyFor))
}

// small returns the alert without its lists, which grow with it.
func small(a fanwatch.Alert) fanwatch.Alert {
	a.Sent, a.Failed = nil, nil
	return a
}

func (a *alert) fly(ctx workflow.Context, n activities.Notification, until time.Time) {
	f := &flight{Notification: n, round: a.Round, until: until}
	ctx, f.cancel = workflow.WithCancel(ctx)
	a.flights = append(a.flights, f)
	workflow.GoNamed(ctx, "tell "+n.To, func(ctx workflow.Context) {
		at, err := notify(ctx, n, until.Sub(workflow.Now(ctx)))
		a.flights = slices.DeleteFunc(a.flights, func(other *flight) bool { return other == f })
		a.woken = true
		switch {
		case err == nil:
			a.arrived(f, at)
		case !f.stopped && !temporal.IsCanceledError(err):
			a.givenUp(ctx, f, err)
		}
	})
}

func (a *alert) arrived(f *flight, at time.Time) {
	a.Sent = append(a.Sent, fanwatch.Notice{Key: f.Key, Step: f.Step, To: f.To, At: at})
	a.Sent = a.Sent[max(0, len(a.Sent)-fanwatch.MaxNotices):]
	a.Notices++
	a.outcomes++
	a.Reached = with(a.Reached, f.To)
	if f.round == a.Round {
		a.Notified = with(a.Notified, f.To)
	}
	a.Failed = slices.DeleteFunc(a.Failed, func(x fanwatch.Failure) bool { return x.To == f.To })
	a.Parked = slices.DeleteFunc(a.Parked, func(p Parked) bool { return p.Notification.Key == f.Key })
	a.dirty = true
}

// givenUp puts the failure on the alert and has the next step told now: it is for the case that the one before it is
// not heard. Only the first failure of a topic in a round hastens.
func (a *alert) givenUp(ctx workflow.Context, f *flight, err error) {
	a.fail(ctx, fanwatch.Failure{Step: f.Step, To: f.To, Why: reason(err)})
	a.outcomes++
	if f.round != a.Round || a.State != fanwatch.AlertOpen {
		return
	}
	if !slices.Contains(a.Broken, f.To) {
		a.Broken = append(a.Broken, f.To)
		a.hasten(ctx, f.Step)
	}
	if neverTried(err) { // no worker was there; one is now
		a.fly(ctx, f.Notification, workflow.Now(ctx).Add(notifyFor))
	}
	a.planRetry(ctx)
}

// fail keeps the newest failure of each topic.
func (a *alert) fail(ctx workflow.Context, x fanwatch.Failure) {
	x.At = workflow.Now(ctx).UTC()
	a.Failed = append(slices.DeleteFunc(a.Failed, func(y fanwatch.Failure) bool { return x.To == y.To }), x)
	a.dirty = true
}

// hasten has the step after the given one (from 1) told at once; after the last step its repeat, if no topic was told.
func (a *alert) hasten(ctx workflow.Context, step int) {
	now := workflow.Now(ctx)
	a.begin(step, now)
	unheard := step == a.Steps && len(a.Notified) == 0 && len(a.flights) == 0
	for i, t := range a.Turns {
		if t.Due.After(now) && (t.Step == step && t.Repeat == 0 || t.Step == step-1 && unheard) {
			a.Turns[i].Due = now
		}
	}
}

// planRetry has the topics that failed tried again, when no turn is left that does.
func (a *alert) planRetry(ctx workflow.Context) {
	if a.State == fanwatch.AlertOpen && len(a.Broken) > 0 && len(a.Turns) == 0 && a.Retry.IsZero() {
		a.Retry = workflow.Now(ctx).Add(retryEvery)
	}
}

// tellMissed tells the topics of the steps that were reached in this round and did not hear of it: those that failed,
// and those that the policy names in their place since. It comes again until none is left.
func (a *alert) tellMissed(ctx workflow.Context) {
	a.Retry, a.dirty = time.Time{}, true
	missed := false
	var named []string
	for i := a.From; i < min(a.Step, len(a.Known.Steps)); i++ {
		for _, to := range a.Known.Steps[i].Notify {
			named = append(named, to)
			if slices.Contains(a.Notified, to) {
				continue
			}
			missed = true
			if !slices.ContainsFunc(a.flights, func(f *flight) bool { return f.To == to && !f.stopped }) {
				a.send(ctx, i+1, fmt.Sprintf("#%d.%d.again%d/%s", a.Round, i+1, a.Retries, to), to)
			}
		}
	}
	a.Retries++
	if !missed {
		a.Broken = nil
	}
	a.Failed = slices.DeleteFunc(a.Failed, func(x fanwatch.Failure) bool {
		return slices.Contains(a.Broken, x.To) && !slices.Contains(named, x.To)
	})
	a.planRetry(ctx)
}

// park keeps what is on its way for later: for the return of the trouble, or for the next run.
func (a *alert) park() {
	for _, f := range a.flights {
		if !f.stopped {
			f.stop()
			a.Parked = append(a.Parked, Parked{Notification: f.Notification, Until: f.until})
		}
	}
}

// unpark sends what was parked.
func (a *alert) unpark(ctx workflow.Context) {
	parked := a.Parked
	a.Parked = nil
	for _, p := range parked {
		a.fly(ctx, p.Notification, p.Until)
	}
}

// tellFlapping says once, to those who were told of the trouble, that it comes and goes.
func (a *alert) tellFlapping(ctx workflow.Context) {
	for _, to := range a.Reached {
		n := activities.Notification{Key: a.ID + "#flapping/" + to, To: to, Step: a.Step, Alert: small(a.Alert),
			Subject: fmt.Sprintf("[fanwatch] %s comes and goes: %s", a.Fan, a.Kind), Body: a.body(a.Step)}
		a.fly(ctx, n, workflow.Now(ctx).Add(notifyFor))
	}
}

// tellEnd says to those who were told of the trouble that it is over, and returns when each was told or given up.
func (a *alert) tellEnd(ctx workflow.Context) error {
	left := len(a.Reached)
	for _, to := range a.Reached {
		n := activities.Notification{Key: a.ID + "#over/" + to, To: to, Step: a.Step, Alert: small(a.Alert),
			Subject: a.subject(a.Step), Body: a.endBody()}
		workflow.GoNamed(ctx, "tell "+to, func(ctx workflow.Context) {
			defer func() { left-- }()
			if _, err := notify(ctx, n, notifyFor); err != nil && !temporal.IsCanceledError(err) {
				a.fail(ctx, fanwatch.Failure{Step: a.Step, To: to, Why: reason(err)})
			}
		})
	}
	return workflow.Await(ctx, func() bool { return left == 0 })
}

// reason returns why an activity was given up, as one line of at most 300 bytes.
func reason(err error) string {
	var app *temporal.ApplicationError
	var timeout *temporal.TimeoutError
	switch {
	case errors.As(err, &app):
		return fanwatch.Legible(app.Message(), 300)
	case errors.As(err, &timeout):
		return "no answer in time (does a worker run?)"
	}
	return fanwatch.Legible(err.Error(), 300)
}

// neverTried reports whether an activity was given up because no worker had taken it.
func neverTried(err error) bool {
	var timeout *temporal.TimeoutError
	return errors.As(err, &timeout) && timeout.TimeoutType() != enums.TIMEOUT_TYPE_START_TO_CLOSE &&
		errors.Unwrap(timeout) == nil
}

// with returns the list with s at its end, unless it has it.
func with(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
