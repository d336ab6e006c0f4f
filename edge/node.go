package edge

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	"fanwatch"
)

// Config says which fan is measured and where its readings go. Zero values give the defaults.
type Config struct {
	Fan    string
	Source Source // of the tacho's edges
	TachConfig
	Duty func() fanwatch.Duty // the commanded PWM duty cycle, asked once per reading; nil = not known. See PWM
	// Recorded calls emit with readings, which are published in place of measured ones, and returns when there are no
	// more, emit fails or ctx ends; nil = measure. Fan, Run and Seq are set by emit, which waits while the spool is full.
	Recorded func(ctx context.Context, emit func(fanwatch.Reading) error) error

	Interval     time.Duration // a reading is made every Interval; 0 = 1 s, 100 ms at least
	Clock        Clock         // zero = System()
	Synchronised func() bool   // whether the wall clock can be believed; nil = when it is later than BuildTime()

	Dir      string      // of the spool; one per fan
	MaxSpool int64       // bytes; 0 = 64 MiB
	Broker   string      // host:port; port 443 means ALPN x-amzn-mqtt-ca
	TLS      *tls.Config // see TLSConfig; nil = plain TCP, which is refused unless Broker is on loopback
	ClientID string      // "" = Fan, which is also the thing's name
	Topic    string      // "" = the Basic Ingest topic $aws/rules/fanwatch_readings/<fan>

	FlushEvery time.Duration // readings wait at most this long for their batch to fill; 0 = 10 s
	Batch      int           // readings per message, 1..fanwatch.MaxBatch; 0 = 10
	Jump       float64       // a change of RPM by this part of it is published at once; 0 = 0.1
	Live       bool          // as in Settings
	// the thing's named shadow that changes Settings meanwhile; "" = none. Needs ClientID to be Fan
	Shadow  string
	Silence time.Duration // the fan's, as provisioned: bounds what Shadow sets; 0 = 30 s, negative = never
	Rate    float64       // messages per second at most; 0 = 80 (AWS takes 100 per connection)
	Window  int           // messages in flight at most; 0 = 64

	ConnectTimeout time.Duration // 0 = 30 s
	AckTimeout     time.Duration // a message unacknowledged for this long ends the connection; 0 = 20 s
	BackoffMin     time.Duration // the first pause after a lost connection; 0 = 1 s
	BackoffMax     time.Duration // the longest; 0 = 60 s. Five times that when another publisher has the same client ID
	Settled        time.Duration // a connection that the broker closes earlier does not set the pauses back; 0 = 1 min
	SyncEvery      time.Duration // how often the spool is synced; 0 = 10 s
	Drain          time.Duration // how long Run goes on publishing after its context ended; 0 = 2 s, negative = not at all

	Log *slog.Logger // nil = silent
}

// shortestInterval keeps a misspelt interval from eating the machine.
const shortestInterval = 100 * time.Millisecond

// Status is the state of a Node's connection and spool.
type Status struct {
	Fan       string
	Run       uint64
	Connected bool
	Since     time.Time     // of Connected's last change; zero before the first connection
	Connects  int           // connections made so far
	LastError string        // why the last connection failed or was lost; "" = none yet
	Interval  time.Duration // between readings, as set at present
	SpoolStats
}

// Node measures one fan and publishes its readings.
type Node struct {
	c     Config
	run   uint64
	spool *Spool
	pub   *publisher
	dirty chan struct{} // a change of state is to be synced at once
}

// New checks the configuration, opens the spool and draws the run's number.
func New(c Config) (*Node, error) {
	c.fill()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("edge %s: %w", c.Fan, err)
	}
	run, err := drawRun()
	if err != nil {
		return nil, fmt.Errorf("edge %s: %w", c.Fan, err)
	}
	spool, err := OpenSpool(SpoolConfig{Dir: c.Dir, Fan: c.Fan, Run: run, MaxBytes: c.MaxSpool, Log: c.Log})
	if err != nil {
		return nil, fmt.Errorf("edge %s: %w", c.Fan, err)
	}
	for _, field := range []string{"interval", "flush_every"} {
		if err := c.settings().quiet(field, c.silence()); err != nil {
			c.Log.Warn("settings: the fan will be taken for silent unless it was provisioned otherwise",
				"fan", c.Fan, "err", err)
		}
	}
	return &Node{c: c, run: run, spool: spool, pub: newPublisher(c, spool, run), dirty: make(chan struct{}, 1)}, nil
}

