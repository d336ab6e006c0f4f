package workflows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/lake"
)

// mailbox is the boundary: it keeps what people were sent.
type mailbox struct {
	sent []string // "topic subject", in order
	text []string // their bodies
	keys map[string]bool
	fail int // the next so many fail
	now  func() time.Time
	at   []time.Time
}

func (m *mailbox) Publish(_ context.Context, topic, subject, body, key string, _ map[string]string) error {
	if m.fail > 0 {
		m.fail--
		return fmt.Errorf("the topic is out of reach")
	}
	if m.keys[key] {
		return nil
	}
	m.keys[key] = true
	m.sent, m.text = append(m.sent, topic+" "+subject), append(m.text, body)
	m.at = append(m.at, m.now())
	return nil
}

var twoSteps = fanwatch.Policy{V: 1, Name: "default", AckTimeout: fanwatch.Duration(time.Hour), Steps: []fanwatch.Step{
	{Notify: []string{"first"}, Repeat: 1, Every: fanwatch.Duration(time.Minute)},
	{After: fanwatch.Duration(5 * time.Minute), Notify: []string{"second", "boss"}},
}}

type alertRun struct {
	*testsuite.TestWorkflowEnvironment
	mail *mailbox
	lake *lake.Dir
	over fanwatch.Alert // what the fan's workflow was told
}

func newAlertRun(t *testing.T) *alertRun {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet())
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(30 * time.Second)
	r := &alertRun{TestWorkflowEnvironment: env, mail: &mailbox{keys: map[string]bool{}, now: env.Now}}
	var err error
	if r.lake, err = lake.OpenDir(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	env.RegisterWorkflow(Alert)
	env.RegisterActivity(&activities.Lake{Store: r.lake})
	env.RegisterActivity(&activities.Notifier{SNS: r.mail, Policies: map[string]fanwatch.Policy{"default": twoSteps}, Now: env.Now})
	env.OnSignalExternalWorkflow("default-test-namespace", "fan/fan-07", "", SignalAlertOver, anything).Return(
		func(_, _, _, _ string, arg any) error { r.over = arg.(fanwatch.Alert); return nil }).Maybe()
	return r
}

var opened = time.Date(2026, 5, 28, 20, 26, 40, 0, time.UTC)

