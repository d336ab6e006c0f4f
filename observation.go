package fanwatch

import (
	"cmp"
	"time"
)

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
	// KindSpeed is a speed off the expected one by more than its band.
	KindSpeed Kind = "speed"
	// KindJitter is period jitter above the usual: what a bearing does first.
	KindJitter Kind = "jitter"
	// KindWobble is a speed that swings from reading to reading more than usual.
	KindWobble Kind = "wobble"
	// KindHunting is a fan that changes between speeds more often than usual.
	KindHunting Kind = "hunting"
	// KindDrift is a slow change of speed that the fan's days do not explain.
	KindDrift Kind = "drift"
	// KindUnusual is a reading that no test has a name for and whose score by the forest is high.
	KindUnusual Kind = "unusual"
	// KindPipeline is a part of fanwatch itself that does not do its work.
	KindPipeline Kind = "pipeline"
	// KindDifference is a fan of whose readings the lake lacks some, or has some twice.
	KindDifference Kind = "difference"
	// KindIncident is the trouble of several fans of a site at once; its members say of which kinds.
	KindIncident Kind = "incident"
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
	case KindPublishers, KindSpeed:
		return 2
	case KindJitter, KindWobble, KindHunting, KindDrift, KindUnusual, KindPipeline, KindDifference,
		KindIncident:
		return 1
	}
	return 0
}

// Family is a group of kinds of which a fan has one at a time. The families stand side by side, each with a state and
// an alert of its own, so that trouble of one hides none of another.
type Family string

// The families.
const (
	// FamilySpeed holds KindStall, KindUnderspeed, KindOverspeed and KindSpeed.
	FamilySpeed Family = "speed"
	// FamilySource holds KindSilent, KindFrozen and KindPublishers: what is wrong with the readings themselves.
	FamilySource Family = "source"
	// FamilyTexture holds KindJitter, KindWobble and KindHunting.
	FamilyTexture Family = "texture"
	// FamilyDrift holds KindDrift.
	FamilyDrift Family = "drift"
	// FamilyForest holds KindUnusual.
	FamilyForest Family = "forest"
	// FamilySystem holds KindPipeline, KindDifference and KindIncident, which are not of one fan.
	FamilySystem Family = "system"
)

// Families returns the families of a fan's trouble, in the order in which they are shown where none is graver.
func Families() []Family {
	return []Family{FamilySpeed, FamilySource, FamilyTexture, FamilyDrift, FamilyForest}
}

// Family returns the kind's family; "" for KindNone.
func (k Kind) Family() Family {
	switch k {
	case KindStall, KindUnderspeed, KindOverspeed, KindSpeed:
		return FamilySpeed
	case KindSilent, KindFrozen, KindPublishers:
		return FamilySource
	case KindJitter, KindWobble, KindHunting:
		return FamilyTexture
	case KindDrift:
		return FamilyDrift
	case KindUnusual:
		return FamilyForest
	case KindPipeline, KindDifference, KindIncident:
		return FamilySystem
	}
	return ""
}

// Severity says who is to hear of an anomaly, and when.
type Severity string

// The severities.
const (
	// SeverityCritical is the severity of a fan that does not do its work, or may not: stall, half speed, silence.
	SeverityCritical Severity = "critical"
	// SeverityWarning is the severity of trouble that a person is told of at once.
	SeverityWarning Severity = "warning"
	// SeverityInfo is the severity of what is worth a look in the morning and wakes no one.
	SeverityInfo Severity = "info"
)

// Weight orders severities: 3 for critical, 2 for warning, 1 for info, else 0.
func (s Severity) Weight() int {
	switch s {
	case SeverityCritical:
		return 3
	case SeverityWarning:
		return 2
	case SeverityInfo:
		return 1
	}
	return 0
}

// Severity returns the severity that the kind has by itself; "" for KindNone. The judge gives a KindSpeed below 8 %
// SeverityInfo, and a device may raise that of KindUnusual: see Anomaly.Severity.
func (k Kind) Severity() Severity {
	switch k {
	case KindStall, KindUnderspeed, KindOverspeed, KindSilent:
		return SeverityCritical
	case KindSpeed, KindFrozen, KindPublishers, KindPipeline, KindDifference, KindIncident:
		return SeverityWarning
	case KindJitter, KindWobble, KindHunting, KindDrift, KindUnusual:
		return SeverityInfo
	}
	return ""
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
	// Severity is set with every kind but KindNone; "" comes from an earlier program and is Kind.Severity.
	Severity Severity `json:"severity,omitempty"`
	// The fields below are what the judge knows of the reading; 0 where it knows nothing or an earlier program wrote.

	Expected float64   `json:"expected,omitempty"` // what was expected: RPM, or with KindJitter the usual jitter
	Low      float64   `json:"low,omitempty"`      // lower end of its band, RPM
	High     float64   `json:"high,omitempty"`     // upper end of its band, RPM
	Value    float64   `json:"value,omitempty"`    // what was measured, in the unit of Expected
	Since    time.Time `json:"since,omitzero"`     // time of the first reading that showed it
	Test     string    `json:"test,omitempty"`     // name of the test that found it, such as fast, slow, cusum
	Shares   Shares    `json:"shares,omitzero"`    // parts of speed, wobble and jitter in the forest's score
}

// Shares are the parts of a score that the coordinates of the forest's point give, which add up to 1.
type Shares struct {
	Speed  float64 `json:"speed,omitempty"`
	Wobble float64 `json:"wobble,omitempty"`
	Jitter float64 `json:"jitter,omitempty"`
}

// Graver reports whether a is graver than b: by severity, then by the kind's gravity.
func (a Anomaly) Graver(b Anomaly) bool {
	return cmp.Or(cmp.Compare(a.Weighed().Weight(), b.Weighed().Weight()),
		cmp.Compare(a.Kind.Gravity(), b.Kind.Gravity())) > 0
}

// Weighed returns Severity, or that of the kind where an earlier program left it out.
func (a Anomaly) Weighed() Severity { return cmp.Or(a.Severity, a.Kind.Severity()) }

// Observation is the scorer's message to a fan's workflow that the state of one of the fan's families became Anomaly at
// the reading at Position. It may be sent more than once; see [Observation.After].
type Observation struct {
	V        int       `json:"v"`
	Fan      string    `json:"fan"`
	Position Position  `json:"position"`
	Time     time.Time `json:"time"`
	RPM      float64   `json:"rpm"`
	Anomaly  Anomaly   `json:"anomaly"`
	At       time.Time `json:"at,omitzero"` // with KindSilent: when silence was judged, by the scorer's clock
	// Family is the family of which Anomaly is the state. "" is that of the kind; with KindNone it says that no family
	// is in trouble. Earlier programs leave it out.
	Family Family `json:"family,omitempty"`
	// Suggestions are all that the fan's readings suggest at Position.
	Suggestions []Suggestion `json:"suggestions,omitempty"`
	// Extent is how far an incident reaches; nil = the observation is of none.
	Extent *Extent `json:"extent,omitempty"`
}

// Of returns the family of which the observation tells; "" tells of all.
func (o Observation) Of() Family { return cmp.Or(o.Family, o.Anomaly.Kind.Family()) }

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
