package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fanwatch"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func plan(from, repeat, zone string, long time.Duration) fanwatch.Maintenance {
	return fanwatch.Maintenance{V: fanwatch.MaintenanceVersion, ID: "maintenance/hall-a", Site: "Hall A", From: at(from),
		For: fanwatch.Duration(long), Repeat: repeat, Zone: zone, By: "ada"}
}

// begins returns the first times of a maintenance, in its zone.
func begins(t *testing.T, m fanwatch.Maintenance, now time.Time, most int) (all []string) {
	t.Helper()
	zone, err := m.Location()
	if err != nil {
		t.Fatal(err)
	}
	o, ok, err := FirstOccurrence(m, now)
	for ; ok && err == nil && len(all) < most; o, ok, err = NextOccurrence(m, o.Begin) {
		if o.Until.Sub(o.Begin) != time.Duration(m.For) {
			t.Errorf("it lasts %s", o.Until.Sub(o.Begin))
		}
		all = append(all, o.Begin.In(zone).Format("Mon 01-02 15:04 MST"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAWeeklyMaintenanceKeepsItsHourWhenClocksChange, and lasts as long; one in the hour that is left out begins with
// the hour after it, in the hour that comes twice it comes once, the
// second time.
func TestAWeeklyMaintenanceKeepsItsHourWhenClocksChange(t *testing.T) {
	for name, c := range map[string]struct {
		m    fanwatch.Maintenance
		want string
	}{
		"back": {plan("2026-10-17T20:00:00Z", "FREQ=WEEKLY", "Europe/Berlin", 2*time.Hour),
			"Sat 10-17 22:00 CEST, Sat 10-24 22:00 CEST, Sat 10-31 22:00 CET"},
		"forward": {plan("2027-03-20T21:00:00Z", "FREQ=WEEKLY", "Europe/Berlin", 12*time.Hour),
			"Sat 03-20 22:00 CET, Sat 03-27 22:00 CET, Sat 04-03 22:00 CEST"},
		"in UTC": {plan("2026-10-17T20:00:00Z", "FREQ=WEEKLY", "", 2*time.Hour),
			"Sat 10-17 20:00 UTC, Sat 10-24 20:00 UTC, Sat 10-31 20:00 UTC"},
		"left out": {plan("2027-03-27T01:30:00Z", "FREQ=DAILY", "Europe/Berlin", time.Hour),
			"Sat 03-27 02:30 CET, Sun 03-28 03:30 CEST, Mon 03-29 02:30 CEST"},
		"twice": {plan("2026-10-24T00:30:00Z", "FREQ=DAILY", "Europe/Berlin", time.Hour),
			"Sat 10-24 02:30 CEST, Sun 10-25 02:30 CET, Mon 10-26 02:30 CET"},
		"another day than the first": {plan("2026-12-03T21:00:00Z", "FREQ=WEEKLY;BYDAY=SA", "Europe/Berlin", 2*time.Hour),
			"Sat 12-05 22:00 CET, Sat 12-12 22:00 CET, Sat 12-19 22:00 CET"},
		"three times": {plan("2026-12-05T21:00:00Z", "RRULE:FREQ=MONTHLY;BYDAY=1SA;COUNT=2", "Europe/Berlin", 2*time.Hour),
			"Sat 12-05 22:00 CET, Sat 01-02 22:00 CET"},
		"until": {plan("2026-12-05T21:00:00Z", "FREQ=DAILY;UNTIL=20261206T220000", "Europe/Berlin", 2*time.Hour),
			"Sat 12-05 22:00 CET, Sun 12-06 22:00 CET"},
		"once": {plan("2026-12-05T21:00:00Z", "", "Europe/Berlin", 2*time.Hour), "Sat 12-05 22:00 CET"},
	} {
		if got := strings.Join(begins(t, c.m, c.m.From, 3), ", "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestTheTimeThatRunsIsTheFirst: one that began before now and is not over, of one that repeats too.
func TestTheTimeThatRunsIsTheFirst(t *testing.T) {
	m := plan("2026-12-05T21:00:00Z", "FREQ=WEEKLY", "Europe/Berlin", 2*time.Hour)
	for now, want := range map[string]string{
		"2026-12-05T20:00:00Z": "Sat 12-05", "2026-12-05T22:59:59Z": "Sat 12-05", "2026-12-05T23:00:00Z": "Sat 12-12",
		"2027-12-04T22:00:00Z": "Sat 12-04"} {
		if got := begins(t, m, at(now), 1); len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("at %s: %v", now, got)
		}
	}
	m.Repeat = ""
	if got := begins(t, m, at("2026-12-05T23:00:00Z"), 1); len(got) != 0 {
		t.Errorf("it is over: %v", got)
	}
}

// TestAMaintenanceThatCannotBeIsRefusedWithTheMend, and none takes long to be looked at.
func TestAMaintenanceThatCannotBeIsRefusedWithTheMend(t *testing.T) {
	good := plan("2026-12-05T21:00:00Z", "FREQ=WEEKLY", "Europe/Berlin", 2*time.Hour)
	now := at("2026-12-01T00:00:00Z")
	if err := CheckMaintenance(good, now); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(m *fanwatch.Maintenance){
		"give daily, weekly, monthly or an RRULE": func(m *fanwatch.Maintenance) { m.Repeat = "sometimes" },
		"once a day at most":                      func(m *fanwatch.Maintenance) { m.Repeat = "FREQ=MINUTELY" },
		"at the time of day of its first":         func(m *fanwatch.Maintenance) { m.Repeat = "FREQ=DAILY;BYHOUR=1,2" },
		"no single rule":                          func(m *fanwatch.Maintenance) { m.Repeat = "FREQ=DAILY\nDTSTART:2020" },
		"or never comes": func(m *fanwatch.Maintenance) {
			m.Repeat = "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"
		},
		"before it ends: shorten it": func(m *fanwatch.Maintenance) {
			m.For = fanwatch.Duration(8 * 24 * time.Hour)
		},
		"it takes 1m":                func(m *fanwatch.Maintenance) { m.For = 0 },
		"not an IANA time zone":      func(m *fanwatch.Maintenance) { m.Zone = "Local" },
		"name one of them":           func(m *fanwatch.Maintenance) { m.Fan = "fan-07" },
		"name the person":            func(m *fanwatch.Maintenance) { m.By = "" },
		"one line of printable text": func(m *fanwatch.Maintenance) { m.By = "ada\nbob" },
		"version 2 is unknown":       func(m *fanwatch.Maintenance) { m.V = 2 },
		"it is over": func(m *fanwatch.Maintenance) {
			m.Repeat, m.From = "", at("2026-11-30T20:00:00Z")
		},
		"maintenance/ and a name": func(m *fanwatch.Maintenance) { m.ID = "fan/fan-07" },
	} {
		m := good
		change(&m)
		if err := CheckMaintenance(m, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// TestASiteCoversItsRacksAndNoOtherSite.
func TestASiteCoversItsRacksAndNoOtherSite(t *testing.T) {
	hall := fanwatch.Maintenance{Site: "Hall A"}
	for site, want := range map[string]bool{"Hall A": true, "Hall A, rack 3": true, "Hall A/rack 3": true,
		"Hall AB": false, "Hall B": false, "": false} {
		if hall.Covers("fan-07", site) != want {
			t.Errorf("%q: %v", site, !want)
		}
	}
	if !(fanwatch.Maintenance{}).Covers("fan-07", "Hall B") || (fanwatch.Maintenance{Fan: "fan-08"}).Covers("fan-07", "") {
		t.Error("all fans, or one")
	}
	if (fanwatch.Maintenance{}).CoversAlert(fanwatch.Alert{Fan: "scorer", Kind: fanwatch.KindPipeline}) {
		t.Error("trouble of fanwatch itself is quiet")
	}
}

// plant is the boundary: the control plane and the stream.
type plant struct {
	mu        sync.Mutex
	fans      []fanwatch.FanStatus
	alerts    []fanwatch.Alert
	open      []fanwatch.MaintenanceStatus
	reads     int
	replanned []string
	pauses    []fanwatch.Pause
	down      error
}

func (p *plant) Fans(context.Context) ([]fanwatch.FanStatus, error) { return p.fans, p.down }

func (p *plant) AlertsDuring(context.Context, time.Time, time.Time) ([]fanwatch.Alert, error) {
	return slices.Clone(p.alerts), p.down
}

func (p *plant) Replan(_ context.Context, alert string) error {
	p.replanned = append(p.replanned, alert)
	return nil
}

func (p *plant) OpenMaintenances(context.Context) ([]fanwatch.MaintenanceStatus, error) {
	p.reads++
	return p.open, p.down
}

func (p *plant) Record(_ context.Context, key string, data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	rec, err := fanwatch.DecodeRecord(data)
	if err != nil || rec.Pause == nil || rec.Fan != key {
		return fmt.Errorf("record of %s: %w", key, err)
	}
	p.pauses = append(p.pauses, *rec.Pause)
	return nil
}

func fanAt(name, site string, phase fanwatch.Phase) fanwatch.FanStatus {
	return fanwatch.FanStatus{Device: fanwatch.Device{Fan: name, Site: site}, Phase: phase}
}

// TestEveryFanOfTheSiteIsToldNotToLearn: under its own key, and no other fan.
func TestEveryFanOfTheSiteIsToldNotToLearn(t *testing.T) {
	p := &plant{fans: []fanwatch.FanStatus{fanAt("fan-01", "Hall A", fanwatch.PhaseActive),
		fanAt("fan-02", "Hall A, rack 3", fanwatch.PhaseActive), fanAt("fan-03", "Hall B", fanwatch.PhaseActive),
		fanAt("fan-04", "Hall A", fanwatch.PhaseRetired)}}
	m := Maintainer{Fans: p, Stream: p}
	in := PauseInput{Maintenance: plan("2026-12-05T21:00:00Z", "", "", time.Hour), From: at("2026-12-05T21:00:00Z"),
		To: at("2026-12-05T22:00:00Z"), At: at("2026-12-05T20:59:00Z")}
	n, err := m.PauseModels(t.Context(), in)
	if err != nil || n != 2 || len(p.pauses) != 2 {
		t.Fatalf("%d, %v, %+v", n, err, p.pauses)
	}
	for _, x := range p.pauses {
		if !strings.HasPrefix(x.Fan, "fan-0") || !x.From.Equal(in.From) || !x.To.Equal(in.To) || !x.At.Equal(in.At) ||
			x.Maintenance != "maintenance/hall-a" {
			t.Errorf("%+v", x)
		}
	}
}

// TestAnAlertIsUnderTheMaintenanceThatEndsLast: between beginning and end, without a word of the workflow; the list is
// asked for once in five seconds.
func TestAnAlertIsUnderTheMaintenanceThatEndsLast(t *testing.T) {
	now := at("2026-12-05T21:00:00Z")
	status := func(m fanwatch.Maintenance) fanwatch.MaintenanceStatus {
		return fanwatch.MaintenanceStatus{Maintenance: m, State: fanwatch.MaintenancePlanned, Begin: m.From,
			Until: m.From.Add(time.Duration(m.For))}
	}
	hall, mute := plan("2026-12-05T21:00:00Z", "", "", 2*time.Hour), plan("2026-12-05T21:30:00Z", "", "", 3*time.Hour)
	hall.Why = "filters"
	mute.Site, mute.Fan, mute.Mute = "", "fan-07", true
	p := &plant{open: []fanwatch.MaintenanceStatus{status(hall), status(mute)}}
	m := &Maintenances{List: p, Now: func() time.Time { return now }}
	a := fanwatch.Alert{Fan: "fan-07", Site: "Hall A, rack 3", Kind: fanwatch.KindStall}
	ask := func(when string) string {
		until, why, err := m.Under(t.Context(), a, at(when))
		if err != nil {
			t.Fatal(err)
		}
		if until.IsZero() {
			return why
		}
		return until.Format("15:04 ") + why
	}
	for when, want := range map[string]string{
		"2026-12-05T20:59:59Z": "",
		"2026-12-05T21:00:00Z": "23:00 maintenance of Hall A by ada (filters)",
		"2026-12-05T21:30:00Z": "00:30 fan-07 is muted by ada",
		"2026-12-05T23:30:00Z": "00:30 fan-07 is muted by ada",
		"2026-12-06T00:30:00Z": "",
	} {
		if got := ask(when); got != want {
			t.Errorf("at %s: %q, want %q", when, got, want)
		}
	}
	if p.reads != 1 {
		t.Errorf("%d lists", p.reads)
	}
	p.open, now = nil, now.Add(MaintenancesFor)
	if got := ask("2026-12-05T21:30:00Z"); got != "" || p.reads != 2 {
		t.Errorf("%q, %d lists", got, p.reads)
	}
	p.down, now = errors.New("away"), now.Add(MaintenancesFor)
	if _, _, err := m.Under(t.Context(), a, now); err == nil {
		t.Error("without a list it answers")
	}
}

// TestTheEndIsSummedUpOnceForEachChannel: what goes on before what is over, of the site alone, by the first step of the
// policies; and what goes on reads its plan again.
func TestTheEndIsSummedUpOnceForEachChannel(t *testing.T) {
	alert := func(fan, site, policy string, kind fanwatch.Kind, state fanwatch.AlertState) fanwatch.Alert {
		a := fanwatch.Alert{ID: "alert/" + fan, Fan: fan, Site: site, Policy: policy, Kind: kind, State: state,
			Opened: at("2026-12-05T21:10:00Z"), Why: fan + " has trouble."}
		if state == fanwatch.AlertResolved {
			a.EndedAt = at("2026-12-05T21:50:00Z")
		}
		return a
	}
	p := &plant{alerts: []fanwatch.Alert{
		alert("fan-01", "Hall A", "", fanwatch.KindSpeed, fanwatch.AlertResolved),
		alert("fan-02", "Hall A", "", fanwatch.KindStall, fanwatch.AlertOpen),
		alert("fan-03", "Hall A, rack 3", "night", fanwatch.KindStall, fanwatch.AlertAcknowledged),
		alert("fan-04", "Hall B", "", fanwatch.KindStall, fanwatch.AlertOpen),
		alert("scorer", "", "operations", fanwatch.KindPipeline, fanwatch.AlertOpen)}}
	policies := Policies(func() map[string]fanwatch.Policy {
		step := func(names ...string) fanwatch.Policy {
			return fanwatch.Policy{Steps: []fanwatch.Step{{Notify: names}, {Notify: []string{"boss"}}}}
		}
		return map[string]fanwatch.Policy{"default": step("ada", "duty"), "night": step("duty")}
	})
	m := Maintainer{Fans: p, Resolve: policies.Of}
	in := SumUpInput{Maintenance: plan("2026-12-05T21:00:00Z", "FREQ=WEEKLY", "Europe/Berlin", time.Hour),
		Begin: at("2026-12-05T21:00:00Z"), Until: at("2026-12-05T21:55:00Z"), Next: at("2026-12-12T21:00:00Z"),
		EndedBy: "bob"}
	r, err := m.SumUp(t.Context(), in)
	if err != nil || r.Open != 2 || r.Over != 1 || len(r.Notifications) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := strings.Join(p.replanned, " "); got != "alert/fan-02 alert/fan-03" {
		t.Errorf("planned again: %s", got)
	}
	duty := r.Notifications[1]
	if duty.To != "duty" || duty.Key != "maintenance/hall-a/20261205T210000Z/duty" ||
		duty.Subject != "[fanwatch] maintenance of Hall A has ended: 2 go on, 1 are over" {
		t.Errorf("%+v", duty)
	}
	at := 0
	for _, want := range []string{"The maintenance of Hall A by ada, Sat 2026-12-05 22:00 CET to Sat 2026-12-05 22:55 " +
		"CET, has ended early, by bob.", "These go on", "fan-02 (Hall A): stall", "fan-03 (Hall A, rack 3): stall",
		"These are over", "fan-01 (Hall A): speed", "The next one begins at Sat 2026-12-12 22:00 CET."} {
		i := strings.Index(duty.Body[at:], want)
		if i < 0 {
			t.Fatalf("%q does not follow in:\n%s", want, duty.Body)
		}
		at += i
	}
	if strings.Contains(r.Notifications[0].Body, "fan-03") || strings.Contains(duty.Body, "fan-04") {
		t.Error("an alert is told of to a channel that it does not have")
	}
	p.alerts = p.alerts[3:]
	if r, err := m.SumUp(t.Context(), in); err != nil || len(r.Notifications) != 0 {
		t.Errorf("nothing came up, and it is told: %+v, %v", r, err)
	}
}

// FuzzRepeat: any rule is refused, or gives times one after the other.
func FuzzRepeat(f *testing.F) {
	for _, text := range []string{"FREQ=WEEKLY;BYDAY=SA", "RRULE:FREQ=MONTHLY;BYDAY=-1SU;COUNT=3",
		"FREQ=YEARLY;BYEASTER=0", "FREQ=DAILY;INTERVAL=99999;UNTIL=20990101T000000Z", "FREQ=YEARLY;BYWEEKNO=53;BYSETPOS=-1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m := plan("2026-12-05T21:00:00Z", text, "Europe/Berlin", time.Hour)
		now := at("2026-12-01T00:00:00Z")
		if text == "" || CheckMaintenance(m, now) != nil {
			return
		}
		o, _, _ := FirstOccurrence(m, now)
		if next, ok, err := NextOccurrence(m, o.Begin); err != nil || ok && !next.Begin.After(o.Begin) ||
			ok != !o.Next.IsZero() || ok && !next.Begin.Equal(o.Next) {
			t.Fatalf("%q: %+v, then %+v, %v, %v", text, o, next, ok, err)
		}
	})
}
