package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"fanwatch"
	"fanwatch/edge"
	"fanwatch/internal/durable"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
	"fanwatch/operator"
)

// replayOptions are the flags of fanwatch replay.
type replayOptions struct {
	period
	aws                                awsOptions
	csv, prefix, broker, ca, cert, key string
	fans                               []string
	speed                              float64
}

func (a *app) replay() *cobra.Command {
	var o replayOptions
	c := &cobra.Command{
		Use: "replay", Short: "Publish recorded readings through the live path, at any speed", Args: cobra.NoArgs,
		Long: `Publish recorded readings through the live path, at any speed: over MQTT and TLS to the broker, the stream, the
scorer, the tables and the workflows, which alert as they do of any fan.

The readings come from the lake's table or from CSV (--csv; columns as of backtest). The readings of fan-07 are
published as those of another fan, replay-fan-07 (--prefix), so that nothing happens to the real one. In the local
system that fan is provisioned by this command, with the device of the recorded one, and its key and certificate stay
in --dir. Elsewhere give --broker, --ca, --cert and --key of a fan that is provisioned; then one --fan is replayed, as
the fan that the certificate is of.

Readings keep their distances in time, by which the judge goes, and the last one gets the time at which it is
published. So at a --speed above 1 they arrive old, as from a spool that drains: a fan that this command provisions is
never called silent. Alerts open at the times of the readings. The publisher's messages are limited to 80 in a second,
of 100 readings at most: some 8,000 readings a second and fan. Ctrl-C ends it; the fan stays until fanwatch retire.`,
		Example: "  fanwatch replay --fan fan-07 --from 24h --to 23h --speed 60\n  fanwatch replay --csv " +
			"fan-07.csv --speed 0",
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, to, err := o.times(time.Now())
			if err != nil {
				return err
			}
			if !(o.speed >= 0 && o.speed <= 1e6) {
				return fmt.Errorf("--speed %g: give 1 for as it was, 60 for a minute in a second, 0 for as fast as possible (%w)",
					o.speed, errUsage)
			}
			if given := o.given(); given != 0 && (given != 4 || len(o.fans) != 1) {
				return fmt.Errorf("--broker, --ca, --cert and --key are given together, with one --fan (%w)", errUsage)
			}
			if o.csv != "" {
				src, err := openCSV(o.csv, cmd.InOrStdin(), o.fans, from, to)
				if err != nil {
					return err
				}
				return a.publish(cmd, o, src)
			}
			return a.withLake(cmd.Context(), o.aws, func(t *lake.Tables, _ objstore.Store, logs []landing.Log) error {
				src, err := fromLake(cmd.Context(), t, logs, o.fans, from, to)
				if err != nil {
					return err
				}
				return a.publish(cmd, o, src)
			})
		},
	}
	o.aws.flags(c.Flags())
	f := c.Flags()
	f.StringVar(&o.from, "from", "", "replay readings from this time on: 2026-05-28, RFC 3339, or 24h for a day ago; "+
		"empty: from the first")
	f.StringVar(&o.to, "to", "", "replay readings before this time: 2026-05-29, RFC 3339, or 23h for 23 hours ago; "+
		"empty: to the last")
	f.StringVar(&o.csv, "csv", "", "CSV file of readings in place of the lake; -: standard input")
	f.StringArrayVar(&o.fans, "fan", nil, "replay this fan; may be given again; empty: all fans")
	f.Float64Var(&o.speed, "speed", 1, "seconds of the recording in a second, 0 to 1000000; 0: as fast as possible")
	f.StringVar(&o.prefix, "prefix", "replay-", "name of the published fan without the recorded fan's")
	f.StringVar(&o.broker, "broker", "", "MQTT broker (host:port); empty: the local system's")
	f.StringVar(&o.ca, "ca", "", "PEM file of the broker's root certificate; empty: the local system's")
	f.StringVar(&o.cert, "cert", "", "PEM file of a provisioned fan's certificate; empty: one is made")
	f.StringVar(&o.key, "key", "", "PEM file of a provisioned fan's key; empty: one is made")
	return c
}

// given returns how many of the four flags of a publisher elsewhere are given.
func (o *replayOptions) given() (n int) {
	for _, f := range []string{o.broker, o.ca, o.cert, o.key} {
		if f != "" {
			n++
		}
	}
	return n
}

