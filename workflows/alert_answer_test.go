package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// answer sends the update; refused has the error.
func (r *alertRun) answer(x fanwatch.Answer, refused *error) {
	r.UpdateWorkflow(UpdateAnswer, "", &testsuite.TestUpdateCallback{OnAccept: func() {},
		OnReject: func(err error) {
			if refused == nil {
				panic(err)
			}
			*refused = err
		}, OnComplete: func(any, error) {}}, x)
}

// took returns the actions of the alert's answers, with who and from where.
func took(a fanwatch.Alert) (all []string) {
	for _, x := range a.Answers {
		all = append(all, fmt.Sprintf("%s %s %s %s", x.At.Sub(opened), x.Action, x.By, x.From))
	}
	return all
}

func typeOf(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Type()
	}
	return ""
}

func TestUnacknowledgedForFiveMinutesReachesStepTwo(t *testing.T) {
	r := newAlertRun(t)
	r.policy = fanwatch.Policy{V: 1, Name: "default", Steps: []fanwatch.Step{{Notify: []string{"ada"}},
		{After: fanwatch.Duration(5 * time.Minute), Notify: []string{"bob", "ada", "bob"}}}}
	r.plan = func(_ activities.PlanInput, p *fanwatch.Policy) { p.Links.Runbook = "https://example.org/stall" }
	r.at(20*time.Minute, r.normal)
	r.run(t)
	r.told(t, "0s ada : stall (step 1 of 2)", "5m0s bob : stall (step 2 of 2)", "5m0s ada : stall (step 2 of 2)",
		"21m0s ada : stall is over", "21m0s bob : stall is over")
	first, second := r.sent[0].Message, r.sent[1].Message
	if first.Event != fanwatch.EventPage || len(first.Told) != 0 || len(first.Next) != 1 ||
		!first.Next[0].At.Equal(opened.Add(5*time.Minute)) || first.Steps != 2 || first.Links.Runbook == "" {
		t.Errorf("step one says %+v", first)
	}
	if !slices.Equal(second.Told, []string{"ada"}) || len(second.Next) != 0 {
		t.Errorf("step two says %+v", second)
	}
	if last := r.sent[len(r.sent)-1].Message; last.Event != fanwatch.EventOver {
		t.Errorf("the end says %+v", last)
	}
}

func TestAcknowledgedThenSilentForHalfAnHourTellsAgain(t *testing.T) {
	r := newAlertRun(t)
	r.policy.AckTimeout = fanwatch.Duration(30 * time.Minute)
	r.at(2*time.Minute, func() {
		r.answer(fanwatch.Answer{Action: fanwatch.ActionAcknowledge, By: "ada", From: "cli"}, nil)
	})
	r.at(50*time.Minute, r.normal)
	a := r.run(t)
	r.told(t,
		"0s first : stall (step 1 of 2)",
		"1m0s first : stall (step 1 of 2)",
		"2m0s first : stall, acknowledged by ada",
		"32m0s first : stall, ada has not ended it, it goes on",
		"32m0s second : stall (step 2 of 2)",
		"32m0s boss : stall (step 2 of 2)",
		"51m0s first : stall is over", "51m0s second : stall is over", "51m0s boss : stall is over")
	if got := took(a); !slices.Equal(got, []string{"2m0s acknowledge ada cli"}) || a.Round != 1 {
		t.Errorf("%q, round %d", got, a.Round)
	}
	events := map[fanwatch.Event]int{}
	for _, n := range r.sent {
		events[n.Message.Event]++
		if n.Message.Event == fanwatch.EventRepeat && n.Message.Repeat != 1 ||
			n.Message.Event == fanwatch.EventLapsed && n.Message.By != "ada" {
			t.Errorf("%+v", n.Message)
		}
	}
	if events[fanwatch.EventPage] != 1 || events[fanwatch.EventRepeat] != 1 || events[fanwatch.EventAcknowledged] != 1 ||
		events[fanwatch.EventLapsed] != 3 || events[fanwatch.EventOver] != 3 {
		t.Errorf("%v", events)
	}
}

