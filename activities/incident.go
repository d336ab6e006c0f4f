package activities

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"fanwatch"
)

// Joiner is an alert as it joins an incident.
type Joiner struct {
	fanwatch.Member
	Severity fanwatch.Severity `json:"severity"` // as the policy has it
	Site     string            `json:"site,omitempty"`
	Policy   string            `json:"policy,omitempty"` // name of the escalation policy of its fan
}

// Joining tells the incident of a group of alerts that are part of it.
type Joining struct {
	Key    string         `json:"key"`             // of the group
	Site   string         `json:"site,omitempty"`  // of the group
	Alerts []Joiner       `json:"alerts"`          // at most maxJoining
	Fans   int            `json:"fans,omitempty"`  // of the group; 0 = not known
	Sites  map[string]int `json:"sites,omitempty"` // number of fans by the sites of Alerts
}

// IncidentStatus is an incident as its workflow shows it.
type IncidentStatus struct {
	V        int       `json:"v"`
	Alert    string    `json:"alert,omitempty"` // ID of the alert that notifies of it; "" = none does
	First    time.Time `json:"first"`           // opening of the earliest alert that joined
	Last     time.Time `json:"last"`            // opening of the newest
	Sites    []string  `json:"sites,omitempty"` // of the fans that joined, at most MaxIncidentSites, in order of arrival
	Troubled int       `json:"troubled"`        // fans whose trouble goes on
	Joined   int       `json:"joined"`          // fans that joined
}

// MaxIncidentSites is the number of sites that an incident keeps by name. Of one with so many every site counts as one
// of its own.
const MaxIncidentSites = 50

// Incidents is what a [Grouper] needs of the workflows.
type Incidents interface {
	// AlertsBetween returns the alerts whose workflows started from one time on and before another.
	AlertsBetween(ctx context.Context, from, to time.Time) ([]fanwatch.Alert, error)
	// Fans returns the status of every fan.
	Fans(ctx context.Context) ([]fanwatch.FanStatus, error)
	// Incident returns the status of the incident of a group; ok is false when none runs.
	Incident(ctx context.Context, key string) (s IncidentStatus, ok bool, err error)
	// Join tells the incident of the group, which it starts when none runs, and returns its workflow's ID.
	Join(ctx context.Context, j Joining) (id string, err error)
	// AlertsOver returns those of the alerts whose trouble is over, or whose workflows have ended.
	AlertsOver(ctx context.Context, ids []string) ([]string, error)
}

// Grouper says which alerts are part of an incident. It keeps what this process planned, because Temporal lists a
// workflow up to seconds after its start. Safe for concurrent use; copies are not.
type Grouper struct {
	System Incidents
	Now    fanwatch.Clock

	mu     sync.Mutex
	groups map[string]*group

	listMu sync.Mutex // held while alerts are listed, so that many alerts make one list
	listed []fanwatch.Alert
	listAt time.Time

	fanMu sync.Mutex     // held while fans are listed
	fans  map[string]int // by site
	fanAt time.Time
}

// group is what a process knows of the alerts of one group.
type group struct {
	fanwatch.Group
	alone  map[string]Joiner // by alert ID: planned of late, not part of an incident
	joined map[string]Joiner // of late, part of one
	pruned time.Time

	status  IncidentStatus // of the incident
	runs    bool           // it ran at asked
	asked   time.Time
	told    string // ID of the incident that took alerts last
	toldAt  time.Time
	waiting []*joinCall
	sending bool
}

// joinCall is a call that waits for its alerts to be sent.
type joinCall struct {
	alerts []Joiner
	done   chan struct{} // closed when id and err are set
	id     string
	err    error
}

const (
	groupFresh = 2 * time.Second  // age up to which a list of alerts, or an incident's status, is used again
	fansFresh  = time.Minute      // the same of the number of fans
	groupKeep  = 2 * time.Minute  // time for which alerts that were planned are kept
	joinFor    = 10 * time.Second // bound of one Join
	maxJoining = 200              // alerts of one Joining
	groupFor   = 10 * time.Second // bound of one Group in a plan
)

// Group returns the ID of the incident of which the alert is part, and "" for one that notifies by itself: of
// SeverityInfo, held back until later, or one of fewer than IncidentQuorum fans. An alert that makes an incident takes
// those with it that were opened within IncidentWithin of it. p is the alert's policy as resolved. Calling it again for
// an alert changes nothing but for a later incident. An alert stays what it was part of while that cannot be asked.
func (g *Grouper) Group(ctx context.Context, a fanwatch.Alert, p fanwatch.Policy) (string, error) {
	of, ok := fanwatch.GroupOf(a.Site, a.Kind)
	now := g.Now()
	j := joiner(a)
	j.Severity = cmp.Or(p.Severity, j.Severity)
	if !ok || j.Severity == fanwatch.SeverityInfo || a.Fan == fanwatch.CanaryFan || p.NotBefore.After(now) {
		return "", nil
	}
	s := g.plan(of, j, now)
	listed, part, err := g.outside(ctx, s, j, now)
	var id string
	if err == nil && part {
		id, err = g.join(ctx, s, j, listed)
	}
	if err != nil && a.Incident != "" {
		return a.Incident, nil
	}
	return id, err
}

