package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"fanwatch"
	"fanwatch/edge"
)

const runHelp = `fanwatch-edge run measures the fan of the configuration and publishes a reading a second, until the process
is told to end (SIGTERM, Ctrl-C). Readings that the broker has not acknowledged stay in the spool.

  fanwatch-edge run --config fan-21.yaml
  fanwatch-edge run --config fan-21.yaml --dry-run   print readings, publish and keep nothing
  fanwatch-edge run --config fan-21.yaml --dry-run --json   as they would be published, one a line
  fanwatch-edge run --sim --dry-run                  the same for a simulated fan, without a configuration
` + configHelp

// run measures and publishes, or prints.
func run(ctx context.Context, args []string, out, errs io.Writer) error {
	f := flags("run", runHelp, errs)
	path := f.String("config", "", "the configuration `file`")
	sim := f.Bool("sim", false, "measure a simulated fan instead of the configuration's source")
	dry := f.Bool("dry-run", false, "print readings instead of publishing them")
	asJSON := f.Bool("json", false, "with --dry-run: print readings as JSON, one object a line")
	count := f.Int("count", 0, "with --dry-run: end after this many readings; 0 = never")
	if err := parse(f, args, out); err != nil {
		return err
	}
	c := config{Fan: "simulated", Source: source{Sim: &edge.SimConfig{}}}
	switch {
	case *path != "":
		var err error
		if c, err = load(*path); err != nil {
			return err
		}
		if *sim && c.Source.Sim == nil {
			c.Source = source{Sim: &edge.SimConfig{}}
		}
	case !*sim || !*dry:
		return wrong(f, "needs --config FILE (or --sim --dry-run)")
	}
	if *count < 0 || *count > 0 && !*dry {
		return wrong(f, "--count is a number of 1 or more and goes with --dry-run")
	}
	if *asJSON && !*dry {
		return wrong(f, "--json goes with --dry-run")
	}
	conf := c.edge()
	conf.Log = slog.New(slog.NewTextHandler(errs, nil))
	conf.Clock = edge.System()
	stop, err := c.openSource(&conf)
	if err != nil {
		return err
	}
	defer stop()
	if *dry {
		return printReadings(ctx, conf, *count, *asJSON, out)
	}
	if conf.TLS, err = edge.TLSConfig(c.CA, c.Cert, c.Key, conf.Clock.Wall); err != nil {
		return err
	}
	m, err := serviceManager(os.Getenv)
	if err != nil {
		return err
	}
	n, err := edge.New(conf)
	if err != nil {
		return err
	}
	return m.supervise(ctx, n, conf.Interval)
}

// openSource opens the line or makes the simulated fan.
func (c config) openSource(conf *edge.Config) (stop func(), err error) {
	if c.Source.Sim != nil {
		sim := *c.Source.Sim
		sim.Pulses = c.Pulses
		conf.Source, err = edge.NewSim(sim, conf.Clock.Boot())
		return func() {}, err
	}
	line, err := edge.OpenGPIO(*c.Source.GPIO)
	if err != nil {
		return nil, err
	}
	conf.Source, conf.Synchronised = line, edge.Synchronised
	return func() { line.Close() }, nil
}

func printReadings(ctx context.Context, conf edge.Config, count int, asJSON bool, out io.Writer) error {
	printReading := func(r edge.Record) error {
		if asJSON {
			return json.NewEncoder(out).Encode(struct {
				Fan string `json:"fan"`
				fanwatch.WireReading
			}{r.Fan, fanwatch.NewBatch([]fanwatch.Reading{r.Reading}, 0, 0, r.Time).Readings[0]})
		}
		_, err := fmt.Fprintf(out, "%s  %s  %8.1f RPM  %8.2f Hz  jitter %.4f  %4d edges  %d glitches  %d lost  %s\n",
			r.Time.Format("15:04:05"), r.Fan, r.RPM, r.Hz, r.Jitter, r.Edges, r.Glitch, r.Lost, r.State)
		return err
	}
	enough := errors.New("enough")
	n := 0
	err := edge.Measure(ctx, conf, func(r edge.Record) error {
		r.Seq = uint64(n + 1) // as run numbers them
		err := printReading(r)
		if n++; err == nil && n == count {
			err = enough
		}
		return err
	})
	if errors.Is(err, enough) {
		return nil
	}
	return err
}

func timeOf(d fanwatch.Duration) time.Duration { return time.Duration(d) }
