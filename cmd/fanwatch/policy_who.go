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
	"github.com/spf13/pflag"

	"fanwatch"
	"fanwatch/operator"
	"fanwatch/policy"
)

// whoOptions are the flags of policy who.
type whoOptions struct {
	policies, at   string
	kind, severity string
	device         fanwatch.Device // site, tags, model and policy
}

func (a *app) policyWho() *cobra.Command {
	var o whoOptions
	c := &cobra.Command{
		Use: "who FAN", Short: "Say who would be told of an alert, by what, and after how long", Args: cobra.ExactArgs(1),
		Long: `Say who would be told of an alert, by what, and after how long.

Nothing is sent. It goes by the policy file as if an alert of the fan opened at --at and no one answered: by which
route and policy, each step and repeat with the channels and persons that are on call then, through hand-overs and quiet
hours, and after how long an acknowledged alert that is not over is told of again. Maintenances and incidents are left
out.

The fan's site, tags, model and policy are asked of the running system; what a flag names holds in its place. Where no
system runs the flags alone hold, and that is said.`,
		Example: "  fanwatch policy who fan-07\n  fanwatch policy who fan-07 --at '2026-12-25 03:00' --severity critical\n" +
			"  fanwatch policy who fan-99 --site 'Hall A, rack 3' --tag cooling --kind speed --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fanwatch.CheckFan(args[0]); err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			f, err := a.policyFile(o.policies)
			if err != nil {
				return err
			}
			at, err := momentOf(f, o.at)
			if err != nil {
				return err
			}
			asked, err := o.ask(cmd.Context(), a, args[0], cmd.Flags())
			if err != nil {
				return err
			}
			alert, err := o.alert()
			if err != nil {
				return err
			}
			forecast, err := f.Forecast(alert, at)
			if err != nil {
				return err
			}
			r := whoOf(alert, at, forecast)
			if a.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			return r.print(cmd.OutOrStdout(), asked)
		},
	}
	f := c.Flags()
	f.StringVar(&o.policies, "policies", "", policiesFlag)
	f.StringVar(&o.at, "at", "", "time of the opening: '2026-12-24 09:00' or 2026-12-24 in the file's zone, or RFC 3339; "+
		"empty: now")
	f.StringVar(&o.kind, "kind", "", "kind of trouble, such as stall; empty: one that has --severity")
	f.StringVar(&o.severity, "severity", "", "severity as judged: critical, warning or info; empty: that of --kind")
	f.StringVar(&o.device.Site, "site", "", "where the fan stands, in place of what the system knows")
	f.StringSliceVar(&o.device.Tags, "tag", nil, "tag of the fan, in place of what the system knows (may be given again)")
	f.StringVar(&o.device.Model, "model", "", "model of the fan, in place of what the system knows")
	f.StringVar(&o.device.Policy, "policy", "", "policy that the fan's device names, in place of what the system knows")
	return c
}

// momentOf reads a time of the command line; "" = now.
func momentOf(f *policy.File, text string) (time.Time, error) {
	if text == "" {
		return time.Now(), nil
	}
	t, err := f.Time(text)
	if err != nil {
		return t, fmt.Errorf("--at: %w (%w)", err, errUsage)
	}
	return t, nil
}

