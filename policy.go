package fanwatch

import (
	"cmp"
	"fmt"
	"time"
)

// Policy is an escalation policy: the steps by which an alert is notified until it is acknowledged. Package policy
// reads it from a policy file.
type Policy struct {
	V     int    `json:"v"`
	Name  string `json:"name"`
	Steps []Step `json:"steps"` // 1 to 20
	// AckTimeout is how long an acknowledged alert may stay unresolved before the last step is repeated; at least 1 s,
	// 0 = for ever.
	AckTimeout Duration `json:"ack_timeout,omitempty"`
	// Hold is how long trouble must stay away before the alert resolves; 1 s to MaxHold, 0 = DefaultHold,
	// negative = none.
	Hold Duration `json:"hold,omitempty"`
	// Info says who reads of alerts of SeverityInfo, which no step notifies. nil = they are shown and never sent.
	Info *Morning `json:"info,omitempty"`

	// What follows is set of a policy that is resolved for one alert at one time; a policy file does not hold it.

	Route     string    `json:"route,omitempty"`     // name of the route that chose the policy
	Severity  Severity  `json:"severity,omitempty"`  // in place of the judge's; "" = as judged
	NotBefore time.Time `json:"not_before,omitzero"` // nothing is notified before; zero: at once
	Because   string    `json:"because,omitempty"`   // why NotBefore: quiet hours, or a maintenance
	Incident  string    `json:"incident,omitempty"`  // ID of the incident that notifies in its place; "" = none
	Links     Links     `json:"links,omitzero"`
}

// Morning is one message a day to each topic, with all that was found since the one before. Without anything found
// none is sent.
type Morning struct {
	Notify []string `json:"notify"`         // channels, and SNS topics by name or ARN, 1 to MaxTopics
	At     string   `json:"at,omitempty"`   // time of day as 15:04; "" = 08:00
	Zone   string   `json:"zone,omitempty"` // IANA zone of At; "" = UTC
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
	After  Duration `json:"after"`            // wait after the step before, or after the opening
	Notify []string `json:"notify"`           // channels, and SNS topics by name or ARN, 1 to MaxTopics
	Repeat int      `json:"repeat,omitempty"` // further notifications of the step, 0 to 100
	Every  Duration `json:"every,omitempty"`  // time between two of them; at least 1 s
}

// MaxHold is the longest Hold.
const MaxHold = 24 * time.Hour

// MaxTopics is the largest number of names that one step notifies.
const MaxTopics = 100
