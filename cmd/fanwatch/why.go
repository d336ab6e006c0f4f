package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/detect"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

func (a *app) why() *cobra.Command {
	var o awsOptions
	at, seed := "", uint64(1)
	c := &cobra.Command{
		Use: "why FAN", Short: "Explain how a fan was judged at a moment: why a page, and why none",
		Args: cobra.ExactArgs(1),
		Long: `Explain how a fan was judged at a moment: what was expected, the band around it, the level, and each test,
counter and budget with its bar.

It takes the newest reading at or before that moment, restores the judge from the last snapshot of its models before
the reading, and has it judge once more what landed since. So it says what the judge knew then, and needs no worker.
Snapshots stay for eight days, the rows behind them for the worker's --keep-segments (7 days). Of an earlier reading,
or of one that no model judged, it shows the columns of the table alone, and says so. Exit status 1 where there is no
reading.`,
		Example: "  fanwatch why fan-07\n  fanwatch why fan-07 --at 2026-05-28T20:15:00Z --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			if err := fanwatch.CheckFan(args[0]); err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			moment, err := parseTime(at, now)
			if err != nil {
				return fmt.Errorf("--at: %w (%w)", err, errUsage)
			}
			if at == "" {
				moment = now
			}
			q := question{args[0], moment, detect.Config{Seed: seed}}
			wc, err := a.lakeConfig(cmd.Context(), o)
			if err != nil {
				return err
			}
			logs, err := landing.Logs(cmd.Context(), wc.Open(wc.Bucket), wc.Stream)
			if err != nil {
				return err
			}
			d, err := q.askModels(cmd.Context(), logs)
			if err != nil {
				return err
			}
			if d.Source == "" {
				note := d.Note
				err := inLake(cmd.Context(), wc, func(tables *lake.Tables, _ objstore.Store, _ []landing.Log) error {
					d, err = q.askTable(cmd.Context(), tables.Table)
					return err
				})
				if err != nil {
					return err
				}
				d.Note = cmp.Or(note, d.Note)
			}
			if d.Source == "" {
				return fmt.Errorf("there is no reading of %s at or before %s in this lake: see fanwatch fans, or give a later "+
					"--at", q.fan, moment.UTC().Format(time.RFC3339))
			}
			d.Age = moment.Sub(d.Time).Round(time.Millisecond).String()
			if a.json {
				return printJSON(cmd.OutOrStdout(), d)
			}
			return printDecision(cmd.OutOrStdout(), d)
		},
	}
	o.flags(c.Flags())
	c.Flags().StringVar(&at, "at", "", "moment to explain: 2026-05-28T20:15:00Z, 2026-05-28, or 5m for five minutes "+
		"ago; empty: now")
	c.Flags().Uint64Var(&seed, "seed", seed, "seed of the forests' random choices, as the worker has it")
	return c
}

// decision says how one reading was judged.
type decision struct {
	detect.Explanation
	Score   float64       `json:"score"`             // the forest's
	Anomaly fanwatch.Kind `json:"anomaly,omitempty"` // the gravest of the fan's states behind the reading
	Age     string        `json:"age"`               // time from the reading to the moment that was asked for
	Source  string        `json:"source"`            // fromModels or fromColumns; "" = there is no reading
	Note    string        `json:"note,omitempty"`    // what is missing or not certain, and why
}

// The values of decision.Source.
const (
	fromModels  = "models" // the judge judged once more
	fromColumns = "table"  // the columns of the row alone
)

// question asks for the decision of the newest reading of a fan at or before a moment.
type question struct {
	fan    string
	at     time.Time
	config detect.Config
}

// askModels answers from the models and rows of the logs, of that of which the reading is the newest. Where the rows
// are gone, Source is "" and Note says so.
func (q question) askModels(ctx context.Context, logs []landing.Log) (best decision, err error) {
	for _, l := range logs {
		if l.Foreign() {
			continue
		}
		d, err := q.askLog(ctx, l, true)
		if errors.Is(err, detect.ErrDiverged) { // other fans may count in the decision
			d, err = q.askLog(ctx, l, false)
		}
		if errors.Is(err, detect.ErrDiverged) {
			d.Note, err = "this program judges differently from the one that judged then: the tests are this program's, the "+
				"band and the verdict are those of then", nil
		}
		if err != nil {
			return best, err
		}
		if d.Source != "" && d.Time.After(best.Time) || best.Source == "" && best.Note == "" {
			best = d
		}
	}
	return best, nil
}

