package workflows

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

func point[T any](v T) *T { return &v }

// provisioned has the fan provisioned after a second, as Enroll does it.
func (r *fanRun) provisioned(t *testing.T, c fanwatch.DeviceChange) {
	r.at(time.Second, func() { r.enroll(t, "one", c) })
}

func (r *fanRun) enroll(t *testing.T, csr string, c fanwatch.DeviceChange) {
	r.update(t, UpdateProvision, func(_ any, err error) {
		if err != nil {
			t.Error(err)
		}
	}, ProvisionRequest{Device: fanwatch.Device{Fan: "fan-07"}, CSR: csr, Change: &c})
}

func (r *fanRun) status(t *testing.T) (s fanwatch.FanStatus) {
	t.Helper()
	v, err := r.QueryWorkflow(QueryStatus)
	if err == nil {
		err = v.Get(&s)
	}
	if err != nil {
		t.Error(err)
	}
	return s
}

// continued gives what the run handed to the next.
func (r *fanRun) continued(t *testing.T) (in FanInput) {
	t.Helper()
	var next *workflow.ContinueAsNewError
	if err := r.GetWorkflowError(); !asContinue(err, &next) {
		t.Fatalf("error %v, want continue as new", err)
	}
	if err := decode(next, &in); err != nil {
		t.Fatal(err)
	}
	return in
}

// TestAfterAnOutagePeopleAreToldWhatIsNotWhatWas has observations wait while the fan's workflow opens an alert.
func TestAfterAnOutagePeopleAreToldWhatIsNotWhatWas(t *testing.T) {
	r := newFanRun(t)
	r.at(time.Second, func() {
		for n, kind := range []fanwatch.Kind{fanwatch.KindStall, fanwatch.KindNone, fanwatch.KindStall, fanwatch.KindNone,
			fanwatch.KindOverspeed, fanwatch.KindNone, fanwatch.KindSpeed} {
			r.observe(n+1, kind)
		}
	})
	r.at(time.Minute, func() { r.observe(20, fanwatch.KindNone) })
	r.retireAt(t, 2*time.Minute)
	r.execute(t, FanInput{})
	if err := r.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"observe speed because", "observe  because"}; len(r.alerts) != 1 || !slices.Equal(r.told, want) {
		t.Errorf("%d alerts, which heard %q, want one and %q", len(r.alerts), r.told, want)
	}
}

// TestACancelledFanGoesOn guards against a fan that is watched by none because its workflow was asked to cancel.
func TestACancelledFanGoesOn(t *testing.T) {
	r := newFanRun(t)
	r.reg.fail = fmt.Errorf("IoT Core does not answer")
	r.at(time.Second, func() { r.observe(1, fanwatch.KindStall) })
	r.at(2*time.Second, func() { r.enroll(t, "one", fanwatch.DeviceChange{}) }) // and what is being done is not cancelled
	r.at(3*time.Second, r.CancelWorkflow)
	r.at(5*time.Second, func() { r.observe(2, fanwatch.KindOverspeed) })
	r.at(20*time.Second, func() { r.reg.fail = nil })
	r.execute(t, FanInput{})
	in := r.continued(t)
	if in.Certificate.ID != "one" || in.Status.Phase != fanwatch.PhaseActive || in.Status.Alert == "" ||
		in.Status.Last.Anomaly.Kind != fanwatch.KindOverspeed {
		t.Errorf("carried over: %+v", in)
	}
}

// TestRetiringEndsTheAlertAndTheCertificates guards against pages about a fan that is no more and a certificate that
// still speaks.
func TestRetiringEndsTheAlertAndTheCertificates(t *testing.T) {
	r := newFanRun(t)
	r.provisioned(t, fanwatch.DeviceChange{})
	r.at(2*time.Second, func() { r.observe(1, fanwatch.KindStall) })
	var answer RetireAnswer
	r.at(time.Minute, func() {
		r.update(t, UpdateRetire, func(v any, err error) {
			if answer, _ = v.(RetireAnswer); err != nil {
				t.Error(err)
			}
		})
	})
	r.execute(t, FanInput{})
	if err := r.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.told, []string{"resolve  fan-07 was retired."}) ||
		!slices.Equal(r.reg.inactive, []string{"arn:cert/one"}) {
		t.Errorf("the alert heard %q, inactive %q", r.told, r.reg.inactive)
	}
	if last := r.reg.announced[len(r.reg.announced)-1]; !last.Retired {
		t.Errorf("announced %+v", last)
	}
	if answer.Alert != r.alerts[0].ID || !slices.Equal(answer.Certificates, []string{"arn:cert/one"}) ||
		answer.Pending != "" {
		t.Errorf("answer %+v", answer)
	}
	if s := r.status(t); s.Phase != fanwatch.PhaseRetired || s.Alert != "" || s.Certificate != "" {
		t.Errorf("shown as %+v", s)
	}
}

