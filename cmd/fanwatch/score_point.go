package main

import (
	"errors"
	"fmt"
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
	values   []float64 // of the appended columns
	text     []byte    // scratch

	seen, unscored int
	why            error // of the first row that was not scored
	progress       *progress
}

func newScorer(o scoreOptions) (*scorer, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &scorer{options: o, point: make([]float64, len(o.columns)), values: make([]float64, len(o.names())),
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
	s.detector, err = rcf.NewDetector(rcf.DetectorConfig{Dimensions: len(o.columns), Seed: o.seed})
	return s, byFlags(err)
}

// byFlags is an error about a config of package rcf in the words of the command's user.
func byFlags(err error) error {
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(err.Error(), rcf.ErrConfig.Error()+": ")
	return errors.New(strings.NewReplacer(
		"Dimensions is", "the number of --columns is", "Dimensions*Shingle", "--columns times --shingle",
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
	parts := s.values[3:]
	var score float64
	if s.kinesis != nil {
		score, err = s.scoreByKinesis(parts)
	} else {
		score, err = s.scoreByForest(parts)
	}
	s.values[0], s.values[1], s.values[2] = score, result.Grade, result.Confidence
	return err
}

// scoreByForest scores s.point, and fills parts, if there are any, with high and low of each column.
func (s *scorer) scoreByForest(parts []float64) (float64, error) {
	if len(parts) > 0 {
		a, err := s.forest.Attribute(s.point)
		if err != nil {
			return 0, err
		}
		a = a.Fold(len(s.point))
		for i := range s.point {
			parts[2*i], parts[2*i+1] = a.High[i], a.Low[i]
		}
	}
	return s.forest.Process(s.point)
}

// scoreByKinesis is scoreByForest with the preset.
func (s *scorer) scoreByKinesis(parts []float64) (float64, error) {
	if len(parts) == 0 {
		return s.kinesis.Process(s.point)
	}
	score, columns, err := s.kinesis.Explain(s.point)
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
