package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fanwatch"
	"fanwatch/operator"
)

// selection says which alerts a command means beside those that it names.
type selection struct {
	site string
	all  bool
}

func (s *selection) flags(f *pflag.FlagSet, what string) {
	f.StringVar(&s.site, "site", "", "take the "+what+" of this site; 'Hall A' covers 'Hall A, rack 3' as well")
	f.BoolVar(&s.all, "all", false, "take all "+what)
}

// covers reports whether the alert is of the site.
func (s selection) covers(x fanwatch.Alert) bool {
	return s.all || s.site != "" && (x.Site == s.site || strings.HasPrefix(x.Site, s.site+","))
}

// ids returns the alerts that are meant, each once: those named, and those of the selection that are open or, with
// acked, acknowledged.
func (s selection) ids(ctx context.Context, op operator.Client, args []string, acked bool) (ids []string, err error) {
	have := map[string]bool{}
	add := func(id string) {
		if !have[id] {
			have[id], ids = true, append(ids, id)
		}
	}
	for _, arg := range args {
		id, err := alertOf(ctx, op, arg)
		if err != nil {
			return nil, err
		}
		add(id)
	}
	if s.site == "" && !s.all {
		return ids, nil
	}
	alerts, err := op.Alerts(ctx, false)
	if err != nil {
		return nil, err
	}
	for _, x := range alerts {
		if s.covers(x) && (x.State == fanwatch.AlertOpen || acked && x.State == fanwatch.AlertAcknowledged) {
			add(x.ID)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: no such alert is open (see fanwatch alerts)", operator.ErrUnknown)
	}
	return ids, nil
}

// each calls do with each alert that is meant and prints what it returns: of one alert, named alone, as JSON the alert,
// else a list. The errors of some keep nothing from the others.
func (a *app) each(cmd *cobra.Command, which selection, args []string, do func(context.Context, operator.Client,
	string) (fanwatch.Alert, string, error)) error {
	if len(args) == 0 && which.site == "" && !which.all {
		return fmt.Errorf("no alert is named: name one, or give --site or --all (%w)", errUsage)
	}
	return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
		ids, err := which.ids(ctx, op, args, cmd.Name() != "ack")
		if err != nil {
			return err
		}
		var done []fanwatch.Alert
		var errs []error
		for _, id := range ids {
			alert, text, err := do(ctx, op, id)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			done = append(done, alert)
			if !a.json {
				say(cmd.OutOrStdout(), "%s", text)
			}
		}
		if a.json && len(ids) == 1 && len(args) == 1 && len(done) == 1 {
			return printJSON(cmd.OutOrStdout(), done[0])
		}
		if a.json && (len(done) > 0 || len(errs) == 0) {
			errs = append(errs, printJSON(cmd.OutOrStdout(), orEmpty(done)))
		}
		return errors.Join(errs...)
	})
}

// alertVerbs are the commands by which a person answers alerts, beside ack.
func (a *app) alertVerbs() (all []*cobra.Command) {
	verb := func(name, short, example string, action fanwatch.Action, flags func(*pflag.FlagSet, *fanwatch.Answer),
		complete func(*fanwatch.Answer, time.Time) error) {
		x := fanwatch.Answer{V: fanwatch.AnswerVersion, Action: action, From: "cli"}
		var which selection
		c := &cobra.Command{
			Use: name + " ALERT|FAN...", Short: short, Args: cobra.ArbitraryArgs, Example: "  fanwatch alerts " + example,
			RunE: func(cmd *cobra.Command, args []string) error {
				now := time.Now()
				x.By = cmp.Or(x.By, account())
				if complete != nil {
					if err := complete(&x, now); err != nil {
						return fmt.Errorf("%w (%w)", err, errUsage)
					}
				}
				x = x.Trim()
				if err := x.Check(now); err != nil {
					return fmt.Errorf("%w (%w)", err, errUsage)
				}
				return a.each(cmd, which, args, func(ctx context.Context, op operator.Client, id string) (fanwatch.Alert,
					string, error) {
					alert, err := op.AnswerAlert(ctx, id, x)
					return alert, answered(alert), err
				})
			},
		}
		c.Flags().StringVar(&x.By, "by", "", "name of the person who answers; empty: the name of your account")
		c.Flags().StringVar(&x.Note, "note", "", "text that is kept with the answer and shown with the alert")
		which.flags(c.Flags(), "alerts that are not over")
		if flags != nil {
			flags(c.Flags(), &x)
		}
		all = append(all, c)
	}
	var until string
	var during time.Duration
	verb("snooze", "Acknowledge alerts until a time, when they are told of again", "snooze fan-07 --for 2h",
		fanwatch.ActionSnooze, func(f *pflag.FlagSet, _ *fanwatch.Answer) {
			f.StringVar(&until, "until", "", "end of the snooze: 07:30 (your clock), 2026-05-28T07:30 (UTC) or RFC 3339")
			f.DurationVar(&during, "for", 0, "length of the snooze, such as 2h")
		}, func(x *fanwatch.Answer, now time.Time) (err error) {
			x.Until, err = snoozeEnd(until, during, now)
			return err
		})
	verb("take", "Take alerts over, from whom took care before", "take fan-07", fanwatch.ActionAcknowledge, nil, nil)
	verb("hand", "Hand alerts to another person, who takes care from now on", "hand fan-07 --to bob", fanwatch.ActionHand,
		func(f *pflag.FlagSet, x *fanwatch.Answer) {
			f.StringVar(&x.To, "to", "", "name of the person who takes care from now on")
		}, nil)
	verb("note", "Add a note to alerts", "note fan-07 --note 'the bearing is warm'", fanwatch.ActionNote, nil, nil)
	verb("resolve", "End alerts by hand, with the reason; the next bad reading opens another",
		"resolve fan-07 --note 'the rotor was changed'", fanwatch.ActionResolve, nil, nil)
	verb("unack", "Give alerts back: their escalation goes on at once", "unack fan-07", fanwatch.ActionUnacknowledge, nil,
		nil)
	return all
}

