package rcf

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Estimate is what a forest expects of some values of a point. The four slices have the same length: Value[i],
// Low[i] and High[i] are about the value in dimension Dimensions[i] of the point. Value is the median of the
// sample's values in similar points, Low and High are their 10 % and 90 % quantiles, so that 80 to 90 % of a steady
// stream's ordinary values are from Low to High. Always Low <= Value <= High, and each of the three is a value that
// the stream has had, rounded to float32.
type Estimate struct {
	Dimensions       []int
	Value, Low, High []float64
}

// Impute says what the values of point in the dimensions missing are likely to be, given its other values and the
// Shingle-1 points before it. The values that point has in the missing dimensions are ignored and may be NaN. If
// nothing is known (Shingle is 1 and all dimensions are missing), the estimate is about the sample as a whole.
//
// The estimate's Dimensions are those missing, in the given order. Until the forest is Ready it is the zero
// Estimate. The forest does not learn. A dimension below 0 or not below Config.Dimensions is an error
// that wraps ErrPoint, as are those of Score for the values that are not missing.
//
// It costs about as much as a Score if little is missing. If nothing is known, it is a look at some two thousand points
// of the sample, or at one whole tree if that has more.
func (f *Forest) Impute(point []float64, missing []int) (Estimate, error) {
	if err := f.takeWithout(point, missing); err != nil {
		return Estimate{}, err
	}
	if !f.Ready() || len(missing) == 0 {
		return Estimate{}, nil
	}
	return f.estimate(append([]int(nil), missing...)), nil
}

// Expected says, for a point as given to Score, which of its values stand out and what the forest would have found
// normal in their place: the estimate that Impute gives for them. They are the value with the largest part in the
// Attribution (high and low together) and every other with at least half as large a part, in ascending order of
// dimensions; with one dimension, always the value itself.
//
// An earlier value within the shingle whose part is more than half of the score, such as a spike that has just
// passed, is ignored too, so that it does not spoil what is expected after it.
//
// Until the forest is Ready it is the zero Estimate. The forest does not learn. Errors are those of Score. It costs
// one Attribute and one Impute.
func (f *Forest) Expected(point []float64) (Estimate, error) {
	why, err := f.Attribute(point)
	if err != nil || !f.Ready() {
		return Estimate{}, err
	}
	parts, half := why.High, why.Sum()/2
	first := len(parts) - f.config.Dimensions
	var most float64
	unknown := f.noneUnknown()
	for i := range parts {
		parts[i] += why.Low[i]
		if i >= first {
			most = max(most, parts[i])
		} else {
			unknown[i] = parts[i] > half
		}
	}
	var dims []int
	for i, part := range parts[first:] {
		if part >= most/2 {
			unknown[first+i] = true
			dims = append(dims, i)
		}
	}
	return f.estimate(dims), nil
}

// UpdateMissing is Update for a stream with gaps: it makes point the newest point of the stream with the values in
// the dimensions missing imputed (the Value of Impute). Those that point has there are ignored and may be NaN. Errors
// are those of Impute and leave the forest unchanged.
//
// A point with more than half of its values missing keeps its place in time, but the trees take no sample of the
// window that it completes, so that a long gap does not make a forest learn its own estimates. Windows of later points
// may contain it. Before the first whole window there is nothing to impute from: the value before is taken instead,
// and a point with gaps at the very beginning of the stream is passed over.
func (f *Forest) UpdateMissing(point []float64, missing []int) error {
	if err := f.takeWithout(point, missing); err != nil {
		return err
	}
	d, sampled := f.config.Dimensions, f.trees[0].leaves > 0
	gaps := 0
	for _, unknown := range f.scratch.impute.unknown[f.config.coordinates()-d:] {
		gaps += b2i(unknown)
	}
	if gaps > 0 && f.seen == 0 {
		return nil
	}
	if gaps > 0 && sampled {
		f.findAlike()
	}
	newest := f.scratch.query[f.config.coordinates()-d:]
	for _, dim := range missing {
		if sampled {
			newest[dim] = f.quantiles(dim)[1]
		} else {
			newest[dim] = f.store.values[len(f.store.values)-d+dim]
		}
	}
	if sampled && 2*gaps > d {
		f.passOver()
		return nil
	}
	f.pass(false, true)
	return nil
}

