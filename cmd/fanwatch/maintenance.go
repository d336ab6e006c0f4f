package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/operator"
)

func (a *app) maintenance() *cobra.Command {
	c := &cobra.Command{Use: "maintenance", Short: "Times in which fans are worked on: nothing pages, models do not learn",
		Long: `Times in which fans are worked on.

While one runs, nothing notifies of its fans: escalations that are under way pause, and what comes up is an alert that
waits. Fans are judged and shown as ever, and their models do not learn, so that a fan is judged afterwards as if the
work had not been. At the end one message to the first step of the policies says what goes on and what is over; without
any there is none. What goes on is then told of as ever.

Trouble of fanwatch itself is never quiet. To silence one fan, whose models are to go on learning, use fanwatch mute.`}
	c.AddCommand(a.maintenanceAdd(), a.maintenanceList(), a.maintenanceEnd())
	return c
}

// repeats are the words that --repeat takes beside rules.
var repeats = map[string]string{"daily": "FREQ=DAILY", "weekly": "FREQ=WEEKLY", "monthly": "FREQ=MONTHLY"}

// window are the flags by which add and mute say when and why.
type window struct {
	m          fanwatch.Maintenance
	from, till string
	long       time.Duration
}

// set fills in the maintenance. from "" is now.
func (w *window) set(now time.Time) error {
	zone, err := w.m.Location()
	if err != nil {
		return fmt.Errorf("--zone: %w (%w)", err, errUsage)
	}
	at := func(flag, text string) (time.Time, error) {
		t, err := fanwatch.ParseTime(text, zone, now)
		if err != nil {
			return t, fmt.Errorf("--%s %.40q cannot be read, write it as '2026-12-05 22:00' (%w)", flag, text, errUsage)
		}
		return t, nil
	}
	w.m.From = now.UTC().Truncate(time.Second)
	if w.from != "" {
		if w.m.From, err = at("from", w.from); err != nil {
			return err
		}
	}
	if w.till != "" {
		until, err := at("until", w.till)
		if err != nil {
			return err
		}
		w.long = until.Sub(w.m.From).Round(time.Second)
		if w.long < time.Minute {
			return fmt.Errorf("--until %.40q is over, or within a minute: give a later time (%w)", w.till, errUsage)
		}
	}
	w.m.For = fanwatch.Duration(w.long)
	if rule, ok := repeats[w.m.Repeat]; ok {
		w.m.Repeat = rule
	}
	w.m.Repeat = strings.ToUpper(w.m.Repeat)
	w.m.V, w.m.By, w.m.Why = fanwatch.MaintenanceVersion, person(w.m.By), strings.TrimSpace(w.m.Why)
	check := w.m
	check.ID = cmp.Or(check.ID, "maintenance/-")
	if err := activities.CheckMaintenance(check, now); err != nil {
		return fmt.Errorf("%w (%w)", err, errUsage)
	}
	return nil
}

