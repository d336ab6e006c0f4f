package workflows

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
)

// hall is the boundary of maintenances: the control plane with two fans and their alerts, the stream, and mail.
type hall struct {
	*testsuite.TestWorkflowEnvironment
	mail      *mailbox
	alerts    []fanwatch.Alert
	replanned []string // alert and when
	pauses    []string // fan, from, to
	zone      *time.Location
}

func (h *hall) Fans(context.Context) ([]fanwatch.FanStatus, error) {
	return []fanwatch.FanStatus{{Device: fanwatch.Device{Fan: "fan-07", Site: "Hall A"}},
		{Device: fanwatch.Device{Fan: "fan-08", Site: "Hall B"}}}, nil
}

func (h *hall) AlertsDuring(_ context.Context, from, to time.Time) (found []fanwatch.Alert, err error) {
	for _, a := range h.alerts {
		if a.Opened.Before(to) && (a.EndedAt.IsZero() || !a.EndedAt.Before(from)) {
			found = append(found, a)
		}
	}
	return found, nil
}

func (h *hall) Replan(_ context.Context, alert string) error {
	h.replanned = append(h.replanned, alert+" "+h.clock(h.Now()))
	return nil
}

func (h *hall) Record(_ context.Context, _ string, data []byte) error {
	rec, err := fanwatch.DecodeRecord(data)
	if err == nil {
		h.pauses = append(h.pauses, rec.Fan+" "+h.clock(rec.Pause.From)+" to "+h.clock(rec.Pause.To)+" said "+
			h.clock(rec.Pause.At))
	}
	return err
}

func (h *hall) clock(t time.Time) string { return t.In(h.zone).Format("01-02 15:04:05") }

func newHall(t *testing.T, start string, alerts ...fanwatch.Alert) *hall {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet())
	h := &hall{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), alerts: alerts}
	h.zone, _ = time.LoadLocation("Europe/Berlin")
	h.mail = &mailbox{keys: map[string]bool{}, now: h.Now}
	h.SetStartTime(h.time(t, start))
	h.SetTestTimeout(20 * time.Second)
	policies := activities.Policies(func() map[string]fanwatch.Policy {
		return map[string]fanwatch.Policy{"default": twoSteps}
	})
	h.RegisterActivity(&activities.Notifier{SNS: h.mail, Now: h.Now, Policies: policies})
	h.RegisterActivity(&activities.Maintainer{Fans: h, Stream: h, Resolve: policies.Of})
	return h
}

func (h *hall) time(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04", text, h.zone)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func (h *hall) at(t *testing.T, when string, do func()) {
	t.Helper()
	h.RegisterDelayedCallback(do, h.time(t, when).Sub(h.Now()))
}

