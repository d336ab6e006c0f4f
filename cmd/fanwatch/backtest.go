package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// backtestOptions are the flags of fanwatch backtest.
type backtestOptions struct {
	period
	aws                 awsOptions
	config, csv, labels string
	fans                []string
	learn, hold         time.Duration
	seed                uint64
}

func (a *app) backtest() *cobra.Command {
	var o backtestOptions
	c := &cobra.Command{
		Use: "backtest", Short: "Judge recorded readings by a candidate: what would have paged beside what did",
		Args: cobra.NoArgs,
		Long: `Judge recorded readings by a candidate: what would have paged beside what did.

The readings come from the lake's table or from CSV (--csv). The candidate is a file (--config): the judge's settings
(detect), and what differs from the devices as they are now, for all fans or for single ones; without it, this
program's judge with the devices as they are. Readings are judged in the order of time, each fan by models of its own,
on all cores. An alert is trouble of one family of a fan, with what comes back within --hold; alerts of severity info
are no pages. Silence is no reading and is not judged.

What people said of alerts (ack --normal, --fault; the table labels) becomes test cases: a fault must be found while
it lasts, a normal must be quiet. Alerts that no label calls a fault count as false. Exit status 1 where a case fails.

A candidate file:

  version: 1
  detect: {warmup: 300}
  all: {forest: {severity: warning}}
  fans:
    fan-07: {kind: 4-wire, nominal: 1800, limits: {min_rpm: 400}, hours: "06:00-22:00"}

Columns of CSV: fan (or fan_id), time, rpm, and if they are there pwm (0 to 1), jitter, hz, state, anomaly and verdict;
fanwatch lake export writes such files.`,
		Example: "  fanwatch backtest --from 720h --config candidate.yaml\n  fanwatch backtest --csv fan-07.csv --fan " +
			"fan-07 --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, to, err := o.times(time.Now())
			if err != nil {
				return err
			}
			if o.learn < 0 || o.hold < 0 {
				return fmt.Errorf("--learn %s and --hold %s: give 0s or more (%w)", o.learn, o.hold, errUsage)
			}
			b := backtest{from: from, hold: o.hold, candidate: &candidate{}}
			var text []byte
			if o.config != "" {
				if text, err = os.ReadFile(o.config); err != nil {
					return fmt.Errorf("--config: %w (%w)", err, errUsage)
				}
			}
			if b.candidate, err = parseCandidate(text, o.seed); err != nil {
				return fmt.Errorf("--config %s: %s (%w)", o.config, oneLine(err), errUsage)
			}
			if !from.IsZero() {
				from = from.Add(-o.learn)
			}
			run := func(src *recorded) error {
				if o.labels != "" {
					if err := openFile(o.labels, cmd.InOrStdin(), src.readLabels); err != nil {
						return fmt.Errorf("--labels: %w", err)
					}
				}
				r, err := b.run(cmd.Context(), src)
				if err != nil {
					return err
				}
				return a.printBacktest(cmd.OutOrStdout(), r)
			}
			if o.csv != "" {
				src, err := openCSV(o.csv, cmd.InOrStdin(), o.fans, from, to)
				if err != nil {
					return err
				}
				return run(src)
			}
			return a.withLake(cmd.Context(), o.aws, func(t *lake.Tables, _ objstore.Store, logs []landing.Log) error {
				src, err := fromLake(cmd.Context(), t, logs, o.fans, from, to)
				if err != nil {
					return err
				}
				return run(src)
			})
		},
	}
	o.aws.flags(c.Flags())
	f := c.Flags()
	f.StringVar(&o.from, "from", "", "count alerts from this time on: 2026-05-28, RFC 3339, or 720h for 30 days ago; "+
		"empty: from the first reading")
	f.StringVar(&o.to, "to", "", "judge readings before this time: 2026-05-29, RFC 3339, or 1h for an hour ago; empty: "+
		"to the last reading")
	f.DurationVar(&o.learn, "learn", 24*time.Hour, "time before --from of which the judge learns and no alert counts, "+
		"0s or more")
	f.DurationVar(&o.hold, "hold", time.Minute, "how long trouble must be over for its alert to end, 0s or more")
	f.StringVar(&o.config, "config", "", "candidate file (YAML); empty: this program's judge, devices as they are")
	f.StringVar(&o.csv, "csv", "", "CSV file of readings in place of the lake; -: standard input")
	f.StringVar(&o.labels, "labels", "", "CSV file of labels beside the lake's, as lake export --table labels writes it; "+
		"empty: none")
	f.StringArrayVar(&o.fans, "fan", nil, "judge this fan; may be given again; empty: all fans")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the forests' random choices where the candidate gives none")
	return c
}

