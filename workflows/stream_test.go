package workflows

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"fanwatch/activities"
)

// listing answers RunnableShards.
type listing struct {
	shards []activities.Shard
	err    error
}

func (l *listing) RunnableShards(context.Context, string) ([]activities.Shard, error) {
	return l.shards, l.err
}

// TestAShardThatWasEndedIsStartedAgain runs a Stream whose shards end, whose listing fails, and which is cancelled.
func TestAShardThatWasEndedIsStartedAgain(t *testing.T) {
	for _, old := range []bool{false, true} {
		var suite testsuite.WorkflowTestSuite
		suite.SetLogger(quiet())
		env := suite.NewTestWorkflowEnvironment()
		env.SetTestTimeout(30 * time.Second)
		env.RegisterWorkflow(Stream)
		l := &listing{shards: []activities.Shard{{ID: "shard-1"}, {ID: "shard-0"}}}
		env.RegisterActivity(l)
		var started []string
		// it ends at once, as if by hand
		env.RegisterWorkflowWithOptions(func(_ workflow.Context, in activities.ScoreInput) error {
			started = append(started, in.Shard.ID)
			return nil
		}, workflow.RegisterOptions{Name: "Shard"})
		if old {
			env.OnGetVersion(changeStream2, workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
			env.OnGetVersion("stream-renew-1", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.Version(1))
		}
		shown := map[string]string{}
		env.OnUpsertMemo(mock.MatchedBy(func(m map[string]any) bool {
			for k, v := range m {
				shown[k] = fmt.Sprint(v)
			}
			return true
		})).Return(nil)
		at := func(d time.Duration, do func()) { env.RegisterDelayedCallback(do, d) }
		begun := func() int { slices.Sort(started); return len(started) }
		at(5*time.Minute, func() {
			if n := begun(); n != 2 {
				t.Errorf("after many rounds %q were started", started)
			}
			env.SignalWorkflow(SignalShards, nil)
		})
		if old {
			env.ExecuteWorkflow(Stream, StreamInput{Stream: "s"})
			var next *workflow.ContinueAsNewError
			if err := env.GetWorkflowError(); !asContinue(err, &next) {
				t.Errorf("an old run: %v", err)
			}
			continue
		}
		at(5*time.Minute+time.Second, func() {
			if n := begun(); n != 4 {
				t.Errorf("a second after the signal %q were started", started)
			}
			if shown[MemoShards] != "[shard-0 shard-1]" {
				t.Errorf("shown %q", shown)
			}
			l.err = temporal.NewNonRetryableApplicationError("AccessDenied", "Refused", nil)
		})
		at(10*time.Minute, func() {
			if shown[MemoTrouble] != "the shards cannot be listed: AccessDenied" || shown[MemoShards] != "[shard-0 shard-1]" {
				t.Errorf("shown %q", shown)
			}
			l.err, l.shards = nil, l.shards[:1]
		})
		at(15*time.Minute, func() {
			if shown[MemoTrouble] != "" || shown[MemoShards] != "[shard-1]" {
				t.Errorf("shown %q", shown)
			}
			env.CancelWorkflow()
		})
		env.ExecuteWorkflow(Stream, StreamInput{Stream: "s"})
		var next *workflow.ContinueAsNewError
		var in StreamInput
		if err := env.GetWorkflowError(); !asContinue(err, &next) ||
			converter.GetDefaultDataConverter().FromPayloads(next.Input, &in) != nil || in.Stream != "s" {
			t.Errorf("cancelled: %v", err)
		}
	}
}
