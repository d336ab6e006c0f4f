package fanwatch

import "time"

// Kind says what is wrong with a fan; the empty Kind is a fan that is well.
type Kind string

// The kinds of trouble, the gravest first.
const (
	Stall      Kind = "stall"      // the rotor has stopped though pulses came before, or never turned
	Underspeed Kind = "underspeed" // below Limits.MinRPM
	Overspeed  Kind = "overspeed"  // above Limits.MaxRPM
	Silent     Kind = "silent"     // no readings arrive
	Unusual    Kind = "unusual"    // within every limit, but the forest has not seen the like
	Difference Kind = "difference" // not of the fan but of its readings: the lake lacks some, or has some twice
	Well       Kind = ""
)

// ObservationVersion is the version of Observation that this program writes.
const ObservationVersion = 1

// Anomaly is what a model found wrong in one reading.
type Anomaly struct {
	Kind      Kind    `json:"kind"`
	Score     float64 `json:"score"`     // the forest's score of the reading, 0 while it warms up
	Threshold float64 `json:"threshold"` // what the score had to exceed
	Why       string  `json:"why"`       // one sentence for the person who is woken
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
}

// After tells whether o is news to somebody whose last observation was p. Silence is judged after the
// reading at its position, so at one position Silent is later than every other kind.
func (o Observation) After(p Observation) bool {
	if c := o.Position.Compare(p.Position); c != 0 {
		return c > 0
	}
	return o.Anomaly.Kind == Silent && p.Anomaly.Kind != Silent
}
