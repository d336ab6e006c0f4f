package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
)

const warned = "fan-07 behaves unusually."

// TestGraverTroubleBeginsAnew is the ordinary course of a bearing: warned in the evening, seized at night.
func TestGraverTroubleBeginsAnew(t *testing.T) {
	stops := func(r *alertRun) { r.observe(fanwatch.KindStall, "fan-07 has stopped.", 200) }
	t.Run("after an acknowledgement", func(t *testing.T) {
		r := newAlertRun(t)
		r.policy.AckTimeout = 0
		r.at(30*time.Second, r.ack)
		r.at(4*time.Hour, func() { stops(r) })
		r.at(12*time.Hour, r.normal)
		a, err := r.runOf(t, fanwatch.KindSpeed, warned)
		if err != nil {
			t.Fatal(err)
		}
		r.told(t,
			"0s first : speed (step 1 of 2)",
			"30s first : speed, acknowledged by ada",
			"4h0m0s first : stall (step 1 of 2)",
			"4h1m0s first : stall (step 1 of 2)",
			"4h6m0s second : stall (step 2 of 2)",
			"4h6m0s boss : stall (step 2 of 2)",
			"12h1m0s first : stall is over",
			"12h1m0s second : stall is over",
			"12h1m0s boss : stall is over")
		if a.Round != 1 || a.AckedBy != "" || a.Kind != fanwatch.KindStall || a.Why != "fan-07 has stopped." {
			t.Errorf("%+v", a)
		}
		if text := r.textOf("boss"); !strings.Contains(text, "ada acknowledged before at 2026-05-28T20:27:10Z.") {
			t.Errorf("boss was told %q", text)
		}
	})
	t.Run("after the last step", func(t *testing.T) {
		r := newAlertRun(t)
		r.at(4*time.Hour, func() { stops(r) })
		r.at(4*time.Hour+time.Minute, r.ack)
		r.at(4*time.Hour+10*time.Minute, r.normal)
		if _, err := r.runOf(t, fanwatch.KindSpeed, warned); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(r.mail.sent, "first [fanwatch] CRITICAL fan-07: stall (step 1 of 2)") {
			r.told(t, "stall (step 1 of 2)")
		}
	})
	t.Run("and less grave trouble does not", func(t *testing.T) {
		r := newAlertRun(t)
		r.at(30*time.Second, r.ack)
		r.at(10*time.Minute, func() { r.observe(fanwatch.KindUnderspeed, "fan-07 turns too slowly.", 200) })
		var seen fanwatch.Alert
		r.at(11*time.Minute, func() { seen = r.status(t) })
		r.at(12*time.Minute, r.normal)
		a := r.run(t)
		r.told(t, "0s first : stall (step 1 of 2)", "30s first : stall, acknowledged by ada", "13m0s first : stall is over")
		if seen.Kind != fanwatch.KindStall || seen.Why != "fan-07 turns too slowly. Before: fan-07 has stopped." ||
			seen.AckedBy != "ada" {
			t.Errorf("shown as %+v", seen)
		}
		if a.Kind != fanwatch.KindStall || a.Why != "fan-07 has stopped." {
			t.Errorf("ended as %+v", a)
		}
	})
}

