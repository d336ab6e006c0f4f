package activities

import (
	"cmp"
	"crypto/md5"
	"fmt"
	"math/big"
	"slices"
	"time"

	"fanwatch"
	"fanwatch/detect"
)

const (
	causeHolds   = 5 * time.Minute // readings that came unjudged are a cause of silence this long after the newest
	silenceEvery = time.Second / 2 // silence is judged, of all fans
	newsSettling = 5 * time.Second // an attempt reads for so long before a fan is silent of which it heard nothing
)

// news collects what the fans' workflows have to be told: every change of state, the state at the first reading that
// is judged after a start or a silence, and silence itself. It is not part of a snapshot: after a crash the same is
// told again, and a workflow ignores what it has heard. It is not safe for concurrent use.
type news struct {
	since  time.Time // the attempt began
	looked time.Time // silence was judged last
	caught bool      // what arrived until then was read: no earlier attempt can have told more than this one knows
	fans   map[string]*fanNews
	order  []string // fans with a queue, in order
}

// fanNews is what is to be told of one fan. Times are the scorer's.
type fanNews struct {
	kind   fanwatch.Kind  // told last, by this attempt
	cause  fanwatch.Cause // of KindSilent
	knows  bool           // anything was told
	early  bool           // that was before caught: the workflow may know better, and has ignored it
	fresh  bool           // a reading was judged at its arrival since silence was judged last
	heard  time.Time      // the newest reading judged at its arrival, or the fan's beginning; zero: neither in this attempt
	drains time.Time      // when the newest record came behind which others wait at the publisher
	age    time.Duration  // of its readings
	sent   time.Time      // when the newest change was told
	queue  []fanwatch.Observation
}

func newNews(now time.Time) news { return news{since: now, fans: map[string]*fanNews{}} }

func (n *news) fan(name string) *fanNews {
	f := n.fans[name]
	if f == nil {
		f = &fanNews{}
		n.fans[name] = f
	}
	return f
}

// add takes what came of one record.
func (n *news) add(m *detect.Models, out detect.Output, now time.Time) {
	for _, o := range out.Observations {
		if !out.Draining || o.Anomaly.Kind != fanwatch.KindNone { // that it was normal says nothing of now
			n.push(n.fan(o.Fan), o)
		}
	}
	if len(out.Rows) == 0 {
		return
	}
	row := out.Rows[len(out.Rows)-1]
	judged := slices.ContainsFunc(out.Rows, func(r fanwatch.Row) bool { return r.Kind == fanwatch.RowScored })
	switch {
	case row.Kind == fanwatch.RowConfigured:
		if h, _ := m.Heard(row.Fan); h.Judged.IsZero() && h.Since.Equal(row.Arrived) { // its life begins
			f := n.fan(row.Fan)
			f.fresh, f.knows = true, false
		}
	case judged && out.Draining:
		f := n.fan(row.Fan)
		f.drains, f.age = now, row.Arrived.Sub(row.Time)
		if f.heard.IsZero() {
			f.heard = n.since
		}
	case judged:
		f := n.fan(row.Fan)
		f.fresh, f.drains = true, time.Time{}
		o, ok := m.Last(row.Fan)
		if ok && (!f.knows || f.kind != o.Anomaly.Kind || f.early && n.caught) {
			f.knows = false
			n.push(f, o)
		}
	}
}

func (n *news) push(f *fanNews, o fanwatch.Observation) {
	if f.knows && f.kind == o.Anomaly.Kind && f.cause == o.Anomaly.Cause {
		return
	}
	f.kind, f.cause, f.knows, f.early = o.Anomaly.Kind, o.Anomaly.Cause, true, !n.caught
	if len(f.queue) == 0 {
		n.order = append(n.order, o.Fan)
	}
	f.queue = append(f.queue, o)
}

