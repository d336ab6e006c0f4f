// Package local runs the whole of fanwatch on one machine: Temporal and S3 as child processes, IoT Core, Kinesis and
// SNS in this process, the workers, the dashboard and a fleet of simulated fans. [Up] starts it and [System.Close]
// stops it.
//
// It promises: everything listens on loopback; the code is that of production, and only the endpoints that its clients
// are given differ; all state lies in one directory (Config.Dir) and survives kill -9 of every process; a child process
// that ends is started again on its ports.
//
// It leaves out what AWS is for: several machines, and keys that are verified. The services have package docs of their
// own (iotcore, kinesis, sns, and the module local/servers), which say how they differ from AWS. Faults are set at
// /_faults of each service; package fault has the vocabulary.
package local

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed" // the default policy
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"

	"fanwatch/activities"
	"fanwatch/cloud"
	"fanwatch/dashboard"
	"fanwatch/detect"
	"fanwatch/internal/durable"
	"fanwatch/lake"
	"fanwatch/lake/ingest"
	"fanwatch/local/aws/iotcore"
	"fanwatch/local/aws/kinesis"
	"fanwatch/local/aws/sns"
	"fanwatch/operator"
	"fanwatch/workers"
	"fanwatch/workflows"
)

//go:embed policy.yaml
var defaultPolicy []byte

// Config says how the local system runs. Dir and Bin are required; zero values of the others give the defaults.
type Config struct {
	Dir      string // state; required
	Reset    bool   // whether everything in Dir but the log is removed first: the caller has made sure that it is state
	Bin      string // where fanwatch-temporal and fanwatch-s3 lie; required
	Ports    Ports
	Temporal string // address of a Temporal server to use instead of the child process; "" = the child
	Fans     int    // simulated fans; 0 = 20, negative = none
	Faults   bool   // whether they fail
	Seed     uint64 // of the fleet and the forests

	SnapshotEvery time.Duration // of the forests; 0 = 1 min
	KeepSegments  time.Duration // how long the landing log keeps rows that are in the tables; 0 = 7 days
	Ingest        string        // folder of the lake's bucket that a delivery stream fills; "" = none
	KeepReadings  time.Duration // how long a day stays in the tables after its end; 0 = for ever
	NoWorkers     bool          // whether workflows, scoring and the lake are left to fanwatch worker processes
	CanaryEvery   time.Duration // how often a simulated fan stops and its page must be sent; 0 = 1 h, negative = never
	HeartbeatURL  string        // called each minute while nothing is in trouble; "" = none
	Log           *slog.Logger  // nil = nothing is logged
}

// Ports are the loopback ports. 0 means a free one.
type Ports struct {
	Dashboard, Temporal, TemporalUI, MQTT, AWS, S3 int
}

// DefaultPorts are the ports that the documentation names.
var DefaultPorts = Ports{Dashboard: 8080, Temporal: 7233, TemporalUI: 8233, MQTT: 8883, AWS: 4566, S3: 4569}

// Endpoints say where everything is. [EndpointsFile] in the state directory holds them while the system runs; the CLI
// reads it.
type Endpoints struct {
	V          int    `json:"v"`
	PID        int    `json:"pid"`
	Dashboard  string `json:"dashboard"`
	Temporal   string `json:"temporal"`
	Namespace  string `json:"namespace"`
	TemporalUI string `json:"temporal_ui,omitempty"`
	MQTT       string `json:"mqtt"`
	CA         string `json:"ca"`    // root certificate of the MQTT endpoint
	Certs      string `json:"certs"` // one directory per simulated fan: key.pem, cert.pem
	AWS        string `json:"aws"`   // Kinesis, IoT and SNS
	S3         string `json:"s3"`
	Keys       string `json:"keys"` // file of two lines: access key and secret key for AWS and S3
	Inbox      string `json:"inbox"`
	Stream     string `json:"stream"`
	Bucket     string `json:"bucket"`
	Region     string `json:"region"`
	Catalog    string `json:"catalog"` // SQLite file of the Iceberg catalog
	Dir        string `json:"dir"`
}

