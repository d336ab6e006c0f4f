package workflows

import (
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"fanwatch"
)

func label(alert string, normal bool) fanwatch.Label {
	return fanwatch.Label{V: fanwatch.LabelVersion, Fan: "fan-07", Alert: alert, Kind: fanwatch.KindSpeed, Normal: normal,
		From: opened, By: "ada", Note: "new filter"}
}

// TestALabelIsPutOnTheStreamOnce: by the signal of an alert and by the update for one that is over, again after a
// failure, and not again where it says what was said.
func TestALabelIsPutOnTheStreamOnce(t *testing.T) {
	r := newFanRun(t)
	r.reg.unsaid = 1
	r.at(1*time.Second, func() { r.SignalWorkflow(SignalLabel, label("alert/1", true)) })
	r.at(2*time.Second, func() { r.SignalWorkflow(SignalLabel, label("alert/1", true)) })
	r.at(3*time.Second, func() { r.SignalWorkflow(SignalLabel, fanwatch.Label{Fan: "fan-07"}) }) // of no kind
	r.at(2*time.Minute, func() {
		if s := r.status(t); len(r.reg.labels) != 1 || len(s.Labels) != 1 || s.Labels[0].By != "ada" ||
			r.reg.labels[0].At.IsZero() {
			t.Errorf("on the stream: %+v, shown: %+v", r.reg.labels, s.Labels)
		}
	})
	r.at(3*time.Minute, func() {
		r.update(t, UpdateLabel, func(_ any, err error) {
			if err != nil || len(r.reg.labels) != 2 || r.reg.labels[1].Normal {
				t.Errorf("%v, on the stream: %+v", err, r.reg.labels)
			}
		}, label("alert/1", false)) // another verdict
	})
	r.at(4*time.Minute, func() {
		other := label("alert/2", true)
		other.Fan = "fan-08"
		r.update(t, UpdateLabel, func(_ any, err error) {
			if err == nil || !strings.Contains(err.Error(), "this is fan fan-07") {
				t.Errorf("another fan's: %v", err)
			}
		}, other)
	})
	r.retireAt(t, 5*time.Minute)
	r.execute(t, FanInput{})
	if len(r.reg.labels) != 2 {
		t.Errorf("on the stream: %+v", r.reg.labels)
	}
}

// TestALabelOutlivesTheRun that could not announce it.
func TestALabelOutlivesTheRun(t *testing.T) {
	r := newFanRun(t)
	r.reg.unsaid = 1
	r.at(time.Second, func() {
		r.SignalWorkflow(SignalLabel, label("alert/1", true))
		r.SignalWorkflow(SignalRenew, nil)
	})
	r.execute(t, FanInput{})
	in := r.continued(t)
	next := newFanRun(t)
	next.at(time.Minute, func() {
		if len(next.reg.labels) != 1 {
			t.Errorf("on the stream: %+v", next.reg.labels)
		}
	})
	next.retireAt(t, 2*time.Minute)
	next.execute(t, in)

	old := newFanRun(t) // a run of an earlier program hands on what it does not know
	old.OnGetVersion(changeFan2, workflow.DefaultVersion, workflow.Version(1)).Return(workflow.Version(1))
	old.OnGetVersion(changeFan3, workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	old.at(time.Second, func() { old.SignalWorkflow(SignalLabel, label("alert/1", true)) })
	old.at(time.Minute, func() { old.SignalWorkflow(SignalRenew, nil) })
	old.execute(t, FanInput{})
	if in := old.continued(t); len(in.Labels) != 1 || len(old.reg.labels) != 0 {
		t.Errorf("carried over: %+v", in)
	}
}

// TestAckWithAVerdictTellsTheFan: from an open alert and from one that is acknowledged; one that is of no fan tells
// nothing.
func TestAckWithAVerdictTellsTheFan(t *testing.T) {
	r := newAlertRun(t)
	r.policy.AckTimeout = fanwatch.Duration(time.Hour)
	var sent []fanwatch.Label
	r.OnSignalExternalWorkflow("default-test-namespace", "fan/fan-07", "", SignalLabel, anything).Return(
		func(_, _, _, _ string, arg any) error {
			sent = append(sent, arg.(fanwatch.Label))
			return nil
		})
	ack := func(by string, v fanwatch.Verdict) {
		r.SignalWorkflow(SignalAcknowledge, fanwatch.Acknowledgement{By: by, Verdict: v})
	}
	r.at(10*time.Second, func() { ack("ada", fanwatch.VerdictFault) })
	r.at(20*time.Second, func() { ack("bob", fanwatch.VerdictNormal) })
	r.at(30*time.Second, func() { ack("eve", "nonsense") })
	r.at(5*time.Hour, r.normal) // what is normal is not told again when the acknowledgement runs out
	a, err := r.runOf(t, fanwatch.KindSpeed, "slower")
	if err != nil || a.AckedBy != "eve" || a.Label != fanwatch.VerdictNormal || a.LabelledBy != "bob" ||
		a.State != fanwatch.AlertResolved {
		t.Errorf("%+v, %v", a, err)
	}
	if len(sent) != 2 || sent[0].Normal || !sent[1].Normal || sent[1].Check() != nil || sent[1].Alert != a.ID ||
		!sent[1].From.Equal(opened) || !sent[1].To.IsZero() || !sent[1].At.Equal(opened.Add(20*time.Second)) {
		t.Errorf("the fan was sent %+v", sent)
	}
	r.told(t, "0s first : speed (step 1 of 2)", "10s first : speed, acknowledged by ada",
		"30s first : speed, acknowledged by eve", "5h1m0s first : speed is over")
	if text := r.textOf("first"); !strings.Contains(text, "bob said at 2026-05-28T20:27:00Z: this is normal.") {
		t.Errorf("first was told %q", text)
	}

	part := newAlertRun(t)
	part.at(10*time.Second, func() {
		part.SignalWorkflow(SignalAcknowledge, fanwatch.Acknowledgement{By: "ada", Verdict: fanwatch.VerdictNormal})
	})
	part.at(time.Minute, part.normal)
	a, err = part.runOf(t, fanwatch.KindPipeline, "the scorer stands")
	if err != nil || a.Label != "" || a.AckedBy != "ada" {
		t.Errorf("%+v, %v", a, err)
	}
}
