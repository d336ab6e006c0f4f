package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/operator"
	"fanwatch/workflows"
)

func (a *app) fans() *cobra.Command {
	return &cobra.Command{
		Use: "fans", Short: "List all fans, their state, and when they were last judged", Args: cobra.NoArgs,
		Long: `List all fans, their state, and when they were last judged.

JUDGED says when a reading of the fan was last held against its limits and the forest: now (within the last ten
seconds), a while ago, never, or not since a time because its shard is not read. RPM THEN is the speed at the last
change of state, at the time in SINCE. A fan that is not judged for longer than its silence is not called normal.`,
		Example: "  fanwatch fans\n  fanwatch fans --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
				fans, err := op.Fans(ctx)
				if err != nil {
					return err
				}
				all := lines(ctx, op, fans, fans)
				if a.json {
					return printJSON(cmd.OutOrStdout(), orEmpty(all))
				}
				if len(all) == 0 {
					fmt.Fprintln(cmd.OutOrStdout(), "no fans yet: provision one with fanwatch provision NAME --csr FILE")
					return nil
				}
				return printFans(cmd.OutOrStdout(), all, time.Now())
			})
		},
	}
}

func printFans(out io.Writer, all []fanLine, now time.Time) error {
	return table(out, "FAN\tSTATE\tSINCE\tJUDGED\tRPM THEN\tSITE\tALERT", func(add row) {
		for _, f := range all {
			rpm := "-"
			if f.Last.V != 0 {
				rpm = fmt.Sprintf("%.0f", f.Last.RPM)
			}
			since := f.FanStatus.Since
			if f.State == operator.NotJudged {
				since = f.Judgement.Since
			}
			add(f.Device.Fan, fanState(f), when(since), judged(f.Judgement, now), rpm, f.Device.Site, f.Alert)
		}
	})
}

// fanState returns the fan's state with the other families that are in trouble, the gravest first. One of severity info
// is marked as such.
func fanState(f fanLine) string {
	troubles := f.Troubles()
	if len(troubles) == 0 || f.State != string(troubles[0].Last.Anomaly.Kind) {
		return f.State
	}
	var all []string
	for _, t := range troubles {
		x := string(t.Last.Anomaly.Kind)
		if t.Last.Anomaly.Weighed() == fanwatch.SeverityInfo {
			x += " (info)"
		}
		all = append(all, x)
	}
	return strings.Join(all, ", ")
}

func (a *app) alerts() *cobra.Command {
	all, members := false, false
	c := &cobra.Command{
		Use: "alerts", Short: "List open alerts, the gravest first", Args: cobra.NoArgs,
		Long: `List open alerts: critical, then warning, then info; of one severity the newest first. Of severity info is
what is worth a look: it wakes nobody and is told in the morning. TOLD is how many notices were sent, and NOT in it
which topics could not be told. An incident is one line in place of its members, which notify nobody themselves;
--members lists these, too. Behind them --all lists the newest 200 alerts that are over.`,
		Example: "  fanwatch alerts\n  fanwatch alerts --all --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
				alerts, err := op.Alerts(ctx, all)
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), orEmpty(alerts))
				}
				if len(alerts) == 0 {
					fmt.Fprintln(cmd.OutOrStdout(), map[bool]string{false: "no open alerts", true: "no alerts"}[all])
					return nil
				}
				if !members {
					alerts = folded(alerts)
				}
				return printAlerts(cmd.OutOrStdout(), alerts, time.Now())
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "list the newest 200 alerts that are over, too")
	c.Flags().BoolVar(&members, "members", false, "list the alerts that are part of an open incident, too")
	c.AddCommand(a.alertStory(), a.alertsExport())
	c.AddCommand(a.alertVerbs()...)
	return c
}

