package workflows

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
	mail "fanwatch/notify"
)

// AlertInput is the input of [Alert].
type AlertInput struct {
	Alert      fanwatch.Alert `json:"alert"`
	Policy     string         `json:"policy"`               // name of the escalation policy; "" = "default"
	Escalation *Escalation    `json:"escalation,omitempty"` // set when the workflow continues as new
}

// escalationVersion is the version of Escalation that this program writes.
const escalationVersion = 1

// Escalation is what one run of an [Alert] passes to the next beside the alert itself.
type Escalation struct {
	Version   int                   `json:"version"`
	Turns     []Turn                `json:"turns,omitempty"`    // planned, in no order
	Begun     int                   `json:"begun,omitempty"`    // number of steps of this round that have had a turn
	From      int                   `json:"from,omitempty"`     // the step at which this round began, from 0
	Notified  []string              `json:"heard,omitempty"`    // topics that took a notification in this round
	Reached   []string              `json:"reached,omitempty"`  // topics that took a notification in any round
	Broken    []string              `json:"broken,omitempty"`   // topics of which one was given up in this round
	Retry     time.Time             `json:"retry,omitzero"`     // when Broken are tried again; zero: turns are left
	Retries   int                   `json:"retries,omitempty"`  // number of such tries
	Parked    []Parked              `json:"parked,omitempty"`   // not sent when the fan became normal or the run ended
	Last      fanwatch.Observation  `json:"last"`               // newest observation by its position
	Current   string                `json:"current"`            // what is wrong now
	Worst     string                `json:"worst"`              // what was wrong at the gravest, which is Alert.Kind
	NormalWhy string                `json:"well_why,omitempty"` // sentence of the newest normal observation
	Before    Acknowledged          `json:"before,omitzero"`    // ran out, or was overtaken by graver trouble
	End       *fanwatch.Observation `json:"end,omitempty"`      // ends the alert without hold
	Known     *fanwatch.Policy      `json:"known,omitempty"`    // the policy as read last; nil: not read yet
	Judged    fanwatch.Severity     `json:"judged,omitempty"`   // Alert.Severity without what a policy says instead
	Tokens    []string              `json:"tokens,omitempty"`   // of answers, the newest maxTokens
	Said      int                   `json:"said,omitempty"`     // answers and lapses that were told of
}

// Turn is one notification of the topics of one step.
type Turn struct {
	Step   int            `json:"step"`   // from 0
	Repeat int            `json:"repeat"` // from 0
	Due    time.Time      `json:"due"`
	Event  fanwatch.Event `json:"event,omitempty"` // with EventLapsed it says that an answer does not hold any more
}

// Parked is a notification that waits to be sent.
type Parked struct {
	Notification activities.Notification `json:"notification"`
	Until        time.Time               `json:"until"` // when it is given up
}

// Acknowledged is an acknowledgement that no longer holds.
type Acknowledged struct {
	By    string    `json:"by"`
	At    time.Time `json:"at"`
	Until time.Time `json:"until,omitzero"` // it was snoozed until then
}

const (
	retryEvery    = 10 * time.Minute // time between two tries of the topics that failed, after the last step
	policyEvery   = time.Minute      // time between two reads of a policy that could not be read yet
	flapping      = 3                // Returns at which a notification says that the trouble comes and goes
	noticesPerRun = 500              // notices and failures after which a run continues as new when none is on its way
	maxEvents     = 12000            // events after which it continues as new in any case; Temporal ends a run at 51,200
)

// changeAlert3 marks the runs of Alert that go by severity: info notifies by no step, and what is graver is so by
// severity first. A run without it goes by gravity alone.
const changeAlert3 = "alert-3"

// changeAlert4 marks the runs of Alert that have each step planned by Notifier.Plan, take answers, tell of them, send
// structured messages, leave a timer that fires too early be, and write only what changed. Version 1 writes SearchFan
// and SearchState alone, version 2 all search attributes. A run without it reads its policy by Notifier.Policy.
const changeAlert4 = "alert-4"

