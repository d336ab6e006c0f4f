package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"fanwatch/activities"
	"fanwatch/detect"
	"fanwatch/failpoint"
	"fanwatch/health"
	"fanwatch/operator"
	"fanwatch/workers"
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
	canaryEvery             time.Duration
	heartbeat               string
	watch                   activities.WatchConfig
	serve                   []string
	listen, canaryURL       string
	listenAsked             bool // the address is not the default
	window, snapshots       time.Duration
	answers                 answerOptions
}

func (a *app) worker() *cobra.Command {
	var o workerOptions
	c := &cobra.Command{
		Use: "worker", Short: "Run the workers against AWS and a Temporal cluster", Args: cobra.NoArgs,
		Long: `Run the workers against AWS and a Temporal cluster: workflows, provisioning, notifications, one scorer per
shard, and the lake's commits, compaction and maintenance. Any number may run; Temporal shares the work between them.
AWS credentials come from the SDK's default chain, Temporal's address and keys from the environment (TEMPORAL_...) or
--temporal.

The code is that of the local system; against real AWS it has not been run yet.`,
		Example: "  fanwatch worker --account 123456789012 --stream fanwatch --bucket my-fan-lake --policies " +
			"policy.yaml --prepare\n  fanwatch worker --account 123456789012 --bucket my-fan-lake --ingest firehose/fans/ " +
			"--ingest-bucket old-delivery --ingest-zone Asia/Tokyo",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.listenAsked = cmd.Flags().Changed("listen")
			return a.runWorker(cmd.Context(), o, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	}
	f := c.Flags()
	o.aws.flags(f)
	f.StringVar(&o.account, "account", "", "AWS account ID (12 digits), of which the ARNs of topics and rules are made")
	f.StringVar(&o.policies, "policies", "policy.yaml", "file of escalation policies")
	f.BoolVar(&o.prepare, "prepare", false, "make bucket, stream, topic rules and topics where they do not exist")
	f.IntVar(&o.shards, "shards", 2, "with --prepare: shards of a new stream, 1 or more")
	f.StringVar(&o.role, "role", "", "with --prepare: ARN of the role by which topic rules write to the stream")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the forests' random choices")
	const day = 24 * time.Hour
	f.DurationVar(&o.lake.Keep.Readings, "keep-readings", 0, "how long a day stays in the table of readings after "+
		"its end, such as 8760h; 0: for ever")
	f.DurationVar(&o.lake.Keep.Events, "keep-events", 0, "how long a day stays in the tables of anomalies, alerts, "+
		"quarantine and labels after its end, such as 8760h; 0: for ever")
	f.DurationVar(&o.lake.KeepSegments, "keep-segments", 7*day, "how long the landing log keeps rows that are in "+
		"the tables; 0: 168h")
	f.DurationVar(&o.lake.KeepSnapshots, "keep-snapshots", 7*day, "how long older snapshots of the tables can be "+
		"read; 0: 168h")
	f.DurationVar(&o.lake.KeepOrphans, "keep-orphans", day, "age at which files that no table refers to are "+
		"removed; 1h or more, for a compaction must not last longer")
	f.StringVar(&o.ingest.Prefix, "ingest", "", "folder of a delivery stream (Firehose) whose objects are landed "+
		"by schedule, as fanwatch lake ingest does; empty: none")
	f.StringVar(&o.ingest.Bucket, "ingest-bucket", "", "with --ingest: bucket of the delivery stream; empty: the "+
		"lake's own")
	f.StringVar(&o.ingest.Zone, "ingest-zone", "UTC", "with --ingest: IANA zone in which a TIME without zone is read")
	f.DurationVar(&o.ingestEvery, "ingest-every", 5*time.Minute, "with --ingest: pause between two looks for new "+
		"objects of the delivery stream")
	f.StringSliceVar(&o.serve, "serve", workers.Kinds, "what this process does: control (workflows, notifications, "+
		"provisioning, the watch), score, lake")
	f.StringVar(&o.listen, "listen", "127.0.0.1:8081", "address of /healthz (this process) and /readyz (every part "+
		"of fanwatch), which say what is wrong, and of /canary; empty: none")
	f.DurationVar(&o.window, "window", time.Minute, "readings that arrive within this time make one segment of the "+
		"landing log; shorter: fresher tables, more objects")
	f.DurationVar(&o.snapshots, "snapshot-every", 5*time.Minute, "time between two saved snapshots of the forests; "+
		"shorter: faster recovery, more bytes written")
	f.DurationVar(&o.watch.Every, "watch-every", 10*time.Second, "time between two looks of the watch at "+
		"fanwatch's own parts")
	f.DurationVar(&o.watch.After, "watch-after", 30*time.Second, "how long a part must fail before its alert of "+
		"kind pipeline; shorter: a worker's restart wakes people")
	f.DurationVar(&o.watch.Clear, "watch-clear", 30*time.Second, "how long a part must work again before its alert "+
		"may end")
	f.DurationVar(&o.watch.Heartbeat, "heartbeat-every", time.Minute, "with --heartbeat-url: time between two calls of it")
	f.DurationVar(&o.canaryEvery, "canary-every", time.Hour, "time between two stops of the simulated fan canary, "+
		"whose page must be sent; 0: 1h, negative: never")
	f.StringVar(&o.canaryURL, "canary-url", "", "URL by which SNS reaches /canary of --listen: the canary's page "+
		"must come back there; empty: it is enough that SNS takes it")
	o.answers.flags(f)
	f.StringVar(&o.heartbeat, "heartbeat-url", "", "URL of an outside service (a dead man's switch) that is called "+
		"every --heartbeat-every while all is well; empty: none; better given as FANWATCH_HEARTBEAT_URL, for process "+
		"lists show flags")
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
		{"window", o.window}, {"snapshot-every", o.snapshots}, {"watch-every", o.watch.Every}, {"watch-after", o.watch.After},
		{"watch-clear", o.watch.Clear}, {"heartbeat-every", o.watch.Heartbeat},
		{"keep-snapshots", o.lake.KeepSnapshots}, {"keep-orphans", o.lake.KeepOrphans}, {"ingest-every", o.ingestEvery},
	} {
		if f.value < 0 {
			return fmt.Errorf("--%s is %v, give 0 or more (%w)", f.flag, f.value, errUsage)
		}
	}
	for _, kind := range o.serve {
		if !slices.Contains(workers.Kinds, kind) {
			return fmt.Errorf("--serve has %.40q, give control, score, lake or several of them (%w)", kind, errUsage)
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
	policies, err := workers.OpenPolicies(o.policies, log)
	if err != nil {
		return fmt.Errorf("--policies: %w", err)
	}
	wc, err := o.aws.config(ctx)
	if err != nil {
		return err
	}
	op, _, done, err := a.operator(ctx)
	if err != nil {
		return err
	}
	defer done()
	wc.Policies, wc.Planner, wc.Channels = policies.Policies, policies, policies.Channel
	wc.Account, wc.HeartbeatURL = o.account, cmp.Or(o.heartbeat, os.Getenv("FANWATCH_HEARTBEAT_URL"))
	wc.Watch, wc.CanaryURL = o.watch, o.canaryURL
	if wc.AnswerKeys, err = o.answers.open(); err != nil {
		return err
	}
	wc.AnswerURL = o.answers.publicURL
	wc.Score = activities.ScoreConfig{Detect: detect.Config{Seed: o.seed}, Window: o.window, SnapshotEvery: o.snapshots,
		Heartbeat: 2 * time.Second}
	parts, err := workers.NewActivities(wc, op, log)
	if err != nil {
		return err
	}
	if o.prepare {
		if err := parts.Prepare(ctx, wc, workers.ResourceOptions{Shards: o.shards, Role: o.role}); err != nil {
			return err
		}
	}
	go parts.LogTopics(ctx, log)
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
	stopProbes, err := o.probes(ctx, op, wc.Stream, workers.CanaryPages{Acknowledge: op.Acknowledge,
		Confirm: parts.SNS.Confirm}, log)
	if err != nil {
		return err
	}
	defer stopProbes()
	stopAnswers, err := o.answers.serve(ctx, op, wc.AnswerKeys, log)
	if err != nil {
		return err
	}
	defer stopAnswers()
	return workers.Run(ctx, workers.Process{Operator: op, Config: wc, Activities: parts, Tables: tables, Serve: o.serve,
		Lake: o.lake,
		Settings: operator.Settings{Stream: wc.Stream, Ingest: o.ingest, IngestEvery: o.ingestEvery,
			CanaryEvery: o.canaryEvery, Log: log},
		Started: func() { log.Info("serving", "what", o.serve, "stream", wc.Stream, "bucket", wc.Bucket) }})
}

// probes serves /healthz and /readyz, and takes the canary's pages at /canary. A default address that is taken, as
// by another worker of this machine, is no reason not to work; one that was asked for is.
func (o *workerOptions) probes(ctx context.Context, op operator.Client, stream string, pages http.Handler,
	log *slog.Logger) (stop func(), err error) {
	if o.listen == "" {
		return func() {}, nil
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		if o.listenAsked {
			return nil, fmt.Errorf("--listen: %w: give another address", err)
		}
		log.Warn("no /healthz and /readyz here: give --listen another address", "err", err)
		return func() {}, nil
	}
	temporal := health.Check{Name: "temporal", Do: func(ctx context.Context) error {
		_, err := op.Temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
		return err
	}}
	parts := health.Check{Name: "parts", Do: func(ctx context.Context) error {
		found, err := op.Inspect(ctx, stream)
		var all []error
		for _, f := range found {
			all = append(all, fmt.Errorf("%s: %s", f.Part, f.Why))
		}
		return errors.Join(append(all, err)...)
	}}
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", health.New(nil, temporal))
	mux.Handle("/canary", pages)
	mux.Handle("GET /readyz", health.New(nil, temporal, parts))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := srv.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error("/healthz and /readyz ended", "err", err)
		}
	}()
	return func() { _ = srv.Close() }, nil // probes are short
}
