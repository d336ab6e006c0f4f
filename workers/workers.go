// Package workers says which worker registers what, and joins the activities to AWS. A program runs one
// worker of each kind in one process, or many of each on many machines: nothing here keeps state.
package workers

import (
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"fanwatch/activities"
	"fanwatch/workflows"
)

// stopTimeout is how long a stopping worker gives its activities to land what they hold.
const stopTimeout = 10 * time.Second

// Control runs the workflows, provisions fans, notifies people, watches fanwatch itself and flies the canary.
func Control(c client.Client, a *Activities) worker.Worker {
	w := worker.New(c, workflows.QueueControl, worker.Options{
		StickyScheduleToStartTimeout: time.Second, // after an outage a workflow waits this long for the worker that knew it
		WorkerStopTimeout:            stopTimeout,
		MaxHeartbeatThrottleInterval: 5 * time.Second,
	})
	w.RegisterWorkflow(workflows.Fan)
	w.RegisterWorkflow(workflows.Alert)
	w.RegisterWorkflow(workflows.Stream)
	w.RegisterWorkflow(workflows.Shard)
	w.RegisterWorkflow(workflows.Committer)
	w.RegisterWorkflow(workflows.Compact)
	w.RegisterWorkflow(workflows.Maintain)
	w.RegisterWorkflow(workflows.Ingest)
	w.RegisterWorkflow(workflows.Reconcile)
	w.RegisterWorkflow(workflows.Watch)
	w.RegisterWorkflow(workflows.Canary)
	w.RegisterActivity(a.Provisioner)
	w.RegisterActivity(a.Notifier)
	w.RegisterActivity(a.Watcher)
	w.RegisterActivity(a.Canary)
	return w
}

// Score scores shards: as many at once as a worker takes activities.
func Score(c client.Client, s *activities.Scorer, heartbeat time.Duration) worker.Worker {
	w := worker.New(c, workflows.QueueScore, worker.Options{
		DisableWorkflowWorker:        true,
		WorkerStopTimeout:            stopTimeout,
		MaxHeartbeatThrottleInterval: heartbeat,
	})
	w.RegisterActivity(s)
	return w
}

// Lake commits to the table and compacts it.
func Lake(c client.Client, l *activities.Lake) worker.Worker {
	w := worker.New(c, workflows.QueueLake, worker.Options{DisableWorkflowWorker: true, WorkerStopTimeout: stopTimeout,
		MaxConcurrentActivityExecutionSize: 5}) // a commit, a compaction, maintenance, a reconciliation, an ingestion
	w.RegisterActivity(l)
	return w
}
