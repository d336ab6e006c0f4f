package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"fanwatch/rcf"
)

// scorer scores the rows of one stream.
type scorer struct {
	options  scoreOptions
	detector *rcf.Detector
	forest   *rcf.Forest // gives the score, or
	kinesis  *rcf.KDA    // does
	point    []float64
	base     []float64 // the first point that was scored where its values are large
	apart    []float64 // scratch: the difference to it
	values   []float64 // of the appended columns
	text     []byte    // scratch
	decimal  byte      // '.' or ','; 0: not known yet

	seen, unscored int
	why            error // of the first row that was not scored
	progress       *progress
}

func newScorer(o scoreOptions) (*scorer, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &scorer{options: o, point: make([]float64, len(o.columns)), values: make([]float64, len(o.names())),
		apart: make([]float64, len(o.columns)), decimal: map[string]byte{"point": '.', "comma": ','}[o.decimal],
		progress: &progress{}}
	var err error
	if o.preset == "kda" {
		s.kinesis, err = rcf.NewKDA(rcf.KDAConfig{
			Dimensions: len(o.columns), NumberOfTrees: o.trees, SubSampleSize: o.sampleSize,
			TimeDecay: o.timeDecay, ShingleSize: o.shingle, Seed: o.seed,
		})
	} else {
		s.forest, err = rcf.New(rcf.Config{
			Dimensions: len(o.columns), Trees: o.trees, SampleSize: o.sampleSize,
			TimeDecay: 1 / float64(o.timeDecay), Shingle: o.shingle, Seed: o.seed,
		})
	}
	if err != nil {
		return nil, byFlags(err)
	}
	views := make([]rcf.View, len(o.views))
	for i, name := range o.views {
		views[i] = viewNames[name]
	}
	s.detector, err = rcf.NewDetector(rcf.DetectorConfig{Dimensions: len(o.columns), Learn: o.learn, Seed: o.seed,
		Normalize: o.normalize, Threshold: o.threshold, Views: views})
	return s, byFlags(err)
}

// byFlags is an error about a config of package rcf in the words of the command's user.
func byFlags(err error) error {
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(err.Error(), rcf.ErrConfig.Error()+": ")
	return errors.New(strings.NewReplacer(
		"Learn is", "--learn is",
		"Threshold is", "--threshold is", "Views, give", "--views, give", "Dimensions is", "the number of --columns is",
		"Dimensions*Shingle", "--columns times --shingle",
		"NumberOfTrees", "--trees", "Trees", "--trees", "SubSampleSize", "--sample-size", "SampleSize", "--sample-size",
		"ShingleSize", "--shingle", "Shingle", "--shingle", "TimeDecay", "--time-decay",
	).Replace(text))
}

// score judges s.point and leaves the results in s.values.
func (s *scorer) score() error {
	result, err := s.detector.Process(s.point)
	if err != nil {
		return err
	}
	parts := s.values[4:]
	var score float64
	if s.kinesis != nil {
		score, err = s.scoreByKinesis(parts)
	} else {
		score, err = s.scoreByForest(s.detector.Point(), parts)
	}
	s.values[0], s.values[1], s.values[2], s.values[3] = score, result.Grade, result.Confidence, 0
	if result.State {
		s.values[3] = 1
	}
	return err
}

// scoreByForest scores a point, and fills parts, if there are any, with high and low of each column.
func (s *scorer) scoreByForest(point, parts []float64) (float64, error) {
	if len(parts) > 0 {
		a, err := s.forest.Attribute(point)
		if err != nil {
			return 0, err
		}
		a = a.Fold(len(point))
		for i := range point {
			parts[2*i], parts[2*i+1] = a.High[i], a.Low[i]
		}
	}
	if learn := s.options.learn; learn > 0 && s.detector.Seen() > uint64(learn) {
		return s.forest.Follow(point)
	}
	return s.forest.Process(point)
}

// largeValue is where the preset begins to take the difference to the first row: below it, float32 resolves 1/256, and
// scores have always been of the values themselves.
const largeValue = 1 << 16

// scoreByKinesis is scoreByForest with the preset.
func (s *scorer) scoreByKinesis(parts []float64) (float64, error) {
	if s.base == nil {
		s.base = slices.Clone(s.point)
		for i, v := range s.base {
			if math.Abs(v) < largeValue {
				s.base[i] = 0
			}
		}
	}
	point := s.apart
	for i, v := range s.point {
		point[i] = v - s.base[i]
	}
	if s.options.normalize == rcf.NormalizeOn {
		point = s.detector.Point()
	}
	if len(parts) == 0 {
		return s.kinesis.Process(point)
	}
	score, columns, err := s.kinesis.Explain(point)
	for i, c := range columns {
		larger, smaller := (c.Attribution+c.Strength)/2, (c.Attribution-c.Strength)/2
		if !c.High {
			larger, smaller = smaller, larger
		}
		parts[2*i], parts[2*i+1] = larger, smaller
	}
	return score, err
}

// skip counts a row that could not be scored; with --strict it is the end.
func (s *scorer) skip(line int, why error) error {
	why = fmt.Errorf("line %d: %w", line, why)
	if s.options.strict {
		return why
	}
	if s.unscored++; s.why == nil {
		s.why = why
	}
	return nil
}