func (r *alertRun) status(t *testing.T) (a fanwatch.Alert) {
	t.Helper()
	v, err := r.QueryWorkflow(QueryStatus)
	if err == nil {
		err = v.Get(&a)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// deadTopic is a policy whose topic on-call does not exist.
func deadTopic(r *alertRun) {
	r.policy = fanwatch.Policy{V: 1, Name: "default", AckTimeout: fanwatch.Duration(time.Hour), Steps: []fanwatch.Step{
		{Notify: []string{"on-call", "boss"}},
		{After: fanwatch.Duration(5 * time.Minute), Notify: []string{"lead"}}}}
	r.mail.down["on-call"] = errNoTopic
}

func TestADeadTopicKeepsNothingFromTheOthers(t *testing.T) {
	r := newAlertRun(t)
	deadTopic(r)
	var open, acked fanwatch.Alert
	r.at(time.Minute, func() { open = r.status(t) })
	r.at(2*time.Minute, r.ack)
	r.at(3*time.Minute, func() { acked = r.status(t) })
	r.at(10*time.Minute, r.normal)
	a := r.run(t)
	r.told(t,
		"0s boss : stall (step 1 of 2)",
		"0s lead : stall (step 2 of 2)", // its turn was in 5 minutes: the failure hastens it
		"2m0s boss : stall, acknowledged by ada",
		"2m0s lead : stall, acknowledged by ada",
		"11m0s boss : stall is over",
		"11m0s lead : stall is over")
	if len(open.Failed) != 1 || open.Failed[0].To != "on-call" || !strings.Contains(open.Failed[0].Why,
		"Topic does not exist") {
		t.Errorf("the alert shows the failures %+v", open.Failed)
	}
	if acked.State != fanwatch.AlertAcknowledged || a.State != fanwatch.AlertResolved || a.Notices != 6 {
		t.Errorf("acknowledged as %+v, ended as %+v", acked, a)
	}
	if text := r.textOf("boss"); !strings.Contains(text, "Could not be told: on-call: sns: NotFound: Topic does "+
		"not exist") || !strings.Contains(text, "Acknowledged by ada") {
		t.Errorf("boss was told %q", text)
	}
}

// TestATopicThatDoesNotAnswerHoldsUpNoStep: it is not refused but tried again and again.
func TestATopicThatDoesNotAnswerHoldsUpNoStep(t *testing.T) {
	r := newAlertRun(t)
	deadTopic(r)
	r.policy.Steps[1].After = fanwatch.Duration(time.Minute)
	r.mail.down["on-call"] = errAway
	r.at(2*time.Hour, r.normal)
	a := r.run(t)
	r.told(t,
		"0s boss : stall (step 1 of 2)",
		"1m0s lead : stall (step 2 of 2)",
		"2h1m0s boss : stall is over",
		"2h1m0s lead : stall is over")
	if len(a.Failed) != 1 || a.Failed[0].To != "on-call" {
		t.Errorf("%+v", a)
	}
}

func TestATopicThatComesBackHearsWhileTheAlertIsOpen(t *testing.T) {
	r := newAlertRun(t)
	deadTopic(r)
	r.at(25*time.Minute, func() { r.mail.set("on-call", nil) })
	r.at(2*time.Hour, r.normal)
	a := r.run(t)
	r.told(t,
		"0s boss : stall (step 1 of 2)",
		"0s lead : stall (step 2 of 2)",
		"30m0s on-call : stall (step 1 of 2)",
		"2h1m0s on-call : stall is over",
		"2h1m0s boss : stall is over",
		"2h1m0s lead : stall is over")
	if len(a.Failed) != 0 {
		t.Errorf("failures that are mended: %+v", a.Failed)
	}
}

func TestWhoAcknowledgedIsNotPagedAfterwards(t *testing.T) {
	for name, end := range map[string]func(*alertRun){
		"acknowledged": (*alertRun).ack,
		"normal again": (*alertRun).normal,
	} {
		t.Run(name, func(t *testing.T) {
			r := newAlertRun(t)
			deadTopic(r)
			r.mail.down["on-call"] = errAway
			r.at(40*time.Second, func() { end(r) })
			r.at(50*time.Second, func() { r.mail.set("on-call", nil) })
			r.at(30*time.Minute, r.normal)
			r.run(t)
			for _, s := range r.mail.sent {
				if strings.HasPrefix(s, "on-call") {
					r.told(t, "nothing to on-call")
				}
			}
		})
	}
}

// TestAnAlertEndsWhateverATopicDoes: a topic that was told dies before the end.
func TestAnAlertEndsWhateverATopicDoes(t *testing.T) {
	for name, why := range map[string]error{"it is gone": errNoTopic, "it does not answer": errAway} {
		t.Run(name, func(t *testing.T) {
			r := newAlertRun(t)
			r.at(7*time.Minute, func() { r.mail.set("first", why) })
			r.at(10*time.Minute, r.normal)
			a := r.run(t)
			if len(r.over) != 1 || r.overAt.Sub(opened) != 11*time.Minute {
				t.Errorf("the fan heard of the end %s after the opening", r.overAt.Sub(opened))
			}
			if len(a.Failed) != 1 || a.Failed[0].To != "first" ||
				!slices.Contains(r.mail.sent, "boss [fanwatch] fan-07: stall is over") {
				t.Errorf("%+v; sent %q", a, r.mail.sent)
			}
		})
	}
}

func TestAnAlertEndsThoughTheLakeIsGone(t *testing.T) {
	r := newAlertRun(t)
	r.OnActivity("LandAlert", anything, anything).Return(errors.New("AccessDenied"))
	r.at(time.Minute, r.normal)
	a := r.run(t)
	if a.State != fanwatch.AlertResolved || len(a.Failed) != 1 || a.Failed[0].To != "the lake" ||
		!strings.Contains(a.Failed[0].Why, "AccessDenied") {
		t.Errorf("%+v", a)
	}
}

// TestTroubleWhileAnAlertClosesIsTheFans: the fan hears of the end first, so the alert need not take what comes after.
func TestTroubleWhileAnAlertClosesIsTheFans(t *testing.T) {
	r := newAlertRun(t)
	r.at(7*time.Minute, func() { r.mail.set("first", errAway) }) // so that the close takes a while
	r.at(10*time.Minute, r.normal)
	r.at(11*time.Minute+5*time.Second, func() {
		if len(r.over) != 1 {
			t.Errorf("the fan does not know yet that the alert is over")
		}
		r.observe(fanwatch.KindStall, "fan-07 has stopped.", 2000000)
	})
	a := r.run(t)
	if a.State != fanwatch.AlertResolved || len(r.over) != 1 {
		t.Errorf("%+v, the fan heard %d times", a, len(r.over))
	}
	if last := r.mail.sent[len(r.mail.sent)-1]; !strings.Contains(last, "stall is over") {
		t.Errorf("the last message is %q", last)
	}
}

func TestAMendedPolicyReachesARunningAlert(t *testing.T) {
	t.Run("at its next step", func(t *testing.T) {
		r := newAlertRun(t)
		r.at(2*time.Minute, func() {
			r.policy.Steps = slices.Clone(r.policy.Steps)
			r.policy.Steps[1].Notify = []string{"night-shift"}
		})
		r.at(time.Hour, r.normal)
		r.run(t)
		r.told(t,
			"0s first : stall (step 1 of 2)",
			"1m0s first : stall (step 1 of 2)",
			"6m0s night-shift : stall (step 2 of 2)",
			"1h1m0s first : stall is over",
			"1h1m0s night-shift : stall is over")
	})
	t.Run("in the place of a topic that failed", func(t *testing.T) {
		r := newAlertRun(t)
		deadTopic(r)
		r.at(2*time.Minute, func() {
			r.policy.Steps = slices.Clone(r.policy.Steps)
			r.policy.Steps[0].Notify = []string{"oncall", "boss"}
		})
		r.at(time.Hour, r.normal)
		a := r.run(t)
		r.told(t,
			"0s boss : stall (step 1 of 2)",
			"0s lead : stall (step 2 of 2)",
			"10m0s oncall : stall (step 1 of 2)",
			"1h1m0s oncall : stall is over",
			"1h1m0s boss : stall is over",
			"1h1m0s lead : stall is over")
		if len(a.Failed) != 0 {
			t.Errorf("%+v", a.Failed)
		}
	})
	t.Run("with fewer steps", func(t *testing.T) {
		r := newAlertRun(t)
		r.at(2*time.Minute, func() { r.policy.Steps = r.policy.Steps[:1] })
		r.at(8*time.Minute, r.ack)
		r.at(3*time.Hour, r.normal)
		a := r.run(t)
		r.told(t,
			"0s first : stall (step 1 of 2)",
			"1m0s first : stall (step 1 of 2)",
			"8m0s first : stall, acknowledged by ada",
			"1h8m0s first : stall (step 1 of 1)", // the acknowledgement ran out
			"1h9m0s first : stall (step 1 of 1)",
			"3h1m0s first : stall is over")
		if a.Steps != 1 || a.Step != 1 {
			t.Errorf("%+v", a)
		}
	})
	t.Run("though it cannot be read for a while", func(t *testing.T) {
		r := newAlertRun(t)
		r.OnActivity("Plan", anything, anything).Return(fanwatch.Policy{},
			temporal.NewNonRetryableApplicationError("no policy", "NoPolicy", nil)).Times(3)
		r.OnActivity("Plan", anything, anything).Return(twoSteps, nil)
		r.at(time.Hour, r.normal)
		r.run(t)
		if len(r.mail.at) == 0 || r.mail.at[0].Sub(opened) != 3*time.Minute {
			r.told(t, "the first after 3 minutes")
		}
	})
}

// TestSignalsThatWaitedTogetherCountByTheirPositions: signals that waited together, as after a restart of the
// workers, count by their positions.
func TestSignalsThatWaitedTogetherCountByTheirPositions(t *testing.T) {
	resolve := func(r *alertRun, n int) {
		r.SignalWorkflow(SignalResolve, fanwatch.Observation{V: 1, Fan: "fan-07", Position: position(n),
			Anomaly: fanwatch.Anomaly{Why: "fan-07 is normal again."}})
	}
	for name, c := range map[string]struct {
		signals func(*alertRun)
		ends    bool
	}{
		"trouble, then the end": {func(r *alertRun) {
			r.observe(fanwatch.KindStall, "stall", 200)
			resolve(r,
				300)
		}, true},
		"the end, then trouble": {func(r *alertRun) {
			resolve(r, 200)
			r.observe(fanwatch.KindStall, "stall",
				300)
		}, false},
		"trouble, then normal": {func(r *alertRun) {
			r.observe(fanwatch.KindStall, "stall", 200)
			r.observe("",
				"well", 300)
		}, true},
		"normal, then old trouble": {func(r *alertRun) {
			r.observe("", "well", 300)
			r.observe(fanwatch.KindStall,
				"stall", 200)
		}, true},
		"old normal": {func(r *alertRun) { r.observe("", "well", 50) }, false},
		"the end of a fan that was retired": {func(r *alertRun) {
			r.SignalWorkflow(SignalResolve,
				fanwatch.Observation{V: 1})
		}, true},
		"normal without positions": {func(r *alertRun) {
			r.SignalWorkflow(SignalObserve, fanwatch.Observation{V: 1, Anomaly: fanwatch.Anomaly{Why: "normal"}})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newAlertRun(t)
			// while it is asked for, signals wait
			r.OnActivity("Plan", anything, anything).After(10*time.Second).Return(twoSteps, nil)
			r.at(5*time.Second, func() { c.signals(r) })
			r.at(30*time.Minute, r.normal)
			a := r.run(t)
			if early := a.EndedAt.Before(opened.Add(10 * time.Minute)); early != c.ends {
				t.Errorf("ended at %s", a.EndedAt.Sub(opened))
			}
		})
	}
}

func TestTroubleThatReturnsWithinTheHoldGoesOnAtTheStepReached(t *testing.T) {
	r := newAlertRun(t)
	r.at(50*time.Second, func() { r.observe("", "fan-07 is normal again.", 200) })
	var held, back fanwatch.Alert
	r.at(70*time.Second, func() { held = r.status(t) }) // the repeat was due at 60 s
	r.at(80*time.Second, func() { r.observe(fanwatch.KindStall, "fan-07 has stopped.", 300) })
	r.at(81*time.Second, func() { back = r.status(t) })
	r.at(20*time.Minute, r.normal)
	a := r.run(t)
	r.told(t,
		"0s first : stall (step 1 of 2)",
		"1m20s first : stall (step 1 of 2)",
		"6m20s second : stall (step 2 of 2)",
		"6m20s boss : stall (step 2 of 2)",
		"21m0s first : stall is over",
		"21m0s second : stall is over",
		"21m0s boss : stall is over")
	if !held.NormalFrom.Equal(opened.Add(50*time.Second)) || held.State != fanwatch.AlertOpen {
		t.Errorf("held as %+v", held)
	}
	if !back.NormalFrom.IsZero() || back.Returns != 1 || a.Returns != 1 || len(r.over) != 1 {
		t.Errorf("back as %+v, ended as %+v", back, a)
	}
	if want := "Since: 2026-05-28T20:26:40Z\nUntil: 2026-05-28T20:46:40Z, 20m0s in all\n"; !strings.Contains(
		r.textOf("boss"), want) {
		t.Errorf("boss was told %q", r.textOf("boss"))
	}
}

// TestFlappingIsOneAlertAndAHandfulOfMessages: 10 s stalled, 30 s running, for 8 hours, which was 720 alerts and
// 1,440 mails.
func TestFlappingIsOneAlertAndAHandfulOfMessages(t *testing.T) {
	r := newAlertRun(t)
	n := 200
	for d := 10 * time.Second; d < 8*time.Hour; d += 40 * time.Second {
		n += 2
		first, second := n, n+1
		r.at(d, func() { r.observe("", "fan-07 is normal again.", first) })
		r.at(d+30*time.Second, func() { r.observe(fanwatch.KindStall, "fan-07 has stopped.", second) })
	}
	r.at(8*time.Hour+time.Minute, r.normal)
	a := r.run(t)
	if len(r.over) != 1 || a.Returns != 720 {
		t.Errorf("%d ends, %+v", len(r.over), a)
	}
	if len(r.mail.sent) > 10 {
		r.told(t, "a handful")
	}
	flaps := 0
	for i, s := range r.mail.sent {
		if strings.Contains(s, "comes and goes") {
			flaps++
			if !strings.Contains(r.mail.text[i], "fan-07 comes and goes: 3 times since 2026-05-28T20:26:40Z.") {
				t.Errorf("told %q", r.mail.text[i])
			}
		}
	}
	if flaps != 1 {
		t.Errorf("flapping was said %d times: %q", flaps, r.mail.sent)
	}
	t.Logf("%d messages in 8 hours", len(r.mail.sent))
}

// TestResolveEndsWithoutHold: it comes from a fan that is retired, which is not normal for that.
func TestResolveEndsWithoutHold(t *testing.T) {
	r := newAlertRun(t)
	r.at(30*time.Second, func() {
		r.SignalWorkflow(SignalResolve, fanwatch.Observation{V: 1, Anomaly: fanwatch.Anomaly{Why: "fan-07 is retired."}})
	})
	a := r.run(t)
	r.told(t, "0s first : stall (step 1 of 2)", "30s first : the alert is over")
	if !a.EndedAt.Equal(opened.Add(30*time.Second)) || !strings.HasPrefix(r.textOf("first"),
		"fan-07 is retired.\n\nIt was: fan-07 has stopped.\n") {
		t.Errorf("%+v; told %q", a, r.textOf("first"))
	}
}

// TestAnAlertOfTwoThousandNotificationsEndsWhole: its history was ended by Temporal at 840 of 2,020.
func TestAnAlertOfTwoThousandNotificationsEndsWhole(t *testing.T) {
	r := newAlertRun(t)
	step := fanwatch.Step{Repeat: 100, Every: fanwatch.Duration(time.Minute)}
	for i := range 20 {
		step.Notify = append(step.Notify, fmt.Sprintf("topic-%02d", i))
	}
	r.policy = fanwatch.Policy{V: 1, Name: "default", Steps: []fanwatch.Step{step}}
	r.at(3*time.Hour, r.normal)
	a := r.run(t)
	if len(r.mail.sent) != 2040 || a.Notices != 2040 || len(a.Sent) != fanwatch.MaxNotices ||
		a.State != fanwatch.AlertResolved {
		t.Errorf("%d messages, %d notices, %d kept, %s", len(r.mail.sent), a.Notices, len(a.Sent), a.State)
	}
	if r.runs < 4 {
		t.Errorf("%d runs", r.runs)
	}
	if last := r.mail.at[2019].Sub(opened); last != 100*time.Minute {
		t.Errorf("the last repeat came after %s", last)
	}
}

// TestAnAlertThatLapsesForMonthsContinuesAsNew: an alert that is acknowledged again and again for months.
func TestAnAlertThatLapsesForMonthsContinuesAsNew(t *testing.T) {
	r := newAlertRun(t)
	for i := range 700 {
		r.at(time.Duration(2*i)*time.Hour+10*time.Minute, r.ack)
	}
	r.at(1399*time.Hour+20*time.Minute, r.normal)
	a := r.run(t)
	if a.Round < 300 || r.runs < 2 || len(a.Sent) != fanwatch.MaxNotices {
		t.Errorf("%d runs, %d rounds, %d notices kept", r.runs, a.Round, len(a.Sent))
	}
}

// TestANewRunGoesOnWhereTheLastOneStood: Temporal asks for a new run while a step is due later and a topic fails.
func TestANewRunGoesOnWhereTheLastOneStood(t *testing.T) {
	r := newAlertRun(t)
	deadTopic(r)
	r.policy.Steps = append(r.policy.Steps, fanwatch.Step{After: fanwatch.Duration(20 * time.Minute),
		Notify: []string{"chief"}})
	r.at(2*time.Minute, func() {
		r.SetContinueAsNewSuggested(true)
		r.observe(fanwatch.KindStall, "fan-07 has stopped again.", 200)
	})
	r.at(40*time.Minute, r.ack)
	r.at(50*time.Minute, r.normal)
	a := r.run(t)
	if r.runs != 2 {
		t.Errorf("%d runs", r.runs)
	}
	r.told(t,
		"0s boss : stall (step 1 of 3)",
		"0s lead : stall (step 2 of 3)",
		"20m0s chief : stall (step 3 of 3)",
		"40m0s boss : stall, acknowledged by ada",
		"40m0s lead : stall, acknowledged by ada",
		"40m0s chief : stall, acknowledged by ada",
		"51m0s boss : stall is over",
		"51m0s lead : stall is over",
		"51m0s chief : stall is over")
	if a.AckedBy != "ada" || a.Notices != 9 || len(a.Failed) != 1 {
		t.Errorf("%+v", a)
	}
}

func TestACancelledAlertTellsItsFan(t *testing.T) {
	for name, d := range map[string]time.Duration{"before the last step": 30 * time.Second,
		"acknowledged": 10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			r := newAlertRun(t)
			r.at(8*time.Minute, r.ack)
			r.at(d, func() { r.CancelWorkflow() })
			_, err := r.runOf(t, fanwatch.KindStall, "fan-07 has stopped.")
			var cancelled *temporal.CanceledError
			if !errors.As(err, &cancelled) || len(r.over) != 1 || r.over[0].ID == "" {
				t.Errorf("%v; the fan was told %+v", err, r.over)
			}
		})
	}
}

