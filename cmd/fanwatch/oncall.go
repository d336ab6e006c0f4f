package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/policy"
)

// policyFile reads the policy file; "" is that of the local system.
func (a *app) policyFile(name string) (*policy.File, error) {
	name = cmp.Or(name, filepath.Join(a.dir, "policy.yaml"))
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("--policies: %w", err)
	}
	f, err := policy.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// timeOf reads a time as RFC 3339, or as 2006-01-02 15:04 in a zone; "" is now.
func timeOf(text, zone string) (time.Time, error) {
	if text == "" {
		return time.Now(), nil
	}
	z, err := time.LoadLocation(zone)
	if err != nil {
		z = time.UTC
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, z); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--at %.60q is no time: write it as 2026-12-24T22:00:00Z or \"2026-12-24 22:00\" (%w)",
		text, errUsage)
}

func (a *app) oncall() *cobra.Command {
	var file, at string
	c := &cobra.Command{
		Use: "oncall", Short: "Who is on call on each schedule, until when, and who is next", Args: cobra.NoArgs,
		Long: `Who is on call on each schedule of the policy file, until when, and who is next.

Hand-overs count by the clock on the wall of the schedule's zone, so that they stay at their hour when the clocks change;
overrides stand before the rotation. --at asks of another time: an RFC 3339 time, or one in the zone of the file.`,
		Example: "  fanwatch oncall\n  fanwatch oncall --at '2026-12-24 18:00' --policies policy.yaml --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.policyFile(file)
			if err != nil {
				return err
			}
			t, err := timeOf(at, f.Zone)
			if err != nil {
				return err
			}
			all := f.OnCall(t)
			if a.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			return printOnCall(cmd.OutOrStdout(), all)
		},
	}
	c.Flags().StringVar(&file, "policies", "", "policy file; empty: policy.yaml of the local system")
	c.Flags().StringVar(&at, "at", "", "time to ask of; empty: now")
	return c
}

func printOnCall(out io.Writer, all []policy.OnCall) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "The policy file has no schedule: its steps name channels or persons.")
		return err
	}
	for _, c := range all {
		until := c.Until
		if z, err := time.LoadLocation(c.Zone); err == nil {
			until = until.In(z)
		}
		note := ""
		if c.Note != "" {
			note = " (" + fanwatch.OneLine(c.Note) + ")"
		}
		if _, err := fmt.Fprintf(out, "%s: %s%s until %s, then %s; by %s\n", c.Schedule, c.Who, note,
			until.Format("Mon 2006-01-02 15:04 MST"), c.Next, strings.Join(c.Channels, ", ")); err != nil {
			return err
		}
	}
	return nil
}

// turn is a notification as policy who tells it.
type turn struct {
	After fanwatch.Duration `json:"after"` // after the opening
	At    time.Time         `json:"at"`
	Step  int               `json:"step"`
	To    []string          `json:"to"`
}

// whoReport is what policy who prints as JSON.
type whoReport struct {
	V          int               `json:"v"`
	Policy     string            `json:"policy"`
	Route      string            `json:"route,omitempty"`
	Severity   fanwatch.Severity `json:"severity"`
	NotBefore  time.Time         `json:"not_before,omitzero"`
	Because    string            `json:"because,omitempty"`
	Turns      []turn            `json:"turns"`
	AckTimeout fanwatch.Duration `json:"ack_timeout"`
	Morning    *fanwatch.Morning `json:"morning,omitempty"` // info alone: its message of the morning
}

// mostTurns bounds the list of policy who.
const mostTurns = 40

// who resolves the policy of an alert that opens at a time and is never acknowledged, turn by turn, because schedules
// may hand over between two.
func who(f *policy.File, alert fanwatch.Alert, at time.Time) (whoReport, error) {
	p, err := f.Resolve(alert, at)
	if err != nil {
		return whoReport{}, err
	}
	r := whoReport{V: 1, Policy: p.Name, Route: p.Route, Severity: cmp.Or(p.Severity, alert.Weighed()),
		NotBefore: p.NotBefore, Because: p.Because, AckTimeout: p.AckTimeout, Turns: []turn{}}
	if r.Severity == fanwatch.SeverityInfo {
		r.Morning = p.Info
		return r, nil
	}
	due := at
	if p.NotBefore.After(due) {
		due = p.NotBefore
	}
	for i := range p.Steps {
		due = due.Add(time.Duration(p.Steps[i].After))
		for n := 0; n <= p.Steps[i].Repeat && len(r.Turns) < mostTurns; n++ {
			if n > 0 {
				due = due.Add(time.Duration(p.Steps[i].Every))
			}
			then, err := f.Resolve(alert, due)
			if err != nil {
				return r, err
			}
			r.Turns = append(r.Turns, turn{After: fanwatch.Duration(due.Sub(at)), At: due.UTC(), Step: i + 1,
				To: then.Steps[i].Notify})
		}
	}
	return r, nil
}

