package dashboard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/workflows"
)

// newShards is how often Follow looks for shards that a split or merge has brought.
const newShards = 2 * time.Second

// Follow reads the landing logs of all shards of a stream, each from its newest snapshot on and then every
// new segment, and hands the rows to publish until ctx ends; publish may be called concurrently. It only
// reads: the dashboard may stop and start at any time.
func Follow(ctx context.Context, store lake.Store, stream string, every time.Duration, publish func([]fanwatch.Row), log *slog.Logger) {
	known := make(map[string]bool)
	for ctx.Err() == nil {
		logs, err := lake.Logs(ctx, store, stream)
		if err != nil && ctx.Err() == nil {
			log.Warn("the landing logs cannot be listed; will try again", "stream", stream, "err", err)
		}
		for _, l := range logs {
			if !known[l.Shard] {
				known[l.Shard] = true
				go followShard(ctx, l, every, publish, log)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(newShards):
		}
	}
}

func followShard(ctx context.Context, l lake.Log, every time.Duration, publish func([]fanwatch.Row), log *slog.Logger) {
	at := fanwatch.SequenceNumber("0")
	if snap, _, _ := l.LatestSnapshot(ctx); snap != "" { // also an older one, where the newest is damaged
		at = snap
	}
	ended := false
	for !ended {
		err := l.Walk(ctx, at, func(s lake.Segment) error {
			publish(s.Rows)
			at, ended = s.Last, s.End
			return nil
		})
		if err != nil && ctx.Err() == nil {
			log.Warn("the landing log cannot be read; will try again", "shard", l.Shard, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// Workflows makes the workflows' operator the dashboard's.
type Workflows struct{ workflows.Operator }

// Fan implements Operator.
func (w Workflows) Fan(ctx context.Context, fan string) (fanwatch.FanStatus, error) {
	st, err := w.Operator.Fan(ctx, fan)
	if errors.Is(err, workflows.ErrUnknown) {
		return st, fmt.Errorf("%w: %w", ErrNoFan, err)
	}
	return st, err
}

// Acknowledge implements Operator.
func (w Workflows) Acknowledge(ctx context.Context, alertID, by, note string) error {
	_, err := w.Operator.Acknowledge(ctx, alertID, workflows.Acknowledgement{By: by, Note: note})
	if errors.Is(err, workflows.ErrUnknown) {
		return fmt.Errorf("%w: %w", ErrNoAlert, err)
	}
	if errors.Is(err, workflows.ErrEnded) {
		return fmt.Errorf("%s: %w", alertID, ErrEnded)
	}
	return err
}
