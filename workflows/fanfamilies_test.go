package workflows

import (
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"fanwatch"
)

// TestAJitterAlertStaysOpenBesideAStalls: each family has an alert, which hears of its own family alone.
func TestAJitterAlertStaysOpenBesideAStalls(t *testing.T) {
	r := newFanRun(t)
	send := func(o fanwatch.Observation) { r.SignalWorkflow(SignalObserve, o) }
	r.at(1*time.Second, func() { r.observe(1, fanwatch.KindNone) })
	r.at(2*time.Second, func() { send(observationOf(2, fanwatch.FamilyTexture, fanwatch.KindJitter)) })
	r.at(3*time.Second, func() { // at one position, of two families
		send(observationOf(3, fanwatch.FamilySpeed, fanwatch.KindStall))
		send(observationOf(3, fanwatch.FamilyDrift, fanwatch.KindDrift))
	})
	r.at(4*time.Second, func() {
		s := r.status(t)
		var kinds []fanwatch.Kind
		for _, x := range s.Troubles() {
			kinds = append(kinds, x.Last.Anomaly.Kind)
		}
		if !slices.Equal(kinds, []fanwatch.Kind{fanwatch.KindStall, fanwatch.KindJitter, fanwatch.KindDrift}) {
			t.Errorf("in trouble: %v", kinds)
		}
		if stall := s.Families[fanwatch.FamilySpeed]; s.Last.Anomaly.Kind != fanwatch.KindStall || s.Alert != stall.Alert ||
			!s.Since.Equal(stall.Since) {
			t.Errorf("the gravest is not told first: %+v", s)
		}
	})
	r.at(5*time.Second, func() { send(observationOf(4, fanwatch.FamilySpeed, fanwatch.KindNone)) })
	r.at(6*time.Second, func() { send(observationOf(1, fanwatch.FamilySpeed, fanwatch.KindStall)) }) // a zombie's old news
	r.at(7*time.Second, func() {
		s := r.status(t)
		if s.Families[fanwatch.FamilySpeed].Alert != "" || s.Families[fanwatch.FamilyTexture].Alert != r.alerts[0].ID ||
			s.Last.Anomaly.Kind != fanwatch.KindJitter || s.Alert != r.alerts[0].ID {
			t.Errorf("after the stall: %+v", s)
		}
	})
	r.at(8*time.Second, func() { send(observationOf(5, fanwatch.FamilyTexture, fanwatch.KindWobble)) }) // the same alert
	r.at(time.Minute, func() { r.observe(9, fanwatch.KindNone) })                                       // ends all
	r.at(2*time.Minute, func() {
		if s := r.status(t); s.Alert != "" || len(s.Troubles()) != 0 || s.Alerts != 3 {
			t.Errorf("at last: %+v", s)
		}
	})
	r.retireAt(t, 3*time.Minute)
	r.execute(t, FanInput{})
	if want := []string{"observe  because", "observe wobble because", "observe  because",
		"observe  because"}; len(r.alerts) != 3 || !slices.Equal(r.told, want) {
		t.Errorf("%d alerts, which heard %q, want three and %q", len(r.alerts), r.told, want)
	}
}

// TestAnObservationOfAnEarlierProgramEndsEveryFamily: one without a family that says that the fan is normal.
func TestAnObservationOfAnEarlierProgramEndsEveryFamily(t *testing.T) {
	r := newFanRun(t)
	r.at(1*time.Second, func() { r.observe(1, fanwatch.KindStall) })
	r.at(2*time.Second, func() { r.observe(2, fanwatch.KindJitter) })
	r.at(3*time.Second, func() { r.observe(3, fanwatch.KindNone) })
	r.at(4*time.Second, func() {
		if s := r.status(t); len(r.alerts) != 2 || s.Alert != "" || len(s.Troubles()) != 0 {
			t.Errorf("%d alerts, %+v", len(r.alerts), s)
		}
	})
	r.retireAt(t, time.Minute)
	r.execute(t, FanInput{})
}

// TestTheOneAlertOfAnEarlierProgramGoesOnInItsFamily: in the run that it began, in the run after, and where the alert
// was in its hold.
func TestTheOneAlertOfAnEarlierProgramGoesOnInItsFamily(t *testing.T) {
	r := newFanRun(t)
	r.OnGetVersion(changeFan2, workflow.DefaultVersion, workflow.Version(1)).Return(workflow.Version(1))
	r.OnGetVersion(changeFan3, workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	r.OnGetVersion(changeFan3+"-family", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.Version(1))
	r.at(1*time.Second, func() { r.observe(1, fanwatch.KindJitter) })
	r.at(2*time.Second, func() { r.observe(2, fanwatch.KindStall) }) // the same alert
	r.at(3*time.Second, func() {
		if s := r.status(t); s.V != 2 || len(r.alerts) != 1 || s.Alert != r.alerts[0].ID {
			t.Errorf("before: %d alerts, %+v", len(r.alerts), s)
		}
		r.SignalWorkflow(SignalObserve, observationOf(2, fanwatch.FamilyTexture, fanwatch.KindJitter))
		r.SignalWorkflow(SignalObserve, observationOf(3, fanwatch.FamilyTexture, fanwatch.KindJitter))
	})
	r.at(4*time.Second, func() {
		if s := r.status(t); s.V != fanwatch.FanStatusVersion || s.Families[fanwatch.FamilySpeed].Alert != r.alerts[0].ID ||
			s.Families[fanwatch.FamilyTexture].Alert != r.alerts[1].ID {
			t.Errorf("divided: %+v", s)
		}
	})
	r.at(time.Minute, func() { r.SignalWorkflow(SignalRenew, nil) })
	r.execute(t, FanInput{Status: fanwatch.FanStatus{Phase: fanwatch.PhaseActive}})
	if in := r.continued(t); len(in.Status.Families) != 3 {
		t.Errorf("carried over: %+v", in)
	}

	next := newFanRun(t)
	const open = "alert/fan-07/jitter/20260528T202641.000000Z"
	next.OnSignalExternalWorkflow(anything, open, anything, SignalObserve, anything).Return(nil)
	next.at(time.Second, func() {
		if s := next.status(t); s.Families[fanwatch.FamilyTexture].Alert != open || s.Alert != open ||
			s.Families[""].Alert != "" {
			t.Errorf("in its hold: %+v", s)
		}
	})
	next.at(time.Minute, func() { next.SignalWorkflow(SignalRenew, nil) })
	next.execute(t, FanInput{Status: fanwatch.FanStatus{V: 2, Phase: fanwatch.PhaseActive, Alert: open,
		Last: observation(5, fanwatch.KindNone)}})
	next.continued(t)
}
