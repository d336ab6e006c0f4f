package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/teambition/rrule-go"
	"golang.org/x/sync/errgroup"

	"fanwatch"
)

// Occurrence is one time of a maintenance.
type Occurrence struct {
	Begin time.Time `json:"begin"`
	Until time.Time `json:"until"`
	Next  time.Time `json:"next,omitzero"` // begin of the one after; zero: there is none
}

// farthest is how far ahead the next time of a maintenance is looked for.
const farthest = 5 * 366 * 24 * time.Hour

// FirstOccurrence returns the first time of m that is not over at now; ok is false when there is none within five
// years. The error names the field and the mend when m cannot be used.
func FirstOccurrence(m fanwatch.Maintenance, now time.Time) (o Occurrence, ok bool, err error) {
	return occurrence(m, now.Add(-time.Duration(m.For)))
}

// NextOccurrence returns the first time of m that begins after the one that began at begin.
func NextOccurrence(m fanwatch.Maintenance, begin time.Time) (o Occurrence, ok bool, err error) {
	return occurrence(m, begin)
}

// occurrence returns the first time of m that begins after t. Clocks that are put forward or back move none: it begins
// at the same time of day in its zone, and lasts as long.
func occurrence(m fanwatch.Maintenance, t time.Time) (o Occurrence, ok bool, err error) {
	if err := m.Check(); err != nil {
		return o, false, err
	}
	if m.Repeat == "" {
		return Occurrence{Begin: m.From.UTC(), Until: m.From.Add(time.Duration(m.For)).UTC()}, m.From.After(t), nil
	}
	rule, err := repeats(m)
	if err != nil {
		return o, false, err
	}
	limit := t
	if m.From.After(t) {
		limit = m.From
	}
	limit = limit.Add(farthest)
	if until := rule.GetUntil(); until.After(limit) {
		rule.Until(limit)
	}
	begin := rule.After(t, false)
	if begin.IsZero() {
		return o, false, nil
	}
	o = Occurrence{Begin: begin.UTC(), Until: begin.Add(time.Duration(m.For)).UTC()}
	if next := rule.After(begin, false); !next.IsZero() {
		o.Next = next.UTC()
	}
	return o, true, nil
}

// repeats returns the rule of a maintenance that repeats.
func repeats(m fanwatch.Maintenance) (*rrule.RRule, error) {
	zone, err := m.Location()
	if err != nil {
		return nil, err
	}
	fail := func(why string) (*rrule.RRule, error) {
		return nil, fmt.Errorf("repeat %.80q: %s: give daily, weekly, monthly or an RRULE such as FREQ=WEEKLY;BYDAY=SA",
			m.Repeat, why)
	}
	text := strings.TrimPrefix(m.Repeat, "RRULE:")
	if len(text) > 300 || strings.ContainsAny(text, "\r\n") || strings.Contains(strings.ToUpper(text), "DTSTART") {
		return fail("it is no single rule")
	}
	option, err := rrule.StrToROptionInLocation(text, zone)
	if err != nil {
		return fail(err.Error())
	}
	if option.Freq > rrule.DAILY || len(option.Bysecond)+len(option.Byminute)+len(option.Byhour) > 0 {
		return fail("it may come once a day at most, at the time of day of its first")
	}
	option.Dtstart = m.From.In(zone).Truncate(time.Second)
	rule, err := rrule.NewRRule(*option)
	if err != nil {
		return fail(err.Error())
	}
	return rule, nil
}

// CheckMaintenance returns an error that names the field and the mend when m cannot be used, has no time that is not
// over at now, or would begin again before it ends.
func CheckMaintenance(m fanwatch.Maintenance, now time.Time) error {
	if m.Repeat != "" && m.From.Before(now.Add(-farthest)) {
		return fmt.Errorf("maintenance from %s: it begins more than five years ago: give a later time",
			m.From.Format(time.RFC3339))
	}
	o, ok, err := FirstOccurrence(m, now)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("maintenance from %s for %s: it is over, or never comes", m.From.Format(time.RFC3339), m.For)
	}
	if m.Repeat == "" {
		return nil
	}
	rule, err := repeats(m)
	if err != nil {
		return err
	}
	if limit := o.Begin.Add(farthest); rule.GetUntil().After(limit) {
		rule.Until(limit)
	}
	var last time.Time
	for next, n := rule.Iterator(), 0; n < 100; n++ {
		begin, ok := next()
		if !ok {
			break
		}
		if n > 0 && begin.Before(last.Add(time.Duration(m.For))) {
			return fmt.Errorf("maintenance for %s: it begins again at %s, before it ends: shorten it", m.For,
				begin.Format(time.RFC3339))
		}
		last = begin
	}
	return nil
}