func (r *alertRun) run(t *testing.T) fanwatch.Alert {
	t.Helper()
	in := AlertInput{Alert: fanwatch.Alert{V: 1, ID: AlertID("fan-07", fanwatch.Stall, opened), Fan: "fan-07", Kind: fanwatch.Stall,
		Opened: opened, Why: "fan-07 has stopped.", State: fanwatch.Open}}
	r.SetStartTime(opened)
	r.ExecuteWorkflow(Alert, in)
	if err := r.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	var a fanwatch.Alert
	if err := r.GetWorkflowResult(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *alertRun) at(d time.Duration, do func()) { r.RegisterDelayedCallback(do, d) }

func (r *alertRun) well() {
	r.SignalWorkflow(SignalResolve, fanwatch.Observation{V: 1, Fan: "fan-07", Anomaly: fanwatch.Anomaly{Why: "fan-07 is well again."}})
}

// told fails unless exactly these messages went out, each so long after the opening.
func (r *alertRun) told(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for i, s := range r.mail.sent {
		got = append(got, fmt.Sprintf("%s %s", r.mail.at[i].Sub(opened).Round(time.Second), strings.ReplaceAll(s, "[fanwatch] fan-07", "")))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("told:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestUnansweredAlertGoesThroughEveryStepAndEndsWhenTheFanIsWell(t *testing.T) {
	r := newAlertRun(t)
	r.at(time.Hour, r.well)
	a := r.run(t)
	r.told(t,
		"0s first : stall (step 1 of 2)",
		"1m0s first : stall (step 1 of 2)",
		"6m0s second : stall (step 2 of 2)",
		"6m0s boss : stall (step 2 of 2)",
		"1h0m0s first  is well again",
		"1h0m0s second  is well again",
		"1h0m0s boss  is well again")
	if a.State != fanwatch.Resolved || a.AckedBy != "" || r.over.ID != a.ID {
		t.Errorf("%+v; the fan was told %+v", a, r.over)
	}
	var landed fanwatch.Alert
	for o := range r.lake.List(t.Context(), "alerts/", "") {
		data, err := r.lake.Get(t.Context(), o.Key)
		if err != nil || json.Unmarshal(data, &landed) != nil {
			t.Fatalf("%s: %v", data, err)
		}
	}
	if landed.ID != a.ID || landed.State != fanwatch.Resolved || len(landed.Told) != 4 {
		t.Errorf("landed %+v", landed)
	}
}

// TestAResolvedAlertKeepsWhyItWasOpened guards against an end that overwrote the reason, in the lists and in the
// lake for ever.
func TestAResolvedAlertKeepsWhyItWasOpened(t *testing.T) {
	r := newAlertRun(t)
	r.at(time.Minute+time.Second, r.well)
	a := r.run(t)
	if a.Why != "fan-07 has stopped." || r.over.Why != a.Why || a.State != fanwatch.Resolved {
		t.Errorf("the alert says %q, the fan was told %q", a.Why, r.over.Why)
	}
	if last := r.mail.text[len(r.mail.text)-1]; !strings.HasPrefix(last, "fan-07 is well again.\n\nIt was: fan-07 has stopped.\n") {
		t.Errorf("people were told %q", last)
	}
	for o := range r.lake.List(t.Context(), "alerts/", "") {
		if data, err := r.lake.Get(t.Context(), o.Key); err != nil || !strings.Contains(string(data), `"why":"fan-07 has stopped."`) {
			t.Errorf("landed %s, %v", data, err)
		}
	}
}

func TestAcknowledgeStopsTheEscalation(t *testing.T) {
	var refused []string
	refuse := func(k Acknowledgement) func(*alertRun) {
		return func(r *alertRun) {
			r.UpdateWorkflow(UpdateAcknowledge, "", &testsuite.TestUpdateCallback{OnAccept: func() {}, OnReject: func(err error) { refused = append(refused, err.Error()) }, OnComplete: func(any, error) {}}, k)
			r.SignalWorkflow(SignalAcknowledge, "ada")
		}
	}
	for _, c := range []struct {
		name string
		ack  func(*alertRun)
		by   string
	}{
		{"update that names nobody", refuse(Acknowledgement{By: " "}), "ada"},
		{"update that forges a row", refuse(Acknowledgement{By: "bob\nfan-08"}), "ada"},
		{"signal that forges a row", func(r *alertRun) {
			r.SignalWorkflow(SignalAcknowledge, Acknowledgement{By: "ada\nfan-08\x1b[2J", Note: strings.Repeat("n", 5000)})
		}, "ada fan-08 [2J"},
		{"signal of a name that is cut inside a letter", func(r *alertRun) { r.SignalWorkflow(SignalAcknowledge, strings.Repeat("a", 99)+"\u00e9") }, strings.Repeat("a", 99)},
		{"signal that is nonsense", func(r *alertRun) {
			r.SignalWorkflow(SignalAcknowledge, 7)
			r.SignalWorkflow(SignalAcknowledge, " ")
		}, "somebody"},
		{"signal", func(r *alertRun) { r.SignalWorkflow(SignalAcknowledge, Acknowledgement{By: "ada", Note: "on my way"}) }, "ada"},
		{"signal with a name alone", func(r *alertRun) { r.SignalWorkflow(SignalAcknowledge, "ada") }, "ada"},
		{"signal without input", func(r *alertRun) { r.SignalWorkflow(SignalAcknowledge, nil) }, "somebody"},
		{"update", func(r *alertRun) {
			r.UpdateWorkflow(UpdateAcknowledge, "", &testsuite.TestUpdateCallback{OnAccept: func() {}, OnReject: func(err error) { panic(err) }, OnComplete: func(any, error) {}}, Acknowledgement{By: "ada"})
		}, "ada"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newAlertRun(t)
			r.at(2*time.Minute, func() { c.ack(r) })
			r.at(30*time.Minute, r.well)
			a := r.run(t)
			r.told(t,
				"0s first : stall (step 1 of 2)",
				"1m0s first : stall (step 1 of 2)",
				"30m0s first  is well again")
			if a.AckedBy != c.by || !a.AckedAt.Equal(opened.Add(2*time.Minute)) {
				t.Errorf("acknowledged by %q at %s", a.AckedBy, a.AckedAt)
			}
			if len(a.Note) > maxNote {
				t.Errorf("a note of %d bytes", len(a.Note))
			}
		})
	}
	if len(refused) != 2 || !strings.Contains(refused[0], "names nobody") || !strings.Contains(refused[1], "control characters") {
		t.Errorf("refused %q", refused)
	}
}

// TestAnAlertThatIsOverIsNotAcknowledged: the lake is out of reach, so the workflow of the resolved alert runs on.
func TestAnAlertThatIsOverIsNotAcknowledged(t *testing.T) {
	r := newAlertRun(t)
	r.OnActivity("LandAlert", anything, anything).Return(errors.New("out of reach")).Times(5)
	r.at(time.Minute+time.Second, r.well)
	var refused error
	r.at(time.Minute+10*time.Second, func() {
		r.UpdateWorkflow(UpdateAcknowledge, "", &testsuite.TestUpdateCallback{OnAccept: func() {}, OnReject: func(err error) { refused = err }, OnComplete: func(any, error) {}}, Acknowledgement{By: "ada"})
	})
	r.OnActivity("LandAlert", anything, anything).Return(nil)
	var said *temporal.ApplicationError
	if a := r.run(t); !errors.As(refused, &said) || said.Type() != typeEnded || a.AckedBy != "" {
		t.Errorf("answered %v; %+v", refused, a)
	}
}

func TestAcknowledgementLapses(t *testing.T) {
	r := newAlertRun(t)
	r.at(10*time.Second, func() { r.SignalWorkflow(SignalAcknowledge, "ada") })
	r.at(2*time.Hour, r.well)
	r.run(t)
	r.told(t,
		"0s first : stall (step 1 of 2)",
		"1h0m10s second : stall (step 2 of 2)",
		"1h0m10s boss : stall (step 2 of 2)",
		"2h0m0s first  is well again",
		"2h0m0s second  is well again",
		"2h0m0s boss  is well again")
}

func TestNobodyIsSkippedWhileTheTopicIsOutOfReach(t *testing.T) {
	r := newAlertRun(t)
	r.mail.fail = 3
	r.at(time.Hour, r.well)
	r.run(t)
	if len(r.mail.sent) != 7 {
		r.told(t, "7 messages")
	}
}

func TestRelapseBeforeTheEndKeepsTheAlertOpen(t *testing.T) {
	r := newAlertRun(t)
	r.at(10*time.Second, func() {
		r.SignalWorkflow(SignalObserve, fanwatch.Observation{V: 1, Anomaly: fanwatch.Anomaly{Kind: fanwatch.Silent, Why: "fan-07 is silent."}})
	})
	r.at(time.Hour, r.well)
	a := r.run(t)
	if a.Kind != fanwatch.Silent || a.State != fanwatch.Resolved {
		t.Errorf("%+v", a)
	}
}
