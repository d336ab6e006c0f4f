package fanwatch

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Acknowledgement stops an alert's escalation. Lists show it, so its texts are bounded and hold no control characters;
// see [Acknowledgement.Check].
type Acknowledgement struct {
	By   string `json:"by"`             // name of the person who takes care, 1 to 100 bytes
	Note string `json:"note,omitempty"` // at most 1000 bytes
	// Verdict is what the person knows of the trouble; "" = nothing. It may be given of an alert that is acknowledged or
	// over, too.
	Verdict Verdict `json:"verdict,omitempty"`
	// From is where it was said, such as cli or dashboard, at most 40 bytes; "" = not known.
	From string `json:"from,omitempty"`
}

// Verdict is what a person knows of an alert's trouble.
type Verdict string

// The verdicts.
const (
	// VerdictNormal says that the fan is to run like this.
	VerdictNormal Verdict = "normal"
	// VerdictFault says that it was a fault: it is never to be learned as normal.
	VerdictFault Verdict = "fault"
)

const (
	maxBy   = 100  // bytes of By
	maxNote = 1000 // bytes of Note
)

// Trim returns the acknowledgement without white space around the name and the note.
func (a Acknowledgement) Trim() Acknowledgement {
	a.By, a.Note, a.From = strings.TrimSpace(a.By), strings.TrimSpace(a.Note), strings.TrimSpace(a.From)
	return a
}

// Check returns an error that names the field and the mend when a trimmed acknowledgement cannot be listed. A signal
// has no answer to carry the error; it goes through [Acknowledgement.Legible] instead.
func (a Acknowledgement) Check() error {
	switch {
	case a.By == "":
		return errors.New("the acknowledgement names nobody: say who takes care, as by")
	case len(a.By) > maxBy:
		return fmt.Errorf("by has %d bytes: at most %d are taken", len(a.By), maxBy)
	case len(a.Note) > maxNote:
		return fmt.Errorf("note has %d bytes: at most %d are taken", len(a.Note), maxNote)
	case a.By != Legible(a.By, maxBy):
		return fmt.Errorf("by %q holds control characters: leave them out", a.By)
	case a.Note != Legible(a.Note, maxNote):
		return fmt.Errorf("note %.200q holds control characters, such as a line break: leave them out", a.Note)
	case a.From != Legible(a.From, maxFrom):
		return fmt.Errorf("from %.100q is longer than %d bytes or holds control characters", a.From, maxFrom)
	case !a.Verdict.valid():
		return fmt.Errorf("verdict %.40q is neither normal nor fault: leave it out where neither is known", a.Verdict)
	}
	return nil
}

func (v Verdict) valid() bool { return v == "" || v == VerdictNormal || v == VerdictFault }

// Legible returns the acknowledgement trimmed, cut to the lengths that Check accepts and without control characters,
// and without a Verdict that Check refuses. By may be empty.
func (a Acknowledgement) Legible() Acknowledgement {
	a.By, a.Note, a.From = Legible(a.By, maxBy), Legible(a.Note, maxNote), Legible(a.From, maxFrom)
	if !a.Verdict.valid() {
		a.Verdict = ""
	}
	return a.Trim()
}

// UnmarshalJSON reads an object, or a JSON text as By alone, which is the shortest input for a signal in the Temporal
// Web UI.
func (a *Acknowledgement) UnmarshalJSON(b []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(b)), `"`) {
		return json.Unmarshal(b, &a.By)
	}
	type object Acknowledgement // without this method
	return json.Unmarshal(b, (*object)(a))
}
