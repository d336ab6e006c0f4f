package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"fanwatch"
	"fanwatch/edge"
)

const runHelp = `fanwatch-edge run measures the fans of the configuration and publishes a reading a second of each,
until the process is told to end (SIGTERM, Ctrl-C). Readings that the broker has not acknowledged stay in the spool.

  fanwatch-edge run --config fan-21.yaml
  fanwatch-edge run --config fan-21.yaml --dry-run   print readings, publish and keep nothing
  fanwatch-edge run --config fan-21.yaml --dry-run --json   as they would be published, one a line
  fanwatch-edge run --sim --dry-run                  print readings of a simulated fan, without a configuration
  fanwatch-edge run --sim --dry-run --fast --count 600 --seed 7 --fault dust,60s,9m,0.2 --truth truth.jsonl

A simulated fan (source: sim, or --sim) goes through the same tacho, spool and publisher as a real one. Its faults
have a kind, a beginning and an end since the start, and a severity of 0..1:

  stall       blocked rotor: it stops within a second and spins up afterwards
  drag        a hot motor or a rubbing cable: within 5 s it loses that part of its speed
  dust        dust settles: the speed sinks evenly over the fault's time, by that part at its end
  airflow     blocked inlet: the speed rises, by up to a quarter, and surges
  bearing     worn bearing: pulse periods jitter by up to that part of themselves, growing; the mean speed stays
  imbalance   pulses come early and late once per revolution, by up to a fifth of a period
  glitches    interference: that part of the pulses is followed by a false edge; the fan is normal
  lost-tacho  the fan turns but no pulse arrives
  pwm         no fault: the fan is told to run at that duty cycle
` + configHelp

// run measures and publishes, or prints.
func run(ctx context.Context, args []string, out, errs io.Writer) error {
	f := flags("run", runHelp, errs)
	path := f.String("config", "", "the configuration `file`")
	sim := f.Bool("sim", false, "measure simulated fans instead of the configuration's sources")
	dry := f.Bool("dry-run", false, "print readings instead of publishing them")
	asJSON := f.Bool("json", false, "with --dry-run: print readings as JSON, one object a line")
	fast := f.Bool("fast", false, "with --dry-run: let simulated fans run as fast as possible instead of in real time")
	count := f.Int("count", 0, "with --dry-run: end after this many readings of each fan; 0: never")
	truth := f.String("truth", "", "append the faults of simulated fans to this `file`, one JSON object a line")
	var made edge.SimConfig
	f.Uint64Var(&made.Seed, "seed", 0, "with --sim: seed of the simulated fan; one seed gives the same fan")
	f.Func("fault", "with --sim: a fault of the simulated fan as `kind,from,to,severity`, such as stall,20s,60s,1; "+
		"may be given again", func(s string) error {
		fault, err := parseFault(s)
		made.Faults = append(made.Faults, fault)
		return err
	})
	if err := parse(f, args, out); err != nil {
		return err
	}
	if *path == "" && !(*sim && *dry) {
		return wrong(f, "needs --config FILE (or --sim --dry-run)")
	}
	configs, err := configured(*path, *sim, &made)
	if err != nil {
		return err
	}
	switch {
	case !*sim && (made.Seed != 0 || len(made.Faults) > 0):
		return wrong(f, "--seed and --fault go with --sim")
	case *count < 0 || *count > 0 && !*dry:
		return wrong(f, "--count is a number of 1 or more and goes with --dry-run")
	case *fast && (!*dry || slices.ContainsFunc(configs, func(c config) bool { return c.Source.Sim == nil })):
		return wrong(f, "--fast goes with --dry-run and simulated fans: what is published must not be of the future")
	case *asJSON && !*dry:
		return wrong(f, "--json goes with --dry-run")
	}
	o := opening{log: slog.New(slog.NewTextHandler(errs, nil)), started: time.Now(), fast: *fast, publish: !*dry,
		truth: *truth}
	fans, closeAll, err := o.all(configs)
	if err != nil {
		return err
	}
	defer closeAll()
	if *dry {
		return printReadings(ctx, fans, *count, *asJSON, out)
	}
	return publish(ctx, fans)
}

// configured returns the configuration at path, or that of one simulated fan; with sim every fan that is not
// simulated becomes so.
func configured(path string, sim bool, made *edge.SimConfig) ([]config, error) {
	if path == "" {
		return []config{{fan: fan{Fan: "simulated", Source: source{Sim: made}}}}, nil
	}
	configs, err := load(path)
	for i := range configs {
		if src := &configs[i].Source; sim && src.Sim == nil {
			*src = source{Sim: made}
		}
	}
	return configs, err
}

// opening says how fans are opened.
type opening struct {
	log     *slog.Logger
	started time.Time
	fast    bool   // on a clock of their own
	publish bool   // with certificate and key
	truth   string // file for the faults of simulated ones; "" = none
}

// all opens every fan's line or makes the simulated fan.
func (o opening) all(configs []config) (fans []edge.Config, closeAll func(), err error) {
	var stops []func()
	closeAll = func() {
		for _, stop := range stops {
			stop()
		}
	}
	for _, c := range configs {
		conf, stop, err := o.one(c)
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("fan %s: %w", c.Fan, err)
		}
		fans, stops = append(fans, conf), append(stops, stop)
	}
	return fans, closeAll, nil
}

