package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/workflows"
)

func (a *app) fans() *cobra.Command {
	return &cobra.Command{
		Use: "fans", Short: "List all fans and their state", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, op workflows.Operator) error {
				fans, err := op.Fans(ctx)
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), orEmpty(fans))
				}
				if len(fans) == 0 {
					fmt.Fprintln(cmd.OutOrStdout(), "no fans yet: provision one with fanwatch provision NAME --csr FILE")
					return nil
				}
				return table(cmd.OutOrStdout(), "FAN\tSTATE\tSINCE\tRPM THEN\tSITE\tALERT", func(w io.Writer) {
					for _, f := range fans {
						rpm := "-"
						if f.Last.V != 0 {
							rpm = fmt.Sprintf("%.0f", f.Last.RPM)
						}
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.Device.Fan, state(f), when(f.Since), rpm, workflows.OneLine(f.Device.Site), f.Alert)
					}
				})
			})
		},
	}
}

func (a *app) alerts() *cobra.Command {
	all := false
	c := &cobra.Command{
		Use: "alerts", Short: "List open alerts, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, op workflows.Operator) error {
				alerts, err := op.Alerts(ctx, all)
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), orEmpty(alerts))
				}
				if len(alerts) == 0 {
					fmt.Fprintln(cmd.OutOrStdout(), "no open alerts")
					return nil
				}
				return table(cmd.OutOrStdout(), "OPENED\tSTATE\tSTEP\tWHY\tALERT", func(w io.Writer) {
					for _, x := range alerts {
						st := string(x.State)
						if x.State == fanwatch.Acknowledged {
							st += " by " + workflows.OneLine(x.AckedBy)
						}
						fmt.Fprintf(w, "%s\t%s\t%d/%d\t%s\t%s\n", when(x.Opened), st, x.Step, x.Steps, workflows.OneLine(x.Why), x.ID)
					}
				})
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also those that are over")
	return c
}

func (a *app) show() *cobra.Command {
	return &cobra.Command{
		Use: "show FAN", Short: "Show one fan", Args: cobra.ExactArgs(1), Example: "  fanwatch show fan-07",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fanwatch.CheckFan(args[0]); err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			return a.with(cmd.Context(), func(ctx context.Context, op workflows.Operator) error {
				f, err := op.Fan(ctx, args[0])
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), f)
				}
				var alert fanwatch.Alert
				if f.Alert != "" {
					alert, err = op.Alert(ctx, f.Alert)
					if err != nil && !errors.Is(err, workflows.ErrUnknown) { // a person may have removed it
						return err
					}
				}
				return showFan(cmd.OutOrStdout(), f, alert)
			})
		},
	}
}

// showFan prints a fan and the alert that is open, if any.
func showFan(out io.Writer, f fanwatch.FanStatus, alert fanwatch.Alert) error {
	return table(out, "", func(w io.Writer) {
		d := f.Device
		fmt.Fprintf(w, "fan\t%s\nsite\t%s\nphase\t%s\nstate\t%s, since %s\n", d.Fan, workflows.OneLine(d.Site), f.Phase, state(f), when(f.Since))
		if f.Last.Anomaly.Why != "" {
			fmt.Fprintf(w, "why\t%s\n", workflows.OneLine(f.Last.Anomaly.Why))
		}
		fmt.Fprintf(w, "limits\t%s\nsilent after\t%s\npolicy\t%s\nclients\t%s\nrevision\t%d\nalerts so far\t%d\n", limits(d.Limits), silence(d), workflows.OneLine(cmp.Or(d.Policy, "default")),
			workflows.OneLine(strings.Join(append([]string{d.Fan}, d.Clients...), ", ")), d.Revision, f.Alerts)
		if f.Alert == "" {
			return
		}
		fmt.Fprintf(w, "open alert\t%s\n", f.Alert)
		switch alert.State {
		case fanwatch.Acknowledged:
			fmt.Fprintf(w, "acknowledged\tby %s at %s\n", workflows.OneLine(alert.AckedBy), when(alert.AckedAt))
			if alert.Note != "" {
				fmt.Fprintf(w, "note\t%s\n", workflows.OneLine(alert.Note))
			}
		case fanwatch.Resolved: // its workflow is about to tell the fan's
		default:
			fmt.Fprintf(w, "acknowledge\tfanwatch ack %s\n", f.Alert)
		}
	})
}

func silence(d fanwatch.Device) string {
	if d.SilenceAfter() == 0 {
		return "never"
	}
	return d.SilenceAfter().String()
}

func limits(l fanwatch.Limits) string {
	low, high := "half of its usual speed", "none"
	if l.MinRPM > 0 {
		low = fmt.Sprintf("%.0f RPM", l.MinRPM)
	}
	if l.MaxRPM > 0 {
		high = fmt.Sprintf("%.0f RPM", l.MaxRPM)
	}
	return "at least " + low + ", at most " + high
}

func state(f fanwatch.FanStatus) string {
	if f.Phase != fanwatch.Active {
		return string(f.Phase)
	}
	if f.Last.V == 0 { // its workflow has heard nothing yet
		return "no reading yet"
	}
	if f.Last.Anomaly.Kind == fanwatch.Well {
		return "well"
	}
	return string(f.Last.Anomaly.Kind)
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

func table(out io.Writer, head string, rows func(io.Writer)) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if head != "" {
		fmt.Fprintln(w, head)
	}
	rows(w)
	return w.Flush()
}

// orEmpty makes no rows an empty JSON list rather than null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
