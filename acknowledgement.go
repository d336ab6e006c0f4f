package fanwatch

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Acknowledgement says who takes care of an alert.
type Acknowledgement struct {
	By   string `json:"by"`
	Note string `json:"note,omitempty"`
}

// What an Acknowledgement may hold, in bytes: lists show it.
const (
	maxBy   = 100
	maxNote = 1000
)

// Trim returns the acknowledgement without white space around the name and the note.
func (a Acknowledgement) Trim() Acknowledgement {
	return Acknowledgement{By: strings.TrimSpace(a.By), Note: strings.TrimSpace(a.Note)}
}

// Check says what keeps a trimmed acknowledgement out of a list, or nil. Every way in asks it but the signal, which
// cannot answer: see Legible.
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
	}
	return nil
}

// Legible returns the acknowledgement trimmed, cut to what Check takes and without control characters. By may be empty.
func (a Acknowledgement) Legible() Acknowledgement {
	return Acknowledgement{By: Legible(a.By, maxBy), Note: Legible(a.Note, maxNote)}.Trim()
}

// UnmarshalJSON reads an object, or a JSON text as the name alone: what a person types into the
// Temporal Web UI's signal box.
func (a *Acknowledgement) UnmarshalJSON(b []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(b)), `"`) {
		return json.Unmarshal(b, &a.By)
	}
	type plain Acknowledgement
	return json.Unmarshal(b, (*plain)(a))
}
