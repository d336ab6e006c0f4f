package testsuite

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"fanwatch"
	"fanwatch/workflows"
)

const deadPolicy = `version: 1
name: default
hold: 1s
steps:
  - notify: ["arn:aws:sns:us-east-1:000000000000:gone", on-call]
  - after: 1h
    notify: [team-lead]
`

// TestAnEscalationGetsThrough runs one alert on real servers: its first topic does not exist, its trouble gets
// graver after the acknowledgement, and what ends it waits beside older trouble while no worker runs.
func TestAnEscalationGetsThrough(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(deadPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, nil, "--fans", "0")
	c := s.temporal()
	open := func(fan string) string {
		t.Helper()
		at := time.Now().UTC()
		a := fanwatch.Alert{V: fanwatch.AlertVersion, ID: workflows.AlertID(fan, fanwatch.KindSpeed, at), Fan: fan,
			Kind: fanwatch.KindSpeed, Opened: at,
			Why: fan + " behaves unusually.", Position: fanwatch.Position{Sequence: "100"}, State: fanwatch.AlertOpen}
		if _, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: a.ID, TaskQueue: workflows.QueueControl},
			workflows.Alert, workflows.AlertInput{Alert: a}); err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	id := open("fan-e")
	signal := func(name string, kind fanwatch.Kind, why, sequence string) {
		t.Helper()
		o := fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: "fan-e",
			Position: fanwatch.Position{Sequence: fanwatch.SequenceNumber(sequence)},
			Anomaly:  fanwatch.Anomaly{Kind: kind, Why: why}}
		if err := c.SignalWorkflow(t.Context(), id, "", name, o); err != nil {
			t.Fatal(err)
		}
	}
	told := func(message string) {
		t.Helper()
		s.until(20*time.Second, message, func() (bool, string) {
			in := s.inbox("fan-e")
			return slices.Contains(in, message), strings.Join(in, "\n")
		})
	}
	told("on-call [fanwatch] WARNING fan-e: speed")
	told("team-lead [fanwatch] WARNING fan-e: speed, step 2 of 2") // an hour early
	s.until(10*time.Second, "the failure on the alert", func() (bool, string) {
		alerts := ask[[]fanwatch.Alert](s, "alerts")
		return len(alerts) == 1 && len(alerts[0].Failed) == 1 && len(alerts[0].Sent) == 2, fmt.Sprintf("%+v", alerts)
	})
	if out, err := s.cli("policy", "check"); err == nil || !strings.Contains(out, ":gone (policy default)") {
		t.Errorf("policy check: %v: %s", err, out)
	}
	if log := s.logTail(); !strings.Contains(log, ":gone") {
		t.Errorf("the log does not name the topic:\n%s", log)
	}
	if _, err := s.cli("ack", id, "--by", "ada"); err != nil {
		t.Fatal(err)
	}
	signal(workflows.SignalObserve, fanwatch.KindStall, "fan-e has stopped.", "200")
	told("on-call [fanwatch] CRITICAL fan-e: stall")
	told("team-lead [fanwatch] CRITICAL fan-e: stall, step 2 of 2")

	signal(workflows.SignalObserve, fanwatch.KindNone, "fan-e is normal again.", "300")
	stop := func(sig syscall.Signal) {
		if err := s.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	stop(syscall.SIGSTOP) // the workers; Temporal is a process of its own
	signal(workflows.SignalObserve, fanwatch.KindStall, "fan-e has stopped.", "400")
	signal(workflows.SignalResolve, fanwatch.KindNone, "fan-e is retired.", "500")
	stop(syscall.SIGCONT)
	s.until(20*time.Second, "the end of the alert", func() (bool, string) {
		alerts := ask[[]fanwatch.Alert](s, "alerts")
		return len(alerts) == 0, fmt.Sprintf("%+v", alerts)
	})
	ended := open("fan-t")
	s.until(10*time.Second, "another alert", func() (bool, string) {
		alerts := ask[[]fanwatch.Alert](s, "alerts")
		return len(alerts) == 1, fmt.Sprintf("%+v", alerts)
	})
	if err := c.TerminateWorkflow(t.Context(), ended, "", "by hand"); err != nil {
		t.Fatal(err)
	}
	s.until(10*time.Second, "the terminated alert in the list", func() (bool, string) {
		alerts := ask[[]fanwatch.Alert](s, "alerts", "--all")
		return slices.ContainsFunc(alerts, func(a fanwatch.Alert) bool {
			return a.ID == ended &&
				a.State == fanwatch.AlertTerminated
		}), fmt.Sprintf("%+v", alerts)
	})
}

// TestAnAlertOfTwoThousandNotifications has Temporal's limit of a history in its way, which ended the first code at
// 840 of 2,020.
func TestAnAlertOfTwoThousandNotifications(t *testing.T) {
	if os.Getenv("FANWATCH_LONG") == "" {
		t.Skip("it takes two minutes: FANWATCH_LONG=1, as go tool task test:long sets it; package workflows has it in " +
			"virtual time")
	}
	dir := t.TempDir()
	policy := "version: 1\nname: default\nhold: 1s\nsteps:\n  - repeat: 100\n    every: 1s\n    notify:\n"
	for i := range 20 {
		policy += fmt.Sprintf("      - topic-%02d\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, nil, "--fans", "0")
	c := s.temporal()
	a := fanwatch.Alert{V: fanwatch.AlertVersion, ID: workflows.AlertID("fan-e", fanwatch.KindStall, time.Now()),
		Fan: "fan-e", Kind: fanwatch.KindStall,
		Opened: time.Now().UTC(), Why: "fan-e has stopped.", State: fanwatch.AlertOpen}
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: a.ID, TaskQueue: workflows.QueueControl},
		workflows.Alert, workflows.AlertInput{Alert: a})
	if err != nil {
		t.Fatal(err)
	}
	notices, since := 0, time.Now()
	s.until(8*time.Minute, "the last notice", func() (bool, string) { // a busy machine leaves out repeats
		alerts := ask[[]fanwatch.Alert](s, "alerts")
		if len(alerts) != 1 {
			return false, fmt.Sprint(alerts)
		}
		if alerts[0].Notices != notices {
			notices, since = alerts[0].Notices, time.Now()
		}
		return notices > 900 && time.Since(since) > 20*time.Second, fmt.Sprint(notices)
	})
	if err := c.SignalWorkflow(t.Context(), a.ID, "", workflows.SignalObserve, fanwatch.Observation{V: 1,
		Fan: "fan-e"}); err != nil {
		t.Fatal(err)
	}
	s.until(20*time.Second, "the end of the alert", func() (bool, string) {
		over := ask[[]fanwatch.Alert](s, "alerts", "--all")
		return len(over) == 1 && over[0].State == fanwatch.AlertResolved && len(over[0].Sent) == fanwatch.MaxNotices,
			fmt.Sprintf("%+v", over)
	})
	d, err := c.DescribeWorkflowExecution(t.Context(), a.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	if d.WorkflowExecutionInfo.Execution.RunId == run.GetRunID() {
		t.Error("it never continued as new")
	}
	t.Logf("%d notices; the last run has %d events, %d bytes", notices, d.WorkflowExecutionInfo.HistoryLength,
		d.WorkflowExecutionInfo.HistorySizeBytes)
}
