package rcf

import (
	"errors"
	"fmt"
	"math"
)

// Config describes a forest. The zero value of every field stands for the default named beside it, so that
// Config{} is a usable forest over single numbers.
type Config struct {
	// Dimensions is how many numbers a point given to Score or Update has. 0 means 1.
	Dimensions int

	// Shingle is how many consecutive points are judged together. 0 means 1: each point by itself. More
	// sees shapes in time, costs time and memory in proportion, and delays the first score by Shingle-1
	// points. Dimensions*Shingle is at most MaxCoordinates.
	Shingle int

	// Trees is the number of trees whose scores are averaged, 1 to MaxTrees. 0 means 50. More trees give
	// less noise in the score, at proportional cost.
	Trees int

	// SampleSize is how many points each tree holds, 2 to MaxSampleSize. 0 means 256. Its inverse should be
	// about the share of anomalies in the stream.
	SampleSize int

	// TimeDecay is the rate, per point, at which a point's chance to stay in a sample decays: 1/TimeDecay
	// is about the number of points that the forest remembers. 0 means 1/(10*SampleSize). It is at most 1;
	// NoTimeDecay makes every point of the stream equally likely to be in the sample.
	TimeDecay float64

	// InitialAcceptFraction says how eagerly a young tree takes points, above 0 to 1: it takes every point
	// until this fraction of its sample is filled, then ever fewer. 0 means 1: the first SampleSize points
	// are all taken. Less avoids that the start of the stream dominates the first scores after it.
	InitialAcceptFraction float64

	// OutputAfter is the number of points that must have been given to Update before Score answers anything
	// but 0. 0 means SampleSize/4, at least 1.
	OutputAfter int

	// Compact trades time for memory: the trees keep few of their bounding boxes, or none, and compute the others
	// when they are needed. Scores and snapshots' behaviour are the same bit for bit. DESIGN.md has figures.
	Compact bool

	// Seed determines all random choices. Every value, 0 too, is a seed of its own.
	Seed uint64
}

const (
	// NoTimeDecay as Config.TimeDecay gives every point of the stream the same chance to be in a sample.
	NoTimeDecay = -1

	// MaxTrees is the largest Config.Trees.
	MaxTrees = 10_000
	// MaxSampleSize is the largest Config.SampleSize.
	MaxSampleSize = 1<<15 - 1
	// MaxCoordinates is the largest product of Config.Dimensions and Config.Shingle.
	MaxCoordinates = 4096
)

// ErrConfig is wrapped by every error about a Config.
var ErrConfig = errors.New("rcf: unusable config")

// Validate says what is wrong with c, defaults applied, or nil. The error wraps ErrConfig.
func (c Config) Validate() error {
	return c.withDefaults().check()
}

// withDefaults returns c with its zero values replaced.
func (c Config) withDefaults() Config {
	if c.Dimensions == 0 {
		c.Dimensions = 1
	}
	if c.Shingle == 0 {
		c.Shingle = 1
	}
	if c.Trees == 0 {
		c.Trees = 50
	}
	if c.SampleSize == 0 {
		c.SampleSize = 256
	}
	if c.TimeDecay == 0 && c.SampleSize > 0 {
		c.TimeDecay = 1 / (10 * float64(c.SampleSize))
	}
	if c.InitialAcceptFraction == 0 {
		c.InitialAcceptFraction = 1
	}
	if c.OutputAfter == 0 {
		c.OutputAfter = max(1, c.SampleSize/4)
	}
	return c
}

// check judges a config whose defaults have been applied.
func (c Config) check() error {
	switch {
	case c.Dimensions < 1 || c.Dimensions > MaxCoordinates:
		return fmt.Errorf("%w: Dimensions is %d, give 1 to %d", ErrConfig, c.Dimensions, MaxCoordinates)
	case c.Shingle < 1 || c.Shingle > MaxCoordinates:
		return fmt.Errorf("%w: Shingle is %d, give 1 to %d", ErrConfig, c.Shingle, MaxCoordinates)
	case c.Dimensions*c.Shingle > MaxCoordinates:
		return fmt.Errorf("%w: Dimensions*Shingle is %d, more than %d; make either smaller",
			ErrConfig, c.Dimensions*c.Shingle, MaxCoordinates)
	case c.Trees < 1 || c.Trees > MaxTrees:
		return fmt.Errorf("%w: Trees is %d, give 1 to %d", ErrConfig, c.Trees, MaxTrees)
	case c.SampleSize < 2 || c.SampleSize > MaxSampleSize:
		return fmt.Errorf("%w: SampleSize is %d, give 2 to %d", ErrConfig, c.SampleSize, MaxSampleSize)
	case c.TimeDecay != NoTimeDecay && !(c.TimeDecay > 0 && c.TimeDecay <= 1):
		return fmt.Errorf("%w: TimeDecay is %v, give more than 0 and at most 1, or NoTimeDecay",
			ErrConfig, c.TimeDecay)
	case !(c.InitialAcceptFraction > 0 && c.InitialAcceptFraction <= 1):
		return fmt.Errorf("%w: InitialAcceptFraction is %v, give more than 0 and at most 1",
			ErrConfig, c.InitialAcceptFraction)
	case c.OutputAfter < 1 || c.OutputAfter > math.MaxInt32:
		return fmt.Errorf("%w: OutputAfter is %d, give 1 to %d", ErrConfig, c.OutputAfter, math.MaxInt32)
	}
	return nil
}

// decay returns the rate used in formulas: 0 for NoTimeDecay.
func (c Config) decay() float64 {
	if c.TimeDecay == NoTimeDecay {
		return 0
	}
	return c.TimeDecay
}

// coordinates returns the number of coordinates of a point in the trees.
func (c Config) coordinates() int { return c.Dimensions * c.Shingle }
