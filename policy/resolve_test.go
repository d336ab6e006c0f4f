package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/policy"
)

func parse(t *testing.T, text string) *policy.File {
	t.Helper()
	f, err := policy.Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func when(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func resolve(t *testing.T, f *policy.File, a fanwatch.Alert, at string) fanwatch.Policy {
	t.Helper()
	p, err := f.Resolve(a, when(t, at))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rotation has three persons, weekly on Monday at 09:00 in Berlin, where clocks change on Sundays at 02:00 and
// 03:00, and one that hands over on Sundays in that very hour.
const rotation = `version: 2
zone: Europe/Berlin
people:
  ada: {channels: [ada-mail, ada-push]}
  bob: {channels: [bob-mail], zone: America/New_York}
  eve: {channels: [eve-mail]}
channels:
  bob-mail: {mail: {to: [bob@example.com], from: fans@example.com, server: "mail.example.com:587"}}
schedules:
  on-call:
    handover: Mon 09:00
    start: 2026-11-30
    people: [ada, bob, eve]
    overrides:
      - {who: eve, from: 2026-12-08, to: 2026-12-08, note: bob is away}
      - {who: ada, from: 2026-12-10 18:00, to: 2026-12-14 12:00}
  gap:
    handover: Sun 02:30
    start: 2026-03-22
    people: [ada, bob]
policies:
  default:
    steps:
      - {notify: [on-call], repeat: 2, every: 1h}
      - {after: 1h, notify: [on-call, eve, lead], repeat: 100, every: 5m}
    quiet: {from: "22:00", to: "07:00"}
`

func onCall(t *testing.T, f *policy.File, schedule, at string) (now, next policy.Shift) {
	t.Helper()
	all, then := f.OnCall(when(t, at))
	i := slices.IndexFunc(all, func(s policy.Shift) bool { return s.Schedule == schedule })
	return all[i], then[i]
}

func TestTheHandOverIsAtTheLocalTimeOverBothChangesOfTheClock(t *testing.T) {
	f := parse(t, rotation)
	for at, want := range map[string]string{
		"2026-11-30T07:59:59Z": "eve", // 08:59 in Berlin: the turn before the first
		"2026-11-30T08:00:00Z": "ada", // 09:00 CET
		"2026-12-07T07:59:59Z": "ada",
		"2026-12-07T08:00:00Z": "bob",
		"2027-03-29T06:59:59Z": "bob", // the Monday after the clocks were put forward: 08:59 CEST
		"2027-03-29T07:00:00Z": "eve", // 17 weeks after the first: 09:00 CEST
		"2026-10-26T07:59:59Z": "ada", // the Monday after they were put back: 08:59 CET
		"2026-10-26T08:00:00Z": "bob", // 09:00 CET
		"2026-10-19T07:00:00Z": "ada", // 09:00 CEST
	} {
		if now, _ := onCall(t, f, "on-call", at); now.Person != want {
			t.Errorf("at %s: %s, want %s", at, now.Person, want)
		}
	}
}

// TestAHandOverInTheHourThatIsSkippedOrRepeatedComesOnce: on 2026-03-29 clocks in Berlin go from 02:00 to 03:00, and on
// 2026-10-25 from 03:00 to 02:00.
func TestAHandOverInTheHourThatIsSkippedOrRepeatedComesOnce(t *testing.T) {
	f := parse(t, rotation)
	for at, want := range map[string]string{
		"2026-03-22T01:30:00Z": "ada 2026-03-22T01:30:00Z to 2026-03-29T01:00:00Z", // to the moment of the change
		"2026-03-29T00:59:59Z": "ada 2026-03-22T01:30:00Z to 2026-03-29T01:00:00Z",
		"2026-03-29T01:00:00Z": "bob 2026-03-29T01:00:00Z to 2026-04-05T00:30:00Z",
		"2026-10-25T00:29:59Z": "ada 2026-10-18T00:30:00Z to 2026-10-25T00:30:00Z",
		"2026-10-25T00:30:00Z": "bob 2026-10-25T00:30:00Z to 2026-11-01T01:30:00Z", // the first 02:30
		"2026-10-25T01:30:00Z": "bob 2026-10-25T00:30:00Z to 2026-11-01T01:30:00Z", // the second
	} {
		s, _ := onCall(t, f, "gap", at)
		got := fmt.Sprintf("%s %s to %s", s.Person, s.From.UTC().Format(time.RFC3339), s.Until.UTC().Format(time.RFC3339))
		if got != want {
			t.Errorf("at %s: %s, want %s", at, got, want)
		}
	}
}

func TestAnOverrideCoversTheWholeTimeItNames(t *testing.T) {
	f := parse(t, rotation)
	for at, want := range map[string]string{
		"2026-12-07T22:59:59Z": "bob until 2026-12-07T23:00:00Z then eve",
		"2026-12-07T23:00:00Z": "eve until 2026-12-08T23:00:00Z then bob", // Tuesday from midnight to midnight in Berlin
		"2026-12-08T22:59:59Z": "eve until 2026-12-08T23:00:00Z then bob",
		"2026-12-08T23:00:00Z": "bob until 2026-12-10T17:00:00Z then ada",
		"2026-12-14T09:00:00Z": "ada until 2026-12-14T11:00:00Z then eve", // over the hand-over of 08:00 to eve
		"2026-12-14T11:00:00Z": "eve until 2026-12-21T08:00:00Z then ada",
	} {
		s, next := onCall(t, f, "on-call", at)
		got := fmt.Sprintf("%s until %s then %s", s.Person, s.Until.UTC().Format(time.RFC3339), next.Person)
		if got != want {
			t.Errorf("at %s: %s, want %s", at, got, want)
		}
	}
	if s, _ := onCall(t, f, "on-call", "2026-12-08T12:00:00Z"); !s.Override || s.Note != "bob is away" {
		t.Errorf("%+v", s)
	}
}

func TestAHandOverReachesAnEscalationThatRuns(t *testing.T) {
	f := parse(t, rotation)
	r, err := f.Forecast(fanwatch.Alert{Fan: "fan-07", Kind: fanwatch.KindStall}, when(t, "2026-12-07T07:30:00Z"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, turn := range r.Turns[:4] {
		var to []string
		for _, x := range turn.To {
			to = append(to, x.Channel)
		}
		got = append(got, fmt.Sprintf("%d.%d %s %s", turn.Step, turn.Repeat, turn.At.Format("15:04"), strings.Join(to, ",")))
	}
	want := []string{"1.0 07:30 ada-mail,ada-push", "1.1 08:30 bob-mail", "1.2 09:30 bob-mail",
		"2.0 10:30 bob-mail,eve-mail,lead"} // the hand-over is at 08:00 UTC
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if x := r.Turns[3].To[0]; x.Person != "bob" || x.Schedule != "on-call" || x.Sort != "mail" {
		t.Errorf("%+v", x)
	}
	if c, ok := f.Channel("bob-mail"); !ok || c.Zone != "America/New_York" {
		t.Errorf("a person's channel is read in the person's zone: %+v", c)
	}
	if c, ok := f.Channel("lead"); ok || c.SNS.Topic != "lead" || c.Zone != "Europe/Berlin" {
		t.Errorf("a topic: %+v", c)
	}
	if time.Duration(r.Policy.AckTimeout) != 30*time.Minute {
		t.Errorf("the acknowledge time-out of what is critical is %s", r.Policy.AckTimeout)
	}
}

// TestQuietHoursHoldBackWhatIsNotCritical across midnight and both changes of the clock.
func TestQuietHoursHoldBackWhatIsNotCritical(t *testing.T) {
	f := parse(t, rotation)
	warning := fanwatch.Alert{Fan: "fan-07", Kind: fanwatch.KindSpeed}
	for at, want := range map[string]string{
		"2026-12-01T20:59:59Z": "",
		"2026-12-01T21:00:00Z": "2026-12-02T06:00:00Z", // 22:00 CET
		"2026-12-02T02:00:00Z": "2026-12-02T06:00:00Z",
		"2026-12-02T06:00:00Z": "",
		"2026-03-28T23:30:00Z": "2026-03-29T05:00:00Z", // 07:00 CEST after the short night
		"2026-10-25T00:30:00Z": "2026-10-25T06:00:00Z", // 07:00 CET after the long one
	} {
		p := resolve(t, f, warning, at)
		got := ""
		if !p.NotBefore.IsZero() {
			got = p.NotBefore.Format(time.RFC3339)
		}
		if got != want || (want != "") != strings.Contains(p.Because, "quiet hours until 07:00 CE") {
			t.Errorf("at %s: not before %q (%s), want %q", at, got, p.Because, want)
		}
		if p := resolve(t, f, fanwatch.Alert{Kind: fanwatch.KindStall}, at); !p.NotBefore.IsZero() {
			t.Errorf("at %s what is critical waits until %s", at, p.NotBefore)
		}
	}
	r, err := f.Forecast(warning, when(t, "2026-12-01T21:30:00Z"))
	if first := r.Turns[0]; err != nil || !first.At.Equal(when(t, "2026-12-02T06:00:00Z")) ||
		first.After != 8*time.Hour+30*time.Minute || first.Because == "" || r.Turns[1].Because != "" {
		t.Errorf("%+v, %v", r.Turns[:2], err)
	}
}

const routes = `version: 2
zone: UTC
policies:
  default: {steps: [{notify: [on-call], repeat: 10, every: 5m}]}
  hall: {steps: [{notify: [hall], repeat: 10, every: 5m}]}
  night: {steps: [{notify: [night], repeat: 10, every: 5m}], ack_timeout: 1h, info: {notify: [look]}}
  lab: {steps: [{notify: [lab], repeat: 10, every: 5m}], ack_timeout: {critical: 5m}}
routes:
  - {name: nights, match: {site: Hall A, hours: "22:00-06:00", zone: Europe/Berlin}, policy: night}
  - {match: {site: Hall A, severity: critical}, policy: hall}
  - {match: {site: [Hall A, "Hall B*"], tag: "team:*"}, policy: lab, severity: critical}
  - {match: {fan: "lab/*"}, policy: lab, severity: info}
  - {match: {model: NF-A12, kind: [frozen, speed]}, severity: critical}
runbooks: {stall: https://wiki.example.com/stall}
links: {dashboard: "https://fans.example.com/", temporal: "https://t.example.com/namespaces/fanwatch"}
`

func TestTheFirstRouteThatMatchesHolds(t *testing.T) {
	f := parse(t, routes)
	const stall, speed = fanwatch.KindStall, fanwatch.KindSpeed
	for _, c := range []struct {
		at, want string // policy, severity, route
		a        fanwatch.Alert
	}{
		{"12:00", "default,,", fanwatch.Alert{Fan: "x", Kind: stall}},
		{"21:30", "night,,nights", fanwatch.Alert{Site: "Hall A, rack 3", Kind: stall}}, // 22:30 in Berlin
		{"05:00", "hall,,route 2", fanwatch.Alert{Site: "Hall A", Kind: stall}},
		{"05:00", "default,,", fanwatch.Alert{Site: "Hall A2", Kind: stall}},
		{"05:00", "default,,", fanwatch.Alert{Site: "Hall A", Kind: speed}},
		{"05:00", "lab,critical,route 3", fanwatch.Alert{Site: "Hall A", Kind: speed, Tags: []string{"x", "team:b/c"}}},
		{"12:00", "lab,critical,route 3", fanwatch.Alert{Site: "Hall B7, rack", Kind: speed, Tags: []string{"team:x"}}},
		{"12:00", "lab,info,route 4", fanwatch.Alert{Fan: "lab/7/b", Kind: stall}},
		{"12:00", "default,critical,route 5", fanwatch.Alert{Model: "NF-A12", Kind: speed}},
		// the device's policy beats the route's; the route's severity holds
		{"12:00", "night,info,route 4", fanwatch.Alert{Fan: "lab/7", Kind: stall, Policy: "night"}},
		{"12:00", "lab,info,route 4", fanwatch.Alert{Fan: "lab/7", Kind: stall, Policy: "gone"}},
		// a route goes by what the judge said, whatever a route made of it since
		{"05:00", "default,,", fanwatch.Alert{Site: "Hall A", Kind: speed, Severity: fanwatch.SeverityCritical,
			Anomaly: fanwatch.Anomaly{Kind: speed, Severity: fanwatch.SeverityWarning}}},
	} {
		p := resolve(t, f, c.a, "2026-12-01T"+c.at+":00Z")
		if got := fmt.Sprintf("%s,%s,%s", p.Name, p.Severity, p.Route); got != c.want {
			t.Errorf("%+v at %s: %s, want %s", c.a, c.at, got, c.want)
		}
	}
}

func TestTheAcknowledgeTimeOutGoesBySeverity(t *testing.T) {
	f := parse(t, routes)
	for _, c := range []struct {
		policy string
		kind   fanwatch.Kind
		want   time.Duration
	}{
		{"default", fanwatch.KindStall, 30 * time.Minute}, {"default", fanwatch.KindSpeed, 4 * time.Hour},
		{"default", fanwatch.KindJitter, 0}, {"night", fanwatch.KindStall, time.Hour},
		{"night", fanwatch.KindSpeed, time.Hour}, {"night", fanwatch.KindJitter, 0},
		{"lab", fanwatch.KindStall, 5 * time.Minute}, {"lab", fanwatch.KindSpeed, 4 * time.Hour},
	} {
		p := resolve(t, f, fanwatch.Alert{Kind: c.kind, Policy: c.policy}, "2026-12-01T12:00:00Z")
		if time.Duration(p.AckTimeout) != c.want {
			t.Errorf("%s, %s: %s, want %s", c.policy, c.kind, p.AckTimeout, c.want)
		}
	}
}

func TestANotificationLinksToFanWorkflowAndRunbook(t *testing.T) {
	f := parse(t, routes)
	p := resolve(t, f, fanwatch.Alert{ID: "alert/fan 7/stall/1", Fan: "fan 7", Kind: fanwatch.KindStall},
		"2026-12-01T12:00:00Z")
	if want := (fanwatch.Links{Dashboard: "https://fans.example.com/#/fan/fan%207",
		Temporal: "https://t.example.com/namespaces/fanwatch/workflows/alert%2Ffan%207%2Fstall%2F1",
		Runbook:  "https://wiki.example.com/stall"}); p.Links != want {
		t.Errorf("%+v", p.Links)
	}
	r, err := f.Forecast(fanwatch.Alert{Kind: fanwatch.KindJitter, Policy: "night"}, when(t, "2026-12-01T09:00:00Z"))
	if err != nil || len(r.Turns) > 0 || !r.Morning.Equal(when(t, "2026-12-02T08:00:00Z")) ||
		r.Digest[0].Channel != "look" {
		t.Errorf("info wakes no one: %+v, %v", r, err)
	}
}
