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

// StreamInput is the input of [Stream].
type StreamInput struct {
	Stream string        `json:"stream"`
	Every  time.Duration `json:"every"` // time between two listings of the shards; 0 = 30 s
}

// roundsPerRun is the number of listings after which a Stream continues as new; each costs six events.
const roundsPerRun = 500

// changeStream2 marks the runs of Stream that write shards to the memo and go on when one cannot be started.
const changeStream2 = "stream-2"

// Stream runs a Shard for every shard that can be scored, also for those of a reshard. A Shard that was ended by
// hand is started again after SignalShards, or when the run continues as new. The memo has the shards that can be
// scored, and why they cannot be listed or started; while listing is retried, the pending activity has the reason.
// Cancelled, it continues as new, because shards that no workflow starts are not judged.
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
	asked   int      // number of signals of this run
	shards  []string // MemoShards; nil: not written yet
	trouble string   // MemoTrouble
}

// renewed takes the signals that wait, and reports whether the run is to continue as new: a run that began before
// changeStream2 does by a signal, unless an earlier worker passed over it, which leaves no version marker.
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

// round lists the shards that can be scored and starts those that were not started yet.
func (s *stream) round(ctx workflow.Context) error {
	shards, err := runnableShards(ctx, s.Stream)
	if err != nil && s.old {
		return err
	}
	trouble := ""
	if err != nil {
		trouble = "the shards cannot be listed: " + errorText(err)
	}
	for _, sh := range shards {
		if s.started[sh.ID] {
			continue
		}
		if err := startShard(ctx, s.Stream, sh); err != nil {
			if s.old {
				return err
			}
			trouble = fmt.Sprintf("shard %s cannot be started: %s", sh.ID, errorText(err))
			continue
		}
		s.started[sh.ID] = true
	}
	s.show(ctx, shards, err == nil, trouble)
	return nil
}

// show writes the shards, if they were listed, and the trouble to the memo when they have changed.
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
		_ = workflow.UpsertMemo(ctx, memo) // never fails: text encodes
	}
}

// startShard starts the shard's workflow unless it runs. The Shard outlives this run of Stream.
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

// shardHours is the length of one run of a Shard, in hours.
const shardHours = 24

// Shard is the workflow of one shard: it has the shard scored until it ends, by activities of about one hour each, so
// that a move to another worker is ordinary.
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