// ask sets of the device what no flag names as the running system knows it; asked is false when none runs.
func (o *whoOptions) ask(ctx context.Context, a *app, fan string, flags *pflag.FlagSet) (asked bool, err error) {
	o.device.Fan = fan
	op, _, done, err := a.operator(ctx)
	if err != nil {
		return false, nil //nolint:nilerr // nothing runs: the flags alone hold, which print says
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	known, err := op.Fan(ctx, fan)
	given := slices.ContainsFunc([]string{"site", "tag", "model", "policy"}, flags.Changed)
	switch {
	case errors.Is(err, operator.ErrUnknown) && given:
		return true, nil
	case err != nil:
		return true, err
	}
	d := known.Device
	if !flags.Changed("site") {
		o.device.Site = d.Site
	}
	if !flags.Changed("tag") {
		o.device.Tags = d.Tags
	}
	if !flags.Changed("model") {
		o.device.Model = d.Model
	}
	if !flags.Changed("policy") {
		o.device.Policy = d.Policy
	}
	return true, nil
}

// alert returns the alert that the flags ask about.
func (o *whoOptions) alert() (fanwatch.Alert, error) {
	kind, severity := fanwatch.Kind(o.kind), fanwatch.Severity(o.severity)
	if kind == "" {
		kind = map[fanwatch.Severity]fanwatch.Kind{"": fanwatch.KindStall, fanwatch.SeverityCritical: fanwatch.KindStall,
			fanwatch.SeverityWarning: fanwatch.KindSpeed, fanwatch.SeverityInfo: fanwatch.KindJitter}[severity]
	}
	if severity != "" && severity.Weight() == 0 {
		return fanwatch.Alert{}, fmt.Errorf("--severity %.40q is none of critical, warning, info (%w)", severity, errUsage)
	}
	if kind.Severity() == "" {
		return fanwatch.Alert{}, fmt.Errorf("--kind %.40q is no kind of trouble, such as stall, speed or silent (%w)", kind,
			errUsage)
	}
	d := o.device
	return fanwatch.Alert{Fan: d.Fan, Site: d.Site, Tags: d.Tags, Model: d.Model, Policy: d.Policy, Kind: kind,
		Severity: cmp.Or(severity, kind.Severity())}, nil
}

// whoReport is what policy who prints as JSON.
type whoReport struct {
	V          int               `json:"v"`
	Fan        string            `json:"fan"`
	Site       string            `json:"site,omitempty"`
	Kind       fanwatch.Kind     `json:"kind"`
	Judged     fanwatch.Severity `json:"judged"`   // severity by the judge
	Severity   fanwatch.Severity `json:"severity"` // as told
	At         time.Time         `json:"at"`
	Policy     string            `json:"policy"`
	Route      string            `json:"route,omitempty"`
	AckTimeout fanwatch.Duration `json:"ack_timeout"` // 0 = an acknowledgement holds for ever
	Turns      []whoTurn         `json:"turns"`
	Morning    time.Time         `json:"morning,omitzero"`
	Digest     []string          `json:"digest,omitempty"`
	Links      fanwatch.Links    `json:"links,omitzero"`
	own        bool              // the device names the policy
}

// whoTurn are notifications of one step to the same recipients, one after the other.
type whoTurn struct {
	Step    int                `json:"step"`
	After   fanwatch.Duration  `json:"after"` // from the opening to the first
	From    time.Time          `json:"from"`
	To      time.Time          `json:"to"` // time of the last
	Times   int                `json:"times"`
	Told    []policy.Recipient `json:"told"`
	Because string             `json:"because,omitempty"`
}

func whoOf(alert fanwatch.Alert, at time.Time, f policy.Forecast) whoReport {
	r := whoReport{V: 1, Fan: alert.Fan, Site: alert.Site, Kind: alert.Kind, Judged: alert.Severity, Severity: f.Severity,
		At: at, Policy: f.Policy.Name, Route: f.Policy.Route, AckTimeout: f.Policy.AckTimeout, Turns: []whoTurn{},
		Morning: f.Morning, Links: f.Policy.Links, own: alert.Policy == f.Policy.Name}
	for i, t := range f.Turns {
		if i > 0 && f.Turns[i-1].Same(t) {
			last := &r.Turns[len(r.Turns)-1]
			last.To, last.Times = t.At, last.Times+1
			continue
		}
		r.Turns = append(r.Turns, whoTurn{Step: t.Step, After: fanwatch.Duration(t.After), From: t.At, To: t.At, Times: 1,
			Told: t.To, Because: t.Because})
	}
	for _, d := range f.Digest {
		r.Digest = append(r.Digest, d.Channel)
	}
	return r
}

const whoClock = "Mon 2006-01-02 15:04:05 MST"

func (r whoReport) print(out io.Writer, asked bool) error {
	zone := r.At.Location()
	say(out, "%s: %s, %s, opened %s", strings.Join(slices.DeleteFunc([]string{r.Fan, r.Site}, func(s string) bool {
		return s == ""
	}), ", "), r.Kind, r.Severity, r.At.Format(whoClock))
	if !asked {
		say(out, "No system was asked of the fan: --site, --tag, --model and --policy say what it is.")
	}
	why := "no route matches"
	switch {
	case r.own:
		why = "named by the fan's device"
	case r.Route != "":
		why = "by " + r.Route
	}
	say(out, "policy %s (%s)", r.Policy, why)
	if r.Severity != r.Judged {
		say(out, "severity %s by %s, in place of the judge's %s", r.Severity, r.Route, r.Judged)
	}
	if r.Severity == fanwatch.SeverityInfo {
		if len(r.Digest) == 0 {
			say(out, "It wakes no one: it is shown at once, and never told, because the policy has no section info.")
			return nil
		}
		say(out, "It wakes no one: it is shown at once, and told to %s in the message of %s.", strings.Join(r.Digest, ", "),
			r.Morning.In(zone).Format(whoClock))
		return nil
	}
	err := table(out, "AFTER\tAT\tSTEP\tTIMES\tCHANNEL\tSORT\tWHO", func(put row) {
		for _, t := range r.Turns {
			at := t.From.In(zone).Format(whoClock)
			if t.Times > 1 {
				at += " to " + t.To.In(zone).Format("Mon 15:04:05")
			}
			for i, x := range t.Told {
				who := x.Person
				if x.Schedule != "" {
					who += " (" + x.Schedule + ")"
				}
				if i == 0 {
					put(t.After, at, t.Step, t.Times, x.Channel, x.Sort, who)
				} else {
					put("", "", "", "", x.Channel, x.Sort, who)
				}
			}
		}
	})
	for _, t := range r.Turns {
		if t.Because != "" {
			say(out, "step %d waits until %s: %s", t.Step, t.From.In(zone).Format(whoClock), t.Because)
		}
	}
	if r.AckTimeout > 0 {
		say(out, "Acknowledged and not over after %s, the last step is told again.", r.AckTimeout)
	} else {
		say(out, "Acknowledged, it is not told of again: the policy has no ack_timeout.")
	}
	return err
}

func (a *app) onCall() *cobra.Command {
	var policies, at string
	c := &cobra.Command{
		Use: "oncall", Short: "Show who is on call, until when, and who next", Args: cobra.NoArgs,
		Long: `Show who is on call, until when, and who next.

It reads the schedules of the policy file: weekly rotations and the overrides by which a person covers for another.
Times are in the zone of the schedule. A schedule hands over at the same local time when clocks are put forward or
back.`,
		Example: "  fanwatch oncall\n  fanwatch oncall --at '2026-12-25 03:00' --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.policyFile(policies)
			if err != nil {
				return err
			}
			t, err := momentOf(f, at)
			if err != nil {
				return err
			}
			r := onCallReport{V: 1, At: t, Schedules: []onCallLine{}}
			now, next := f.OnCall(t)
			for i := range now {
				r.Schedules = append(r.Schedules, onCallLine{now[i], next[i]})
			}
			if a.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			return r.print(cmd.OutOrStdout(), f)
		},
	}
	c.Flags().StringVar(&policies, "policies", "", policiesFlag)
	c.Flags().StringVar(&at, "at", "", "time that is meant: '2026-12-24 09:00' or 2026-12-24 in the file's zone, or RFC "+
		"3339; empty: now")
	return c
}

// onCallReport is what oncall prints as JSON.
type onCallReport struct {
	V         int          `json:"v"`
	At        time.Time    `json:"at"`
	Schedules []onCallLine `json:"schedules"`
}

type onCallLine struct {
	Now  policy.Shift `json:"now"`
	Next policy.Shift `json:"next"` // without person: there is none
}

func (r onCallReport) print(out io.Writer, f *policy.File) error {
	if len(r.Schedules) == 0 {
		say(out, "The policy file has no schedules: its steps name persons, channels or topics alone.")
		return nil
	}
	return table(out, "SCHEDULE\tNOW\tUNTIL\tNEXT\tNOTE", func(put row) {
		for _, l := range r.Schedules {
			until, note := "for good", l.Now.Note
			if !l.Now.Until.IsZero() {
				until = l.Now.Until.In(f.Zone(l.Now.Schedule)).Format("Mon 2006-01-02 15:04 MST")
			}
			if l.Now.Override && note == "" {
				note = "override"
			}
			put(l.Now.Schedule, l.Now.Person, until, cmp.Or(l.Next.Person, "-"), note)
		}
	})
}