// TestAnAlertOfTheFirstCodeGoesOnUnderThisOne: the workers' start renews those that are open.
func TestAnAlertOfTheFirstCodeGoesOnUnderThisOne(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*alertRun) // the renewal at 2 minutes
		want   []string
	}{
		"between two steps": {func(*alertRun) {}, []string{
			"0s first : stall (step 1 of 2)", "1m0s first : stall (step 1 of 2)", "6m0s second : stall (step 2 of 2)",
			"6m0s boss : stall (step 2 of 2)",
			"31m0s first : stall is over", "31m0s second : stall is over", "31m0s boss : stall is over"}},
		"acknowledged": {func(r *alertRun) { r.at(30*time.Second, r.ack) }, []string{
			"0s first : stall (step 1 of 2)", "31m0s first : stall is over"}},
		"stuck in a topic that is gone": {func(r *alertRun) {
			r.policy.Steps = slices.Clone(r.policy.Steps)
			r.policy.Steps[0].Notify = []string{"second", "gone", "first"}
			r.mail.down["gone"] = errAway
		}, []string{
			"0s second : stall (step 1 of 2)", "2m0s first : stall (step 1 of 2)", "3m0s first : stall (step 1 of 2)",
			"3m0s second : stall (step 1 of 2)",
			"4m31s second : stall (step 2 of 2)", "4m31s boss : stall (step 2 of 2)", // the environment gives up after ten tries
			"31m0s first : stall is over", "31m0s second : stall is over", "31m0s boss : stall is over"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newAlertRun(t)
			r.OnGetVersion(changeAlert2, workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
			r.OnGetVersion(changeLandAlert, workflow.DefaultVersion, workflow.Version(1)).Return(workflow.Version(1)).Maybe()
			c.before(r)
			r.at(2*time.Minute, func() { r.SignalWorkflow(SignalRenew, nil) })
			r.at(30*time.Minute, r.normal)
			a := r.run(t)
			if a.V != fanwatch.AlertVersion || a.State != fanwatch.AlertResolved {
				t.Errorf("%+v", a)
			}
			if r.runs != 2 {
				t.Errorf("%d runs", r.runs)
			}
			r.told(t, c.want...)
		})
	}
}

