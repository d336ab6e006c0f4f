package fanwatch

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// AlertVersion and PolicyVersion are the versions that this program writes. An Alert of version 1 has none of the
// fields Notices, Failed, Round, Returns and NormalFrom, and is read as one in which they are empty.
const (
	AlertVersion  = 2
	PolicyVersion = 1
)

// AlertState is how far an alert has come. Acknowledged and resolved are different things: a person
// acknowledges ("I am on it", escalation stops), the machine's recovery resolves.
type AlertState string

// The states of an alert.
const (
	AlertOpen         AlertState = "open"
	AlertAcknowledged AlertState = "acknowledged"
	AlertResolved     AlertState = "resolved"
	// its workflow was ended from outside: as lists show it, no workflow writes it
	AlertTerminated AlertState = "terminated"
)

// Alert is one trouble of one fan from its opening to its end, as its workflow shows it.
type Alert struct {
	V        int        `json:"v"`
	ID       string     `json:"id"` // alert/<fan>/<kind>/<opened>
	Fan      string     `json:"fan"`
	Site     string     `json:"site,omitempty"`
	Kind     Kind       `json:"kind"`
	Opened   time.Time  `json:"opened"`
	Why      string     `json:"why"`
	Position Position   `json:"position"` // of the reading that opened it
	State    AlertState `json:"state"`
	Step     int        `json:"step"`              // escalation steps reached so far, from 1; 0 before the first
	Steps    int        `json:"steps"`             // how many the policy has
	Sent     []Notice   `json:"told,omitempty"`    // the newest MaxNotices
	Notices  int        `json:"notices,omitempty"` // how many were told in all
	Failed   []Failure  `json:"failed,omitempty"`  // the notifications that could not be sent, the newest per topic
	// how often the escalation began anew: graver trouble, an acknowledgement that ran out
	Round   int `json:"round,omitempty"`
	Returns int `json:"returns,omitempty"` // how often the trouble came back while the alert waited to resolve
	// the trouble is over since then, and the alert resolves when that has held; zero: it goes on
	NormalFrom time.Time `json:"well_from,omitzero"`
	AckedBy    string    `json:"acked_by,omitempty"`
	AckedAt    time.Time `json:"acked_at,omitzero"`
	Note       string    `json:"note,omitempty"`
	EndedAt    time.Time `json:"ended_at,omitzero"`
}

// Notice records one notification that a topic took. Key is the notification's idempotency key.
type Notice struct {
	Key  string    `json:"key"`
	Step int       `json:"step"`
	To   string    `json:"to"`
	At   time.Time `json:"at"`
}

// MaxNotices is how many notices an alert keeps.
const MaxNotices = 50

// Failure is a notification that was given up. A later one to the same topic that is sent removes it.
type Failure struct {
	Step int       `json:"step"`
	To   string    `json:"to"`
	Why  string    `json:"why"`
	At   time.Time `json:"at"`
}

// Policy is an escalation policy: who is told, and who next while no acknowledgement comes.
type Policy struct {
	V     int    `json:"v" yaml:"version"`
	Name  string `json:"name" yaml:"name"`
	Steps []Step `json:"steps" yaml:"steps"`
	// acknowledged but not resolved for this long: the last step is told again; 0 = never
	AckTimeout Duration `json:"ack_timeout,omitempty" yaml:"ack_timeout"`
	// trouble that returns within this time goes on in the same alert; 0 = 1 min, negative = resolve at once
	Hold Duration `json:"hold,omitempty" yaml:"hold"`
}

// DefaultHold is the Hold of a policy that names none.
const DefaultHold = time.Minute

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

// Step tells the topics in Notify, After later than the step before it (the first: after the opening),
// and again Repeat times, Every apart, until it is acknowledged.
type Step struct {
	After  Duration `json:"after" yaml:"after"`
	Notify []string `json:"notify" yaml:"notify"` // SNS topic names or ARNs
	Repeat int      `json:"repeat,omitempty" yaml:"repeat"`
	Every  Duration `json:"every,omitempty" yaml:"every"`
}

// MaxHold is the longest Hold that Check takes: an alert must end.
const MaxHold = 24 * time.Hour

// MaxTopics is how many topics one step may name.
const MaxTopics = 100

// Check says what is wrong with the policy, naming the step and the mend, or nil.
func (p Policy) Check() error {
	if p.V != PolicyVersion {
		return fmt.Errorf("policy %.60q: version %d is unknown, this program knows %d", p.Name, p.V, PolicyVersion)
	}
	if p.Name == "" {
		return fmt.Errorf("policy without a name: add one, such as name: default")
	}
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
	return nil
}

func (s Step) check() error {
	switch {
	case len(s.Notify) == 0:
		return errors.New("notify is empty: name at least one SNS topic")
	case len(s.Notify) > MaxTopics:
		return fmt.Errorf("notify names %d topics, at most %d are taken", len(s.Notify), MaxTopics)
	case s.After < 0:
		return fmt.Errorf("after %s is negative", s.After)
	case s.Repeat < 0 || s.Repeat > 100:
		return fmt.Errorf("repeat %d is outside 0..100", s.Repeat)
	case s.Repeat > 0 && time.Duration(s.Every) < time.Second:
		return errors.New("repeat needs every: 1s or more")
	}
	for _, topic := range s.Notify {
		if err := CheckTopic(topic); err != nil {
			return err
		}
	}
	return nil
}

// CheckTopic says why no standard SNS topic has that name or ARN, or nil. FIFO topics take no mail and are refused.
func CheckTopic(topic string) error {
	name := topic
	if strings.HasPrefix(topic, "arn:") {
		part := strings.Split(topic, ":")
		if len(part) != 6 || !strings.HasPrefix(part[1], "aws") || part[2] != "sns" || part[3] == "" ||
			!consists(part[3], digits+letters+"-") || len(part[4]) != 12 || !consists(part[4], digits) {
			return fmt.Errorf("topic %.120q: want arn:aws:sns:REGION:ACCOUNT:NAME, or the name alone", topic)
		}
		name = part[5]
	}
	switch {
	case strings.HasSuffix(name, ".fifo"):
		return fmt.Errorf("topic %.120q: a FIFO topic takes no mail: name a standard one", topic)
	case len(name) == 0 || len(name) > 256 || !consists(name, digits+letters+"-_"):
		return fmt.Errorf("topic %.120q: a name has 1 to 256 of the letters a to z and A to Z, digits, - and _", topic)
	}
	return nil
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func consists(s, of string) bool { return strings.Trim(s, of) == "" }
