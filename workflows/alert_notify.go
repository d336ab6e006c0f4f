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
	mail "fanwatch/notify"
)

// flight is a notification that is on its way.
type flight struct {
	activities.Notification
	round   int
	until   time.Time // when it is given up
	stopped bool      // it is cancelled; when it is sent all the same, it counts
	aside   bool      // it tells of an answer or its lapse, and is no part of the escalation
	cancel  workflow.CancelFunc
}

func (f *flight) stop() {
	f.stopped = true
	f.cancel()
}

// send notifies one topic of the alert as it is now. While a notification of this round is on its way to the topic it
// sends no second one, so that a topic that hangs is given up; one of an earlier round it cancels.
func (a *alert) send(ctx workflow.Context, step int, key, to string, m mail.Message) {
	if slices.ContainsFunc(a.Sent, func(n fanwatch.Notice) bool { return n.Key == a.ID+key }) {
		return // sent by alertV1 in the turn that it passed on
	}
	for _, f := range a.flights {
		switch {
		case f.stopped || f.aside || f.To != to:
		case f.round == a.Round:
			return
		default:
			f.stop()
		}
	}
	n := activities.Notification{Key: a.ID + key, To: to, Step: step, Alert: withoutLists(a.Alert),
		Subject: a.subject(step), Body: a.body(step), Message: m}
	if m.Event == fanwatch.EventLapsed {
		n.Alert.SnoozedUntil = a.Before.Until
	}
	a.fly(ctx, n, workflow.Now(ctx).Add(notifyFor))
}

// withoutLists returns the alert without Sent and Failed, which grow with it.
func withoutLists(a fanwatch.Alert) fanwatch.Alert {
	a.Sent, a.Failed = nil, nil
	return a
}

func (a *alert) fly(ctx workflow.Context, n activities.Notification, until time.Time) {
	f := &flight{Notification: n, round: a.Round, until: until}
	ctx, f.cancel = workflow.WithCancel(ctx)
	a.flights = append(a.flights, f)
	workflow.GoNamed(ctx, "tell "+n.To, func(ctx workflow.Context) {
		d, err := notify(ctx, n, until.Sub(workflow.Now(ctx)))
		a.flights = slices.DeleteFunc(a.flights, func(other *flight) bool { return other == f })
		a.woken = true
		switch {
		case err == nil:
			a.delivered(f, d)
		case !f.stopped && !temporal.IsCanceledError(err):
			a.givenUp(ctx, f, err)
		}
	})
}