// TestTheFirstCodesOrderIsMendedByTheRenewal: that code reads the end first and the trouble before it second.
func TestTheFirstCodesOrderIsMendedByTheRenewal(t *testing.T) {
	at := func(n int) fanwatch.Observation { return fanwatch.Observation{V: 1, Position: position(n)} }
	if e := (&alertOfV1{normal: at(300), trouble: at(200)}).carry(); e.End == nil {
		t.Error("the end at 300 was lost to the trouble at 200")
	}
	if e := (&alertOfV1{normal: at(200), trouble: at(300)}).carry(); e.End != nil {
		t.Error("the trouble at 300 was lost to the end at 200")
	}
}

// TestAFailureHastensTheNextStepAndTakesNothingFromTheOthers: who was reached is told again as the policy says.
func TestAFailureHastensTheNextStepAndTakesNothingFromTheOthers(t *testing.T) {
	r := newAlertRun(t)
	deadTopic(r)
	r.policy.Steps[0].Repeat, r.policy.Steps[0].Every = 2, fanwatch.Duration(4*time.Minute)
	r.at(9*time.Minute, r.ack)
	r.at(10*time.Minute, r.normal)
	r.run(t)
	r.told(t,
		"0s boss : stall (step 1 of 2)",
		"0s lead : stall (step 2 of 2)",
		"4m0s boss : stall (step 1 of 2)",
		"8m0s boss : stall (step 1 of 2)",
		"9m0s boss : stall, acknowledged by ada",
		"9m0s lead : stall, acknowledged by ada",
		"11m0s boss : stall is over",
		"11m0s lead : stall is over")
}

