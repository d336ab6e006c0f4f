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
			all, err := refusals(cmd.Context(), wc, fan)
			if err != nil {
				return err
			}
			all = all[max(0, len(all)-limit):]
			if a.json {
				return printJSON(cmd.OutOrStdout(), orEmpty(all))
			}
			if len(all) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing was refused")
				return nil
			}
			return table(cmd.OutOrStdout(), "ARRIVED\tFAN\tCLIENT\tWHY\tMESSAGE", func(w io.Writer) {
				for _, r := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.60q\n", when(r.Arrived), cmp.Or(r.Fan, "-"), cmp.Or(r.Client, "-"), r.Reason, r.Payload)
				}
			})
		},
	}
	o.flags(c.Flags())
	c.Flags().IntVar(&limit, "limit", limit, "list the newest N")
	return c
}

// refusals reads all quarantined rows of the landing log, of one fan or of all, by time of arrival.
func refusals(ctx context.Context, wc workers.Config, fan string) (all []refusal, err error) {
	logs, err := lake.Logs(ctx, cloud.NewS3(wc.AWS, wc.Endpoints.S3, wc.Bucket), wc.Stream)
	for _, l := range logs {
		err = l.Walk(ctx, "0", func(s lake.Segment) error {
			for _, r := range s.Rows {
				if r.Kind == fanwatch.Quarantined && (fan == "" || r.Fan == fan) {
					all = append(all, refusal{r.Arrived, r.Fan, r.Client, r.Reason, string(r.Payload)})
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b refusal) int { return a.Arrived.Compare(b.Arrived) })
	return all, err
}
