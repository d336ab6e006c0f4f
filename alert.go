package fanwatch

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

const (
	// AlertVersion is the version of Alert that this program writes. Version 1 has no Notices, Failed, Round, Returns
	// and NormalFrom; they are read as empty. Severity, Anomaly, Policy and Label came without a new version.
	AlertVersion = 2
	// PolicyVersion is the version of Policy that this program writes, and of the policy file that it reads beside
	// version 1.
	PolicyVersion = 2
)

// AlertState is the stage of an alert. An acknowledgement stops the escalation; the recovery of the fan, or a person,
// resolves the alert.
type AlertState string

// The states of an alert.
const (
	// AlertOpen is the state from the opening to an acknowledgement: the alert escalates.
	AlertOpen AlertState = "open"
	// AlertAcknowledged is the state from an acknowledgement to the end, or until it lapses: no step notifies.
	AlertAcknowledged AlertState = "acknowledged"
	// AlertResolved is the state of an alert whose trouble is over.
	AlertResolved AlertState = "resolved"
	// AlertTerminated is the state of an alert whose workflow was ended from outside. Lists show it; no workflow
	// writes it.
	AlertTerminated AlertState = "terminated"
)

// Alert is one trouble of one fan from its opening to its end, as its workflow shows it.
type Alert struct {
	V        int        `json:"v"`
	ID       string     `json:"id"` // alert/<fan>/<kind>/<opened>
	Fan      string     `json:"fan"`
	Site     string     `json:"site,omitempty"`
	Tags     []string   `json:"tags,omitempty"`  // of the device when the alert opened
	Model    string     `json:"model,omitempty"` // the same
	Kind     Kind       `json:"kind"`            // at the gravest, like Severity and Anomaly
	Severity Severity   `json:"severity,omitempty"`
	Anomaly  Anomaly    `json:"anomaly,omitzero"` // without Why
	Policy   string     `json:"policy,omitempty"` // name of the escalation policy; "" = "default"
	Opened   time.Time  `json:"opened"`
	Why      string     `json:"why"`
	Position Position   `json:"position"` // of the reading that opened the alert
	State    AlertState `json:"state"`
	Step     int        `json:"step"`              // escalation steps reached so far, from 1; 0 before the first
	Steps    int        `json:"steps"`             // number of steps of the policy
	Sent     []Notice   `json:"told,omitempty"`    // notifications that topics took, the newest MaxNotices
	Notices  int        `json:"notices,omitempty"` // number of all notifications that topics took
	Failed   []Failure  `json:"failed,omitempty"`  // notifications that could not be sent, the newest of each topic
	// Round counts the restarts of the escalation: by graver trouble, and by an acknowledgement that ran out.
	Round   int `json:"round,omitempty"`
	Returns int `json:"returns,omitempty"` // number of times the trouble came back within the hold
	// NormalFrom is when the trouble ended; the alert resolves when it stays away for the hold. Zero: it goes on.
	NormalFrom time.Time `json:"well_from,omitzero"`
	AckedBy    string    `json:"acked_by,omitempty"`
	AckedAt    time.Time `json:"acked_at,omitzero"`
	Note       string    `json:"note,omitempty"`
	EndedAt    time.Time `json:"ended_at,omitzero"`
	// Label is what a person said of the trouble, the newest verdict; see Label.
	Label      Verdict   `json:"label,omitempty"`
	LabelledBy string    `json:"labelled_by,omitempty"`
	LabelledAt time.Time `json:"labelled_at,omitzero"`

	Answers      []Answer  `json:"answers,omitempty"`      // of persons, the newest MaxAnswers, oldest first
	SnoozedUntil time.Time `json:"snoozed_until,omitzero"` // zero: it is not snoozed
	EndedBy      string    `json:"ended_by,omitempty"`     // who resolved it by hand; "" = the trouble was over
	NotBefore    time.Time `json:"not_before,omitzero"`    // nothing is notified before: quiet hours, a maintenance
	Because      string    `json:"because,omitempty"`      // why NotBefore
	Incident     string    `json:"incident,omitempty"`     // ID of the incident that notifies in its place
	Members      []Member  `json:"members,omitempty"`      // of an incident: the newest MaxMembers
	Troubled     int       `json:"troubled,omitempty"`     // of an incident: fans whose trouble goes on
	Joined       int       `json:"joined,omitempty"`       // of an incident: fans that joined
	Fans         int       `json:"fans,omitempty"`         // of an incident: fans of Site; 0 = not known
}

// MaxAnswers is the number of answers that an alert keeps.
const MaxAnswers = 20

// MaxMembers is the number of members that an incident keeps by name.
const MaxMembers = 50

// Member is an alert that is part of an incident.
type Member struct {
	Alert  string    `json:"alert"` // ID
	Fan    string    `json:"fan"`
	Kind   Kind      `json:"kind"`
	Opened time.Time `json:"opened"`
	Over   time.Time `json:"over,omitzero"` // when it ended; zero: it goes on
}

// Weighed returns Severity, or that of the kind where an earlier program left it out.
func (a Alert) Weighed() Severity { return cmp.Or(a.Severity, a.Kind.Severity()) }

// Notice records one notification that a topic took.
type Notice struct {
	Key  string    `json:"key"`  // idempotency key of the notification
	Step int       `json:"step"` // from 1
	To   string    `json:"to"`   // channel, or topic by name or ARN
	At   time.Time `json:"at"`
	// ID and Detail are what the channel said when it took it; "" = nothing, or an earlier program asked.
	ID     string `json:"id,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// MaxNotices is the number of notices that an alert keeps.
const MaxNotices = 50

// Failure is a notification that was given up. A later notification that its topic takes removes it.
type Failure struct {
	Step int       `json:"step"` // from 1
	To   string    `json:"to"`   // topic, by name or ARN
	Why  string    `json:"why"`
	At   time.Time `json:"at"`
}

// CheckTopic returns an error when the text is not the name or ARN of a standard SNS topic. FIFO topics take no mail
// and are refused.
func CheckTopic(topic string) error {
	name := topic
	if strings.HasPrefix(topic, "arn:") {
		part := strings.Split(topic, ":")
		if len(part) != 6 || !strings.HasPrefix(part[1], "aws") || part[2] != "sns" || part[3] == "" ||
			!consistsOf(part[3], digits+letters+"-") || len(part[4]) != 12 || !consistsOf(part[4], digits) {
			return fmt.Errorf("topic %.120q: want arn:aws:sns:REGION:ACCOUNT:NAME, or the name alone", topic)
		}
		name = part[5]
	}
	switch {
	case strings.HasSuffix(name, ".fifo"):
		return fmt.Errorf("topic %.120q: a FIFO topic takes no mail: name a standard one", topic)
	case len(name) == 0 || len(name) > 256 || !consistsOf(name, digits+letters+"-_"):
		return fmt.Errorf("topic %.120q: a name has 1 to 256 of the letters a to z and A to Z, digits, - and _", topic)
	}
	return nil
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func consistsOf(s, characters string) bool { return strings.Trim(s, characters) == "" }