// incident returns the ID of the incident of which an alert is part. Where that cannot be found out it stays what it
// was, and the next plan asks again: an alert that was part of none notifies by itself.
func (n *Notifier) incident(ctx context.Context, a fanwatch.Alert, p fanwatch.Policy) string {
	if n.Incidents == nil {
		return ""
	}
	limited, cancel := context.WithTimeout(ctx, groupFor)
	defer cancel()
	id, err := n.Incidents.Group(limited, a, p)
	if err != nil {
		activity.GetLogger(ctx).Error("an alert was not grouped, its next plan tries again", "alert", a.ID, "err", err)
		return a.Incident
	}
	return id
}

func joiner(a fanwatch.Alert) Joiner {
	return Joiner{Member: fanwatch.Member{Alert: a.ID, Fan: a.Fan, Kind: a.Kind, Opened: a.Opened},
		Severity: a.Weighed(), Site: a.Site, Policy: a.Policy}
}

// plan keeps the alert as one that is being planned.
func (g *Grouper) plan(of fanwatch.Group, j Joiner, now time.Time) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.groups == nil {
		g.groups = map[string]*group{}
	}
	s := g.groups[of.Key]
	if s == nil {
		s = &group{Group: of, alone: map[string]Joiner{}, joined: map[string]Joiner{}}
		g.groups[of.Key] = s
	}
	if now.Sub(s.pruned) > groupKeep {
		s.pruned = now
		for _, all := range []map[string]Joiner{s.alone, s.joined} {
			for id, old := range all {
				if now.Sub(old.Opened) > groupKeep {
					delete(all, id)
				}
			}
		}
	}
	if _, known := s.joined[j.Alert]; !known {
		s.alone[j.Alert] = j
	}
	return s
}

// outside reports whether the alert is part of an incident. What this process planned decides first; then the incident
// that runs, and at last the alerts that Temporal lists, which it returns.
func (g *Grouper) outside(ctx context.Context, s *group, j Joiner, now time.Time) (listed []fanwatch.Alert, part bool,
	err error) {
	if g.quorum(s, j, nil) {
		return nil, true, nil
	}
	if part, err = g.runs(ctx, s, j, now); err != nil || part {
		return nil, part, err
	}
	if now.Sub(j.Opened) <= groupKeep {
		if listed, err = g.list(ctx, s, now); err != nil {
			return nil, false, err
		}
	}
	return listed, g.quorum(s, j, listed), nil
}

// quorum reports whether the alerts opened within IncidentWithin of j are of IncidentQuorum fans.
func (g *Grouper) quorum(s *group, j Joiner, listed []fanwatch.Alert) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	fans := map[string]bool{j.Fan: true}
	count := func(other Joiner) bool {
		if near(j, other) {
			fans[other.Fan] = true
		}
		return len(fans) >= fanwatch.IncidentQuorum
	}
	for _, all := range []map[string]Joiner{s.joined, s.alone} {
		for _, other := range all {
			if count(other) {
				return true
			}
		}
	}
	return slices.ContainsFunc(listed, func(a fanwatch.Alert) bool { return count(joiner(a)) })
}

func near(a, b Joiner) bool { return a.Opened.Sub(b.Opened).Abs() <= fanwatch.IncidentWithin }

// runs reports whether an incident of the group runs that takes the alert: one whose alerts were opened about when it
// was, at the same place.
func (g *Grouper) runs(ctx context.Context, s *group, j Joiner, now time.Time) (bool, error) {
	g.mu.Lock()
	status, runs, fresh := s.status, s.runs, now.Sub(s.asked).Abs() <= groupFresh
	g.mu.Unlock()
	if !fresh {
		var err error
		if status, runs, err = g.System.Incident(ctx, s.Key); err != nil {
			return false, err
		}
		g.mu.Lock()
		s.status, s.runs, s.asked = status, runs, now
		g.mu.Unlock()
	}
	return runs && !j.Opened.Before(status.First.Add(-fanwatch.IncidentWithin)) &&
		!j.Opened.After(status.Last.Add(fanwatch.IncidentYoung)) &&
		(slices.Contains(status.Sites, j.Site) || len(status.Sites) >= MaxIncidentSites), nil
}

