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
	old     bool   // it was begun by version 1 and goes on in its bits: no base, a Level that is a plain mean
	state   bool
	calm    uint8     // usual points in a row while state is true
	lasted  uint64    // points since state became true
	usual   []moments // per dimension, of when state became true
	rolling rolling
	views   []viewForest
	point   []float64 // scratch: the point without its base and what Tolerance ignores
}

// Result is what a Detector says about one point.
type Result struct {
	// Score is the score that the forest over the first view gives: 0 .. log2(SampleSize+1), see Forest.Score.
	Score float64

	// Level is how much the point and the two before it stand out: by how many standard deviations the forests' scores
	// exceed their running means, of all views and once more of the one that exceeds most: (2 mean + largest) / 3. It is
	// 0 until the detector is Ready and may be negative. Rest does not affect it: of two anomalies in a row it shows both.
	Level float64

	// Grade is 0 except at an alert, and there from 0.5 to 1: Level / (Level + Threshold), rising with
	// the Level. It ranks alerts.
	Grade float64

	// Confidence is how much of its memory the detector has filled: 0 until it is Ready, then
	// 1 - 2^-(points seen / SampleSize), up to 1.
	Confidence float64

	// Alert is true at the first point whose Level reaches the Threshold, and then not before Rest more points have
	// passed and State was false. With NoRest it is true at every point whose Level reaches the Threshold.
	Alert bool

	// State is true as long as the trouble lasts: from a point whose Level reaches the Threshold, which is an Alert or
	// comes in its Rest, to the first 10 usual points in a row. Usual is a Level below the Threshold and, unless there
	// is a DetectorConfig.Learn, values within three running deviations of the running mean of before the trouble. But a
	// detector that goes on learning takes after SampleSize points for usual what has lasted so long.
	State bool
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
	calmPoints  = 10 // usual ones in a row: the trouble is over
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
		rolling: newRolling(c),
		views:   make([]viewForest, len(c.Views)),
		point:   make([]float64, c.Dimensions),
		usual:   make([]moments, c.Dimensions),
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

// Point returns the newest point as PointView shows it to a forest: the difference to the first point, or with
// DetectorConfig.Normalize the scaled one. It is valid until the next Process, which must have been called before.
func (d *Detector) Point() []float64 {
	PointView.of(&d.rolling, d.point)
	return d.point
}

// frozen reports whether the detector has learned all that it is to learn.
func (d *Detector) frozen() bool { return d.config.Learn > 0 && d.seen >= uint64(d.config.Learn) }

// Process judges the next point of the stream and, unless DetectorConfig.Learn points have been, learns it. A point
// with the wrong number of values, or a value that is NaN, infinite or beyond float32, is an error that wraps ErrPoint
// and leaves the detector unchanged. Once the forests are full, Process allocates nothing.
func (d *Detector) Process(point []float64) (Result, error) {
	if err := d.take(point); err != nil {
		return Result{}, err
	}
	learn := !d.frozen()
	d.rolling.add(d.point, learn)
	ready := d.Ready()
	var r Result
	var mean, largest float64
	for i := range d.views {
		l := &d.views[i]
		score, z, err := l.process(&d.rolling, learn)
		if err != nil {
			return Result{}, err // not reached: the view of a usable point is a usable point
		}
		mean += z / float64(len(d.views))
		largest = max(largest, z)
		if i == 0 {
			r.Score = score
		}
	}
	d.seen++
	if d.rested < math.MaxUint64 {
		d.rested++
	}
	if !ready {
		return r, nil
	}
	r.Level = (mean + mean + largest) / 3
	if d.old {
		r.Level = mean
	}
	learned := d.seen
	if d.config.Learn > 0 {
		learned = min(learned, uint64(d.config.Learn))
	}
	r.Confidence = 1 - exp(-float64(math.Ln2*float64(learned))/float64(d.config.SampleSize))
	d.decide(&r)
	return r, nil
}

// decide makes the decisions that follow from the Level of the newest point.
func (d *Detector) decide(r *Result) {
	reached := r.Level >= d.config.Threshold
	fresh := !d.state || d.config.Learn == 0
	if reached && fresh && d.rested > uint64(max(0, d.config.Rest)) {
		r.Alert, d.rested = true, 0
		r.Grade = r.Level / (r.Level + d.config.Threshold)
	}
	switch {
	case reached && !d.state:
		d.state, d.lasted = true, 0
		copy(d.usual, d.rolling.past)
	case reached || d.state && d.beyondUsual():
		d.lasted++
		d.calm = 0
	case d.state:
		d.lasted++
		if d.calm++; d.calm == calmPoints {
			d.state, d.calm = false, 0
		}
	}
	r.State = d.state
}

// beyondUsual reports whether the newest point has a value that it would not have had before the trouble.
func (d *Detector) beyondUsual() bool {
	if d.config.Learn > 0 || d.lasted >= uint64(d.config.SampleSize) {
		return false
	}
	for i, x := range d.rolling.newest() {
		usual := d.usual[i]
		if math.Abs(x-usual.mean) > float64(3*d.rolling.spread(i, usual)) {
			return true
		}
	}
	return false
}

// take checks point and puts its difference to the first point of the stream into d.point, so that float32 resolves
// small changes of large values; a value that differs from its mean by no more than the Tolerance becomes that mean.
func (d *Detector) take(point []float64) error {
	if len(point) != d.config.Dimensions {
		return fmt.Errorf("%w: it has %d values, this detector takes %d", ErrPoint, len(point), d.config.Dimensions)
	}
	for i, v := range point {
		if !(math.Abs(v) <= math.MaxFloat32) {
			return fmt.Errorf("%w: value %d is %v, give a finite number within float32", ErrPoint, i, v)
		}
	}
	base := d.rolling.base
	if d.seen == 0 && !d.old {
		copy(base, point)
	}
	for i, v := range point {
		d.point[i] = max(-math.MaxFloat32, min(math.MaxFloat32, v-base[i]))
	}
	for i, tolerance := range d.config.Tolerance {
		if mean := d.rolling.past[i].mean; d.seen > 0 && math.Abs(d.point[i]-mean) <= tolerance {
			d.point[i] = mean
		}
	}
	return nil
}

// process gives the view of the newest point to the forest, to learn it or only to score it. It returns the score, and
// the smoothed score in standard deviations from its mean.
func (l *viewForest) process(r *rolling, learn bool) (score, z float64, err error) {
	l.view.of(r, l.point)
	ready := l.forest.Ready()
	if learn {
		score, err = l.forest.Process(l.point)
	} else {
		score, err = l.forest.Follow(l.point)
	}
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
	if learn {
		l.past.add(a, l.scores, scoreMemory)
	}
	return score, z, nil
}
