package main

import (
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

var errDifference = errors.New("the counts differ: what the log or the table lacks or has twice is named above")

func (a *app) reconcile() *cobra.Command {
	var o awsOptions
	byHour, fromStart := false, false
	c := &cobra.Command{
		Use: "reconcile", Short: "Show that every acknowledged reading is in the lake exactly once", Args: cobra.NoArgs,
		Long: `Show that every acknowledged reading is in the lake exactly once.

For each fan: how many readings were acknowledged to its publisher (ACKED, as far as the publisher's newest batch
says), how many are in the landing log (LANDED) and in the Iceberg table (TABLE), how many were refused and kept
with a reason (REFUSED), and how many wait for the next commit (PENDING). It goes on where the daily count ended, and
reads what has landed and changed since; --from-start reads the whole log and the table's identifying columns, and
the next count goes on behind it. Exit status 1 when anything is missing or there twice, or has waited for a commit
for more than a quarter of an hour.

With --by-hour it says when the readings were measured: which hour of which fan lacks some, or has some twice, as
far as the landing log still has their rows. A schedule counts once a day; a difference is an alert.

Without --bucket it is the local system's lake (--dir).`,
		Example: "  fanwatch reconcile\n  fanwatch reconcile --by-hour\n  fanwatch reconcile --from-start\n  fanwatch " +
			"reconcile --bucket my-fan-lake --region eu-central-1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			wc, err := a.lakeConfig(cmd.Context(), o)
			if err != nil {
				return err
			}
			if byHour {
				hours, err := reconcile(cmd.Context(), wc, func(ctx context.Context, logs []landing.Log,
					t *lake.Tables) ([]lake.HourAccount, error) {
					if t == nil {
						return nil, lake.ErrNoTable
					}
					return lake.ReconcileHours(ctx, logs, t.Table)
				})
				if err != nil {
					return err
				}
				return a.printHours(cmd.OutOrStdout(), hours)
			}
			accounts, err := reconcile(cmd.Context(), wc, func(ctx context.Context, logs []landing.Log,
				t *lake.Tables) ([]lake.Account, error) {
				if t == nil {
					return lake.ReconcileLogs(ctx, logs, time.Now())
				}
				c, err := t.Count(ctx, logs, lake.CountOptions{FromStart: fromStart, Keep: fromStart})
				return c.Accounts, err
			})
			if err != nil {
				return err
			}
			return a.printAccounts(cmd.OutOrStdout(), accounts)
		},
	}
	o.flags(c.Flags())
	c.Flags().BoolVar(&byHour, "by-hour", false, "count by fan and hour, not by fan")
	c.Flags().BoolVar(&fromStart, "from-start", false, "count all that ever landed, not only what came since the "+
		"daily count")
	c.MarkFlagsMutuallyExclusive("by-hour", "from-start")
	return c
}

// reconcile has the lake counted; count is given nil where there are no tables yet.
func reconcile[T any](ctx context.Context, wc workers.Config, count func(context.Context, []landing.Log,
	*lake.Tables) ([]T, error)) ([]T, error) {
	logs, err := landing.Logs(ctx, cloud.NewS3(wc.AWS, wc.Endpoints.S3, wc.Bucket), wc.Stream)
	if err != nil || len(logs) == 0 {
		return nil, err
	}
	tables, done, err := workers.ReadTables(ctx, wc)
	if errors.Is(err, lake.ErrNoTable) {
		return count(ctx, logs, nil)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = done() }() // it was only read
	return count(ctx, logs, tables)
}

func (a *app) printAccounts(out io.Writer, accounts []lake.Account) error {
	ok := true
	for _, x := range accounts {
		ok = ok && x.OK
	}
	var err error
	switch {
	case a.json:
		err = printJSON(out, orEmpty(accounts))
	case len(accounts) == 0:
		fmt.Fprintln(out, "nothing has landed yet")
	default:
		err = table(out, "FAN\tACKED\tLANDED\tTABLE\tPENDING\tREFUSED\tDROPPED\tVERDICT", func(add row) {
			for _, x := range accounts {
				fan := x.Fan
				if fan == "" {
					fan = "(unknown)"
				}
				add(fan, x.Acknowledged, x.Landed, x.Table, x.Pending, x.Quarantined, x.Dropped, x.Verdict)
			}
		})
	}
	if err == nil && !ok {
		err = errDifference
	}
	return err
}

func (a *app) printHours(out io.Writer, hours []lake.HourAccount) error {
	ok := true
	for _, h := range hours {
		ok = ok && h.OK
	}
	var err error
	switch {
	case a.json:
		err = printJSON(out, orEmpty(hours))
	case len(hours) == 0:
		fmt.Fprintln(out, "nothing has landed yet")
	default:
		err = table(out, "FAN\tHOUR (UTC)\tLANDED\tTABLE\tPENDING\tLOST\tTWICE\tSURPLUS", func(add row) {
			for _, h := range hours {
				add(h.Fan, h.Hour.Format("2006-01-02 15:04"), h.Landed, h.Table, h.Pending, h.Lost, h.Duplicates+h.TableTwice,
					h.Surplus)
			}
		})
	}
	if err == nil && !ok {
		err = errDifference
	}
	return err
}
