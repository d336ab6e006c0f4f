package fanwatch

import (
	"encoding/json"
	"fmt"
	"time"
)

// LabelVersion is the version of Label that this program writes.
const LabelVersion = 1

// Label is what a person knows of an alert's trouble: that it is normal for the fan, or that it was a fault. It goes
// over the stream like a Device, so that it takes effect at the same place in every replay.
type Label struct {
	V      int    `json:"v"`
	Fan    string `json:"fan"`
	Alert  string `json:"alert"`  // ID of the alert
	Kind   Kind   `json:"kind"`   // of the alert
	Normal bool   `json:"normal"` // true: the fan is to run like this; false: it was a fault
	// From and To are the times of the readings at the beginning and the end of the trouble; To is zero while it lasts.
	From time.Time `json:"from"`
	To   time.Time `json:"to,omitzero"`
	By   string    `json:"by"`             // name of the person, at most 100 bytes
	Note string    `json:"note,omitempty"` // at most 1000 bytes
	At   time.Time `json:"at"`             // when the person said so, by the workflow's clock
}

// LabelOf returns the label by which k tells of the alert's trouble, without At.
func LabelOf(a Alert, k Acknowledgement) Label {
	l := Label{V: LabelVersion, Fan: a.Fan, Alert: a.ID, Kind: a.Kind, Normal: k.Verdict == VerdictNormal,
		From: a.Anomaly.Since, To: a.NormalFrom, By: k.By, Note: k.Note}
	if l.From.IsZero() || l.From.After(a.Opened) {
		l.From = a.Opened
	}
	if l.To.IsZero() {
		l.To = a.EndedAt
	}
	if !l.To.IsZero() && l.To.Before(l.From) { // by another clock
		l.To = l.From
	}
	return l
}

// Labelled returns the alert with the label, if that is of this alert and not older than what the alert says itself. Of
// an alert that is over, only its fan's status has the label.
func (a Alert) Labelled(l Label) Alert {
	if l.Alert != a.ID || l.At.Before(a.LabelledAt) {
		return a
	}
	a.Label, a.LabelledBy, a.LabelledAt = VerdictFault, l.By, l.At
	if l.Normal {
		a.Label = VerdictNormal
	}
	return a
}

// Check returns an error that names the field and the mend when the label cannot be used.
func (l Label) Check() error {
	switch {
	case l.V != LabelVersion:
		return fmt.Errorf("label of %.120q: version %d is unknown, this program knows %d", l.Fan, l.V, LabelVersion)
	case l.Kind.Family() == "" || l.Kind.Family() == FamilySystem:
		return fmt.Errorf("label of %.120q: kind %.40q is none of a fan's trouble", l.Fan, l.Kind)
	case l.From.IsZero() || !l.To.IsZero() && l.To.Before(l.From):
		return fmt.Errorf("label of %.120q: from %s to %s is no time of trouble", l.Fan, l.From.Format(time.RFC3339),
			l.To.Format(time.RFC3339))
	}
	return CheckFan(l.Fan)
}

// EncodeLabel returns the record by which the control plane tells the scorers of l.
func EncodeLabel(l Label) ([]byte, error) {
	return json.Marshal(struct {
		V     int   `json:"v"`
		Label Label `json:"label"`
	}{BatchVersion, l})
}
