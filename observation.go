package fanwatch

import "time"

// Kind says what is wrong with a fan; the empty Kind is a fan without trouble.
type Kind string

// The kinds of trouble, the gravest first; Gravity has their order.
const (
	KindStall      Kind = "stall"      // the rotor has stopped though pulses came before, or never turned
	KindUnderspeed Kind = "underspeed" // below Limits.MinRPM
	KindOverspeed  Kind = "overspeed"  // above Limits.MaxRPM
	KindSilent     Kind = "silent"     // no reading was judged at its arrival for the silence time; Anomaly.Cause says why
	// the same value again and again where it used to vary: the publisher may repeat an old one
	KindFrozen     Kind = "frozen"
	KindPublishers Kind = "publishers" // two publishers speak for the fan
	KindUnusual    Kind = "unusual"    // within every limit, but the forest has not seen the like
	KindPipeline   Kind = "pipeline"   // not of a fan but of fanwatch: a part of it does not do its work
	KindDifference Kind = "difference" // not of the fan but of its readings: the lake lacks some, or has some twice
	KindNone       Kind = ""
)

// Gravity orders kinds: an alert that turns to a kind of higher gravity than the one people were told of is told anew.
// KindNone is 0.
func (k Kind) Gravity() int {
	switch k {
	case KindStall:
		return 5
	case KindUnderspeed, KindOverspeed:
		return 4
	case KindSilent, KindFrozen:
		return 3
	case KindPublishers:
		return 2
	case KindUnusual, KindPipeline, KindDifference:
		return 1
	}
	return 0
}

// Cause says why no reading of a fan was judged.
type Cause string

// The causes of silence.
const (
	CauseNothing Cause = "nothing-arrives" // no record names the fan
	CauseRefused Cause = "refused"         // readings arrive and none is accepted
	// readings arrive that were measured long before: a spool drains, or a clock went back
	CauseOld   Cause = "old"
	CauseNever Cause = "never-reported" // nothing arrived since the fan was provisioned
)

// ObservationVersion is the version of Observation that this program writes.
const ObservationVersion = 1

// Anomaly is what a model found wrong in one reading.
type Anomaly struct {
	Kind      Kind    `json:"kind"`
	Score     float64 `json:"score"`           // the forest's score of the reading, 0 while it warms up
	Threshold float64 `json:"threshold"`       // what the score had to exceed
	Why       string  `json:"why"`             // one sentence for the person who is woken
	Cause     Cause   `json:"cause,omitempty"` // of KindSilent
}

// Observation is what the scorer tells a fan's workflow when the fan's state changes: at the reading
// at Position the fan became Anomaly.Kind (KindNone when the trouble is over). It may be told more than
// once; see After.
type Observation struct {
	V        int       `json:"v"`
	Fan      string    `json:"fan"`
	Position Position  `json:"position"`
	Time     time.Time `json:"time"`
	RPM      float64   `json:"rpm"`
	Anomaly  Anomaly   `json:"anomaly"`
	At       time.Time `json:"at,omitzero"` // of KindSilent: when the scorer judged it, by the scorer's clock
}

// After reports whether o is later than p. Silence is judged after the reading at its position, so at one position
// KindSilent is later than every other kind, and of two the one that was judged later: scorers' clocks decide there, so
// a scorer whose clock is behind that of the one before it may leave the older sentence standing.
func (o Observation) After(p Observation) bool {
	if c := o.Position.Compare(p.Position); c != 0 {
		return c > 0
	}
	if o.Anomaly.Kind != KindSilent {
		return false
	}
	return p.Anomaly.Kind != KindSilent || o.At.After(p.At)
}
