package detect

import (
	"math"

	"fanwatch"
	"fanwatch/rcf"
)

// The features that a forest sees of each reading, each as its distance from the fan's own usual in
// units of its usual spread.
const (
	featureRPM    = iota // RPM
	featureSpread        // logarithm of the spread of the last RPMs: wobble that each RPM alone hides
	featureJitter        // logarithm of the period jitter within the reading: what a bearing does first
	features
)

const (
	spreadOver   = 8    // readings, of which the one furthest off does not count
	statsTau     = 2000 // readings over which a fan's usual values fade
	scoreTau     = 2000 // readings over which the usual score fades
	judgeOver    = 3    // scores whose middle one is judged
	enterSigma   = 6.0  // the judged score must exceed the usual one by this many deviations ...
	enterMargin  = 2.4  // ... and by this much: 37,000 ordinary readings (TestFewFalseAlarms) came to 1.9
	speedFloor   = 5e-3 // of the mean RPM: load and temperature move a fan by this much; it is no trouble
	spreadFloor  = 1e-3 // of the mean RPM: a fan steadier than this is not judged by smaller wobble
	jitterFloor  = 5e-3 // of the period, as spreadFloor is of the RPM
	logFloor     = 0.2  // of the logarithms of spread and jitter
	dutyStep     = 200  // hundredths of a percent: a change of the commanded duty cycle beyond it is a step
	dutyBin      = 50   // hundredths of a percent: what is usual is kept for duty cycles this close together
	clampFeature = 50   // standard deviations; beyond it one is as odd as another
	clipLearned  = 6    // deviations at which what is learned as usual is cut off, after startOver readings
)

// running is a mean and variance that counts every value alike at first and fades over tau later.
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

// addClipped adds x, cut off at clipLearned deviations: one wrong reading must not widen what is usual.
func (r *running) addClipped(x, floor float64) {
	if r.N >= startOver {
		reach := float64(clipLearned * max(r.sd(), floor))
		x = min(max(x, r.Mean-reach), r.Mean+reach)
	}
	r.add(x, statsTau)
}

func (r *running) sd() float64 { return math.Sqrt(r.Var) }

// features makes the forest's point of a reading: numbers of about one, whatever the fan. As long as the usual speed
// is not known, at the beginning and at a new duty cycle, the speed says nothing.
func (f *fan) features(r fanwatch.Reading) [features]float64 {
	s := &f.st
	s.RPMs[s.N%spreadOver] = r.RPM
	m, sd := steady(s.RPMs[:min(s.N+1, spreadOver)])
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
			continue // the first readings are the usual
		}
		z := (x - st.Mean) / max(st.sd(), floors[i])
		lowest := -1.0 // less wobble and less jitter than usual is no trouble
		if i == featureRPM {
			lowest = -clampFeature
		}
		point[i] = max(lowest, min(clampFeature, z))
	}
	s.Raw = raw // for learn, which alone decides whether these count as usual
	return point
}

// usual returns the speed that the forest takes for usual, at least 1 RPM.
func (s *state) usual() float64 { return max(s.Stats[featureRPM].Mean, 1) }

func (s *state) floors() [features]float64 {
	return [features]float64{float64(speedFloor * s.usual()), logFloor, logFloor}
}

// steady returns mean and deviation of values without the one that is furthest from their mean; of less than three
// values with it.
func steady(values []float64) (m, sd float64) {
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