// run runs a maintenance until it is over, or continues as new.
func (h *hall) run(t *testing.T, m fanwatch.Maintenance) (s fanwatch.MaintenanceStatus) {
	t.Helper()
	m.V, m.By, m.Zone = fanwatch.MaintenanceVersion, "ada", "Europe/Berlin"
	if m.ID == "" {
		m.ID = "maintenance/hall-a"
	}
	o, ok, err := activities.FirstOccurrence(m, h.Now())
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	h.ExecuteWorkflow(Maintenance, MaintenanceInput{Status: fanwatch.MaintenanceStatus{Maintenance: m,
		State: fanwatch.MaintenancePlanned, Begin: o.Begin, Until: o.Until, Next: o.Next}})
	var next *workflow.ContinueAsNewError
	if err := h.GetWorkflowError(); asContinue(err, &next) {
		var in MaintenanceInput
		if err := decode(next, &in); err != nil {
			t.Fatal(err)
		}
		return in.Status
	} else if err != nil {
		t.Fatal(err)
	}
	if err := h.GetWorkflowResult(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *hall) status(t *testing.T) (s fanwatch.MaintenanceStatus) {
	t.Helper()
	v, err := h.QueryWorkflow(QueryStatus)
	if err == nil {
		err = v.Get(&s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *hall) end(t *testing.T, end fanwatch.MaintenanceEnd, check func(fanwatch.MaintenanceStatus, error)) {
	t.Helper()
	h.UpdateWorkflow(UpdateEnd, "", &testsuite.TestUpdateCallback{
		OnReject: func(err error) { check(fanwatch.MaintenanceStatus{}, err) },
		OnAccept: func() {},
		OnComplete: func(v any, err error) {
			s, _ := v.(fanwatch.MaintenanceStatus)
			check(s, err)
		}}, end)
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func stallAt(t *testing.T, h *hall, fan, site, from, to string) fanwatch.Alert {
	a := fanwatch.Alert{ID: "alert/" + fan, Fan: fan, Site: site, Kind: fanwatch.KindStall, State: fanwatch.AlertOpen,
		Opened: h.time(t, from), Why: fan + " has stopped."}
	if to != "" {
		a.State, a.EndedAt = fanwatch.AlertResolved, h.time(t, to)
	}
	return a
}

// TestAMaintenanceIsShownPausesTheModelsAndIsSummedUpAtItsEnd: the models are told a minute ahead; one message has what
// goes on, which reads its plan again, and what is over; nothing is sent before.
func TestAMaintenanceIsShownPausesTheModelsAndIsSummedUpAtItsEnd(t *testing.T) {
	h := newHall(t, "2026-12-05 12:00")
	h.alerts = []fanwatch.Alert{stallAt(t, h, "fan-07", "Hall A", "2026-12-05 22:10", ""),
		stallAt(t, h, "fan-09", "Hall A", "2026-12-05 21:00", "2026-12-05 23:00"),
		stallAt(t, h, "fan-10", "Hall A", "2026-12-05 20:00", "2026-12-05 21:00"),
		stallAt(t, h, "fan-08", "Hall B", "2026-12-05 22:10", "")}
	h.at(t, "2026-12-05 21:00", func() {
		if s := h.status(t); s.State != fanwatch.MaintenancePlanned || s.Paused != 0 {
			t.Errorf("%+v", s)
		}
	})
	h.at(t, "2026-12-05 23:30", func() {
		if s := h.status(t); s.State != fanwatch.MaintenanceRunning || s.Paused != 1 || len(h.mail.sent) != 0 {
			t.Errorf("%+v, sent %q", s, h.mail.sent)
		}
	})
	s := h.run(t, fanwatch.Maintenance{Site: "Hall A", From: h.time(t, "2026-12-05 22:00"),
		For: fanwatch.Duration(2 * time.Hour), Why: "filters"})
	if s.State != fanwatch.MaintenanceOver || s.Times != 1 || s.EndedBy != "" {
		t.Errorf("%+v", s)
	}
	equal(t, "paused", h.pauses, "fan-07 12-05 22:00:00 to 12-06 00:00:00 said 12-05 21:59:00")
	equal(t, "planned again", h.replanned, "alert/fan-07 12-06 00:00:00")
	equal(t, "sent", h.mail.sent, "first [fanwatch] maintenance of Hall A has ended: 1 go on, 1 are over")
	if body := h.mail.text[0]; !strings.Contains(body, "fan-09 (Hall A): stall") || !strings.Contains(body, "filters") {
		t.Error(body)
	}
}

// TestAWeeklyMaintenanceKeepsItsHourOverTheChange of the clocks, and waits for the next one.
func TestAWeeklyMaintenanceKeepsItsHourOverTheChange(t *testing.T) {
	h := newHall(t, "2026-10-16 12:00")
	h.at(t, "2026-10-25 12:00", func() {
		s := h.status(t)
		if s.State != fanwatch.MaintenancePlanned || s.Times != 2 || h.clock(s.Begin) != "10-31 22:00:00" ||
			!s.Next.IsZero() { // COUNT is 3
			t.Errorf("%+v", s)
		}
	})
	s := h.run(t, fanwatch.Maintenance{Site: "Hall A", From: h.time(t, "2026-10-17 22:00"), Repeat: "FREQ=WEEKLY;COUNT=3",
		For: fanwatch.Duration(4 * time.Hour)})
	if s.State != fanwatch.MaintenanceOver || s.Times != 3 {
		t.Errorf("%+v", s)
	}
	equal(t, "paused", h.pauses, "fan-07 10-17 22:00:00 to 10-18 02:00:00 said 10-17 21:59:00",
		"fan-07 10-24 22:00:00 to 10-25 02:00:00 said 10-24 21:59:00",
		"fan-07 10-31 22:00:00 to 11-01 02:00:00 said 10-31 21:59:00")
	if len(h.mail.sent) != 0 {
		t.Errorf("nothing came up, and it is told: %q", h.mail.sent)
	}
}

// TestOneThatIsEndedEarlyLetsAlertsGoOnAtOnce: when no worker goes by the old end any more; the models learn from then
// on, and the next time stays planned.
func TestOneThatIsEndedEarlyLetsAlertsGoOnAtOnce(t *testing.T) {
	h := newHall(t, "2026-12-05 12:00")
	h.alerts = []fanwatch.Alert{stallAt(t, h, "fan-07", "Hall A", "2026-12-05 22:10", "")}
	h.at(t, "2026-12-05 23:00", func() {
		h.end(t, fanwatch.MaintenanceEnd{By: "bob"}, func(s fanwatch.MaintenanceStatus, err error) {
			if err != nil || s.State != fanwatch.MaintenancePlanned || h.clock(s.Begin) != "12-12 22:00:00" ||
				s.EndedBy != "bob" {
				t.Errorf("%+v, %v", s, err)
			}
		})
	})
	h.at(t, "2026-12-06 12:00", func() {
		h.end(t, fanwatch.MaintenanceEnd{}, func(s fanwatch.MaintenanceStatus, err error) {
			if err != nil || s.State != fanwatch.MaintenanceCancelled || s.EndedBy != "a person" {
				t.Errorf("%+v, %v", s, err)
			}
		})
	})
	s := h.run(t, fanwatch.Maintenance{Site: "Hall A", From: h.time(t, "2026-12-05 22:00"), Repeat: "FREQ=WEEKLY",
		For: fanwatch.Duration(2 * time.Hour)})
	if s.State != fanwatch.MaintenanceCancelled || s.Times != 1 || !s.Next.IsZero() {
		t.Errorf("%+v", s)
	}
	equal(t, "paused", h.pauses, "fan-07 12-05 22:00:00 to 12-06 00:00:00 said 12-05 21:59:00",
		"fan-07 12-05 22:00:00 to 12-05 23:00:00 said 12-05 23:00:00")
	equal(t, "planned again", h.replanned, "alert/fan-07 12-05 23:00:10")
	equal(t, "sent", h.mail.sent, "first [fanwatch] maintenance of Hall A has ended: 1 go on, 0 are over")
	if !strings.Contains(h.mail.text[0], "has ended early, by bob") {
		t.Error(h.mail.text[0])
	}
}

// TestOneThatIsCancelledBeforeItBeginsChangesNothing, not in the minute before it either.
func TestOneThatIsCancelledBeforeItBeginsChangesNothing(t *testing.T) {
	for when, want := range map[string][]string{"2026-12-05 21:00": nil,
		"2026-12-05 21:59": {"fan-07 12-05 22:00:00 to 12-06 00:00:00 said 12-05 21:59:00",
			"fan-07 12-05 22:00:00 to 12-05 22:00:00 said 12-05 21:59:30"}} {
		h := newHall(t, "2026-12-05 12:00")
		h.RegisterDelayedCallback(func() {
			h.end(t, fanwatch.MaintenanceEnd{By: "bob", All: true}, func(s fanwatch.MaintenanceStatus, err error) {
				if err != nil || s.State != fanwatch.MaintenanceCancelled {
					t.Errorf("%+v, %v", s, err)
				}
			})
		}, h.time(t, when).Sub(h.Now())+30*time.Second)
		s := h.run(t, fanwatch.Maintenance{Site: "Hall A", From: h.time(t, "2026-12-05 22:00"),
			For: fanwatch.Duration(2 * time.Hour)})
		if s.State != fanwatch.MaintenanceCancelled || s.Times != 0 || len(h.mail.sent) != 0 {
			t.Errorf("%+v", s)
		}
		equal(t, "paused", h.pauses, want...)
	}
}

// TestAMuteEndsByItself, lets the fan's models learn, and sums up what it kept quiet.
func TestAMuteEndsByItself(t *testing.T) {
	h := newHall(t, "2026-12-05 12:00")
	h.alerts = []fanwatch.Alert{stallAt(t, h, "fan-07", "Hall A", "2026-12-05 12:10", ""),
		stallAt(t, h, "fan-09", "Hall A", "2026-12-05 12:10", "")}
	s := h.run(t, fanwatch.Maintenance{Fan: "fan-07", From: h.Now(), For: fanwatch.Duration(time.Hour), Mute: true})
	if s.State != fanwatch.MaintenanceOver || len(h.pauses) != 0 {
		t.Errorf("%+v, %q", s, h.pauses)
	}
	equal(t, "sent", h.mail.sent, "first [fanwatch] mute of fan-07 has ended: 1 go on, 0 are over")
	if at := h.clock(h.mail.at[0]); at != "12-05 13:00:00" {
		t.Errorf("sent at %s", at)
	}
}

// TestAMaintenanceForEverHasABoundedHistory: it continues as new, with its plan.
func TestAMaintenanceForEverHasABoundedHistory(t *testing.T) {
	h := newHall(t, "2026-12-05 12:00")
	s := h.run(t, fanwatch.Maintenance{Site: "Hall A", From: h.time(t, "2026-12-05 22:00"), Repeat: "FREQ=DAILY",
		For: fanwatch.Duration(2 * time.Hour)})
	if s.State != fanwatch.MaintenancePlanned || s.Times != timesPerRun || h.clock(s.Begin) != "12-25 22:00:00" {
		t.Errorf("%+v", s)
	}
	data, err := converter.GetDefaultDataConverter().ToPayload(s)
	if err != nil || len(data.GetData()) > 1000 {
		t.Errorf("%d bytes, %v", len(data.GetData()), err)
	}
}