// TestRetiringHoldsWhileIoTCoreIsAway says what holds at once and what is tried until it does: also under a
// provisioning that comes in between, whose certificate stays active.
func TestRetiringHoldsWhileIoTCoreIsAway(t *testing.T) {
	for _, again := range []bool{false, true} {
		r := newFanRun(t)
		r.provisioned(t, fanwatch.DeviceChange{})
		r.at(2*time.Second, func() { r.observe(1, fanwatch.KindStall) })
		var answer RetireAnswer
		var took time.Duration
		r.at(time.Minute, func() {
			r.reg.away = true
			r.update(t, UpdateRetire, func(v any, err error) {
				if answer, _ = v.(RetireAnswer); err != nil {
					t.Error(err)
				}
				took = r.Now().Sub(opened) - time.Minute
			})
		})
		r.at(2*time.Minute, func() {
			if s := r.status(t); s.Phase != fanwatch.PhaseRetired || s.Alert != "" || len(r.told) != 1 ||
				len(r.reg.inactive) != 0 {
				t.Errorf("while it is away: %+v, the alert heard %q", s, r.told)
			}
		})
		r.at(20*time.Minute, func() {
			r.reg.away = false
			if again {
				r.enroll(t, "two", fanwatch.DeviceChange{})
			}
		})
		if again {
			r.at(30*time.Minute, r.CancelWorkflow) // ends the test
		}
		r.execute(t, FanInput{})
		if answer.Pending != "IoT Core does not answer" || took > 20*time.Second {
			t.Errorf("answer %+v after %s", answer, took)
		}
		if !slices.Equal(slices.Compact(r.reg.inactive), []string{"arn:cert/one"}) {
			t.Errorf("inactive %q", r.reg.inactive)
		}
		if !again {
			if err := r.GetWorkflowError(); err != nil {
				t.Error(err)
			}
		} else if in := r.continued(t); in.Status.Phase != fanwatch.PhaseActive || in.Deactivate ||
			in.Certificate.ID != "two" || in.Status.Alert != "" {
			t.Errorf("provisioned again: %+v", in)
		}
	}
}

// TestAFanIsHeardWhileIoTCoreIsAwaited guards against a page that comes minutes late because a fan is being
// provisioned, and against a refusal that forgets what was heard meanwhile.
func TestAFanIsHeardWhileIoTCoreIsAwaited(t *testing.T) {
	r := newFanRun(t)
	r.provisioned(t, fanwatch.DeviceChange{})
	r.at(time.Minute, func() {
		r.reg.fail = fmt.Errorf("IoT Core does not answer")
		r.update(t, UpdateProvision, func(_ any, err error) {
			if err == nil {
				t.Error("was provisioned")
			}
		}, ProvisionRequest{Device: fanwatch.Device{Fan: "fan-07", Site: "Hall B"}, CSR: "two"})
	})
	r.at(70*time.Second, func() { r.observe(1, fanwatch.KindStall) })
	r.at(75*time.Second, func() {
		if len(r.alerts) != 1 {
			t.Errorf("%d alerts after 5 s", len(r.alerts))
		}
	})
	r.at(90*time.Second, func() { r.reg.fail = temporal.NewNonRetryableApplicationError("no", "Refused", nil) })
	r.at(10*time.Minute, func() {
		if s := r.status(t); s.Alert == "" || s.Last.Anomaly.Kind != fanwatch.KindStall || s.Certificate != "one" ||
			s.Device.Site != "" {
			t.Errorf("after the refusal: %+v", s)
		}
	})
	r.retireAt(t, 11*time.Minute)
	r.execute(t, FanInput{})
	if err := r.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
}

