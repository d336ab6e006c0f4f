package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/operator"
)

func TestShowTellsWhoHasTheAlert(t *testing.T) {
	const id = "alert/fan-07/stall/x"
	f := fanwatch.FanStatus{Device: fanwatch.Device{Fan: "fan-07"}, Phase: fanwatch.PhaseActive, Alert: id,
		Last: fanwatch.Observation{V: 1, Anomaly: fanwatch.Anomaly{Kind: fanwatch.KindStall}}}
	show := func(a fanwatch.Alert) string {
		var out strings.Builder
		alerts := map[string]fanwatch.Alert{id: a}
		if err := showFan(&out, fanDetails{fanLine: fanLine{FanStatus: f}}, alerts, time.Now()); err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(` +`).ReplaceAllString(out.String(), " ")
	}
	at := time.Date(2026, 5, 28, 20, 0, 0, 0, time.Local)
	open, taken := show(fanwatch.Alert{State: fanwatch.AlertOpen}), show(fanwatch.Alert{State: fanwatch.AlertAcknowledged,
		AckedBy: "Ada", AckedAt: at, Note: "on my way"})
	if want := "acknowledge fanwatch ack " + id + "\n"; !strings.Contains(open, want) || strings.Contains(taken, want) {
		t.Errorf("open:\n%s\nacknowledged:\n%s", open, taken)
	}
	if !strings.Contains(taken, "acknowledged by Ada at 2026-05-28 20:00:00\nnote on my way\n") {
		t.Errorf("acknowledged:\n%s", taken)
	}
	if !strings.Contains(open, "clients fan-07\n") {
		t.Errorf("a fan with its own client alone:\n%s", open)
	}
	f.Device.Clients = []string{"new_Client"}
	if !strings.Contains(show(fanwatch.Alert{}), "clients fan-07, new_Client\n") {
		t.Error("a fan with two clients does not show them")
	}
}

// TestAFanWithoutAReadingIsNotCalledWell: nothing is known yet of how it is.
func TestAFanWithoutAReadingIsNotCalledNormal(t *testing.T) {
	f := fanwatch.FanStatus{Phase: fanwatch.PhaseActive}
	if got := operator.State(f, operator.Judgement{Judging: operator.JudgingUnknown},
		time.Now()); got != "no reading yet" {
		t.Errorf("before the first reading: %q", got)
	}
	f.Last.V = 1
	if got := operator.State(f, operator.Judgement{Judging: operator.JudgingNow}, time.Now()); got != "normal" {
		t.Errorf("after it: %q", got)
	}
}

// TestAFanThatIsNotJudgedIsNotCalledNormal covers a shard that is not read and a fan whose readings are not judged.
func TestAFanThatIsNotJudgedIsNotCalledNormal(t *testing.T) {
	now := time.Date(2026, 11, 30, 13, 42, 0, 0, time.Local)
	normal := fanwatch.FanStatus{Device: fanwatch.Device{Fan: "fan-07"}, Phase: fanwatch.PhaseActive,
		Since: now.Add(-time.Hour), Last: fanwatch.Observation{V: 1, RPM: 1800, Time: now.Add(-time.Hour)}}
	for want, j := range map[string]operator.Judgement{
		"fan-07 normal 2026-11-30 12:42:00 now 1800": {Judging: operator.JudgingNow, At: now.Add(-11 * time.Second)},
		// an old heartbeat says so
		"fan-07 not judged - 35s ago 1800": {Judging: operator.JudgingNow, At: now.Add(-45 * time.Second)},
		"fan-07 normal 2026-11-30 12:42:00 12s ago 1800": {Judging: operator.JudgingStopped,
			At: now.Add(-12 * time.Second), Since: now.Add(-12 * time.Second)},
		"fan-07 not judged 2026-11-30 13:41:16 44s ago 1800": {Judging: operator.JudgingStopped,
			At: now.Add(-44 * time.Second), Since: now.Add(-44 * time.Second)},
		"fan-07 not judged 2026-11-30 13:41:07 not since 13:41:07: shard s-1 is not read: access denied 1800": {
			Judging: operator.JudgingUnread, Since: now.Add(-53 * time.Second), Why: "shard s-1 is not read: access denied"},
		"fan-07 not judged - never 1800":                      {Judging: operator.JudgingNever},
		"fan-07 not known 2026-11-30 12:42:00 not known 1800": {Judging: operator.JudgingUnknown},
	} {
		var out strings.Builder
		f := fanLine{FanStatus: normal, State: operator.State(normal, j, now), Judgement: j}
		if err := printFans(&out, []fanLine{f}, now); err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(regexp.MustCompile(` +`).ReplaceAllString(out.String(), " "), "\n")
		if strings.TrimSpace(line) != want {
			t.Errorf("%q, want %q", line, want)
		}
	}
}