// silence finds the fans of which no reading was judged at its arrival for too long. What arrived until through was
// read; zero when nothing was read yet, then no fan is silent. It does nothing when called again within silenceEvery.
func (n *news) silence(m *detect.Models, now, through time.Time) {
	if through.IsZero() || now.Sub(n.looked) < silenceEvery {
		return
	}
	n.looked = now
	n.caught = n.caught || !through.Before(n.since)
	var found []fanwatch.Observation
	for d, h := range m.Active() {
		f := n.fan(d.Fan)
		if f.fresh {
			f.heard, f.fresh = through, false
		}
		after := d.SilenceAfter()
		base := n.base(f, h)
		if after == 0 || through.Sub(base) < after || f.heard.IsZero() && through.Sub(n.since) < newsSettling {
			continue
		}
		last, reported := m.Last(d.Fan)
		cause := f.why(h, reported, max(after, causeHolds), now, through)
		if f.knows && f.kind == fanwatch.KindSilent && f.cause == cause {
			continue
		}
		if cause == fanwatch.CauseOld && last.Anomaly.Kind.Gravity() > fanwatch.KindSilent.Gravity() {
			continue // what the old readings show is graver
		}
		if !reported {
			last.Time = h.Since
		}
		last.V, last.Fan, last.Position, last.At = fanwatch.ObservationVersion, d.Fan, h.Newest, now
		why := f.sentence(d.Fan, cause, h, base, through)
		last.Anomaly = fanwatch.Anomaly{Kind: fanwatch.KindSilent, Cause: cause, Why: why}
		found = append(found, last)
	}
	slices.SortFunc(found, func(a, b fanwatch.Observation) int { return cmp.Compare(a.Fan, b.Fan) })
	for _, o := range found {
		n.push(n.fan(o.Fan), o)
	}
}

// base gives the time from which a fan's silence counts: of what this attempt heard, else of what the models know,
// whose arrivals are by another clock and lie before the attempt's beginning, else from there.
func (n *news) base(f *fanNews, h *detect.Heard) time.Time {
	known := h.Judged
	if known.IsZero() {
		known = h.Since
	}
	switch {
	case !f.heard.IsZero():
		return f.heard
	case known.IsZero() || known.After(n.since):
		return n.since
	}
	return known
}

// why gives the cause of a fan's silence. Readings that came unjudged are one for a while.
func (f *fanNews) why(h *detect.Heard, reported bool, holds time.Duration, now, through time.Time) fanwatch.Cause {
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

// sentence tells the cause to the person who is woken.
func (f *fanNews) sentence(fan string, cause fanwatch.Cause, h *detect.Heard, base, through time.Time) string {
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

// due takes out what may be told now: one change per fan and second, or everything.
func (n *news) due(now time.Time, all bool) []fanwatch.Observation {
	var out []fanwatch.Observation
	rest := n.order[:0]
	for _, name := range n.order {
		f := n.fans[name]
		if all {
			out, f.queue = append(out, f.queue...), nil
			f.sent = now
		} else if now.Sub(f.sent) >= time.Second {
			out, f.queue = append(out, f.queue[0]), f.queue[1:]
			f.sent = now
		}
		if len(f.queue) > 0 {
			rest = append(rest, name)
		}
	}
	n.order = rest
	return out
}

// active tells how many fans are watched.
func (n *news) active(m *detect.Models) int {
	count := 0
	for range m.Active() {
		count++
	}
	return count
}

// unjudged lists the active fans of which no reading was judged at its arrival for UnjudgedAfter, those first that
// never had one, then the longest; at most MaxUnjudged.
func (n *news) unjudged(m *detect.Models, now time.Time) []Unjudged {
	var out []Unjudged
	for d, h := range m.Active() {
		f := n.fan(d.Fan)
		base := n.base(f, h)
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

func partitionHash(key string) *big.Int {
	sum := md5.Sum([]byte(key))
	return new(big.Int).SetBytes(sum[:])
}