// TestARefusalAfterTheCertificateWasSignedLeavesTheOldOne guards against a fan whose next change ends the certificate
// that its device has.
func TestARefusalAfterTheCertificateWasSignedLeavesTheOldOne(t *testing.T) {
	r := newFanRun(t)
	r.provisioned(t, fanwatch.DeviceChange{})
	r.at(time.Minute, func() {
		r.reg.forbid = temporal.NewNonRetryableApplicationError("malformed", "Refused", nil)
		r.update(t, UpdateProvision, func(_ any, err error) {
			if err == nil {
				t.Error("was provisioned")
			}
		}, ProvisionRequest{Device: fanwatch.Device{Fan: "fan-07"}, CSR: "two", Change: &fanwatch.DeviceChange{}})
	})
	r.at(2*time.Minute, func() {
		r.reg.forbid = nil
		r.update(t, UpdateChange, func(_ any, err error) {
			if err != nil {
				t.Error(err)
			}
			if s := r.status(t); s.Certificate != "one" || len(r.reg.inactive) > 0 {
				t.Errorf("%+v, inactive %q", s, r.reg.inactive)
			}
		}, fanwatch.DeviceChange{Site: point("Hall A")})
	})
	r.retireAt(t, 11*time.Minute)
	r.execute(t, FanInput{})
	if err := r.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
}

// TestWhatIsNotNamedStays guards against a new certificate that resets limits, silence, site, zone, clients and
// policy.
func TestWhatIsNotNamedStays(t *testing.T) {
	r := newFanRun(t)
	r.provisioned(t, fanwatch.DeviceChange{Site: point("Hall A"), MinRPM: point(500.0), MaxRPM: point(3000.0),
		Silence: point(fanwatch.Duration(5 * time.Minute)),
		Zone:    point("Europe/Berlin"), Clients: point([]string{"new_Client"}), Policy: point("night")})
	r.at(2*time.Second, func() { r.enroll(t, "two", fanwatch.DeviceChange{}) })
	r.at(3*time.Second, func() {
		r.update(t, UpdateChange, func(v any, err error) {
			if d, _ := v.(fanwatch.Device); err != nil || d.Limits.MaxRPM != 2000 || d.Relearn != 1 || d.Site != "Hall A" {
				t.Errorf("took effect: %+v, %v", d, err)
			}
		}, fanwatch.DeviceChange{MaxRPM: point(2000.0), Relearn: true})
	})
	r.retireAt(t, time.Minute)
	r.execute(t, FanInput{})
	if err := r.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	want := fanwatch.Device{V: 1, Fan: "fan-07", Site: "Hall A", Limits: fanwatch.Limits{MinRPM: 500, MaxRPM: 3000},
		Silence: fanwatch.Duration(5 * time.Minute),
		Zone:    "Europe/Berlin", Clients: []string{"new_Client"}, Policy: "night", Revision: int(opened.Unix()) + 2}
	if got := r.reg.announced[1]; fmt.Sprint(got) != fmt.Sprint(want) || r.reg.certificates != 2 {
		t.Errorf("after the new certificate: %+v, want %+v", got, want)
	}
	want.Revision, want.Limits.MaxRPM, want.Relearn = want.Revision+1, 2000, 1
	if got := r.reg.announced[2]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after the change: %+v, want %+v", got, want)
	}
}

// TestARevisionExceedsWhatScorersKnow guards against a fan whose workflow is new and whose every reading is refused,
// because the scorers have a larger revision from the one before it.
func TestARevisionExceedsWhatScorersKnow(t *testing.T) {
	for before, want := range map[int]int{0: int(opened.Unix()) + 1, 52: int(opened.Unix()) + 1, 1 << 40: 1<<40 + 1} {
		r := newFanRun(t)
		r.provisioned(t, fanwatch.DeviceChange{})
		r.retireAt(t, time.Minute)
		r.execute(t, FanInput{Status: fanwatch.FanStatus{Device: fanwatch.Device{V: 1, Fan: "fan-07", Revision: before}}})
		if got := r.reg.announced[0]; got.Revision != want || got.Retired {
			t.Errorf("after revision %d came %+v, want %d", before, got, want)
		}
	}
}