// Alert is the workflow of one trouble of one fan, or of a part of fanwatch. It notifies by the steps of its policy
// until it is acknowledged, begins anew when the trouble gets graver, and ends when the trouble has been over for the
// policy's hold. No step notifies of one of SeverityInfo; Digest does. Every wait is a durable timer: a crash delays no
// step that is due after the restart.
//
// One loop takes all signals and decides. Each notification is a coroutine of its own, for which no step,
// acknowledgement or end waits. The run continues as new before its history is long.
func Alert(ctx workflow.Context, in AlertInput) (fanwatch.Alert, error) {
	if workflow.GetVersion(ctx, changeAlert2, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return alertV1(ctx, in)
	}
	a := newAlert(in)
	a.graded = workflow.GetVersion(ctx, changeAlert3, workflow.DefaultVersion, 1) != workflow.DefaultVersion
	version := workflow.GetVersion(ctx, changeAlert4, workflow.DefaultVersion, searchVersion(ctx, 1))
	a.planned, a.searched = version != workflow.DefaultVersion, version > 1
	if err := a.listen(ctx); err != nil {
		return a.Alert, err
	}
	err := a.run(ctx)
	if temporal.IsCanceledError(err) && a.State != fanwatch.AlertResolved {
		_ = signalFan(ctx, a.Alert) // the fan opens another alert while its trouble goes on; err is the cancellation
	}
	return a.Alert, err
}

type alert struct {
	fanwatch.Alert
	Escalation
	policyName string
	graded     bool // this run goes by severity
	planned    bool // this run began with changeAlert4
	searched   bool // this run writes all search attributes

	acks, answers, observations, resolves, plans workflow.ReceiveChannel

	timer     workflow.Future // of planned runs; nil: none runs
	timerAt   time.Time       // when it fires
	stopTimer workflow.CancelFunc

	policyDue time.Time // when the policy is read again while there is none
	flights   []*flight // notifications that are on their way, oldest first
	outcomes  int       // notices and failures of this run
	labels    int       // signals to the fan that are on their way
	woken     bool      // a flight or an update has something new for the loop
	dirty     bool      // show is due
}

func newAlert(in AlertInput) *alert {
	a := &alert{Alert: in.Alert, policyName: in.Policy, dirty: true}
	a.V, a.Severity, a.Policy = fanwatch.AlertVersion, a.Weighed(), in.Policy
	if in.Escalation != nil {
		a.Escalation = *in.Escalation
		a.Judged = cmp.Or(a.Judged, a.Severity)
		return a
	}
	a.Escalation = Escalation{Version: escalationVersion, Current: in.Alert.Why, Worst: in.Alert.Why,
		Last:   fanwatch.Observation{Position: in.Alert.Position, Anomaly: fanwatch.Anomaly{Kind: in.Alert.Kind}},
		Judged: a.Severity}
	return a
}

// listen installs the handlers of signals, queries and updates.
func (a *alert) listen(ctx workflow.Context) error {
	a.acks = workflow.GetSignalChannelWithOptions(ctx, SignalAcknowledge, workflow.SignalChannelOptions{
		Description: "Stop the escalation: a person takes care. " +
			"Input: \"name\", {\"by\": \"name\", \"note\": \"...\"} or nothing"})
	a.answers = workflow.GetSignalChannelWithOptions(ctx, SignalAnswer, workflow.SignalChannelOptions{
		Description: "Say what you do. Input: {\"action\": \"acknowledge\", \"by\": \"name\", \"note\": \"...\"}; other " +
			"actions: snooze (until), hand (to), note, resolve (note: the reason), unacknowledge"})
	a.observations = workflow.GetSignalChannel(ctx, SignalObserve)
	a.resolves = workflow.GetSignalChannel(ctx, SignalResolve)
	a.plans = workflow.GetSignalChannel(ctx, SignalPlan)
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryStatus, func() (fanwatch.Alert, error) { return a.Alert, nil },
		workflow.QueryHandlerOptions{
			Description: "The alert: why, how far it has escalated, who acknowledged."}); err != nil {
		return err
	}
	if err := a.listenForAnswers(ctx); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, UpdateAcknowledge, func(ctx workflow.Context,
		k fanwatch.Acknowledgement) (fanwatch.Alert, error) {
		a.answer(ctx, k.Answer().Trim())
		return a.Alert, nil
	}, workflow.UpdateHandlerOptions{Description: "Stop the escalation: somebody takes care. Input: {\"by\": " +
		"\"name\", \"note\": \"...\"}",
		Validator: func(_ workflow.Context, k fanwatch.Acknowledgement) error {
			if a.State == fanwatch.AlertResolved { // and has not ended yet, such as while the lake is out of reach
				return temporal.NewApplicationError("the alert is over already", TypeEnded)
			}
			return k.Trim().Check()
		}})
}

