// Package notify sends notifications over channels: SNS, mail, webhooks, Slack, Teams, PagerDuty. It renders them for
// each, in the zone of the reader.
package notify

import (
	"context"
	"time"

	"fanwatch"
)

// MessageVersion is the version of Message that this program writes.
const MessageVersion = 1

// Message is a notification before it is rendered for a channel.
type Message struct {
	V       int             `json:"v"`
	Key     string          `json:"key"` // idempotency key
	Event   fanwatch.Event  `json:"event"`
	Alert   fanwatch.Alert  `json:"alert"`            // without Sent and Failed
	Step    int             `json:"step"`             // from 1
	Steps   int             `json:"steps"`            // of the policy
	Repeat  int             `json:"repeat,omitempty"` // of the step, from 1; 0 = it is the first
	Told    []string        `json:"told,omitempty"`   // names of the channels that took a notification before
	Next    []fanwatch.Next `json:"next,omitempty"`   // what follows without an answer
	By      string          `json:"by,omitempty"`     // who answered, with EventAcknowledged and EventLapsed
	At      time.Time       `json:"at,omitzero"`      // when it was made; times are told as seen from then
	Links   fanwatch.Links  `json:"links,omitzero"`
	Subject string          `json:"subject,omitempty"` // as rendered by an earlier program; "" = to be rendered
	Body    string          `json:"body,omitempty"`    // the same
	Picture []byte          `json:"-"`                 // PNG of the last hour; nil = none
}

// Receipt is what a channel said of a message that it took.
type Receipt struct {
	ID     string `json:"id,omitempty"`     // as the service names the message
	Detail string `json:"detail,omitempty"` // such as "250 2.0.0 Ok: queued as 12"
}

// Channel sends messages to one place. Send returns an error that says whether another try may succeed: one with a
// method Permanent() bool that returns true will never. It must be safe for concurrent use.
type Channel interface {
	Send(ctx context.Context, m Message) (Receipt, error)
}