// Run measures the fan and publishes its readings until ctx ends, or until all of Config.Recorded is published. Then it
// writes the spool to disk, goes on for Config.Drain to publish what is left where it is connected, and returns nil;
// what was not published stays in the spool for the next run. An error is a source that gave up. Several Nodes may run
// in one process, each with its own Dir; each runs once.
func (n *Node) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { n.pub.run(ctx) })
	running.Go(func() { n.sync(ctx) })
	var err error
	if n.c.Recorded != nil {
		err = n.replay(ctx)
	} else {
		err = measure(ctx, n.c, n.pub.now.Load, n.take())
	}
	stop()
	err = errors.Join(err, n.spool.Sync())
	running.Wait()
	if err = errors.Join(err, n.spool.Close()); err != nil {
		return fmt.Errorf("edge %s: %w", n.c.Fan, err)
	}
	return nil
}

// Status returns the state of the connection and the spool. It is safe for concurrent use, also beside Run.
func (n *Node) Status() Status {
	st := n.pub.status()
	st.Fan, st.Run, st.Interval, st.SpoolStats = n.c.Fan, n.run, time.Duration(n.pub.now.Load().Interval), n.spool.Stats()
	return st
}

// Measure is the measuring half alone: every Interval it calls emit with a reading, whose Run and Seq
// are 0, until ctx ends (then it returns nil) or the source or emit fails.
func Measure(ctx context.Context, c Config, emit func(Record) error) error {
	c.fill()
	settings := c.settings()
	if err := settings.Check(); err != nil {
		return err
	}
	return measure(ctx, c, func() *Settings { return &settings }, emit)
}

// measure takes up other settings at once, or within liveInterval when it sleeps.
func measure(ctx context.Context, c Config, settings func() *Settings, emit func(Record) error) error {
	tach := NewTach(c.TachConfig)
	for last := c.Clock.Boot(); ; {
		set, now := settings(), c.Clock.Boot()
		if due := last + set.interval(); now < due {
			if c.Clock.Sleep(ctx, min(due, now+liveInterval)) != nil || ctx.Err() != nil {
				return nil
			}
			continue
		}
		if last += set.interval(); last+set.interval() <= now { // the machine was busy or asleep, or the interval was longer
			last = now
		}
		wall := c.Clock.Wall()
		tach.limit(TachConfig{Pulses: c.Pulses, MinRPM: set.MinRPM, MaxRPM: set.MaxRPM})
		if err := c.Source.Edges(now, tach.Observe); err != nil {
			return fmt.Errorf("source: %w", err)
		}
		r := Record{Reading: tach.Window(now), Boot: now}
		r.Fan, r.Time, r.Unsynch = c.Fan, wall.UTC().Truncate(time.Microsecond), !c.Synchronised()
		if c.Duty != nil {
			r.PWM = c.Duty()
		}
		if err := emit(r); err != nil {
			return err
		}
	}
}

// take numbers a reading, spools it, and has it published and synced at once when the fan's state
// changed or its speed jumped.
func (n *Node) take() func(Record) error {
	var last fanwatch.Reading
	seq := uint64(0)
	return func(r Record) error {
		seq++
		if r.Unsynch && (seq == 1 || !last.Unsynch) {
			n.c.Log.Warn("clock: readings are marked and dated by their age until it is right", "fan", n.c.Fan,
				"reason", n.c.wrongClock()+": switch NTP on (timedatectl set-ntp true), or set the clock")
		} else if !r.Unsynch && last.Unsynch {
			n.c.Log.Info("clock: synchronised", "fan", n.c.Fan)
		}
		r.Run, r.Seq = n.run, seq
		changed := r.State != last.State
		jumped := math.Abs(r.RPM-last.RPM) > n.pub.now.Load().Jump*last.RPM
		last = r.Reading
		n.spool.Append(r)
		if changed || jumped {
			n.pub.hurry()
		}
		if changed {
			select {
			case n.dirty <- struct{}{}:
			default:
			}
		}
		return nil
	}
}

