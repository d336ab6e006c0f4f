package workflows

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
	mail "fanwatch/notify"
	"fanwatch/objstore"
)

// mailbox is the boundary: it keeps what people were sent.
type mailbox struct {
	mu   sync.Mutex
	sent []string // "topic subject", in order
	text []string // their bodies
	keys map[string]bool
	down map[string]error // what the topics answer that are not well
	now  func() time.Time
	at   []time.Time
}

func (m *mailbox) Publish(_ context.Context, topic, subject, body, key string, _ map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.down[topic]; err != nil {
		return err
	}
	if m.keys[key] {
		return nil
	}
	m.keys[key] = true
	m.sent, m.text = append(m.sent, topic+" "+subject), append(m.text, body)
	m.at = append(m.at, m.now())
	return nil
}

func (m *mailbox) set(topic string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down[topic] = err
}

var (
	errAway    = errors.New("the topic is out of reach")
	errNoTopic = temporal.NewNonRetryableApplicationError("sns: NotFound: Topic does not exist", "Refused", nil)
)

var twoSteps = fanwatch.Policy{V: 1, Name: "default", AckTimeout: fanwatch.Duration(time.Hour), Steps: []fanwatch.Step{
	{Notify: []string{"first"}, Repeat: 1, Every: fanwatch.Duration(time.Minute)},
	{After: fanwatch.Duration(5 * time.Minute), Notify: []string{"second", "boss"}},
}}

type alertRun struct {
	*testsuite.TestWorkflowEnvironment
	mail   *mailbox
	lake   *objstore.Dir
	over   []fanwatch.Alert // what the fan's workflow was told
	overAt time.Time
	policy fanwatch.Policy
	events []event
	runs   int                                          // of the workflow, one for each time it continued as new
	plan   func(activities.PlanInput, *fanwatch.Policy) // changes what Plan answers; nil: nothing
	plans  []activities.PlanInput
	sent   []activities.Notification // that the mailbox took
}

// notifier is the Notifier, with plans that a test changes and messages in the words of the workflow.
type notifier struct {
	*activities.Notifier
	run *alertRun
}

func (n *notifier) Plan(ctx context.Context, in activities.PlanInput) (fanwatch.Policy, error) {
	p, err := n.Notifier.Policy(ctx, in.Policy)
	n.run.mail.mu.Lock()
	defer n.run.mail.mu.Unlock()
	n.run.plans = append(n.run.plans, in)
	if n.run.plan != nil {
		n.run.plan(in, &p)
	}
	return p, err
}

func (n *notifier) Notify(ctx context.Context, m activities.Notification) (activities.Delivery, error) {
	plain := m
	plain.Message.Event = ""
	d, err := n.Notifier.Notify(ctx, plain)
	if err == nil {
		n.run.mail.mu.Lock()
		defer n.run.mail.mu.Unlock()
		n.run.sent = append(n.run.sent, m)
		if m.Message.Event != "" { // an earlier program reads the time alone
			d.Receipt = mail.Receipt{ID: "id", Detail: "taken"}
		}
	}
	return d, err
}

// event is something that happens so long after the opening.
type event struct {
	at time.Duration
	do func()
}

func newAlertRun(t *testing.T) *alertRun {
	t.Helper()
	r := &alertRun{policy: twoSteps, mail: &mailbox{keys: map[string]bool{}, down: map[string]error{}}}
	var err error
	if r.lake, err = objstore.OpenDir(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	r.environment()
	return r
}

// environment makes the environment of the next run of the workflow.
func (r *alertRun) environment() {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet())
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // the machine may be busy
	r.TestWorkflowEnvironment, r.mail.now = env, env.Now
	env.RegisterWorkflow(Alert)
	env.RegisterActivity(&activities.Lake{Store: r.lake})
	policies := func() map[string]fanwatch.Policy { return map[string]fanwatch.Policy{"default": r.policy} }
	env.RegisterActivity(&notifier{&activities.Notifier{SNS: r.mail, Now: env.Now, Policies: policies}, r})
	env.OnSignalExternalWorkflow("default-test-namespace", "fan/fan-07", "", SignalAlertOver, anything).Return(
		func(_, _, _, _ string, arg any) error {
			r.over, r.overAt = append(r.over, arg.(fanwatch.Alert)), env.Now()
			return nil
		}).Maybe()
}

var opened = time.Date(2026, 5, 28, 20, 26, 40, 0, time.UTC)

