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
	_, _ = h.Write([]byte(fan)) // never fails
	forest, err := rcf.New(rcf.Config{Dimensions: features, Shingle: 1, Trees: cfg.Trees, SampleSize: cfg.SampleSize,
		OutputAfter: 32, Seed: cfg.Seed ^ h.Sum64()})
	if err != nil {
		panic("detect: " + err.Error()) // Config is set by the program, never by input
	}
	return forest
}

// learn updates the forest and the usual values with a reading, unless the fan is in trouble, so that a fault never
// becomes usual by lasting. An operator makes it usual by Device.Relearn.
func (f *fan) learn(cfg Config, r fanwatch.Reading, point []float64, score float64, trouble bool) {
	s := &f.st
	if s.Settling > 0 {
		s.Settling--
		return
	}
	if trouble || s.Current.Kind != fanwatch.KindNone || s.Under+s.Over+s.Absent+s.Still > 0 || s.exceeds(cfg, score) {
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

// exceeds reports whether one score alone is above the threshold. Such a reading is not learned, so that the first
// readings of a fault do not raise the threshold.
func (s *state) exceeds(cfg Config, score float64) bool {
	return s.Learned >= cfg.Warmup && score > s.threshold()
}

// threshold returns the score that the judged score must exceed to be trouble.
func (s *state) threshold() float64 {
	return s.Usual.Mean + max(float64(enterSigma*s.Usual.sd()), enterMargin)
}

// unusual returns KindUnusual when the judged score exceeds the threshold, and during a step what was found before it.
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
	threshold := s.threshold()
	if score <= threshold {
		return fanwatch.Anomaly{}
	}
	return fanwatch.Anomaly{Kind: fanwatch.KindUnusual, Threshold: threshold, Why: f.explain(r, point, score)}
}

// explain returns a sentence on the feature that contributes most to the score.
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
