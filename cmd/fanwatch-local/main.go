// Command fanwatch-local runs the whole of fanwatch on this machine, on loopback. See package local.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"

	_ "time/tzdata" // zones of fans, on machines that have none

	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/failpoint"
	"fanwatch/internal/durable"
	"fanwatch/lake/ingest"
	"fanwatch/local"
	"fanwatch/notify"
)

// Exit statuses: 0 done; 1 it failed; 2 what was asked for was not understood.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := command()
	_, _, err := root.Find(os.Args[1:]) // after command has made help and completion, which cobra makes late
	if err != nil {                     // no such command
		err = usage(err)
	} else {
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "fanwatch-local: %s\n", fanwatch.OneLine(err.Error()))
	if errors.Is(err, errUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}

var errUsage = errors.New("see fanwatch-local up --help")

const defaultDir = ".fanwatch"

type options struct {
	dir, bin, ports, temporal, ingest     string
	log                                   slog.Level
	fans                                  int
	seed                                  uint64
	snapshots, keepSegments, keepReadings time.Duration
	canary                                time.Duration
	heartbeat                             string
	publicURL, answers, pagerDuty, slack  string
	noFaults, reset, json, noWorkers      bool
}

func command() *cobra.Command {
	root := &cobra.Command{Use: "fanwatch-local", Short: "The whole of fanwatch on this machine, on loopback",
		SilenceUsage: true, SilenceErrors: true}
	var o options
	up := &cobra.Command{
		Use:   "up",
		Short: "Start everything and serve until Ctrl-C",
		Long: `Start everything and serve until Ctrl-C: Temporal with its Web UI and S3 as child processes; IoT Core,
Kinesis, SNS, the workers, the dashboard and simulated fans in this process. Everything listens on loopback.

State lies in --dir and survives kill -9 and a second up. What was acknowledged is never lost.`,
		Example: "  fanwatch-local up\n  fanwatch-local up --dir /tmp/fw --ports free --fans 5\n  fanwatch-local up --reset",
		Args:    func(cmd *cobra.Command, args []string) error { return usage(cobra.NoArgs(cmd, args)) },
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	f := up.Flags()
	f.StringVar(&o.dir, "dir", defaultDir, "state directory, made when missing")
	f.BoolVar(&o.reset, "reset", false, "remove the state first and start anew")
	f.StringVar(&o.ports, "ports", "default", "ports to listen on. default: 8080 (dashboard), 7233 and 8233 "+
		"(Temporal and its Web UI), 8883 (MQTT), 4566 (AWS), 4569 (S3); free: whatever is free")
	f.StringVar(&o.temporal, "temporal", "", "address (host:port) of a Temporal server to use; empty: one is "+
		"started (another it needs the namespace fanwatch and the search attributes FanwatchFan and FanwatchState)")
	f.IntVar(&o.fans, "fans", 20, "number of simulated fans; 0: none")
	f.BoolVar(&o.noFaults, "no-faults", false, "simulated fans do not fail")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the random choices of simulated fans and forests")
	f.DurationVar(&o.snapshots, "snapshot-every", time.Minute, "time between two saved snapshots of the forests; "+
		"what came later is replayed from the landing log")
	f.DurationVar(&o.keepSegments, "keep-segments", 7*24*time.Hour,
		"how long the landing log keeps rows that are in the tables; 0: 168h")
	f.DurationVar(&o.keepReadings, "keep-readings", 0, "how long a day stays in the tables after its end, such as "+
		"8760h; 0: for ever")
	f.StringVar(&o.ingest, "ingest", "", "folder of the local bucket whose objects are landed as a delivery "+
		"stream's, every 15 s; empty: none")
	f.BoolVar(&o.noWorkers, "no-workers", false, "run the servers, the dashboard and the fans alone: fanwatch "+
		"worker processes do the rest")
	f.DurationVar(&o.canary, "canary-every", time.Hour, "time between two stops of the simulated fan canary, whose "+
		"page must be sent; 0: 1h, negative: never")
	f.StringVar(&o.heartbeat, "heartbeat-url", "", "URL of an outside service (a dead man's switch) that is called "+
		"each minute while all is well; empty: none; better given as FANWATCH_HEARTBEAT_URL, for process lists show flags")
	f.StringVar(&o.publicURL, "public-url", "", "base URL, such as https://fans.example.org, by which people reach "+
		"--answers: messages link to it to answer alerts, and under its name nothing else is served; empty: links lead to "+
		"the dashboard on loopback")
	f.StringVar(&o.answers, "answers", "", "address, such as 127.0.0.1:8090, that serves answers to alerts alone (signed "+
		"links, webhooks), for a proxy to publish; empty: the dashboard's alone")
	f.StringVar(&o.pagerDuty, "pagerduty-secret", "", "env:NAME or file:PATH of the signing secret of a webhook "+
		"subscription of PagerDuty, which answers alerts by /hooks/pagerduty; empty: none")
	f.StringVar(&o.slack, "slack-secret", "", "env:NAME or file:PATH of the signing secret of a Slack app, whose buttons "+
		"answer alerts by /hooks/slack; empty: none")
	f.StringVar(&o.bin, "bin", "", "directory of fanwatch-temporal and fanwatch-s3; empty: that of this program")
	f.TextVar(&o.log, "log", slog.LevelWarn, "least level of fanwatch.log in the state directory: debug, info, "+
		"warn or error")
	f.BoolVar(&o.json, "json", false, "print the endpoints as one line of JSON when ready")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.AddCommand(up, version())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

func version() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "version", Short: "Print version, commit, date, Go version and platform of this program",
		Example: "  fanwatch-local version --json",
		Args:    func(cmd *cobra.Command, args []string) error { return usage(cobra.NoArgs(cmd, args)) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			return fanwatch.RunningBuild().Print(cmd.OutOrStdout(), "fanwatch-local", asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// usage marks err as a mistake in the command line, for exit status 2. nil stays nil.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w (%w)", err, errUsage)
}

// check judges the flags, before anything is touched.
func (o options) check() error {
	if o.ports != "default" && o.ports != "free" {
		return fmt.Errorf("--ports is %q, give default or free", o.ports)
	}
	if o.fans < 0 {
		return fmt.Errorf("--fans is %d, give 0 or more", o.fans)
	}
	if o.ingest != "" {
		if err := (&ingest.Ingestion{Prefix: o.ingest}).CheckPrefix(); err != nil {
			return fmt.Errorf("--ingest: %w", err)
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"--snapshot-every", o.snapshots}, {"--keep-segments", o.keepSegments}, {"--keep-readings", o.keepReadings}} {
		if d.value < 0 {
			return fmt.Errorf("%s is %v, give a time that is not negative", d.flag, d.value)
		}
	}
	return nil
}

func run(ctx context.Context, o options, out io.Writer) error {
	if err := failpoint.Check(); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return usage(err)
	}
	if o.reset {
		if err := resettable(o.dir); err != nil {
			return err
		}
	}
	cfg := local.Config{Dir: o.dir, Reset: o.reset, Bin: o.bin, Temporal: o.temporal, Fans: o.fans, Faults: !o.noFaults,
		Seed: o.seed, SnapshotEvery: o.snapshots, KeepSegments: o.keepSegments, KeepReadings: o.keepReadings,
		PublicURL: o.publicURL, Answers: o.answers, PagerDuty: notify.Secret(o.pagerDuty), Slack: notify.Secret(o.slack),
		Ingest:      o.ingest,
		CanaryEvery: o.canary, NoWorkers: o.noWorkers, HeartbeatURL: cmp.Or(o.heartbeat, os.Getenv("FANWATCH_HEARTBEAT_URL"))}
	if o.fans == 0 {
		cfg.Fans = -1
	}
	if o.ports == "default" {
		cfg.Ports = local.DefaultPorts
	}
	if cfg.Bin == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		cfg.Bin = filepath.Dir(self)
	}
	if err := durable.MkdirAll(o.dir, 0o700); err != nil {
		return fmt.Errorf("state directory: %w: choose another with --dir", err)
	}
	file, err := os.OpenFile(filepath.Join(o.dir, local.LogFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log file: %w: choose another directory with --dir", err)
	}
	defer file.Close()
	cfg.Log = slog.New(slog.NewTextHandler(file, &slog.HandlerOptions{Level: o.log}))

	began := time.Now()
	if !o.json {
		fmt.Fprintf(out, "starting Temporal, S3, IoT Core, Kinesis, SNS, workers and %d fans ...\n", max(o.fans, 0))
	}
	s, err := local.Up(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("stopped while starting")
		}
		return err
	}
	defer s.Close()
	if o.json {
		if err := json.NewEncoder(out).Encode(s.Endpoints); err != nil {
			return err
		}
	} else {
		banner(out, s.Endpoints, s.First, time.Since(began))
	}
	<-ctx.Done()
	if !o.json {
		fmt.Fprintln(out, "\nstopping ...")
	}
	return nil
}

// resettable refuses a directory that does not look like one whose contents may go.
func resettable(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if _, e := os.Stat(filepath.Join(dir, local.LockFile)); err != nil || e != nil {
		return fmt.Errorf("--reset: %s is not a state directory of fanwatch-local (it has no file %s): remove it by "+
			"hand if it may go", dir, local.LockFile)
	}
	return nil
}

// banner says where everything is. The commands that it proposes name the state directory unless it is the default one.
func banner(out io.Writer, s local.Endpoints, first string, took time.Duration) {
	fw := "./bin/fanwatch"
	if here, err := filepath.Abs(defaultDir); err != nil || here != s.Dir {
		fw += " --dir " + quoted(s.Dir)
	}
	fmt.Fprintf(out, `
fanwatch is up (%.1f s)

  dashboard        %s
  Temporal Web UI  %s
  inbox            %s
  MQTT with TLS    %s   CA %s
  certificates     %s/<fan>/
  AWS endpoint     %s   (Kinesis, IoT, SNS)
  S3 endpoint      %s   keys in %s
  data             %s

  next: %s
  try:  %s fans
        %s alerts
        %s ack ALERT
  stop: Ctrl-C
`,
		took.Seconds(), s.Dashboard, s.TemporalUI, s.Inbox, s.MQTT, s.CA, s.Certs, s.AWS, s.S3, s.Keys, s.Dir,
		first, fw, fw, fw)
}

// quoted writes a path as a POSIX shell reads it.
func quoted(path string) string {
	if !strings.ContainsFunc(path, func(r rune) bool {
		return !(r == '/' || r == '.' || r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r))
	}) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
