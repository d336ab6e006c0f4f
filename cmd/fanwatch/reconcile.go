package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"fanwatch/cloud"
	"fanwatch/lake"
	"fanwatch/workers"
)

var errDifference = errors.New("the counts differ: what the log or the table lacks or has twice is named above")

func (a *app) reconcile() *cobra.Command {
	var o awsOptions
	byHour := false
	c := &cobra.Command{
		Use: "reconcile", Short: "Show that every acknowledged reading is in the lake exactly once", Args: cobra.NoArgs,
		Long: `Show that every acknowledged reading is in the lake exactly once.

For each fan: how many readings were acknowledged to its publisher (ACKED, as far as the publisher's newest batch
says), how many are in the landing log (LANDED) and in the Iceberg table (TABLE), how many were refused and kept
with a reason (REFUSED), and how many wait for the next commit (PENDING). It reads the whole log and the table's
identifying columns. Exit status 1 when anything is missing or there twice.

With --by-hour it says when the readings were measured: which hour of which fan lacks some, or has some twice, as
far as the landing log still has their rows. A schedule runs the same once a day; a difference is an alert.

Without --bucket it is the local system's lake (--dir).`,
		Example: "  fanwatch reconcile\n  fanwatch reconcile --by-hour\n  fanwatch reconcile --bucket my-fan-lake --region eu-central-1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			wc, err := a.lakeConfig(cmd.Context(), o)
			if err != nil {
				return err
			}
			if byHour {
				hours, err := reconcile(cmd.Context(), wc, lake.ReconcileHours)
				if err != nil {
					return err
				}
				return a.printHours(cmd.OutOrStdout(), hours)
			}
			accounts, err := reconcile(cmd.Context(), wc, lake.Reconcile)
			if err != nil {
				return err
			}
			return a.printAccounts(cmd.OutOrStdout(), accounts)
		},
	}
	o.flags(c.Flags())
	c.Flags().BoolVar(&byHour, "by-hour", false, "by fan and hour, not by fan")
	return c
}

func reconcile[T any](ctx context.Context, wc workers.Config, count func(context.Context, []lake.Log, *lake.Table) ([]T, error)) ([]T, error) {
	logs, err := lake.Logs(ctx, cloud.NewS3(wc.AWS, wc.Endpoints.S3, wc.Bucket), wc.Stream)
	if err != nil || len(logs) == 0 {
		return nil, err // and makes no table where none belongs
	}
	table, done, err := workers.OpenTables(ctx, wc)
	if err != nil {
		return nil, err
	}
	defer func() { _ = done() }() // it was only read
	return count(ctx, logs, table.Table)
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
				add(h.Fan, h.Hour.Format("2006-01-02 15:04"), h.Landed, h.Table, h.Pending, h.Lost, h.Duplicates+h.TableTwice, h.Surplus)
			}
		})
	}
	if err == nil && !ok {
		err = errDifference
	}
	return err
}