// TestShowTellsTheSpeed: the newest reading where the landing log has it, else what was last known, with its time.
func TestShowTellsTheSpeed(t *testing.T) {
	now := time.Date(2026, 11, 30, 13, 42, 0, 0, time.Local)
	d := fanDetails{fanLine: fanLine{FanStatus: fanwatch.FanStatus{Phase: fanwatch.PhaseActive,
		Last: fanwatch.Observation{V: 1, RPM: 1800, Time: now.Add(-time.Hour)}}}}
	show := func() string {
		var out strings.Builder
		if err := showFan(&out, d, nil, now); err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(` +`).ReplaceAllString(out.String(), " ")
	}
	if want := "last known 1800 RPM at 12:42:00, the last change of state\n"; !strings.Contains(show(), want) {
		t.Errorf("%s\nwant %s", show(), want)
	}
	d.Reading = &lastReading{RPM: 912.4, Score: 0.5, Time: now.Add(-2 * time.Second), Rotor: fanwatch.StateRunning}
	if want := "last reading 912 RPM, score 0.50, running, at 13:41:58\n"; !strings.Contains(show(), want) ||
		strings.Contains(show(), "last known") {
		t.Errorf("%s\nwant %s", show(), want)
	}
}

// TestShowTellsWhatIsSuggestedAndHowToAnswer, by the flag of configure that does the same.
func TestShowTellsWhatIsSuggestedAndHowToAnswer(t *testing.T) {
	hours, silence := "06:00-22:00", fanwatch.Duration(3*time.Minute)
	d := fanDetails{fanLine: fanLine{FanStatus: fanwatch.FanStatus{Phase: fanwatch.PhaseActive,
		Device: fanwatch.Device{Fan: "fan-07"}, Suggestions: []fanwatch.Suggestion{
			{Text: "It stands still at night.", Change: fanwatch.DeviceChange{Hours: &hours}},
			{Text: "It is slow.", Change: fanwatch.DeviceChange{Silence: &silence}}}}}}
	var out strings.Builder
	if err := showFan(&out, d, nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(` +`).ReplaceAllString(out.String(), " ")
	for _, want := range []string{"suggested It stands still at night. Set --hours 06:00-22:00?\n",
		"suggested It is slow. Set --silence 3m0s?\n", "answer fanwatch configure fan-07 --accept, or --dismiss\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestFamiliesStandSideBySide in lists, the gravest first, and what is worth a look does not look like an alarm.
func TestFamiliesStandSideBySide(t *testing.T) {
	now := time.Date(2026, 11, 30, 13, 42, 0, 0, time.Local)
	state := func(kind fanwatch.Kind, alert string) fanwatch.FamilyStatus {
		return fanwatch.FamilyStatus{Alert: alert, Since: now.Add(-time.Minute), Last: fanwatch.Observation{V: 1,
			Anomaly: fanwatch.Anomaly{Kind: kind, Why: "because of " + string(kind)}}}
	}
	f := fanwatch.FanStatus{Device: fanwatch.Device{Fan: "fan-07"}, Phase: fanwatch.PhaseActive, Alert: "alert/2",
		Last: state(fanwatch.KindStall, "").Last, Families: map[fanwatch.Family]fanwatch.FamilyStatus{
			fanwatch.FamilySpeed:   state(fanwatch.KindStall, "alert/2"),
			fanwatch.FamilyTexture: state(fanwatch.KindJitter, "alert/1")}}
	line := fanLine{FanStatus: f}
	line.State = operator.State(f, operator.Judgement{Judging: operator.JudgingNow}, now)
	var out strings.Builder
	if err := printFans(&out, []fanLine{line}, now); err != nil {
		t.Fatal(err)
	}
	if want := "stall, jitter (info)"; !strings.Contains(out.String(), want) {
		t.Errorf("%s\nwant %s", out.String(), want)
	}
	out.Reset()
	if err := showFan(&out, fanDetails{fanLine: line}, nil, now); err != nil {
		t.Fatal(err)
	}
	flat := regexp.MustCompile(` +`).ReplaceAllString(out.String(), " ")
	last := 0
	for _, want := range []string{"critical stall, since 13:41:00: because of stall\n",
		"info jitter, since 13:41:00: because of jitter\n", "open alert alert/2\n", "open alert alert/1\n"} {
		at := strings.Index(flat, want)
		if at < last {
			t.Errorf("%s\nwant %s, in this order", flat, want)
		}
		last = at
	}
}

// TestAnAlertTellsWhatItKnows: which topics could not be told, that the trouble is over, that it came back, that its
// workflow was ended.
func TestAnAlertTellsWhatItKnows(t *testing.T) {
	now := time.Date(2026, 11, 30, 13, 42, 0, 0, time.Local)
	at := now.Add(-time.Minute)
	x := fanwatch.Alert{ID: "alert/fan-07/stall/x", State: fanwatch.AlertOpen, Opened: at, Step: 1, Steps: 2, Round: 1,
		Returns: 3, Notices: 70, NormalFrom: at,
		Failed: []fanwatch.Failure{{Step: 1, To: "arn:aws:sns:us-east-1:1:pager", Why: "NotFound", At: at}}, Why: "stopped"}
	ended := fanwatch.Alert{ID: "alert/fan-08/stall/y", State: fanwatch.AlertTerminated, Opened: at, NormalFrom: at}
	var out strings.Builder
	if err := printAlerts(&out, []fanwatch.Alert{x, ended}, now); err != nil {
		t.Fatal(err)
	}
	flat := regexp.MustCompile(` +`).ReplaceAllString(out.String(), " ")
	for _, want := range []string{"open, normal since 13:41:00, back 3 times 1/2 round 2 70, NOT pager stopped " +
		"alert/fan-07", "13:41:00 terminated 0/0 0 alert/fan-08"} {
		if !strings.Contains(flat, want) {
			t.Errorf("%s\nwant %s", flat, want)
		}
	}
	out.Reset()
	if err := showFan(&out, fanDetails{fanLine: fanLine{FanStatus: fanwatch.FanStatus{Alert: x.ID}}},
		map[string]fanwatch.Alert{x.ID: x}, now); err != nil {
		t.Fatal(err)
	}
	flat = regexp.MustCompile(` +`).ReplaceAllString(out.String(), " ")
	for _, want := range []string{"not told pager at 13:41:00: NotFound\n",
		"normal since 13:41:00, closes when that has held\n", "came back 3 times\n",
		"escalation step 1/2 round 2, told 70, NOT pager\n"} {
		if !strings.Contains(flat, want) {
			t.Errorf("%s\nwant %s", flat, want)
		}
	}
}

// TestAnIncidentIsOneLineInPlaceOfItsMembers while both go on; what is over, and what is part of none, stays.
func TestAnIncidentIsOneLineInPlaceOfItsMembers(t *testing.T) {
	stall := func(fan, incident string, state fanwatch.AlertState) fanwatch.Alert {
		return fanwatch.Alert{ID: "alert/" + fan + "/stall/1", Fan: fan, Kind: fanwatch.KindStall, State: state,
			Incident: incident, Why: fan + " has stopped."}
	}
	incident := fanwatch.Alert{ID: "alert/Hall-A/incident/1", Fan: "Hall-A", Kind: fanwatch.KindIncident,
		State: fanwatch.AlertAcknowledged, Why: "2 of 40 fans in Hall A fail at once: 2 stall."}
	all := []fanwatch.Alert{incident, stall("a", "incident/Hall-A", fanwatch.AlertOpen),
		stall("b", "incident/Hall-A", fanwatch.AlertResolved), stall("c", "incident/Hall-B", fanwatch.AlertOpen),
		stall("d", "", fanwatch.AlertOpen)}
	var fans []string
	for _, x := range folded(all) {
		fans = append(fans, x.Fan)
	}
	if !slices.Equal(fans, []string{"Hall-A", "b", "c", "d"}) {
		t.Errorf("listed %q", fans)
	}
	all[0].State = fanwatch.AlertResolved
	if n := len(folded(all)); n != 5 {
		t.Errorf("%d listed after the incident", n)
	}
	var out strings.Builder
	if err := printAlerts(&out, all, time.Now()); err != nil || !strings.Contains(out.String(),
		"a has stopped. (Part of incident/Hall-A.)") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
