package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

// bucket is a part of a period: what a fan did in it.
type bucket struct {
	From     time.Time `json:"from"`
	Readings int       `json:"readings"`
	Min      float64   `json:"min"` // RPM
	Mean     float64   `json:"mean"`
	Max      float64   `json:"max"`
	Score    float64   `json:"score"` // the highest
	Anomaly  string    `json:"anomaly,omitempty"`
}

func (a *app) lakeQuery() *cobra.Command {
	var o awsOptions
	p, points := period{from: "24h"}, 1000
	c := &cobra.Command{
		Use: "query FAN", Short: "Show what a fan did in a period, as at most so many points", Args: cobra.ExactArgs(1),
		Long: `Show what a fan did in a period, as at most so many points: for each of so many equal parts of it the lowest,
the mean and the highest RPM, the highest score and the last anomaly. Parts without readings are left out. --points 0
gives every reading as a point of its own.`,
		Example: "  fanwatch lake query fan-07 --from 24h\n  fanwatch lake query fan-07 --from 2026-05-28 --to " +
			"2026-05-29 --points 24 --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			from, to, err := p.times(now)
			if err != nil {
				return err
			}
			if p.to == "" {
				to = now
			}
			if !from.Before(to) {
				return fmt.Errorf("--from %s is not before now, the end of the period without --to (%w)", p.from, errUsage)
			}
			if points < 0 || points > lake.MaxPoints {
				return fmt.Errorf("--points %d: use 1 to %d, or 0 for every reading (%w)", points, lake.MaxPoints, errUsage)
			}
			if from.IsZero() && points > 0 {
				return fmt.Errorf("--from is empty: a period without a start has no equal parts; give it one, or --points 0 (%w)",
					errUsage)
			}
			if err := fanwatch.CheckFan(args[0]); err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			return a.withLake(cmd.Context(), o, func(tables *lake.Tables, _ objstore.Store, _ []landing.Log) error {
				buckets, err := inPoints(cmd.Context(), tables.Table, args[0], from, to, points)
				if err == nil && len(buckets) == 0 {
					err = a.exists(cmd.Context(), args[0], inTable(cmd.Context(), tables.Table, args[0]))
				}
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), orEmpty(buckets))
				}
				if len(buckets) == 0 {
					say(cmd.OutOrStdout(), "the table has no readings of %s in this period", args[0])
					return nil
				}
				return printBuckets(cmd.OutOrStdout(), buckets)
			})
		},
	}
	o.flags(c.Flags())
	c.Flags().StringVar(&p.from, "from", p.from, "start of the period: 2026-05-28, RFC 3339, or 24h ago as 24h")
	c.Flags().StringVar(&p.to, "to", "", "end of the period: 2026-05-29, RFC 3339, or 1h ago as 1h; empty: now")
	c.Flags().IntVar(&points, "points", points, "greatest number of points to show; 0: every reading")
	return c
}

func printBuckets(out io.Writer, buckets []bucket) error {
	return table(out, "FROM\tREADINGS\tMIN RPM\tMEAN RPM\tMAX RPM\tSCORE\tANOMALY", func(add row) {
		for _, b := range buckets {
			add(b.From.UTC().Format("2006-01-02T15:04:05.000Z"), b.Readings, tenths(b.Min), tenths(b.Mean), tenths(b.Max),
				fmt.Sprintf("%.3f", b.Score), cmp.Or(b.Anomaly, "-"))
		}
	})
}

func tenths(v float64) string { return fmt.Sprintf("%.1f", v) }

// inPoints asks for the readings of a fan in at most so many points; 0: each is one.
func inPoints(ctx context.Context, t *lake.Table, fan string, from, to time.Time, points int) ([]bucket, error) {
	if points == 0 {
		return everyReading(t.Rows(ctx, fan, from, to))
	}
	parts, err := t.Query(ctx, fan, from, to, points)
	var out []bucket
	for _, p := range parts {
		out = append(out, bucket{From: p.From, Readings: p.Count, Min: p.RPM.Min, Mean: p.RPM.Mean, Max: p.RPM.Max,
			Score: p.Score.Max, Anomaly: string(p.Anomaly)})
	}
	return out, err
}

func everyReading(rows iter.Seq2[fanwatch.Row, error]) (out []bucket, err error) {
	for r, err := range rows {
		if err != nil {
			return nil, err
		}
		out = append(out, bucket{From: r.Time, Readings: 1, Min: r.RPM, Mean: r.RPM, Max: r.RPM, Score: r.Score,
			Anomaly: string(r.Anomaly)})
	}
	return out, nil
}
