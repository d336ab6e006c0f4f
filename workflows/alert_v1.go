package workflows

import (
	"cmp"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// changeAlert2 marks in a history that the alert runs the code of alert.go. An execution without the mark began under
// the code of this file, which must replay its history to the letter. At the start of a worker operator.Client sends it
// SignalRenew, by which it continues as new with the code of alert.go. This file is kept while such alerts are open.
const changeAlert2 = "alert-2"

// alertV1 runs an alert that began without changeAlert2, until it ends or SignalRenew comes.
func alertV1(ctx workflow.Context, in AlertInput) (fanwatch.Alert, error) {
	a := &alertOfV1{Alert: in.Alert}
	renew := workflow.GetSignalChannel(ctx, SignalRenew)
	var err error
	done := false
	inner, stop := workflow.WithCancel(ctx)
	workflow.GoNamed(inner, "version 1", func(ctx workflow.Context) {
		err = a.run(ctx, in)
		done = true
	})
	if err := workflow.Await(ctx, func() bool { return done || renew.Len() > 0 && a.idle() }); err != nil {
		_ = signalFan(ctx, a.Alert) // err is the cancellation
		return a.Alert, err
	}
	if done {
		return a.Alert, err
	}
	stop()
	for renew.ReceiveAsync(nil) {
		continue
	}
	return a.Alert, workflow.NewContinueAsNewError(ctx, Alert, AlertInput{Alert: a.Alert, Policy: in.Policy,
		Escalation: a.carry()})
}

type alertOfV1 struct {
	fanwatch.Alert
	round int                  // number of acknowledgements that lapsed
	ended fanwatch.Observation // set when the fan is normal again
	next  *Turn                // next turn; nil after the last step

	waiting []workflow.ReceiveChannel // channels of its signals
	trouble fanwatch.Observation      // newest by SignalObserve
	normal  fanwatch.Observation      // newest by SignalResolve; unlike ended an observation of trouble keeps it
}

// idle reports whether no signal waits; one that waits would be lost with the run.
func (a *alertOfV1) idle() bool {
	for _, c := range a.waiting {
		if c.Len() > 0 {
			return false
		}
	}
	return true
}

// carry returns the Escalation with which alert.go goes on.
func (a *alertOfV1) carry() *Escalation {
	e := &Escalation{Version: escalationVersion, Begun: a.Step, Current: a.Why, Worst: a.Why,
		Last: fanwatch.Observation{Position: a.Position}}
	for _, n := range a.Sent {
		e.Reached = with(e.Reached, n.To)
		if n.Step == a.Step {
			e.Notified = with(e.Notified, n.To)
		}
	}
	a.V, a.Notices, a.Round = fanwatch.AlertVersion, len(a.Sent), a.round
	if a.next != nil && a.State == fanwatch.AlertOpen {
		e.Turns, e.Begun, e.From = []Turn{*a.next}, a.next.Step+1, a.next.Step
	}
	// run reads its two channels one after the other and may have taken an older observation of trouble for the newer.
	if a.over() || a.normal.V != 0 && a.normal.Position.Compare(a.trouble.Position) > 0 {
		e.End = &a.normal
	}
	return e
}

func (a *alertOfV1) run(ctx workflow.Context, in AlertInput) error {
	if err := a.listen(ctx); err != nil {
		return err
	}
	policy, err := findPolicyV1(ctx, in.Policy)
	if err != nil {
		return err
	}
	a.Steps = len(policy.Steps)
	a.show(ctx)

	from := 0
	for {
		if err := a.escalate(ctx, policy, from); err != nil {
			return err
		}
		if err := a.awaitAnswer(ctx); err != nil {
			return err
		}
		lapsed, err := a.awaitEnd(ctx, time.Duration(policy.AckTimeout))
		if err != nil {
			return err
		}
		if !lapsed {
			break
		}
		a.lapse(ctx)
		from = len(policy.Steps) - 1
	}
	return a.close(ctx)
}

func (a *alertOfV1) answered() bool { return a.State != fanwatch.AlertOpen || a.over() }
func (a *alertOfV1) over() bool     { return a.ended.V != 0 }

// listen installs the handlers of queries and updates, and takes signals in coroutines until the workflow ends.
func (a *alertOfV1) listen(ctx workflow.Context) error {
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryStatus, func() (fanwatch.Alert, error) { return a.Alert, nil },
		workflow.QueryHandlerOptions{
			Description: "The alert: why, how far it has escalated, who acknowledged."}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateAcknowledge, func(ctx workflow.Context,
		k fanwatch.Acknowledgement) (fanwatch.Alert, error) {
		a.acknowledge(ctx, k)
		return a.Alert, nil
	}, workflow.UpdateHandlerOptions{Description: "Stop the escalation: somebody takes care. Input: {\"by\": " +
		"\"name\", \"note\": \"...\"}",
		Validator: func(_ workflow.Context, k fanwatch.Acknowledgement) error {
			if a.State == fanwatch.AlertResolved { // and has not ended yet, such as while the lake is out of reach
				return temporal.NewApplicationError("the alert is over already", TypeEnded)
			}
			return k.Trim().Check()
		}}); err != nil {
		return err
	}
	acks := workflow.GetSignalChannelWithOptions(ctx, SignalAcknowledge, workflow.SignalChannelOptions{
		Description: "Stop the escalation: somebody takes care. Input: \"name\", {\"by\": \"name\", \"note\": " +
			"\"...\"} or nothing"})
	resolve, observe := workflow.GetSignalChannel(ctx, SignalResolve), workflow.GetSignalChannel(ctx, SignalObserve)
	a.waiting = []workflow.ReceiveChannel{acks, resolve, observe}
	each(ctx, acks, a.acknowledge)
	each(ctx, resolve, func(_ workflow.Context, o fanwatch.Observation) {
		o.V = max(o.V, 1)
		a.ended, a.normal = o, o
	})
	each(ctx, observe, func(ctx workflow.Context, o fanwatch.Observation) {
		if o.Anomaly.Kind == fanwatch.KindNone { // from a Fan since changeFan2, which no recorded history has
			o.V = max(o.V, 1)
			a.ended, a.normal = o, o
			return
		}
		a.ended, a.trouble = fanwatch.Observation{}, o
		a.Kind, a.Why = o.Anomaly.Kind, o.Anomaly.Why
		a.show(ctx)
	})
	return nil
}