// TestASnoozeEndsAtItsTime: also without an acknowledge time-out.
func TestASnoozeEndsAtItsTime(t *testing.T) {
	r := newAlertRun(t)
	r.policy.AckTimeout = 0
	r.at(30*time.Second, func() {
		r.answer(fanwatch.Answer{Action: fanwatch.ActionSnooze, By: "ada", Until: opened.Add(2 * time.Hour)}, nil)
	})
	var asleep fanwatch.Alert
	r.at(time.Hour, func() { asleep = r.status(t) })
	r.at(150*time.Minute, r.normal)
	a := r.run(t)
	r.told(t,
		"0s first : stall (step 1 of 2)",
		"30s first : stall, acknowledged by ada",
		"2h0m0s first : stall, ada has not ended it, it goes on",
		"2h0m0s second : stall (step 2 of 2)", "2h0m0s boss : stall (step 2 of 2)",
		"2h31m0s first : stall is over", "2h31m0s second : stall is over", "2h31m0s boss : stall is over")
	if !asleep.SnoozedUntil.Equal(opened.Add(2*time.Hour)) || asleep.State != fanwatch.AlertAcknowledged ||
		!a.SnoozedUntil.IsZero() {
		t.Errorf("asleep %+v, at the end %+v", asleep, a)
	}
	for _, n := range r.sent {
		if n.Message.Event == fanwatch.EventLapsed && !n.Alert.SnoozedUntil.Equal(opened.Add(2*time.Hour)) {
			t.Errorf("the lapse says %+v", n.Alert)
		}
	}
}

// TestHandedOverAndTakenOverIsToldOnce: each change of hands is told to those who were told; what changes nothing is
// not.
func TestHandedOverAndTakenOverIsToldOnce(t *testing.T) {
	r := newAlertRun(t)
	r.policy.AckTimeout = 0
	for i, x := range []fanwatch.Answer{
		{Action: fanwatch.ActionAcknowledge, By: "ada"},
		{Action: fanwatch.ActionAcknowledge, By: "ada", Note: "on my way"},
		{Action: fanwatch.ActionHand, By: "ada", To: "bob"},
		{Action: fanwatch.ActionNote, By: "eve", Note: "it smells"},
		{Action: fanwatch.ActionAcknowledge, By: "eve"},
	} {
		r.at(time.Duration(i+1)*10*time.Second, func() { r.answer(x, nil) })
	}
	r.at(30*time.Minute, r.normal)
	a := r.run(t)
	r.told(t,
		"0s first : stall (step 1 of 2)",
		"10s first : stall, acknowledged by ada",
		"30s first : stall, acknowledged by bob",
		"50s first : stall, acknowledged by eve",
		"31m0s first : stall is over")
	if len(a.Answers) != 5 || a.AckedBy != "eve" || a.Note != "" || a.Answers[1].Note != "on my way" {
		t.Errorf("%q, %+v", took(a), a)
	}
}

// TestGivenBackTheEscalationGoesOnAtOnce: at the step that was reached, and those behind it follow.
func TestGivenBackTheEscalationGoesOnAtOnce(t *testing.T) {
	r := newAlertRun(t)
	r.policy.Steps = slices.Clone(r.policy.Steps)
	r.policy.Steps[0].Repeat = 0
	var refused error
	r.at(10*time.Second, func() {
		r.answer(fanwatch.Answer{Action: fanwatch.ActionUnacknowledge, By: "ada"}, &refused)
	})
	r.at(20*time.Second, r.ack)
	r.at(30*time.Second, func() { r.answer(fanwatch.Answer{Action: fanwatch.ActionUnacknowledge, By: "ada"}, nil) })
	r.at(20*time.Minute, r.normal)
	r.run(t)
	r.told(t,
		"0s first : stall (step 1 of 2)",
		"20s first : stall, acknowledged by ada",
		"30s first : stall (step 1 of 2)",
		"5m30s second : stall (step 2 of 2)", "5m30s boss : stall (step 2 of 2)",
		"21m0s first : stall is over", "21m0s second : stall is over", "21m0s boss : stall is over")
	if refused == nil || !strings.Contains(refused.Error(), "not acknowledged") {
		t.Errorf("answered %v", refused)
	}
}

