// Package local runs the whole of fanwatch on one machine: Temporal and S3 as child processes, IoT Core,
// Kinesis and SNS in this process, the workers, the dashboard and a fleet of simulated fans. Everything
// listens on loopback, and every client is given an endpoint there: the code is that of production, only
// the endpoints differ.
//
// All state lies in one directory and survives kill -9 of everything.
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
	"go.temporal.io/sdk/worker"

	"fanwatch/activities"
	"fanwatch/cloud"
	"fanwatch/dashboard"
	"fanwatch/detect"
	"fanwatch/lake"
	"fanwatch/lake/ingest"
	"fanwatch/local/aws/iotcore"
	"fanwatch/local/aws/kinesis"
	"fanwatch/local/aws/sns"
	"fanwatch/workers"
	"fanwatch/workflows"
)

//go:embed policy.yaml
var defaultPolicy []byte

// Config says how the local system runs. Zero values give the defaults.
type Config struct {
	Dir      string // state; required
	Reset    bool   // whether all that lies there goes first, but the log: the caller knows it for such state
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
	HeartbeatURL  string        // called each minute while all is well; "" = none
	Log           *slog.Logger
}

// Ports are the loopback ports. 0 means a free one.
type Ports struct {
	Dashboard, Temporal, TemporalUI, MQTT, AWS, S3 int
}

// DefaultPorts are those that the documentation names.
var DefaultPorts = Ports{Dashboard: 8080, Temporal: 7233, TemporalUI: 8233, MQTT: 8883, AWS: 4566, S3: 4569}

// Endpoints tell where everything is. The file endpoints.json in the state directory holds them while the
// system runs; the CLI reads it.
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

// EndpointsFile is the name of that file. LockFile is what a running system holds, LogFile where fanwatch-local logs to.
const (
	EndpointsFile = "endpoints.json"
	LockFile      = "lock"
	LogFile       = "fanwatch.log"
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
	First string // what will happen next, for people

	cfg      Config
	log      *slog.Logger
	lock     *os.File
	children []*supervised
	closers  []func() // in reverse order of starting
}

// Up starts everything and returns when it serves. Close stops it; so does an error.
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
	s.Endpoints = Endpoints{V: 1, PID: os.Getpid(), Namespace: namespace, Stream: stream, Bucket: bucket, Region: region, Dir: cfg.Dir, Catalog: filepath.Join(cfg.Dir, "catalog.db"),
		Keys: filepath.Join(cfg.Dir, "keys"), Certs: filepath.Join(cfg.Dir, "fleet")}
	if err := s.startChildren(ctx); err != nil {
		return nil, err
	}
	parts, err := s.startAWS(ctx, keys)
	if err != nil {
		return nil, err
	}
	if err := s.startWorkers(ctx, parts); err != nil {
		return nil, err
	}
	if err := s.startFleet(ctx, parts); err != nil {
		return nil, err
	}
	return s, s.announce()
}

