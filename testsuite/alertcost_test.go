package testsuite

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	enums "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"fanwatch"
	"fanwatch/operator"
	"fanwatch/workflows"
)

const calmPolicy = `version: 1
name: default
hold: 1s
ack_timeout: 30m
steps:
  - notify: [on-call]
  - after: 5m
    notify: [team-lead]
`

// billed returns what Temporal Cloud counts as actions in these events. A signal counts where it is received. The
// search attribute of GetVersion is not counted, nor are memos and markers of versions.
func billed(events []*historypb.HistoryEvent) (n int, what []string) {
	for _, e := range events {
		switch e.GetEventType() {
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
			enums.EVENT_TYPE_TIMER_STARTED, enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
			enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
			enums.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
		case enums.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
			a := e.GetUpsertWorkflowSearchAttributesEventAttributes().GetSearchAttributes().GetIndexedFields()
			if _, ours := a["TemporalChangeVersion"]; ours {
				continue
			}
		default:
			continue
		}
		n++
		what = append(what, e.GetEventType().String())
	}
	return n, what
}

// TestAnAlertThatIsAcknowledgedAtItsFirstStepCostsTwelveActions: the alert itself, with the signal that tells its fan;
// what the fan takes beside it is its own changes of state and the start. Its story is told from the history.
func TestAnAlertThatIsAcknowledgedAtItsFirstStepCostsTwelveActions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(calmPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, nil, "--fans", "0")
	cert, key := s.provision("fan-c", "--client", "old", "--min-rpm", "900", "--site", "Hall A")
	c := mustConnect(s, "fan-c", cert, key)
	at := time.Now().Add(-time.Minute)
	publish := func(rpm float64, n int) {
		for range n {
			at = at.Add(time.Second)
			demo(t, c, "fan-c", at, rpm)
		}
	}
	publish(1800, 10)
	s.until(20*time.Second, "the fan's first state", func() (bool, string) {
		return ask[fanwatch.FanStatus](s, "show", "fan-c").Last.V != 0, ""
	})
	before := len(s.events(t, workflows.FanID("fan-c")))
	publish(300, 3)
	a := s.openAlert("fan-c", 20*time.Second)
	s.until(time.Minute, "the page", func() (bool, string) { return len(s.inbox("fan-c")) > 0, "" })
	if out, err := s.cli("ack", "--site", "Hall A", "--by", "ada", "--note", "on my way"); err != nil {
		t.Fatal(out, err)
	}
	publish(1800, 10)
	s.until(time.Minute, "the end of the alert",
		func() (bool, string) { return len(ask[[]fanwatch.Alert](s, "alerts")) == 0, "" })
	var events []*historypb.HistoryEvent
	s.until(time.Minute, "the end of the alert's workflow, which tells the fan before", func() (bool, string) {
		events = s.events(t, a.ID)
		last := events[len(events)-1].GetEventType()
		return last == enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, last.String()
	})
	own, what := billed(events)
	fan, whatFan := billed(s.events(t, workflows.FanID("fan-c"))[before:])
	t.Logf("%d events, %d actions of the alert: %v; %d of its fan: %v", len(events), own, what, fan, whatFan)
	if own > 11 || fan > 6 || len(events) > 90 { // the signal to the fan is the fan's
		t.Errorf("%d actions of the alert and %d of its fan, %d events", own, fan, len(events))
	}
	out, err := s.cli("alerts", "show", a.ID, "--json")
	var told struct {
		Alert fanwatch.Alert
		Story []operator.Happened
	}
	if err != nil || json.Unmarshal([]byte(out), &told) != nil {
		t.Fatal(out, err)
	}
	var story []string
	for _, h := range told.Story {
		story = append(story, strings.TrimSpace(fmt.Sprint(h.What, " ", h.Event, " ", h.To, h.By)))
	}
	if got := strings.Join(story, ", "); got != "opened, told page on-call, acknowledge  ada, told acknowledged on-call, "+
		"normal, told over on-call, landed, ended" {
		t.Errorf("the story is %q", got)
	}
	lines, err := s.cli("alerts", "export", "--from", "1h")
	if err != nil || strings.Count(lines, "\n") != 1 || !strings.Contains(lines, `"by":"ada"`) {
		t.Errorf("exported %s, %v", lines, err)
	}
	found, err := s.cli("alerts", "snooze", a.ID, "--for", "1h", "--by", "ada")
	if err == nil || !strings.Contains(found+err.Error(), "over already") {
		t.Errorf("an answer after the end: %s, %v", found, err)
	}
	if os.Getenv("FANWATCH_RECORD") != "" {
		s.record("alert-4", a.ID)
		s.record("fan-5", workflows.FanID("fan-c"))
	}
}

// events returns the history of a workflow's newest run.
func (s *system) events(t *testing.T, id string) (all []*historypb.HistoryEvent) {
	t.Helper()
	h := s.temporal().GetWorkflowHistory(t.Context(), id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for h.HasNext() {
		e, err := h.Next()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}
