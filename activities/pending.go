package activities

import (
	"slices"
	"time"

	"fanwatch"
	"fanwatch/detect"
)

// pendingObservations holds the observations that are to be sent to the fans' workflows: every change of state, the
// state at the first reading that is judged after a start or a silence, and silence itself. It is not part of a
// snapshot: after a crash the same is sent again, and workflows ignore what they have. Not safe for concurrent use.
type pendingObservations struct {
	since  time.Time // when the attempt began
	looked time.Time // when silence was judged last
	caught bool      // everything that arrived before since was read: this attempt knows what earlier ones sent
	fans   map[string]*fanPending
	order  []string // fans with a queue, in the order in which they are sent
}

// fanPending is what pendingObservations holds of one fan. Times are by the scorer's clock.
type fanPending struct {
	lastSent  fanwatch.Kind  // kind of the newest observation that this attempt sent or queued
	lastCause fanwatch.Cause // its cause, with KindSilent
	known     bool           // lastSent holds; false: none was sent, or it is to be sent anew
	early     bool           // lastSent was sent before caught: the workflow may have ignored it for a later one
	fresh     bool           // a reading was judged at its arrival since silence was judged last
	// lastSeen is the arrival of the newest judged reading, or of the fan's configuration; zero: none in this attempt.
	lastSeen time.Time
	drains   time.Time              // arrival of the newest record behind which others wait at the publisher
	age      time.Duration          // age of that record's readings
	sentAt   time.Time              // when dequeue returned the newest observation
	queue    []fanwatch.Observation // to be sent, oldest first
}

func newPending(now time.Time) pendingObservations {
	return pendingObservations{since: now, fans: map[string]*fanPending{}}
}

// fan returns the entry of a fan, which it makes where there is none.
func (p *pendingObservations) fan(name string) *fanPending {
	f := p.fans[name]
	if f == nil {
		f = &fanPending{}
		p.fans[name] = f
	}
	return f
}

// add queues what the outcome of one record gives to send.
func (p *pendingObservations) add(m *detect.Models, out detect.Output, now time.Time) {
	for _, o := range out.Observations {
		if !out.Draining || o.Anomaly.Kind != fanwatch.KindNone { // an old normal reading says nothing of now
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
		if a, _ := m.Arrivals(row.Fan); a.Judged.IsZero() && a.Since.Equal(row.Arrived) { // the fan becomes active
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

// enqueue queues the observation unless its kind and cause are those that were sent last.
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

// dequeue removes and returns what may be sent now: one observation per fan and second, or with all everything.
func (p *pendingObservations) dequeue(now time.Time, all bool) []fanwatch.Observation {
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

// watched returns the number of active fans.
func (p *pendingObservations) watched(m *detect.Models) int {
	count := 0
	for range m.Active() {
		count++
	}
	return count
}