// TestWhatForgesOrWakesForNothingIsRefused asks both ways in, and that a fan which holds such from before can be
// changed.
func TestWhatForgesOrWakesForNothingIsRefused(t *testing.T) {
	r := newFanRun(t)
	var said []string
	answer := func(v any, err error) {
		said = append(said, fmt.Sprint(err))
		if err == nil {
			if d := v.(fanwatch.Device); d.Silence != fanwatch.Duration(fanwatch.MinSilence) || d.Site != "Hall  [2J" ||
				d.Limits.MinRPM != 300 {
				t.Errorf("took effect: %+v", d)
			}
		}
	}
	before := fanwatch.FanStatus{Phase: fanwatch.PhaseActive, Device: fanwatch.Device{V: 1, Revision: 1, Fan: "fan-07",
		Site: "Hall \x1b[2J", Silence: fanwatch.Duration(time.Second)}}
	r.at(time.Second, func() {
		r.update(t, UpdateConfigure, answer, fanwatch.Device{Fan: "fan-07", Clients: []string{"*"}})
		r.update(t, UpdateChange, answer, fanwatch.DeviceChange{Silence: point(fanwatch.Duration(14 * time.Second))})
		r.update(t, UpdateProvision, answer, ProvisionRequest{Device: fanwatch.Device{Fan: "fan-07", Site: "a\nb"},
			CSR: "one"})
		r.update(t, UpdateProvision, answer, ProvisionRequest{Device: fanwatch.Device{Fan: "fan-08"}, CSR: "one"})
		r.update(t, UpdateChange, answer, fanwatch.DeviceChange{MinRPM: point(300.0)})
	})
	r.retireAt(t, time.Minute)
	r.execute(t, FanInput{Status: before})
	want := []string{"stand for other clients too", "15s or more", "control characters", "this is fan fan-07", "<nil>"}
	if len(said) != len(want) {
		t.Fatalf("answers %q", said)
	}
	for i := range want {
		if !strings.Contains(said[i], want[i]) {
			t.Errorf("answer %q, want %q", said[i], want[i])
		}
	}
}

// TestTroubleThatGoesOnAfterItsAlertOpensTheNext tells of the end of an alert, by itself and from outside, while the
// fan stands.
func TestTroubleThatGoesOnAfterItsAlertOpensTheNext(t *testing.T) {
	r := newFanRun(t)
	r.at(time.Second, func() { r.observe(1, fanwatch.KindStall) })
	r.at(time.Minute, func() { r.SignalWorkflow(SignalAlertOver, r.alerts[0]) })
	r.at(2*time.Minute, func() {
		if s := r.status(t); len(r.alerts) != 2 || r.alerts[1].ID == r.alerts[0].ID || s.Alert != r.alerts[1].ID ||
			s.Alerts != 2 {
			t.Errorf("%d alerts, %+v", len(r.alerts), s)
		}
	})
	r.retireAt(t, 10*time.Minute)
	r.execute(t, FanInput{})

	r = newFanRun(t) // and one whose alert was terminated while nothing changed is found when the run is renewed
	r.OnSignalExternalWorkflow(anything, "alert/that/is/gone", anything, SignalObserve,
		anything).Return(serviceerror.NewNotFound("gone"))
	r.at(time.Minute, func() {
		if s := r.status(t); len(r.alerts) != 1 || s.Alert != r.alerts[0].ID {
			t.Errorf("%d alerts, %+v", len(r.alerts), s)
		}
	})
	r.retireAt(t, 10*time.Minute)
	r.execute(t, FanInput{Status: fanwatch.FanStatus{Phase: fanwatch.PhaseActive, Alert: "alert/that/is/gone",
		Last: observation(1, fanwatch.KindStall)}})
}

