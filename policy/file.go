// Package policy reads the policy file: who is notified of an alert, over which channels and when. It resolves it for
// one alert at one time into the escalation policy that the alert goes by.
package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"fanwatch"
	"fanwatch/notify"
)

// FileVersion is the version of the policy file that this program reads beside version 1, in which each document is a
// policy whose notify names SNS topics.
const FileVersion = 2

// File is a policy file. It is not changed after [Parse], and safe for concurrent use.
type File struct {
	V         int                      `yaml:"version"`
	Zone      string                   `yaml:"zone"` // IANA zone of every time of day without one; "" = UTC
	People    map[string]Person        `yaml:"people"`
	Channels  map[string]notify.Config `yaml:"channels"`
	Schedules map[string]Schedule      `yaml:"schedules"`
	Policies  map[string]Policy        `yaml:"policies"`
	Routes    []Route                  `yaml:"routes"`
	Runbooks  map[fanwatch.Kind]string `yaml:"runbooks"` // addresses by kind
	Links     Links                    `yaml:"links"`
}

// Person is notified over all of their channels.
type Person struct {
	Zone     string   `yaml:"zone"` // "" = that of the file
	Channels []string `yaml:"channels"`
}

// Policy is an escalation policy as it stands in the file.
type Policy struct {
	Steps      []fanwatch.Step   `yaml:"steps"`
	AckTimeout Timeouts          `yaml:"ack_timeout"`
	Hold       fanwatch.Duration `yaml:"hold"`
	Quiet      *Quiet            `yaml:"quiet"`
	Info       *fanwatch.Morning `yaml:"info"`
}

// Timeouts are the times after which an acknowledged alert notifies again. A duration alone is that of both; a negative
// one is none.
type Timeouts struct {
	Critical fanwatch.Duration `yaml:"critical"` // 0 = 30 min
	Warning  fanwatch.Duration `yaml:"warning"`  // 0 = 4 h
}

// UnmarshalText reads a duration for both severities.
func (t *Timeouts) UnmarshalText(b []byte) error {
	var d fanwatch.Duration
	if err := d.UnmarshalText(b); err != nil {
		return err
	}
	if d == 0 {
		d = -1
	}
	t.Critical, t.Warning = d, d
	return nil
}

const (
	ackCritical = fanwatch.Duration(30 * time.Minute)
	ackWarning  = fanwatch.Duration(4 * time.Hour)
)

// of returns the time-out for a severity; 0 = none.
func (t Timeouts) of(s fanwatch.Severity) fanwatch.Duration {
	d, standard := t.Critical, ackCritical
	switch s {
	case fanwatch.SeverityInfo:
		return 0
	case fanwatch.SeverityWarning:
		d, standard = t.Warning, ackWarning
	}
	if d == 0 {
		d = standard
	}
	return max(0, d)
}

// Quiet is a time of day in which alerts of some severities wait. Critical ones never do.
type Quiet struct {
	From string `yaml:"from"` // 15:04
	To   string `yaml:"to"`   // 15:04; before From: on the next day
	Zone string `yaml:"zone"` // "" = that of the file
}

// Route chooses a policy for the alerts that match it; the first that matches holds. The policy that a device names
// stands before all routes.
type Route struct {
	Name     string            `yaml:"name"`
	Match    Match             `yaml:"match"`
	Policy   string            `yaml:"policy"`   // "" = default
	Severity fanwatch.Severity `yaml:"severity"` // in place of the judge's; "" = as judged
}

// Match says which alerts a route is for: those that match every field that is set.
type Match struct {
	Site     string              `yaml:"site"` // a pattern of path.Match, or the beginning up to a comma
	Fan      string              `yaml:"fan"`  // a pattern of path.Match
	Severity []fanwatch.Severity `yaml:"severity"`
	Kind     []fanwatch.Kind     `yaml:"kind"`
	Hours    string              `yaml:"hours"` // such as 22:00-06:00
	Zone     string              `yaml:"zone"`  // of Hours; "" = that of the file
}

