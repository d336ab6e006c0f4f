package activities

import (
	"slices"
	"time"

	"fanwatch"
	"fanwatch/detect"
)

// pendingObservations holds the observations that the fans' workflows have not been sent yet: every change of
// state, the state at the first reading that is judged after a start or a silence, and silence itself. It is not
// part of a snapshot: after a crash the same is sent again, and a workflow ignores what it has had. Not safe for
// concurrent use.
type pendingObservations struct {
	since  time.Time // when the attempt began
	looked time.Time // when silence was judged last
	caught bool      // what arrived until then was read: no earlier attempt can have sent more than this one knows
	fans   map[string]*fanPending
	order  []string // fans with a queue, in order
}

// fanPending is the part of one fan. Times are by the scorer's clock.
type fanPending struct {
	lastSent  fanwatch.Kind  // the newest that this attempt sent or queued
	lastCause fanwatch.Cause // of KindSilent
	known     bool           // whether lastSent is one; false: none was, or it is to be sent anew
	// lastSent was sent before caught: the workflow may have had a later one, and has ignored it
	early bool
	fresh bool // a reading was judged at its arrival since silence was judged last
	// the newest reading judged at its arrival, or the fan's beginning; zero: none by this attempt
	lastSeen time.Time
	drains   time.Time              // when the newest record came behind which others wait at the publisher
	age      time.Duration          // of its readings
	sentAt   time.Time              // when take gave the newest
	queue    []fanwatch.Observation // to be sent, oldest first
}

func newPending(now time.Time) pendingObservations {
	return pendingObservations{since: now, fans: map[string]*fanPending{}}
}

// fan returns the part of a fan, which is made where there is none.
func (p *pendingObservations) fan(name string) *fanPending {
	f := p.fans[name]
	if f == nil {
		f = &fanPending{}
		p.fans[name] = f
	}
	return f
}

// add takes what came of one record.
func (p *pendingObservations) add(m *detect.Models, out detect.Output, now time.Time) {
	for _, o := range out.Observations {
		if !out.Draining || o.Anomaly.Kind != fanwatch.KindNone { // that it was normal says nothing of now
			p.enqueue(p.fan(o.Fan), o)
		}
	}
	if len(out.Rows) == 0 {
		return
	}
	row := out.Rows[len(out.Rows)-1]
	judged := slices.ContainsFunc(out.Rows, func(r fanwatch.Row) bool { return r.Kind == fanwatch.RowScored })
	switch {
	case row.Kind == fanwatch.RowConfigured:
		if h, _ := m.Arrivals(row.Fan); h.Judged.IsZero() && h.Since.Equal(row.Arrived) { // its life begins
			f := p.fan(row.Fan)
			f.fresh, f.known = true, false
		}
	case judged && out.Draining:
		f := p.fan(row.Fan)
		f.drains, f.age = now, row.Arrived.Sub(row.Time)
		if f.lastSeen.IsZero() {
			f.lastSeen = p.since
		}
	case judged:
		f := p.fan(row.Fan)
		f.fresh, f.drains = true, time.Time{}
		o, ok := m.Last(row.Fan)
		if ok && (!f.known || f.lastSent != o.Anomaly.Kind || f.early && p.caught) {
			f.known = false
			p.enqueue(f, o)
		}
	}
}

// enqueue queues the observation, unless it says what was sent last.
func (p *pendingObservations) enqueue(f *fanPending, o fanwatch.Observation) {
	if f.known && f.lastSent == o.Anomaly.Kind && f.lastCause == o.Anomaly.Cause {
		return
	}
	f.lastSent, f.lastCause, f.known, f.early = o.Anomaly.Kind, o.Anomaly.Cause, true, !p.caught
	if len(f.queue) == 0 {
		p.order = append(p.order, o.Fan)
	}
	f.queue = append(f.queue, o)
}

// take removes and gives what may be sent now: one observation per fan and second, or everything.
func (p *pendingObservations) take(now time.Time, all bool) []fanwatch.Observation {
	var out []fanwatch.Observation
	rest := p.order[:0]
	for _, name := range p.order {
		f := p.fans[name]
		if all {
			out, f.queue = append(out, f.queue...), nil
			f.sentAt = now
		} else if now.Sub(f.sentAt) >= time.Second {
			out, f.queue = append(out, f.queue[0]), f.queue[1:]
			f.sentAt = now
		}
		if len(f.queue) > 0 {
			rest = append(rest, name)
		}
	}
	p.order = rest
	return out
}

// watched counts the active fans.
func (p *pendingObservations) watched(m *detect.Models) int {
	count := 0
	for range m.Active() {
		count++
	}
	return count
}
