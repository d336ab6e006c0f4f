package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

func TestShowTellsWhoHasTheAlert(t *testing.T) {
	const id = "alert/fan-07/stall/x"
	f := fanwatch.FanStatus{Device: fanwatch.Device{Fan: "fan-07"}, Phase: fanwatch.Active, Alert: id, Last: fanwatch.Observation{V: 1, Anomaly: fanwatch.Anomaly{Kind: fanwatch.Stall}}}
	show := func(a fanwatch.Alert) string {
		var out strings.Builder
		if err := showFan(&out, f, a); err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(` +`).ReplaceAllString(out.String(), " ")
	}
	at := time.Date(2026, 5, 28, 20, 0, 0, 0, time.Local)
	open, taken := show(fanwatch.Alert{State: fanwatch.Open}), show(fanwatch.Alert{State: fanwatch.Acknowledged, AckedBy: "Ada", AckedAt: at, Note: "on my way"})
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

// TestAFanWithoutAReadingIsNotCalledWell: nobody knows yet how it is.
func TestAFanWithoutAReadingIsNotCalledWell(t *testing.T) {
	f := fanwatch.FanStatus{Phase: fanwatch.Active}
	if got := state(f); got != "no reading yet" {
		t.Errorf("before the first reading: %q", got)
	}
	f.Last.V = 1
	if got := state(f); got != "well" {
		t.Errorf("after it: %q", got)
	}
}
