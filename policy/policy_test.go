package policy

import (
	"os"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

const team = `version: 2
zone: Europe/Berlin
people:
  ada: {channels: [ada-mail, ada-phone]}
  grace: {zone: America/New_York, channels: [grace-mail]}
channels:
  ada-mail: {mail: {to: [ada@example.org], from: f@example.org, server: "mail.example.org:587"}}
schedules:
  primary:
    handover: Mon 09:00
    start: 2026-01-05
    people: [ada, grace]
    overrides:
      - {who: ada, from: 2026-03-19 18:00, to: 2026-03-20, note: swap}
policies:
  default:
    steps:
      - {notify: [primary], repeat: 2, every: 5m}
      - {after: 10m, notify: [primary, grace, lead], repeat: 10, every: 10m}
    quiet: {from: "22:00", to: "07:00"}
  hall:
    steps: [{notify: [lead]}]
    ack_timeout: {critical: 10m}
  silent:
    steps: [{notify: [lead]}]
    ack_timeout: 0s
routes:
  - {name: rack, match: {site: "Hall A, rack 3"}, policy: hall}
  - {name: night, match: {hours: "23:00-05:00", severity: [critical]}, policy: hall}
  - {name: drift, match: {kind: [drift], fan: "fan-*"}, severity: warning}
runbooks: {stall: "https://wiki.example.org/stall"}
links: {dashboard: "https://fans.example.org/", temporal: "https://t.example.org/namespaces/default"}
`

func parse(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func at(t *testing.T, zone, text string) time.Time {
	t.Helper()
	z, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	v, err := time.ParseInLocation("2006-01-02 15:04", text, z)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestHandOverIsByTheClockOnTheWall, in the weeks in which the clocks change too, and overrides stand before it.
func TestHandOverIsByTheClockOnTheWall(t *testing.T) {
	f := parse(t, team)
	for when, want := range map[string]string{
		"2026-01-04 12:00": "grace", // the week before the start
		"2026-01-05 08:59": "grace", "2026-01-05 09:00": "ada",
		"2026-01-12 08:59": "ada", "2026-01-12 09:00": "grace",
		"2026-03-23 09:00": "grace",                            // 11 weeks on
		"2026-03-30 08:59": "grace", "2026-03-30 09:00": "ada", // the clocks went forward on 29 March
		"2026-10-26 08:59": "grace", "2026-10-26 09:00": "ada", // and back on 25 October
		"2026-03-19 17:59": "ada", "2026-03-20 23:59": "ada", "2026-03-21 00:00": "ada",
	} {
		if got := f.OnCall(at(t, "Europe/Berlin", when))[0]; got.Who != want {
			t.Errorf("%s: %s, want %s", when, got.Who, want)
		}
	}
	swap := f.OnCall(at(t, "Europe/Berlin", "2026-03-20 12:00"))[0]
	if swap.Note != "swap" || !swap.Until.Equal(at(t, "Europe/Berlin", "2026-03-21 00:00")) {
		t.Errorf("%+v", swap)
	}
}

// TestAStepIsOfThoseOnCallWhenItIsDue: a hand-over in the middle of an escalation reaches the next step.
func TestAStepIsOfThoseOnCallWhenItIsDue(t *testing.T) {
	f := parse(t, team)
	alert := fanwatch.Alert{Fan: "fan-1", Kind: fanwatch.KindStall}
	for when, want := range map[string]string{
		"2026-01-12 08:58": "ada-mail ada-phone grace-mail lead",
		"2026-01-12 09:01": "grace-mail lead",
	} {
		p, err := f.Resolve(alert, at(t, "Europe/Berlin", when))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(p.Steps[1].Notify, " "); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
		if p.Links.Runbook == "" || p.Links.Dashboard != "https://fans.example.org/#/fan/fan-1" {
			t.Errorf("links %+v", p.Links)
		}
	}
}

// TestQuietHoursHoldWhatIsNotCritical until their end by the clock on the wall, in nights in which it changes too.
func TestQuietHoursHoldWhatIsNotCritical(t *testing.T) {
	f := parse(t, team)
	for _, c := range []struct{ when, until string }{
		{"2026-01-10 21:59", ""}, {"2026-01-10 22:00", "2026-01-11 07:00"}, {"2026-01-11 06:59", "2026-01-11 07:00"},
		{"2026-01-11 07:00", ""}, {"2026-03-28 23:00", "2026-03-29 07:00"}, {"2026-03-29 03:30", "2026-03-29 07:00"},
		{"2026-10-25 01:30", "2026-10-25 07:00"},
	} {
		when := at(t, "Europe/Berlin", c.when)
		p, err := f.Resolve(fanwatch.Alert{Fan: "a", Kind: fanwatch.KindSpeed, Severity: fanwatch.SeverityWarning}, when)
		if err != nil {
			t.Fatal(err)
		}
		if c.until == "" && !p.NotBefore.IsZero() || c.until != "" && !p.NotBefore.Equal(at(t, "Europe/Berlin", c.until)) {
			t.Errorf("%s: waits until %s (%s), want %q", c.when, p.NotBefore, p.Because, c.until)
		}
		p, err = f.Resolve(fanwatch.Alert{Fan: "a", Kind: fanwatch.KindSpeed, Severity: fanwatch.SeverityCritical}, when)
		if err != nil || !p.NotBefore.IsZero() {
			t.Errorf("%s: a critical alert waits until %s (%v)", c.when, p.NotBefore, err)
		}
	}
}

// TestTheFirstRouteThatMatchesHolds, after the policy that the fan names.
func TestTheFirstRouteThatMatchesHolds(t *testing.T) {
	f := parse(t, team)
	noon, night := at(t, "Europe/Berlin", "2026-01-06 12:00"), at(t, "Europe/Berlin", "2026-01-06 02:00")
	for _, c := range []struct {
		alert               fanwatch.Alert
		at                  time.Time
		policy, route, sort string
		ack                 time.Duration
	}{
		{fanwatch.Alert{Fan: "a", Kind: "stall"}, noon, "default", "", "", 30 * time.Minute},
		{fanwatch.Alert{Fan: "a", Kind: "stall", Site: "Hall A, rack 3"}, noon, "hall", "rack", "", 10 * time.Minute},
		{fanwatch.Alert{Fan: "a", Kind: "stall", Site: "Hall A, rack 3, slot 2"}, noon, "hall", "rack", "", 10 * time.Minute},
		{fanwatch.Alert{Fan: "a", Kind: "stall", Site: "Hall A, rack 31"}, noon, "default", "", "", 30 * time.Minute},
		{fanwatch.Alert{Fan: "a", Kind: "stall", Policy: "default", Site: "Hall A, rack 3"}, noon, "default", "rack", "",
			30 * time.Minute},
		{fanwatch.Alert{Fan: "a", Kind: "stall"}, night, "hall", "night", "", 10 * time.Minute},
		{fanwatch.Alert{Fan: "fan-1", Kind: "drift"}, noon, "default", "drift", "warning", 4 * time.Hour},
		{fanwatch.Alert{Fan: "a", Kind: "stall", Policy: "silent"}, noon, "silent", "", "", 0},
		{fanwatch.Alert{Fan: "a", Kind: "stall", Policy: "unknown"}, noon, "default", "", "", 30 * time.Minute},
	} {
		p, err := f.Resolve(c.alert, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if p.Name != c.policy || p.Route != c.route || string(p.Severity) != c.sort || time.Duration(p.AckTimeout) != c.ack {
			t.Errorf("%+v: policy %s, route %q, severity %q, ack time-out %s", c.alert, p.Name, p.Route, p.Severity,
				p.AckTimeout)
		}
	}
}

// TestEveryMistakeIsNamedWithItsLine, all in one reading.
func TestEveryMistakeIsNamedWithItsLine(t *testing.T) {
	text := strings.NewReplacer("people: [ada, grace]", "people: [ada, bob]", "zone: America/New_York", "zone: Mars",
		"handover: Mon 09:00", "handover: monday", "notify: [primary]", "notify: ['on call']", `from: "22:00"`, "from: ten",
		"policy: hall}\n  - {name: night", "policy: hal}\n  - {name: night", "kind: [drift]", "kind: [dirft]").Replace(team)
	_, err := Parse([]byte(text))
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{"line 5: people.grace.zone", "line 12: schedules.primary.people: \"bob\"",
		"line 10: schedules.primary.handover", "line 18: policies.default.steps.1.notify", "line 20: policies.default.quiet",
		"line 28: routes.1.policy: \"hal\"", "line 30: routes.3.match.kind: \"dirft\""} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	for text, want := range map[string]string{
		"version: 3\n": "version 3 is unknown", "version: 2\npolices: {}\n": "line 2: field polices not found",
		"version: 2\npolicies: {}\n": "none is named default", team + "---\nversion: 2\n": "version 2 is one document",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

// TestAFileOfVersion1MeansWhatItMeant: its acknowledgements last for ever where it gives no time-out.
func TestAFileOfVersion1MeansWhatItMeant(t *testing.T) {
	f := parse(t, "version: 1\nname: default\nsteps:\n  - notify: [on-call]\n---\nversion: 1\nname: night\n"+
		"ack_timeout: 1h\nsteps:\n  - notify: [lead]\n")
	for name, want := range map[string]fanwatch.Duration{"": 0, "night": fanwatch.Duration(time.Hour)} {
		p, err := f.Resolve(fanwatch.Alert{Fan: "a", Kind: fanwatch.KindStall, Policy: name}, time.Now())
		if err != nil || p.AckTimeout != want || len(p.Steps) != 1 {
			t.Errorf("%q: %+v, %v", name, p, err)
		}
	}
}

// TestTheShippedPolicyDoesNotFallSilent: a warning of policy check would say so.
func TestTheShippedPolicyDoesNotFallSilent(t *testing.T) {
	text, err := os.ReadFile("../local/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if w := parse(t, string(text)).Warnings(); len(w) > 0 {
		t.Error(w)
	}
	if w := parse(t, team).Warnings(); len(w) != 2 {
		t.Errorf("%d warnings, want those of hall and silent: %v", len(w), w)
	}
}

// FuzzParse: any bytes give an error or a file that resolves an alert.
func FuzzParse(f *testing.F) {
	f.Add([]byte(team))
	f.Add([]byte("version: 1\nname: default\nsteps:\n  - notify: [on-call]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse(text)
		if err != nil {
			return
		}
		now := time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)
		if _, err := file.Resolve(fanwatch.Alert{Fan: "a", Kind: fanwatch.KindStall}, now); err != nil {
			t.Fatal(err)
		}
		file.OnCall(now)
		file.Warnings()
	})
}