// MaintenanceLister lists the maintenances that are planned or run.
type MaintenanceLister interface {
	OpenMaintenances(ctx context.Context) ([]fanwatch.MaintenanceStatus, error)
}

// Maintenances answers which maintenance an alert is under. Safe for concurrent use.
type Maintenances struct {
	List MaintenanceLister
	Now  fanwatch.Clock

	mu    sync.Mutex
	known []fanwatch.MaintenanceStatus
	read  time.Time
}

// MaintenancesFor is how old the list that [Maintenances.Under] answers by may be.
const MaintenancesFor = 5 * time.Second

// Under returns until when the alert is under a maintenance that runs at the time, and why, as part of a sentence; the
// zero time when it is under none. Of several the one that ends last counts.
func (m *Maintenances) Under(ctx context.Context, a fanwatch.Alert, at time.Time) (until time.Time, why string,
	err error) {
	all, err := m.list(ctx)
	for _, s := range all {
		if s.CoversAlert(a) && !at.Before(s.Begin) && at.Before(s.Until) && s.Until.After(until) {
			until, why = s.Until, underText(s)
		}
	}
	return until, why, err
}

func (m *Maintenances) list(ctx context.Context) ([]fanwatch.MaintenanceStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.Now(); m.read.IsZero() || now.Sub(m.read) >= MaintenancesFor || now.Before(m.read) {
		all, err := m.List.OpenMaintenances(ctx)
		if err != nil {
			return nil, fmt.Errorf("maintenances: %w", err)
		}
		m.known, m.read = all, now
	}
	return m.known, nil
}

func underText(s fanwatch.MaintenanceStatus) string {
	what := "maintenance of " + s.Of()
	if s.Mute {
		what = s.Of() + " is muted"
	}
	what += " by " + s.By
	if s.Why != "" {
		what += " (" + s.Why + ")"
	}
	return fanwatch.Legible(what, 300)
}

// MaintenanceControl is what a Maintainer needs of the control plane.
type MaintenanceControl interface {
	Fans(ctx context.Context) ([]fanwatch.FanStatus, error)
	// AlertsDuring lists the alerts that were open at some time from one time on and before another.
	AlertsDuring(ctx context.Context, from, to time.Time) ([]fanwatch.Alert, error)
	// Replan has an open alert read its plan again. That it is over is no error.
	Replan(ctx context.Context, alert string) error
}

// Maintainer does what a maintenance needs at its beginning and its end.
type Maintainer struct {
	Fans   MaintenanceControl
	Stream Recorder
	// Resolve returns the policy of an alert at a time, its steps with names of channels, without maintenances.
	Resolve func(a fanwatch.Alert, at time.Time) (fanwatch.Policy, error)
}

// Of returns the policy of an alert: the one that it names, or the one named default. It is Maintainer.Resolve where
// policies have neither routes nor schedules.
func (p Policies) Of(a fanwatch.Alert, _ time.Time) (fanwatch.Policy, error) {
	policies := p()
	if found, ok := policies[policyOf(policies, a)]; ok {
		return found, nil
	}
	return fanwatch.Policy{}, fmt.Errorf("there is no escalation policy %.60q nor one named default", a.Policy)
}

// PauseInput is the input of [Maintainer.PauseModels].
type PauseInput struct {
	Maintenance fanwatch.Maintenance `json:"maintenance"`
	From        time.Time            `json:"from"`
	To          time.Time            `json:"to"` // From = the models learn after all
	At          time.Time            `json:"at"` // when this was decided; the newest holds
}

const announcers = 16 // records under way at once

// PauseModels puts on the stream for each fan of the maintenance that its models do not learn from readings of from to
// to, and returns the number of fans. Running it again repeats the same records.
func (m *Maintainer) PauseModels(ctx context.Context, in PauseInput) (int, error) {
	fans, err := m.Fans.Fans(ctx)
	if err != nil {
		return 0, err
	}
	var sending errgroup.Group
	sending.SetLimit(announcers)
	covered := 0
	for _, f := range fans {
		d := f.Device
		if f.Phase == fanwatch.PhaseRetired || !in.Maintenance.Covers(d.Fan, d.Site) {
			continue
		}
		covered++
		sending.Go(func() error {
			data, err := fanwatch.EncodePause(fanwatch.Pause{V: fanwatch.PauseVersion, Fan: d.Fan,
				Maintenance: in.Maintenance.ID, From: in.From, To: in.To, At: in.At})
			if err == nil {
				err = m.Stream.Record(ctx, d.Fan, data)
			}
			if err != nil {
				return fmt.Errorf("pause the models of %s: %w", d.Fan, err)
			}
			return nil
		})
	}
	return covered, sending.Wait()
}

