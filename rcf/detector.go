package rcf

import (
	"fmt"
	"math"
	"slices"
)

// Detector turns a stream of points into decisions: it runs a forest over each of several views of the stream,
// calibrates their scores against their own past, and alerts once when they stand out together. NewDetector makes
// one. The zero Detector is good only for UnmarshalBinary. A Detector must not be copied and is not safe for
// concurrent use.
type Detector struct {
	config  DetectorConfig // defaults applied
	seen    uint64
	rested  uint64 // points since the last alert; more than any Rest before the first
	rolling rolling
	views   []viewForest
	point   []float64 // scratch: the point without what Tolerance ignores
}

// Result is what a Detector says about one point.
type Result struct {
	// Score is the score that the forest over the first view gives: 0 .. log2(SampleSize+1), see Forest.Score.
	Score float64

	// Level is how much the point and the two before it stand out: by how many standard deviations the forests' scores
	// exceed their running means, averaged over the views. It is 0 until the detector is Ready and may be negative. Rest
	// does not affect it: of two anomalies in a row it shows both.
	Level float64

	// Grade is 0 except at an alert, and there from 0.5 to 1: Level / (Level + Threshold), rising with
	// the Level. It ranks alerts.
	Grade float64

	// Confidence is how much of its memory the detector has filled: 0 until it is Ready, then
	// 1 - 2^-(points seen / SampleSize), up to 1.
	Confidence float64

	// Alert is true at the first point whose Level reaches the Threshold, and then not before Rest more
	// points have passed.
	Alert bool
}

// viewForest is one view with its forest and the past of its scores.
type viewForest struct {
	view   View
	forest *Forest
	scale  float64   // 1/log2(SampleSize+1), which makes scores 0..1
	point  []float64 // scratch: what the view makes of the point
	recent [smoothing]float64
	scores uint64 // how many there have been
	past   moments
}

// The constants of the detector. Halving or doubling any of them changes its results little.
const (
	smoothing   = 3    // scores that are averaged
	silence     = 64   // points before a forest scores
	calibration = 64   // scores before a Level is computed
	scoreMemory = 8000 // points: time constant of the calibration
	scoreFloor  = 0.002
)

// NewDetector returns a detector that has seen nothing. An error wraps ErrConfig.
func NewDetector(config DetectorConfig) (*Detector, error) {
	config = config.withDefaults()
	if err := config.check(); err != nil {
		return nil, err
	}
	d := newDetector(config)
	seeds := splitMix(config.Seed)
	for i, view := range config.Views {
		forest, err := New(config.forest(view, seeds.next()))
		if err != nil {
			return nil, fmt.Errorf("view %v: %w", view, err)
		}
		d.views[i].forest = forest
	}
	return d, nil
}

// newDetector makes a detector whose forests are still missing.
func newDetector(c DetectorConfig) *Detector {
	d := &Detector{
		config:  c,
		rested:  math.MaxUint64,
		rolling: newRolling(c.Dimensions, c.Window),
		views:   make([]viewForest, len(c.Views)),
		point:   make([]float64, c.Dimensions),
	}
	for i, view := range c.Views {
		d.views[i] = viewForest{view: view, scale: 1 / log2Of(c.SampleSize+1), point: make([]float64,
			view.width(c.Dimensions))}
	}
	return d
}

// Config returns the detector's configuration, defaults filled in.
func (d *Detector) Config() DetectorConfig {
	c := d.config
	c.Views, c.Tolerance = slices.Clone(c.Views), slices.Clone(c.Tolerance)
	return c
}

// Seen returns the number of points that Process has taken.
func (d *Detector) Seen() uint64 { return d.seen }

// Ready reports whether Process gives a Level: enough points have been seen to tell what is usual. That takes 128
// points, and Window-1 more with a ShingleView.
func (d *Detector) Ready() bool {
	for i := range d.views {
		if d.views[i].scores < calibration {
			return false
		}
	}
	return true
}

// Process judges the next point of the stream and learns it. A point with the wrong number of values, or a value that
// is NaN, infinite or beyond float32, is an error that wraps ErrPoint and leaves the detector unchanged. Once the
// forests are full, Process allocates nothing.
func (d *Detector) Process(point []float64) (Result, error) {
	if err := d.take(point); err != nil {
		return Result{}, err
	}
	d.rolling.add(d.point)
	ready := d.Ready()
	var r Result
	for i := range d.views {
		l := &d.views[i]
		score, z, err := l.process(&d.rolling)
		if err != nil {
			return Result{}, err // not reached: the view of a usable point is a usable point
		}
		r.Level += z / float64(len(d.views))
		if i == 0 {
			r.Score = score
		}
	}
	d.seen++
	if d.rested < math.MaxUint64 {
		d.rested++
	}
	if !ready {
		r.Level = 0
		return r, nil
	}
	r.Confidence = 1 - exp(-float64(math.Ln2*float64(d.seen))/float64(d.config.SampleSize))
	if r.Level >= d.config.Threshold && d.rested > uint64(max(0, d.config.Rest)) {
		r.Alert, d.rested = true, 0
		r.Grade = r.Level / (r.Level + d.config.Threshold)
	}
	return r, nil
}

// take checks point and copies it to d.point; a value that differs from its mean by no more than the Tolerance
// becomes that mean.
func (d *Detector) take(point []float64) error {
	if len(point) != d.config.Dimensions {
		return fmt.Errorf("%w: it has %d values, this detector takes %d", ErrPoint, len(point), d.config.Dimensions)
	}
	for i, v := range point {
		if !(math.Abs(v) <= math.MaxFloat32) {
			return fmt.Errorf("%w: value %d is %v, give a finite number within float32", ErrPoint, i, v)
		}
	}
	copy(d.point, point)
	for i, tolerance := range d.config.Tolerance {
		if mean := d.rolling.past[i].mean; d.seen > 0 && math.Abs(d.point[i]-mean) <= tolerance {
			d.point[i] = mean
		}
	}
	return nil
}

// process gives the view of the newest point to the forest. It returns the score, and the smoothed score in standard
// deviations from its running mean.
func (l *viewForest) process(r *rolling) (score, z float64, err error) {
	l.view.of(r, l.point)
	ready := l.forest.Ready()
	score, err = l.forest.Process(l.point)
	if err != nil || !ready {
		return 0, 0, err
	}
	l.recent[l.scores%smoothing] = float64(score * l.scale)
	l.scores++
	var sum float64
	n := min(l.scores, smoothing)
	for _, s := range l.recent[:n] {
		sum += s
	}
	a := sum / float64(n)
	if l.scores > 1 {
		z = (a - l.past.mean) / math.Sqrt(l.past.variance+scoreFloor)
	}
	l.past.add(a, l.scores, scoreMemory)
	return score, z, nil
}