// passOver makes the point at the end of scratch.query the newest of the stream without offering its window to the
// trees. Where one of them was to take it, the next acceptance is drawn anew: acceptances do not depend on each other.
func (f *Forest) passOver() {
	f.advance()
	for i := range f.trees {
		if s := &f.trees[i].sample; s.full(f.config.SampleSize) && s.next <= f.clock.now {
			s.schedule(&f.clock)
		}
	}
}

// imputer is scratch memory for estimates.
type imputer struct {
	point   []float64 // the point without its missing values
	unknown []bool    // per coordinate of scratch.query: it is to be ignored
	ahead   []ref     // branches of a tree still to be walked
	alike   []alike
	weights []weighted
}

// alike is a leaf that is alike to the query in the known coordinates.
type alike struct {
	row      uint32
	mass     uint16
	distance float32
}

// takeWithout is take for a point without the values in some dimensions, which it marks as unknown.
func (f *Forest) takeWithout(point []float64, missing []int) error {
	s := &f.scratch.impute
	s.point = append(s.point[:0], point...)
	for _, dim := range missing {
		if dim < 0 || dim >= f.config.Dimensions {
			return fmt.Errorf("%w: dimension %d is said to be missing, give 0 to %d", ErrPoint, dim, f.config.Dimensions-1)
		}
		if dim < len(point) {
			s.point[dim] = 0
		}
	}
	if err := f.take(s.point); err != nil {
		return err
	}
	unknown := f.noneUnknown()
	for _, dim := range missing {
		unknown[len(unknown)-f.config.Dimensions+dim] = true
	}
	return nil
}

// noneUnknown returns scratch.unknown with all coordinates known.
func (f *Forest) noneUnknown() []bool {
	s := &f.scratch.impute
	if len(s.unknown) != f.config.coordinates() {
		s.unknown = make([]bool, f.config.coordinates())
	}
	clear(s.unknown)
	return s.unknown
}

// estimate makes the estimate for some dimensions of the newest point in scratch.query.
func (f *Forest) estimate(dims []int) Estimate {
	f.findAlike()
	n := len(dims)
	values := make([]float64, 3*n)
	e := Estimate{Dimensions: dims, Value: values[:n:n], Low: values[n : 2*n : 2*n], High: values[2*n:]}
	for i, dim := range dims {
		q := f.quantiles(dim)
		e.Low[i], e.Value[i], e.High[i] = float64(q[0]), float64(q[1]), float64(q[2])
	}
	return e
}

// findAlike collects in scratch.alike the leaves that are alike to scratch.query: of those that the walks in all
// trees reach, the third that is nearest in the known coordinates, but at least as many points as there are trees.
// Where a leaf is as near as the last of them, it is in too.
func (f *Forest) findAlike() {
	s := &f.scratch.impute
	s.alike, s.weights = s.alike[:0], s.weights[:0]
	points := 0
	for i := 0; i < len(f.trees) && points < enoughReached; i++ {
		points += f.reach(&f.trees[i])
	}
	for _, a := range s.alike {
		s.weights = append(s.weights, weighted{sortable(a.distance), int32(a.mass)})
	}
	farthest := unsortable(quantile(s.weights, max(points/3, min(points, len(f.trees)))))
	near := s.alike[:0]
	for _, a := range s.alike {
		if a.distance <= farthest {
			near = append(near, a)
		}
	}
	s.alike = near
}

// enoughReached is the number of points after which no further trees are walked, so that an estimate from little or
// nothing that is known, for which the walks reach much of each tree, does not take long.
const enoughReached = 2048

