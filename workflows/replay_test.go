package workflows

import (
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/sdk/worker"
)

// TestRecordedHistoriesReplay replays histories of real runs (testsuite, TestRecordHistories): a change
// that fails here would break workflows that are open when it is deployed.
func TestRecordedHistoriesReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 7 {
		t.Fatalf("%d histories in testdata, %v: want fan, three of alert, stream, shard and committer", len(files), err)
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