// snoozeEnd returns the time that --until or --for names.
func snoozeEnd(until string, during time.Duration, now time.Time) (time.Time, error) {
	switch {
	case (until == "") == (during == 0):
		return time.Time{}, errors.New("--until and --for: give one of them")
	case during != 0:
		return now.Add(during), nil
	}
	if clock, err := time.ParseInLocation("15:04", until, time.Local); err == nil {
		y, m, d := now.Local().Date()
		at := time.Date(y, m, d, clock.Hour(), clock.Minute(), 0, 0, time.Local)
		if !at.After(now) {
			at = time.Date(y, m, d+1, clock.Hour(), clock.Minute(), 0, 0, time.Local)
		}
		return at, nil
	}
	at, err := parseTime(until, now)
	if err != nil {
		return at, fmt.Errorf("--until: %w", err)
	}
	return at, nil
}

// answered says how an alert stands after an answer.
func answered(x fanwatch.Alert) string {
	switch {
	case x.EndedBy != "":
		return fmt.Sprintf("%s is resolved by %s", x.ID, x.EndedBy)
	case !x.SnoozedUntil.IsZero():
		return fmt.Sprintf("%s is snoozed by %s until %s", x.ID, x.AckedBy, when(x.SnoozedUntil))
	case x.State == fanwatch.AlertAcknowledged:
		return fmt.Sprintf("%s is acknowledged by %s", x.ID, x.AckedBy)
	}
	return fmt.Sprintf("%s is %s", x.ID, x.State)
}

// alertStory is what alerts show prints as JSON: the alert, and what happened to it in order.
type alertStory struct {
	Alert fanwatch.Alert      `json:"alert"`
	Story []operator.Happened `json:"story"`
}

func (a *app) alertStory() *cobra.Command {
	return &cobra.Command{
		Use: "show ALERT|FAN", Short: "Tell the whole story of an alert, in order", Args: cobra.ExactArgs(1),
		Long: `Tell the whole story of an alert, in order, from the history of its workflow: what opened it, each notification
with step, channel and what came of it, each answer, each observation that changed it, its end.`,
		Example: "  fanwatch alerts show fan-07\n  fanwatch alerts show alert/fan-07/stall/20260528T202640.000000Z --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
				id, err := alertOf(ctx, op, args[0])
				if err != nil {
					return err
				}
				s := alertStory{}
				if s.Alert, err = op.Alert(ctx, id); err != nil {
					return err
				}
				if s.Story, err = op.Story(ctx, id); err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), s)
				}
				say(cmd.OutOrStdout(), "%s: %s, %s", id, s.Alert.Weighed(), alertState(s.Alert, time.Now()))
				return table(cmd.OutOrStdout(), "TIME\tWHAT\tSTEP\tWHO\tMESSAGE", func(add row) {
					for _, h := range s.Story {
						step := ""
						if h.Step > 0 {
							step = fmt.Sprint(h.Step)
						}
						add(h.At.Local().Format("2006-01-02 15:04:05.000"), happening(h), step, cmp.Or(h.By, topic(h.To)),
							message(h))
					}
				})
			})
		},
	}
}

// happening names what happened, with the event of a notification.
func happening(h operator.Happened) string {
	if h.Event != "" {
		return h.What + " (" + string(h.Event) + ")"
	}
	return h.What
}

// message returns the rest of what is known.
func message(h operator.Happened) string {
	var parts []string
	if h.By != "" && h.To != "" {
		parts = append(parts, "to "+h.To)
	}
	for _, text := range []string{h.Text, h.Result} {
		if text != "" {
			parts = append(parts, text)
		}
	}
	if h.From != "" {
		parts = append(parts, "from "+h.From)
	}
	if h.Tries > 1 {
		parts = append(parts, count(h.Tries, "try"))
	}
	return strings.Join(parts, "; ")
}

func (a *app) alertsExport() *cobra.Command {
	var from, to string
	c := &cobra.Command{
		Use: "export", Short: "Print alerts as NDJSON, open and over, oldest first", Args: cobra.NoArgs,
		Long: `Print alerts as NDJSON, one a line, open and over, oldest first: those that Temporal still has. The lake's
table alerts keeps those that are over for longer: fanwatch lake export --table alerts.`,
		Example: "  fanwatch alerts export --from 720h | jq .why\n  fanwatch alerts export --from 2026-05-01 --to 2026-06-01",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var bounds [2]time.Time
			for i, text := range []string{from, to} {
				if text == "" {
					continue
				}
				at, err := parseTime(text, time.Now())
				if err != nil {
					return fmt.Errorf("--%s: %w (%w)", []string{"from", "to"}[i], err, errUsage)
				}
				bounds[i] = at
			}
			return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
				alerts, err := op.AlertsSince(ctx, bounds[0], bounds[1])
				if err != nil {
					return err
				}
				e := json.NewEncoder(cmd.OutOrStdout())
				for _, x := range alerts {
					if err := e.Encode(x); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&from, "from", "", "print alerts from this time on: 2026-05-28, RFC 3339, or 720h for 30 days "+
		"ago; empty: all")
	c.Flags().StringVar(&to, "to", "", "print alerts up to this time, in the same forms; empty: all")
	return c
}
