package workflows

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.temporal.io/sdk/worker"
)

// TestRecordedHistoriesReplay replays histories of real runs (testsuite, TestRecordHistories): a change
// that fails here would break workflows that are open when it is deployed.
func TestRecordedHistoriesReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 14 {
		t.Fatalf("%d histories in testdata, %v: want five of fan, five of alert, two of stream, and shard and committer",
			len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			r := worker.NewWorkflowReplayer()
			r.RegisterWorkflow(Fan)
			r.RegisterWorkflow(Alert)
			r.RegisterWorkflow(Stream)
			r.RegisterWorkflow(Shard)
			r.RegisterWorkflow(Committer)
			if err := r.ReplayWorkflowHistoryFromJSONFile(quiet(), file); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestARenewalThatAnEarlierWorkerPassedOverStaysSo replays an old run that was asked to renew itself while an earlier
// program worked on it: that program knew no such signal, and what it did after it stands in the history.
func TestARenewalThatAnEarlierWorkerPassedOverStaysSo(t *testing.T) {
	for _, c := range []struct{ file, signal string }{{"fan", SignalRenew}, {"stream", SignalShards}} {
		text, err := os.ReadFile("testdata/" + c.file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var history map[string][]map[string]any
		if err := json.Unmarshal(text, &history); err != nil {
			t.Fatal(err)
		}
		events := history["events"]
		// Behind a workflow task that was completed and before the next event that wakes the workflow.
		at := -1
		for i := len(events) / 2; at < 0; i++ {
			if events[i]["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_SCHEDULED" {
				at = i
			}
		}
		for _, e := range events {
			shift(e, at)
		}
		signal := map[string]any{"eventId": fmt.Sprint(at + 1), "eventTime": events[at]["eventTime"],
			"eventType": "EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED",
			"workflowExecutionSignaledEventAttributes": map[string]any{"signalName": c.signal, "input": map[string]any{}}}
		history["events"] = slices.Insert(events, at, signal)
		text, err = json.Marshal(history)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "history.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		r := worker.NewWorkflowReplayer()
		r.RegisterWorkflow(Fan)
		r.RegisterWorkflow(Stream)
		if err := r.ReplayWorkflowHistoryFromJSONFile(quiet(), file); err != nil {
			t.Errorf("%s: %v", c.file, err)
		}
	}
}

// shift makes room for one event: every ID of an event behind the first n grows by one, and so do the names of
// activities, timers and signals, which the SDK takes from those IDs.
func shift(v any, n int) {
	m, _ := v.(map[string]any)
	for key, inner := range m {
		if text, ok := inner.(string); ok && (strings.HasSuffix(key, "EventId") ||
			slices.Contains([]string{"eventId", "activityId", "timerId", "control"}, key)) {
			if id, err := strconv.Atoi(text); err == nil && id > n {
				m[key] = strconv.Itoa(id + 1)
			}
		}
		shift(inner, n)
	}
}
