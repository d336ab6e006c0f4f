package rcf

import (
	"fmt"
	"math"
	"slices"
)

// DetectorConfig describes a detector. The zero value of every field stands for the default named beside it, so that
// DetectorConfig{} is a usable detector over single numbers.
type DetectorConfig struct {
	// Dimensions is how many numbers a point has. 0 means 1.
	Dimensions int

	// Views are what the detector's forests look at, each with a forest of its own. Nil means PointView and
	// RollingView. The first one's score is Result.Score. More views cost time and memory each, and an anomaly that
	// only one of them shows counts for less.
	Views []View

	// Threshold is the Level at which the detector alerts, above 0. 0 means 2, and 3 with Learn, since what is not learned
	// any more stays unusual. Lower finds more and errs more often.
	Threshold float64

	// Rest is how many points pass after an alert before the next one, 1 to 2^31-1; an anomaly
	// mostly outlasts a single point. 0 means 120, NoRest lets every point alert whose Level reaches the Threshold.
	Rest int

	// Window is the number of points that RollingView and ShingleView look at, 2 to 4096. 0 means 48.
	Window int

	// Trees, SampleSize and TimeDecay are those of every forest; see Config. 0 means 50 trees, 1024 samples and a
	// decay of 1/100,000.
	Trees      int
	SampleSize int
	TimeDecay  float64

	// Tolerance names for each dimension the difference from its running mean up to which a value is taken for
	// the mean. On a stream that hardly ever changes it is the only way to tell a large change from a small one.
	// Nil means 0 for all.
	Tolerance []float64

	// Learn is the number of points at the beginning that are usual: forests, running means and the calibration of
	// the scores learn them and then nothing more. 0 means that the detector learns for ever; otherwise it is at least
	// 128, and Window-1 more with a ShingleView, so that the detector is Ready by then, and better several hundred.
	Learn int

	// Normalize says whether PointView and ShingleView scale each dimension by its running mean and deviation, which
	// Learn freezes. NormalizeAuto, 0, scales them where there are several.
	Normalize Normalization

	// Seed determines all random choices. Every value, 0 too, is a seed of its own.
	Seed uint64
}

// Normalization is a setting of a Detector: whether values are scaled before its forests see them.
type Normalization uint8

const (
	// NormalizeAuto scales where there are several dimensions. One by itself looks the same to a forest at any scale.
	NormalizeAuto Normalization = iota
	// NormalizeOn scales always. A single dimension then follows its running mean, so that a slow drift is no news.
	NormalizeOn
	// NormalizeOff scales never: dimensions of large numbers hide those of small ones.
	NormalizeOff
)

// NoRest as DetectorConfig.Rest lets alerts follow each other without a pause.
const NoRest = -1

// maxViews bounds DetectorConfig.Views.
const maxViews = 16

// Validate says what is wrong with c, defaults applied, or nil. The error wraps ErrConfig.
func (c DetectorConfig) Validate() error {
	return c.withDefaults().check()
}

// withDefaults returns c with its zero values replaced; it shares no slice with c.
func (c DetectorConfig) withDefaults() DetectorConfig {
	if c.Dimensions == 0 {
		c.Dimensions = 1
	}
	if c.Views == nil {
		c.Views = []View{PointView, RollingView}
	}
	if c.Threshold == 0 {
		c.Threshold = 2
		if c.Learn != 0 {
			c.Threshold = 3
		}
	}
	if c.Rest == 0 {
		c.Rest = 120
	}
	if c.Window == 0 {
		c.Window = 48
	}
	if c.Trees == 0 {
		c.Trees = 50
	}
	if c.SampleSize == 0 {
		c.SampleSize = 1024
	}
	if c.TimeDecay == 0 {
		c.TimeDecay = 1e-5
	}
	c.Views, c.Tolerance = slices.Clone(c.Views), slices.Clone(c.Tolerance)
	return c
}

// check judges a config whose defaults have been applied.
func (c DetectorConfig) check() error {
	switch {
	case c.Dimensions < 1 || c.Dimensions > MaxCoordinates:
		return fmt.Errorf("%w: Dimensions is %d, give 1 to %d", ErrConfig, c.Dimensions, MaxCoordinates)
	case len(c.Views) < 1 || len(c.Views) > maxViews:
		return fmt.Errorf("%w: there are %d Views, give 1 to %d", ErrConfig, len(c.Views), maxViews)
	case !(c.Threshold > 0 && c.Threshold <= math.MaxFloat32):
		return fmt.Errorf("%w: Threshold is %v, give more than 0", ErrConfig, c.Threshold)
	case c.Rest < 1 && c.Rest != NoRest || c.Rest > math.MaxInt32:
		return fmt.Errorf("%w: Rest is %d, give 1 to %d, or NoRest", ErrConfig, c.Rest, math.MaxInt32)
	case c.Window < 2 || c.Window > MaxCoordinates:
		return fmt.Errorf("%w: Window is %d, give 2 to %d", ErrConfig, c.Window, MaxCoordinates)
	case c.Normalize > NormalizeOff:
		return fmt.Errorf("%w: Normalize is %d, give NormalizeAuto, NormalizeOn or NormalizeOff", ErrConfig, c.Normalize)
	case len(c.Tolerance) != 0 && len(c.Tolerance) != c.Dimensions:
		return fmt.Errorf("%w: there are %d Tolerances, give one for each of %d dimensions", ErrConfig, len(c.Tolerance),
			c.Dimensions)
	}
	for i, t := range c.Tolerance {
		if !(t >= 0 && t <= math.MaxFloat32) {
			return fmt.Errorf("%w: Tolerance %d is %v, give 0 or more", ErrConfig, i, t)
		}
	}
	for _, v := range c.Views {
		if v < PointView || v > ShingleView {
			return fmt.Errorf("%w: there is no %v, give PointView, RollingView or ShingleView", ErrConfig, v)
		}
		forest := c.forest(v, 0)
		if err := forest.Validate(); err != nil {
			return fmt.Errorf("%w (forest of the %v view)", err, v)
		}
		if least := forest.OutputAfter + calibration; c.Learn != 0 && (c.Learn < least || c.Learn > math.MaxInt32) {
			return fmt.Errorf("%w: Learn is %d, give 0 to learn for ever, or %d to %d", ErrConfig, c.Learn, least,
				math.MaxInt32)
		}
	}
	return nil
}

// forest returns the configuration of the forest over a view.
func (c DetectorConfig) forest(v View, seed uint64) Config {
	f := Config{
		Dimensions: v.width(c.Dimensions), Shingle: 1,
		Trees: c.Trees, SampleSize: c.SampleSize, TimeDecay: c.TimeDecay, InitialAcceptFraction: 1,
		OutputAfter: silence, Seed: seed,
	}
	if v == ShingleView {
		f.Shingle, f.OutputAfter = c.Window, silence+c.Window-1
	}
	return f
}
