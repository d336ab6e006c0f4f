// Package workers registers workflows and activities with Temporal workers, and joins the activities to AWS by
// package cloud. A program runs one worker of each kind in one process, or many of each on many machines; no worker
// keeps state.
package workers

import (
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"fanwatch/activities"
	"fanwatch/workflows"
)

// stopTimeout is the time that a stopping worker gives its activities to end.
const stopTimeout = 10 * time.Second

// Control returns a worker of the workflows and of the activities that provision, notify, watch and fly the canary.
func Control(c client.Client, a *Activities) worker.Worker {
	w := worker.New(c, workflows.QueueControl, worker.Options{
		StickyScheduleToStartTimeout: time.Second, // wait of a workflow, after an outage, for its former worker
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
	w.RegisterWorkflow(workflows.Digest)
	w.RegisterWorkflow(workflows.Canary)
	w.RegisterWorkflow(workflows.Maintenance)
	w.RegisterActivity(a.Provisioner)
	w.RegisterActivity(a.Notifier)
	w.RegisterActivity(a.Digester)
	w.RegisterActivity(a.Maintainer)
	w.RegisterActivity(a.Watcher)
	w.RegisterActivity(a.Canary)
	return w
}

// Incidents returns a worker of the incidents, their alerts and what these do. It runs beside that of Control, so that
// the page of an incident does not wait behind the alerts of its members.
func Incidents(c client.Client, a *Activities) worker.Worker {
	w := worker.New(c, workflows.QueueIncident, worker.Options{
		StickyScheduleToStartTimeout: time.Second,
		WorkerStopTimeout:            stopTimeout,
	})
	w.RegisterWorkflow(workflows.Incident)
	w.RegisterWorkflow(workflows.Alert)
	w.RegisterActivity(a.Notifier)
	w.RegisterActivity(a.Grouper)
	return w
}

// Score returns a worker that scores shards, as many at once as a worker takes activities by default. heartbeat is the
// shortest time between two heartbeats.
func Score(c client.Client, s *activities.Scorer, heartbeat time.Duration) worker.Worker {
	w := worker.New(c, workflows.QueueScore, worker.Options{
		DisableWorkflowWorker:        true,
		WorkerStopTimeout:            stopTimeout,
		MaxHeartbeatThrottleInterval: heartbeat,
	})
	w.RegisterActivity(s)
	return w
}

// Lake returns a worker of the activities on the lake.
func Lake(c client.Client, l *activities.Lake) worker.Worker {
	w := worker.New(c, workflows.QueueLake, worker.Options{DisableWorkflowWorker: true, WorkerStopTimeout: stopTimeout,
		MaxConcurrentActivityExecutionSize: 5}) // a commit, a compaction, maintenance, a reconciliation, an ingestion
	w.RegisterActivity(l)
	return w
}
