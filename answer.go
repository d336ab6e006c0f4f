package fanwatch

import "time"

// AnswerVersion is the version of Answer that this program writes.
const AnswerVersion = 1

// Action is what a person does about an alert.
type Action string

// The actions.
const (
	// ActionAcknowledge stops the escalation, or takes the alert over from the one who acknowledged before.
	ActionAcknowledge Action = "acknowledge"
	// ActionSnooze acknowledges until Until, when the last step is notified again unless the trouble is over.
	ActionSnooze Action = "snooze"
	// ActionHand hands the alert to the person To, who takes care from now on.
	ActionHand Action = "hand"
	// ActionNote adds Note to the alert.
	ActionNote Action = "note"
	// ActionResolve ends the alert by hand; Note says why. The next reading that shows the trouble opens another.
	ActionResolve Action = "resolve"
	// ActionUnacknowledge gives the alert back: the escalation goes on at once.
	ActionUnacknowledge Action = "unacknowledge"
)

// Answer is what a person does about an alert, and from where.
type Answer struct {
	V       int       `json:"v"`
	Action  Action    `json:"action"`
	By      string    `json:"by"`                // 1 to 100 bytes
	From    string    `json:"from,omitempty"`    // such as cli, dashboard, link, pagerduty, slack; "" = not known
	To      string    `json:"to,omitempty"`      // of ActionHand
	Until   time.Time `json:"until,omitzero"`    // of ActionSnooze
	Note    string    `json:"note,omitempty"`    // at most 1000 bytes
	Verdict Verdict   `json:"verdict,omitempty"` // "" = none
	// Token identifies a signed link that was used. An alert takes each once.
	Token string `json:"token,omitempty"`
	// At is when the alert took the answer; it sets it.
	At time.Time `json:"at,omitzero"`
}
