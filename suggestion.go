package fanwatch

import (
	"fmt"
	"slices"
	"time"
)

// SuggestionVersion is the version of Suggestion that this program writes.
const SuggestionVersion = 1

// Suggestion is a change of a fan's device that its readings suggest. Nothing follows from it until a person confirms
// it; trouble is told of as without it.
type Suggestion struct {
	V      int            `json:"v"`
	Fan    string         `json:"fan"`
	Kind   SuggestionKind `json:"kind"`
	Text   string         `json:"text"`   // what the readings show, in one sentence
	Change DeviceChange   `json:"change"` // what would be configured
	Since  time.Time      `json:"since"`  // time of the reading that first showed it
}

// SuggestionKind is what a suggestion is about. A fan has at most one suggestion of each kind.
type SuggestionKind string

// The kinds of suggestion.
const (
	// SuggestionHours suggests Device.Hours, because the fan stands still at the same hours.
	SuggestionHours SuggestionKind = "hours"
	// SuggestionInterval suggests Device.Silence, because the usual time between two readings is too long for it.
	SuggestionInterval SuggestionKind = "interval"
)

// DismissedFor is the time for which a dismissed suggestion does not come back.
const DismissedFor = 30 * 24 * time.Hour

// SameSuggestions reports whether a and b suggest the same since the same times.
func SameSuggestions(a, b []Suggestion) bool {
	return slices.EqualFunc(a, b, func(x, y Suggestion) bool {
		return x.Fan == y.Fan && x.Kind == y.Kind && x.Text == y.Text && x.Since.Equal(y.Since)
	})
}

// SuggestionAnswer is what a person says to a fan's suggestions.
type SuggestionAnswer struct {
	Kind   SuggestionKind `json:"kind,omitempty"`   // of the suggestion that is answered; "" = all that stand
	Since  time.Time      `json:"since,omitzero"`   // of that suggestion, which may have changed meanwhile; zero = any
	Accept bool           `json:"accept,omitempty"` // true: configure it; false: dismiss it
}

// Of returns the suggestions of all that the answer is about. The error says why there is none.
func (a SuggestionAnswer) Of(fan string, all []Suggestion) ([]Suggestion, error) {
	var out []Suggestion
	for _, s := range all {
		switch {
		case a.Kind != "" && s.Kind != a.Kind:
		case !a.Since.IsZero() && !s.Since.Equal(a.Since):
			return nil, fmt.Errorf("fan %s: the suggestion of %s has changed meanwhile: look at it again", fan, s.Kind)
		default:
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("fan %s: nothing is suggested (see fanwatch show %s)", fan, fan)
	}
	return out, nil
}
