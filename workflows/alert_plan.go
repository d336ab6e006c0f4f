package workflows

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
	mail "fanwatch/notify"
)

// This file has what the runs of Alert since changeAlert4 do by their plan: the policy as Notifier.Plan resolved it.

// incidentEvery is the time between two plans of an alert in whose place an incident notifies. When the incident's
// workflow is gone, the plan names none, and the alert goes on alone.
const incidentEvery = 30 * time.Minute

// findPolicy returns the policy by which the alert goes now.
func (a *alert) findPolicy(ctx workflow.Context) (fanwatch.Policy, error) {
	if !a.planned {
		return findPolicy(ctx, a.policyName)
	}
	in := activities.PlanInput{Policy: a.policyName, Alert: withoutLists(a.Alert), At: workflow.Now(ctx).UTC()}
	in.Alert.Severity = a.Judged
	return plan(ctx, in)
}

// judge sets the severity that the judge gives. Of graver trouble it is the alert's until the next plan.
func (a *alert) judge(ctx workflow.Context, s fanwatch.Severity, graver bool) {
	a.Judged = s
	if !a.planned {
		a.Severity = s
		return
	}
	a.Severity = s
	switch {
	case graver: // what holds for the lesser trouble need not hold for this one
		a.NotBefore, a.Because, a.policyDue = time.Time{}, "", workflow.Now(ctx)
	case a.Known != nil:
		a.Severity = cmp.Or(a.Known.Severity, s)
	}
}

// follow takes over what the plan says beside the steps.
func (a *alert) follow(ctx workflow.Context) {
	p, now := a.Known, workflow.Now(ctx)
	before, severity, incident := a.NotBefore, a.Severity, a.Incident
	a.Severity = cmp.Or(p.Severity, a.Judged)
	a.NotBefore, a.Because = time.Time{}, ""
	if p.NotBefore.After(now) {
		a.NotBefore, a.Because = p.NotBefore.UTC(), p.Because
	}
	a.Incident = p.Incident
	if a.Kind == fanwatch.KindIncident {
		a.Incident = ""
	}
	switch {
	case a.Incident != "":
		a.policyDue, a.Turns, a.Retry = now.Add(incidentEvery), nil, time.Time{}
		if incident == "" && a.State == fanwatch.AlertOpen {
			a.stopNotifying()
		}
	case incident != "" && a.State == fanwatch.AlertOpen:
		a.reopen(0)
		a.Step = 0
	}
	if a.look() {
		a.Turns, a.Retry = nil, time.Time{}
	}
	if !before.Equal(a.NotBefore) || severity != a.Severity || incident != a.Incident {
		a.dirty = true
	}
}

// actPlanned does what is due, by the plan of now.
func (a *alert) actPlanned(ctx workflow.Context) error {
	if err := a.readPolicy(ctx); err != nil {
		return err
	}
	a.receive(ctx) // for signals that came meanwhile
	now := workflow.Now(ctx)
	if due, timed := a.due(); a.over(ctx) || !a.NormalFrom.IsZero() || a.Known == nil || !timed || due.After(now) {
		return nil
	}
	switch {
	case a.State == fanwatch.AlertAcknowledged && (a.look() || a.Incident != ""):
		a.reopen(0)
		return nil
	case a.State == fanwatch.AlertAcknowledged:
		a.goOn(ctx, len(a.Known.Steps)-1)
	case len(a.Turns) == 0:
		a.notifyMissed(ctx)
		return nil
	}
	told := map[string]bool{}
	for {
		i := slices.IndexFunc(a.Turns, func(t Turn) bool { return !t.Due.After(now) })
		if i < 0 {
			break
		}
		t := a.Turns[i]
		a.Turns = slices.Delete(a.Turns, i, i+1)
		a.turn(ctx, t, told)
	}
	a.planRetry(ctx)
	return nil
}

// goOn opens an acknowledged alert again, at the given step (from 0), at once. Those who were told before are told why.
func (a *alert) goOn(ctx workflow.Context, step int) {
	until := a.SnoozedUntil
	a.reopen(step)
	a.Before.Until = until
	a.begin(step, workflow.Now(ctx))
	if n := len(a.Turns); n > 0 {
		a.Turns[n-1].Event = fanwatch.EventLapsed
	}
}