func each[T any](ctx workflow.Context, c workflow.ReceiveChannel, do func(workflow.Context, T)) {
	workflow.GoNamed(ctx, c.Name(), func(ctx workflow.Context) {
		for {
			var v T
			if more := c.Receive(ctx, &v); !more {
				return
			}
			do(ctx, v)
		}
	})
}

func (a *alertOfV1) acknowledge(ctx workflow.Context, k fanwatch.Acknowledgement) {
	if a.State != fanwatch.AlertOpen {
		return // the first acknowledgement holds
	}
	k = legible(k)
	a.State, a.AckedBy, a.AckedAt, a.Note = fanwatch.AlertAcknowledged, k.By, workflow.Now(ctx).UTC(), k.Note
	a.show(ctx)
}

// escalate does the steps from the given one until the alert is acknowledged or over, or there are no more.
func (a *alertOfV1) escalate(ctx workflow.Context, p fanwatch.Policy, from int) error {
	for i := from; i < len(p.Steps); i++ {
		s := p.Steps[i]
		wait := time.Duration(s.After)
		if i == from && a.round > 0 {
			wait = 0
		}
		for n := 0; n <= s.Repeat; n++ {
			a.next = &Turn{Step: i, Repeat: n, Due: workflow.Now(ctx).Add(wait)}
			if answered, err := a.pause(ctx, wait); answered || err != nil {
				return err
			}
			a.Step = i + 1
			if err := a.notifyStep(ctx, s, n); err != nil {
				return err
			}
			wait = time.Duration(s.Every)
		}
	}
	a.next = nil
	return nil
}

// pause waits for d, or until the alert is acknowledged or over, which it reports.
func (a *alertOfV1) pause(ctx workflow.Context, d time.Duration) (answered bool, err error) {
	if d <= 0 || a.answered() {
		return a.answered(), nil
	}
	return workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: d,
		TimerOptions: workflow.TimerOptions{Summary: fmt.Sprintf("until step %d is told", a.Step+1)}}, a.answered)
}

// notifyStep sends one step's notifications.
func (a *alertOfV1) notifyStep(ctx workflow.Context, s fanwatch.Step, repeat int) error {
	for _, to := range s.Notify {
		n := activities.Notification{
			Key: fmt.Sprintf("%s#%d.%d.%d/%s", a.ID, a.round, a.Step, repeat, to), To: to, Step: a.Step, Alert: a.Alert,
			Subject: a.subject(), Body: a.body(),
		}
		at, err := notifyV1(ctx, n)
		if err != nil {
			return err
		}
		a.Sent = append(a.Sent, fanwatch.Notice{Key: n.Key, Step: a.Step, To: to, At: at})
	}
	a.show(ctx)
	return nil
}