// oneLine returns an error's text in one line: YAML's have several.
func oneLine(err error) string { return fanwatch.OneLine(err.Error()) }

// backtestReport is what backtest prints.
type backtestReport struct {
	Fans []backtested `json:"fans"`
	// The fields below are of all fans.

	Readings int     `json:"readings"`
	FanDays  float64 `json:"fan_days"`
	Would    tally   `json:"would"`
	Did      tally   `json:"did"`
	Failed   int     `json:"failed"` // test cases that failed
}

// tally counts alerts.
type tally struct {
	Alerts        int     `json:"alerts"`
	Pages         int     `json:"pages"`           // those of them of severity warning or critical
	False         int     `json:"false"`           // those that no label calls a fault
	FalsePerMonth float64 `json:"false_per_month"` // per fan and 30 days
}

// tallied counts the alerts of so many fan-days.
func tallied(all []*episode, days float64) (t tally) {
	for _, e := range all {
		t.Alerts++
		if e.pages() {
			t.Pages++
		}
		if e.Label != lake.LabelFault {
			t.False++
		}
	}
	t.FalsePerMonth = float64(t.False) * 30 / max(days, 1.0/24)
	return t
}

// run judges all fans, as many at once as there are cores.
func (b *backtest) run(ctx context.Context, src *recorded) (*backtestReport, error) {
	if len(src.fans) == 0 {
		return nil, errors.New("there are no readings in this period: give an earlier --from, or other fans")
	}
	bar := progressBar(os.Stderr, "fan-hours")
	defer bar.end()
	hours := int(src.to.Sub(src.from).Hours()) + 1
	var mu sync.Mutex
	done := 0
	r := &backtestReport{Fans: make([]backtested, len(src.fans))}
	judging, ctx := errgroup.WithContext(ctx)
	judging.SetLimit(runtime.GOMAXPROCS(0))
	for i, fan := range src.fans {
		judging.Go(func() error {
			device := src.devices[fan]
			device.Fan = fan
			device, err := b.candidate.device(device)
			if err != nil {
				return err
			}
			reached := 0
			advance := func(to int) {
				mu.Lock()
				defer mu.Unlock()
				done += to - reached
				reached = to
				bar.show(done, hours*len(src.fans))
			}
			r.Fans[i], err = b.judge(device, until(ctx, src.rows(fan)), src.labels[fan], src.alerts[fan],
				func(row *fanwatch.Row) {
					if h := min(int(row.Time.Sub(src.from).Hours()), hours); h > reached {
						advance(h)
					}
				})
			advance(hours)
			return err
		})
	}
	if err := judging.Wait(); err != nil {
		return nil, err
	}
	var would, did []*episode
	for i := range r.Fans {
		f := &r.Fans[i]
		r.Readings, r.FanDays = r.Readings+f.Readings, r.FanDays+f.Days
		would, did = append(would, f.Would...), append(did, f.Did...)
		for _, c := range f.Cases {
			if !c.OK {
				r.Failed++
			}
		}
	}
	r.Would, r.Did = tallied(would, r.FanDays), tallied(did, r.FanDays)
	return r, nil
}

