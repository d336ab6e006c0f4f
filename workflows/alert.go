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

// AlertInput is the trouble and the name of the policy that says who is told.
type AlertInput struct {
	Alert  fanwatch.Alert `json:"alert"`
	Policy string         `json:"policy"`
}

// Alert is one trouble of one fan. It tells people, step after step, until somebody acknowledges or the
// fan is well again, and ends when the fan is well again. Every wait is a durable timer: after any crash
// the next step comes when it would have come.
func Alert(ctx workflow.Context, in AlertInput) (fanwatch.Alert, error) {
	a := &alert{Alert: in.Alert}
	if err := a.listen(ctx); err != nil {
		return a.Alert, err
	}
	policy, err := findPolicy(ctx, in.Policy)
	if err != nil {
		return a.Alert, err
	}
	a.Steps = len(policy.Steps)
	a.show(ctx)

	from := 0
	for {
		if err := a.escalate(ctx, policy, from); err != nil {
			return a.Alert, err
		}
		if err := a.awaitAnswer(ctx); err != nil {
			return a.Alert, err
		}
		lapsed, err := a.awaitEnd(ctx, time.Duration(policy.AckTimeout))
		if err != nil {
			return a.Alert, err
		}
		if !lapsed {
			break
		}
		a.lapse(ctx)
		from = len(policy.Steps) - 1 // who acknowledged has not mended it: the last step hears again
	}
	if err := a.close(ctx); err != nil {
		return a.Alert, err
	}
	return a.Alert, nil
}

type alert struct {
	fanwatch.Alert
	round int                  // how often an acknowledgement lapsed
	ended fanwatch.Observation // the fan is well again
}

func (a *alert) answered() bool { return a.State != fanwatch.Open || a.over() }
func (a *alert) over() bool     { return a.ended.V != 0 }

// listen takes what people and the fan say, in coroutines of its own, until the workflow ends.
func (a *alert) listen(ctx workflow.Context) error {
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryStatus, func() (fanwatch.Alert, error) { return a.Alert, nil },
		workflow.QueryHandlerOptions{Description: "The alert: why, how far it has escalated, who acknowledged."}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateAcknowledge, func(ctx workflow.Context, k Acknowledgement) (fanwatch.Alert, error) {
		a.acknowledge(ctx, k)
		return a.Alert, nil
	}, workflow.UpdateHandlerOptions{Description: "Stop the escalation: somebody takes care. Input: {\"by\": \"name\", \"note\": \"...\"}",
		Validator: func(_ workflow.Context, k Acknowledgement) error {
			if a.State == fanwatch.Resolved { // and has not ended yet, such as while the lake is out of reach
				return temporal.NewApplicationError("the alert is over already", typeEnded)
			}
			return k.Trim().Check()
		}}); err != nil {
		return err
	}
	each(ctx, workflow.GetSignalChannelWithOptions(ctx, SignalAcknowledge, workflow.SignalChannelOptions{
		Description: "Stop the escalation: somebody takes care. Input: \"name\", {\"by\": \"name\", \"note\": \"...\"} or nothing"}), a.acknowledge)
	each(ctx, workflow.GetSignalChannel(ctx, SignalResolve), func(_ workflow.Context, o fanwatch.Observation) {
		o.V = max(o.V, 1)
		a.ended = o
	})
	each(ctx, workflow.GetSignalChannel(ctx, SignalObserve), func(ctx workflow.Context, o fanwatch.Observation) {
		a.ended = fanwatch.Observation{} // it was not over after all
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

func (a *alert) acknowledge(ctx workflow.Context, k Acknowledgement) {
	if a.State != fanwatch.Open {
		return // the first to answer has it
	}
	// A signal is not checked, and to refuse one would keep waking people: it is made fit to be shown.
	k = Acknowledgement{By: fanwatch.Legible(k.By, maxBy), Note: fanwatch.Legible(k.Note, maxNote)}.Trim()
	a.State, a.AckedBy, a.AckedAt, a.Note = fanwatch.Acknowledged, cmp.Or(k.By, "somebody"), workflow.Now(ctx).UTC(), k.Note
	a.show(ctx)
}

// escalate goes through the steps from the given one until somebody answers or there are no more.
func (a *alert) escalate(ctx workflow.Context, p fanwatch.Policy, from int) error {
	for i := from; i < len(p.Steps); i++ {
		s := p.Steps[i]
		wait := time.Duration(s.After)
		if i == from && a.round > 0 {
			wait = 0
		}
		for n := 0; n <= s.Repeat; n++ {
			if answered, err := a.pause(ctx, wait); answered || err != nil {
				return err
			}
			a.Step = i + 1
			if err := a.tell(ctx, s, n); err != nil {
				return err
			}
			wait = time.Duration(s.Every)
		}
	}
	return nil
}

// pause waits unless somebody answers before.
func (a *alert) pause(ctx workflow.Context, d time.Duration) (answered bool, err error) {
	if d <= 0 || a.answered() {
		return a.answered(), nil
	}
	return workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: d,
		TimerOptions: workflow.TimerOptions{Summary: fmt.Sprintf("until step %d is told", a.Step+1)}}, a.answered)
}