func (r *alertRun) run(t *testing.T) fanwatch.Alert {
	t.Helper()
	a, err := r.runOf(t, fanwatch.KindStall, "fan-07 has stopped.")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// runOf runs an alert of that kind to its end, over all its runs.
func (r *alertRun) runOf(t *testing.T, kind fanwatch.Kind, why string) (a fanwatch.Alert, err error) {
	t.Helper()
	return r.runIn(t, AlertInput{Alert: fanwatch.Alert{V: 1, ID: AlertID("fan-07", kind, opened), Fan: "fan-07",
		Kind:   kind,
		Opened: opened, Why: why, Position: fanwatch.Position{Shard: "s", Sequence: "100"}, State: fanwatch.AlertOpen}},
		opened)
}

func (r *alertRun) runIn(t *testing.T, in AlertInput, now time.Time) (a fanwatch.Alert, err error) {
	t.Helper()
	for {
		r.runs++
		r.SetStartTime(now)
		slices.SortStableFunc(r.events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
		r.await(now)
		r.ExecuteWorkflow(Alert, in)
		var next *workflow.ContinueAsNewError
		if err := r.GetWorkflowError(); !asContinue(err, &next) {
			if err == nil {
				err = r.GetWorkflowResult(&a)
			}
			return a, err
		}
		now = r.Now()
		in = AlertInput{}
		if err := decode(next, &in); err != nil {
			t.Fatal(err)
		}
		r.environment()
	}
}

// await registers the next event, which registers the one after it: the environment takes so many callbacks and no
// more.
func (r *alertRun) await(now time.Time) {
	if len(r.events) == 0 {
		return
	}
	e := r.events[0]
	r.RegisterDelayedCallback(func() {
		r.events = r.events[1:]
		e.do()
		r.await(r.Now())
	}, opened.Add(e.at).Sub(now))
}

func (r *alertRun) at(d time.Duration, do func()) { r.events = append(r.events, event{d, do}) }

// position gives one that is later the larger n is; the alert was opened at 100.
func position(n int) fanwatch.Position {
	return fanwatch.Position{Shard: "s", Sequence: fanwatch.SequenceNumber(fmt.Sprint(n))}
}

func (r *alertRun) observe(kind fanwatch.Kind, why string, n int) {
	r.SignalWorkflow(SignalObserve, fanwatch.Observation{V: 1, Fan: "fan-07", Position: position(n),
		Anomaly: fanwatch.Anomaly{Kind: kind, Why: why}})
}

func (r *alertRun) normal() { r.observe(fanwatch.KindNone, "fan-07 is normal again.", 1000000) }

func (r *alertRun) ack() { r.SignalWorkflow(SignalAcknowledge, "ada") }

var withoutFan = regexp.MustCompile(`\[fanwatch\] ([A-Z]+ )?fan-07`)

// told fails unless exactly these messages went out, each so long after the opening.
func (r *alertRun) told(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for i, s := range r.mail.sent {
		got = append(got, fmt.Sprintf("%s %s", r.mail.at[i].Sub(opened).Round(time.Second),
			withoutFan.ReplaceAllString(s, "")))
	}
	slices.Sort(got) // those of one moment go out side by side
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("told:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// textOf gives the body of the newest message to the topic.
func (r *alertRun) textOf(topic string) string {
	text := ""
	for i, s := range r.mail.sent {
		if strings.HasPrefix(s, topic+" ") {
			text = r.mail.text[i]
		}
	}
	return text
}

func TestUnansweredAlertGoesThroughEveryStepAndEndsWhenTheFanIsNormal(t *testing.T) {
	r := newAlertRun(t)
	r.at(time.Hour, r.normal)
	a := r.run(t)
	r.told(t,
		"0s first : stall (step 1 of 2)",
		"1m0s first : stall (step 1 of 2)",
		"6m0s second : stall (step 2 of 2)",
		"6m0s boss : stall (step 2 of 2)",
		"1h1m0s first : stall is over",
		"1h1m0s second : stall is over",
		"1h1m0s boss : stall is over")
	if a.State != fanwatch.AlertResolved || a.AckedBy != "" || len(r.over) != 1 || r.over[0].ID != a.ID {
		t.Errorf("%+v; the fan was told %+v", a, r.over)
	}
	var landed fanwatch.Alert
	for o := range r.lake.List(t.Context(), "alerts/", "") {
		data, err := r.lake.Get(t.Context(), o.Key)
		if err != nil || json.Unmarshal(data, &landed) != nil {
			t.Fatalf("%s: %v", data, err)
		}
	}
	if landed.ID != a.ID || landed.State != fanwatch.AlertResolved || len(landed.Sent) != 7 {
		t.Errorf("landed %+v", landed)
	}
}

// TestAResolvedAlertKeepsWhyItWasOpened guards against an end that overwrote the reason, in the lists and in the
// lake for ever.
func TestAResolvedAlertKeepsWhyItWasOpened(t *testing.T) {
	r := newAlertRun(t)
	r.at(time.Minute+time.Second, r.normal)
	a := r.run(t)
	if a.Why != "fan-07 has stopped." || r.over[0].Why != a.Why || a.State != fanwatch.AlertResolved {
		t.Errorf("the alert says %q, the fan was told %q", a.Why, r.over[0].Why)
	}
	if last := r.mail.text[len(r.mail.text)-1]; !strings.HasPrefix(last,
		"fan-07 is normal again.\n\nIt was: fan-07 has stopped.\n") {
		t.Errorf("people were told %q", last)
	}
	for o := range r.lake.List(t.Context(), "alerts/", "") {
		if data, err := r.lake.Get(t.Context(), o.Key); err != nil ||
			!strings.Contains(string(data), `"why":"fan-07 has stopped."`) {
			t.Errorf("landed %s, %v", data, err)
		}
	}
}

func TestAcknowledgeStopsTheEscalation(t *testing.T) {
	var refused []string
	refuse := func(k fanwatch.Acknowledgement) func(*alertRun) {
		return func(r *alertRun) {
			r.UpdateWorkflow(UpdateAcknowledge, "", &testsuite.TestUpdateCallback{OnAccept: func() {},
				OnReject: func(err error) { refused = append(refused, err.Error()) }, OnComplete: func(any, error) {}}, k)
			r.SignalWorkflow(SignalAcknowledge, "ada")
		}
	}
	for _, c := range []struct {
		name string
		ack  func(*alertRun)
		by   string
	}{
		{"update that names nobody", refuse(fanwatch.Acknowledgement{By: " "}), "ada"},
		{"update that forges a row", refuse(fanwatch.Acknowledgement{By: "bob\nfan-08"}), "ada"},
		{"signal that forges a row", func(r *alertRun) {
			r.SignalWorkflow(SignalAcknowledge, fanwatch.Acknowledgement{By: "ada\nfan-08\x1b[2J", Note: strings.Repeat("n",
				5000)})
		}, "ada fan-08 [2J"},
		{"signal of a name that is cut inside a letter", func(r *alertRun) {
			r.SignalWorkflow(SignalAcknowledge,
				strings.Repeat("a", 99)+"\u00e9")
		}, strings.Repeat("a", 99)},
		{"signal that is nonsense", func(r *alertRun) {
			r.SignalWorkflow(SignalAcknowledge, 7)
			r.SignalWorkflow(SignalAcknowledge, " ")
		}, "somebody"},
		{"signal", func(r *alertRun) {
			r.SignalWorkflow(SignalAcknowledge, fanwatch.Acknowledgement{By: "ada", Note: "on my way"})
		}, "ada"},
		{"signal with a name alone", func(r *alertRun) { r.SignalWorkflow(SignalAcknowledge, "ada") }, "ada"},
		{"signal without input", func(r *alertRun) { r.SignalWorkflow(SignalAcknowledge, nil) }, "somebody"},
		{"update", func(r *alertRun) {
			r.UpdateWorkflow(UpdateAcknowledge, "", &testsuite.TestUpdateCallback{OnAccept: func() {},
				OnReject: func(err error) { panic(err) }, OnComplete: func(any, error) {}}, fanwatch.Acknowledgement{By: "ada"})
		}, "ada"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newAlertRun(t)
			r.at(2*time.Minute, func() { c.ack(r) })
			r.at(30*time.Minute, r.normal)
			a := r.run(t)
			r.told(t,
				"0s first : stall (step 1 of 2)",
				"1m0s first : stall (step 1 of 2)",
				"2m0s first : stall, acknowledged by "+c.by,
				"31m0s first : stall is over")
			if a.AckedBy != c.by || !a.AckedAt.Equal(opened.Add(2*time.Minute)) {
				t.Errorf("acknowledged by %q at %s", a.AckedBy, a.AckedAt)
			}
			if len(a.Note) > 1000 {
				t.Errorf("a note of %d bytes", len(a.Note))
			}
		})
	}
	if len(refused) != 2 || !strings.Contains(refused[0], "names nobody") ||
		!strings.Contains(refused[1], "control characters") {
		t.Errorf("refused %q", refused)
	}
}

// TestAnAlertThatIsOverIsNotAcknowledged: the lake is out of reach, so the workflow of the resolved alert runs on.
func TestAnAlertThatIsOverIsNotAcknowledged(t *testing.T) {
	r := newAlertRun(t)
	r.OnActivity("LandAlert", anything, anything).Return(errors.New("out of reach")).Times(5)
	r.at(time.Minute+time.Second, r.normal)
	var refused error
	r.at(2*time.Minute+10*time.Second, func() {
		r.UpdateWorkflow(UpdateAcknowledge, "", &testsuite.TestUpdateCallback{OnAccept: func() {},
			OnReject: func(err error) { refused = err }, OnComplete: func(any, error) {}}, fanwatch.Acknowledgement{By: "ada"})
	})
	r.OnActivity("LandAlert", anything, anything).Return(nil)
	var said *temporal.ApplicationError
	if a := r.run(t); !errors.As(refused, &said) || said.Type() != TypeEnded || a.AckedBy != "" {
		t.Errorf("answered %v; %+v", refused, a)
	}
}

func TestAnAcknowledgementThatRunsOutReopensTheAlert(t *testing.T) {
	r := newAlertRun(t)
	r.at(10*time.Second, func() { r.SignalWorkflow(SignalAcknowledge, "ada") })
	r.at(2*time.Hour, r.normal)
	r.run(t)
	r.told(t,
		"0s first : stall (step 1 of 2)",
		"10s first : stall, acknowledged by ada",
		"1h0m10s first : stall, ada has not ended it, it goes on",
		"1h0m10s second : stall (step 2 of 2)",
		"1h0m10s boss : stall (step 2 of 2)",
		"2h1m0s first : stall is over",
		"2h1m0s second : stall is over",
		"2h1m0s boss : stall is over")
}