// list returns the alerts of the group that are open and started of late.
func (g *Grouper) list(ctx context.Context, s *group, now time.Time) ([]fanwatch.Alert, error) {
	g.listMu.Lock()
	defer g.listMu.Unlock()
	if now.Sub(g.listAt).Abs() > groupFresh {
		// A server's clock may be ahead of this process's.
		all, err := g.System.AlertsBetween(ctx, now.Add(-groupKeep), now.Add(fanwatch.IncidentWithin))
		if err != nil {
			return nil, err
		}
		g.listed, g.listAt = all, now
	}
	var listed []fanwatch.Alert
	for _, a := range g.listed {
		of, ok := fanwatch.GroupOf(a.Site, a.Kind)
		if ok && of.Key == s.Key && a.Weighed() != fanwatch.SeverityInfo && !a.NotBefore.After(now) &&
			(a.State == fanwatch.AlertOpen || a.State == fanwatch.AlertAcknowledged) {
			listed = append(listed, a)
		}
	}
	return listed, nil
}

// join tells the incident of the alert and of those beside it that are part of none, and returns the incident's ID.
// While one call to the incident is under way further alerts wait, and go with the next.
func (g *Grouper) join(ctx context.Context, s *group, j Joiner, listed []fanwatch.Alert) (string, error) {
	c := &joinCall{done: make(chan struct{}), alerts: []Joiner{j}}
	g.mu.Lock()
	for _, other := range s.alone {
		if other.Alert != j.Alert && near(j, other) && len(c.alerts) < maxJoining {
			c.alerts = append(c.alerts, other)
		}
	}
	for _, a := range listed {
		_, joined := s.joined[a.ID]
		_, alone := s.alone[a.ID]
		if a.Incident == "" && !joined && !alone && near(j, joiner(a)) && len(c.alerts) < maxJoining {
			c.alerts = append(c.alerts, joiner(a))
		}
	}
	for _, a := range c.alerts {
		s.joined[a.Alert] = a
		delete(s.alone, a.Alert)
	}
	s.waiting = append(s.waiting, c)
	if !s.sending {
		s.sending = true
		go g.send(context.WithoutCancel(ctx), s)
	}
	g.mu.Unlock()
	select {
	case <-c.done:
		return c.id, c.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.told != "" && g.Now().Sub(s.toldAt) < fanwatch.IncidentWithin {
		return s.told, nil // it runs and notifies; it is told of the alert later
	}
	return "", ctx.Err()
}

// send tells the incident of all that waits.
func (g *Grouper) send(ctx context.Context, s *group) {
	for {
		var calls []*joinCall
		in := Joining{Key: s.Key, Site: s.Site}
		g.mu.Lock()
		for len(s.waiting) > 0 && (len(calls) == 0 || len(in.Alerts)+len(s.waiting[0].alerts) <= maxJoining) {
			in.Alerts = append(in.Alerts, s.waiting[0].alerts...)
			calls, s.waiting = append(calls, s.waiting[0]), s.waiting[1:]
		}
		s.sending = len(calls) > 0
		g.mu.Unlock()
		if len(calls) == 0 {
			return
		}
		limited, cancel := context.WithTimeout(ctx, joinFor)
		g.count(limited, &in)
		id, err := g.System.Join(limited, in)
		cancel()
		g.mu.Lock()
		s.asked = time.Time{}
		if err == nil {
			s.told, s.toldAt = id, g.Now()
		}
		for _, a := range in.Alerts {
			if err != nil {
				s.alone[a.Alert] = a
				delete(s.joined, a.Alert)
			}
		}
		g.mu.Unlock()
		for _, c := range calls {
			c.id, c.err = id, err
			close(c.done)
		}
	}
}

// count sets the numbers of fans. They stay 0 while the fans cannot be listed.
func (g *Grouper) count(ctx context.Context, in *Joining) {
	g.fanMu.Lock()
	defer g.fanMu.Unlock()
	if now := g.Now(); now.Sub(g.fanAt).Abs() > fansFresh {
		all, err := g.System.Fans(ctx)
		if err != nil {
			return
		}
		g.fans, g.fanAt = map[string]int{}, now
		for _, f := range all {
			g.fans[f.Device.Site]++
		}
	}
	in.Sites = map[string]int{}
	for _, a := range in.Alerts {
		in.Sites[a.Site] = g.fans[a.Site]
	}
	for site, n := range g.fans {
		if of, _ := fanwatch.GroupOf(site, fanwatch.KindStall); of.Key == in.Key || in.Key == fanwatch.GroupSilent.Key {
			in.Fans += n
		}
	}
}

// MembersOver returns those of the alerts whose trouble is over, or whose workflows have ended, without their telling
// the incident.
func (g *Grouper) MembersOver(ctx context.Context, alerts []string) ([]string, error) {
	return g.System.AlertsOver(ctx, alerts)
}
