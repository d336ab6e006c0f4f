package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/lake/ingest"
)

// This file has one typed function per activity, because Temporal checks an activity's arguments only when it runs.

// short returns the options of activities that call one service and take seconds. They are retried without limit: an
// outage delays the workflow but never fails it.
func short(ctx workflow.Context, queue string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           queue,
		StartToCloseTimeout: 20 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 30 * time.Second},
	})
}

// attended returns the options of activities whose result an operator waits for. They give up after 2 min.
func attended(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueControl,
		StartToCloseTimeout:    20 * time.Second,
		ScheduleToCloseTimeout: 2 * time.Minute,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 10 * time.Second},
	})
}

func createThing(ctx workflow.Context, d fanwatch.Device) error {
	var a *activities.Provisioner
	return workflow.ExecuteActivity(attended(ctx), a.CreateThing, d).Get(ctx, nil)
}

func createCertificate(ctx workflow.Context, csr string) (c activities.Certificate, err error) {
	var a *activities.Provisioner
	err = workflow.ExecuteActivity(attended(ctx), a.CreateCertificate, csr).Get(ctx, &c)
	return c, err
}

func authorise(ctx workflow.Context, d fanwatch.Device, c activities.Certificate) error {
	var a *activities.Provisioner
	return workflow.ExecuteActivity(attended(ctx), a.Authorise, d, c).Get(ctx, nil)
}

func announce(ctx workflow.Context, d fanwatch.Device) error {
	var a *activities.Provisioner
	return workflow.ExecuteActivity(attended(ctx), a.Announce, d).Get(ctx, nil)
}

func announceLabel(ctx workflow.Context, l fanwatch.Label) error {
	var a *activities.Provisioner
	return workflow.ExecuteActivity(attended(ctx), a.AnnounceLabel, l).Get(ctx, nil)
}

// deactivate runs Provisioner.Deactivate, and gives up after 15 s.
func deactivate(ctx workflow.Context, fan, certificate string) (arns []string, err error) {
	var a *activities.Provisioner
	o := workflow.GetActivityOptions(attended(ctx))
	o.ScheduleToCloseTimeout = 15 * time.Second
	err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, o), a.Deactivate, fan, certificate).Get(ctx, &arns)
	return arns, err
}

// plan runs Notifier.Plan, and gives up after 1 min, because the alert can go on by the policy that it knows.
func plan(ctx workflow.Context, in activities.PlanInput) (p fanwatch.Policy, err error) {
	var a *activities.Notifier
	err = workflow.ExecuteActivity(planning(ctx), a.Plan, in).Get(ctx, &p)
	return p, err
}

// findPolicy runs Notifier.Policy for the runs of Alert before changeAlert4, and gives up after
// 1 min, because the alert can go on by the policy that it knows.
func findPolicy(ctx workflow.Context, name string) (p fanwatch.Policy, err error) {
	var a *activities.Notifier
	err = workflow.ExecuteActivity(planning(ctx), a.Policy, name).Get(ctx, &p)
	return p, err
}

func planning(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              alertQueue(ctx),
		StartToCloseTimeout:    20 * time.Second,
		ScheduleToCloseTimeout: time.Minute,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 10 * time.Second},
	})
}

const (
	notifyTimeout = 20 * time.Second // of one try
	notifyFor     = 10 * time.Minute // of all tries, the time without a worker included
	landFor       = 24 * time.Hour
)

// notify sends one notification and gives it up after giveUp, or at once when the error is non-retryable. Cancelled, it
// waits for a try that has begun, which takes notifyTimeout at most, because what was sent must be known.
func notify(ctx workflow.Context, n activities.Notification, giveUp time.Duration) (d activities.Delivery,
	err error) {
	var a *activities.Notifier
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              alertQueue(ctx),
		StartToCloseTimeout:    notifyTimeout,
		ScheduleToCloseTimeout: max(giveUp, notifyTimeout),
		WaitForCancellation:    true,
		Summary:                n.To,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 30 * time.Second},
	})
	err = workflow.ExecuteActivity(ctx, a.Notify, n).Get(ctx, &d)
	return d, err
}

func runnableShards(ctx workflow.Context, stream string) (shards []activities.Shard, err error) {
	var a *activities.Scorer
	err = workflow.ExecuteActivity(short(ctx, QueueScore), a.RunnableShards, stream).Get(ctx, &shards)
	return shards, err
}

func scoreShard(ctx workflow.Context, in activities.ScoreInput) (out activities.ScoreResult, err error) {
	var a *activities.Scorer
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           QueueScore,
		StartToCloseTimeout: in.For + 6*time.Hour, // it goes on while segments wait
		HeartbeatTimeout:    10 * time.Second,
		Summary:             "shard " + in.Shard.ID,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 1.5,
			MaximumInterval: 15 * time.Second},
	})
	err = workflow.ExecuteActivity(ctx, a.ScoreShard, in).Get(ctx, &out)
	return out, err
}

func commit(ctx workflow.Context, stream string) (r activities.CommitReport, err error) {
	var a *activities.Lake
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueLake,
		ScheduleToStartTimeout: 2 * time.Minute, // fails when no worker runs, or all are busy
		StartToCloseTimeout:    10 * time.Minute,
		HeartbeatTimeout:       20 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, MaximumAttempts: 3},
	})
	err = workflow.ExecuteActivity(ctx, a.Commit, stream).Get(ctx, &r)
	return r, err
}

// landAlert runs Lake.LandAlert, and gives up after landFor, so that an alert ends without the lake.
func landAlert(ctx workflow.Context, alert fanwatch.Alert) error {
	var a *activities.Lake
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueLake,
		StartToCloseTimeout:    20 * time.Second,
		ScheduleToCloseTimeout: landFor,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 5 * time.Minute},
	})
	return workflow.ExecuteActivity(ctx, a.LandAlert, alert).Get(ctx, nil)
}

func maintain(ctx workflow.Context, stream string) (r activities.MaintainReport, err error) {
	var a *activities.Lake
	err = workflow.ExecuteActivity(long(ctx), a.Maintain, stream).Get(ctx, &r)
	return r, err
}

func compact(ctx workflow.Context) (r activities.CompactReport, err error) {
	var a *activities.Lake
	err = workflow.ExecuteActivity(long(ctx), a.Compact).Get(ctx, &r)
	return r, err
}

func ingestFolder(ctx workflow.Context, stream string, from activities.DeliveryStream) (r ingest.Result, err error) {
	var a *activities.Lake
	err = workflow.ExecuteActivity(long(ctx), a.Ingest, stream, from).Get(ctx, &r)
	return r, err
}

func reconcile(ctx workflow.Context, stream string) (r activities.Reconciliation, err error) {
	var a *activities.Lake
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueLake,
		StartToCloseTimeout:    2 * time.Hour, // it reads the whole landing log
		ScheduleToCloseTimeout: 6 * time.Hour,
		HeartbeatTimeout:       20 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 30 * time.Second},
	})
	err = workflow.ExecuteActivity(ctx, a.Reconcile, stream).Get(ctx, &r)
	return r, err
}

// long returns the options of activities on the lake. They give up after 15 min, because a schedule starts them again.
func long(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueLake,
		StartToCloseTimeout:    10 * time.Minute,
		ScheduleToCloseTimeout: 15 * time.Minute,
		HeartbeatTimeout:       20 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 30 * time.Second},
	})
}