// claim makes the state directory and takes it for this process alone.
func (s *System) claim() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("state directory %s: %w: choose another with --dir", s.cfg.Dir, err)
	}
	f, err := os.OpenFile(filepath.Join(s.cfg.Dir, LockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("state directory %s: %w: choose another with --dir", s.cfg.Dir, err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close() // nothing was written
		return fmt.Errorf("state directory %s is in use by another fanwatch-local: stop that one, or choose another with --dir", s.cfg.Dir)
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
		err = writeFile(file, b)
	}
	if err != nil {
		return keys{}, fmt.Errorf("keys of the local AWS: %w", err)
	}
	lines := strings.Fields(string(b))
	if len(lines) != 2 {
		return keys{}, fmt.Errorf("keys of the local AWS: %s holds %d lines, want 2: remove it, or start anew with --reset", file, len(lines))
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
	if err := os.MkdirAll(filepath.Join(s.cfg.Dir, "s3"), 0o700); err != nil {
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
	start("fanwatch-s3", "--dir", filepath.Join(s.cfg.Dir, "s3"), "--port", port(s.cfg.Ports.S3), "--access-key-file", s.Keys, "--region", region, "--bucket", bucket)
	s.Temporal = s.cfg.Temporal
	if s.Temporal == "" {
		ui := cmp.Or(s.cfg.Ports.TemporalUI, -1) // its 0 means none; a port that was free here may be taken when it starts
		start("fanwatch-temporal", "--db", filepath.Join(s.cfg.Dir, "temporal.db"), "--port", port(s.cfg.Ports.Temporal), "--ui-port", port(ui), "--namespace", namespace,
			"--search-attribute", workflows.SearchFan.GetName()+"=Keyword", "--search-attribute", workflows.SearchState.GetName()+"=Keyword")
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
		return startChild(ctx, s.program(strings.TrimSuffix(c.name, ".exe")), filepath.Join(s.cfg.Dir, strings.TrimSuffix(c.name, ".exe")+".log"), args...)
	})
}

// awsParts are what the other parts need of the local AWS.
type awsParts struct {
	config   workers.Config
	temporal client.Client
	operator workflows.Operator
}

// startAWS starts Kinesis, SNS and IoT Core and makes what fanwatch needs in them, through the SDK.
func (s *System) startAWS(ctx context.Context, k keys) (*awsParts, error) {
	ln, err := listen(s.cfg.Ports.AWS)
	if err != nil {
		return nil, err
	}
	s.AWS = "http://" + ln.Addr().String()
	s.Inbox = s.AWS + "/inbox"
	stream1, err := kinesis.New(kinesis.Config{Dir: filepath.Join(s.cfg.Dir, "kinesis"), Log: s.log, Region: region, Account: account})
	if err != nil {
		return nil, err
	}
	s.closing(func() { _ = stream1.Close() }) // every answered write is on disk already
	mail, err := sns.New(sns.Config{Dir: filepath.Join(s.cfg.Dir, "sns"), Log: s.log, URL: s.AWS, Region: region, Account: account})
	if err != nil {
		return nil, err
	}
	s.closing(func() { _ = mail.Close() }) // likewise
	cfg, err := cloud.Config(ctx, cloud.Settings{Region: region, Local: true, AccessKey: k.access, SecretKey: k.secret, Endpoints: []string{s.AWS, s.S3}})
	if err != nil {
		return nil, err
	}
	put, err := cloud.NewKinesis(cfg, s.AWS)
	if err != nil {
		return nil, err
	}
	broker, err := iotcore.New(iotcore.Config{Dir: filepath.Join(s.cfg.Dir, "iotcore"), MQTTAddr: loopback(s.cfg.Ports.MQTT), Log: s.log,
		Region: region, Account: account, Refused: stream,
		Kinesis: iotcore.PutFunc(func(ctx context.Context, stream, key string, data []byte) error {
			_, _, err := put.Put(ctx, stream, key, data)
			return err
		})})
	if err != nil {
		return nil, err
	}
	s.serve(ln, gateway(map[string]http.Handler{"kinesis": stream1, "sns": mail, "iot": broker.Handler(), "iotdata": broker.Handler(), "execute-api": broker.Handler()}, mail))
	if err := broker.Start(); err != nil {
		return nil, portTaken(err)
	}
	s.closing(func() { _ = broker.Close() }) // what it acknowledged is on the stream
	s.MQTT, s.CA = broker.MQTTAddr(), broker.CAFile()
	p := &awsParts{config: workers.Config{AWS: cfg, Account: account, Stream: stream, Bucket: bucket, Poll: 200 * time.Millisecond,
		Endpoints: workers.Endpoints{Kinesis: s.AWS, IoT: s.AWS, SNS: s.AWS, S3: s.S3},
		Catalog:   workers.Catalog{SQLite: s.Catalog}, HeartbeatURL: s.cfg.HeartbeatURL,
		Score: activities.ScoreConfig{Detect: detect.Config{Seed: s.cfg.Seed}, Window: 5 * time.Second, SnapshotEvery: s.cfg.SnapshotEvery}}}
	return p, s.loadPolicies(p)
}

// loadPolicies reads policy.yaml in the state directory, which the first start writes.
func (s *System) loadPolicies(p *awsParts) error {
	file := filepath.Join(s.cfg.Dir, "policy.yaml")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if err := writeFile(file, defaultPolicy); err != nil {
			return err
		}
	}
	policies, err := workers.OpenPolicies(file, s.log)
	if err != nil {
		return err
	}
	p.config.Policies = policies.Policies
	return nil
}

// startWorkers makes the stream, rules and topics, and starts workers and dashboard.
func (s *System) startWorkers(ctx context.Context, p *awsParts) error {
	var err error
	p.temporal, err = workflows.Dial(ctx, client.Options{HostPort: s.Temporal, Namespace: namespace, Logger: sdklog.NewStructuredLogger(s.log)})
	if err != nil {
		return err
	}
	s.closing(p.temporal.Close)
	p.operator = workflows.Operator{Temporal: p.temporal, Namespace: namespace}
	pages, err := listen(0) // where SNS delivers the canary's pages
	if err != nil {
		return err
	}
	p.config.CanaryURL = "http://" + pages.Addr().String() + "/canary"
	a, err := workers.Assemble(p.config, p.operator, s.log)
	if err != nil {
		_ = pages.Close() // nothing came there
		return err
	}
	s.serve(pages, workers.CanaryPages{Acknowledge: p.operator.Acknowledge, Confirm: a.SNS.Confirm})
	if err := a.Prepare(ctx, p.config, workers.Shape{Shards: 2, Email: "%s@fanwatch.local"}); err != nil {
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

// work runs a worker of each kind in this process.
func (s *System) work(ctx context.Context, p *awsParts, a *workers.Activities, tables *workers.Tables) error {
	for _, w := range []worker.Worker{workers.Control(p.temporal, a), workers.Score(p.temporal, a.Scorer, time.Second),
		workers.Lake(p.temporal, &activities.Lake{Tables: tables.Open, Store: a.S3, Bucket: p.config.Open, Config: activities.LakeConfig{Compact: lake.CompactConfig{MinFiles: 3}, KeepSegments: s.cfg.KeepSegments,
			Keep: lake.Retention{Readings: s.cfg.KeepReadings, Events: s.cfg.KeepReadings}}})} {
		if err := w.Start(); err != nil {
			return fmt.Errorf("start a worker: %w", err)
		}
		s.closing(w.Stop)
	}
	settings := workflows.Settings{CanaryEvery: s.cfg.CanaryEvery, Stream: stream, ShardsEvery: 5 * time.Second, CommitEvery: 10 * time.Second, CompactEvery: 30 * time.Second, MaintainEvery: time.Minute,
		Ingest: activities.DeliveryStream{Prefix: s.cfg.Ingest}, IngestEvery: 15 * time.Second, Log: s.log}
	if err := p.operator.Start(ctx, settings); err != nil {
		return err
	}
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.closing(stop)
	go p.operator.Keep(keeping, settings, s.log)
	return nil
}

func (s *System) startDashboard(ctx context.Context, p *awsParts, a *workers.Activities, tables *workers.Tables) error {
	ln, err := listen(s.cfg.Ports.Dashboard)
	if err != nil {
		return err
	}
	s.Dashboard = "http://" + ln.Addr().String()
	d, err := dashboard.New(dashboard.Config{Operator: dashboard.Workflows{Operator: p.operator}, History: tables, InboxURL: s.AWS, TemporalUI: s.TemporalUI, Namespace: namespace, Log: s.log})
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

func (s *System) startFleet(ctx context.Context, p *awsParts) error {
	if s.cfg.Fans < 0 {
		s.First = "nothing by itself: there are no simulated fans"
		return nil
	}
	fans := fleetOf(s.cfg.Fans, s.cfg.Faults)
	f := &fleet{dir: s.Certs, broker: s.MQTT, caFile: s.CA, seed: s.cfg.Seed, log: s.log}
	s.closing(f.close)
	if err := f.start(ctx, fans, p.operator); err != nil {
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
	return writeFile(file, append(b, '\n'))
}

func (s *System) closing(f func()) { s.closers = append(s.closers, f) }

// Close stops everything in order: what feeds first, what stores last.
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
			_ = srv.Close() // somebody would not let go
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
