package detect

import (
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"fanwatch"
	"fanwatch/detect/judge"
	"fanwatch/rcf"
)

const (
	coordinates = 3      // of a point: residual of the speed, wobble, jitter
	scoreTau    = 20_000 // readings, time constant of the usual score
	judgeOver   = 3      // scores whose median is judged
	enterSigma  = 6.0    // standard deviations by which the judged score must exceed the usual one
	enterMargin = 2.4    // least excess of the judged score
	enterFar    = 4.0    // usual deviations that a point must be away from 0: what is odd and small is no trouble
	oddFor      = 30     // s for which the score must be high
	oddReadings = 5      // readings in a row for which it must be high
)

// forestState is what the judgement of the scores carries from reading to reading.
type forestState struct {
	N       int                `json:"n"`               // readings scored
	Learned int                `json:"learned"`         // readings that the forest learned
	Scores  [judgeOver]float64 `json:"scores"`          // ring, indexed by N
	Usual   running            `json:"usual"`           // of the score
	Odd     int                `json:"odd,omitempty"`   // readings in a row that stand out
	Since   int64              `json:"since,omitempty"` // time of the first of them, Unix microseconds
}

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

func (r *running) sd() float64 { return math.Sqrt(r.Var) }

func newForest(fan string, cfg Config) *rcf.Forest {
	h := fnv.New64a()
	_, _ = h.Write([]byte(fan)) // never fails
	forest, err := rcf.New(rcf.Config{Dimensions: coordinates, Shingle: 1, Trees: cfg.Trees, SampleSize: cfg.SampleSize,
		OutputAfter: 32, Seed: cfg.Seed ^ h.Sum64()})
	if err != nil {
		panic("detect: " + err.Error()) // Config is set by the program, never by input
	}
	return forest
}

func (f *fan) forgetForest(cfg Config) {
	f.forest, f.st.Forest = newForest(f.device.Fan, cfg), forestState{}
	if f.kept != nil {
		f.kept.forest = forestState{}
	}
}

// scoreOf returns the forest's score of a reading: of its residuals, not of its values. It is 0 while the fan stands
// still as it may, and while the forest or the judge warms up.
func (f *fan) scoreOf(v judge.Verdict) float64 {
	if v.Point == ([coordinates]float64{}) && !v.Scored {
		return 0
	}
	score, err := f.forest.Score(v.Point[:])
	if err != nil {
		return 0 // unreachable: points are finite by construction
	}
	s := &f.st.Forest
	s.Scores[s.N%judgeOver] = score
	s.N++
	return score
}

// threshold returns the score that the judged score must exceed to stand out.
func (s *forestState) threshold() float64 {
	return s.Usual.Mean + max(float64(enterSigma*s.Usual.sd()), enterMargin)
}

func medianOf3(a, b, c float64) float64 { return max(min(a, b), min(max(a, b), c)) }

// unusual judges the score of a reading, and learns the reading where the fan is in no trouble but drift, which
// residuals do not show. The forest is the judge of what no test has a name for: trouble that a test has named is not
// the forest's too.
func (f *fan) unusual(cfg Config, row *fanwatch.Row, v judge.Verdict) judge.Finding {
	s, rule := &f.st.Forest, f.device.Forest
	if rule.Score > 0 && !rule.Off {
		f.learn(row, v, row.Score > rule.Score)
		if row.Score > rule.Score {
			return f.unusualFinding(row, row.Time)
		}
		return judge.Finding{}
	}
	if !v.Scored {
		s.Odd = 0
		return judge.Finding{}
	}
	score := medianOf3(s.Scores[0], s.Scores[1], s.Scores[2])
	far := 0.0
	for _, x := range v.Point {
		far += float64(x * x)
	}
	odd := s.Learned >= cfg.Warmup && score > s.threshold() && far > enterFar*enterFar
	f.learn(row, v, odd || s.Learned >= cfg.Warmup && row.Score > s.threshold())
	named := false
	for _, family := range f.st.Families[:familyForest] {
		named = named || family.Current.Kind != fanwatch.KindNone
	}
	if !odd || named || rule.Off {
		s.Odd = 0
		return judge.Finding{}
	}
	if s.Odd == 0 {
		s.Since = row.Time.UnixMicro()
	}
	s.Odd = min(s.Odd+1, 1<<30)
	if s.Odd < oddReadings || row.Time.UnixMicro()-s.Since < oddFor*1e6 {
		return judge.Finding{}
	}
	return f.unusualFinding(row, time.UnixMicro(s.Since))
}

func (f *fan) unusualFinding(row *fanwatch.Row, since time.Time) judge.Finding {
	severity := f.device.Forest.Severity
	if severity == "" {
		severity = fanwatch.SeverityInfo
	}
	return judge.Finding{Kind: fanwatch.KindUnusual, Severity: severity, Test: testScore, Value: row.Score,
		Expected: f.st.Forest.Usual.Mean, Since: since.UnixMicro()}
}

// learn updates the forest and the usual score with a reading, unless the fan is in trouble or the reading stands out,
// so that a fault never becomes usual by lasting, or the reading is of a pause.
func (f *fan) learn(row *fanwatch.Row, v judge.Verdict, odd bool) {
	s := &f.st.Forest
	if !v.Scored || odd || f.kept != nil {
		return
	}
	for _, family := range f.st.Families[:familyDrift] {
		if family.Current.Kind != fanwatch.KindNone {
			return
		}
	}
	if err := f.forest.Update(v.Point[:]); err != nil {
		return // unreachable: points are finite by construction
	}
	s.Learned++
	if row.Score > 0 {
		s.Usual.add(row.Score, scoreTau)
	}
}

// explain sets the shares of the coordinates in the newest point's score, and the sentence.
func (f *fan) explain(a *fanwatch.Anomaly, row *fanwatch.Row) {
	s := &f.st.Forest
	a.Threshold = s.threshold()
	if f.device.Forest.Score > 0 {
		a.Threshold = f.device.Forest.Score
	}
	var part [coordinates]float64
	if at, err := f.forest.Attribute(f.point[:]); err == nil {
		sum := 0.0
		for i := range part {
			part[i] = at.High[i] + at.Low[i]
			sum += part[i]
		}
		for i := range part {
			part[i] /= max(sum, 1e-9)
		}
	}
	hundredth := func(x float64) float64 { return math.Floor(float64(x*100)+0.5) / 100 }
	a.Shares = fanwatch.Shares{Speed: hundredth(part[0]), Wobble: hundredth(part[1]), Jitter: hundredth(part[2])}
	a.Why = fmt.Sprintf("%s behaves unusually within its limits: score %.2f where %.2f is usual; %.0f %% of it by speed "+
		"(%.0f RPM, %.0f expected), %.0f %% by wobble, %.0f %% by jitter. If it is to run like this: "+
		"fanwatch ack %s --normal.", f.device.Fan, row.Score, s.Usual.Mean, 100*part[0], row.RPM, row.Judged.Expected,
		100*part[1], 100*part[2], f.device.Fan)
}