// Links are the addresses that notifications lead to.
type Links struct {
	Dashboard string `yaml:"dashboard"` // such as https://fans.example.org
	Temporal  string `yaml:"temporal"`  // such as https://temporal.example.org/namespaces/default
}

// Channel returns the configuration of a channel; ok is false where the file has none of that name, which then is an
// SNS topic.
func (f *File) Channel(name string) (c notify.Config, ok bool) {
	c, ok = f.Channels[name]
	c.Name = name
	if c.Zone == "" {
		c.Zone = f.zoneOf(name)
	}
	return c, ok
}

// zoneOf returns the zone of the person whose channel it is, or that of the file.
func (f *File) zoneOf(channel string) string {
	for _, name := range slices.Sorted(maps.Keys(f.People)) {
		if p := f.People[name]; p.Zone != "" && slices.Contains(p.Channels, channel) {
			return p.Zone
		}
	}
	return f.Zone
}

// names returns the channels that a name of notify stands for at a time.
func (f *File) names(name string, at time.Time) []string {
	if s, ok := f.Schedules[name]; ok {
		who, _ := s.onCall(at, f.Zone)
		return f.names(who, at)
	}
	if p, ok := f.People[name]; ok {
		return p.Channels
	}
	return []string{name}
}

func (f *File) expand(names []string, at time.Time) []string {
	var all []string
	for _, name := range names {
		for _, c := range f.names(name, at) {
			if !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
	}
	return all
}

// ErrNoPolicy says that the file has neither the policy that is asked for nor one named default.
var ErrNoPolicy = errors.New("there is no escalation policy of that name, nor one named default")

// Resolve returns the policy that an alert goes by at a time: the device's own, that of the first route that matches,
// or default; with the channels of those who are on call.
func (f *File) Resolve(a fanwatch.Alert, at time.Time) (fanwatch.Policy, error) {
	name, route := a.Policy, Route{}
	for _, r := range f.Routes {
		if r.Match.matches(a, at, f.Zone) {
			route = r
			break
		}
	}
	if _, ok := f.Policies[name]; !ok {
		name = route.Policy
	}
	p, ok := f.Policies[name]
	if !ok {
		name = "default"
		if p, ok = f.Policies[name]; !ok {
			return fanwatch.Policy{}, fmt.Errorf("%q: %w: give the worker a policy file", a.Policy, ErrNoPolicy)
		}
	}
	severity := a.Weighed()
	if route.Severity != "" {
		severity = route.Severity
	}
	out := fanwatch.Policy{V: fanwatch.PolicyVersion, Name: name, Hold: p.Hold, AckTimeout: p.AckTimeout.of(severity),
		Route: route.Name, Severity: route.Severity, Info: f.info(p, at)}
	for _, s := range p.Steps {
		s.Notify = f.expand(s.Notify, at)
		out.Steps = append(out.Steps, s)
	}
	if f.V == 1 {
		out.AckTimeout = p.AckTimeout.Critical
	}
	if p.Quiet != nil && severity == fanwatch.SeverityWarning {
		if end, quiet := span(p.Quiet.From, p.Quiet.To, zone(p.Quiet.Zone, f.Zone), at); quiet {
			out.NotBefore = end
			out.Because = "quiet hours until " + end.In(zone(p.Quiet.Zone, f.Zone)).Format("15:04 MST")
		}
	}
	out.Links = f.links(a)
	return out, nil
}

func (f *File) info(p Policy, at time.Time) *fanwatch.Morning {
	if p.Info == nil {
		return nil
	}
	m := *p.Info
	m.Notify = f.expand(m.Notify, at)
	if m.Zone == "" {
		m.Zone = f.Zone
	}
	return &m
}

// Resolved returns every policy with the channels of those who are on call at a time, by name.
func (f *File) Resolved(at time.Time) map[string]fanwatch.Policy {
	all := map[string]fanwatch.Policy{}
	for name := range f.Policies {
		p, err := f.Resolve(fanwatch.Alert{Policy: name, Severity: fanwatch.SeverityCritical}, at)
		if err == nil {
			all[name] = p
		}
	}
	return all
}