// run is the loop of the workflow. It returns when the alert has ended, when ctx is cancelled, or to continue as new.
func (a *alert) run(ctx workflow.Context) error {
	if a.State == fanwatch.AlertOpen && a.NormalFrom.IsZero() {
		a.unpark(ctx)
	}
	for {
		a.woken = false
		a.receive(ctx)
		due, timed := a.due()
		switch now := workflow.Now(ctx); {
		case a.over(ctx):
			return a.close(ctx)
		case a.mustContinue(ctx):
			a.park()
			next := AlertInput{Alert: a.Alert, Policy: a.policyName, Escalation: &a.Escalation}
			return workflow.NewContinueAsNewError(ctx, Alert, next)
		case timed && !due.After(now):
			if err := a.act(ctx); err != nil {
				return err
			}
		default:
			if a.dirty {
				a.show(ctx)
			}
			if err := a.wait(ctx, due, timed); err != nil {
				return err
			}
		}
	}
}

// wait returns when a signal, a flight or an update has something new, or with timed when due has come.
func (a *alert) wait(ctx workflow.Context, due time.Time, timed bool) error {
	pending := func() bool {
		return a.woken || a.acks.Len() > 0 || a.answers.Len() > 0 || a.observations.Len() > 0 || a.resolves.Len() > 0 ||
			a.planned && a.plans.Len() > 0
	}
	if a.planned {
		return a.waitPlanned(ctx, due, timed, pending)
	}
	if !timed {
		return workflow.Await(ctx, pending)
	}
	timing, cancel := workflow.WithCancel(ctx)
	defer cancel() // a timer that fires needlessly grows the history
	timer := workflow.NewTimerWithOptions(timing, due.Sub(workflow.Now(ctx)), workflow.TimerOptions{Summary: a.next()})
	return workflow.Await(ctx, func() bool { return timer.IsReady() || pending() })
}

// mustContinue reports whether the run is to continue as new. Up to a larger bound it waits for a moment in which no
// notification is on its way, because the next run sends those again.
func (a *alert) mustContinue(ctx workflow.Context) bool {
	info := workflow.GetInfo(ctx)
	if a.labels > 0 {
		return false
	}
	if len(a.flights) > 0 {
		return a.outcomes >= 2*noticesPerRun || info.GetCurrentHistoryLength() > maxEvents
	}
	return a.outcomes >= noticesPerRun || info.GetContinueAsNewSuggested()
}

// receive takes every signal that waits. The order between channels is not known. Acknowledgements come first, so that
// one meant for less than what is observed does not stop its notifications; observations come before what ends the
// alert, and positions decide.
func (a *alert) receive(ctx workflow.Context) {
	for {
		var k fanwatch.Acknowledgement
		if !a.acks.ReceiveAsync(&k) {
			break
		}
		a.acknowledge(ctx, k)
	}
	for {
		var x fanwatch.Answer
		if !a.answers.ReceiveAsync(&x) {
			break
		}
		a.answerBySignal(ctx, x)
	}
	for {
		var o fanwatch.Observation
		if !a.observations.ReceiveAsync(&o) {
			break
		}
		a.observe(ctx, o)
	}
	for {
		var o fanwatch.Observation
		if !a.resolves.ReceiveAsync(&o) {
			break
		}
		a.resolve(o)
	}
	for a.planned && a.plans.ReceiveAsync(nil) { // what kept it from notifying may be over
		a.NotBefore, a.Because, a.policyDue, a.dirty = time.Time{}, "", workflow.Now(ctx), true
	}
}

func (a *alert) acknowledge(ctx workflow.Context, k fanwatch.Acknowledgement) {
	if a.planned {
		a.answerBySignal(ctx, k.Answer())
		return
	}
	k = legible(k)
	if k.Verdict != "" && a.graded && a.Kind.Family() != fanwatch.FamilySystem {
		a.label(ctx, k)
	}
	if a.State != fanwatch.AlertOpen {
		return // the first acknowledgement holds
	}
	a.State, a.AckedBy, a.AckedAt, a.Note = fanwatch.AlertAcknowledged, k.By, workflow.Now(ctx).UTC(), k.Note
	a.stopNotifying()
	a.woken, a.dirty = true, true
}

