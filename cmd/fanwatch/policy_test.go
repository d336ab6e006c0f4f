package main

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanwatch/cloud"
	"fanwatch/local/aws/sns"
)

// TestPolicyCheckNamesEachBadTopic asks a local SNS that knows on-call, with a subscriber, and lonely, without.
func TestPolicyCheckNamesEachBadTopic(t *testing.T) {
	server, err := sns.New(sns.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	web := httptest.NewServer(server)
	defer web.Close()
	cfg, err := cloud.Config(t.Context(), cloud.Settings{Region: "us-east-1", Local: true, AccessKey: "a", SecretKey: "b",
		Endpoints: []string{web.URL}})
	if err != nil {
		t.Fatal(err)
	}
	client := cloud.NewSNS(cfg, web.URL)
	onCall, err := client.CreateTopic(t.Context(), "on-call")
	if err == nil {
		err = client.SubscribeEmail(t.Context(), onCall, "ada@example.com")
	}
	if err == nil {
		_, err = client.CreateTopic(t.Context(), "lonely")
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(args ...string) (string, error) {
		var o bytes.Buffer
		c := command()
		c.SetArgs(append([]string{"--dir", dir, "policy", "check"}, args...))
		c.SetOut(&o)
		c.SetErr(&o)
		err := c.ExecuteContext(t.Context())
		return o.String(), err
	}
	good := "version: 1\nname: default\nsteps:\n  - notify: [on-call]\n"
	file("policy.yaml", good)
	if out, err := run(); err != nil || !strings.Contains(out, "its topics (1) were not checked") {
		t.Errorf("nothing runs: %v: %s", err, out)
	}
	e, err := json.Marshal(endpoints{V: 1, AWS: web.URL, S3: web.URL, Keys: file("keys", "a\nb\n"), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	file("endpoints.json", string(e))
	if out, err := run(); err != nil || !strings.Contains(out, "all its topics (1) can be reached") {
		t.Errorf("%v: %s", err, out)
	}
	bad := file("bad.yaml", good+"  - notify: [lonely, on-cal]\n")
	out, err := run(bad)
	if err == nil || !strings.Contains(err.Error(), "2 of 3 topics") ||
		!strings.Contains(out, "topic lonely (policy default): it has no subscription") ||
		!strings.Contains(out, "topic on-cal (policy default): ") {
		t.Errorf("%v: %s", err, out)
	}
	out, err = run(bad, "--json")
	var r policyReport
	if json.Unmarshal([]byte(out), &r) != nil || err == nil || len(r.Trouble) != 2 || !r.Checked {
		t.Errorf("%v: %s", err, out)
	}
	misspelt := file("misspelt.yaml", strings.Replace(good, "notify", "notfy", 1)+"hold: 1ms\n")
	if out, err := run(misspelt); err == nil || !strings.Contains(err.Error(), "notfy") ||
		!strings.Contains(out, misspelt+":4: ") || !strings.Contains(out, misspelt+":5: ") {
		t.Errorf("a misspelt field: %v: %s", err, out)
	}
	t.Setenv("FANWATCH_TEST_URL", "https://chat.example.com/x")
	secret := file("secret.yaml", "version: 2\nchannels:\n  chat: {slack: {url: env:FANWATCH_TEST_URL}}\n"+
		"  lost: {slack: {url: env:FANWATCH_TEST_NONE}}\npolicies:\n  default: {steps: [{notify: [chat, lost]}]}\n")
	out, err = run(secret)
	if err == nil || !strings.Contains(err.Error(), "secrets") || !strings.Contains(out, "channel lost: ") ||
		!strings.Contains(out, ":6: warning: policy default falls silent") || strings.Contains(out, "channel chat") ||
		strings.Contains(out, "chat.example.com") {
		t.Errorf("%v: %s", err, out)
	}
}

// shippedPolicy returns the path of the local system's policy file.
func shippedPolicy(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../local/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// berlin has a hand-over on Mondays at 09:00 and quiet hours.
const berlin = `version: 2
zone: Europe/Berlin
people: {ada: {channels: [ada-push]}, bob: {channels: [bob-push]}}
schedules: {on-call: {start: 2026-11-30, people: [ada, bob], overrides: [{who: bob, from: 2026-12-02, to: 2026-12-02}]}}
policies:
  default:
    steps: [{notify: [on-call], repeat: 5, every: 10m}, {after: 10m, notify: [lead], repeat: 50, every: 5m}]
    quiet: {from: "22:00", to: "07:00"}
    info: {notify: [look]}
routes: [{name: lab, match: {site: Lab}, severity: info}]
`

func TestPolicyWhoSaysWhoWouldBeToldAndWhen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(berlin), 0o600); err != nil {
		t.Fatal(err)
	}
	who := func(args ...string) string {
		t.Helper()
		out, err := inProcess(t, append([]string{"policy", "who", "fan-07", "--policies", file}, args...)...)
		if err != nil {
			t.Error(err)
		}
		return strings.Join(strings.Fields(out), " ")
	}
	out := who("--at", "2026-12-07 08:40", "--severity", "critical")
	for _, want := range []string{"fan-07: stall, critical, opened Mon 2026-12-07 08:40:00 CET", "No system was asked",
		"policy default (no route matches)",
		"0s Mon 2026-12-07 08:40:00 CET to Mon 08:50:00 1 2 ada-push sns ada (on-call)",
		"20m0s Mon 2026-12-07 09:00:00 CET to Mon 09:30:00 1 4 bob-push sns bob (on-call)",
		"1h0m0s Mon 2026-12-07 09:40:00 CET to Mon 13:50:00 2 51 lead sns", "not over after 30m0s"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing of %s", want, out)
		}
	}
	out = who("--at", "2026-12-07 23:00", "--kind", "speed")
	if !strings.Contains(out, "8h0m0s Tue 2026-12-08 07:00:00 CET") ||
		!strings.Contains(out, "quiet hours until 07:00 CET") {
		t.Error(out)
	}
	out = who("--site", "Lab, desk", "--at", "2026-12-07 12:00")
	if !strings.Contains(out, "severity info by lab") || !strings.Contains(out, "told to look in the message of Tue "+
		"2026-12-08 08:00:00 CET") {
		t.Error(out)
	}
	var r whoReport
	if err := json.Unmarshal([]byte(who("--json", "--at", "2026-12-07 08:40")), &r); err != nil || len(r.Turns) != 3 ||
		r.Turns[0].Told[0].Person != "ada" || r.Turns[2].Times != 51 {
		t.Errorf("%+v, %v", r, err)
	}
	refuses(t, "policy who fan-07 --policies "+file+" --at noon", `--at: "noon" is no time: write 2026-12-24, 2026-12-24 `+
		`09:00 or 2026-12-24T09:00:00+01:00 (see --help)`)
}

func TestOnCallSaysWhoUntilWhenAndWhoNext(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(berlin), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := runs(t.Context(), "--dir", dir, "oncall", "--at", "2026-12-02 12:00")
	if got := strings.Join(strings.Fields(out), " "); err != nil ||
		!strings.Contains(got, "on-call bob Thu 2026-12-03 00:00 CET ada override") {
		t.Errorf("%v: %s", err, got)
	}
	var r onCallReport
	out, err = runs(t.Context(), "--dir", dir, "oncall", "--at", "2026-12-03", "--json")
	if json.Unmarshal([]byte(out), &r) != nil || err != nil || len(r.Schedules) != 1 ||
		r.Schedules[0].Now.Person != "ada" || r.Schedules[0].Next.Person != "bob" {
		t.Errorf("%v: %s", err, out)
	}
}