func (o opening) one(c config) (conf edge.Config, stop func(), err error) {
	conf = c.edge()
	conf.Log, conf.Clock = o.log, edge.System()
	if o.fast {
		conf.Clock = edge.SimulatedClock(o.started)
	}
	if o.publish {
		if conf.TLS, err = edge.TLSConfig(c.CA, c.Cert, c.Key, conf.Clock.Wall); err != nil {
			return conf, nil, err
		}
	}
	if stop, err = c.open(&conf); err != nil {
		return conf, nil, err
	}
	if s, ok := conf.Source.(*edge.Sim); ok && o.truth != "" {
		if err := edge.AppendTruth(o.truth, s.Truth(c.Fan, o.started)); err != nil {
			stop()
			return conf, nil, err
		}
	}
	return conf, stop, nil
}

// parseFault reads kind,from,to,severity.
func parseFault(s string) (f edge.Fault, err error) {
	parts := strings.Split(s, ",")
	if len(parts) != 4 {
		return f, errors.New("want kind,from,to,severity")
	}
	f.Kind = edge.FaultKind(parts[0])
	err = errors.Join(f.From.UnmarshalText([]byte(parts[1])), f.To.UnmarshalText([]byte(parts[2])))
	if err == nil {
		f.Severity, err = strconv.ParseFloat(parts[3], 64)
	}
	if err == nil {
		err = f.Check()
	}
	return f, err
}

// open opens the line or makes the simulated fan, and finds the PWM.
func (c config) open(conf *edge.Config) (stop func(), err error) {
	if stop, err = c.openSource(conf); err != nil || c.PWM == "" {
		return stop, err
	}
	pwm, err := edge.OpenPWM(c.PWM)
	if err != nil {
		stop()
		return nil, err
	}
	conf.Duty = pwm.Duty
	return stop, nil
}

// openSource opens the line or makes the simulated fan.
func (c config) openSource(conf *edge.Config) (stop func(), err error) {
	if c.Source.Sim != nil {
		made := *c.Source.Sim
		made.Pulses = c.Pulses
		sim, err := edge.NewSim(made, conf.Clock.Boot())
		if err != nil {
			return nil, err
		}
		conf.Source, conf.Duty = sim, sim.Duty
		return func() {}, nil
	}
	line, err := edge.OpenGPIO(*c.Source.GPIO)
	if err != nil {
		return nil, err
	}
	conf.Source, conf.Synchronised = line, edge.Synchronised
	return func() { line.Close() }, nil
}

// publish runs the fans until ctx ends or one of them fails: then all end, so that the service manager
// starts all of them again.
func publish(ctx context.Context, fans []edge.Config) error {
	m, err := serviceManager(os.Getenv)
	if err != nil {
		return err
	}
	var nodes []*edge.Node
	for _, c := range fans {
		node, err := edge.New(c)
		if err != nil {
			return err
		}
		nodes = append(nodes, node)
	}
	return m.supervise(ctx, nodes)
}

// together runs n functions at once; the first error ends the others.
func together(ctx context.Context, n int, run func(ctx context.Context, i int) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make(chan error, n)
	for i := range n {
		go func() {
			err := run(ctx, i)
			if err != nil {
				stop()
			}
			errs <- err
		}()
	}
	var all []error
	for range n {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

func printReadings(ctx context.Context, fans []edge.Config, count int, asJSON bool, out io.Writer) error {
	enough := errors.New("enough")
	var line sync.Mutex // whole lines
	return together(ctx, len(fans), func(ctx context.Context, i int) error {
		n := 0
		err := edge.Measure(ctx, fans[i], func(r edge.Record) error {
			line.Lock()
			defer line.Unlock()
			n++
			r.Seq = uint64(n) // as run numbers them
			err := printReading(r, asJSON, out)
			if err == nil && n == count {
				err = enough
			}
			return err
		})
		if errors.Is(err, enough) {
			return nil
		}
		return err
	})
}

func printReading(r edge.Record, asJSON bool, out io.Writer) error {
	if asJSON {
		return json.NewEncoder(out).Encode(struct {
			Fan string `json:"fan"`
			fanwatch.WireReading
		}{r.Fan, fanwatch.NewBatch([]fanwatch.Reading{r.Reading}, 0, 0, r.Time).Readings[0]})
	}
	pwm := ""
	if duty, known := r.PWM.Fraction(); known {
		pwm = fmt.Sprintf("%3.0f %% PWM  ", 100*duty)
	}
	_, err := fmt.Fprintf(out, "%s  %s  %8.1f RPM  %8.2f Hz  jitter %.4f  %4d edges  %d glitches  %d lost  %s%s\n",
		r.Time.Format("15:04:05"), r.Fan, r.RPM, r.Hz, r.Jitter, r.Edges, r.Glitch, r.Lost, pwm, r.State)
	return err
}

func timeOf(d fanwatch.Duration) time.Duration { return time.Duration(d) }