// label keeps the verdict and signals it to the fan, which puts it on the stream.
func (a *alert) label(ctx workflow.Context, k fanwatch.Acknowledgement) {
	a.Label, a.LabelledBy, a.LabelledAt = k.Verdict, k.By, workflow.Now(ctx).UTC()
	a.woken, a.dirty = true, true
	l := fanwatch.LabelOf(a.Alert, k)
	l.At = a.LabelledAt
	a.labels++
	sent := workflow.SignalExternalWorkflow(ctx, FanID(a.Fan), "", SignalLabel, l)
	workflow.GoNamed(ctx, "label", func(ctx workflow.Context) {
		defer func() { a.labels--; a.woken = true }()
		if err := sent.Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Error("the fan does not take a label", "alert", a.ID, "err", err)
		}
	})
}

// legible returns an acknowledgement that lists can show. It changes what Check refuses, because a signal cannot be
// answered, and to ignore one would go on escalating.
func legible(k fanwatch.Acknowledgement) fanwatch.Acknowledgement {
	k = k.Legible()
	k.By = cmp.Or(k.By, noName)
	return k
}

// stopNotifying cancels all notifications that are on their way, planned or parked.
func (a *alert) stopNotifying() {
	for _, f := range a.flights {
		f.stop()
	}
	a.Turns, a.Parked, a.Retry = nil, nil, time.Time{}
}

// observe applies one observation. One with a position is ignored unless it is later than the newest; one without (of
// KindDifference and KindPipeline, or of a fan that never reported) applies in its order of arrival.
func (a *alert) observe(ctx workflow.Context, o fanwatch.Observation) {
	if o.Position.Sequence != "" {
		if a.Last.Position.Sequence != "" && !o.After(a.Last) {
			return
		}
		a.Last = o
	}
	a.dirty = true
	a.reach(o.Extent)
	if o.Anomaly.Kind == fanwatch.KindNone {
		if a.NormalFrom.IsZero() {
			a.NormalFrom = workflow.Now(ctx).UTC()
			a.park() // nothing is sent during the hold
		}
		a.NormalWhy = o.Anomaly.Why
		return
	}
	returned := !a.NormalFrom.IsZero()
	if returned {
		a.NormalFrom = time.Time{}
		a.Returns++
	}
	look, graver := a.look(), a.compare(o.Anomaly)
	if graver >= 0 {
		a.Kind, a.Anomaly, a.Worst = o.Anomaly.Kind, o.Anomaly, o.Anomaly.Why
		a.Anomaly.Why = ""
		a.judge(ctx, o.Anomaly.Weighed(), graver > 0)
	}
	a.Current = o.Anomaly.Why
	a.Why = a.why(a.Current)
	switch {
	case graver > 0 && (a.Step > 0 || a.State == fanwatch.AlertAcknowledged):
		a.newRound(ctx)
	case look && !a.look() && a.Known != nil: // else readPolicy begins
		a.begin(0, workflow.Now(ctx).Add(time.Duration(a.Known.Steps[0].After)))
	case returned && a.State == fanwatch.AlertOpen:
		a.unpark(ctx)
	}
	if returned && a.Returns == flapping && a.State == fanwatch.AlertOpen {
		a.notifyFlapping(ctx)
	}
}

// compare returns 1 where x is graver than the gravest so far, -1 where it is less grave, else 0.
func (a *alert) compare(x fanwatch.Anomaly) int {
	worst := fanwatch.Anomaly{Kind: a.Kind, Severity: a.Severity}
	if a.planned {
		worst.Severity = a.Judged
	}
	switch {
	case !a.graded:
		return cmp.Compare(x.Kind.Gravity(), worst.Kind.Gravity())
	case x.Graver(worst):
		return 1
	case worst.Graver(x):
		return -1
	}
	return 0
}

// look reports whether the alert is of SeverityInfo, which no step notifies.
func (a *alert) look() bool { return a.graded && a.Weighed() == fanwatch.SeverityInfo }

