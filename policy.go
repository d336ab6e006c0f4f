package fanwatch

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Policy is an escalation policy: the steps by which an alert is notified until it is acknowledged.
type Policy struct {
	V     int    `json:"v" yaml:"version"`
	Name  string `json:"name" yaml:"name"`
	Steps []Step `json:"steps" yaml:"steps"` // 1 to 20
	// AckTimeout is how long an acknowledged alert may stay unresolved before the last step is repeated; at least 1 s,
	// 0 = for ever.
	AckTimeout Duration `json:"ack_timeout,omitempty" yaml:"ack_timeout"`
	// Hold is how long trouble must stay away before the alert resolves; 1 s to MaxHold, 0 = DefaultHold,
	// negative = none.
	Hold Duration `json:"hold,omitempty" yaml:"hold"`
	// Info says who reads of alerts of SeverityInfo, which no step notifies. nil = they are shown and never sent.
	Info *Morning `json:"info,omitempty" yaml:"info"`

	// What follows is set of a policy that is resolved for one alert at one time; a policy file does not hold it.

	Route     string    `json:"route,omitempty" yaml:"-"`     // name of the route that chose the policy
	Severity  Severity  `json:"severity,omitempty" yaml:"-"`  // in place of the judge's; "" = as judged
	NotBefore time.Time `json:"not_before,omitzero" yaml:"-"` // nothing is notified before; zero: at once
	Because   string    `json:"because,omitempty" yaml:"-"`   // why NotBefore: quiet hours, or a maintenance
	Incident  string    `json:"incident,omitempty" yaml:"-"`  // ID of the incident that notifies in its place; "" = none
	Links     Links     `json:"links,omitzero" yaml:"-"`
}

// Morning is one message a day to each topic, with all that was found since the one before. Without anything found
// none is sent.
type Morning struct {
	Notify []string `json:"notify" yaml:"notify"`       // SNS topic names or ARNs, 1 to MaxTopics
	At     string   `json:"at,omitempty" yaml:"at"`     // time of day as 15:04; "" = 08:00
	Zone   string   `json:"zone,omitempty" yaml:"zone"` // IANA zone of At; "" = UTC
}

// after returns the first time after t at which the message is due.
func (m Morning) after(t time.Time) (time.Time, error) {
	at, err := time.Parse("15:04", cmp.Or(m.At, "08:00"))
	if err != nil {
		return time.Time{}, fmt.Errorf("at %.20q is no time of day: write it as 08:00", m.At)
	}
	zone, err := time.LoadLocation(m.Zone)
	if err != nil || m.Zone == "Local" {
		return time.Time{}, fmt.Errorf("zone %.60q is not an IANA time zone, such as Europe/Berlin", m.Zone)
	}
	y, month, d := t.In(zone).Date()
	for {
		due := time.Date(y, month, d, at.Hour(), at.Minute(), 0, 0, zone)
		if due.After(t) {
			return due, nil
		}
		d++
	}
}

// DefaultHold is the Hold of a policy whose Hold is 0.
const DefaultHold = time.Minute

// Elapsed returns the newest time up to now at which a message was due since from, which is from when none was, and the
// time of the next.
func (m Morning) Elapsed(from, now time.Time) (due, next time.Time, err error) {
	due = from
	for {
		if next, err = m.after(due); err != nil || next.After(now) {
			return due, next, err
		}
		due = next
	}
}

// HoldFor returns Hold with its default applied.
func (p Policy) HoldFor() time.Duration {
	switch {
	case p.Hold == 0:
		return DefaultHold
	case p.Hold < 0:
		return 0
	}
	return time.Duration(p.Hold)
}

// Step is one step of a [Policy]: whom to notify, and how often, while the alert is not acknowledged.
type Step struct {
	After  Duration `json:"after" yaml:"after"`             // wait after the step before, or after the opening
	Notify []string `json:"notify" yaml:"notify"`           // SNS topic names or ARNs, 1 to MaxTopics
	Repeat int      `json:"repeat,omitempty" yaml:"repeat"` // further notifications of the step, 0 to 100
	Every  Duration `json:"every,omitempty" yaml:"every"`   // time between two of them; at least 1 s
}

// MaxHold is the longest Hold that Check accepts.
const MaxHold = 24 * time.Hour

// MaxTopics is the largest number of topics of one step.
const MaxTopics = 100

// Check returns an error that names the step and the mend when the policy cannot be used.
func (p Policy) Check() error {
	if p.V != PolicyVersion {
		return fmt.Errorf("policy %.60q: version %d is unknown, this program knows %d", p.Name, p.V, PolicyVersion)
	}
	if p.Name == "" {
		return fmt.Errorf("policy without a name: add one, such as name: default")
	}
	return p.CheckSteps()
}

// CheckSteps is Check without version and name, for steps that name persons and schedules as well as topics.
func (p Policy) CheckSteps() error {
	if len(p.Steps) == 0 || len(p.Steps) > 20 {
		return fmt.Errorf("policy %.60q: %d steps, want 1 to 20", p.Name, len(p.Steps))
	}
	if p.AckTimeout != 0 && time.Duration(p.AckTimeout) < time.Second {
		return fmt.Errorf("policy %.60q: ack_timeout %s is below 1s: give 1s or more, or 0 for never", p.Name, p.AckTimeout)
	}
	if p.Hold > 0 && time.Duration(p.Hold) < time.Second || time.Duration(p.Hold) > MaxHold {
		return fmt.Errorf("policy %.60q: hold %s is outside 1s..%s: leave it out for %s, or give -1s to resolve at once",
			p.Name, p.Hold, MaxHold, DefaultHold)
	}
	for i, s := range p.Steps {
		if err := s.check(); err != nil {
			return fmt.Errorf("policy %.60q, step %d: %w", p.Name, i+1, err)
		}
	}
	if p.Info != nil {
		if err := p.Info.check(); err != nil {
			return fmt.Errorf("policy %.60q, info: %w", p.Name, err)
		}
	}
	return nil
}

func (m Morning) check() error {
	if _, err := m.after(time.Time{}); err != nil {
		return err
	}
	return checkTopics(m.Notify)
}

func (s Step) check() error {
	switch {
	case s.After < 0:
		return fmt.Errorf("after %s is negative", s.After)
	case s.Repeat < 0 || s.Repeat > 100:
		return fmt.Errorf("repeat %d is outside 0..100", s.Repeat)
	case s.Repeat > 0 && time.Duration(s.Every) < time.Second:
		return errors.New("repeat needs every: 1s or more")
	}
	return checkTopics(s.Notify)
}

func checkTopics(names []string) error {
	switch {
	case len(names) == 0:
		return errors.New("notify is empty: name at least one SNS topic")
	case len(names) > MaxTopics:
		return fmt.Errorf("notify names %d topics, at most %d are taken", len(names), MaxTopics)
	}
	for _, topic := range names {
		if err := CheckTopic(topic); err != nil {
			return err
		}
	}
	return nil
}