// TestWhatWasNotSentYetIsSentWhenTheTroubleReturns, and in the next run: on-call does not answer at first.
func TestWhatWasNotSentYetIsSentWhenTheTroubleReturns(t *testing.T) {
	for name, c := range map[string]struct {
		events func(*alertRun)
		want   string
	}{
		"after the hold": {func(r *alertRun) {
			r.at(40*time.Second, func() { r.observe("", "fan-07 is normal again.", 200) })
			r.at(50*time.Second, func() { r.mail.set("on-call", nil) })
			r.at(70*time.Second, func() { r.observe(fanwatch.KindStall, "fan-07 has stopped.", 300) })
		}, "1m10s on-call : stall (step 1 of 2)"},
		"in the next run": {func(r *alertRun) {
			r.policy.Steps[0] = fanwatch.Step{Notify: []string{"on-call"}}
			for i := range 20 { // so many notices that the run does not wait for the one that is on its way
				r.policy.Steps[0].Notify = append(r.policy.Steps[0].Notify, fmt.Sprintf("topic-%02d", i))
			}
			r.policy.Steps[0].Repeat, r.policy.Steps[0].Every = 100, fanwatch.Duration(time.Second)
			r.at(90*time.Second, func() { r.mail.set("on-call", nil) })
			r.at(200*time.Second, r.ack)
		}, "on-call : stall (step 1 of 2)"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newAlertRun(t)
			deadTopic(r)
			r.mail.down["on-call"] = errAway
			c.events(r)
			r.at(time.Hour, r.normal)
			a := r.run(t)
			var got []string
			for i, s := range r.mail.sent {
				if strings.HasPrefix(s, "on-call") {
					got = append(got, fmt.Sprintf("%s %s", r.mail.at[i].Sub(opened), withoutFan.ReplaceAllString(s, "")))
				}
			}
			if len(got) == 0 || !strings.HasSuffix(got[0], c.want) || len(a.Failed) != 0 {
				t.Errorf("on-call was told %q, failures %+v", got, a.Failed)
			}
			t.Logf("%d runs, told %q", r.runs, got)
		})
	}
}
