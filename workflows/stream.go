package workflows

import (
	"fmt"
	"slices"
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

// changeStream2 marks the runs of Stream that show which shards can be scored and go on when one cannot be started.
const changeStream2 = "stream-2"

// Stream runs a Shard for every shard that can be scored, and starts those that a reshard makes. A Shard that was
// ended by hand is started again after the signal SignalShards, or when the run continues as new. The memo has the
// shards that can be scored and why they cannot be started or, for good, not be listed; while listing them fails in
// passing, it is the pending activity that says why. Cancelled, it continues as new: shards that no workflow starts
// are judged by none.
func Stream(ctx workflow.Context, in StreamInput) error {
	if in.Every == 0 {
		in.Every = 30 * time.Second
	}
	s := &stream{StreamInput: in, started: map[string]bool{}, restart: workflow.GetSignalChannel(ctx, SignalShards)}
	s.old = workflow.GetVersion(ctx, changeStream2, workflow.DefaultVersion, 1) == workflow.DefaultVersion
	inner, _ := workflow.NewDisconnectedContext(ctx)
	for range roundsPerRun {
		if err := s.round(inner); err != nil {
			return err
		}
		if _, err := workflow.AwaitWithTimeout(inner, in.Every, func() bool {
			return s.restart.Len() > 0 ||
				ctx.Err() != nil
		}); err != nil {
			return err
		}
		if s.renewed(inner) || ctx.Err() != nil {
			break
		}
	}
	return workflow.NewContinueAsNewError(inner, Stream, in)
}

type stream struct {
	StreamInput
	restart workflow.ReceiveChannel
	started map[string]bool
	old     bool     // this run began before changeStream2
	asked   int      // signals of this run
	shards  []string // what the memo shows; nil: nothing yet
	trouble string
}

// renewed takes the signals that wait. A run that began before changeStream2 continues as new by one, unless a worker
// of before has passed over it: then its history holds no version of it.
func (s *stream) renewed(ctx workflow.Context) bool {
	for s.restart.ReceiveAsync(nil) {
		s.asked++
		if !s.old {
			s.started = map[string]bool{}
		} else if workflow.GetVersion(ctx, fmt.Sprintf("stream-renew-%d", s.asked), workflow.DefaultVersion,
			1) != workflow.DefaultVersion {
			return true
		}
	}
	return false
}

// round starts the shards that can be scored and were not started yet.
func (s *stream) round(ctx workflow.Context) error {
	shards, err := runnableShards(ctx, s.Stream)
	if err != nil && s.old {
		return err
	}
	trouble := ""
	if err != nil {
		trouble = "the shards cannot be listed: " + said(err)
	}
	for _, sh := range shards {
		if s.started[sh.ID] {
			continue
		}
		if err := startShard(ctx, s.Stream, sh); err != nil {
			if s.old {
				return err
			}
			trouble = fmt.Sprintf("shard %s cannot be started: %s", sh.ID, said(err))
			continue
		}
		s.started[sh.ID] = true
	}
	s.show(ctx, shards, err == nil, trouble)
	return nil
}

// show puts the shards, if they were listed, and the trouble into the memo when they have changed.
func (s *stream) show(ctx workflow.Context, shards []activities.Shard, listed bool, trouble string) {
	memo := map[string]any{}
	if listed {
		ids := make([]string, len(shards))
		for i, sh := range shards {
			ids[i] = sh.ID
		}
		slices.Sort(ids)
		if s.shards == nil || !slices.Equal(ids, s.shards) {
			s.shards, memo[MemoShards] = ids, ids
		}
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("Stream **%s**: %d shards are being scored.", s.Stream, len(shards)))
	}
	if trouble != s.trouble {
		s.trouble, memo[MemoTrouble] = trouble, trouble
	}
	if trouble != "" {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("Stream **%s**: %s", s.Stream, trouble))
	}
	if len(memo) > 0 && !s.old {
		_ = workflow.UpsertMemo(ctx, memo) // it always encodes
	}
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
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("Scoring **%s**, hash keys %s to %s. The pending activity's "+
		"heartbeat says how far.", in.Shard.ID, in.Shard.StartHash, in.Shard.EndHash))
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
