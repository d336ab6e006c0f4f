package workflows

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// listed is the boundary: the alerts that the control plane lists, by the time at which their workflows started.
type listed map[time.Time]fanwatch.Alert

func (l listed) AlertsBetween(_ context.Context, from, to time.Time) ([]fanwatch.Alert, error) {
	var out []fanwatch.Alert
	for at, a := range l {
		if !at.Before(from) && at.Before(to) {
			out = append(out, a)
		}
	}
	return out, nil
}

// TestInfoWakesNobodyAndIsMailedOnceInTheMorning: all looks since the morning before in one message for each topic,
// over or not, and none on a morning without any.
func TestInfoWakesNobodyAndIsMailedOnceInTheMorning(t *testing.T) {
	r := newAlertRun(t)
	r.at(12*time.Hour, r.normal)
	look, err := r.runOf(t, fanwatch.KindJitter, "fan-07 shakes more than usual.")
	if err != nil || look.Severity != fanwatch.SeverityInfo || look.EndedAt.IsZero() {
		t.Fatalf("%+v, %v", look, err)
	}
	r.told(t)

	open := look
	open.ID, open.Fan, open.EndedAt = AlertID("fan-08", fanwatch.KindDrift, opened), "fan-08", time.Time{}
	grave := look
	grave.ID, grave.Severity = "alert/fan-09/speed/x", fanwatch.SeverityWarning
	other := look
	other.ID, other.Policy = "alert/fan-10/drift/x", "quiet" // a policy that tells of none
	begin := time.Date(2026, 5, 28, 20, 0, 0, 0, time.UTC)
	alerts := listed{begin.Add(time.Hour): look, begin.Add(9 * time.Hour): open, begin.Add(2 * time.Hour): grave,
		begin.Add(3 * time.Hour): other, begin.Add(-time.Hour): grave}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet())
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartTime(begin)
	mail := &mailbox{keys: map[string]bool{}, now: env.Now}
	policies := func() map[string]fanwatch.Policy {
		p := twoSteps
		p.Info = &fanwatch.Morning{Notify: []string{"look", "boss"}, Zone: "Europe/Berlin"}
		return map[string]fanwatch.Policy{"default": p, "quiet": twoSteps}
	}
	env.RegisterActivity(&activities.Notifier{SNS: mail, Now: env.Now, Policies: policies})
	env.RegisterActivity(&activities.Digester{Policies: policies, Alerts: alerts})
	env.RegisterDelayedCallback(env.CancelWorkflow, 60*time.Hour)
	env.ExecuteWorkflow(Digest, DigestState{})
	var next *workflow.ContinueAsNewError
	in := DigestState{}
	if err := env.GetWorkflowError(); asContinue(err, &next) {
		if err := decode(next, &in); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(mail.sent, "\n"); len(mail.sent) != 2 || !strings.Contains(got,
		"look [fanwatch] 2 fans are worth a look") {
		t.Fatalf("sent %q", got)
	}
	if at := mail.at[0]; !at.Equal(time.Date(2026, 5, 29, 6, 0, 0, 0, time.UTC)) { // 08:00 in Berlin
		t.Errorf("sent at %s", at)
	}
	for _, want := range []string{"fan-07: jitter, since 2026-05-28T20:26:40Z, over at ", "fan-07 shakes more than usual.",
		"fan-08: jitter, since 2026-05-28T20:26:40Z\n"} {
		if !strings.Contains(mail.text[0], want) {
			t.Errorf("the message lacks %q:\n%s", want, mail.text[0])
		}
	}
	if !in.Through["default"].Equal(mail.at[0]) {
		t.Errorf("carried over: %+v", in)
	}
}

// TestALookThatTurnsToAPageEscalatesThen and not before.
func TestALookThatTurnsToAPageEscalatesThen(t *testing.T) {
	stops := func(r *alertRun) { r.observe(fanwatch.KindStall, "fan-07 has stopped.", 200) }
	for _, acknowledged := range []bool{false, true} {
		r := newAlertRun(t)
		if acknowledged {
			r.at(time.Hour, r.ack)
		}
		r.at(4*time.Hour, func() { stops(r) })
		r.at(4*time.Hour+3*time.Minute, r.normal)
		a, err := r.runOf(t, fanwatch.KindJitter, "fan-07 shakes more than usual.")
		if err != nil || a.Severity != fanwatch.SeverityCritical || a.Kind != fanwatch.KindStall ||
			a.Anomaly.Kind != fanwatch.KindStall {
			t.Errorf("%+v, %v", a, err)
		}
		r.told(t,
			"4h0m0s first : stall (step 1 of 2)",
			"4h1m0s first : stall (step 1 of 2)",
			"4h4m0s first : stall is over")
	}
}

// TestASpeedThatFallsFurtherIsGraver though its kind is the same: its severity was raised.
func TestASpeedThatFallsFurtherIsGraver(t *testing.T) {
	r := newAlertRun(t)
	send := func(severity fanwatch.Severity, n int) {
		r.SignalWorkflow(SignalObserve, fanwatch.Observation{V: 1, Fan: "fan-07", Position: position(n),
			Family: fanwatch.FamilySpeed, Anomaly: fanwatch.Anomaly{Kind: fanwatch.KindSpeed, Severity: severity,
				Expected: 1800, Value: 1600, Why: "slower"}})
	}
	r.at(time.Hour, func() { send(fanwatch.SeverityWarning, 200) })
	r.at(time.Hour+time.Second, func() { send(fanwatch.SeverityInfo, 201) }) // less grave: the rounds go on
	r.at(time.Hour+2*time.Minute, r.normal)
	a, err := r.runIn(t, AlertInput{Alert: fanwatch.Alert{ID: AlertID("fan-07", fanwatch.KindSpeed, opened),
		Fan: "fan-07", Kind: fanwatch.KindSpeed, Severity: fanwatch.SeverityInfo, Opened: opened, Why: "a little slower",
		Position: position(100), State: fanwatch.AlertOpen}}, opened)
	if err != nil || a.Severity != fanwatch.SeverityWarning || a.Anomaly.Expected != 1800 {
		t.Errorf("%+v, %v", a, err)
	}
	r.told(t, "1h0m0s first : speed (step 1 of 2)", "1h1m0s first : speed (step 1 of 2)", "1h3m0s first : speed is over")
}
