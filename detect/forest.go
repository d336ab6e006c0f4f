package detect

import (
	"fmt"
	"hash/fnv"
	"math"

	"fanwatch"
	"fanwatch/rcf"
)

func newForest(fan string, cfg Config) *rcf.Forest {
	h := fnv.New64a()
	_, _ = h.Write([]byte(fan)) // a hash never fails
	forest, err := rcf.New(rcf.Config{Dimensions: features, Shingle: 1, Trees: cfg.Trees, SampleSize: cfg.SampleSize,
		OutputAfter: 32, Seed: cfg.Seed ^ h.Sum64()})
	if err != nil {
		panic("detect: " + err.Error()) // Config is the program's own, never input
	}
	return forest
}

// learn feeds the forest and the usual values, unless the fan is in trouble: a fault must not become usual. It never
// becomes so by itself: an operator says that it is (Device.Relearn).
func (f *fan) learn(cfg Config, r fanwatch.Reading, point []float64, score float64, trouble bool) {
	s := &f.st
	if s.Settling > 0 {
		s.Settling--
		return
	}
	if trouble || s.Current.Kind != fanwatch.KindNone || s.Under+s.Over+s.Absent+s.Still > 0 || s.odd(cfg, score) {
		return
	}
	floors := s.floors()
	if b := s.base(); r.RPM > 0 {
		if b.learn(r.RPM, r.Time) {
			for _, rpm := range b.First {
				if rpm > b.Level/2 && rpm < 2*b.Level {
					s.Stats[featureRPM].add(rpm, statsTau)
				}
			}
			b.First = nil
		} else if b.begun() {
			s.Stats[featureRPM].addClipped(s.Raw[featureRPM], floors[featureRPM])
		}
		s.setBase(b)
	}
	for i := featureRPM + 1; i < features; i++ {
		s.Stats[i].addClipped(s.Raw[i], floors[i])
	}
	if err := f.forest.Update(point); err != nil {
		return
	}
	s.Learned++
	if score > 0 {
		s.Usual.add(score, scoreTau)
	}
}

// odd reports whether one score alone is beyond the bar. A single such reading raises no alert, but
// the first readings of a fault must not raise the bar for those that follow.
func (s *state) odd(cfg Config, score float64) bool {
	return s.Learned >= cfg.Warmup && score > s.bar()
}

// bar is what the judged score must exceed to be trouble.
func (s *state) bar() float64 {
	return s.Usual.Mean + max(float64(enterSigma*s.Usual.sd()), enterMargin)
}

// unusual asks the forest. A score that hovers about the bar does not open and close alerts, because one
// reading above it begins trouble and only leaveInARow below it end it.
func (f *fan) unusual(cfg Config, r fanwatch.Reading, point []float64, score float64) fanwatch.Anomaly {
	s := &f.st
	switch {
	case s.Learned < cfg.Warmup:
		return fanwatch.Anomaly{}
	case s.Settling > 0 && s.Current.Kind == fanwatch.KindUnusual:
		return s.Current // a step neither begins trouble nor ends it
	case s.Settling > 0:
		return fanwatch.Anomaly{}
	}
	bar := s.bar()
	if score <= bar {
		return fanwatch.Anomaly{}
	}
	return fanwatch.Anomaly{Kind: fanwatch.KindUnusual, Threshold: bar, Why: f.explain(r, point, score)}
}

// explain names the feature that contributes most to the score.
func (f *fan) explain(r fanwatch.Reading, point []float64, score float64) string {
	s := &f.st
	most := featureRPM
	if a, err := f.forest.Attribute(point); err == nil {
		for i := range features {
			if a.High[i]+a.Low[i] > a.High[most]+a.Low[most] {
				most = i
			}
		}
	}
	what := fmt.Sprintf("its speed, %.0f RPM, is not its usual %.0f RPM", r.RPM, s.Stats[featureRPM].Mean)
	if duty, known := s.Duty.Fraction(); known {
		what += fmt.Sprintf(" at %.0f %% PWM", 100*duty)
	}
	switch most {
	case featureSpread:
		what = fmt.Sprintf("its speed wobbles (by %.1f %%, usually %.1f %%)",
			100*(math.Exp(s.Raw[most])-spreadFloor), 100*max(0, math.Exp(s.Stats[most].Mean)-spreadFloor))
	case featureJitter:
		what = fmt.Sprintf("its pulses jitter (by %.1f %%, usually %.1f %%), as with a worn bearing",
			100*r.Jitter, 100*max(0, math.Exp(s.Stats[most].Mean)-jitterFloor))
	}
	return fmt.Sprintf("%s behaves unusually within its limits: %s (score %.2f, usually %.2f).%s",
		f.device.Fan, what, score, s.Usual.Mean, f.relearn())
}
