package workers

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/cloud"
	"fanwatch/local/aws/fault"
	"fanwatch/local/aws/sns"
)

const onePolicy = "version: 1\nname: default\nsteps:\n  - notify: [on-call]\n"

func TestAMendedPolicyFileIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	at := time.Now()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Second) // two changes in one tick of the file system's clock would be one
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write(onePolicy)
	var logged bytes.Buffer
	f, err := OpenPolicies(file, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	topic := func() string { return f.Policies()["default"].Steps[0].Notify[0] }
	if got := topic(); got != "on-call" || logged.Len() > 0 {
		t.Errorf("told %q, logged %s", got, &logged)
	}
	write(strings.Replace(onePolicy, "on-call", "mended1", 1)) // as long as before
	if got := topic(); got != "mended1" {
		t.Errorf("mended: %q", got)
	}
	logged.Reset()
	write("version: 1\nname: default\nsteps: [{notify: ['']}]\n")
	if first, second := topic(), topic(); first != "mended1" || second != "mended1" ||
		strings.Count(logged.String(), "the last good ones stay") != 1 {
		t.Errorf("spoiled: %q, then %q, logged %s", first, second, &logged)
	}
	logged.Reset()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if first, second := topic(), topic(); first != "mended1" || second != "mended1" ||
		strings.Count(logged.String(), "the last good ones stay") != 1 {
		t.Errorf("removed: %q, then %q, logged %s", first, second, &logged)
	}
	write(onePolicy)
	if got := topic(); got != "on-call" {
		t.Errorf("back again: %q", got)
	}
	if _, err := OpenPolicies(filepath.Join(t.TempDir(), "none"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is not there was opened")
	}
}

// localSNS gives the topics of a local SNS whose topic on-call has a subscriber and whose topic lonely has none.
func localSNS(t *testing.T) (*sns.Server, Config) {
	t.Helper()
	server, err := sns.New(sns.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // nothing is kept
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	cfg, err := cloud.Config(t.Context(), cloud.Settings{Region: "us-east-1", Local: true, AccessKey: "a", SecretKey: "b",
		Endpoints: []string{web.URL}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.RetryMaxAttempts = 1
	c := Config{AWS: cfg, Account: "000000000000", Endpoints: Endpoints{SNS: web.URL}}
	client := cloud.NewSNS(cfg, web.URL)
	for _, name := range []string{"on-call", "lonely"} {
		arn, err := client.CreateTopic(t.Context(), name)
		if err == nil && name == "on-call" {
			err = client.SubscribeEmail(t.Context(), arn, "ada@example.com")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return server, c
}

func TestTopicsWithoutAConfirmedSubscriptionAreFound(t *testing.T) {
	server, c := localSNS(t)
	policies := map[string]fanwatch.Policy{
		"default": {Steps: []fanwatch.Step{{Notify: []string{"on-call", "gone"}}, {Notify: []string{"lonely"}}}},
		"night":   {Steps: []fanwatch.Step{{Notify: []string{"gone", "arn:aws:sns:us-east-1:000000000000:on-call"}}}}}
	c.Policies = func() map[string]fanwatch.Policy { return policies }
	found, err := CheckTopics(t.Context(), c)
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	if g := found[0]; g.Topic != "gone" || !slices.Equal(g.Policies, []string{"default", "night"}) ||
		!strings.Contains(g.Why, "NotFound") || g.Unknown {
		t.Errorf("%+v", g)
	}
	if l := found[1]; l.Topic != "lonely" || !strings.Contains(l.Why, "no subscription") || l.Unknown {
		t.Errorf("%+v", l)
	}
	if err := server.Faults().Inject(fault.Fault{Operation: "GetTopicAttributes", Kind: fault.Fail,
		Count: 100}); err != nil {
		t.Fatal(err)
	}
	if found, err = CheckTopics(t.Context(), c); err != nil || len(found) != 4 || !found[0].Unknown {
		t.Errorf("while SNS is out of service: %+v, %v", found, err)
	}
}

// TestWhatSNSRefusesIsNotTriedAgain: the activity gives up at once, and the alert goes on by its next step.
func TestWhatSNSRefusesIsNotTriedAgain(t *testing.T) {
	server, c := localSNS(t)
	n := activities.Notifier{SNS: newTopics(c), Now: time.Now}
	m := activities.Notification{Key: "alert/x#0.1.0", To: "gone", Step: 1, Subject: "s", Body: "b",
		Alert: fanwatch.Alert{ID: "alert/x", Fan: "fan-07", Kind: fanwatch.KindStall, State: fanwatch.AlertOpen}}
	_, err := n.Notify(t.Context(), m)
	// Temporal looks at the outermost error alone
	if app, ok := err.(*temporal.ApplicationError); !ok || !app.NonRetryable() ||
		!strings.Contains(app.Message(), "NotFound") {
		t.Errorf("a topic that does not exist: %T %v", err, err)
	}
	m.To = "on-call"
	if err := server.Faults().Inject(fault.Fault{Operation: "Publish", Kind: fault.Fail, Count: 1}); err != nil {
		t.Fatal(err)
	}
	var app *temporal.ApplicationError
	if _, err := n.Notify(t.Context(), m); err == nil || errors.As(err, &app) {
		t.Errorf("out of service: %v", err)
	}
	if _, err := n.Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	in := server.Inbox(0, 10)
	if len(in) != 1 || in[0].Attributes["state"] != "open" || in[0].Attributes["alert"] != "alert/x" ||
		in[0].Attributes["kind"] != "stall" {
		t.Errorf("%+v", in)
	}
}
