package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"fanwatch/cloud"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/workers"
)

// refusal is a message that was acknowledged to its publisher, but not accepted as readings.
type refusal struct {
	Arrived time.Time `json:"arrived"`
	Fan     string    `json:"fan,omitempty"`    // "" where the message does not say
	Client  string    `json:"client,omitempty"` // MQTT client ID
	Reason  string    `json:"reason"`
	Refused int       `json:"readings"` // that the message held, as far as could be told
	Payload string    `json:"payload"`  // at most 4 KiB of it
}

func (a *app) refused() *cobra.Command {
	var o awsOptions
	limit := 50
	c := &cobra.Command{
		Use:   "refused [FAN]",
		Short: "List what was received but not accepted, and why, newest last", Args: cobra.MaximumNArgs(1),
		Long: `List what was received but not accepted, and why, newest last.

Nothing that was acknowledged is thrown away: a message that is no reading, or one that cannot be true, is kept
with the reason, in the landing log and then in the table quarantine. So is what the local broker itself did not let
in (a foreign certificate, a topic that is not the client's own, more than 128 KiB, a connection that another one took
over): once a minute for each client and reason, with the number of the others. AWS IoT Core logs that to CloudWatch
instead.

Without --bucket it is the local system's log (--dir).`,
		Example: "  fanwatch refused\n  fanwatch refused fan-07 --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := atLeast("limit", limit, 1); err != nil {
				return err
			}
			wc, err := a.lakeConfig(cmd.Context(), o)
			if err != nil {
				return err
			}
			fan := ""
			if len(args) == 1 {
				fan = args[0]
			}
			all, landed, failed := refusals(cmd.Context(), wc, fan, limit)
			if failed == nil && fan != "" && len(all) == 0 {
				failed = a.exists(cmd.Context(), fan, landed)
			}
			if failed != nil && len(all) == 0 {
				return failed
			}
			if a.json {
				return errors.Join(printJSON(cmd.OutOrStdout(), orEmpty(all)), failed)
			}
			if len(all) == 0 {
				say(cmd.OutOrStdout(), "nothing was refused")
				return nil
			}
			return errors.Join(printRefusals(cmd.OutOrStdout(), all), failed)
		},
	}
	o.flags(c.Flags())
	c.Flags().IntVar(&limit, "limit", limit, "number of the newest refusals to list, 1 or more")
	return c
}

func printRefusals(out io.Writer, all []refusal) error {
	return table(out, "ARRIVED\tFAN\tCLIENT\tWHY\tMESSAGE", func(add row) {
		for _, r := range all {
			add(when(r.Arrived), cmp.Or(r.Fan, "-"), cmp.Or(r.Client, "-"), r.Reason, fmt.Sprintf("%.60q", r.Payload))
		}
	})
}

// refusals returns the newest refusals of one fan or of all, by time of arrival, from the table quarantine and, as far
// as it does not have them yet, the landing log. Beside what it could read it says what it could not. landed tells
// whether the lake has readings of the fan.
func refusals(ctx context.Context, wc workers.Config, fan string, limit int) (all []refusal,
	landed func() (bool, error), err error) {
	landed = func() (bool, error) { return false, nil }
	logs, err := landing.Logs(ctx, cloud.NewS3(wc.AWS, wc.Endpoints.S3, wc.Bucket), wc.Stream)
	if err != nil || len(logs) == 0 {
		return nil, landed, err
	}
	tables, done, err := workers.ReadTables(ctx, wc)
	if err == nil {
		defer func() { _ = done() }() // it was only read
		known, e := inTable(ctx, tables.Table, fan)()
		landed = func() (bool, error) { return known, e }
	}
	rows, failed := tables.Refused(ctx, logs, fan, limit)
	if err == nil || errors.Is(err, lake.ErrNoTable) {
		err = failed
	} else {
		err = errors.Join(err, failed)
	}
	for _, r := range rows {
		all = append(all, refusal{time.UnixMicro(r.Arrived).UTC(), r.Fan, r.Client, r.Reason, max(1, int(r.Refused)),
			string(r.Payload)})
	}
	return all, landed, err
}
