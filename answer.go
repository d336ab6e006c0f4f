package fanwatch

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

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

// MaxSnooze is the longest time for which an alert may be snoozed.
const MaxSnooze = 30 * 24 * time.Hour

const (
	maxFrom  = 40  // bytes of From
	maxToken = 100 // bytes of Token
)

// Answer returns the answer that the acknowledgement is.
func (a Acknowledgement) Answer() Answer {
	return Answer{V: AnswerVersion, Action: ActionAcknowledge, By: a.By, From: a.From, Note: a.Note,
		Verdict: a.Verdict}
}

// Trim returns the answer without white space around its texts, of this program's version, and without the time, which
// the alert sets.
func (a Answer) Trim() Answer {
	a.By, a.From, a.To = strings.TrimSpace(a.By), strings.TrimSpace(a.From), strings.TrimSpace(a.To)
	a.Note, a.Token = strings.TrimSpace(a.Note), strings.TrimSpace(a.Token)
	if a.V == 0 {
		a.V = AnswerVersion
	}
	a.At = time.Time{}
	return a
}

// Check returns an error that names the field and the mend when a trimmed answer, given at the time now, cannot be
// taken. A signal has no answer to carry the error; it goes through [Answer.Legible] instead.
func (a Answer) Check(now time.Time) error {
	if a.V != AnswerVersion {
		return fmt.Errorf("answer: version %d is unknown, this program knows %d", a.V, AnswerVersion)
	}
	if err := (Acknowledgement{By: a.By, Note: a.Note, Verdict: a.Verdict}).Check(); err != nil {
		return err
	}
	for _, t := range []struct {
		name, text string
		most       int
	}{{"from", a.From, maxFrom}, {"to", a.To, maxBy}, {"token", a.Token, maxToken}} {
		switch {
		case len(t.text) > t.most:
			return fmt.Errorf("%s has %d bytes: at most %d are taken", t.name, len(t.text), t.most)
		case t.text != Legible(t.text, t.most):
			return fmt.Errorf("%s %.200q holds control characters: leave them out", t.name, t.text)
		}
	}
	return a.checkAction(now)
}

func (a Answer) checkAction(now time.Time) error {
	switch a.Action {
	case ActionAcknowledge, ActionUnacknowledge:
		return nil
	case ActionSnooze:
		if !a.Until.After(now) || a.Until.After(now.Add(MaxSnooze)) {
			return fmt.Errorf("until %s: snooze until a time from now on, at most 30 days away",
				a.Until.UTC().Format(time.RFC3339))
		}
	case ActionHand:
		if a.To == "" {
			return errors.New("the answer hands the alert to no one: say to whom, as to")
		}
	case ActionNote:
		if a.Note == "" {
			return errors.New("the note is empty: write one, as note")
		}
	case ActionResolve:
		if a.Note == "" {
			return errors.New("the alert is resolved without a reason: write one, as note")
		}
	default:
		return fmt.Errorf("action %.40q is unknown: say acknowledge, snooze, hand, note, resolve or unacknowledge", a.Action)
	}
	return nil
}

// Legible returns the answer trimmed, its texts cut to the lengths that Check accepts and without control characters,
// and without a Verdict that Check refuses. An empty Action becomes ActionAcknowledge. By may be empty, and what the
// Action needs may be missing.
func (a Answer) Legible() Answer {
	k := Acknowledgement{By: a.By, Note: a.Note, Verdict: a.Verdict}.Legible()
	a.By, a.Note, a.Verdict = k.By, k.Note, k.Verdict
	a.From, a.To, a.Token = Legible(a.From, maxFrom), Legible(a.To, maxBy), Legible(a.Token, maxToken)
	if a.Action == "" {
		a.Action = ActionAcknowledge
	}
	a.V = AnswerVersion
	return a.Trim()
}