// Files in the state directory.
const (
	// EndpointsFile has the [Endpoints] of the system that runs.
	EndpointsFile = "endpoints.json"
	// LockFile is locked by the system that runs.
	LockFile = "lock"
	// LogFile is where fanwatch-local logs to.
	LogFile = "fanwatch.log"
)

const (
	namespace = "fanwatch"
	stream    = "fanwatch"
	bucket    = "fanwatch-lake"
	region    = "us-east-1"
	account   = "000000000000"
)

// System is a running local system.
type System struct {
	Endpoints
	First string // a sentence for people: which simulated fan fails first, and when

	cfg      Config
	log      *slog.Logger
	lock     *os.File
	children []*supervised
	closers  []func() // in reverse order of starting
}

// Up starts everything and returns when it serves; an error has stopped what was started. ctx bounds the start alone:
// [System.Close] stops the system.
func Up(ctx context.Context, cfg Config) (_ *System, err error) {
	if cfg.Fans == 0 {
		cfg.Fans = 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.SnapshotEvery == 0 {
		cfg.SnapshotEvery = time.Minute
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, err
	}
	if cfg.Ingest != "" {
		if err := (&ingest.Ingestion{Prefix: cfg.Ingest}).CheckPrefix(); err != nil {
			return nil, err
		}
	}
	s := &System{cfg: cfg, log: cfg.Log}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.claim(); err != nil {
		return nil, err
	}
	keys, err := localKeys(filepath.Join(cfg.Dir, "keys"))
	if err != nil {
		return nil, err
	}
	s.Endpoints = Endpoints{V: 1, PID: os.Getpid(), Namespace: namespace, Stream: stream, Bucket: bucket, Region: region,
		Dir: cfg.Dir, Catalog: filepath.Join(cfg.Dir, "catalog.db"),
		Keys: filepath.Join(cfg.Dir, "keys"), Certs: filepath.Join(cfg.Dir, "fleet")}
	if err := s.startChildren(ctx); err != nil {
		return nil, err
	}
	config, err := s.startAWS(ctx, keys)
	if err != nil {
		return nil, err
	}
	reached, err := s.connect(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := s.startWorkers(ctx, reached); err != nil {
		return nil, err
	}
	if err := s.startFleet(ctx, reached.operator); err != nil {
		return nil, err
	}
	return s, s.announce()
}

// claim makes the state directory and takes it for this process alone.
func (s *System) claim() error {
	if err := durable.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("state directory %s: %w: choose another with --dir", s.cfg.Dir, err)
	}
	f, err := os.OpenFile(filepath.Join(s.cfg.Dir, LockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("state directory %s: %w: choose another with --dir", s.cfg.Dir, err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close() // nothing was written
		return fmt.Errorf("state directory %s is in use by another fanwatch-local: stop that one, or choose another "+
			"with --dir", s.cfg.Dir)
	}
	s.lock = f
	if s.cfg.Reset {
		return s.reset()
	}
	return nil
}

// reset removes what earlier runs left in the state directory, which is this process's by now. The log goes on.
func (s *System) reset() error {
	entries, err := os.ReadDir(s.cfg.Dir)
	for _, e := range entries {
		if err == nil && e.Name() != LockFile && e.Name() != LogFile {
			err = os.RemoveAll(filepath.Join(s.cfg.Dir, e.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("reset state directory %s: %w: remove it by hand, or choose another with --dir", s.cfg.Dir, err)
	}
	return nil
}

// keys are the local system's own AWS keys, drawn at its first start.
type keys struct{ access, secret string }

func localKeys(file string) (keys, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		b = fmt.Appendf(nil, "LOCAL%s\n%s\n", rand.Text()[:15], rand.Text())
		err = durable.WriteFile(file, b, 0o600)
	}
	if err != nil {
		return keys{}, fmt.Errorf("keys of the local AWS: %w", err)
	}
	lines := strings.Fields(string(b))
	if len(lines) != 2 {
		return keys{}, fmt.Errorf("keys of the local AWS: %s holds %d lines, want 2: remove it, or start anew with --reset",
			file, len(lines))
	}
	return keys{lines[0], lines[1]}, nil
}

func (s *System) program(name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(s.cfg.Bin, name)
}

// startChildren starts Temporal and S3 side by side.
func (s *System) startChildren(ctx context.Context) error {
	for _, p := range []string{"fanwatch-temporal", "fanwatch-s3"} {
		if _, err := os.Stat(s.program(p)); err != nil {
			return fmt.Errorf("%s is not built: run go tool task build", s.program(p))
		}
	}
	if err := durable.MkdirAll(filepath.Join(s.cfg.Dir, "s3"), 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	port := func(p int) string { return fmt.Sprint(p) }
	type started struct {
		c    *childProcess
		err  error
		args []string
	}
	starting := make(chan started, 2)
	n := 0
	start := func(program string, args ...string) {
		n++
		go func() {
			logFile := filepath.Join(s.cfg.Dir, program+".log")
			_ = os.Remove(logFile) // of the last up; there may be none
			c, err := startChild(ctx, s.program(program), logFile, args...)
			starting <- started{c, err, args}
		}()
	}
	start("fanwatch-s3", "--dir", filepath.Join(s.cfg.Dir, "s3"), "--port", port(s.cfg.Ports.S3), "--access-key-file",
		s.Keys, "--region", region, "--bucket", bucket)
	s.Temporal = s.cfg.Temporal
	if s.Temporal == "" {
		ui := cmp.Or(s.cfg.Ports.TemporalUI, -1) // its 0 means none; a port that was free here may be taken when it starts
		start("fanwatch-temporal", "--db", filepath.Join(s.cfg.Dir, "temporal.db"), "--port", port(s.cfg.Ports.Temporal),
			"--ui-port", port(ui), "--namespace", namespace,
			"--search-attribute", workflows.SearchFan.GetName()+"=Keyword", "--search-attribute",
			workflows.SearchState.GetName()+"=Keyword")
	}
	var errs []error
	for range n {
		st := <-starting
		if st.err != nil {
			errs = append(errs, st.err)
			continue
		}
		s.children = append(s.children, s.supervise(st.c, st.args))
		if st.c.name == filepath.Base(s.program("fanwatch-s3")) {
			s.S3 = "http://" + st.c.addr
		} else {
			s.Temporal, s.TemporalUI = st.c.addr, "http://"+st.c.ui
		}
	}
	return errors.Join(errs...)
}

// supervise has the child started again on the ports that it has now.
func (s *System) supervise(c *childProcess, args []string) *supervised {
	args = slices.Clone(args)
	for flag, address := range map[string]string{"--port": c.addr, "--ui-port": c.ui} {
		if i := slices.Index(args, flag); i >= 0 && address != "" {
			args[i+1] = address[strings.LastIndexByte(address, ':')+1:]
		}
	}
	return supervise(c, s.log, func(ctx context.Context) (*childProcess, error) {
		name := strings.TrimSuffix(c.name, ".exe")
		return startChild(ctx, s.program(name), filepath.Join(s.cfg.Dir, name+".log"), args...)
	})
}

// startAWS starts Kinesis, SNS and IoT Core, and gives the configuration by which workers reach them.
func (s *System) startAWS(ctx context.Context, k keys) (*workers.Config, error) {
	ln, err := listen(s.cfg.Ports.AWS)
	if err != nil {
		return nil, err
	}
	s.AWS = "http://" + ln.Addr().String()
	s.Inbox = s.AWS + "/inbox"
	kinesisServer, err := kinesis.New(kinesis.Config{Dir: filepath.Join(s.cfg.Dir, "kinesis"), Log: s.log,
		Region: region, Account: account})
	if err != nil {
		return nil, err
	}
	s.closing(func() { _ = kinesisServer.Close() }) // every answered write is on disk already
	snsServer, err := sns.New(sns.Config{Dir: filepath.Join(s.cfg.Dir, "sns"), Log: s.log, URL: s.AWS,
		Region: region, Account: account})
	if err != nil {
		return nil, err
	}
	s.closing(func() { _ = snsServer.Close() }) // every answered publish is on disk already
	awsConfig, err := cloud.Config(ctx, cloud.Settings{Region: region, Local: true,
		AccessKey: k.access, SecretKey: k.secret, Endpoints: []string{s.AWS, s.S3}})
	if err != nil {
		return nil, err
	}
	kinesisClient, err := cloud.NewKinesis(awsConfig, s.AWS)
	if err != nil {
		return nil, err
	}
	iotServer, err := iotcore.New(iotcore.Config{Dir: filepath.Join(s.cfg.Dir, "iotcore"),
		MQTTAddr: loopback(s.cfg.Ports.MQTT), Log: s.log, Region: region, Account: account, Refused: stream,
		Kinesis: iotcore.PutFunc(func(ctx context.Context, stream, key string, data []byte) error {
			_, _, err := kinesisClient.Put(ctx, stream, key, data)
			return err
		})})
	if err != nil {
		return nil, err
	}
	handlers := map[string]http.Handler{"kinesis": kinesisServer, "sns": snsServer,
		"iot": iotServer.Handler(), "iotdata": iotServer.Handler(), "execute-api": iotServer.Handler()}
	s.serve(ln, gateway(handlers, snsServer))
	if err := iotServer.Start(); err != nil {
		return nil, portTaken(err)
	}
	s.closing(func() { _ = iotServer.Close() }) // what it acknowledged is on the stream
	s.MQTT, s.CA = iotServer.MQTTAddr(), iotServer.CAFile()
	policies, err := s.openPolicies()
	if err != nil {
		return nil, err
	}
	return &workers.Config{AWS: awsConfig, Account: account, Stream: stream, Bucket: bucket, Poll: 200 * time.Millisecond,
		Endpoints: workers.Endpoints{Kinesis: s.AWS, IoT: s.AWS, SNS: s.AWS, S3: s.S3},
		Catalog:   workers.Catalog{SQLite: s.Catalog}, Policies: policies.Policies, Planner: policies,
		Channels: policies.Channel, HeartbeatURL: s.cfg.HeartbeatURL,
		Score: activities.ScoreConfig{Detect: detect.Config{Seed: s.cfg.Seed}, Window: 5 * time.Second,
			SnapshotEvery: s.cfg.SnapshotEvery}}, nil
}

// openPolicies opens policy.yaml in the state directory, which the first start writes.
func (s *System) openPolicies() (*workers.PolicyFile, error) {
	file := filepath.Join(s.cfg.Dir, "policy.yaml")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if err := durable.WriteFile(file, defaultPolicy, 0o600); err != nil {
			return nil, err
		}
	}
	return workers.OpenPolicies(file, s.log)
}

// services are how workers, dashboard and fleet reach AWS and Temporal.
type services struct {
	config   workers.Config
	temporal client.Client
	operator operator.Client
}

// connect connects to Temporal, beside the AWS of config.
func (s *System) connect(ctx context.Context, config *workers.Config) (*services, error) {
	temporal, err := operator.Dial(ctx, client.Options{HostPort: s.Temporal, Namespace: namespace,
		Logger: sdklog.NewStructuredLogger(s.log)})
	if err != nil {
		return nil, err
	}
	s.closing(temporal.Close)
	return &services{config: *config, temporal: temporal,
		operator: operator.Client{Temporal: temporal, Namespace: namespace}}, nil
}

// startWorkers makes the stream, rules and topics, and starts workers and dashboard.
func (s *System) startWorkers(ctx context.Context, p *services) error {
	pages, err := listen(0) // where SNS delivers the canary's pages
	if err != nil {
		return err
	}
	p.config.CanaryURL = "http://" + pages.Addr().String() + "/canary"
	a, err := workers.NewActivities(p.config, p.operator, s.log)
	if err != nil {
		_ = pages.Close() // nothing came there
		return err
	}
	s.serve(pages, workers.CanaryPages{Acknowledge: p.operator.Acknowledge, Confirm: a.SNS.Confirm})
	if err := a.Prepare(ctx, p.config, workers.ResourceOptions{Shards: 2, Email: "%s@fanwatch.local"}); err != nil {
		return err
	}
	go a.LogTopics(context.WithoutCancel(ctx), s.log) // each topic has a time-out of its own
	tables := workers.LazyTables(p.config)
	s.closing(func() { _ = tables.Close() }) // every commit is on disk already
	if !s.cfg.NoWorkers {
		if err := s.work(ctx, p, a, tables); err != nil {
			return err
		}
	}
	return s.startDashboard(ctx, p, a, tables)
}

// work runs a worker of each kind in this process and returns when they run.
func (s *System) work(ctx context.Context, p *services, a *workers.Activities, tables *workers.Tables) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	started, ended := make(chan struct{}), make(chan error, 1)
	s.closing(func() { stop(); <-ended })
	go func() {
		defer close(ended)
		ended <- workers.Run(running, workers.Process{Operator: p.operator, Config: p.config, Activities: a, Tables: tables,
			Serve: workers.Kinds,
			Lake: activities.LakeConfig{Compact: lake.CompactConfig{MinFiles: 3}, KeepSegments: s.cfg.KeepSegments,
				Keep: lake.Retention{Readings: s.cfg.KeepReadings, Events: s.cfg.KeepReadings}},
			Settings: operator.Settings{Stream: stream, ShardsEvery: 5 * time.Second, CommitEvery: 10 * time.Second,
				CompactEvery:  30 * time.Second,
				MaintainEvery: time.Minute, CanaryEvery: s.cfg.CanaryEvery, Ingest: activities.DeliveryStream{Prefix: s.cfg.Ingest},
				IngestEvery: 15 * time.Second, Log: s.log},
			Started: func() { close(started) }})
	}()
	select {
	case <-started:
		return nil
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *System) startDashboard(ctx context.Context, p *services, a *workers.Activities, tables *workers.Tables) error {
	ln, err := listen(s.cfg.Ports.Dashboard)
	if err != nil {
		return err
	}
	s.Dashboard = "http://" + ln.Addr().String()
	d, err := dashboard.New(dashboard.Config{Operator: dashboard.Client{Client: p.operator}, History: tables,
		InboxURL: s.AWS, TemporalUI: s.TemporalUI, Namespace: namespace, Log: s.log})
	if err != nil {
		return err
	}
	s.closing(d.Close)
	s.serve(ln, d)
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.closing(stop)
	go d.Follow(following, a.S3, stream, time.Second)
	return nil
}

func (s *System) startFleet(ctx context.Context, op operator.Client) error {
	if s.cfg.Fans < 0 {
		s.First = "nothing by itself: there are no simulated fans"
		return nil
	}
	fans := fleetOf(s.cfg.Fans, s.cfg.Faults)
	f := &fleet{dir: s.Certs, broker: s.MQTT, caFile: s.CA, seed: s.cfg.Seed, log: s.log}
	s.closing(f.close)
	if err := f.start(ctx, fans, op); err != nil {
		return err
	}
	s.First = fmt.Sprintf("%d fans turn and none will fail", len(fans))
	if name, kind, in := firstFault(fans); name != "" {
		s.First = fmt.Sprintf("%s will fail (%s) in %s; others later", name, kind, in)
	}
	return nil
}

func (s *System) announce() error {
	b, err := json.MarshalIndent(s.Endpoints, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(s.cfg.Dir, EndpointsFile)
	s.closing(func() { _ = os.Remove(file) }) // a stale one names a dead process
	return durable.WriteFile(file, append(b, '\n'), 0o600)
}

func (s *System) closing(f func()) { s.closers = append(s.closers, f) }

// Close stops everything in reverse order of its start: what feeds first, what stores last.
func (s *System) Close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
	s.closers = nil
	for _, c := range s.children {
		c.stop()
	}
	s.children = nil
	if s.lock != nil {
		_ = s.lock.Close() // which unlocks it
		s.lock = nil
	}
}

func (s *System) serve(ln net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	s.closing(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close() // a request did not end
		}
	})
	go func() {
		if err := srv.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("a server ended", "addr", ln.Addr(), "err", err)
		}
	}()
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func listen(port int) (net.Listener, error) {
	ln, err := net.Listen("tcp", loopback(port))
	return ln, portTaken(err)
}

// portTaken says what to do about a taken port.
func portTaken(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: stop what holds the port, or choose others with --ports free", err)
}