// SumUpInput is the input of [Maintainer.SumUp].
type SumUpInput struct {
	Maintenance fanwatch.Maintenance `json:"maintenance"`
	Begin       time.Time            `json:"begin"`
	Until       time.Time            `json:"until"` // when it ended
	Next        time.Time            `json:"next,omitzero"`
	EndedBy     string               `json:"ended_by,omitempty"`
}

// Summary is the result of [Maintainer.SumUp].
type Summary struct {
	Notifications []Notification `json:"notifications,omitempty"` // one for each channel
	Open          int            `json:"open"`                    // alerts that go on
	Over          int            `json:"over"`
}

// SumUp has the alerts under a maintenance that has ended, and that go on, read their plans again, and composes its
// summary: one message for each channel of the first step of their policies, with the alerts that were open in it.
// Without any there is no message. Running it again gives the same keys.
func (m *Maintainer) SumUp(ctx context.Context, in SumUpInput) (Summary, error) {
	var r Summary
	alerts, err := m.Fans.AlertsDuring(ctx, in.Begin, in.Until)
	if err != nil {
		return r, err
	}
	alerts = slices.DeleteFunc(alerts, func(a fanwatch.Alert) bool { return !in.Maintenance.CoversAlert(a) })
	var failed []error
	found := map[string][]fanwatch.Alert{} // by channel
	for _, a := range alerts {
		if goesOn(a) {
			r.Open++
			failed = append(failed, m.Fans.Replan(ctx, a.ID))
		} else {
			r.Over++
		}
		p, err := m.Resolve(a, in.Until)
		if err != nil || len(p.Steps) == 0 {
			failed = append(failed, err)
			continue
		}
		for _, to := range p.Steps[0].Notify {
			found[to] = append(found[to], a)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return r, err
	}
	for _, to := range slices.Sorted(maps.Keys(found)) {
		r.Notifications = append(r.Notifications, summary(to, in, found[to]))
	}
	return r, nil
}

func goesOn(a fanwatch.Alert) bool {
	return a.State == fanwatch.AlertOpen || a.State == fanwatch.AlertAcknowledged
}

// summary returns the message of one channel.
func summary(to string, in SumUpInput, alerts []fanwatch.Alert) Notification {
	slices.SortFunc(alerts, func(a, b fanwatch.Alert) int {
		return cmp.Or(cmp.Compare(b.Weighed().Weight(), a.Weighed().Weight()), a.Opened.Compare(b.Opened),
			cmp.Compare(a.ID, b.ID))
	})
	m := in.Maintenance
	zone, err := m.Location()
	if err != nil {
		zone = time.UTC // unreachable: it was checked
	}
	clock := func(t time.Time) string { return t.In(zone).Format("Mon 2006-01-02 15:04 MST") }
	var open, over []fanwatch.Alert
	for _, a := range alerts {
		if goesOn(a) {
			open = append(open, a)
		} else {
			over = append(over, a)
		}
	}
	what := "maintenance of " + m.Of()
	if m.Mute {
		what = "mute of " + m.Of()
	}
	subject := fmt.Sprintf("[fanwatch] %s has ended: %d go on, %d are over", what, len(open), len(over))
	var body strings.Builder
	fmt.Fprintf(&body, "The %s by %s, %s to %s, has ended", what, m.By, clock(in.Begin), clock(in.Until))
	if in.EndedBy != "" {
		fmt.Fprintf(&body, " early, by %s", in.EndedBy)
	}
	body.WriteString(". Nothing was told meanwhile.\n")
	if m.Why != "" {
		fmt.Fprintf(&body, "It was for: %s\n", fanwatch.Legible(m.Why, 500))
	}
	body.WriteString("\n")
	list := func(head string, alerts []fanwatch.Alert) {
		for i, a := range alerts {
			switch {
			case i == digestMost:
				fmt.Fprintf(&body, "%d more: fanwatch alerts --all\n", len(alerts)-i)
			case i > digestMost:
			default:
				if i == 0 {
					body.WriteString(head + "\n\n")
				}
				body.WriteString(digestLines(a))
			}
		}
	}
	list("These go on; from now on they are told of as ever:", open)
	list("These are over:", over)
	if !in.Next.IsZero() {
		fmt.Fprintf(&body, "The next one begins at %s.\n", clock(in.Next))
	}
	key := fmt.Sprintf("%s/%s/%s", m.ID, in.Begin.UTC().Format("20060102T150405Z"), to)
	severity := fanwatch.SeverityInfo
	if len(open) > 0 {
		severity = open[0].Weighed()
	}
	return Notification{Key: key, To: to, Subject: fanwatch.Legible(subject, 100), Body: body.String(),
		Alert: fanwatch.Alert{V: fanwatch.AlertVersion, ID: m.ID, Fan: m.Fan, Site: m.Site, Severity: severity,
			Why: subject}}
}
