package detect

import (
	"math"

	"fanwatch"
	"fanwatch/rcf"
)

// The features of a reading: distances from the fan's usual values in units of their usual spread.
const (
	featureRPM    = iota // RPM
	featureSpread        // logarithm of the spread of the last RPMs: wobble that each RPM alone hides
	featureJitter        // logarithm of the period jitter within the reading: what a bearing does first
	features
)

const (
	spreadOver   = 8    // readings that the spread is taken over, the one furthest off left out
	statsTau     = 2000 // readings, time constant of a fan's usual values
	scoreTau     = 2000 // readings, time constant of the usual score
	judgeOver    = 3    // scores whose median is judged
	enterSigma   = 6.0  // standard deviations by which the judged score must exceed the usual one
	enterMargin  = 2.4  // least excess of the judged score; 37,000 ordinary readings (TestFewFalseAlarms) come to 1.9
	speedFloor   = 5e-3 // least deviation of the speed, as a fraction of the mean RPM: load and temperature move it
	spreadFloor  = 1e-3 // least spread, as a fraction of the mean RPM
	jitterFloor  = 5e-3 // least jitter, as a fraction of the period
	logFloor     = 0.2  // least deviation of the logarithms of spread and jitter
	dutyStep     = 200  // hundredths of a percent: a larger change of the commanded duty cycle is a step
	dutyBin      = 50   // hundredths of a percent: width of the bins of duty cycle that usual speeds are kept for
	clampFeature = 50   // standard deviations: bound of a feature
	clipLearned  = 6    // standard deviations: bound of a value that is learned, after startOver readings
)

// running is a running mean and variance: every value has equal weight up to tau values, then old ones fade.
type running struct {
	N    float64 `json:"n"`
	Mean float64 `json:"mean"`
	Var  float64 `json:"var"`
}

func (r *running) add(x float64, tau float64) {
	r.N = min(r.N+1, tau)
	alpha := 1 / r.N
	d := x - r.Mean
	r.Mean += float64(alpha * d)
	r.Var = float64((1 - alpha) * (r.Var + float64(alpha*float64(d*d))))
}

// addClipped adds x, cut off at clipLearned deviations, so that one wrong reading does not widen the deviation.
func (r *running) addClipped(x, floor float64) {
	if r.N >= startOver {
		reach := float64(clipLearned * max(r.sd(), floor))
		x = min(max(x, r.Mean-reach), r.Mean+reach)
	}
	r.add(x, statsTau)
}

func (r *running) sd() float64 { return math.Sqrt(r.Var) }

// features returns the forest's point of a reading: numbers of about 1, for any fan. The feature of the speed is 0
// while the usual speed is not known, at the beginning and at a new duty cycle.
func (f *fan) features(r fanwatch.Reading) [features]float64 {
	s := &f.st
	s.RPMs[s.N%spreadOver] = r.RPM
	m, sd := withoutOutlier(s.RPMs[:min(s.N+1, spreadOver)])
	usual := s.usual()
	if s.Stats[featureRPM].N == 0 {
		usual = max(m, 1)
	}
	raw := [features]float64{r.RPM, rcf.Log(sd/usual + spreadFloor), rcf.Log(min(r.Jitter, 10) + jitterFloor)}
	floors := s.floors()
	var point [features]float64
	for i, x := range raw {
		st := &s.Stats[i]
		if st.N == 0 {
			continue
		}
		z := (x - st.Mean) / max(st.sd(), floors[i])
		lowest := -1.0 // less spread or jitter than usual is no trouble
		if i == featureRPM {
			lowest = -clampFeature
		}
		point[i] = max(lowest, min(clampFeature, z))
	}
	s.Raw = raw // for learn
	return point
}

// usual returns the forest's usual speed, at least 1 RPM.
func (s *state) usual() float64 { return max(s.Stats[featureRPM].Mean, 1) }

func (s *state) floors() [features]float64 {
	return [features]float64{float64(speedFloor * s.usual()), logFloor, logFloor}
}

// withoutOutlier returns mean and standard deviation of values, without the one furthest from their mean if there are
// at least three.
func withoutOutlier(values []float64) (m, sd float64) {
	m = mean(values)
	out := -1
	if len(values) >= 3 {
		for i, x := range values {
			if out < 0 || math.Abs(x-m) > math.Abs(values[out]-m) {
				out = i
			}
		}
	}
	var n, sum, sq float64
	for i, x := range values {
		if i != out {
			n, sum = n+1, sum+x
		}
	}
	m = sum / n
	for i, x := range values {
		if i != out {
			sq += float64((x - m) * (x - m))
		}
	}
	return m, math.Sqrt(sq / n)
}

func mean(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}
