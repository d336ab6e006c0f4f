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

// Settings say what Start keeps running.
type Settings struct {
	Stream        string
	ShardsEvery   time.Duration // how often shards are listed; 0 = 30 s
	CommitEvery   time.Duration // how often the landing log goes to the tables; 0 = 1 min
	CompactEvery  time.Duration // how often small files are merged; 0 = 15 min
	MaintainEvery time.Duration // how often what the lake no longer needs is removed; 0 = 1 h
	// how often the whole lake is reconciled, which reads its identifying columns; 0 = 1 day
	CountEvery  time.Duration
	Ingest      activities.DeliveryStream // whose objects are landed; without a prefix none are
	IngestEvery time.Duration             // how often; 0 = 5 min
	CanaryEvery time.Duration             // how often the canary's page must be sent; 0 = 1 h, negative = never
	Log         *slog.Logger              // where Start and Keep say what they could not do; nil = nowhere
}

// scheduleCommit is the schedule that committed before there was a Committer. Start removes it.
const scheduleCommit = "lake-commit"

// Start makes sure that the stream's workflow, the lake's committer, the watch and the schedules exist, with these
// settings. It may be called at every start of a worker.
func (o Client) Start(ctx context.Context, s Settings) error {
	// The signal has a Stream that runs already start the shards that have ended since, and one of an earlier program
	// renew itself.
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
	// The signal changes the settings of a Committer that runs already.
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

// startWatch makes sure that Watch runs and that the canary's schedule is there.
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
		// mended is to be seen soon
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Minute, BackoffCoefficient: 1, MaximumAttempts: 50}})
}

func (o Client) scheduleIngest(ctx context.Context, s Settings) error {
	if s.Ingest.Prefix == "" {
		return o.unschedule(ctx, workflows.ScheduleIngest)
	}
	return o.schedule(ctx, workflows.ScheduleIngest, cmp.Or(s.IngestEvery, 5*time.Minute), &client.ScheduleWorkflowAction{
		ID: workflows.ScheduleIngest, Workflow: workflows.Ingest, Args: []any{s.Stream, s.Ingest},
		TaskQueue: workflows.QueueControl, StaticSummary: "land what the delivery stream has written to " + s.Ingest.Prefix})
}

// schedule makes the schedule, or sets its interval and action when it exists. A run that was missed is not made up
// for: the next does its work.
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

// unschedule removes the schedule where there is one.
func (o Client) unschedule(ctx context.Context, id string) error {
	var none *serviceerror.NotFound
	if err := o.Temporal.ScheduleClient().GetHandle(ctx, id).Delete(ctx); err != nil && !errors.As(err, &none) {
		return fmt.Errorf("schedule %s: %w", id, err)
	}
	return nil
}

// keepEvery is how often Keep looks.
const keepEvery = time.Minute

// Keep looks every minute until ctx ends whether what Start started is there, and starts anew what was ended by hand.
func (o Client) Keep(ctx context.Context, s Settings) {
	log := cmp.Or(s.Log, slog.New(slog.DiscardHandler))
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
func (o Client) missing(ctx context.Context, s Settings) (string, error) {
	for _, id := range []string{workflows.StreamID(s.Stream), workflows.CommitterID, workflows.WatchID} {
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