// turn does one turn and plans the next: the step's repeat, or the step after it. told are the channels that were told
// at this moment; none is told twice.
func (a *alert) turn(ctx workflow.Context, t Turn, told map[string]bool) {
	if t.Step >= len(a.Known.Steps) {
		return // the policy has fewer steps now
	}
	s, now := a.Known.Steps[t.Step], workflow.Now(ctx)
	if t.Repeat <= s.Repeat {
		a.Step, a.dirty = max(a.Step, t.Step+1), true
		m := a.message(cmp.Or(t.Event, fanwatch.EventPage))
		if t.Repeat > 0 {
			m.Event, m.Repeat = fanwatch.EventRepeat, t.Repeat
		}
		m.Next = a.following(t, now)
		for _, to := range s.Notify {
			if !told[to] {
				told[to] = true
				a.send(ctx, t.Step+1, fmt.Sprintf("#%d.%d.%d/%s", a.Round, t.Step+1, t.Repeat, to), to, m)
			}
		}
	}
	if t.Event == fanwatch.EventLapsed {
		a.tell(ctx, fanwatch.EventLapsed, told)
	}
	if t.Repeat < s.Repeat {
		a.Turns = append(a.Turns, Turn{Step: t.Step, Repeat: t.Repeat + 1, Due: now.Add(time.Duration(s.Every))})
		return
	}
	if next := t.Step + 1; next < len(a.Known.Steps) {
		a.begin(next, now.Add(time.Duration(a.Known.Steps[next].After)))
	}
}

// maxNext is the number of planned notifications that a message names.
const maxNext = 3

// following returns what would follow the turn without an answer, at most maxNext notifications.
func (a *alert) following(t Turn, at time.Time) []fanwatch.Next {
	var all []fanwatch.Next
	for i := t.Step; i < len(a.Known.Steps) && len(all) < maxNext; i++ {
		s := a.Known.Steps[i]
		first := t.Repeat + 1
		if i > t.Step {
			at, first = at.Add(time.Duration(s.After)), 0
		}
		for n := first; n <= s.Repeat; n++ {
			if n > 0 {
				at = at.Add(time.Duration(s.Every))
			}
			if len(all) < maxNext {
				all = append(all, fanwatch.Next{At: at.UTC(), To: s.Notify})
			}
		}
	}
	return all
}

// message returns the structured message of an event; it is empty in runs before changeAlert4.
func (a *alert) message(event fanwatch.Event) mail.Message {
	if !a.planned {
		return mail.Message{}
	}
	m := mail.Message{V: mail.MessageVersion, Event: event, Steps: a.Steps, Told: slices.Clone(a.Reached)}
	if a.Known != nil {
		m.Links = a.Known.Links
	}
	switch event {
	case fanwatch.EventAcknowledged:
		m.By = a.AckedBy
	case fanwatch.EventLapsed:
		m.By = a.Before.By
	case fanwatch.EventOver:
		m.By = a.EndedBy
	}
	return m
}

// tell tells all channels that were told before, but for those of told, of an answer or that it does not hold any more.
func (a *alert) tell(ctx workflow.Context, event fanwatch.Event, told map[string]bool) {
	a.Said++
	for _, to := range a.Reached {
		if told[to] {
			continue
		}
		alert := withoutLists(a.Alert)
		if event == fanwatch.EventLapsed {
			alert.SnoozedUntil = a.Before.Until
		}
		n := activities.Notification{Key: fmt.Sprintf("%s#said%d/%s", a.ID, a.Said, to), To: to, Step: a.Step,
			Alert: alert, Subject: a.saidSubject(event), Body: a.saidBody(), Message: a.message(event)}
		a.fly(ctx, n, workflow.Now(ctx).Add(notifyFor))
		a.flights[len(a.flights)-1].aside = true
	}
}

// waitPlanned returns when pending does, or with timed when due has come. A timer that fires earlier goes on for the
// next wait, because each one that is started costs.
func (a *alert) waitPlanned(ctx workflow.Context, due time.Time, timed bool, pending func() bool) error {
	if timed && (a.timer == nil || a.timerAt.After(due)) {
		if a.timer != nil {
			a.stopTimer()
		}
		timing, stop := workflow.WithCancel(ctx)
		a.timerAt, a.stopTimer = due, stop
		a.timer = workflow.NewTimerWithOptions(timing, due.Sub(workflow.Now(ctx)), workflow.TimerOptions{Summary: a.next()})
	}
	err := workflow.Await(ctx, func() bool { return a.timer != nil && a.timer.IsReady() || pending() })
	if a.timer != nil && a.timer.IsReady() {
		a.timer = nil
	}
	return err
}

// leaveIncident signals the incident that notified in the place of this alert that it is over. That no such incident
// runs is no error. The error is that of a cancellation.
func (a *alert) leaveIncident(ctx workflow.Context) error {
	if a.Incident == "" {
		return nil
	}
	m := fanwatch.Member{Alert: a.ID, Fan: a.Fan, Kind: a.Kind, Opened: a.Opened, Over: a.EndedAt}
	err := workflow.SignalExternalWorkflow(ctx, a.Incident, "", SignalMemberOver, m).Get(ctx, nil)
	var gone *serviceerror.NotFound
	var unknown *temporal.UnknownExternalWorkflowExecutionError
	switch {
	case temporal.IsCanceledError(err):
		return err
	case err != nil && !errors.As(err, &gone) && !errors.As(err, &unknown):
		workflow.GetLogger(ctx).Error("an incident was not told that a member is over", "alert", a.ID, "err", err)
	}
	return nil
}