// person returns by, or the name of the account.
func person(by string) string {
	if by = strings.TrimSpace(by); by != "" {
		return by
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

func (a *app) maintenanceAdd() *cobra.Command {
	var w window
	all := false
	c := &cobra.Command{
		Use:   "add --site SITE|--fan FAN|--all --for DURATION",
		Short: "Plan a maintenance, once or again and again", Args: cobra.NoArgs,
		Long: `Plan a maintenance, once or again and again. Without --from it begins now.

A site covers its racks: --site 'Hall A' is of the fans of 'Hall A' and of 'Hall A, rack 3'. Times without an offset are
of --zone, and so is --repeat: at 22:00 of Europe/Berlin it begins at 22:00 also after the clocks were changed, and
lasts as long. --repeat takes daily, weekly, monthly, or an RRULE of RFC 5545, such as FREQ=WEEKLY;BYDAY=SA,SU or
FREQ=MONTHLY;BYDAY=1SA;COUNT=6. Exit status 2 where it cannot be, with the reason.`,
		Example: "  fanwatch maintenance add --site 'Hall A' --from '2026-12-05 22:00' --for 2h --repeat weekly " +
			"--zone Europe/Berlin --why filters\n  fanwatch maintenance add --fan fan-07 --for 30m",
		RunE: func(cmd *cobra.Command, _ []string) error {
			named := 0
			for _, given := range []bool{w.m.Site != "", w.m.Fan != "", all} {
				if given {
					named++
				}
			}
			if named != 1 {
				return fmt.Errorf("give one of --site, --fan and --all (%w)", errUsage)
			}
			return a.plan(cmd, &w)
		},
	}
	f := c.Flags()
	f.StringVar(&w.m.Site, "site", "", "site whose fans are worked on, its racks included")
	f.StringVar(&w.m.Fan, "fan", "", "fan that is worked on")
	f.BoolVar(&all, "all", false, "work is done on the fans of every site")
	f.StringVar(&w.from, "from", "", "time at which it begins, such as '2026-12-05 22:00'; empty: now")
	f.DurationVar(&w.long, "for", 0, "time that it lasts, 1m to 744h")
	f.StringVar(&w.m.Repeat, "repeat", "", "daily, weekly, monthly or an RRULE such as FREQ=WEEKLY;BYDAY=SA; empty: once")
	f.StringVar(&w.m.Zone, "zone", "", "IANA zone in which times are read and repeated; empty: UTC")
	f.StringVar(&w.m.Why, "why", "", "reason, for the people who look")
	f.StringVar(&w.m.By, "by", "", "name of the person who plans it; empty: the name of your account")
	_ = c.MarkFlagRequired("for") // the flag exists
	return c
}

func (a *app) mute() *cobra.Command {
	var w window
	c := &cobra.Command{
		Use:   "mute FAN --for DURATION|--until TIME",
		Short: "Silence one fan until a time; its models go on learning", Args: cobra.ExactArgs(1),
		Long: `Silence one fan until a time: nothing notifies of it, and escalations that are under way pause. It is judged,
shown and learned as ever. The mute ends by itself; then one message says what goes on and what is over, and what goes
on is told of as ever. To end it before, use fanwatch maintenance end with the ID that is printed. For work on a fan,
from which its models are not to learn, use fanwatch maintenance add --fan.`,
		Example: "  fanwatch mute fan-07 --for 2h --why 'spare part is ordered'\n" +
			"  fanwatch mute fan-07 --until '2026-12-05 08:00' --zone Europe/Berlin",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fanwatch.CheckFan(args[0]); err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			if (w.long == 0) == (w.till == "") {
				return fmt.Errorf("give one of --for and --until (%w)", errUsage)
			}
			w.m.Fan, w.m.Mute = args[0], true
			return a.plan(cmd, &w)
		},
	}
	f := c.Flags()
	f.DurationVar(&w.long, "for", 0, "time that the mute lasts, 1m to 744h")
	f.StringVar(&w.till, "until", "", "time at which the mute ends, such as '2026-12-05 08:00'")
	f.StringVar(&w.m.Zone, "zone", "", "IANA zone in which --until is read; empty: UTC")
	f.StringVar(&w.m.Why, "why", "", "reason, for the people who look")
	f.StringVar(&w.m.By, "by", "", "name of the person who mutes it; empty: the name of your account")
	return c
}

// plan starts what w says and prints it.
func (a *app) plan(cmd *cobra.Command, w *window) error {
	now := time.Now()
	if err := w.set(now); err != nil {
		return err
	}
	return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
		s, err := op.AddMaintenance(ctx, w.m, now)
		if err != nil {
			return err
		}
		if a.json {
			return printJSON(cmd.OutOrStdout(), s)
		}
		say(cmd.OutOrStdout(), "%s: %s", s.ID, planned(s))
		return nil
	})
}

// planned says how a maintenance stands, in its zone.
func planned(s fanwatch.MaintenanceStatus) string {
	what := s.Of()
	if s.Mute {
		what += " is muted"
	} else {
		what += " is maintained"
	}
	switch s.State {
	case fanwatch.MaintenanceRunning:
		what += " until " + inZone(s.Maintenance, s.Until)
	case fanwatch.MaintenancePlanned:
		what += fmt.Sprintf(" from %s to %s", inZone(s.Maintenance, s.Begin), inZone(s.Maintenance, s.Until))
	default:
		what = s.Of() + ": it is " + string(s.State)
	}
	if !s.Next.IsZero() {
		what += ", next at " + inZone(s.Maintenance, s.Next)
	}
	return what
}

func inZone(m fanwatch.Maintenance, t time.Time) string {
	zone, err := m.Location()
	if err != nil || t.IsZero() {
		return when(t)
	}
	return t.In(zone).Format("Mon 2006-01-02 15:04 MST")
}

