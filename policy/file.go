// Package policy reads the policy file and says by it who is told of an alert at a time: routes choose an escalation
// policy, schedules the persons on call, persons their channels.
package policy

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"fanwatch"
	"fanwatch/notify"
)

// File is a policy file that has been checked. It does not change, and is safe for concurrent use.
type File struct {
	zone      *time.Location
	people    map[string]person
	channels  map[string]channel
	schedules map[string]schedule
	policies  map[string]rules
	routes    []route
	runbooks  map[fanwatch.Kind]string
	links     fanwatch.Links // base URLs, without slashes at their ends
	warnings  Problems
}

type person struct {
	line     int
	zone     *time.Location // nil = the file's
	channels []text
}

type channel struct {
	line int
	notify.Config
}

// rules are an escalation policy as the file has it.
type rules struct {
	line  int
	steps []step
	// ack has the acknowledge time-out by severity; 0 = never.
	ack   map[fanwatch.Severity]fanwatch.Duration
	hold  fanwatch.Duration
	quiet *quiet
	info  *morning
}

type step struct {
	line   int
	after  fanwatch.Duration
	notify []text
	repeat int
	every  fanwatch.Duration
}

type morning struct {
	notify []text
	at     string
	zone   *time.Location
}

// route chooses a policy and a severity. Each of its lists matches when it is empty or one of its entries does.
type route struct {
	line                                      int
	name                                      string
	sites, tags, models, fans, kinds, weights []text // weights are severities, as judged
	hours                                     fanwatch.Hours
	zone                                      *time.Location
	policy                                    string // "" = default
	severity                                  fanwatch.Severity
}

const defaultPolicy = "default"

// Resolve returns the policy by which the alert goes at the time: the one that its device names, else that of the first
// route that matches, else the one named default. Its steps name channels, and SNS topics where the file has no channel
// of that name. A route's severity holds also then. A device's policy that the file does not have counts
// as none.
func (f *File) Resolve(a fanwatch.Alert, at time.Time) (fanwatch.Policy, error) {
	r := f.route(a, at)
	name := cmp.Or(r.policy, defaultPolicy)
	if _, ok := f.policies[a.Policy]; ok {
		name = a.Policy
	}
	own, ok := f.policies[name]
	if !ok {
		return fanwatch.Policy{}, fmt.Errorf("the policy file has no policy named %.60q: add one", name)
	}
	severity := cmp.Or(r.severity, judged(a))
	p := f.expand(name, own, severity, at)
	p.Route, p.Severity, p.Links = r.name, r.severity, f.linksOf(a)
	if q := own.quiet; q != nil && slices.Contains(q.severities, string(severity)) {
		if end, ok := q.until(at); ok {
			p.NotBefore = end.UTC()
			p.Because = fmt.Sprintf("quiet hours until %s", end.Format("15:04 MST (2006-01-02)"))
		}
	}
	return p, nil
}

// judged returns the severity that the judge gave, whatever a route made of it since.
func judged(a fanwatch.Alert) fanwatch.Severity {
	if a.Anomaly.Kind != fanwatch.KindNone {
		return a.Anomaly.Weighed()
	}
	return a.Weighed()
}

// expand returns the policy as it is at the time for alerts of that severity; "" = the gravest.
func (f *File) expand(name string, own rules, severity fanwatch.Severity, at time.Time) fanwatch.Policy {
	p := fanwatch.Policy{V: fanwatch.PolicyVersion, Name: name, Hold: own.hold,
		AckTimeout: own.ack[cmp.Or(severity, fanwatch.SeverityCritical)]}
	for _, s := range own.steps {
		p.Steps = append(p.Steps, fanwatch.Step{After: s.after, Notify: f.channelNames(s.notify, at), Repeat: s.repeat,
			Every: s.every})
	}
	if m := own.info; m != nil {
		p.Info = &fanwatch.Morning{Notify: f.channelNames(m.notify, at), At: m.at, Zone: m.zone.String()}
	}
	return p
}

// Policies returns all policies by name as they are at the time, for alerts of SeverityCritical.
func (f *File) Policies(at time.Time) map[string]fanwatch.Policy {
	all := make(map[string]fanwatch.Policy, len(f.policies))
	for name, own := range f.policies {
		all[name] = f.expand(name, own, fanwatch.SeverityCritical, at)
	}
	return all
}

// Recipient is a channel that a step notifies, and why it does.
type Recipient struct {
	Channel  string `json:"channel"`            // its name, or that of an SNS topic
	Sort     string `json:"sort"`               // sns, mail, webhook, slack, teams or pagerduty
	Person   string `json:"person,omitempty"`   // whose channel it is; "" = the step names it itself
	Schedule string `json:"schedule,omitempty"` // by which the person is on call
}

// recipients returns the channels of names at the time, each once.
func (f *File) recipients(names []text, at time.Time) []Recipient {
	var all []Recipient
	add := func(r Recipient) {
		if !slices.ContainsFunc(all, func(other Recipient) bool { return other.Channel == r.Channel }) {
			c, _ := f.Channel(r.Channel)
			r.Sort = c.Sort()
			all = append(all, r)
		}
	}
	for _, name := range names {
		who, schedule := name.string, ""
		if s, ok := f.schedules[who]; ok {
			who, schedule = s.at(at).Person, who
		}
		p, ok := f.people[who]
		if !ok {
			add(Recipient{Channel: who})
			continue
		}
		for _, c := range p.channels {
			add(Recipient{Channel: c.string, Person: who, Schedule: schedule})
		}
	}
	return all
}

