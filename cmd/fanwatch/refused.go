package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/cloud"
	"fanwatch/lake"
	"fanwatch/workers"
)

// refusal is a message that was acknowledged to its publisher, but not accepted as readings.
type refusal struct {
	Arrived time.Time `json:"arrived"`
	Fan     string    `json:"fan,omitempty"`    // "" where the message does not say
	Client  string    `json:"client,omitempty"` // MQTT client ID
	Reason  string    `json:"reason"`
	Payload string    `json:"payload"` // at most 4 KiB of it
}

func (a *app) refused() *cobra.Command {
	var o awsOptions
	limit := 50
	c := &cobra.Command{
		Use: "refused [FAN]", Short: "List what was received but not accepted, and why, newest last", Args: cobra.MaximumNArgs(1),
		Long: `List what was received but not accepted, and why, newest last.

Nothing that was acknowledged is thrown away: a message that is no reading, or one that cannot be true, is kept
in the landing log with the reason. So is what the local broker itself did not let in (a foreign certificate, a topic that
is not the client's own, more than 128 KiB, a connection that another one took over): once a minute for each client and
reason, with the number of the others. AWS IoT Core logs that to CloudWatch instead.

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
			all, landed, err := refusals(cmd.Context(), wc, fan)
			if err == nil && fan != "" && len(all) == 0 {
				err = a.exists(cmd.Context(), fan, func() (bool, error) { return landed, nil })
			}
			if err != nil {
				return err
			}
			all = all[max(0, len(all)-limit):]
			if a.json {
				return printJSON(cmd.OutOrStdout(), orEmpty(all))
			}
			if len(all) == 0 {
				say(cmd.OutOrStdout(), "nothing was refused")
				return nil
			}
			return printRefusals(cmd.OutOrStdout(), all)
		},
	}
	o.flags(c.Flags())
	c.Flags().IntVar(&limit, "limit", limit, "list the newest N")
	return c
}

func printRefusals(out io.Writer, all []refusal) error {
	return table(out, "ARRIVED\tFAN\tCLIENT\tWHY\tMESSAGE", func(add row) {
		for _, r := range all {
			add(when(r.Arrived), cmp.Or(r.Fan, "-"), cmp.Or(r.Client, "-"), r.Reason, fmt.Sprintf("%.60q", r.Payload))
		}
	})
}

// refusals reads all quarantined rows of the landing log, of one fan or of all, by time of arrival. landed tells whether
// the log has anything else of that fan.
func refusals(ctx context.Context, wc workers.Config, fan string) (all []refusal, landed bool, err error) {
	logs, err := lake.Logs(ctx, cloud.NewS3(wc.AWS, wc.Endpoints.S3, wc.Bucket), wc.Stream)
	for _, l := range logs {
		err = l.Walk(ctx, "0", func(s lake.Segment) error {
			for _, f := range s.Fans {
				landed = landed || f.Fan == fan && f.Landed > 0
			}
			for _, r := range s.Rows {
				if r.Kind == fanwatch.Quarantined && (fan == "" || r.Fan == fan) {
					all = append(all, refusal{r.Arrived, r.Fan, r.Client, r.Reason, string(r.Payload)})
				}
			}
			return nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	slices.SortStableFunc(all, func(a, b refusal) int { return a.Arrived.Compare(b.Arrived) })
	return all, landed, err
}
