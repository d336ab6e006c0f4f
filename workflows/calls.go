package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/lake"
)

// One typed function per activity: Temporal checks the arguments of an activity only when it runs.

// short is for activities that talk to one service and answer in seconds. They are retried for ever: the
// control plane waits for an outage to end rather than forget what it was about.
func short(ctx workflow.Context, queue string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           queue,
		StartToCloseTimeout: 20 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 30 * time.Second},
	})
}

// attended is for activities behind which a person waits: they give up and say why.
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

func findPolicy(ctx workflow.Context, name string) (p fanwatch.Policy, err error) {
	var a *activities.Notifier
	err = workflow.ExecuteActivity(short(ctx, QueueControl), a.Policy, name).Get(ctx, &p)
	return p, err
}

func notify(ctx workflow.Context, n activities.Notification) (at time.Time, err error) {
	var a *activities.Notifier
	err = workflow.ExecuteActivity(short(ctx, QueueControl), a.Notify, n).Get(ctx, &at)
	return at, err
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
		StartToCloseTimeout: in.For + 10*time.Minute,
		HeartbeatTimeout:    10 * time.Second,
		Summary:             "shard " + in.Shard.ID,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 1.5, MaximumInterval: 15 * time.Second},
	})
	err = workflow.ExecuteActivity(ctx, a.ScoreShard, in).Get(ctx, &out)
	return out, err
}

func commit(ctx workflow.Context, stream string) (r activities.CommitReport, err error) {
	var a *activities.Lake
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueLake,
		ScheduleToStartTimeout: 2 * time.Minute, // no worker, or all are busy: that is a failure to be told
		StartToCloseTimeout:    10 * time.Minute,
		HeartbeatTimeout:       20 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, MaximumAttempts: 3}, // the next round is soon
	})
	err = workflow.ExecuteActivity(ctx, a.Commit, stream).Get(ctx, &r)
	return r, err
}

func landAlert(ctx workflow.Context, alert fanwatch.Alert) error {
	var a *activities.Lake
	return workflow.ExecuteActivity(short(ctx, QueueLake), a.LandAlert, alert).Get(ctx, nil)
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

func ingest(ctx workflow.Context, stream string, from activities.DeliveryStream) (r lake.Ingested, err error) {
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

// long is for work on the lake. A schedule starts it again soon, so it is not retried for ever.
func long(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueLake,
		StartToCloseTimeout:    10 * time.Minute,
		ScheduleToCloseTimeout: 15 * time.Minute,
		HeartbeatTimeout:       20 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 30 * time.Second},
	})
}
