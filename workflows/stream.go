package workflows

import (
	"fmt"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch/activities"
)

// StreamInput names the stream and how often its shards are listed.
type StreamInput struct {
	Stream string        `json:"stream"`
	Every  time.Duration `json:"every"` // 0 = 30 s
}

// roundsPerRun is how often a Stream lists before it continues as new: a listing costs six events.
const roundsPerRun = 500

// Stream runs a Shard for every shard that can be scored, and starts those that a reshard makes.
func Stream(ctx workflow.Context, in StreamInput) error {
	if in.Every == 0 {
		in.Every = 30 * time.Second
	}
	started := map[string]bool{}
	for range roundsPerRun {
		shards, err := runnableShards(ctx, in.Stream)
		if err != nil {
			return err
		}
		for _, sh := range shards {
			if started[sh.ID] {
				continue
			}
			if err := startShard(ctx, in.Stream, sh); err != nil {
				return err
			}
			started[sh.ID] = true
		}
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("Stream **%s**: %d shards are being scored.", in.Stream, len(shards)))
		if err := workflow.Sleep(ctx, in.Every); err != nil {
			return err
		}
	}
	return workflow.NewContinueAsNewError(ctx, Stream, in)
}

// startShard starts the shard's workflow unless it runs already; it outlives this run of Stream.
func startShard(ctx workflow.Context, stream string, sh activities.Shard) error {
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:        ShardID(stream, sh.ID),
		TaskQueue:         QueueControl,
		ParentClosePolicy: enums.PARENT_CLOSE_POLICY_ABANDON,
		StaticSummary:     fmt.Sprintf("%s of %s", sh.ID, stream),
		Memo:              map[string]any{MemoShard: sh},
	}), Shard, activities.ScoreInput{Stream: stream, Shard: sh, For: time.Hour})
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return nil
	}
	return err
}

// shardHours is how many hours one run of a Shard lasts.
const shardHours = 24

// Shard has one shard scored until it ends. Each activity lasts about an hour, so that a worker's
// deployment or a move to another worker needs no special case.
func Shard(ctx workflow.Context, in activities.ScoreInput) error {
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("Scoring **%s**, hash keys %s to %s. The pending activity's heartbeat says how far.", in.Shard.ID, in.Shard.StartHash, in.Shard.EndHash))
	for range shardHours {
		r, err := scoreShard(ctx, in)
		if err != nil {
			return err
		}
		if r.Ended {
			workflow.SetCurrentDetails(ctx, "The shard was closed and is scored to its end, "+string(r.At)+".")
			return nil
		}
	}
	return workflow.NewContinueAsNewError(ctx, Shard, in)
}
