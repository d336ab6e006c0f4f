package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"fanwatch/activities"
	"fanwatch/workflows"
)

// Settings set what [Client.Start] starts.
type Settings struct {
	Stream        string
	ShardsEvery   time.Duration             // time between two listings of the shards; 0 = 30 s
	CommitEvery   time.Duration             // time between two commits of the landing log to the tables; 0 = 1 min
	CompactEvery  time.Duration             // time between two compactions; 0 = 15 min
	MaintainEvery time.Duration             // time between two maintenances; 0 = 1 h
	CountEvery    time.Duration             // time between two reconciliations; 0 = 1 day
	Ingest        activities.DeliveryStream // delivery stream that is landed; none without a prefix
	IngestEvery   time.Duration             // time between two ingestions; 0 = 5 min
	CanaryEvery   time.Duration             // time between two flights of the canary; 0 = 1 h, negative = none
	Log           *slog.Logger              // for what Start and Keep could not do; nil = none
}

// scheduleCommit is the schedule of earlier programs without a Committer. Start removes it.
const scheduleCommit = "lake-commit"

// Start makes sure that the workflows of the stream, the committer, the watch and the digest run and the schedules
// exist, with these settings. It may be repeated, and is called at every start of a worker.
func (o Client) Start(ctx context.Context, s Settings) error {
	// The signal has a running Stream start the shards that have ended since, and one of an earlier program renew itself.
	_, err := o.Temporal.SignalWithStartWorkflow(ctx, workflows.StreamID(s.Stream), workflows.SignalShards, nil,
		client.StartWorkflowOptions{
			ID: workflows.StreamID(s.Stream), TaskQueue: workflows.QueueControl, StaticSummary: "stream " + s.Stream,
		}, workflows.Stream, workflows.StreamInput{Stream: s.Stream, Every: s.ShardsEvery})
	if err != nil {
		return fmt.Errorf("start stream %s: %w", s.Stream, err)
	}
	if err := errors.Join(o.renewAlerts(ctx), o.renew(ctx)); err != nil && s.Log != nil {
		s.Log.Warn("not every workflow of an earlier program was asked to renew itself; the next start asks again", "err",
			err)
	}
	// The signal changes the settings of a running Committer.
	committer := workflows.CommitterInput{Stream: s.Stream, Every: cmp.Or(s.CommitEvery, time.Minute)}
	if _, err := o.Temporal.SignalWithStartWorkflow(ctx, workflows.CommitterID, workflows.SignalCommit, committer,
		client.StartWorkflowOptions{
			ID: workflows.CommitterID, TaskQueue: workflows.QueueControl,
			StaticSummary: "the only one that changes the lake's tables",
		}, workflows.Committer, committer); err != nil {
		return fmt.Errorf("start the committer: %w", err)
	}
	if err := o.unschedule(ctx, scheduleCommit); err != nil {
		return err
	}
	s.CompactEvery = cmp.Or(s.CompactEvery, 15*time.Minute)
	s.MaintainEvery = cmp.Or(s.MaintainEvery, time.Hour)
	s.CountEvery = cmp.Or(s.CountEvery, 24*time.Hour)
	return errors.Join(
		o.startWatch(ctx, s),
		o.startDigest(ctx),
		o.schedule(ctx, workflows.ScheduleCount, s.CountEvery, &client.ScheduleWorkflowAction{ID: workflows.ScheduleCount,
			Workflow: workflows.Reconcile, Args: []any{s.Stream},
			TaskQueue: workflows.QueueControl, StaticSummary: "every acknowledged reading of " + s.Stream +
				" is in the lake once"}),
		o.schedule(ctx, workflows.ScheduleCompact, s.CompactEvery, &client.ScheduleWorkflowAction{
			ID: workflows.ScheduleCompact, Workflow: workflows.Compact,
			TaskQueue: workflows.QueueControl, StaticSummary: "merge small files of the table"}),
		o.schedule(ctx, workflows.ScheduleMaintain, s.MaintainEvery, &client.ScheduleWorkflowAction{
			ID: workflows.ScheduleMaintain, Workflow: workflows.Maintain, Args: []any{s.Stream},
			TaskQueue: workflows.QueueControl, StaticSummary: "remove what the lake of " + s.Stream + " no longer needs"}),
		o.scheduleIngest(ctx, s))
}