// folded returns the alerts without those that are part of an incident that is among them and not over.
func folded(alerts []fanwatch.Alert) []fanwatch.Alert {
	open := map[string]bool{}
	for _, x := range alerts {
		if x.Kind == fanwatch.KindIncident && goesOn(x) {
			open[workflows.IncidentID(x.Fan)] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(alerts), func(x fanwatch.Alert) bool { return open[x.Incident] && goesOn(x) })
}

func goesOn(x fanwatch.Alert) bool {
	return x.State == fanwatch.AlertOpen || x.State == fanwatch.AlertAcknowledged
}

func printAlerts(out io.Writer, alerts []fanwatch.Alert, now time.Time) error {
	return table(out, "OPENED\tSEVERITY\tSTATE\tSTEP\tTOLD\tWHY\tALERT", func(add row) {
		for _, x := range alerts {
			why := x.Why
			if x.Incident != "" {
				why += " (Part of " + x.Incident + ".)"
			}
			add(when(x.Opened), x.Weighed(), alertState(x, now), escalation(x), told(x), why, x.ID)
		}
	})
}

// fanDetails is what show prints as JSON: the fan's line, and its newest reading where the landing log has it.
type fanDetails struct {
	fanLine
	Reading *lastReading `json:"reading,omitempty"`
}

// lastReading is the newest reading of a fan.
type lastReading struct {
	Time  time.Time      `json:"time"`
	RPM   float64        `json:"rpm"`
	Score float64        `json:"score"`
	Rotor fanwatch.State `json:"rotor"`
}

func (a *app) show() *cobra.Command {
	return &cobra.Command{
		Use: "show FAN", Short: "Show one fan", Args: cobra.ExactArgs(1), Example: "  fanwatch show fan-07",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fanwatch.CheckFan(args[0]); err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
				f, err := op.Fan(ctx, args[0])
				if err != nil {
					return err
				}
				all, err := op.Fans(ctx)
				if err != nil {
					return err
				}
				d := fanDetails{fanLine: lines(ctx, op, []fanwatch.FanStatus{f}, all)[0]}
				if r, ok := a.lastReading(ctx, args[0], d.Shard); ok {
					d.Reading = &lastReading{r.Time, r.RPM, r.Score, r.State}
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), d)
				}
				alerts := map[string]fanwatch.Alert{}
				for _, id := range f.OpenAlerts() {
					alerts[id], err = op.Alert(ctx, id)
					if err != nil && !errors.Is(err, operator.ErrUnknown) { // a person may have removed it
						return err
					}
				}
				return showFan(cmd.OutOrStdout(), d, alerts, time.Now())
			})
		},
	}
}

// showFan prints a fan and the alerts that are open, by ID.
func showFan(out io.Writer, f fanDetails, alerts map[string]fanwatch.Alert, now time.Time) error {
	return table(out, "", func(add row) {
		d := f.Device
		add("fan", d.Fan)
		add("site", d.Site)
		add("phase", f.Phase)
		add("state", f.State+", since "+when(f.FanStatus.Since))
		if f.State == operator.NotJudged {
			add("", "its workflow calls it normal, which is old news")
		}
		troubles := f.Troubles()
		for _, t := range troubles {
			x := t.Last.Anomaly
			add(x.Weighed(), fmt.Sprintf("%s, since %s: %s", x.Kind, clock(t.Since, now), x.Why))
		}
		if len(troubles) == 0 && f.Last.Anomaly.Why != "" {
			add("why", f.Last.Anomaly.Why)
		}
		add("judged", judgedAtLength(f.Judgement, now))
		switch {
		case f.Reading != nil:
			add("last reading", fmt.Sprintf("%.0f RPM, score %.2f, %s, at %s", f.Reading.RPM, f.Reading.Score, f.Reading.Rotor,
				clock(f.Reading.Time, now)))
		case f.Last.V != 0:
			add("last known", fmt.Sprintf("%.0f RPM at %s, the last change of state", f.Last.RPM, clock(f.Last.Time, now)))
		}
		add("limits", limits(d.Limits))
		add("silent after", silence(d))
		add("policy", cmp.Or(d.Policy, "default"))
		showSorts(add, d)
		add("clients", strings.Join(append([]string{d.Fan}, d.Clients...), ", "))
		add("revision", d.Revision)
		add("alerts so far", f.Alerts)
		for _, id := range f.OpenAlerts() {
			showAlert(add, id, alerts[id], now)
		}
		showSuggestions(add, f.FanStatus)
		for _, l := range f.Labels {
			what := verdicts[fanwatch.VerdictFault]
			if l.Normal {
				what = verdicts[fanwatch.VerdictNormal]
			}
			add("labelled", fmt.Sprintf("%s: %s, by %s at %s %s", l.Alert, what, l.By, clock(l.At, now), l.Note))
		}
	})
}

