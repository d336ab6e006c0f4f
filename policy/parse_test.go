package policy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/policy"
)

const onePolicy = "version: 1\nname: default\nsteps:\n  - notify: [on-call]\n"

// faults are the inputs that showed the faults; tests that need them skip where they are not.
const faults = "../../shared/faults"

func TestAPolicyFileWithAMistakeIsRefusedWithTheMend(t *testing.T) {
	for text, want := range map[string]string{
		onePolicy: "",
		"version: 1\nname: default\nhold: -1s\nsteps:\n  - notify: ['arn:aws-cn:sns:cn-north-1:123456789012:on_call']\n": "",
		strings.Replace(onePolicy, "on-call", "''",
			1): "a name has 1 to 256",
		strings.Replace(onePolicy, "on-call", "Bereitschaft S\u00fcd",
			1): "a name has 1 to 256",
		strings.Replace(onePolicy, "on-call", strings.Repeat("a", 257),
			1): "a name has 1 to 256",
		strings.Replace(onePolicy, "on-call", "'arn:aws:sns:eu-central-1:123456789012'",
			1): "want arn:aws:sns:REGION:ACCOUNT:NAME",
		strings.Replace(onePolicy, "on-call", "'arn:aws:sqs:eu-central-1:123456789012:x'",
			1): "want arn:aws:sns:REGION:ACCOUNT:NAME",
		strings.Replace(onePolicy, "on-call", "'arn:aws:sns:eu-central-1:1:x'",
			1): "want arn:aws:sns:REGION:ACCOUNT:NAME",
		strings.Replace(onePolicy, "on-call", "calls.fifo",
			1): "a FIFO topic takes no mail",
		onePolicy +
			"ack_timeout: 1ns\n": "ack_timeout 1ns is below 1s",
		onePolicy +
			"ack_timeout: -1s\n": "ack_timeout -1s is below 1s",
		onePolicy +
			"hold: 1ms\n": "hold 1ms is outside",
		onePolicy +
			"hold: 9000h\n": "hold 9000h0m0s is outside",
		onePolicy + "info: {notify: [look], at: '07:30', zone: Europe/Berlin}\n": "",
		onePolicy + "info: {notify: [look]}\n":                                   "",
		onePolicy + "info: {at: '07:30'}\n":                                      "info: notify is empty",
		onePolicy + "info: {notify: [a b]}\n":                                    "info: topic \"a b\": a name has 1 to 256",
		onePolicy + "info: {notify: [look], at: morning}\n":                      "info: at \"morning\" is no time of day",
		onePolicy + "info: {notify: [look], zone: Mars}\n":                       "info: zone \"Mars\" is not an IANA",
		onePolicy + "stepz: []\n":                                                "stepz\" is unknown: do you mean steps?",
		"":                                                                       "none is named default",
		"version: 1\nname: other\nsteps: [{notify: [a]}]\n":                      "none is named default",
		onePolicy + "---\n" + onePolicy:                                          "stands twice",
		"version: 3\n":                                                           "version 3 is unknown",
		"name: [\n":                                                              "it is not YAML",
		onePolicy + "quiet: {from: '22:00', to: '07:00'}\n":                      "field \"quiet\" is unknown",
		"version: 1\nname: default\nsteps: [&s {notify: [a]}, {<<: *s, after: 20s}]\n": "",
	} {
		_, err := policy.Parse("policy.yaml", []byte(text))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	bad, err := os.ReadFile(filepath.Join(faults, "15-policy-bad-names.yaml"))
	if err != nil {
		t.Skip("the inputs of the findings are not here: " + err.Error())
	}
	if _, err := policy.Parse("bad", bad); err == nil {
		t.Error("15-policy-bad-names.yaml was taken")
	}
	if dead, err := os.ReadFile(filepath.Join(faults, "14-policy-dead-topic.yaml")); err == nil {
		if _, err := policy.Parse("dead", dead); err != nil {
			t.Errorf("14-policy-dead-topic.yaml: %v", err)
		}
	}
}

// wrong has a mistake on each line whose number stands behind it.
const wrong = `version: 2
zone: Europe/Berlim # 2
people:
  ada: {channels: [ada-mail], zone: Mars} # 4
  bob: {} # 5
  Bob Smith: {channels: [x]} # 6
channels:
  ada-mail:
    mail: {to: [ada@example.com], from: f@example.com, server: "mail.example.com:587", sever: x} # 9
  ada: {sns: {topic: t}} # people have the name too: see line 4
  hook: {webhook: {url: "https://h.example", secret: env:S}} # 11
schedules:
  on-call:
    handover: Someday # 14
    people: [ada, abe] # 15
    overrides:
      - {who: ada, from: 2026-12-24, to: 2026-12-23} # 17
      - {who: bob, from: 2026-12-28, to: 2026-12-29}
      - {who: ada, from: 2026-12-29, to: 2026-12-30} # 19
policies:
  default:
    steps:
      - notify: [] # 23
      - {after: -1s, notify: [on-call], repeat: 101, every: 1s} # 24, twice
      - {notify: [b c]} # 25
    ack_timeout: {critical: 1ms, info: 3h} # 26, twice
    quiet: {from: "22:00", to: "7", severities: [critical]} # 27, twice
routes:
  - {match: {kind: stal}, policy: nihgt} # 29, twice
  - {match: {site: "[Hall"}, severity: bad} # 30, twice
  - {match: {hours: late}} # 31, twice
runbooks: {stall: wiki} # 32
linsk: {} # 33
`

func TestEveryMistakeOfAFileIsNamedWithItsLine(t *testing.T) {
	_, err := policy.Parse("p.yaml", []byte(wrong))
	var all policy.Problems
	if !errors.As(err, &all) {
		t.Fatal(err)
	}
	want := map[int]int{2: 1, 4: 2, 5: 1, 6: 1, 9: 1, 11: 1, 14: 1, 15: 1, 17: 1, 19: 1, 23: 1, 24: 2, 25: 1, 26: 2,
		27: 2, 29: 2, 30: 2, 31: 2, 32: 1, 33: 1}
	got := map[int]int{}
	for i, p := range all {
		got[p.Line]++
		if i > 0 && all[i-1].Line > p.Line {
			t.Errorf("line %d comes after line %d", p.Line, all[i-1].Line)
		}
		if strings.ContainsAny(p.Error(), "\n\r") || !strings.HasPrefix(p.Error(), "p.yaml:") {
			t.Errorf("%q", p.Error())
		}
	}
	for line := range 40 {
		if got[line] != want[line] {
			t.Errorf("line %d: %d mistakes, want %d", line, got[line], want[line])
		}
	}
	if t.Failed() {
		t.Log("\n" + err.Error())
	}
}

func TestAFileOfVersion1MeansWhatItMeant(t *testing.T) {
	f := parse(t, `version: 1
name: default
steps:
  - notify: [on-call]
    repeat: 1
    every: 20s
  - after: 20s
    notify: [on-call, "arn:aws:sns:us-east-1:000000000000:lead"]
ack_timeout: 1h
hold: 10s
info: {notify: [look], at: "07:30", zone: Europe/Berlin}
---
version: 1
name: night
steps: [{notify: [night]}]
`)
	p := resolve(t, f, fanwatch.Alert{Kind: fanwatch.KindStall}, "2026-12-01T10:00:00Z")
	if p.Name != "default" || len(p.Steps) != 2 || time.Duration(p.AckTimeout) != time.Hour ||
		p.HoldFor() != 10*time.Second || p.Info.At != "07:30" || p.Info.Zone != "Europe/Berlin" ||
		p.Info.Notify[0] != "look" ||
		time.Duration(p.Steps[0].Every) != 20*time.Second || p.Steps[0].Repeat != 1 ||
		strings.Join(p.Steps[1].Notify, " ") != "on-call arn:aws:sns:us-east-1:000000000000:lead" || !p.NotBefore.IsZero() {
		t.Errorf("%+v", p)
	}
	p = resolve(t, f, fanwatch.Alert{Kind: fanwatch.KindSpeed, Policy: "night"}, "2026-12-01T10:00:00Z")
	if p.Name != "night" || p.AckTimeout != 0 || p.HoldFor() != fanwatch.DefaultHold {
		t.Errorf("an acknowledge time-out that is left out is none in version 1: %+v", p)
	}
	if p = resolve(t, f, fanwatch.Alert{Policy: "gone"}, "2026-12-01T10:00:00Z"); p.Name != "default" {
		t.Errorf("a policy that is not there: %+v", p)
	}
	if topics := f.Topics(); len(topics) != 4 || strings.Join(topics["on-call"], " ") != "default" {
		t.Errorf("%v", topics)
	}
}

func TestWhatMayBeAMistakeIsAWarning(t *testing.T) {
	f := parse(t, `version: 2
people: {ada: {channels: [ada-mial]}}
channels: {ada-mail: {sns: {topic: t}}}
schedules: {on-call: {people: [ada]}}
policies:
  default:
    steps:
      - {notify: [on-cal]}
      - {after: 5m, notify: [ada], repeat: 3, every: 5m}
  quick:
    steps: [{notify: [ada-mail], after: 40s}]
    ack_timeout: {warning: 0}
`)
	var got []string
	for _, w := range f.Warnings() {
		got = append(got, w.Error())
	}
	text := strings.Join(got, "\n")
	for _, want := range []string{"p.yaml:2: person ada: ada-mial is taken for an SNS topic: do you mean ada-mail?",
		"p.yaml:8: policy default: on-cal is taken for an SNS topic: do you mean on-call?",
		"p.yaml:11: policy quick falls silent 40s after", "p.yaml:10: policy quick: an alert of severity warning"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing of\n%s", want, text)
		}
	}
	if len(got) != 4 {
		t.Error(text)
	}
}