// sync syncs the spool. It stands beside the measuring, which must not wait for an SD card.
func (n *Node) sync(ctx context.Context) {
	tick := time.NewTicker(n.c.SyncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-n.dirty:
		}
		_ = n.spool.Sync() // the spool has logged and counted it, and goes on in memory
	}
}

func (c *Config) fill() {
	durations := []struct {
		value *time.Duration
		zero  time.Duration
	}{{&c.Interval, time.Second}, {&c.FlushEvery, 10 * time.Second}, {&c.ConnectTimeout, 30 * time.Second},
		{&c.AckTimeout, 20 * time.Second},
		{&c.BackoffMin, time.Second}, {&c.BackoffMax, time.Minute}, {&c.Settled, time.Minute},
		{&c.SyncEvery, 10 * time.Second}, {&c.Drain, 2 * time.Second}}
	for _, d := range durations {
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	if c.Clock.Boot == nil {
		c.Clock = System()
	}
	if c.Synchronised == nil {
		wall := c.Clock.Wall
		c.Synchronised = func() bool { return wall().After(BuildTime()) }
	}
	if c.ClientID == "" {
		c.ClientID = c.Fan
	}
	if c.Topic == "" {
		c.Topic = "$aws/rules/fanwatch_readings/" + c.Fan
	}
	if c.Batch == 0 {
		c.Batch = 10
	}
	if c.Jump == 0 {
		c.Jump = 0.1
	}
	if c.Rate == 0 {
		c.Rate = 80
	}
	if c.Window == 0 {
		c.Window = 64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func (c *Config) check() error {
	if err := fanwatch.CheckFan(c.Fan); err != nil {
		return err
	}
	if err := c.checkBroker(); err != nil {
		return err
	}
	switch {
	case c.Source == nil && c.Recorded == nil:
		return errors.New("no source of edges is set")
	case c.Dir == "":
		return errors.New("no directory for the spool is set")
	case c.Shadow != "" && c.ClientID != c.Fan:
		return fmt.Errorf("client ID %s is not the thing's name, %s: it cannot use the thing's shadow", c.ClientID, c.Fan)
	case c.Window < 1 || c.Window > 1000:
		return fmt.Errorf("window of %d messages is outside 1..1000", c.Window)
	case !(c.Rate > 0):
		return fmt.Errorf("rate of %g messages per second is not above 0", c.Rate)
	case c.FlushEvery < 0 || c.ConnectTimeout < 0 || c.AckTimeout < 0 || c.BackoffMin < 0 || c.BackoffMax < c.BackoffMin ||
		c.SyncEvery < 0:
		return errors.New("a duration is negative, or the longest back-off shorter than the first")
	}
	return c.settings().Check()
}

// silence is after which time people are told that the fan is silent; 0 = never.
func (c *Config) silence() time.Duration {
	return fanwatch.Device{Silence: fanwatch.Duration(c.Silence)}.SilenceAfter()
}

func (c *Config) checkBroker() error {
	host, _, err := net.SplitHostPort(c.Broker)
	switch {
	case err != nil || host == "":
		return fmt.Errorf("broker %q: write it as host:port, such as abc-ats.iot.eu-central-1.amazonaws.com:8883", c.Broker)
	case c.TLS == nil && !loopback(host):
		return fmt.Errorf("broker %s: needs TLS, because it is not on this machine", c.Broker)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// drawRun returns a random number in 1..2^63-1.
func drawRun() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("run number: %w", err)
	}
	return max(binary.LittleEndian.Uint64(b[:])>>1, 1), nil
}
