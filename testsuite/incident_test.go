package testsuite

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/operator"
	"fanwatch/workflows"
)

// TestWorkersOnARealServerMakeOneIncident has two workers group 40 alerts at once, a third one count what Temporal
// lists, and an alert that was terminated found to be over.
func TestWorkersOnARealServerMakeOneIncident(t *testing.T) {
	s := start(t, t.TempDir(), nil, "--fans", "0", "--no-faults")
	op := operator.Client{Temporal: s.temporal(), Namespace: s.Namespace}
	now := time.Now().UTC()
	alert := func(n int, site string) fanwatch.Alert {
		fan := fmt.Sprintf("grouped-%02d", n)
		return fanwatch.Alert{V: fanwatch.AlertVersion, ID: workflows.AlertID(fan, fanwatch.KindStall, now), Fan: fan,
			Site: site, Kind: fanwatch.KindStall, Severity: fanwatch.SeverityCritical, Opened: now, Why: fan + " has stopped.",
			State: fanwatch.AlertOpen}
	}
	worker := func() *activities.Grouper { return &activities.Grouper{System: op, Now: time.Now} }

	both := []*activities.Grouper{worker(), worker()}
	var all sync.WaitGroup
	var mu sync.Mutex
	joined := 0
	for n := range 40 {
		all.Go(func() {
			id, err := both[n%2].Group(t.Context(), alert(n, "Hall Z"), fanwatch.Policy{})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || id != "" && id != workflows.IncidentID("Hall-Z") {
				t.Errorf("%q, %v", id, err)
			}
			if id != "" {
				joined++
			}
		})
	}
	all.Wait()
	if joined < 36 {
		t.Errorf("%d of 40 are part of the incident", joined)
	}
	s.until(20*time.Second, "one incident of all 40", func() (bool, string) {
		status, runs, err := op.Incident(t.Context(), "Hall-Z")
		return err == nil && runs && status.Joined == 40 && status.Alert != "", fmt.Sprint(status, runs, err)
	})

	two := []string{alert(50, "").ID, alert(51, "").ID}
	for n := range two {
		a := alert(50+n, "Hall Y, rack 1")
		if _, err := op.Temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: a.ID,
			TaskQueue: workflows.QueueControl}, workflows.Alert, workflows.AlertInput{Alert: a}); err != nil {
			t.Fatal(err)
		}
	}
	s.until(20*time.Second, "both alerts listed", func() (bool, string) {
		open, err := op.Alerts(t.Context(), false)
		n := 0
		for _, a := range open {
			if slices.Contains(two, a.ID) {
				n++
			}
		}
		return n == 2, fmt.Sprint(n, err)
	})
	third := worker()
	if id, err := third.Group(t.Context(), alert(52, "Hall Y, rack 2"), fanwatch.Policy{}); err != nil ||
		id != workflows.IncidentID("Hall-Y") {
		t.Errorf("the third fan is part of %q, %v", id, err)
	}
	s.until(20*time.Second, "an incident of all three", func() (bool, string) {
		status, runs, err := op.Incident(t.Context(), "Hall-Y")
		return err == nil && runs && status.Joined == 3, fmt.Sprint(status, runs, err)
	})

	if err := op.Temporal.TerminateWorkflow(t.Context(), two[0], "", "a test"); err != nil {
		t.Fatal(err)
	}
	over, err := third.MembersOver(t.Context(), append(two, alert(52, "").ID))
	if err != nil || !slices.Equal(over, []string{two[0], alert(52, "").ID}) {
		t.Errorf("over are %q, %v", over, err)
	}
}