func (a *app) maintenanceList() *cobra.Command {
	past := false
	c := &cobra.Command{
		Use: "list", Short: "List maintenances and mutes that run or are planned", Args: cobra.NoArgs,
		Long: `List maintenances and mutes: those that run, then the planned ones by their next time; all times are in the
zone of each. Behind them --past lists the newest 100 that are over or cancelled.`,
		Example: "  fanwatch maintenance list\n  fanwatch maintenance list --past --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
				all, err := op.Maintenances(ctx, past, time.Now())
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), orEmpty(all))
				}
				if len(all) == 0 {
					fmt.Fprintln(cmd.OutOrStdout(), "no maintenance runs or is planned: plan one with fanwatch maintenance add")
					return nil
				}
				return printMaintenances(cmd.OutOrStdout(), all)
			})
		},
	}
	c.Flags().BoolVar(&past, "past", false, "list the newest 100 that are over or cancelled, too")
	return c
}

func printMaintenances(out io.Writer, all []fanwatch.MaintenanceStatus) error {
	return table(out, "STATE\tOF\tBEGIN\tUNTIL\tNEXT\tREPEAT\tBY\tWHY\tMAINTENANCE", func(add row) {
		for _, s := range all {
			state, next := string(s.State), "-"
			if s.Mute {
				state += " (mute)"
			}
			if !s.Next.IsZero() {
				next = inZone(s.Maintenance, s.Next)
			}
			why := s.Why
			if s.EndedBy != "" {
				why = strings.TrimPrefix(why+", ended by "+s.EndedBy, ", ")
			}
			add(state, s.Of(), inZone(s.Maintenance, s.Begin), inZone(s.Maintenance, s.Until), next, cmp.Or(s.Repeat, "once"),
				s.By, why, s.ID)
		}
	})
}

func (a *app) maintenanceEnd() *cobra.Command {
	var end fanwatch.MaintenanceEnd
	c := &cobra.Command{
		Use: "end MAINTENANCE", Short: "End a maintenance or mute that runs, or cancel one that is planned",
		Args: cobra.ExactArgs(1),
		Long: `End a maintenance or mute that runs, or cancel one that is planned. Of one that repeats the time that runs
ends and the next ones stay planned; --all cancels them, too. What goes on is told of within a quarter of a minute. Exit
status 2 when there is no such maintenance.`,
		Example: "  fanwatch maintenance end maintenance/hall-a-20261205T2100\n" +
			"  fanwatch maintenance end maintenance/hall-a-20261205T2100 --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			end.By = person(end.By)
			return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
				s, err := op.EndMaintenance(ctx, args[0], end)
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), s)
				}
				say(cmd.OutOrStdout(), "%s: %s", s.ID, planned(s))
				return nil
			})
		},
	}
	c.Flags().BoolVar(&end.All, "all", false, "cancel the times that are planned after the one that runs, too")
	c.Flags().StringVar(&end.By, "by", "", "name of the person who ends it; empty: the name of your account")
	return c
}

// maintained returns the maintenances that run or are planned, or nothing where they cannot be listed: no fan is hidden
// for that.
func maintained(ctx context.Context, op operator.Client, now time.Time) []fanwatch.MaintenanceStatus {
	all, err := op.Maintenances(ctx, false, now)
	if err != nil {
		return nil
	}
	return all
}

// underMaintenance returns the maintenances among all that are of the fan.
func underMaintenance(all []fanwatch.MaintenanceStatus, d fanwatch.Device) (of []fanwatch.MaintenanceStatus) {
	for _, s := range all {
		if s.Covers(d.Fan, d.Site) {
			of = append(of, s)
		}
	}
	return of
}

// maintainedWord marks a fan in lists by its maintenances.
func maintainedWord(all []fanwatch.MaintenanceStatus) (word string) {
	for _, s := range all {
		switch {
		case s.State != fanwatch.MaintenanceRunning:
		case s.Mute && word == "":
			word = " (muted)"
		case !s.Mute:
			word = " (maintenance)"
		}
	}
	return word
}

// showMaintenances prints the maintenances of a fan.
func showMaintenances(add row, all []fanwatch.MaintenanceStatus) {
	for _, s := range all {
		name := "maintenance"
		if s.Mute {
			name = "mute"
		}
		text := fmt.Sprintf("%s, by %s", planned(s), s.By)
		if s.Why != "" {
			text += ": " + s.Why
		}
		add(name, text)
		add("", "fanwatch maintenance end "+s.ID)
	}
}
