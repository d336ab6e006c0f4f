package rcf

import (
	"fmt"
	"math"
)

// KDAConfig holds the parameters of RANDOM_CUT_FOREST in the SQL of Amazon Kinesis Data Analytics, with its
// defaults and ranges ("Amazon Kinesis Data Analytics SQL Reference", RANDOM_CUT_FOREST). Zero values stand for the
// defaults.
type KDAConfig struct {
	// Dimensions is the number of numeric columns of the cursor. 0 means 1.
	Dimensions int

	// NumberOfTrees is 1 to 1000. 0 means 100.
	NumberOfTrees int

	// SubSampleSize is the number of points of the random sample behind each tree, 10 to 1000, and how many rows at
	// the beginning score 0. 0 means 256.
	SubSampleSize int

	// TimeDecay is about how many of the latest points count, 1 to 2^31-1. 0 means 100,000.
	TimeDecay int

	// ShingleSize is how many consecutive points are judged together, 1 to 30. 0 means 1.
	ShingleSize int

	// Seed determines all random choices; the SQL function offered none. Every value, 0 too, is a seed of
	// its own.
	Seed uint64
}

// KDA scores points as RANDOM_CUT_FOREST and RANDOM_CUT_FOREST_WITH_EXPLANATION of Amazon Kinesis Data Analytics
// for SQL did, which AWS switched off in January 2026: 0 for the first SubSampleSize points, then up to
// log2(SubSampleSize), which is 8 by default. NewKDA makes one. The zero KDA is good only for UnmarshalBinary.
// A KDA must not be copied and is not safe for concurrent use.
//
// The function was random, so no two runs of it agreed exactly; the scores here agree with it better than two of
// its own runs would, since there are treesEach trees for each one asked for.
type KDA struct {
	forest Forest
	scale  float64
}

// treesEach is how many trees grow for one of NumberOfTrees.
const treesEach = 2

// Explanation is one column's part in a score, as in the ANOMALY_EXPLANATION column of
// RANDOM_CUT_FOREST_WITH_EXPLANATION.
type Explanation struct {
	Attribution float64 // the column's part of the score; those of all columns add up to it
	Strength    float64 // of the direction, 0 to Attribution: by how much one direction outweighs the other
	High        bool    // the column's direction: true for HIGH, false for LOW
}

func (c KDAConfig) withDefaults() KDAConfig {
	for _, field := range [...]struct {
		value *int
		zero  int
	}{{&c.Dimensions, 1}, {&c.NumberOfTrees, 100}, {&c.SubSampleSize, 256}, {&c.TimeDecay, 100_000}, {&c.ShingleSize, 1}} {
		if *field.value == 0 {
			*field.value = field.zero
		}
	}
	return c
}

// Validate says what is wrong with c, defaults applied, or nil. The error wraps ErrConfig.
func (c KDAConfig) Validate() error {
	c = c.withDefaults()
	for _, field := range [...]struct {
		name           string
		value, low, up int
	}{
		{"Dimensions", c.Dimensions, 1, MaxCoordinates / 30},
		{"NumberOfTrees", c.NumberOfTrees, 1, 1000},
		{"SubSampleSize", c.SubSampleSize, 10, 1000},
		{"TimeDecay", c.TimeDecay, 1, math.MaxInt32},
		{"ShingleSize", c.ShingleSize, 1, 30},
	} {
		if field.value < field.low || field.value > field.up {
			return fmt.Errorf("%w: %s is %d, give %d to %d", ErrConfig, field.name, field.value, field.low, field.up)
		}
	}
	return nil
}

// NewKDA returns a function that has seen nothing. An error wraps ErrConfig.
func NewKDA(config KDAConfig) (*KDA, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	forest, err := New(Config{
		Dimensions: config.Dimensions, Shingle: config.ShingleSize,
		Trees: treesEach * config.NumberOfTrees, SampleSize: config.SubSampleSize, TimeDecay: 1 / float64(config.TimeDecay),
		OutputAfter: config.SubSampleSize, Seed: config.Seed,
	})
	if err != nil {
		return nil, err
	}
	k := &KDA{}
	k.adopt(forest)
	return k, nil
}

// adopt makes forest, a new or a restored one, k's own.
func (k *KDA) adopt(forest *Forest) {
	k.forest = *forest
	k.forest.deepen(0) // its parts know each other by address
	k.forest.kda = true
	size := forest.config.SampleSize
	k.scale = log2Of(size) / log2Of(size+1)
}

// Process scores a point and then learns it. Errors are those of Forest.Score.
func (k *KDA) Process(point []float64) (float64, error) {
	score, err := k.forest.Process(point)
	return float64(score * k.scale), err
}

// Explain is Process with an explanation for each column: the row that RANDOM_CUT_FOREST_WITH_EXPLANATION, with its
// parameter withDirectionality true, would put out.
func (k *KDA) Explain(point []float64) (float64, []Explanation, error) {
	parts, err := k.forest.Attribute(point)
	if err != nil {
		return 0, nil, err
	}
	score, err := k.Process(point)
	parts = parts.Fold(k.forest.config.Dimensions)
	columns := make([]Explanation, len(parts.High))
	for i := range columns {
		high, low := float64(parts.High[i]*k.scale), float64(parts.Low[i]*k.scale)
		columns[i] = Explanation{Attribution: high + low, Strength: math.Abs(high - low), High: high > low}
	}
	return score, columns, err
}

// seenByKDA is seenValue as the recordings of Kinesis Data Analytics show it: a leaf of several equal points
// counts as a balanced tree of them, and a tree that is nothing else as 1/(1 + its size), which makes a constant
// stream score log2(256)/257.
func (f *Forest) seenByKDA(depth, mass int) float64 {
	if depth == 0 {
		return 1 / float64(1+mass)
	}
	return 1 / (float64(depth) + f.log2(mass))
}

// kdaMagic begins a snapshot of a KDA; the snapshot of its forest follows.
const kdaMagic = "RCFk"

// MarshalBinary returns a snapshot: versioned, checksummed and portable as that of a Forest. Its error is always nil.
func (k *KDA) MarshalBinary() ([]byte, error) { return k.forest.AppendBinary([]byte(kdaMagic)) }

// UnmarshalBinary replaces k by the one in a snapshot, which from then on behaves as the original in every bit. On an
// error, which wraps ErrSnapshot, k is as it was.
func (k *KDA) UnmarshalBinary(data []byte) error {
	if len(data) < len(kdaMagic) || string(data[:len(kdaMagic)]) != kdaMagic {
		return fmt.Errorf("%w: it is not of a KDA", ErrSnapshot)
	}
	var forest Forest
	if err := forest.UnmarshalBinary(data[len(kdaMagic):]); err != nil {
		return err
	}
	c := forest.config
	size := KDAConfig{Dimensions: c.Dimensions, NumberOfTrees: c.Trees / treesEach, SubSampleSize: c.SampleSize,
		ShingleSize: c.Shingle}
	if err := size.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if c.OutputAfter != c.SampleSize || c.Trees < treesEach {
		return fmt.Errorf("%w: its forest is not one of a KDA", ErrSnapshot)
	}
	k.adopt(&forest)
	return nil
}
