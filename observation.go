package fanwatch

import "time"

// Kind says what is wrong with a fan; the empty Kind is a fan that is well.
type Kind string

// The kinds of trouble, the gravest first; Gravity has their order.
const (
	Stall      Kind = "stall"      // the rotor has stopped though pulses came before, or never turned
	Underspeed Kind = "underspeed" // below Limits.MinRPM
	Overspeed  Kind = "overspeed"  // above Limits.MaxRPM
	Silent     Kind = "silent"     // no reading was judged at its arrival for the silence time; Anomaly.Cause says why
	Frozen     Kind = "frozen"     // the same value again and again where it used to vary: the publisher may repeat an old one
	Publishers Kind = "publishers" // two publishers speak for the fan
	Unusual    Kind = "unusual"    // within every limit, but the forest has not seen the like
	Pipeline   Kind = "pipeline"   // not of a fan but of fanwatch: a part of it does not do its work
	Difference Kind = "difference" // not of the fan but of its readings: the lake lacks some, or has some twice
	Well       Kind = ""
)

// Gravity orders kinds: an alert that turns to a kind of higher gravity than the one people were told of is told anew.
// Well is 0.
func (k Kind) Gravity() int {
	switch k {
	case Stall:
		return 5
	case Underspeed, Overspeed:
		return 4
	case Silent, Frozen:
		return 3
	case Publishers:
		return 2
	case Unusual, Pipeline, Difference:
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
	CauseOld     Cause = "old"             // readings arrive that were measured long before: a spool drains, or a clock went back
	CauseNever   Cause = "never-reported"  // nothing arrived since the fan was provisioned
)

// ObservationVersion is the version of Observation that this program writes.
const ObservationVersion = 1

// Anomaly is what a model found wrong in one reading.
type Anomaly struct {
	Kind      Kind    `json:"kind"`
	Score     float64 `json:"score"`           // the forest's score of the reading, 0 while it warms up
	Threshold float64 `json:"threshold"`       // what the score had to exceed
	Why       string  `json:"why"`             // one sentence for the person who is woken
	Cause     Cause   `json:"cause,omitempty"` // of Silent
}

// Observation is what the scorer tells a fan's workflow when the fan's state changes: at the reading
// at Position the fan became Anomaly.Kind (Well when the trouble is over). It may be told more than
// once; see After.
type Observation struct {
	V        int       `json:"v"`
	Fan      string    `json:"fan"`
	Position Position  `json:"position"`
	Time     time.Time `json:"time"`
	RPM      float64   `json:"rpm"`
	Anomaly  Anomaly   `json:"anomaly"`
	At       time.Time `json:"at,omitzero"` // of Silent: when the scorer judged it, by the scorer's clock
}

// After tells whether o is later than p. Silence is judged after the reading at its position, so at one position
// Silent is later than every other kind, and of two the one that was judged later: scorers' clocks decide there, so
// a scorer whose clock is behind that of the one before it may leave the older sentence standing.
func (o Observation) After(p Observation) bool {
	if c := o.Position.Compare(p.Position); c != 0 {
		return c > 0
	}
	if o.Anomaly.Kind != Silent {
		return false
	}
	return p.Anomaly.Kind != Silent || o.At.After(p.At)
}
