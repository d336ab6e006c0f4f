package rcf

import (
	"fmt"
	"math"
)

// View is a function of the latest points of a stream, whose value a forest of a Detector judges.
type View uint8

const (
	// PointView is the point itself, as its difference to the first point. With several dimensions, or with
	// NormalizeOn, each value is standardised, (x - m) / s with the running mean m and deviation s of its dimension,
	// since a forest weighs dimensions by their range. Differences that are not standardised are rounded to float32,
	// those beyond 2^24 to more than 1: of a counter that grows for long, process the increments.
	PointView View = iota + 1
	// RollingView is the mean and the deviation of the last Window values of each dimension, relative to
	// the running ones: (mean - m) / s and ln(deviation / s + 0.02). It sees shifts of level and of unrest
	// that single values do not show.
	RollingView
	// ShingleView is the last Window points at once, standardised as PointView does. It sees shapes, costs
	// time and memory in proportion to Window, and is not among the defaults.
	ShingleView
)

// String returns the view's name in lower case.
func (v View) String() string {
	switch v {
	case PointView:
		return "point"
	case RollingView:
		return "rolling"
	case ShingleView:
		return "shingle"
	}
	return fmt.Sprintf("View(%d)", uint8(v))
}

// width returns how many coordinates the view has of a point of that many dimensions.
func (v View) width(dimensions int) int {
	if v == RollingView {
		return 2 * dimensions
	}
	return dimensions
}

// of writes the view of the newest point to out.
func (v View) of(r *rolling, out []float64) {
	newest := r.newest()
	for i, x := range newest {
		m, s := r.past[i].mean, r.deviation(i)
		switch {
		case v == RollingView:
			mean, deviation := r.window(i)
			out[2*i] = within((mean - m) / s)
			out[2*i+1] = ln(within(deviation/s) + 0.02)
		case r.normalize:
			out[i] = within((x - m) / s)
		default:
			out[i] = x
		}
	}
}

// within rounds a ratio to 2^-20 and limits it to a range that float32 resolves, so that rounding errors, which a
// forest would separate, do not make equal values different.
func within(x float64) float64 {
	return max(-1e6, min(1e6, math.Round(x*(1<<20))/(1<<20)))
}

// rolling keeps the last points of a stream, and the running mean and variance of each dimension. All are differences
// to the first point.
type rolling struct {
	ring      []float64 // length points, the next one at seen%length
	d         int
	seen      uint64
	normalize bool      // PointView and ShingleView are of scaled values
	learn     uint64    // points that are learned; 0: all
	base      []float64 // per dimension: the first point; 0 in a detector that version 1 began
	past      []moments // per dimension
	step      []float64 // per dimension: the mean square of a point's difference to the one before
	count     int       // points in the ring
}

// levelMemory is the time constant, in points, of the running mean and variance.
const levelMemory = 2000

func newRolling(c DetectorConfig) rolling {
	d := c.Dimensions
	return rolling{ring: make([]float64, d*c.Window), d: d, past: make([]moments, d),
		base: make([]float64, d), step: make([]float64, d), learn: uint64(max(0, c.Learn)),
		normalize: c.Normalize == NormalizeOn || c.Normalize == NormalizeAuto && d > 1}
}

func (r *rolling) length() int { return len(r.ring) / r.d }

// add makes point the newest, and a part of the means if it is to be learned.
func (r *rolling) add(point []float64, learn bool) {
	if learn && r.seen > 0 {
		weight := 1 / float64(min(r.seen, levelMemory))
		for i, before := range r.newest() {
			step := point[i] - before
			r.step[i] += float64(weight * (float64(step*step) - r.step[i]))
		}
	}
	copy(r.ring[r.d*int(r.seen%uint64(r.length())):], point)
	r.seen++
	r.count = int(min(r.seen, uint64(r.length())))
	if !learn {
		return
	}
	for i, x := range point {
		r.past[i].add(x, r.seen, levelMemory)
	}
}

// newest returns the point added last.
func (r *rolling) newest() []float64 {
	at := r.d * int((r.seen-1)%uint64(r.length()))
	return r.ring[at : at+r.d]
}

// window returns the mean and the deviation of a dimension over the points in the ring. Both are computed relative
// to the newest value, so that they are exact for a constant.
func (r *rolling) window(dim int) (mean, deviation float64) {
	x := r.newest()[dim]
	var sum, squares float64
	for i := range r.count {
		difference := r.ring[i*r.d+dim] - x
		sum += difference
		squares += float64(difference * difference)
	}
	n := float64(r.count)
	shift := sum / n
	return x + shift, math.Sqrt(max(0, squares/n-float64(shift*shift)))
}

// deviation returns the running standard deviation of a dimension.
func (r *rolling) deviation(dim int) float64 {
	m := r.past[dim]
	if r.learn > 0 && m.variance > 0 {
		m.variance *= r.doubt(dim)
	}
	return r.spread(dim, m)
}

// spread returns the standard deviation of a dimension that has the moments m; where there is none, a trifle in
// proportion to the mean, or what float64 resolves of the first value.
func (r *rolling) spread(dim int, m moments) float64 {
	return max(math.Sqrt(m.variance), float64(1e-9*math.Abs(m.mean)), float64(0x1p-50*math.Abs(r.base[dim])), 1e-30)
}

// doubt is by how much the variance of a dimension is widened where the mean that is learned stays for good: by five
// standard errors of the mean, or a column that drifts would be unusual from the end of the learning on. n values that
// wander say less about their mean than n that are independent: with e the mean square of a step in parts of twice the
// variance, which is 1 where they are independent, as little as n e / (2 - e) of those (von Neumann's ratio).
func (r *rolling) doubt(dim int) float64 {
	e := min(1, float64(r.step[dim]/2)/r.past[dim].variance)
	n := float64(min(r.seen, r.learn, levelMemory))
	return 1 + 25/max(1, float64(n*e)/(2-e))
}

// moments are a running mean and variance: of all values at first, and exponentially fading ones later.
type moments struct {
	mean, variance float64
}

// add takes the n-th value, counted from 1. memory is the time constant of fading, in values.
func (m *moments) add(x float64, n, memory uint64) {
	weight := 1 / float64(min(n, memory))
	difference := x - m.mean
	m.mean += float64(weight * difference)
	m.variance += float64(weight * (float64(difference*(x-m.mean)) - m.variance))
}
