package activities

import (
	"cmp"
	"slices"
	"time"

	"fanwatch"
	"fanwatch/detect"
)

// pendingObservations holds the observations that are to be sent to the fans' workflows: every change of state or of
// what is suggested, the state at the first reading that is judged after a start or a silence, and silence itself. It
// is not part of a snapshot: after a crash the same is sent again, and workflows ignore what they have. Not safe for
// concurrent use.
type pendingObservations struct {
	since  time.Time // when the attempt began
	looked time.Time // when silence was judged last
	caught bool      // everything that arrived before since was read: this attempt knows what earlier ones sent
	fans   map[string]*fanPending
	order  []string // fans with a queue, in the order in which they are sent
}

// fanPending is what pendingObservations holds of one fan. Times are by the scorer's clock.
type fanPending struct {
	sent  map[fanwatch.Family]sentState // of each family; none: nothing was sent, or it is to be sent anew
	fresh bool                          // a reading was judged at its arrival since silence was judged last
	// lastSeen is the arrival of the newest judged reading, or of the fan's configuration; zero: none in this attempt.
	lastSeen time.Time
	drains   time.Time              // arrival of the newest record behind which others wait at the publisher
	age      time.Duration          // age of that record's readings
	sentAt   time.Time              // when dequeue returned the newest observation
	queue    []fanwatch.Observation // to be sent, oldest first
	// suggested is what the newest observation sent suggests.
	suggested []fanwatch.Suggestion
}

// sentState is the newest observation of a family that this attempt sent or queued.
type sentState struct {
	kind     fanwatch.Kind
	cause    fanwatch.Cause
	severity fanwatch.Severity
	early    bool // it was sent before caught: the workflow may have ignored it for a later one
}

// knows reports whether the newest observation sent of o's family says the same as o.
func (f *fanPending) knows(o fanwatch.Observation) bool {
	s, ok := f.sent[o.Of()]
	return ok && s.kind == o.Anomaly.Kind && s.cause == o.Anomaly.Cause && s.severity == o.Anomaly.Weighed()
}

func newPending(now time.Time) pendingObservations {
	return pendingObservations{since: now, fans: map[string]*fanPending{}}
}

// fan returns the entry of a fan, which it makes where there is none.
func (p *pendingObservations) fan(name string) *fanPending {
	f := p.fans[name]
	if f == nil {
		f = &fanPending{sent: map[fanwatch.Family]sentState{}}
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
			f.fresh = true
			clear(f.sent)
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
		p.state(f, m.States(row.Fan))
	}
}

// state queues the families of which the newest observation sent says something else than states; where all say the
// same and it suggests something else, one of them. When no family is in trouble one observation says so for all.
func (p *pendingObservations) state(f *fanPending, states []fanwatch.Observation) {
	var news []fanwatch.Observation
	trouble := false
	for _, o := range states {
		trouble = trouble || o.Anomaly.Kind != fanwatch.KindNone
		if !f.knows(o) || f.sent[o.Family].early && p.caught {
			news = append(news, o)
		}
	}
	if len(news) == 0 && len(states) > 0 && !fanwatch.SameSuggestions(f.suggested, states[0].Suggestions) {
		news = []fanwatch.Observation{slices.MaxFunc(states, func(a, b fanwatch.Observation) int {
			return cmp.Compare(a.Anomaly.Weighed().Weight(), b.Anomaly.Weighed().Weight())
		})}
	}
	if len(news) > 0 && !trouble {
		news = news[:1]
		news[0].Family = ""
	}
	for _, o := range news {
		p.push(f, o)
	}
}

// enqueue queues the observation unless its kind, cause and severity are those that were sent last.
func (p *pendingObservations) enqueue(f *fanPending, o fanwatch.Observation) {
	if !f.knows(o) {
		p.push(f, o)
	}
}

func (p *pendingObservations) push(f *fanPending, o fanwatch.Observation) {
	families := []fanwatch.Family{o.Of()}
	if families[0] == "" {
		families = fanwatch.Families()
	}
	for _, family := range families {
		f.sent[family] = sentState{o.Anomaly.Kind, o.Anomaly.Cause, o.Anomaly.Weighed(), !p.caught}
	}
	if len(f.queue) == 0 {
		p.order = append(p.order, o.Fan)
	}
	f.queue = append(f.queue, o)
	f.suggested = o.Suggestions
}

// dequeue removes and returns what may be sent now: one observation per family and second, or with all everything.
func (p *pendingObservations) dequeue(now time.Time, all bool) []fanwatch.Observation {
	var out []fanwatch.Observation
	rest := p.order[:0]
	for _, name := range p.order {
		f := p.fans[name]
		if all {
			out, f.queue = append(out, f.queue...), nil
			f.sentAt = now
		} else if now.Sub(f.sentAt) >= time.Second {
			n := f.distinct()
			out, f.queue = append(out, f.queue[:n]...), f.queue[n:]
			f.sentAt = now
		}
		if len(f.queue) > 0 {
			rest = append(rest, name)
		}
	}
	p.order = rest
	return out
}

// distinct returns how many observations at the head of the queue are of one family each.
func (f *fanPending) distinct() int {
	for i, o := range f.queue {
		if slices.ContainsFunc(f.queue[:i], func(before fanwatch.Observation) bool {
			return before.Of() == "" || o.Of() == "" || before.Of() == o.Of()
		}) {
			return i
		}
	}
	return len(f.queue)
}

// watched returns the number of active fans.
func (p *pendingObservations) watched(m *detect.Models) int {
	count := 0
	for range m.Active() {
		count++
	}
	return count
}