// resolve ends the alert without hold, unless a later observation of trouble came. A fan that is retired ends its alert
// so, and fans of programs without hold end every alert so.
func (a *alert) resolve(o fanwatch.Observation) {
	if o.Position.Sequence != "" && a.Last.Position.Compare(o.Position) > 0 {
		return
	}
	a.End = &o
}

// over reports whether the alert ends now.
func (a *alert) over(ctx workflow.Context) bool {
	return a.State == fanwatch.AlertResolved || a.End != nil ||
		!a.NormalFrom.IsZero() && !workflow.Now(ctx).Before(a.NormalFrom.Add(a.hold()))
}

func (a *alert) hold() time.Duration {
	if a.Known == nil {
		return fanwatch.DefaultHold
	}
	return a.Known.HoldFor()
}

// due returns when the next thing is to be done by the clock; ok is false when there is none.
func (a *alert) due() (at time.Time, ok bool) {
	switch {
	case !a.NormalFrom.IsZero():
		return a.NormalFrom.Add(a.hold()), true
	case a.Known == nil:
		return a.policyDue, true
	case a.State == fanwatch.AlertAcknowledged && !a.SnoozedUntil.IsZero():
		return a.SnoozedUntil, true
	case a.State == fanwatch.AlertAcknowledged:
		lapses := a.Known.AckTimeout > 0 && !a.look() && a.Label != fanwatch.VerdictNormal
		return a.AckedAt.Add(time.Duration(a.Known.AckTimeout)), lapses
	case a.Incident != "":
		return a.policyDue, true
	case len(a.Turns) > 0:
		due := slices.MinFunc(a.Turns, func(x, y Turn) int { return x.Due.Compare(y.Due) }).Due
		if due.Before(a.NotBefore) {
			due = a.NotBefore
		}
		return due, true
	}
	return a.Retry, !a.Retry.IsZero()
}

// act does what is due: it reads the policy, which may have changed, and notifies by it.
func (a *alert) act(ctx workflow.Context) error {
	if a.planned {
		return a.actPlanned(ctx)
	}
	if err := a.readPolicy(ctx); err != nil {
		return err
	}
	a.receive(ctx) // for signals that came meanwhile
	now := workflow.Now(ctx)
	if due, timed := a.due(); a.over(ctx) || !a.NormalFrom.IsZero() || a.Known == nil || !timed || due.After(now) {
		return nil
	}
	switch {
	case a.State == fanwatch.AlertAcknowledged:
		a.lapse(ctx)
	case len(a.Turns) == 0:
		a.notifyMissed(ctx)
		return nil
	}
	turns := a.Turns
	a.Turns = nil
	for _, t := range turns {
		if t.Due.After(now) {
			a.Turns = append(a.Turns, t)
		} else {
			a.notifyStep(ctx, t)
		}
	}
	a.planRetry(ctx)
	return nil
}

// readPolicy reads the policy from the worker's file. When that fails, the one that is known stays.
func (a *alert) readPolicy(ctx workflow.Context) error {
	p, err := a.findPolicy(ctx)
	now := workflow.Now(ctx)
	var late *temporal.TimeoutError
	switch {
	case temporal.IsCanceledError(err):
		return err
	case errors.As(err, &late):
		a.policyDue = now // a worker runs now
		return nil
	case err != nil:
		a.policyDue, a.dirty = now.Add(policyEvery), true
		return nil
	}
	if a.Steps != len(p.Steps) {
		a.Steps, a.Step, a.dirty = len(p.Steps), min(a.Step, len(p.Steps)), true
	}
	a.Known = &p
	if a.planned {
		a.follow(ctx)
	}
	if a.State == fanwatch.AlertOpen && !a.look() && a.Incident == "" && a.Begun == 0 && len(a.Turns) == 0 {
		due := now
		if a.Round == 0 {
			due = now.Add(time.Duration(p.Steps[0].After))
		}
		a.begin(0, due)
	}
	return nil
}

// begin plans the first turn of a step of the round, once, if the policy has the step.
func (a *alert) begin(step int, due time.Time) {
	if step < a.Begun || a.Known == nil || step >= len(a.Known.Steps) {
		return
	}
	a.Begun = step + 1
	a.Turns = append(a.Turns, Turn{Step: step, Due: due})
}