// reach adds to scratch.alike the leaves of a tree in whose cells scratch.query may lie, and returns how many points
// they are: the walk takes both ways at cuts in unknown coordinates.
func (f *Forest) reach(t *tree) (points int) {
	s, query := &f.scratch.impute, f.scratch.query
	first, shared := len(s.alike), false
	s.ahead = append(s.ahead[:0], t.root)
	for len(s.ahead) > 0 {
		at := s.ahead[len(s.ahead)-1]
		s.ahead = s.ahead[:len(s.ahead)-1]
		for !at.isLeaf() {
			dim := t.cutDim[at.index()]
			if s.unknown[dim] {
				s.ahead = append(s.ahead, t.slots[at].child[1])
				at = t.slots[at].child[0]
			} else {
				at = next(t.slots, at, sortable(query[dim]))
			}
		}
		row := t.row(at.index())
		one := alike{row, 1, distanceInKnown(query, f.store.window(row), s.unknown)}
		if t.sample.key[at.index()].shared() {
			one.mass, shared = 0, true
		}
		s.alike = append(s.alike, one)
		points += int(one.mass)
	}
	if shared {
		points += t.weigh(s.alike[first:])
	}
	return points
}

// weigh counts the samples of those leaves that have no mass yet, in one pass over the reservoir for all, and
// returns their number. It sorts the leaves.
func (t *tree) weigh(leaves []alike) (samples int) {
	slices.SortFunc(leaves, func(a, b alike) int { return cmp.Compare(a.row, b.row) })
	held := t.sample.held()
	for place := range held {
		if !held[place].shared() {
			continue
		}
		row := t.row(place)
		if i, found := slices.BinarySearchFunc(leaves, row, func(a alike, row uint32) int {
			return cmp.Compare(a.row,
				row)
		}); found {
			leaves[i].mass++
			samples++
		}
	}
	return samples
}

// distanceInKnown returns the sum of the differences of two points over the coordinates that are not unknown, rounded.
func distanceInKnown(point, other []float32, unknown []bool) float32 {
	var sum float64
	for i, x := range point {
		if !unknown[i] {
			sum += math.Abs(float64(x) - float64(other[i]))
		}
	}
	return float32(sum)
}

// quantiles returns the low, the median and the high value of the points alike in a dimension of the newest point.
func (f *Forest) quantiles(dim int) [3]float32 {
	s := &f.scratch.impute
	at := f.config.coordinates() - f.config.Dimensions + dim
	s.weights = s.weights[:0]
	points := 0
	for _, a := range s.alike {
		points += int(a.mass)
		s.weights = append(s.weights, weighted{sortable(f.store.window(a.row)[at]), int32(a.mass)})
	}
	tail := (points + 9) / 10 // counted from either end
	var q [3]float32
	for i, rank := range [...]int{tail, (points + 1) / 2, points + 1 - tail} {
		q[i] = unsortable(quantile(s.weights, rank))
	}
	return q
}

// weighted is a key that counts several times.
type weighted struct{ key, mass int32 }

// quantile returns the key at place rank, counted from 1, if all keys were written down in ascending order as often as
// their masses say. It reorders items. This is Hoare's selection; pivots are drawn, so that no data is a bad case.
func quantile(items []weighted, rank int) int32 {
	var random splitMix
	for {
		pivot := items[random.next()%uint64(len(items))].key
		begin, end := 0, len(items) // of the keys that are the pivot, once i has come to end
		below, same := 0, 0
		for i := 0; i < end; {
			switch item := items[i]; {
			case item.key < pivot:
				below += int(item.mass)
				items[i], items[begin] = items[begin], item
				begin++
				i++
			case item.key > pivot:
				end--
				items[i], items[end] = items[end], item
			default:
				same += int(item.mass)
				i++
			}
		}
		switch {
		case rank <= below:
			items = items[:begin]
		case rank <= below+same:
			return pivot
		default:
			rank -= below + same
			items = items[end:]
		}
	}
}