func TestResolvedByHandSaysByWhomAndWhy(t *testing.T) {
	r := newAlertRun(t)
	var nothing, late error
	r.at(10*time.Second, func() { r.answer(fanwatch.Answer{Action: fanwatch.ActionResolve, By: "ada"}, &nothing) })
	r.OnActivity("LandAlert", anything, anything).Return(errors.New("out of reach")).Times(3)
	r.at(20*time.Second, func() {
		r.answer(fanwatch.Answer{Action: fanwatch.ActionResolve, By: "ada", Note: "the rotor was changed"}, nil)
	})
	r.at(22*time.Second, func() {
		r.answer(fanwatch.Answer{Action: fanwatch.ActionNote, By: "ada", Note: "and oiled"}, &late)
	})
	r.OnActivity("LandAlert", anything, anything).Return(nil)
	a := r.run(t)
	r.told(t, "0s first : stall (step 1 of 2)", "20s first : the alert is over")
	if nothing == nil || !strings.Contains(nothing.Error(), "without a reason") || typeOf(late) != TypeEnded {
		t.Errorf("refused with %v, %v", nothing, late)
	}
	if a.EndedBy != "ada" || a.State != fanwatch.AlertResolved || r.over[0].EndedBy != "ada" ||
		!strings.HasPrefix(r.textOf("first"), "ada resolved it by hand: the rotor was changed") {
		t.Errorf("%+v, told %q", a, r.textOf("first"))
	}
}

func TestATokenCountsOnce(t *testing.T) {
	r := newAlertRun(t)
	r.policy.AckTimeout = 0
	x := fanwatch.Answer{Action: fanwatch.ActionAcknowledge, By: "ada", From: "link", Token: "abc"}
	var again, first error
	r.at(10*time.Second, func() { r.answer(x, nil) })
	r.at(20*time.Second, func() {
		r.SetContinueAsNewSuggested(true)
		r.observe(fanwatch.KindStall, "fan-07 has stopped again.", 200)
	})
	r.at(40*time.Second, func() { // in the next run
		x.By = "eve"
		r.answer(x, &again)
	})
	r.at(50*time.Second, func() { x.Token = "def"; r.answer(x, &first) })
	r.at(10*time.Minute, r.normal)
	a := r.run(t)
	if typeOf(again) != TypeUsed || first != nil || a.AckedBy != "eve" || r.runs != 2 {
		t.Errorf("the second time: %v, another: %v; %+v", again, first, a)
	}
	for _, x := range a.Answers {
		if x.Token != "" {
			t.Errorf("a token is shown: %+v", x)
		}
	}
}

// TestASignalOfTheTemporalWebUIIsUnderstood as far as it can be.
func TestASignalOfTheTemporalWebUIIsUnderstood(t *testing.T) {
	for name, c := range map[string]struct {
		signal any
		want   string
	}{
		"snooze": {fanwatch.Answer{Action: fanwatch.ActionSnooze, By: "ada", Until: opened.Add(time.Hour)},
			"snooze ada"},
		"snooze without a time":  {fanwatch.Answer{Action: fanwatch.ActionSnooze, By: "ada"}, "acknowledge ada"},
		"an action of no kind":   {map[string]string{"action": "ack", "by": "ada"}, "acknowledge ada"},
		"nothing":                {map[string]string{}, "acknowledge somebody"},
		"resolve without reason": {map[string]string{"action": "resolve", "by": "ada"}, "resolve ada"},
		"an empty note":          {map[string]string{"action": "note", "by": "ada"}, ""},
		"nothing to give back":   {map[string]string{"action": "unacknowledge", "by": "ada"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newAlertRun(t)
			r.at(10*time.Second, func() { r.SignalWorkflow(SignalAnswer, c.signal) })
			r.at(20*time.Minute, r.normal)
			a := r.run(t)
			got := ""
			for _, x := range a.Answers {
				got += fmt.Sprintf("%s %s", x.Action, x.By)
			}
			if got != c.want {
				t.Errorf("took %q, want %q", got, c.want)
			}
		})
	}
}

