package fanwatch

import "time"

// Event is what a notification tells of an alert.
type Event string

// The events.
const (
	// EventPage is the first notification of a step in a round.
	EventPage Event = "page"
	// EventRepeat is a repeated notification of a step.
	EventRepeat Event = "repeat"
	// EventFlapping says that the trouble comes and goes.
	EventFlapping Event = "flapping"
	// EventAcknowledged says that a person takes care, or does so in place of another.
	EventAcknowledged Event = "acknowledged"
	// EventLapsed says that an acknowledgement or a snooze ran out, and that the escalation goes on.
	EventLapsed Event = "lapsed"
	// EventOver says that the trouble is over, or that a person resolved the alert.
	EventOver Event = "over"
	// EventDigest is the morning's message.
	EventDigest Event = "digest"
	// EventTest is a trial of a channel.
	EventTest Event = "test"
)

// Links are where a reader of a notification finds more; "" = not known.
type Links struct {
	Dashboard string `json:"dashboard,omitempty"` // page of the fan
	Temporal  string `json:"temporal,omitempty"`  // workflow of the alert in the Temporal Web UI
	Runbook   string `json:"runbook,omitempty"`   // what to do about the kind, from the policy file
	Answer    string `json:"answer,omitempty"`    // signed, to acknowledge
}

// Next is a notification that is planned.
type Next struct {
	At time.Time `json:"at"`
	To []string  `json:"to"` // names of channels
}
