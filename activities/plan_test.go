package activities

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"fanwatch"
	policyfile "fanwatch/policy"
)

const planned = `version: 2
policies:
  default: {steps: [{notify: [on-call], repeat: 9, every: 5m}], quiet: {from: "22:00", to: "07:00"},
    info: {notify: [look]}}
  lab: {steps: [{notify: [lab], repeat: 9, every: 5m}], info: {notify: [lab-look]}}
routes: [{name: lab, match: {site: Lab, tag: "team:*"}, policy: lab, severity: info}]
`

func planner(t *testing.T) *policyfile.File {
	t.Helper()
	f, err := policyfile.Parse("p.yaml", []byte(planned))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestAPlanIsThePolicyUnderMaintenanceAndIncident and outlives hooks that fail or hang.
func TestAPlanIsThePolicyUnderMaintenanceAndIncident(t *testing.T) {
	night := time.Date(2026, 12, 1, 23, 0, 0, 0, time.UTC)
	warning := fanwatch.Alert{ID: "alert/x", Fan: "fan-07", Kind: fanwatch.KindSpeed}
	var logged bytes.Buffer
	n := Notifier{Planner: planner(t), Log: slog.New(slog.NewTextHandler(&logged, nil))}
	plan := func() fanwatch.Policy {
		t.Helper()
		p, err := n.Plan(t.Context(), PlanInput{Alert: warning, At: night})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := plan(); !p.NotBefore.Equal(night.Add(8*time.Hour)) || !strings.HasPrefix(p.Because, "quiet hours") {
		t.Errorf("quiet hours: %+v", p)
	}
	until := night.Add(time.Hour)
	n.Maintain = func(context.Context, fanwatch.Alert, time.Time) (time.Time, string, error) { return until, "work", nil }
	n.Group = func(_ context.Context, a fanwatch.Alert, p fanwatch.Policy) (string, error) {
		return "incident of " + a.Fan + " by " + p.Name, nil
	}
	if p := plan(); !strings.HasPrefix(p.Because, "quiet hours") || p.Incident != "" {
		t.Errorf("a maintenance that ends before quiet hours do, in which no alert joins an incident: %+v", p)
	}
	until = night.Add(9 * time.Hour)
	if p := plan(); !p.NotBefore.Equal(until) || p.Because != "work" {
		t.Errorf("one that ends after them: %+v", p)
	}
	night = night.Add(10 * time.Hour)
	if p := plan(); !p.NotBefore.IsZero() || p.Incident != "incident of fan-07 by default" {
		t.Errorf("in the morning: %+v", p)
	}
	n.Maintain = func(context.Context, fanwatch.Alert, time.Time) (time.Time, string, error) {
		return until, "", errors.New("out of reach")
	}
	n.Group = func(context.Context, fanwatch.Alert, fanwatch.Policy) (string, error) {
		return "x", errors.New("no answer")
	}
	if p := plan(); p.Incident != "" || !p.NotBefore.IsZero() ||
		strings.Count(logged.String(), "is not known: it") != 2 {
		t.Errorf("hooks that fail: %+v, %s", p, &logged)
	}
	p, err := n.Plan(t.Context(), PlanInput{Policy: fanwatch.CanaryPolicy, Alert: warning, At: night})
	if err != nil || p.Steps[0].Notify[0] != fanwatch.CanaryTopic || !p.NotBefore.IsZero() {
		t.Errorf("the canary's policy is built in: %+v, %v", p, err)
	}
}

type listed []fanwatch.Alert

func (l listed) AlertsBetween(context.Context, time.Time, time.Time) ([]fanwatch.Alert, error) {
	return l, nil
}

func TestTheMorningsMessageGoesByTheRoutes(t *testing.T) {
	f := planner(t)
	now := time.Date(2026, 12, 2, 8, 0, 0, 0, time.UTC)
	at := now.Add(-3 * time.Hour)
	alerts := listed{{ID: "a", Fan: "fan-a", Kind: fanwatch.KindJitter, Opened: at},
		{ID: "b", Fan: "fan-b", Site: "Lab, desk", Tags: []string{"team:x"}, Kind: fanwatch.KindStall, Opened: at},
		{ID: "c", Fan: "fan-c", Kind: fanwatch.KindStall, Opened: at}}
	d := Digester{Planner: f, Alerts: alerts, Policies: func() map[string]fanwatch.Policy { return f.Policies(now) }}
	yesterday := now.Add(-24 * time.Hour)
	r, err := d.Compose(t.Context(), DigestInput{Now: now,
		Through: map[string]time.Time{"default": yesterday, "lab": yesterday}})
	if err != nil || len(r.Notifications) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	for i, want := range []string{"lab-look fan-b", "look fan-a"} {
		n := r.Notifications[i]
		if got := n.To + " " + n.Body; !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