func (a *app) policyWho() *cobra.Command {
	var file, at, severity, kind, site, name string
	c := &cobra.Command{
		Use: "who FAN", Short: "Who would be told of an alert of a fan, by what, and after how long",
		Args: cobra.ExactArgs(1),
		Long: `Who would be told of an alert of a fan, by what, and after how long: a dry run that sends nothing.

The alert opens at --at with --severity and --kind and is never acknowledged. Site and policy are those of the fan where
the system is at hand; --site and --policy stand in for them. The policy that a fan names stands before all routes.`,
		Example: "  fanwatch policy who fan-07 --at '2026-12-24 22:00' --severity critical\n" +
			"  fanwatch policy who fan-07 --site 'Hall A' --kind drift --severity info --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.policyFile(file)
			if err != nil {
				return err
			}
			t, err := timeOf(at, f.Zone)
			if err != nil {
				return err
			}
			alert := fanwatch.Alert{Fan: args[0], Site: site, Policy: name, Kind: fanwatch.Kind(kind),
				Severity: fanwatch.Severity(severity)}
			if alert.Kind.Family() == "" || alert.Severity.Weight() == 0 {
				return fmt.Errorf("--kind %.40q or --severity %.40q is unknown: such as stall and critical (%w)", kind, severity,
					errUsage)
			}
			if site == "" && name == "" {
				if op, _, done, err := a.operator(cmd.Context()); err == nil { // without the system the flags say it
					defer done()
					if s, err := op.FanStatus(cmd.Context(), args[0]); err == nil {
						alert.Site, alert.Policy = s.Device.Site, s.Device.Policy
					}
				}
			}
			r, err := who(f, alert, t)
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			return printWho(cmd.OutOrStdout(), r)
		},
	}
	fl := c.Flags()
	fl.StringVar(&file, "policies", "", "policy file; empty: policy.yaml of the local system")
	fl.StringVar(&at, "at", "", "when the alert opens; empty: now")
	fl.StringVar(&severity, "severity", "critical", "critical, warning or info")
	fl.StringVar(&kind, "kind", "stall", "kind of the trouble, such as stall or silent")
	fl.StringVar(&site, "site", "", "site of the fan; empty: as the system has it")
	fl.StringVar(&name, "policy", "", "policy that the fan names; empty: as the system has it")
	return c
}

func printWho(out io.Writer, r whoReport) error {
	var text strings.Builder
	fmt.Fprintf(&text, "Policy %s", r.Policy)
	if r.Route != "" {
		fmt.Fprintf(&text, " by route %s", r.Route)
	}
	fmt.Fprintf(&text, ", severity %s.\n", r.Severity)
	if r.Because != "" {
		fmt.Fprintf(&text, "Nothing is sent before %s: %s.\n", r.NotBefore.UTC().Format(time.RFC3339), r.Because)
	}
	switch {
	case r.Severity == fanwatch.SeverityInfo && r.Morning == nil:
		text.WriteString("It is shown, and never sent: the policy has no section info.\n")
	case r.Severity == fanwatch.SeverityInfo:
		fmt.Fprintf(&text, "It is shown at once, and told in the morning's message at %s to %s.\n",
			cmp.Or(r.Morning.At, "08:00"), strings.Join(r.Morning.Notify, ", "))
	}
	for _, t := range r.Turns {
		fmt.Fprintf(&text, "after %-8s step %d  %s\n", t.After, t.Step, fanwatch.OneLine(strings.Join(t.To, ", ")))
	}
	switch {
	case r.Severity == fanwatch.SeverityInfo:
	case r.AckTimeout > 0:
		fmt.Fprintf(&text, "Acknowledged, it notifies the last step again after %s.\n", r.AckTimeout)
	default:
		text.WriteString("Acknowledged, it notifies no more until its end.\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}