// TestNothingIsToldBeforeQuietHoursEnd: the turns wait, graver trouble is planned anew at once.
func TestNothingIsToldBeforeQuietHoursEnd(t *testing.T) {
	r := newAlertRun(t)
	morning := opened.Add(8 * time.Hour)
	r.plan = func(in activities.PlanInput, p *fanwatch.Policy) {
		if in.Alert.Weighed() != fanwatch.SeverityCritical && in.At.Before(morning) {
			p.NotBefore, p.Because = morning, "quiet hours until 06:26"
		}
	}
	var quiet fanwatch.Alert
	r.at(time.Hour, func() { quiet = r.status(t) })
	r.at(9*time.Hour, r.normal)
	if _, err := r.runOf(t, fanwatch.KindSpeed, warned); err != nil {
		t.Fatal(err)
	}
	r.told(t, "8h0m0s first : speed (step 1 of 2)", "8h1m0s first : speed (step 1 of 2)",
		"8h6m0s second : speed (step 2 of 2)", "8h6m0s boss : speed (step 2 of 2)",
		"9h1m0s first : speed is over", "9h1m0s second : speed is over", "9h1m0s boss : speed is over")
	if !quiet.NotBefore.Equal(morning) || quiet.Because != "quiet hours until 06:26" || quiet.Step != 0 {
		t.Errorf("shown as %+v", quiet)
	}
	if len(r.plans) > 6 {
		t.Errorf("%d plans", len(r.plans))
	}

	worse := newAlertRun(t)
	worse.plan = r.plan
	worse.at(time.Hour, func() { worse.observe(fanwatch.KindStall, "fan-07 has stopped.", 200) })
	worse.at(time.Hour+time.Minute+time.Second, worse.ack)
	worse.at(2*time.Hour, worse.normal)
	if _, err := worse.runOf(t, fanwatch.KindSpeed, warned); err != nil {
		t.Fatal(err)
	}
	worse.told(t, "1h0m0s first : stall (step 1 of 2)", "1h1m0s first : stall (step 1 of 2)",
		"1h1m1s first : stall, acknowledged by ada", "2h1m0s first : stall is over")
}

// TestAMaintenanceThatEndsEarlyLetsItsAlertsGoOn: the signal has them read their plan again at once.
func TestAMaintenanceThatEndsEarlyLetsItsAlertsGoOn(t *testing.T) {
	r := newAlertRun(t)
	over := opened.Add(8 * time.Hour)
	r.plan = func(in activities.PlanInput, p *fanwatch.Policy) {
		if in.At.Before(over) {
			p.NotBefore, p.Because = over, "maintenance until 06:26"
		}
	}
	r.at(time.Hour, func() {
		over = opened.Add(time.Hour)
		r.SignalWorkflow(SignalPlan, nil)
	})
	r.at(time.Hour+time.Second, r.ack)
	r.at(2*time.Hour, r.normal)
	if _, err := r.runOf(t, fanwatch.KindSpeed, warned); err != nil {
		t.Fatal(err)
	}
	r.told(t, "1h0m0s first : speed (step 1 of 2)", "1h0m1s first : speed, acknowledged by ada",
		"2h1m0s first : speed is over")
}

// TestAPolicySetsTheSeverity in place of the judge: what is made info wakes none, and graver trouble is looked at anew.
func TestAPolicySetsTheSeverity(t *testing.T) {
	r := newAlertRun(t)
	r.plan = func(in activities.PlanInput, p *fanwatch.Policy) {
		if in.Alert.Kind == fanwatch.KindSpeed {
			p.Severity = fanwatch.SeverityInfo
		}
	}
	var info fanwatch.Alert
	r.at(30*time.Minute, func() { r.observe(fanwatch.KindSpeed, "fan-07 is slower still.", 150) })
	r.at(time.Hour, func() { info = r.status(t) })
	r.at(2*time.Hour, func() { r.observe(fanwatch.KindStall, "fan-07 has stopped.", 200) })
	r.at(2*time.Hour+10*time.Second, r.ack)
	r.at(3*time.Hour-time.Second, r.normal)
	a, err := r.runOf(t, fanwatch.KindSpeed, warned)
	if err != nil {
		t.Fatal(err)
	}
	r.told(t, "2h0m0s first : stall (step 1 of 2)", "2h0m10s first : stall, acknowledged by ada",
		"3h0m59s first : stall is over")
	if info.Severity != fanwatch.SeverityInfo || a.Severity != fanwatch.SeverityCritical {
		t.Errorf("shown as %s, ended as %s", info.Severity, a.Severity)
	}
}