// showSuggestions prints what a fan's readings suggest, and how to answer.
func showSuggestions(add row, f fanwatch.FanStatus) {
	for _, s := range f.Suggestions {
		add("suggested", fmt.Sprintf("%s Set %s?", s.Text, suggests(s)))
	}
	if len(f.Suggestions) > 0 {
		add("answer", fmt.Sprintf("fanwatch configure %s --accept, or --dismiss", f.Device.Fan))
	}
}

// suggests returns the flag of configure that does what is suggested.
func suggests(s fanwatch.Suggestion) string {
	switch c := s.Change; {
	case c.Hours != nil:
		return "--hours " + *c.Hours
	case c.Silence != nil:
		return "--silence " + c.Silence.String()
	}
	return string(s.Kind)
}

func judgedAtLength(j operator.Judgement, now time.Time) string {
	s := judged(j, now)
	if j.Judging == operator.JudgingUnknown && j.Why != "" {
		s += ": " + j.Why
	}
	return s
}

// showAlert prints the alert of that ID; its zero value is one that nothing is known of.
func showAlert(add row, id string, x fanwatch.Alert, now time.Time) {
	add("open alert", id)
	if x.Incident != "" {
		add("part of", x.Incident+", which notifies in its place")
	}
	switch {
	case x.Weighed() == fanwatch.SeverityInfo:
		add("escalation", "none: it is worth a look, and told in the morning")
	case x.Steps > 0:
		add("escalation", "step "+escalation(x)+", told "+told(x))
	}
	for _, f := range x.Failed {
		add("not told", fmt.Sprintf("%s at %s: %s", topic(f.To), clock(f.At, now), f.Why))
	}
	if !x.NormalFrom.IsZero() && x.State != fanwatch.AlertResolved {
		add("normal since", clock(x.NormalFrom, now)+", closes when that has held")
	}
	if x.Returns > 0 {
		add("came back", count(x.Returns, "time"))
	}
	switch x.State {
	case fanwatch.AlertAcknowledged:
		add("acknowledged", "by "+x.AckedBy+" at "+when(x.AckedAt))
		if x.Note != "" {
			add("note", x.Note)
		}
		if x.Label != "" {
			add("said", verdicts[x.Label]+", by "+x.LabelledBy)
		}
	case fanwatch.AlertResolved: // its workflow is about to tell the fan's
	case fanwatch.AlertTerminated:
		add("terminated", "its workflow was ended from outside: nothing more is told of it")
	default:
		add("acknowledge", "fanwatch ack "+id)
	}
}

// topic shortens an ARN to its last part.
func topic(to string) string { return to[strings.LastIndexByte(to, ':')+1:] }

func silence(d fanwatch.Device) string {
	if d.SilenceAfter() == 0 {
		return "never"
	}
	return d.SilenceAfter().String()
}

// showSorts prints what a person said of the fan; nothing where that is nothing.
func showSorts(add row, d fanwatch.Device) {
	if d.Kind != "" {
		add("kind", d.Kind)
	}
	if d.Nominal > 0 {
		add("nominal", fmt.Sprintf("%.0f RPM at full duty", d.Nominal))
	}
	if d.Hours != "" {
		add("hours", d.Hours+" ("+cmp.Or(d.Zone, "UTC")+")")
	}
	var forest []string
	if d.Forest.Score > 0 {
		forest = append(forest, fmt.Sprintf("trouble above a score of %g", d.Forest.Score))
	}
	if d.Forest.Severity != "" {
		forest = append(forest, "severity "+string(d.Forest.Severity))
	}
	if d.Forest.Off {
		forest = []string{"its score is written and never trouble"}
	}
	if len(forest) > 0 {
		add("forest", strings.Join(forest, ", "))
	}
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

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// orEmpty makes no rows an empty JSON list rather than null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