// tell sends one step's notifications. The key is the same however often the activity runs.
func (a *alert) tell(ctx workflow.Context, s fanwatch.Step, repeat int) error {
	for _, to := range s.Notify {
		n := activities.Notification{
			Key: fmt.Sprintf("%s#%d.%d.%d/%s", a.ID, a.round, a.Step, repeat, to), To: to, Step: a.Step, Alert: a.Alert,
			Subject: subject(a.Alert), Body: a.body(),
		}
		at, err := notify(ctx, n)
		if err != nil {
			return err
		}
		a.Told = append(a.Told, fanwatch.Notice{Key: n.Key, Step: a.Step, To: to, At: at})
	}
	a.show(ctx)
	return nil
}

func subject(a fanwatch.Alert) string {
	if a.State == fanwatch.Resolved {
		return fmt.Sprintf("[fanwatch] %s is well again", a.Fan)
	}
	return fmt.Sprintf("[fanwatch] %s: %s (step %d of %d)", a.Fan, a.Kind, a.Step, a.Steps)
}

func (a *alert) body() string {
	text := a.Why + "\n\n"
	if a.State == fanwatch.Resolved {
		text = cmp.Or(a.ended.Anomaly.Why, a.Fan+" is well again.") + "\n\nIt was: " + a.Why + "\n" // Why stays what the lists and the lake are asked for: why people were woken
	}
	if a.Site != "" {
		text += "Where: " + a.Site + "\n"
	}
	text += "Since: " + a.Opened.UTC().Format(time.RFC3339) + "\n"
	if a.State != fanwatch.Resolved {
		text += fmt.Sprintf("Step:  %d of %d\n\nAcknowledge:\n  fanwatch ack %s\n", a.Step, a.Steps, a.ID)
	}
	return text
}

// awaitAnswer waits, after the last step, for a person or the fan.
func (a *alert) awaitAnswer(ctx workflow.Context) error { return workflow.Await(ctx, a.answered) }

// awaitEnd waits until the fan is well; lapsed means that an acknowledgement ran out before.
func (a *alert) awaitEnd(ctx workflow.Context, timeout time.Duration) (lapsed bool, err error) {
	if timeout <= 0 {
		return false, workflow.Await(ctx, a.over)
	}
	over, err := workflow.AwaitWithTimeout(ctx, timeout, a.over)
	return !over, err
}

func (a *alert) lapse(ctx workflow.Context) {
	a.round++
	a.State = fanwatch.Open
	a.show(ctx)
}

// changeLandAlert marks in a history that the alert goes into the lake when it is over. Alerts that were open
// before know nothing of it.
const changeLandAlert = "land-alert"

// close tells those who were woken that it is over, lets the fan open the next alert, and lands this one in
// the lake.
func (a *alert) close(ctx workflow.Context) error {
	a.State, a.EndedAt = fanwatch.Resolved, workflow.Now(ctx).UTC()
	told := map[string]bool{}
	for _, n := range a.Told {
		if told[n.To] {
			continue
		}
		told[n.To] = true
		if _, err := notify(ctx, activities.Notification{Key: a.ID + "#over/" + n.To, To: n.To, Step: a.Step, Alert: a.Alert,
			Subject: subject(a.Alert), Body: a.body()}); err != nil {
			return err
		}
	}
	a.show(ctx)
	// A fan that was retired meanwhile need not know.
	if err := workflow.SignalExternalWorkflow(ctx, FanID(a.Fan), "", SignalAlertOver, a.Alert).Get(ctx, nil); temporal.IsCanceledError(err) {
		return err
	}
	if workflow.GetVersion(ctx, changeLandAlert, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	return landAlert(ctx, a.Alert) // last: nobody waits for the lake
}

func (a *alert) show(ctx workflow.Context) {
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
