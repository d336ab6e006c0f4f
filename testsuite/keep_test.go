package testsuite

import (
	"fmt"
	"testing"
	"time"

	enums "go.temporal.io/api/enums/v1"

	"fanwatch/workflows"
)

// TestWhatIsEndedByHandComesBack: the workflows that scoring, the lake and the watch hang on, terminated in the Web UI.
func TestWhatIsEndedByHandComesBack(t *testing.T) {
	t.Parallel() // it mostly waits
	s := start(t, t.TempDir(), nil, "--fans", "0")
	c := s.temporal()
	running := func(id string) bool {
		d, err := c.DescribeWorkflowExecution(t.Context(), id, "")
		return err == nil && d.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	}
	shard := workflows.ShardID("fanwatch", "shardId-000000000000")
	s.until(time.Minute, "a shard that is scored", func() (bool, string) { return running(shard), shard })
	all := []string{workflows.StreamID("fanwatch"), workflows.CommitterID, workflows.WatchID, workflows.DigestID,
		shard}
	for _, id := range all {
		if err := c.TerminateWorkflow(t.Context(), id, "", "by hand"); err != nil {
			t.Fatal(err)
		}
	}
	s.until(3*time.Minute, "all of them", func() (bool, string) {
		for _, id := range all {
			if !running(id) {
				return false, fmt.Sprintf("%s does not run", id)
			}
		}
		return true, ""
	})
}