// until ends rows with the context.
func until(ctx context.Context, rows func(func(fanwatch.Row, error) bool)) func(func(fanwatch.Row, error) bool) {
	return func(yield func(fanwatch.Row, error) bool) {
		n := 0
		for r, err := range rows {
			if n++; n%1024 == 0 && ctx.Err() != nil {
				r, err = fanwatch.Row{}, ctx.Err()
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// printBacktest shows the report, and fails where a test case does.
func (a *app) printBacktest(out io.Writer, r *backtestReport) error {
	print := func() error { return printAlertsBeside(out, r) }
	if a.json {
		print = func() error { return printJSON(out, r) }
	}
	if err := print(); err != nil || r.Failed == 0 {
		return err
	}
	return fmt.Errorf("%s of what people said failed: a fault was missed, or what is normal was alerted", count(r.Failed,
		"test case"))
}

// beside is an alert that would have been, or was, or both.
type beside struct{ would, did *episode }

func (b beside) any() *episode { return cmp.Or(b.would, b.did) }

// pair puts the alerts of a fan that are of one family and overlap beside each other.
func (r *backtested) pair() (all []beside) {
	taken := make(map[*episode]bool)
	for _, w := range r.Would {
		b := beside{would: w}
		for _, d := range r.Did {
			if !taken[d] && d.Family == w.Family && d.overlaps(w.From, w.To) {
				b.did, taken[d] = d, true
				break
			}
		}
		all = append(all, b)
	}
	for _, d := range r.Did {
		if !taken[d] {
			all = append(all, beside{did: d})
		}
	}
	return all
}

func printAlertsBeside(out io.Writer, r *backtestReport) error {
	var all []beside
	for i := range r.Fans {
		all = append(all, r.Fans[i].pair()...)
	}
	slices.SortStableFunc(all, func(a, b beside) int { return a.any().From.Compare(b.any().From) })
	if len(all) > 0 {
		err := table(out, "FROM\tLASTED\tFAN\tWOULD\tDID\tLABEL\tWHY", func(add row) {
			for _, b := range all {
				e := b.any()
				lasted := e.To.Sub(e.From).Round(time.Second).String()
				if e.Open {
					lasted += " or more"
				}
				add(e.From.UTC().Format("2006-01-02T15:04:05Z"), lasted, e.Fan, described(b.would), described(b.did),
					cmp.Or(e.Label, "-"), e.Why)
			}
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	err := table(out, "FAN\tREADINGS\tDAYS\tWOULD ALERT\tPAGE\tFALSE/MONTH\tDID ALERT\tPAGE\tFALSE/MONTH",
		func(add row) {
			line := func(name string, readings int, days float64, would, did tally) {
				add(name, readings, fmt.Sprintf("%.2f", days), would.Alerts, would.Pages, tenths(would.FalsePerMonth),
					did.Alerts, did.Pages, tenths(did.FalsePerMonth))
			}
			for _, f := range r.Fans {
				line(f.Fan, f.Readings, f.Days, tallied(f.Would, f.Days), tallied(f.Did, f.Days))
			}
			line("all", r.Readings, r.FanDays, r.Would, r.Did)
		})
	if err != nil {
		return err
	}
	for _, f := range r.Fans {
		if f.Refused > 0 {
			say(out, "%s of %s refused, the first because: %s", count(f.Refused, "reading"), f.Fan, f.Reason)
		}
	}
	return printCases(out, r)
}

func described(e *episode) string {
	switch {
	case e == nil:
		return "-"
	case e.Told > 0:
		return fmt.Sprintf("%s %s, told %d", e.Severity, e.Kind, e.Told)
	}
	return fmt.Sprintf("%s %s", e.Severity, e.Kind)
}

func printCases(out io.Writer, r *backtestReport) error {
	var all []testCase
	for _, f := range r.Fans {
		all = append(all, f.Cases...)
	}
	if len(all) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	return table(out, "CASE\tFROM\tLABEL\tKIND\tVERDICT", func(add row) {
		for _, c := range all {
			verdict := "quiet"
			switch {
			case c.Label == lake.LabelFault && c.OK:
				verdict = fmt.Sprintf("found in %s: %s", c.Delay.Round(time.Second), described(c.Found))
			case c.Label == lake.LabelFault:
				verdict = "MISSED"
			case !c.OK:
				verdict = "ALERTED: " + described(c.Found)
			}
			add(c.Alert, c.From.UTC().Format("2006-01-02T15:04:05Z"), c.Label, c.Kind, verdict)
		}
	})
}