func TestTheShippedPolicyIsGoodAndDoesNotFallSilent(t *testing.T) {
	text, err := os.ReadFile("../local/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f := parse(t, string(text))
	if w := f.Warnings(); len(w) > 0 {
		t.Error(w)
	}
	at := time.Date(2026, 12, 1, 2, 0, 0, 0, time.UTC)
	r, err := f.Forecast(fanwatch.Alert{Kind: fanwatch.KindStall, Severity: fanwatch.SeverityCritical}, at)
	if err != nil || r.Turns[len(r.Turns)-1].After < 8*time.Hour {
		t.Errorf("the last turn comes after %s: %v", r.Turns[len(r.Turns)-1].After, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(onePolicy)
	f.Add(wrong)
	f.Add("version: 1\nname: default\nack_timeout: 1ns\nsteps:\n  - notify: ['', " +
		"'arn:aws:sns:eu-central-1:123456789012']\n    repeat: 101\n---\n{}")
	f.Add("version: 2\npolicies: &p {default: {steps: [{notify: a}], <<: *p}}\n")
	if text, err := os.ReadFile("../local/policy.yaml"); err == nil {
		f.Add(string(text))
	}
	f.Add(rotation)
	at := time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		file, err := policy.Parse("p.yaml", []byte(text))
		if err != nil {
			var all policy.Problems
			if !errors.As(err, &all) || len(all) == 0 {
				t.Errorf("%T %v", err, err)
			}
			return
		}
		for name, p := range file.Policies(at) {
			if name == "" || p.HoldFor() < 0 || len(p.Steps) == 0 || p.AckTimeout < 0 {
				t.Errorf("%q: %+v was taken", name, p)
			}
			for _, s := range p.Steps {
				if len(s.Notify) == 0 || s.After < 0 || s.Repeat > 0 && time.Duration(s.Every) < time.Second {
					t.Errorf("%q: step %+v was taken", name, s)
				}
			}
			if _, err := file.Forecast(fanwatch.Alert{Kind: fanwatch.KindSpeed, Policy: name}, at); err != nil {
				t.Error(err)
			}
		}
		for topic := range file.Topics() {
			if strings.ContainsAny(topic, " \n\x1b/") || topic == "" {
				t.Errorf("the topic %q was taken", topic)
			}
		}
		now, next := file.OnCall(at)
		for i, s := range now {
			if s.Person == "" || s.From.After(at) || !s.Until.IsZero() && (!s.Until.After(at) || next[i].Person == "") {
				t.Errorf("%+v, then %+v", s, next[i])
			}
		}
	})
}

// TestTheExampleOfREADMEIsGood: it is read without a mistake, and does not fall silent.
func TestTheExampleOfREADMEIsGood(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(readme), "```yaml\nversion: 2\n")
	text, _, closed := strings.Cut(text, "```")
	if !found || !closed {
		t.Fatal("README has no policy file")
	}
	f, err := policy.Parse("README.md", []byte("version: 2\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	if w := f.Warnings(); len(w) > 0 {
		t.Error(w)
	}
}
