package workers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/worker"

	"fanwatch/activities"
	"fanwatch/operator"
	"fanwatch/workflows"
)

// Kinds are the names of the kinds of workers: of Control, Score and Lake.
var Kinds = []string{"control", "score", "lake"}

// Process is the configuration of one worker process.
type Process struct {
	Operator   operator.Client
	Config     Config // with which Activities and Tables were made
	Activities *Activities
	Tables     *Tables  // Run does not close them
	Serve      []string // kinds of workers, of Kinds
	Lake       activities.LakeConfig
	Settings   operator.Settings // for operator.Client.Start and Keep
	Started    func()            // called once, after the start; not nil
}

// Run starts the workers of the process and the workflows and schedules of Settings, keeps these running, and waits. It
// returns nil when ctx has ended and the workers have stopped, which takes up to 10 s each, or an error when something
// cannot be started.
func Run(ctx context.Context, p Process) error {
	p.Activities.Notifier.History = history{tables: p.Tables, store: p.Activities.S3, stream: p.Config.Stream}.Samples
	if missing, err := p.Operator.MissingSearchAttributes(ctx); len(missing) > 0 || err != nil {
		if p.Settings.Log != nil {
			p.Settings.Log.Warn("lists of alerts by site, severity and kind are not served until the namespace has the search "+
				"attributes (README names the command) and the workers are started again", "missing", missing, "err", err)
		}
	} else {
		workflows.UseSearchAttributes(true)
	}
	for _, kind := range p.Serve {
		all, err := p.workers(kind)
		if err != nil {
			return err
		}
		for _, w := range all {
			if err := w.Start(); err != nil {
				return fmt.Errorf("start a worker: %w", err)
			}
			defer w.Stop()
		}
	}
	if err := p.Operator.Start(ctx, p.Settings); err != nil {
		return err
	}
	go p.Operator.Keep(ctx, p.Settings)
	p.Started()
	<-ctx.Done()
	return nil
}

func (p Process) workers(kind string) ([]worker.Worker, error) {
	switch kind {
	case "control":
		return []worker.Worker{Control(p.Operator.Temporal, p.Activities), Incidents(p.Operator.Temporal, p.Activities)}, nil
	case "score":
		return []worker.Worker{Score(p.Operator.Temporal, p.Activities.Scorer,
			cmp.Or(p.Config.Score.Heartbeat, time.Second))}, nil
	case "lake":
		return []worker.Worker{Lake(p.Operator.Temporal, &activities.Lake{Tables: p.Tables.Open, Store: p.Activities.S3,
			Bucket: p.Config.Open, Config: p.Lake})}, nil
	}
	return nil, fmt.Errorf("no kind of worker is called %.40q: it is one of %q", kind, Kinds)
}