// publish replays all fans at once.
func (a *app) publish(cmd *cobra.Command, o replayOptions, src *recorded) error {
	if len(src.fans) == 0 {
		return errors.New("there are no readings in this period: give an earlier --from, or other fans")
	}
	first, last, err := src.span()
	if err != nil {
		return err
	}
	publishers := make([]edge.Config, len(src.fans))
	for i, fan := range src.fans {
		if publishers[i], err = a.publisherOf(cmd.Context(), o, fan, src.devices[fan]); err != nil {
			return err
		}
	}
	spools, err := os.MkdirTemp("", "fanwatch-replay-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(spools) }() // it holds nothing that the source does not
	p := newPlayer(first, last, o.speed, time.Now())
	bar := progressBar(os.Stderr, "seconds")
	playing, ctx := errgroup.WithContext(cmd.Context())
	sent := make([]uint64, len(src.fans))
	for i, fan := range src.fans {
		c := publishers[i]
		c.Dir, c.Batch, c.FlushEvery, c.BackoffMax = filepath.Join(spools, c.Fan), 100, time.Second, 5*time.Second
		c.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
		c.Recorded = func(ctx context.Context, emit func(fanwatch.Reading) error) error {
			return p.play(ctx, src.rows(fan), emit, func(at time.Time) {
				bar.show(int(at.Sub(first).Seconds()), int(last.Sub(first).Seconds()))
			})
		}
		playing.Go(func() error {
			node, err := edge.New(c)
			if err != nil {
				return err
			}
			err = node.Run(ctx)
			sent[i] = node.Status().Acked
			return err
		})
	}
	err = playing.Wait()
	bar.end()
	for i, fan := range src.fans {
		say(cmd.OutOrStdout(), "%s of %s published as %s", count(int(sent[i]), "reading"), fan, publishers[i].Fan)
	}
	return cmp.Or(err, cmd.Context().Err())
}

// span returns the times of the first and the last reading of all fans.
func (src *recorded) span() (first, last time.Time, err error) {
	for _, fan := range src.fans {
		for r, err := range src.rows(fan) {
			if err != nil {
				return first, last, err
			}
			if first.IsZero() || r.Time.Before(first) {
				first = r.Time
			}
			if r.Time.After(last) {
				last = r.Time
			}
		}
	}
	return first, last, nil
}

// player says when a recorded reading is due, and which time it gets.
type player struct {
	first time.Time // of all readings
	began time.Time
	speed float64       // 0 = everything is due at once
	shift time.Duration // from a recorded time to the published one

	mu sync.Mutex // of each
}

// newPlayer returns a player that begins at began, so that the last reading gets the time at which it is due.
func newPlayer(first, last time.Time, speed float64, began time.Time) *player {
	p := &player{first: first, speed: speed, began: began, shift: began.Sub(last)}
	if speed > 0 {
		p.shift += time.Duration(float64(last.Sub(first)) / speed)
	}
	return p
}

// play emits readings when they are due, in the order of time, and calls each with the recorded time of some of them.
func (p *player) play(ctx context.Context, rows iter.Seq2[fanwatch.Row, error], emit func(fanwatch.Reading) error,
	each func(time.Time)) error {
	n := 0
	for row, err := range rows {
		if err != nil {
			return err
		}
		if p.speed > 0 {
			due := p.began.Add(time.Duration(float64(row.Time.Sub(p.first)) / p.speed))
			if err := wait(ctx, time.Until(due)); err != nil {
				return err
			}
		}
		r := row.Reading
		r.Time, r.Unsynch = r.Time.Add(p.shift).UTC().Truncate(time.Microsecond), false
		if err := emit(r); err != nil {
			return err
		}
		if n++; n%100 == 0 {
			p.mu.Lock()
			each(row.Time)
			p.mu.Unlock()
		}
	}
	return nil
}

// wait waits for d, or returns the error of ctx.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// publisherOf returns the broker, name and certificate by which a recorded fan is published.
func (a *app) publisherOf(ctx context.Context, o replayOptions, fan string, d fanwatch.Device) (c edge.Config,
	err error) {
	if o.given() > 0 {
		c.Broker = o.broker
		c.TLS, err = edge.TLSConfig(o.ca, o.cert, o.key, time.Now)
		if err == nil {
			c.Fan, err = commonName(c.TLS)
		}
		return c, err
	}
	e, err := a.local()
	if err != nil {
		return c, err
	}
	if e.MQTT == "" || gone(ctx, e.MQTT) {
		return c, fmt.Errorf("nothing runs in %s: start the local system (go tool task up), or give --broker, --ca, --cert "+
			"and --key", a.dir)
	}
	c.Fan, c.Broker = o.prefix+fan, e.MQTT
	d.Fan, d.Site, d.Clients, d.Silence = c.Fan, "replay of "+fan, nil, fanwatch.Duration(-time.Second)
	dir := filepath.Join(a.dir, "replay", c.Fan)
	if err := a.provisionReplay(ctx, d, dir); err != nil {
		return c, err
	}
	c.TLS, err = edge.TLSConfig(e.CA, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), time.Now)
	return c, err
}

// provisionReplay has the published fan's certificate signed, with the key and the request of an earlier replay where
// there was one.
func (a *app) provisionReplay(ctx context.Context, d fanwatch.Device, dir string) error {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	request := filepath.Join(dir, "csr.pem")
	csr, err := os.ReadFile(request)
	if errors.Is(err, os.ErrNotExist) {
		private, err := edge.NewKey(filepath.Join(dir, "key.pem"))
		if err != nil {
			return err
		}
		if csr, err = edge.CSR(private, d.Fan); err != nil {
			return err
		}
		if err := durable.WriteFile(request, csr, 0o600); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return a.with(ctx, func(ctx context.Context, op operator.Client) error {
		answer, err := op.Provision(ctx, fanwatch.Device{Fan: d.Fan, Site: d.Site, Limits: d.Limits, Silence: d.Silence,
			Zone: d.Zone, Kind: d.Kind, Nominal: d.Nominal, Hours: d.Hours, Forest: d.Forest}, string(csr))
		if err != nil {
			return err
		}
		return durable.WriteFile(filepath.Join(dir, "cert.pem"), []byte(answer.Certificate), 0o600)
	})
}

// commonName returns the fan that a certificate is of.
func commonName(c *tls.Config) (string, error) {
	if len(c.Certificates) == 0 || c.Certificates[0].Leaf == nil {
		return "", errors.New("--cert holds no certificate")
	}
	return c.Certificates[0].Leaf.Subject.CommonName, nil
}