// startWatch makes sure that Watch runs and the canary's schedule exists.
func (o Client) startWatch(ctx context.Context, s Settings) error {
	_, err := o.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: workflows.WatchID, TaskQueue: workflows.QueueControl,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "the parts of fanwatch do their work",
	}, workflows.Watch, workflows.WatchInput{Stream: s.Stream})
	if err != nil {
		return fmt.Errorf("start %s: %w", workflows.WatchID, err)
	}
	if s.CanaryEvery < 0 {
		return o.unschedule(ctx, workflows.ScheduleCanary)
	}
	if s.CanaryEvery == 0 {
		s.CanaryEvery = time.Hour
	}
	return o.schedule(ctx, workflows.ScheduleCanary, s.CanaryEvery, &client.ScheduleWorkflowAction{
		ID: workflows.ScheduleCanary, Workflow: workflows.Canary, TaskQueue: workflows.QueueControl,
		StaticSummary: "the page of a simulated fan must be sent",
		// A retry shows soon that paging is mended.
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Minute, BackoffCoefficient: 1, MaximumAttempts: 50}})
}

func (o Client) startDigest(ctx context.Context) error {
	_, err := o.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: workflows.DigestID, TaskQueue: workflows.QueueControl,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "what is worth a look is told in the morning",
	}, workflows.Digest, workflows.DigestState{})
	if err != nil {
		return fmt.Errorf("start %s: %w", workflows.DigestID, err)
	}
	return nil
}

func (o Client) scheduleIngest(ctx context.Context, s Settings) error {
	if s.Ingest.Prefix == "" {
		return o.unschedule(ctx, workflows.ScheduleIngest)
	}
	return o.schedule(ctx, workflows.ScheduleIngest, cmp.Or(s.IngestEvery, 5*time.Minute), &client.ScheduleWorkflowAction{
		ID: workflows.ScheduleIngest, Workflow: workflows.Ingest, Args: []any{s.Stream, s.Ingest},
		TaskQueue: workflows.QueueControl, StaticSummary: "land what the delivery stream has written to " + s.Ingest.Prefix})
}

// schedule makes the schedule, or sets its interval and action when it exists. A run that was missed is not repeated.
func (o Client) schedule(ctx context.Context, id string, every time.Duration,
	action *client.ScheduleWorkflowAction) error {
	spec := client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}}
	_, err := o.Temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: id, Spec: spec, Action: action, Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: 10 * time.Second})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		err = o.Temporal.ScheduleClient().GetHandle(ctx, id).Update(ctx, client.ScheduleUpdateOptions{
			DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
				in.Description.Schedule.Spec, in.Description.Schedule.Action = &spec, action
				return &client.ScheduleUpdate{Schedule: &in.Description.Schedule}, nil
			}})
	}
	if err != nil {
		return fmt.Errorf("schedule %s: %w", id, err)
	}
	return nil
}

// unschedule removes the schedule if it exists.
func (o Client) unschedule(ctx context.Context, id string) error {
	var none *serviceerror.NotFound
	if err := o.Temporal.ScheduleClient().GetHandle(ctx, id).Delete(ctx); err != nil && !errors.As(err, &none) {
		return fmt.Errorf("schedule %s: %w", id, err)
	}
	return nil
}

// keepEvery is the time between two looks of Keep.
const keepEvery = time.Minute

// Keep checks every minute until ctx ends that what Start started exists, and calls Start again when it does not.
func (o Client) Keep(ctx context.Context, s Settings) {
	log := cmp.Or(s.Log, slog.New(slog.DiscardHandler))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(keepEvery):
		}
		limited, cancel := context.WithTimeout(ctx, keepEvery)
		missing, err := o.missing(limited, s)
		if err == nil && missing != "" {
			log.Warn("it was ended from outside and is started again", "what", missing)
			err = o.Start(limited, s)
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("stream, committer, watch and schedules could not be looked after", "err", err)
		}
		cancel()
	}
}

// missing returns the ID of the first workflow or schedule of Start that does not exist, or "".
func (o Client) missing(ctx context.Context, s Settings) (string, error) {
	for _, id := range []string{workflows.StreamID(s.Stream), workflows.CommitterID, workflows.WatchID,
		workflows.DigestID} {
		if running, err := o.Running(ctx, id); err != nil || !running {
			return id, err
		}
	}
	schedules := []string{workflows.ScheduleCompact, workflows.ScheduleMaintain, workflows.ScheduleCount}
	if s.Ingest.Prefix != "" {
		schedules = append(schedules, workflows.ScheduleIngest)
	}
	if s.CanaryEvery >= 0 {
		schedules = append(schedules, workflows.ScheduleCanary)
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
