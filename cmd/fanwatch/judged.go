package main

import (
	"cmp"
	"context"

	"fmt"
	"time"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/lake"
	"fanwatch/lake/landing"
	"fanwatch/operator"
)

// fanLine is a fan as fans and show print it: as its workflow shows it, and when it was last judged.
type fanLine struct {
	fanwatch.FanStatus
	State    string            `json:"state"`
	Severity fanwatch.Severity `json:"severity,omitempty"` // of the gravest trouble
	operator.Judgement
	Maintenances []fanwatch.MaintenanceStatus `json:"maintenances,omitempty"` // that run or are planned
}

// lines puts to each of fans when it was last judged; all are the fans that are not retired. Where Temporal cannot say,
// nothing is known of any.
func lines(ctx context.Context, op operator.Client, fans, all []fanwatch.FanStatus) []fanLine {
	now := time.Now()
	judged, err := op.Judged(ctx, now)
	judged.Expect(all)
	maintenances := maintained(ctx, op, now)
	var out []fanLine
	for _, f := range fans {
		j := operator.Judgement{Judging: operator.JudgingUnknown, Why: "Temporal does not say"}
		if err == nil {
			j = judged.Of(f.Device)
		}
		l := fanLine{FanStatus: f, State: operator.State(f, j, now), Judgement: j,
			Maintenances: underMaintenance(maintenances, f.Device)}
		if troubles := f.Troubles(); len(troubles) > 0 {
			l.Severity = troubles[0].Last.Anomaly.Weighed()
		}
		out = append(out, l)
	}
	return out
}

// judged says in few words when the newest reading was judged.
func judged(j operator.Judgement, now time.Time) string {
	switch j.Judging {
	case operator.JudgingNow: // by the newest heartbeat, which may be old itself
		if age := now.Sub(j.At.Add(activities.UnjudgedAfter)); !j.At.IsZero() && age > activities.UnjudgedAfter {
			return age.Round(time.Second).String() + " ago"
		}
		return "now"
	case operator.JudgingStopped:
		return now.Sub(j.At).Round(time.Second).String() + " ago"
	case operator.JudgingNever:
		return "never"
	case operator.JudgingUnread:
		return "not since " + clock(j.Since, now) + ": " + j.Why
	}
	return "not known"
}

// clock returns local time, with the day when it is not today's.
func clock(t, now time.Time) string {
	switch {
	case t.IsZero():
		return "a time that is not known"
	case t.Local().Format(time.DateOnly) == now.Local().Format(time.DateOnly):
		return t.Local().Format(time.TimeOnly)
	}
	return when(t)
}

// lastReading is the newest reading of a fan in the landing log of the local system; false: there is none, or no local
// system is asked. It reads what landed within the last two minutes.
func (a *app) lastReading(ctx context.Context, fan, shard string) (r fanwatch.Row, ok bool) {
	s, err := a.system()
	if err != nil || s.local.S3 == "" || a.given("temporal") || shard == "" {
		return r, false
	}
	wc, err := a.localConfig(ctx)
	if err != nil {
		return r, false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	l := landing.Log{Store: wc.Open(wc.Bucket), Stream: wc.Stream, Shard: shard}
	at, _, err := l.Recent(ctx, time.Now().Add(-2*time.Minute))
	if err != nil {
		return r, false
	}
	err = l.Walk(ctx, at, func(seg landing.Segment) error {
		for _, x := range seg.Rows {
			if x.Fan == fan && x.Kind == fanwatch.RowScored {
				r, ok = x, true
			}
		}
		return nil
	})
	return r, ok && err == nil
}

// exists returns nil when there is a fan of that name, or the lake has readings of it. Else its error wraps
// operator.ErrUnknown, but where Temporal cannot be asked.
func (a *app) exists(ctx context.Context, fan string, inLake func() (bool, error)) error {
	var known bool
	err := a.with(ctx, func(ctx context.Context, op operator.Client) (err error) {
		known, err = op.Known(ctx, fan)
		return err
	})
	if known {
		return nil
	}
	if found, e := inLake(); found || e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("the lake has nothing of a fan %.120q, and whether there is one is not known: %w", fan, err)
	}
	s, _ := a.system() // asked just now
	return fmt.Errorf("fan %.120q: %w: none of that name is provisioned, and the lake has nothing of it (asked "+
		"%s): see fanwatch fans", fan, operator.ErrUnknown, s.name)
}

// inTable reports whether the table has a reading of the fan.
func inTable(ctx context.Context, t *lake.Table, fan string) func() (bool, error) {
	return func() (bool, error) {
		for _, err := range t.Rows(ctx, fan, time.Time{}, time.Time{}) {
			return err == nil, err
		}
		return false, nil
	}
}

// alertState says how an alert stands, in few words.
func alertState(x fanwatch.Alert, now time.Time) string {
	st := string(x.State)
	if x.State == fanwatch.AlertAcknowledged {
		st += " by " + x.AckedBy
	}
	if x.Label != "" {
		st += ", " + string(x.Label)
	}
	if x.State != fanwatch.AlertResolved && x.State != fanwatch.AlertTerminated {
		if !x.NormalFrom.IsZero() {
			st += ", normal since " + clock(x.NormalFrom, now)
		}
		if x.Returns > 0 {
			st += ", back " + count(x.Returns, "time")
		}
	}
	return st
}

// escalation says which step was reached.
func escalation(x fanwatch.Alert) string {
	s := fmt.Sprintf("%d/%d", x.Step, x.Steps)
	if x.Round > 0 {
		s += fmt.Sprintf(" round %d", x.Round+1)
	}
	return s
}

// told says how many notices were sent, and which topics could not be told.
func told(x fanwatch.Alert) string {
	s := fmt.Sprint(cmp.Or(x.Notices, len(x.Sent)))
	for _, f := range x.Failed {
		s += ", NOT " + topic(f.To)
	}
	return s
}
