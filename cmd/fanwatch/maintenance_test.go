package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

// TestAWindowIsReadInItsZone: the times of day as people write them, and the words for rules.
func TestAWindowIsReadInItsZone(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 500, time.UTC)
	w := window{from: "2026-12-05 22:00", long: 2 * time.Hour, m: fanwatch.Maintenance{Site: "Hall A", By: "ada",
		Zone: "Europe/Berlin", Repeat: "weekly"}}
	if err := w.set(now); err != nil {
		t.Fatal(err)
	}
	if !w.m.From.Equal(time.Date(2026, 12, 5, 21, 0, 0, 0, time.UTC)) || w.m.Repeat != "FREQ=WEEKLY" ||
		w.m.For != fanwatch.Duration(2*time.Hour) {
		t.Errorf("%+v", w.m)
	}
	mute := window{till: "2026-12-01 14:00", m: fanwatch.Maintenance{Fan: "fan-07", Mute: true, By: "ada"}}
	if err := mute.set(now); err != nil || mute.m.For != fanwatch.Duration(2*time.Hour) || mute.m.From.Nanosecond() != 0 {
		t.Errorf("%+v, %v", mute.m, err)
	}
	own := window{long: time.Hour, m: fanwatch.Maintenance{Fan: "fan-07"}}
	if err := own.set(now); err != nil || own.m.By == "" {
		t.Errorf("%+v, %v", own.m, err)
	}
}

// TestAWindowThatCannotBeIsAUsageError with the reason.
func TestAWindowThatCannotBeIsAUsageError(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for want, w := range map[string]window{
		"--zone":                               {long: time.Hour, m: fanwatch.Maintenance{Zone: "Mars"}},
		"--from":                               {from: "tomorrow", long: time.Hour},
		"--until \"2026-12-01 11:00\" is over": {till: "2026-12-01 11:00"},
		"it is over":                           {from: "2026-11-01 10:00", long: time.Hour},
		"before it ends":                       {long: 30 * time.Hour, m: fanwatch.Maintenance{Repeat: "daily"}},
		"give daily, weekly, monthly":          {long: time.Hour, m: fanwatch.Maintenance{Repeat: "often"}},
	} {
		if err := w.set(now); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, args := range [][]string{{"maintenance", "add", "--for", "2h"}, {"maintenance", "add", "--site", "a", "--all",
		"--for", "2h"}, {"maintenance", "add", "--site", "a"}, {"mute", "fan-07"}, {"mute", "fan-07", "--for", "1h",
		"--until", "2030-01-01 00:00"}, {"mute", "fan 07", "--for", "1h"}, {"maintenance", "end"}, {"maintenance", "stop"}} {
		c := command()
		c.SetArgs(args)
		c.SetOut(&bytes.Buffer{})
		if err := c.ExecuteContext(t.Context()); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestMaintenancesStandInListsAndWithTheirFans: what runs marks the fan, what is planned stands with it.
func TestMaintenancesStandInListsAndWithTheirFans(t *testing.T) {
	from := time.Date(2026, 12, 5, 21, 0, 0, 0, time.UTC)
	m := fanwatch.Maintenance{ID: "maintenance/hall-a-1", Site: "Hall A", Zone: "Europe/Berlin", By: "ada", Why: "filters",
		Repeat: "FREQ=WEEKLY", From: from, For: fanwatch.Duration(time.Hour)}
	mute := fanwatch.Maintenance{ID: "maintenance/fan-07-1", Fan: "fan-07", By: "bob", Mute: true}
	all := []fanwatch.MaintenanceStatus{{Maintenance: m, State: fanwatch.MaintenancePlanned, Begin: from,
		Until: from.Add(time.Hour), Next: from.AddDate(0, 0, 7), EndedBy: "eve"},
		{Maintenance: mute, State: fanwatch.MaintenanceRunning, Begin: from, Until: from.Add(time.Hour)}}
	var out bytes.Buffer
	if err := printMaintenances(&out, all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"planned", "Sat 2026-12-05 22:00 CET", "Sat 2026-12-12 22:00 CET", "FREQ=WEEKLY",
		"filters, ended by eve", "maintenance/hall-a-1", "running (mute)", "once"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the list lacks %q:\n%s", want, out.String())
		}
	}
	f := fanLine{FanStatus: fanwatch.FanStatus{Device: fanwatch.Device{Fan: "fan-07", Site: "Hall A, rack 3"}},
		State: "normal"}
	f.Maintenances = underMaintenance(all, f.Device)
	out.Reset()
	if err := printFans(&out, []fanLine{f}, from); err != nil || !strings.Contains(out.String(), "normal (muted)") {
		t.Errorf("%s%v", out.String(), err)
	}
	f.Maintenances[0].State = fanwatch.MaintenanceRunning
	out.Reset()
	if err := printFans(&out, []fanLine{f}, from); err != nil || !strings.Contains(out.String(), "normal (maintenance)") {
		t.Errorf("%s%v", out.String(), err)
	}
	out.Reset()
	err := showFan(&out, fanDetails{fanLine: f}, nil, from)
	for _, want := range []string{"Hall A is maintained until Sat 2026-12-05 23:00 CET, next at Sat 2026-12-12 22:00 " +
		"CET, by ada: filters", "fanwatch maintenance end maintenance/hall-a-1", "fan-07 is muted until"} {
		if err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("show lacks %q:\n%s%v", want, out.String(), err)
		}
	}
}
