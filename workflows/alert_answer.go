package workflows

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
)

// This file has what persons do about an alert.

const (
	maxTokens  = 200 // tokens of answers that an alert remembers
	fromSignal = "temporal"
	noName     = "somebody" // who answered by a signal that names none; recorded histories hold it
)

// listenForAnswers installs the update of answers.
func (a *alert) listenForAnswers(ctx workflow.Context) error {
	return workflow.SetUpdateHandlerWithOptions(ctx, UpdateAnswer, func(ctx workflow.Context,
		x fanwatch.Answer) (fanwatch.Alert, error) {
		x = x.Trim()
		if err := a.refusal(ctx, x); err != nil { // an answer that came with it was taken first
			return a.Alert, err
		}
		a.answer(ctx, x)
		return a.Alert, nil
	}, workflow.UpdateHandlerOptions{Description: "Say what you do. Input: {\"action\": \"acknowledge\", \"by\": " +
		"\"name\", \"note\": \"...\"}; other actions: snooze (until), hand (to), note, resolve (note), unacknowledge",
		Validator: func(ctx workflow.Context, x fanwatch.Answer) error { return a.refusal(ctx, x.Trim()) }})
}

// refusal returns why the alert does not take a trimmed answer.
func (a *alert) refusal(ctx workflow.Context, x fanwatch.Answer) error {
	switch {
	case x.Token != "" && slices.Contains(a.Tokens, x.Token):
		return temporal.NewApplicationError("this link was used before: each counts once", TypeUsed)
	case a.State == fanwatch.AlertResolved || a.EndedBy != "":
		return temporal.NewApplicationError("the alert is over already", TypeEnded)
	case !a.planned && x.Action != fanwatch.ActionAcknowledge:
		return temporal.NewApplicationError("the alert was opened by an earlier program: it takes acknowledge alone",
			"Refused")
	case x.Action == fanwatch.ActionUnacknowledge && a.State != fanwatch.AlertAcknowledged:
		return temporal.NewApplicationError("the alert is not acknowledged: there is nothing to give back", "Refused")
	}
	return x.Check(workflow.Now(ctx))
}

// answerBySignal takes what can be understood of an answer, because a signal cannot be answered, and to ignore one
// would go on escalating.
func (a *alert) answerBySignal(ctx workflow.Context, x fanwatch.Answer) {
	x = x.Legible()
	nameless := x.By == ""
	x.By, x.From = cmp.Or(x.By, noName), cmp.Or(x.From, fromSignal)
	if x.Action == fanwatch.ActionResolve {
		x.Note = cmp.Or(x.Note, "no reason was given")
	}
	err := a.refusal(ctx, x)
	if err != nil && !slices.Contains([]fanwatch.Action{fanwatch.ActionNote, fanwatch.ActionUnacknowledge}, x.Action) {
		x.Action, x.Until, x.To = fanwatch.ActionAcknowledge, time.Time{}, ""
		err = a.refusal(ctx, x)
	}
	if err != nil || nameless && x.Verdict == "" && a.State == fanwatch.AlertAcknowledged {
		return
	}
	a.answer(ctx, x)
}

// answer does what a person says.
func (a *alert) answer(ctx workflow.Context, x fanwatch.Answer) {
	k := fanwatch.Acknowledgement{By: x.By, Note: x.Note, Verdict: x.Verdict}
	if !a.planned {
		a.acknowledge(ctx, k)
		return
	}
	x.At = workflow.Now(ctx).UTC()
	if x.Token != "" {
		a.Tokens = append(a.Tokens, x.Token)
		a.Tokens = a.Tokens[max(0, len(a.Tokens)-maxTokens):]
	}
	if x.Verdict != "" && a.graded && a.Kind.Family() != fanwatch.FamilySystem {
		a.label(ctx, k)
	}
	acknowledged := a.State == fanwatch.AlertAcknowledged
	switch x.Action {
	case fanwatch.ActionAcknowledge:
		if !acknowledged || x.Verdict == "" || a.AckedBy == x.By { // else it is the verdict that is meant
			a.take(ctx, x.By, x)
		}
	case fanwatch.ActionSnooze:
		a.take(ctx, x.By, x)
	case fanwatch.ActionHand:
		a.take(ctx, x.To, x)
	case fanwatch.ActionUnacknowledge:
		a.giveBack(ctx)
	case fanwatch.ActionResolve:
		a.EndedBy = x.By
		a.End = &fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: a.Fan, Time: x.At,
			Anomaly: fanwatch.Anomaly{Why: fmt.Sprintf("%s resolved it by hand: %s", x.By, x.Note)}}
	}
	x.Token = ""
	a.Answers = append(a.Answers, x)
	a.Answers = a.Answers[max(0, len(a.Answers)-fanwatch.MaxAnswers):]
	a.woken, a.dirty = true, true
}

// take has a person take care, and tells all who were told before, unless the person has done so already.
func (a *alert) take(ctx workflow.Context, by string, x fanwatch.Answer) {
	told := a.State != fanwatch.AlertAcknowledged || a.AckedBy != by || !a.SnoozedUntil.Equal(x.Until)
	if x.Note != "" || a.AckedBy != by {
		a.Note = x.Note
	}
	a.State, a.AckedBy, a.AckedAt = fanwatch.AlertAcknowledged, by, x.At
	a.SnoozedUntil = time.Time{}
	if x.Action == fanwatch.ActionSnooze {
		a.SnoozedUntil = x.Until.UTC()
	}
	a.stopNotifying()
	if told {
		a.tell(ctx, fanwatch.EventAcknowledged, nil)
	}
}

// giveBack has the escalation go on at once, at the step that was reached.
func (a *alert) giveBack(ctx workflow.Context) {
	if a.look() || a.Incident != "" || a.Known == nil {
		a.reopen(0)
		return
	}
	a.goOn(ctx, max(0, min(a.Step, len(a.Known.Steps))-1))
}

// saidSubject returns the subject of a message that tells of an answer, or that it does not hold any more.
func (a *alert) saidSubject(event fanwatch.Event) string {
	what := "acknowledged by " + a.AckedBy
	if event == fanwatch.EventLapsed {
		what = fmt.Sprintf("%s has not ended it, it goes on", a.Before.By)
	}
	return fmt.Sprintf("[fanwatch] %s: %s, %s", a.Fan, a.Kind, what)
}

func (a *alert) saidBody() string { return a.Why + "\n\n" + a.facts() }
