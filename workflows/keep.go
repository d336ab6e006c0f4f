package workflows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"fanwatch"
	"fanwatch/activities"
)

// FanStatus gives a fan's newest status from its memo. It asks no worker. An error that wraps activities.ErrNoFan
// says that no workflow of that fan runs.
func (o Operator) FanStatus(ctx context.Context, fan string) (fanwatch.FanStatus, error) {
	w, err := o.describe(ctx, FanID(fan))
	if errors.Is(err, ErrUnknown) || err == nil && w.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return fanwatch.FanStatus{}, fmt.Errorf("fan %s: %w", fan, activities.ErrNoFan)
	}
	if err != nil {
		return fanwatch.FanStatus{}, err
	}
	s, _, err := memo[fanwatch.FanStatus](w, MemoFan)
	return s, err
}

// startWatch makes sure that Watch runs and that the canary's schedule is there.
func (o Operator) startWatch(ctx context.Context, s Settings) error {
	_, err := o.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: WatchID, TaskQueue: QueueControl, WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary: "the parts of fanwatch do their work",
	}, Watch, WatchInput{Stream: s.Stream})
	if err != nil {
		return fmt.Errorf("start %s: %w", WatchID, err)
	}
	if s.CanaryEvery < 0 {
		return o.unschedule(ctx, ScheduleCanary)
	}
	if s.CanaryEvery == 0 {
		s.CanaryEvery = time.Hour
	}
	return o.schedule(ctx, ScheduleCanary, s.CanaryEvery, &client.ScheduleWorkflowAction{ID: ScheduleCanary, Workflow: Canary, TaskQueue: QueueControl,
		StaticSummary: "the page of a simulated fan must be sent",
		RetryPolicy:   &temporal.RetryPolicy{InitialInterval: time.Minute, BackoffCoefficient: 1, MaximumAttempts: 50}}) // mended is to be seen soon
}

// keepEvery is how often Keep looks.
const keepEvery = time.Minute

// Keep looks every minute until ctx ends whether what Start started is there, and starts anew what was ended by hand.
func (o Operator) Keep(ctx context.Context, s Settings, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(keepEvery):
		}
		limited, cancel := context.WithTimeout(ctx, keepEvery)
		gone, err := o.missing(limited, s)
		if err == nil && gone != "" {
			log.Warn("it was ended from outside and is started again", "what", gone)
			err = o.Start(limited, s)
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("stream, committer, watch and schedules could not be looked after", "err", err)
		}
		cancel()
	}
}

// missing names the first of what Start starts that is not there, "" when all is.
func (o Operator) missing(ctx context.Context, s Settings) (string, error) {
	for _, id := range []string{StreamID(s.Stream), CommitterID, WatchID} {
		if running, err := o.Running(ctx, id); err != nil || !running {
			return id, err
		}
	}
	schedules := []string{ScheduleCompact, ScheduleMaintain, ScheduleCount}
	if s.Ingest.Prefix != "" {
		schedules = append(schedules, ScheduleIngest)
	}
	if s.CanaryEvery >= 0 {
		schedules = append(schedules, ScheduleCanary)
	}
	for _, id := range schedules {
		_, err := o.Temporal.ScheduleClient().GetHandle(ctx, id).Describe(ctx)
		var none *serviceerror.NotFound
		if errors.As(err, &none) {
			return id, nil
		}
		if err != nil {
			return "", fmt.Errorf("schedule %s: %w", id, err)
		}
	}
	return "", nil
}
