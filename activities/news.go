package activities

import (
	"crypto/md5"
	"fmt"
	"math/big"
	"time"

	"fanwatch"
	"fanwatch/detect"
)

// news collects what the fans' workflows have to be told: every change of state, the state at the first
// reading after a start or a silence, and silence itself. It is not part of a snapshot: after a crash the
// same is told again, and a workflow ignores what it has heard.
type news struct {
	since time.Time                         // silence counts from here at the earliest
	told  map[string]fanwatch.Kind          // what each fan's workflow was told last, by this attempt
	heard map[string]time.Time              // when each fan's newest reading came
	sent  map[string]time.Time              // when each fan was told last
	queue map[string][]fanwatch.Observation // not yet told
	order []string                          // fans with a queue, in order
}

func newNews(now time.Time) news {
	return news{since: now, told: map[string]fanwatch.Kind{}, heard: map[string]time.Time{}, sent: map[string]time.Time{},
		queue: map[string][]fanwatch.Observation{}}
}

// add takes what came of one record.
func (n *news) add(m *detect.Models, out detect.Output, now time.Time) {
	for _, o := range out.Observations {
		n.push(o)
	}
	for _, row := range out.Rows {
		if row.Kind == fanwatch.Configured {
			delete(n.told, row.Fan) // a fan that was retired and is provisioned again has a workflow that has heard nothing
		}
		if row.Kind != fanwatch.Scored && row.Kind != fanwatch.Late {
			continue
		}
		n.heard[row.Fan] = now
		if kind, ok := n.told[row.Fan]; !ok || kind == fanwatch.Silent {
			if o, ok := m.Last(row.Fan); ok {
				n.push(o)
			}
		}
	}
}

func (n *news) push(o fanwatch.Observation) {
	if kind, ok := n.told[o.Fan]; ok && kind == o.Anomaly.Kind {
		return
	}
	n.told[o.Fan] = o.Anomaly.Kind
	if len(n.queue[o.Fan]) == 0 {
		n.order = append(n.order, o.Fan)
	}
	n.queue[o.Fan] = append(n.queue[o.Fan], o)
}

// silence finds the fans that have sent nothing for too long. Call it only when everything on the shard
// was read.
func (n *news) silence(m *detect.Models, now time.Time) {
	for _, name := range m.Fans() {
		d, _ := m.Device(name)
		last, ok := m.Last(name)
		since := n.heard[name]
		if since.Before(n.since) {
			since = n.since
		}
		after := d.SilenceAfter()
		if !ok || d.Retired || after == 0 || now.Sub(since) < after {
			continue
		}
		last.Anomaly = fanwatch.Anomaly{Kind: fanwatch.Silent,
			Why: fmt.Sprintf("%s has sent no reading for %s: its publisher, its power or its network is down.", name, after)}
		n.push(last)
	}
}

// due takes out what may be told now: one change per fan and second, or everything.
func (n *news) due(now time.Time, all bool) []fanwatch.Observation {
	var out []fanwatch.Observation
	rest := n.order[:0]
	for _, fan := range n.order {
		q := n.queue[fan]
		if all {
			out, q = append(out, q...), nil
			n.sent[fan] = now
		} else if now.Sub(n.sent[fan]) >= time.Second {
			out, q = append(out, q[0]), q[1:]
			n.sent[fan] = now
		}
		if n.queue[fan] = q; len(q) > 0 {
			rest = append(rest, fan)
		} else {
			delete(n.queue, fan)
		}
	}
	n.order = rest
	return out
}

func partitionHash(key string) *big.Int {
	sum := md5.Sum([]byte(key))
	return new(big.Int).SetBytes(sum[:])
}