func findPolicyV1(ctx workflow.Context, name string) (p fanwatch.Policy, err error) {
	var a *activities.Notifier
	err = workflow.ExecuteActivity(short(ctx, QueueControl), a.Policy, name).Get(ctx, &p)
	return p, err
}

func notifyV1(ctx workflow.Context, n activities.Notification) (at time.Time, err error) {
	var a *activities.Notifier
	err = workflow.ExecuteActivity(short(ctx, QueueControl), a.Notify, n).Get(ctx, &at)
	return at, err
}

func (a *alertOfV1) subject() string {
	if a.State == fanwatch.AlertResolved {
		return fmt.Sprintf("[fanwatch] %s is normal again", a.Fan)
	}
	return fmt.Sprintf("[fanwatch] %s: %s (step %d of %d)", a.Fan, a.Kind, a.Step, a.Steps)
}

func (a *alertOfV1) body() string {
	text := a.Why + "\n\n"
	if a.State == fanwatch.AlertResolved {
		text = cmp.Or(a.ended.Anomaly.Why, a.Fan+" is normal again.") + "\n\nIt was: " + a.Why + "\n"
	}
	if a.Site != "" {
		text += "Where: " + a.Site + "\n"
	}
	text += "Since: " + a.Opened.UTC().Format(time.RFC3339) + "\n"
	if a.State != fanwatch.AlertResolved {
		text += fmt.Sprintf("Step:  %d of %d\n\nAcknowledge:\n  fanwatch ack %s\n", a.Step, a.Steps, a.ID)
	}
	return text
}

// awaitAnswer waits, after the last step, until the alert is acknowledged or over.
func (a *alertOfV1) awaitAnswer(ctx workflow.Context) error { return workflow.Await(ctx, a.answered) }

// awaitEnd waits until the fan is normal; lapsed means that an acknowledgement ran out before.
func (a *alertOfV1) awaitEnd(ctx workflow.Context, timeout time.Duration) (lapsed bool, err error) {
	if timeout <= 0 {
		return false, workflow.Await(ctx, a.over)
	}
	over, err := workflow.AwaitWithTimeout(ctx, timeout, a.over)
	return !over, err
}

func (a *alertOfV1) lapse(ctx workflow.Context) {
	a.round++
	a.State = fanwatch.AlertOpen
	a.show(ctx)
}

// changeLandAlert marks in a history that the alert is landed in the lake when it is over.
const changeLandAlert = "land-alert"

// close notifies the topics that were notified before, signals the fan, and lands the alert in the lake.
func (a *alertOfV1) close(ctx workflow.Context) error {
	a.State, a.EndedAt = fanwatch.AlertResolved, workflow.Now(ctx).UTC()
	notified := map[string]bool{}
	for _, n := range a.Sent {
		if notified[n.To] {
			continue
		}
		notified[n.To] = true
		if _, err := notifyV1(ctx, activities.Notification{Key: a.ID + "#over/" + n.To, To: n.To, Step: a.Step,
			Alert: a.Alert, Subject: a.subject(), Body: a.body()}); err != nil {
			return err
		}
	}
	a.show(ctx)
	err := workflow.SignalExternalWorkflow(ctx, FanID(a.Fan), "", SignalAlertOver, a.Alert).Get(ctx, nil)
	if temporal.IsCanceledError(err) {
		return err
	}
	if workflow.GetVersion(ctx, changeLandAlert, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	var l *activities.Lake
	return workflow.ExecuteActivity(short(ctx, QueueLake), l.LandAlert, a.Alert).Get(ctx, nil)
}

func (a *alertOfV1) show(ctx workflow.Context) {
	_ = workflow.UpsertTypedSearchAttributes(ctx, SearchState.ValueSet(string(a.State))) // registered at start
	_ = workflow.UpsertMemo(ctx, map[string]any{MemoAlert: a.Alert})                     // it always encodes
	details := fmt.Sprintf("**%s**: %s\n\n%s, step %d of %d", a.Fan, a.Why, a.State, a.Step, a.Steps)
	if a.AckedBy != "" {
		details += fmt.Sprintf("\n\nAcknowledged by %s at %s", a.AckedBy, a.AckedAt.Format(time.DateTime))
	} else {
		details += "\n\nTo acknowledge, send the signal `acknowledge` with your name as JSON text."
	}
	workflow.SetCurrentDetails(ctx, details)
}