// notifyStep does one turn and plans the next: the step's repeat, or the step after it.
func (a *alert) notifyStep(ctx workflow.Context, t Turn) {
	if t.Step >= len(a.Known.Steps) {
		return // the policy has fewer steps now
	}
	s, now := a.Known.Steps[t.Step], workflow.Now(ctx)
	if t.Repeat <= s.Repeat {
		a.Step, a.dirty = max(a.Step, t.Step+1), true
		for _, to := range s.Notify {
			a.send(ctx, t.Step+1, fmt.Sprintf("#%d.%d.%d/%s", a.Round, t.Step+1, t.Repeat, to), to, mail.Message{})
		}
	}
	if t.Repeat < s.Repeat {
		a.Turns = append(a.Turns, Turn{Step: t.Step, Repeat: t.Repeat + 1, Due: now.Add(time.Duration(s.Every))})
		return
	}
	if next := t.Step + 1; next < len(a.Known.Steps) {
		a.begin(next, now.Add(time.Duration(a.Known.Steps[next].After)))
	}
}

// newRound begins the escalation anew, at once and from the first step, because the trouble is graver than what was
// notified or acknowledged.
func (a *alert) newRound(ctx workflow.Context) {
	a.reopen(0)
	a.Step = 0
	a.begin(0, workflow.Now(ctx))
}

// lapse opens an alert again whose acknowledgement ran out, at the last step of the policy.
func (a *alert) lapse(ctx workflow.Context) {
	last := len(a.Known.Steps) - 1
	a.reopen(last)
	a.begin(last, workflow.Now(ctx))
}

func (a *alert) reopen(from int) {
	a.stopNotifying()
	if a.AckedBy != "" {
		a.Before = Acknowledged{By: a.AckedBy, At: a.AckedAt} // goOn sets Until
	}
	a.AckedBy, a.AckedAt, a.Note, a.SnoozedUntil = "", time.Time{}, "", time.Time{}
	a.Round++
	a.State, a.From, a.Begun, a.Notified, a.Broken, a.dirty = fanwatch.AlertOpen, from, from, nil, nil, true
}

// close ends the alert. It signals the fan first, which opens the next alert if it is in trouble again, so that no
// later signal is for this one. Then it notifies the topics that were notified before, and at last lands the alert
// in the lake; neither keeps the alert open.
func (a *alert) close(ctx workflow.Context) error {
	if a.State != fanwatch.AlertResolved { // it is where alertV1 was renewed during its close
		a.State, a.EndedAt = fanwatch.AlertResolved, workflow.Now(ctx).UTC()
	}
	a.Why = a.why(a.Worst) // lists and lake keep the gravest reason
	a.SnoozedUntil, a.NotBefore, a.Because = time.Time{}, time.Time{}, ""
	a.stopNotifying()
	a.show(ctx)
	if err := signalFan(ctx, a.Alert); err != nil {
		return err
	}
	if err := a.leaveIncident(ctx); err != nil {
		return err
	}
	if len(a.flights) > 0 { // a cancelled notification may still be sent
		if _, err := workflow.AwaitWithTimeout(ctx, 2*notifyTimeout, func() bool { return len(a.flights) == 0 }); err != nil {
			return err
		}
	}
	if err := a.notifyEnd(ctx); err != nil {
		return err
	}
	if a.dirty || !a.planned {
		a.show(ctx)
	}
	err := landAlert(ctx, a.Alert)
	if err != nil && !temporal.IsCanceledError(err) {
		a.fail(ctx, fanwatch.Failure{Step: a.Step, To: "the lake", Why: "the alert did not get into the table: " +
			reason(err)})
		a.show(ctx)
		return nil
	}
	return err
}

// signalFan signals the fan that its alert is over, also when ctx is cancelled. That no such fan runs is no error. The
// error is that of a cancellation.
func signalFan(ctx workflow.Context, alert fanwatch.Alert) error {
	if ctx.Err() != nil {
		var cancel workflow.CancelFunc
		ctx, cancel = workflow.NewDisconnectedContext(ctx)
		defer cancel()
	}
	err := workflow.SignalExternalWorkflow(ctx, ownerOf(alert), "", SignalAlertOver, withoutLists(alert)).Get(ctx, nil)
	if temporal.IsCanceledError(err) {
		return err
	}
	return nil
}