func (a *alert) delivered(f *flight, d activities.Delivery) {
	a.Sent = append(a.Sent, fanwatch.Notice{Key: f.Key, Step: f.Step, To: f.To, At: d.At, ID: d.ID, Detail: d.Detail})
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

// givenUp records a failure on the alert. The first failure of a topic in a round makes the next step due at once.
func (a *alert) givenUp(ctx workflow.Context, f *flight, err error) {
	a.fail(ctx, fanwatch.Failure{Step: f.Step, To: f.To, Why: reason(err)})
	a.outcomes++
	if f.round != a.Round || a.State != fanwatch.AlertOpen || f.Message.Event == fanwatch.EventFlapping || f.aside {
		return
	}
	if !slices.Contains(a.Broken, f.To) {
		a.Broken = append(a.Broken, f.To)
		a.hasten(ctx, f.Step)
	}
	if neverTried(err) { // no worker ran; one does now
		a.fly(ctx, f.Notification, workflow.Now(ctx).Add(notifyFor))
	}
	a.planRetry(ctx)
}

// fail records a failure, in place of an earlier one of the topic.
func (a *alert) fail(ctx workflow.Context, x fanwatch.Failure) {
	x.At = workflow.Now(ctx).UTC()
	a.Failed = append(slices.DeleteFunc(a.Failed, func(y fanwatch.Failure) bool { return x.To == y.To }), x)
	a.dirty = true
}

// hasten makes the step after the given one (from 1) due at once; after the last step its repeat, if no topic took a
// notification in this round.
func (a *alert) hasten(ctx workflow.Context, step int) {
	now := workflow.Now(ctx)
	a.begin(step, now)
	unsent := step == a.Steps && len(a.Notified) == 0 && len(a.flights) == 0
	for i, t := range a.Turns {
		if t.Due.After(now) && (t.Step == step && t.Repeat == 0 || t.Step == step-1 && unsent) {
			a.Turns[i].Due = now
		}
	}
}

// planRetry plans another try of the topics that failed, when no turn is left.
func (a *alert) planRetry(ctx workflow.Context) {
	if a.State == fanwatch.AlertOpen && len(a.Broken) > 0 && len(a.Turns) == 0 && a.Retry.IsZero() {
		a.Retry = workflow.Now(ctx).Add(retryEvery)
	}
}

// notifyMissed notifies the topics of the steps reached in this round that took no notification: those that failed, and
// those that the policy names in their place since. It plans another try until none is left.
func (a *alert) notifyMissed(ctx workflow.Context) {
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
				a.send(ctx, i+1, fmt.Sprintf("#%d.%d.again%d/%s", a.Round, i+1, a.Retries, to), to,
					a.message(fanwatch.EventPage))
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

// park cancels the notifications that are on their way and keeps them for the return of the trouble or the next run.
func (a *alert) park() {
	for _, f := range a.flights {
		if !f.stopped {
			f.stop()
			a.Parked = append(a.Parked, Parked{Notification: f.Notification, Until: f.until})
		}
	}
}

// unpark sends the notifications that were parked.
func (a *alert) unpark(ctx workflow.Context) {
	parked := a.Parked
	a.Parked = nil
	for _, p := range parked {
		a.fly(ctx, p.Notification, p.Until)
	}
}

// notifyFlapping notifies all topics that were notified before, once, that the trouble comes and goes.
func (a *alert) notifyFlapping(ctx workflow.Context) {
	for _, to := range a.Reached {
		n := activities.Notification{Key: a.ID + "#flapping/" + to, To: to, Step: a.Step, Alert: withoutLists(a.Alert),
			Subject: fmt.Sprintf("[fanwatch] %s comes and goes: %s", a.Fan, a.Kind), Body: a.body(a.Step),
			Message: a.message(fanwatch.EventFlapping)}
		a.fly(ctx, n, workflow.Now(ctx).Add(notifyFor))
	}
}

// notifyEnd notifies all topics that were notified before that the trouble is over. It returns when each
// notification is sent or given up.
func (a *alert) notifyEnd(ctx workflow.Context) error {
	left := len(a.Reached)
	for _, to := range a.Reached {
		n := activities.Notification{Key: a.ID + "#over/" + to, To: to, Step: a.Step, Alert: withoutLists(a.Alert),
			Subject: a.subject(a.Step), Body: a.endBody(), Message: a.message(fanwatch.EventOver)}
		workflow.GoNamed(ctx, "tell "+to, func(ctx workflow.Context) {
			defer func() { left-- }()
			d, err := notify(ctx, n, notifyFor)
			switch {
			case err == nil && a.planned:
				a.delivered(&flight{Notification: n, round: a.Round}, d)
			case err != nil && !temporal.IsCanceledError(err):
				a.fail(ctx, fanwatch.Failure{Step: a.Step, To: to, Why: reason(err)})
			}
		})
	}
	return workflow.Await(ctx, func() bool { return left == 0 })
}

// reason returns why an activity was given up, in one line of at most 300 bytes.
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

// neverTried reports whether an activity was given up because no worker took it.
func neverTried(err error) bool {
	var timeout *temporal.TimeoutError
	return errors.As(err, &timeout) && timeout.TimeoutType() != enums.TIMEOUT_TYPE_START_TO_CLOSE &&
		errors.Unwrap(timeout) == nil
}

// with returns the list with s, which it appends unless the list has it.
func with(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