func (f *File) channelNames(names []text, at time.Time) (out []string) {
	for _, r := range f.recipients(names, at) {
		out = append(out, r.Channel)
	}
	return out
}

// Channel returns the channel of that name, with Zone set: its own, else that of the first person (by name) whose it
// is, else the file's. ok is false where the file has none of that name; then it is the SNS topic of that name or ARN.
func (f *File) Channel(name string) (c notify.Config, ok bool) {
	known, ok := f.channels[name]
	c = known.Config
	if !ok {
		c.SNS = &notify.SNS{Topic: name}
	}
	c.Name = name
	for _, who := range slices.Sorted(maps.Keys(f.people)) {
		p := f.people[who]
		mine := slices.ContainsFunc(p.channels, func(t text) bool { return t.string == name })
		if c.Zone == "" && p.zone != nil && mine {
			c.Zone = p.zone.String()
		}
	}
	c.Zone = cmp.Or(c.Zone, f.zone.String())
	return c, ok
}

// Channels returns the names of all channels that the file configures, sorted. SNS topics that stand for themselves are
// not among them.
func (f *File) Channels() []string { return slices.Sorted(maps.Keys(f.channels)) }

// Topics returns the SNS topics, by name or ARN, that the policies notify at any time, each with the sorted names of
// the policies that do.
func (f *File) Topics() map[string][]string {
	named := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(f.policies)) {
		for _, c := range f.reached(f.policies[name]) {
			config, _ := f.Channel(c)
			if config.SNS != nil && !slices.Contains(named[config.SNS.Topic], name) {
				named[config.SNS.Topic] = append(named[config.SNS.Topic], name)
			}
		}
	}
	return named
}

// reached returns the channels that a policy notifies at any time.
func (f *File) reached(own rules) (all []string) {
	var names []text
	for _, s := range own.steps {
		names = append(names, s.notify...)
	}
	if own.info != nil {
		names = append(names, own.info.notify...)
	}
	for _, name := range names {
		who := []text{name}
		if s, ok := f.schedules[name.string]; ok {
			who = slices.Clone(s.people)
			for _, o := range s.overrides {
				who = append(who, o.who)
			}
		}
		all = append(all, f.channelNames(who, time.Time{})...) // names of persons and channels are the same at any time
	}
	return all
}

// Warnings returns what may be a mistake and is none for certain.
func (f *File) Warnings() Problems { return f.warnings }

// Time reads a time as 2026-12-24T09:00:00+01:00, or in the file's zone as 2026-12-24 09:00 or 2026-12-24.
func (f *File) Time(text string) (time.Time, error) {
	t, err := moment(text, f.zone, false)
	return t.In(f.zone), err
}

func (f *File) linksOf(a fanwatch.Alert) fanwatch.Links {
	links := fanwatch.Links{Runbook: f.runbooks[a.Kind]}
	if f.links.Dashboard != "" {
		links.Dashboard = f.links.Dashboard + "/#/alerts"
		if a.Fan != "" && a.Kind.Family() != fanwatch.FamilySystem {
			links.Dashboard = f.links.Dashboard + "/#/fan/" + url.PathEscape(a.Fan)
		}
	}
	if f.links.Temporal != "" && a.ID != "" {
		links.Temporal = f.links.Temporal + "/workflows/" + url.PathEscape(a.ID)
	}
	return links
}

// route returns the first route that matches; without one it is empty.
func (f *File) route(a fanwatch.Alert, at time.Time) route {
	for _, r := range f.routes {
		if r.matches(a, at) {
			return r
		}
	}
	return route{}
}

func (r route) matches(a fanwatch.Alert, at time.Time) bool {
	return oneOf(r.sites, a.Site, inSite) && anyOf(r.tags, a.Tags, glob) && oneOf(r.models, a.Model, glob) &&
		oneOf(r.fans, a.Fan, glob) && oneOf(r.kinds, string(a.Kind), glob) && oneOf(r.weights, string(judged(a)), glob) &&
		r.hours.Include(at.In(r.zone))
}

// oneOf reports whether one of the patterns matches the value, or there is none.
func oneOf(patterns []text, value string, match func(pattern, value string) bool) bool {
	return anyOf(patterns, []string{value}, match)
}

func anyOf(patterns []text, values []string, match func(pattern, value string) bool) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p text) bool {
		return slices.ContainsFunc(values, func(v string) bool { return match(p.string, v) })
	})
}

// inSite reports whether the site is the pattern's, or in it: "Hall A" has "Hall A, rack 3".
func inSite(pattern, site string) bool {
	if rest, ok := strings.CutPrefix(site, pattern); ok && (rest == "" || rest[0] == ',') {
		return true
	}
	return glob(pattern, site)
}

// glob matches by * and ? and [a-z], where / is a character like another.
func glob(pattern, value string) bool {
	ok, err := path.Match(unslash(pattern), unslash(value))
	return ok && err == nil
}

func unslash(s string) string { return strings.ReplaceAll(s, "/", "\x00") }
