package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/worker"

	"fanwatch/activities"
	"fanwatch/detect"
	"fanwatch/failpoint"
	"fanwatch/workers"
	"fanwatch/workflows"
)

// workerOptions are the flags of fanwatch worker.
type workerOptions struct {
	aws                     awsOptions
	account, policies, role string
	shards                  int
	prepare                 bool
	seed                    uint64
	lake                    activities.LakeConfig
	ingest                  activities.DeliveryStream
	ingestEvery             time.Duration
}

func (a *app) worker() *cobra.Command {
	var o workerOptions
	c := &cobra.Command{
		Use: "worker", Short: "Run the workers against AWS and a Temporal cluster", Args: cobra.NoArgs,
		Long: `Run the workers against AWS and a Temporal cluster: workflows, provisioning, notifications, one scorer per shard,
and the lake's commits, compaction and maintenance. Any number may run; Temporal shares the work between them. AWS credentials come from the SDK's default
chain, Temporal's address and keys from the environment (TEMPORAL_...) or --temporal.

The code is that of the local system; against real AWS it has not been run yet.`,
		Example: "  fanwatch worker --account 123456789012 --stream fanwatch --bucket my-fan-lake --policies policy.yaml --prepare\n  fanwatch worker --account 123456789012 --bucket my-fan-lake --ingest firehose/fans/ --ingest-bucket old-delivery --ingest-zone Asia/Tokyo",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runWorker(cmd.Context(), o, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	}
	f := c.Flags()
	o.aws.flags(f)
	f.StringVar(&o.account, "account", "", "AWS account ID, for ARNs")
	f.StringVar(&o.policies, "policies", "policy.yaml", "file of escalation policies")
	f.BoolVar(&o.prepare, "prepare", false, "make bucket, stream, topic rules and topics where they do not exist")
	f.IntVar(&o.shards, "shards", 2, "with --prepare: shards of a new stream")
	f.StringVar(&o.role, "role", "", "with --prepare: ARN of the role by which topic rules write to the stream")
	f.Uint64Var(&o.seed, "seed", 1, "of the forests")
	const day = 24 * time.Hour
	f.DurationVar(&o.lake.Keep.Readings, "keep-readings", 0, "how long a day of readings stays in its table after its end; 0 = for ever")
	f.DurationVar(&o.lake.Keep.Events, "keep-events", 0, "the same of anomalies, alerts and quarantine; 0 = for ever")
	f.DurationVar(&o.lake.KeepSegments, "keep-segments", 7*day, "how long the landing log keeps rows that are in the tables")
	f.DurationVar(&o.lake.KeepSnapshots, "keep-snapshots", 7*day, "how long older versions of the tables can be read")
	f.DurationVar(&o.lake.KeepOrphans, "keep-orphans", day, "age at which files that no table refers to are removed; an hour or more, for a compaction must not last longer")
	f.StringVar(&o.ingest.Prefix, "ingest", "", "folder of a delivery stream (Firehose) whose objects are landed by schedule, as fanwatch lake ingest does; empty: none")
	f.StringVar(&o.ingest.Bucket, "ingest-bucket", "", "bucket of the delivery stream; empty: the lake's own")
	f.StringVar(&o.ingest.Zone, "ingest-zone", "UTC", "IANA zone in which a TIME without zone is read")
	f.DurationVar(&o.ingestEvery, "ingest-every", 5*time.Minute, "how often")
	_ = errors.Join(c.MarkFlagRequired("account"), c.MarkFlagRequired("bucket")) // the flags exist
	return c
}

// check refuses what no worker can mean: an age below 0 would make all rows and files too old.
func (o *workerOptions) check() error {
	for _, f := range []struct {
		flag  string
		value time.Duration
	}{
		{"keep-readings", o.lake.Keep.Readings}, {"keep-events", o.lake.Keep.Events}, {"keep-segments", o.lake.KeepSegments},
		{"keep-snapshots", o.lake.KeepSnapshots}, {"keep-orphans", o.lake.KeepOrphans}, {"ingest-every", o.ingestEvery},
	} {
		if f.value < 0 {
			return fmt.Errorf("--%s is %v, give 0 or more (%w)", f.flag, f.value, errUsage)
		}
	}
	if err := o.lake.Check(); err != nil {
		return fmt.Errorf("--keep-orphans: %w (%w)", err, errUsage)
	}
	return atLeast("shards", o.shards, 1)
}

func (a *app) runWorker(ctx context.Context, o workerOptions, log *slog.Logger) error {
	if err := failpoint.Check(); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	text, err := os.ReadFile(o.policies)
	if err != nil {
		return fmt.Errorf("--policies: %w", err)
	}
	policies, err := workers.ParsePolicies(text)
	if err != nil {
		return fmt.Errorf("%s: %w", o.policies, err)
	}
	wc, err := o.aws.config(ctx)
	if err != nil {
		return err
	}
	op, done, err := a.operator(ctx)
	if err != nil {
		return err
	}
	defer done()
	wc.Account, wc.Policies = o.account, policies
	wc.Score = activities.ScoreConfig{Detect: detect.Config{Seed: o.seed}, Heartbeat: 5 * time.Second}
	parts, err := workers.Assemble(wc, op, log)
	if err != nil {
		return err
	}
	if o.prepare {
		if err := parts.Prepare(ctx, wc, workers.Shape{Shards: o.shards, Role: o.role}); err != nil {
			return err
		}
	}
	if o.ingest.Bucket == wc.Bucket {
		o.ingest.Bucket = "" // by whichever name, it is one folder
	}
	if o.ingest.Prefix != "" {
		if _, err := o.ingest.Ingestion(parts.S3, wc.Open, wc.Stream); err != nil {
			return fmt.Errorf("--ingest: %w (%w)", err, errUsage)
		}
	}
	tables := workers.LazyTables(wc)
	defer func() { _ = tables.Close() }() // every commit is durable already
	for _, w := range []worker.Worker{workers.Control(op.Temporal, parts.Provisioner, parts.Notifier), workers.Score(op.Temporal, parts.Scorer, 5*time.Second),
		workers.Lake(op.Temporal, &activities.Lake{Tables: tables.Open, Store: parts.S3, Bucket: wc.Open, Config: o.lake})} {
		if err := w.Start(); err != nil {
			return fmt.Errorf("start a worker: %w", err)
		}
		defer w.Stop()
	}
	if err := op.Start(ctx, workflows.Settings{Stream: wc.Stream, Ingest: o.ingest, IngestEvery: o.ingestEvery}); err != nil {
		return err
	}
	log.Info("serving", "stream", wc.Stream, "bucket", wc.Bucket)
	<-ctx.Done()
	return nil
}
