package main

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/lake"
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
		Long: `Show what a fan did in a period, as at most so many points: for each part of the period the lowest, the mean and
the highest RPM, the highest score and the last anomaly. Parts without readings are left out. --points 0 gives
every reading as a point of its own.`,
		Example: "  fanwatch lake query fan-07 --from 24h\n  fanwatch lake query fan-07 --from 2026-05-28 --to 2026-05-29 --points 24 --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to, err := p.times(time.Now())
			if err != nil {
				return err
			}
			if points < 0 {
				return fmt.Errorf("--points %d: use 0 or more (%w)", points, errUsage)
			}
			if err := fanwatch.CheckFan(args[0]); err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			return a.withLake(cmd.Context(), o, func(tables *lake.Tables, _ lake.Store, _ []lake.Log) error {
				buckets, err := downsample(tables.Rows(cmd.Context(), args[0], from, to), points)
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), orEmpty(buckets))
				}
				if len(buckets) == 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "the table has no readings of %s in this period\n", args[0])
					return nil
				}
				return table(cmd.OutOrStdout(), "FROM\tREADINGS\tMIN RPM\tMEAN RPM\tMAX RPM\tSCORE\tANOMALY", func(w io.Writer) {
					for _, b := range buckets {
						fmt.Fprintf(w, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.3f\t%s\n", b.From.UTC().Format("2006-01-02T15:04:05.000Z"), b.Readings, b.Min, b.Mean, b.Max, b.Score, cmp.Or(b.Anomaly, "-"))
					}
				})
			})
		},
	}
	o.flags(c.Flags())
	c.Flags().StringVar(&p.from, "from", p.from, "start of the period: a time, or so long ago")
	c.Flags().StringVar(&p.to, "to", "", "end of the period; empty: now")
	c.Flags().IntVar(&points, "points", points, "at most so many; 0: every reading")
	return c
}

// downsample parts the period between the first and the last row into points equal parts.
func downsample(rows iter.Seq2[fanwatch.Row, error], points int) ([]bucket, error) {
	var all []fanwatch.Row
	for r, err := range rows {
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, nil
	}
	first := all[0].Time
	width := all[len(all)-1].Time.Sub(first)/time.Duration(max(points, 1)) + time.Microsecond
	var out []bucket
	part := int64(-1)
	for i := range all {
		r := &all[i]
		if at := int64(r.Time.Sub(first) / width); points == 0 || at != part {
			part = at
			from := first.Add(time.Duration(at) * width)
			if points == 0 {
				from = r.Time
			}
			out = append(out, bucket{From: from, Min: r.RPM, Max: r.RPM})
		}
		b := &out[len(out)-1]
		b.Readings++
		b.Min, b.Max, b.Score = min(b.Min, r.RPM), max(b.Max, r.RPM), max(b.Score, r.Score)
		b.Mean += (r.RPM - b.Mean) / float64(b.Readings)
		b.Anomaly = cmp.Or(string(r.Anomaly), b.Anomaly)
	}
	return out, nil
}