// TestARunOfAnEarlierProgramRenewsItself carries a fan over: its certificate, device and open alert.
func TestARunOfAnEarlierProgramRenewsItself(t *testing.T) {
	r := newFanRun(t)
	r.OnGetVersion(changeFan2, workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	// a worker of before passed over it
	r.OnGetVersion("fan-renew-1", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	r.OnGetVersion("fan-renew-2", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.Version(1))
	r.at(time.Second, func() {
		r.update(t, UpdateProvision, func(_ any, err error) {
			if err != nil {
				t.Error(err)
			}
		}, ProvisionRequest{Device: fanwatch.Device{Fan: "fan-07", Site: "Hall A"}, CSR: "one"})
	})
	r.at(2*time.Second, func() { r.observe(1, fanwatch.KindStall) })
	r.at(3*time.Second, func() { r.SignalWorkflow(SignalRenew, nil) })
	r.at(4*time.Second, func() {
		if s := r.status(t); s.V != 1 || s.Device.Revision != 1 {
			t.Errorf("before: %+v", s)
		}
	})
	r.at(time.Minute, func() { r.SignalWorkflow(SignalRenew, nil) })
	r.execute(t, FanInput{})
	in := r.continued(t)
	if in.Certificate.ID != "one" || in.CSRHash == "" || in.Status.Device.Site != "Hall A" ||
		in.Status.Alert != r.alerts[0].ID || in.Status.Phase != fanwatch.PhaseActive {
		t.Fatalf("carried over: %+v", in)
	}
	next := newFanRun(t)
	// the alert is asked whether it runs
	next.OnSignalExternalWorkflow(anything, in.Status.Alert, anything, SignalObserve, in.Status.Last).Return(nil)
	next.at(time.Second, func() {
		if s := next.status(t); s.V != fanwatch.FanStatusVersion || s.Certificate != "one" {
			t.Errorf("after: %+v", s)
		}
	})
	next.at(time.Minute, func() { next.SignalWorkflow(SignalRenew, nil) })
	next.execute(t, in)
	next.continued(t)
}

// TestRevokingEndsCertificatesAndNotTheFan guards against a stolen certificate that can be ended by retiring alone,
// and against a revoked one that is answered again.
func TestRevokingEndsCertificatesAndNotTheFan(t *testing.T) {
	r := newFanRun(t)
	r.provisioned(t, fanwatch.DeviceChange{})
	r.at(2*time.Second, func() {
		r.update(t, UpdateRevoke, func(_ any, err error) {
			if !strings.Contains(messageOf(err), `fan fan-07 has no certificate "other"`) {
				t.Error(err)
			}
		}, RevokeRequest{Certificate: "other"})
		r.update(t, UpdateRevoke, func(v any, err error) {
			if a, _ := v.(RevokeAnswer); err != nil || !slices.Equal(a.Certificates, []string{"arn:cert/one"}) {
				t.Errorf("%+v, %v", a, err)
			}
		}, RevokeRequest{Certificate: "arn:cert/one"})
	})
	r.at(10*time.Second, func() {
		if s := r.status(t); s.Phase != fanwatch.PhaseActive || s.Certificate != "" {
			t.Errorf("%+v", s)
		}
		r.update(t, UpdateChange, func(_ any, err error) { // nothing makes it active again
			if err != nil {
				t.Error(err)
			}
		}, fanwatch.DeviceChange{Site: point("Hall A")})
		r.enroll(t, "one", fanwatch.DeviceChange{})
	})
	r.retireAt(t, time.Minute)
	r.execute(t, FanInput{})
	if r.reg.certificates != 2 {
		t.Errorf("%d certificates were signed, want another for the CSR of the revoked one", r.reg.certificates)
	}
}

// TestPoliciesDoNotPileUp changes a fan's clients more often than AWS attaches policies to a certificate, and mends
// one that is full.
func TestPoliciesDoNotPileUp(t *testing.T) {
	reg := newRegistry()
	p := &activities.Provisioner{Registry: reg, Stream: reg, Topics: activities.PolicyTopics{ARN: "arn:aws:iot:x:y",
		Rule: "r", Legacy: "l"}}
	c := activities.Certificate{ARN: "arn:cert/one"}
	reg.has[c.ARN] = []string{"the-operators-own", "fanwatch-device-x"}
	for i := range 8 {
		reg.has[c.ARN] = append(reg.has[c.ARN], fmt.Sprint("fanwatch-legacy-fan-07-", i))
	}
	for i := range 12 {
		d := fanwatch.Device{Fan: "fan-07", Clients: []string{fmt.Sprint("client-", i)}}
		if err := p.Authorise(t.Context(), d, c); err != nil {
			t.Fatal(err)
		}
		if has := reg.has[c.ARN]; len(has) != 3 || has[0] != "the-operators-own" ||
			!strings.Contains(reg.policies[has[2]]+reg.policies[has[1]], fmt.Sprintf("client/client-%d\"", i)) {
			t.Errorf("after %d changes: %q", i+1, has)
		}
	}
	if err := p.Authorise(t.Context(), fanwatch.Device{Fan: "fan-07"}, activities.Certificate{}); err != nil ||
		len(reg.has[c.ARN]) != 2 {
		t.Errorf("a certificate that is not known: %v, %q", err, reg.has[c.ARN])
	}
	err := p.Authorise(t.Context(), fanwatch.Device{Fan: "fan-07", Clients: []string{"*"}}, c)
	if err == nil || !refused(err) || !strings.Contains(err.Error(), "fanwatch configure fan-07 --client") {
		t.Errorf("a stored client that a policy reads as a pattern: %v", err)
	}
}
