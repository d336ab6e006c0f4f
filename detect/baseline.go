package detect

import (
	"slices"
	"time"

	"fanwatch"
)

const (
	startOver   = 30                       // readings whose median begins a baseline
	baselineTau = float64(7 * 24 * 3600e6) // time constant of a baseline, microseconds
	// baselineClip is the largest step of one reading as a fraction of the level: it moves by a tenth a week at most.
	baselineClip = 0.1
	baselineStep = int64(600e6) // longest time that one reading stands for, microseconds
)

// baseline is the speed that is usual at one duty cycle, for the rule "half of its usual speed". It moves more slowly
// than the forest's usual values, so that neither a fault of hours nor a decline over days becomes usual.
type baseline struct {
	First []float64 `json:"first,omitempty"` // the readings before it begins, at most startOver
	Level float64   `json:"level"`           // RPM; 0 before it begins
	Last  int64     `json:"last"`            // time of the newest reading, Unix microseconds
}

func (b *baseline) begun() bool { return b.Level > 0 }

// learn adds a reading of a normal fan that turns. It reports whether the baseline began with it.
func (b *baseline) learn(rpm float64, at time.Time) bool {
	us := at.UnixMicro()
	dt := min(max(us-b.Last, 0), baselineStep)
	b.Last = us
	if !b.begun() {
		if b.First = append(b.First, rpm); len(b.First) == startOver {
			b.Level = median(b.First)
		}
		return b.begun()
	}
	reach := float64(baselineClip * b.Level)
	b.Level += float64(min(max(rpm-b.Level, -reach), reach) * float64(dt) / baselineTau)
	return false
}

// median returns the middle of values, or the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func medianOf3(a, b, c float64) float64 { return max(min(a, b), min(max(a, b), c)) }

// base returns the baseline at the commanded duty cycle; at key 0 when no duty cycle is known.
func (s *state) base() baseline { return s.Bases[s.Duty/dutyBin] }

func (s *state) setBase(b baseline) {
	if s.Bases == nil {
		s.Bases = make(map[fanwatch.Duty]baseline)
	}
	s.Bases[s.Duty/dutyBin] = b
}
