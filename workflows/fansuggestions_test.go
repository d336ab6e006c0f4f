package workflows

import (
	"strings"
	"testing"
	"time"

	"fanwatch"
)

// suggesting is an observation with a suggestion of hours.
func suggesting(n int, kind fanwatch.Kind, hours ...string) fanwatch.Observation {
	o := observationOf(n, fanwatch.FamilySpeed, kind)
	for _, h := range hours {
		o.Suggestions = append(o.Suggestions, fanwatch.Suggestion{V: fanwatch.SuggestionVersion, Fan: "fan-07",
			Kind: fanwatch.SuggestionHours, Text: "stands still at night", Change: fanwatch.DeviceChange{Hours: &h},
			Since: opened})
	}
	return o
}

// shows checks what the fan suggests, and that the states hold none of it.
func (r *fanRun) shows(t *testing.T, at time.Duration, want string) {
	r.at(at, func() {
		s := r.status(t)
		got := ""
		for _, x := range s.Suggestions {
			got += *x.Change.Hours
		}
		if got != want || len(s.Last.Suggestions)+len(s.Families[fanwatch.FamilySpeed].Last.Suggestions) != 0 {
			t.Errorf("after %s: %q is suggested, want %q: %+v", at, got, want, s)
		}
	})
}

const monthOfDismissal = 30 * 24 * time.Hour

// TestASuggestionStandsUntilItIsAnswered: an older observation takes nothing away; dismissed, it stays away for 30 days
// and over a new run; an alert that is open is not changed by it.
func TestASuggestionStandsUntilItIsAnswered(t *testing.T) {
	r := newFanRun(t)
	signal := func(at time.Duration, o fanwatch.Observation) {
		r.at(at, func() { r.SignalWorkflow(SignalObserve, o) })
	}
	signal(time.Second, suggesting(10, fanwatch.KindStall, "06:00-22:00"))
	r.shows(t, 2*time.Second, "06:00-22:00")
	older := observationOf(5, fanwatch.FamilyTexture, fanwatch.KindNone)
	signal(3*time.Second, older)
	r.shows(t, 4*time.Second, "06:00-22:00")
	signal(5*time.Second, suggesting(11, fanwatch.KindNone))
	r.shows(t, 6*time.Second, "")
	signal(7*time.Second, suggesting(12, fanwatch.KindStall, "06:00-22:00"))
	r.at(8*time.Second, func() {
		r.update(t, UpdateSuggestion, func(_ any, err error) {
			if err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
				t.Errorf("an answer to another one: %v", err)
			}
		}, fanwatch.SuggestionAnswer{Kind: fanwatch.SuggestionHours, Since: opened.Add(time.Hour)})
	})
	r.at(9*time.Second, func() {
		r.update(t, UpdateSuggestion, func(_ any, err error) {
			if err != nil {
				t.Error(err)
			}
		}, fanwatch.SuggestionAnswer{})
	})
	r.shows(t, 10*time.Second, "")
	r.at(11*time.Second, func() {
		r.update(t, UpdateSuggestion, func(_ any, err error) {
			if err == nil || !strings.Contains(err.Error(), "nothing is suggested") {
				t.Errorf("a second answer: %v", err)
			}
		}, fanwatch.SuggestionAnswer{Accept: true})
	})
	signal(29*24*time.Hour, suggesting(13, fanwatch.KindNone, "06:00-22:00"))
	r.shows(t, 29*24*time.Hour+time.Second, "")
	r.at(29*24*time.Hour+time.Minute, func() { r.SignalWorkflow(SignalRenew, nil) })
	r.execute(t, FanInput{})
	if len(r.alerts) != 2 || len(r.reg.announced) != 0 {
		t.Errorf("%d alerts, %d devices on the stream", len(r.alerts), len(r.reg.announced))
	}

	next := newFanRun(t)
	next.SetStartTime(opened.Add(monthOfDismissal - time.Minute))
	next.at(time.Second, func() {
		next.SignalWorkflow(SignalObserve, suggesting(14, fanwatch.KindStall, "06:00-22:00"))
	})
	next.shows(t, 2*time.Second, "")
	next.at(2*time.Minute, func() {
		next.SignalWorkflow(SignalObserve, suggesting(15, fanwatch.KindNone, "06:00-22:00"))
	})
	next.shows(t, 3*time.Minute, "06:00-22:00")
	next.retireAt(t, 4*time.Minute)
	next.execute(t, r.continued(t))
}

// TestAnAcceptedSuggestionIsConfigured: it goes to the stream as any change, and an observation that still makes it
// does not bring it back.
func TestAnAcceptedSuggestionIsConfigured(t *testing.T) {
	r := newFanRun(t)
	r.at(time.Second, func() {
		r.update(t, UpdateProvision, func(any, error) {}, ProvisionRequest{CSR: "csr",
			Device: fanwatch.Device{Fan: "fan-07"}})
	})
	r.at(2*time.Second, func() { r.SignalWorkflow(SignalObserve, suggesting(10, fanwatch.KindStall, "06:00-22:00")) })
	r.at(3*time.Second, func() {
		r.update(t, UpdateSuggestion, func(out any, err error) {
			if d, ok := out.(fanwatch.Device); err != nil || !ok || d.Hours != "06:00-22:00" {
				t.Errorf("%+v, %v", out, err)
			}
		}, fanwatch.SuggestionAnswer{Kind: fanwatch.SuggestionHours, Since: opened, Accept: true})
	})
	r.shows(t, 4*time.Second, "")
	r.at(5*time.Second, func() { r.SignalWorkflow(SignalObserve, suggesting(11, fanwatch.KindNone, "06:00-22:00")) })
	r.shows(t, 6*time.Second, "")
	r.retireAt(t, time.Minute)
	r.execute(t, FanInput{})
	if n := len(r.reg.announced); n != 3 || r.reg.announced[1].Hours != "06:00-22:00" {
		t.Errorf("on the stream: %+v", r.reg.announced)
	}
}
