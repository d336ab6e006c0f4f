package fanwatch

import "time"

// Kind is the sort of trouble of a fan; the empty Kind is none.
type Kind string

// The kinds of trouble; [Kind.Gravity] orders them.
const (
	// KindStall is a rotor that has stopped, or never turned.
	KindStall Kind = "stall"
	// KindUnderspeed is a speed below Limits.MinRPM, or below half of the usual speed.
	KindUnderspeed Kind = "underspeed"
	// KindOverspeed is a speed above Limits.MaxRPM.
	KindOverspeed Kind = "overspeed"
	// KindSilent is a fan of which no reading was judged at its arrival for the silence time; Anomaly.Cause says why.
	KindSilent Kind = "silent"
	// KindFrozen is a value that repeats where it used to vary: the publisher may repeat an old one.
	KindFrozen Kind = "frozen"
	// KindPublishers is a fan for which two publishers send by turns.
	KindPublishers Kind = "publishers"
	// KindUnusual is a reading within all limits whose score by the forest is high.
	KindUnusual Kind = "unusual"
	// KindPipeline is a part of fanwatch itself that does not do its work.
	KindPipeline Kind = "pipeline"
	// KindDifference is a fan of whose readings the lake lacks some, or has some twice.
	KindDifference Kind = "difference"
	// KindNone is a fan without trouble.
	KindNone Kind = ""
)

// Gravity returns the weight of a kind, from 0 (KindNone) to 5. An alert that turns to a kind of higher gravity
// escalates anew.
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

// Cause says why no reading of a silent fan was judged.
type Cause string

// The causes of silence.
const (
	// CauseNothing says that no record of the fan arrives.
	CauseNothing Cause = "nothing-arrives"
	// CauseRefused says that readings arrive and none is accepted.
	CauseRefused Cause = "refused"
	// CauseOld says that the readings that arrive were measured long ago: a spool drains, or a clock went back.
	CauseOld Cause = "old"
	// CauseNever says that nothing has arrived since the fan was provisioned.
	CauseNever Cause = "never-reported"
)

// ObservationVersion is the version of Observation that this program writes.
const ObservationVersion = 1

// Anomaly is what judging found wrong with one reading.
type Anomaly struct {
	Kind      Kind    `json:"kind"`
	Score     float64 `json:"score"`           // the forest's score of the reading; 0 while it warms up
	Threshold float64 `json:"threshold"`       // bound of the score or of the speed that was passed
	Why       string  `json:"why"`             // one sentence, which notifications carry
	Cause     Cause   `json:"cause,omitempty"` // set with KindSilent
}

// Observation is the scorer's message to a fan's workflow that the fan's state became Anomaly.Kind at the reading at
// Position. It may be sent more than once; see [Observation.After].
type Observation struct {
	V        int       `json:"v"`
	Fan      string    `json:"fan"`
	Position Position  `json:"position"`
	Time     time.Time `json:"time"`
	RPM      float64   `json:"rpm"`
	Anomaly  Anomaly   `json:"anomaly"`
	At       time.Time `json:"at,omitzero"` // with KindSilent: when silence was judged, by the scorer's clock
}

// After reports whether o is later than p. At one position KindSilent is later than every other kind, because silence
// is judged after the reading there; of two silences the one with the later At is later.
func (o Observation) After(p Observation) bool {
	if c := o.Position.Compare(p.Position); c != 0 {
		return c > 0
	}
	if o.Anomaly.Kind != KindSilent {
		return false
	}
	return p.Anomaly.Kind != KindSilent || o.At.After(p.At)
}