// TestAnIncidentTellsInThePlaceOfItsMembers: the member is quiet, signs off at its end, and goes on alone when the plan
// names the incident no more.
func TestAnIncidentTellsInThePlaceOfItsMembers(t *testing.T) {
	const incident = "incident/Hall A/1"
	newRun := func(until time.Duration, members *[]fanwatch.Member) *alertRun {
		r := newAlertRun(t)
		r.plan = func(in activities.PlanInput, p *fanwatch.Policy) {
			if in.At.Before(opened.Add(until)) {
				p.Incident = incident
			}
		}
		r.OnSignalExternalWorkflow("default-test-namespace", incident, "", SignalMemberOver, anything).Return(
			func(_, _, _, _ string, arg any) error {
				*members = append(*members, arg.(fanwatch.Member))
				return nil
			}).Maybe()
		return r
	}
	t.Run("to its end", func(t *testing.T) {
		var members []fanwatch.Member
		r := newRun(24*time.Hour, &members)
		var quiet fanwatch.Alert
		r.at(time.Hour, func() { quiet = r.status(t) })
		r.at(2*time.Hour, r.normal)
		a := r.run(t)
		r.told(t)
		if quiet.Incident != incident || len(members) != 1 || members[0].Alert != a.ID || members[0].Fan != "fan-07" ||
			members[0].Kind != fanwatch.KindStall || !members[0].Over.Equal(a.EndedAt) {
			t.Errorf("shown as %+v, signed off as %+v", quiet, members)
		}
	})
	t.Run("until it is gone", func(t *testing.T) {
		var members []fanwatch.Member
		r := newRun(time.Hour, &members)
		r.at(time.Hour+2*time.Minute, r.ack)
		r.at(90*time.Minute, r.normal)
		a := r.run(t)
		r.told(t, "1h0m0s first : stall (step 1 of 2)", "1h1m0s first : stall (step 1 of 2)",
			"1h2m0s first : stall, acknowledged by ada", "1h31m0s first : stall is over")
		if a.Incident != "" || len(members) != 0 {
			t.Errorf("%+v, %+v", a, members)
		}
	})
}

// TestARunOfTheThirdVersionGoesOnAsItDid: it asks for its policy alone, sends texts alone and takes acknowledge alone.
func TestARunOfTheThirdVersionGoesOnAsItDid(t *testing.T) {
	r := newAlertRun(t)
	for change, v := range map[string]workflow.Version{changeAlert2: 1, changeAlert3: 1} {
		r.OnGetVersion(change, workflow.DefaultVersion, workflow.Version(1)).Return(v)
	}
	r.OnGetVersion(changeAlert4, workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	var refused error
	r.at(10*time.Second, func() {
		r.answer(fanwatch.Answer{Action: fanwatch.ActionSnooze, By: "ada", Until: opened.Add(time.Hour)}, &refused)
	})
	r.at(20*time.Second, func() { r.answer(fanwatch.Answer{Action: fanwatch.ActionAcknowledge, By: "ada"}, nil) })
	r.at(10*time.Minute, r.normal)
	a := r.run(t)
	r.told(t, "0s first : stall (step 1 of 2)", "11m0s first : stall is over")
	if refused == nil || !strings.Contains(refused.Error(), "acknowledge alone") || a.AckedBy != "ada" ||
		len(r.plans) != 0 || r.sent[0].Message.Event != "" {
		t.Errorf("refused with %v, %d plans, %+v", refused, len(r.plans), a)
	}
}
