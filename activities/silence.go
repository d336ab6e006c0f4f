package activities

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"fanwatch"
	"fanwatch/detect"
)

const (
	causeHolds   = 5 * time.Minute // time for which unjudged readings count as the cause of silence
	silenceEvery = time.Second / 2 // time between two looks for silent fans
	settling     = 5 * time.Second // time that an attempt reads before a fan without readings is silent
)

// silence queues an observation for each fan of which no reading was judged at its arrival for its silence time. It is
// of FamilySource: trouble of other families stays as it is, and neither hides the other.
// through is the time up to which arrivals were read; while it is zero no fan is silent. Within silenceEvery of the
// last call it does nothing.
func (p *pendingObservations) silence(m *detect.Models, now, through time.Time) {
	if through.IsZero() || now.Sub(p.looked) < silenceEvery {
		return
	}
	p.looked = now
	p.caught = p.caught || !through.Before(p.since)
	var found []fanwatch.Observation
	for d, h := range m.Active() {
		f := p.fan(d.Fan)
		if f.fresh {
			f.lastSeen, f.fresh = through, false
		}
		after := d.SilenceAfter()
		base := p.base(f, h)
		if after == 0 || through.Sub(base) < after || f.lastSeen.IsZero() && through.Sub(p.since) < settling {
			continue
		}
		states := m.States(d.Fan)
		o := fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: d.Fan, Family: fanwatch.FamilySource,
			Position: h.Newest, Time: h.Since, At: now, Anomaly: fanwatch.Anomaly{Kind: fanwatch.KindSilent,
				Severity: fanwatch.SeverityCritical, Cause: f.why(h, len(states) > 0, max(after, causeHolds), now, through)},
			Suggestions: m.Suggestions(d.Fan)}
		if f.knows(o) {
			continue
		}
		if len(states) > 0 {
			o.Time, o.RPM = states[0].Time, states[0].RPM
		}
		o.Anomaly.Why = f.sentence(d.Fan, o.Anomaly.Cause, h, base, through)
		found = append(found, o)
	}
	slices.SortFunc(found, func(a, b fanwatch.Observation) int { return cmp.Compare(a.Fan, b.Fan) })
	for _, o := range found {
		p.push(p.fan(o.Fan), o)
	}
}

// base returns the time from which a fan's silence counts: the newest judged reading in this attempt, else the one that
// the models hold if it lies before the attempt's beginning (arrivals are by another clock), else the beginning.
func (p *pendingObservations) base(f *fanPending, h *detect.Arrivals) time.Time {
	known := h.Judged
	if known.IsZero() {
		known = h.Since
	}
	switch {
	case !f.lastSeen.IsZero():
		return f.lastSeen
	case known.IsZero() || known.After(p.since):
		return p.since
	}
	return known
}

// why returns the cause of a fan's silence. Unjudged readings are the cause for the time holds after the newest.
func (f *fanPending) why(h *detect.Arrivals, reported bool, holds time.Duration, now,
	through time.Time) fanwatch.Cause {
	recent := func(u detect.Unjudged) bool { return u.N > 0 && through.Sub(u.Last) < holds }
	switch {
	case recent(h.Refused):
		return fanwatch.CauseRefused
	case recent(h.Old) || !f.drains.IsZero() && now.Sub(f.drains) < holds:
		return fanwatch.CauseOld
	case h.Refused.N+h.Old.N == 0 && h.Judged.IsZero() && (!reported || !h.Since.IsZero()):
		return fanwatch.CauseNever
	}
	return fanwatch.CauseNothing
}

// sentence returns the cause of a fan's silence as a sentence for notifications.
func (f *fanPending) sentence(fan string, cause fanwatch.Cause, h *detect.Arrivals, base, through time.Time) string {
	switch cause {
	case fanwatch.CauseRefused:
		over := ""
		if d := h.Refused.Last.Sub(h.Refused.First); d >= time.Second {
			over = " in " + d.Round(time.Second).String()
		}
		return fmt.Sprintf("%s is not judged: its readings arrive and are refused, %d%s, such as: %s.",
			fan, h.Refused.N, over, h.Refused.Why)
	case fanwatch.CauseOld:
		age := f.age
		if h.Old.N > 0 {
			age = h.Old.Age
		}
		return fmt.Sprintf("%s is not judged as it is now: its readings arrive but were measured %s before; "+
			"a spool drains or its clock went back.", fan, age.Round(time.Second))
	case fanwatch.CauseNever:
		if h.Since.IsZero() {
			return fmt.Sprintf("%s has not reported since it was provisioned.", fan)
		}
		return fmt.Sprintf("%s has not reported since it was provisioned at %s.",
			fan, h.Since.UTC().Format(time.RFC3339))
	}
	for _, u := range []detect.Unjudged{h.Refused, h.Old} {
		if u.Last.After(base) {
			base = u.Last
		}
	}
	return fmt.Sprintf("%s has sent no reading for %s: its publisher, its power or its network is down.",
		fan, through.Sub(base).Round(time.Second))
}

// unjudged returns the active fans of which no reading was judged at its arrival for UnjudgedAfter, first those without
// any, then by the time since, longest first; at most MaxUnjudged.
func (p *pendingObservations) unjudged(m *detect.Models, now time.Time) []Unjudged {
	var out []Unjudged
	for d, h := range m.Active() {
		f := p.fan(d.Fan)
		base := p.base(f, h)
		if f.fresh || now.Sub(base) < UnjudgedAfter {
			continue
		}
		if h.Judged.IsZero() && !h.Since.IsZero() {
			base = time.Time{}
		}
		out = append(out, Unjudged{Fan: d.Fan, Since: base})
	}
	slices.SortFunc(out, func(a, b Unjudged) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Fan, b.Fan))
	})
	return out[:min(len(out), MaxUnjudged)]
}