// askLog answers from one log. alone: it replays the rows of the fan alone. With an error that wraps
// detect.ErrDiverged there is an answer too.
func (q question) askLog(ctx context.Context, l landing.Log, alone bool) (d decision, err error) {
	models := detect.New(q.config)
	snapshot, err := l.RestoreSnapshot(ctx, func(data []byte) error {
		m, err := detect.Restore(q.config, data)
		if err != nil {
			return err
		}
		if o, ok := m.Last(q.fan); ok && o.Time.After(q.at) {
			return errLater
		}
		models = m
		return nil
	})
	if err != nil {
		return d, err
	}
	var row fanwatch.Row
	var diverged error
	gone := false
	err = l.Walk(ctx, cmp.Or(snapshot.At, "0"), func(s landing.Segment) error {
		if s.Tombstone {
			for i := range s.Fans {
				gone = gone || s.Fans[i].Fan == q.fan && s.Fans[i].Landed > 0
			}
		}
		for i := range s.Rows {
			r := &s.Rows[i]
			if r.Fan != q.fan && alone {
				continue
			}
			if r.Fan == q.fan && r.Kind == fanwatch.RowScored {
				if r.Time.After(q.at) {
					return errLater
				}
				row = *r
			}
			if err := models.Replay(s.Rows[i : i+1]); err != nil && r.Fan == q.fan && diverged == nil {
				diverged = err
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errLater) {
		return d, err
	}
	if gone {
		return decision{Note: "the landing log no longer has the rows from which the judge could judge once more"}, nil
	}
	e, ok := models.Why(q.fan)
	if !ok {
		return d, nil
	}
	d = decision{Explanation: e, Source: fromModels}
	if row.Fan != "" {
		d.land(row)
	} else if o, ok := models.Last(q.fan); ok {
		d.Score, d.Anomaly = o.Anomaly.Score, o.Anomaly.Kind
	}
	return d, diverged
}

// errLater ends a search behind the moment that was asked for.
var errLater = errors.New("later than the moment that was asked for")

// land sets what the row has of the decision.
func (d *decision) land(row fanwatch.Row) {
	d.Fan, d.Time, d.RPM, d.Score, d.Anomaly = row.Fan, row.Time, row.RPM, row.Score, row.Anomaly
	if j := row.Judged; j.Verdict != "" {
		d.Expected, d.Low, d.High, d.Level, d.Verdict = j.Expected, j.Low, j.High, j.Level, j.Verdict
	}
}

// askTable answers from the columns of the newest row of the table at or before the moment.
func (q question) askTable(ctx context.Context, t *lake.Table) (d decision, err error) {
	to := q.at.Add(time.Microsecond)
	for _, back := range []time.Duration{time.Hour, 24 * time.Hour, 31 * 24 * time.Hour, 0} {
		from := time.Time{}
		if back > 0 {
			from = q.at.Add(-back)
		}
		for row, err := range t.Rows(ctx, q.fan, from, to) {
			if err != nil {
				return d, err
			}
			d = decision{Source: fromColumns}
			d.States, d.Facts, d.Level = []fanwatch.Observation{}, []detect.Fact{}, -1
			d.land(row)
			if d.Note = "the table has the columns alone"; row.Kind == fanwatch.RowLate {
				d.Note = "the reading came after newer ones, or was ingested: no model judged it"
			}
		}
		if d.Source != "" {
			return d, nil
		}
	}
	return d, nil
}

func printDecision(out io.Writer, d decision) error {
	err := table(out, "", func(add row) {
		add("fan", d.Fan)
		add("reading", fmt.Sprintf("%s, %s before the moment that was asked for",
			d.Time.UTC().Format("2006-01-02T15:04:05.000Z"), d.Age))
		add("speed", tenths(d.RPM)+" RPM")
		expected := "nothing: the fan is learned, stands still by command, or was not judged"
		if d.Expected > 0 {
			expected = fmt.Sprintf("%s RPM, band %s to %s", tenths(d.Expected), tenths(d.Low), tenths(d.High))
		}
		add("expected", expected)
		level := "at none that is known"
		if d.Level >= 0 {
			level = fmt.Sprint(d.Level)
		}
		add("level", level)
		add("verdict", cmp.Or(d.Verdict, "none"))
		add("score", fmt.Sprintf("%.3f", d.Score))
		for _, s := range d.States {
			if s.Anomaly.Kind != fanwatch.KindNone {
				add("trouble", strings.TrimSpace(fmt.Sprintf("%s (%s): %s", s.Anomaly.Kind,
					cmp.Or(s.Anomaly.Severity, s.Anomaly.Kind.Severity()), s.Anomaly.Why)))
			}
		}
		if d.Note != "" {
			add("note", d.Note)
		}
	})
	if err != nil || len(d.Facts) == 0 {
		return err
	}
	fmt.Fprintln(out)
	return table(out, "TEST\tVALUE\tBAR\tWHAT IT MEANS", func(add row) {
		for _, f := range d.Facts {
			add(f.Name, cmp.Or(f.Value, "-"), cmp.Or(f.Bar, "-"), f.Text)
		}
	})
}
