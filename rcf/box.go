package rcf

import "math"

// A box has one side per coordinate. A span is the sum of its side lengths, the
// quantity by which cuts are chosen. Differences are taken in float64, where those of float32 cannot overflow.
//
// The boxes on the way from a leaf to the root contain each other. A coordinate in which a point is inside one
// of them is settled for all above, so walks go up with a list of the coordinates that are still outside, which soon
// gets short. The loops that make such lists do not branch on the data, which no processor could predict.

// side is a box's lowest and highest value in one coordinate.
type side [2]float32

// nowhere is the side that extends to whatever is added first.
func nowhere() side { return side{math.MaxFloat32, -math.MaxFloat32} }

// length is how long the side is.
func (s *side) length() float64 { return float64(s[1]) - float64(s[0]) }

// touches is 1 if x is at one of the ends, otherwise 0.
func (s *side) touches(x float32) int { return b2i(x == s[0]) | b2i(x == s[1]) }

// distance is how far outside x is, 0 if it is inside.
func (s *side) distance(x float32) float64 {
	return max(float64(s[0])-float64(x), float64(x)-float64(s[1]), 0)
}

// spanOf sums the sides of a box. It is a function of the box alone, so that a restored tree has the same spans.
func spanOf(box []side) float64 {
	var even, odd float64
	for len(box) >= 2 {
		even += box[0].length()
		odd += box[1].length()
		box = box[2:]
	}
	if len(box) > 0 {
		even += box[0].length()
	}
	return even + odd
}

// growthOf is the span of a box, the same bits as spanOf, and by how much it would grow to enclose point, the same bits as
// beyond.distance.
func growthOf(box []side, point []float64) growth {
	var even, odd, low, high float64
	box = box[:len(point)]
	for i, x := range point {
		b := &box[i]
		l, h := float64(b[0]), float64(b[1])
		low += positive(l - x)
		high += positive(x - h)
		even, odd = odd, even+(h-l)
	}
	return growth{even + odd, low + high}
}

// positive is d if that is positive, otherwise 0. Unlike max it takes no care of NaN, which makes it quicker.
func positive(d float64) float64 {
	b := int64(math.Float64bits(d))
	if b < 0 {
		b = 0
	}
	return math.Float64frombits(uint64(b))
}

// greater is the greater of two numbers of which at most one is positive, or any if neither is.
func greater(a, b float64) float64 {
	return math.Float64frombits(uint64(max(int64(math.Float64bits(a)), int64(math.Float64bits(b)))))
}

// beyond lists the coordinates in which a point is outside of a box: lower than its low ends or higher than its high
// ends. In the boxes above a coordinate stays on its list or leaves it, for the point cannot get to the other side.
type beyond struct {
	low, high []uint16
}

// none says whether the box contains the point.
func (o *beyond) none() bool { return len(o.low)+len(o.high) == 0 }

// outside makes o what it is for box. Its lists must have room for all coordinates.
func (o *beyond) outside(point []float32, box []side) {
	l, h := 0, 0
	box = box[:len(point)]
	low, high := o.low[:len(point)], o.high[:len(point)]
	for i, x := range point {
		low[l], high[h] = uint16(i), uint16(i)
		l += b2i(x < box[i][0])
		h += b2i(x > box[i][1])
	}
	o.low, o.high = low[:l], high[:h]
}

// stillOutside turns o from what it is for a box into what it is for a larger one.
func (o *beyond) stillOutside(point []float32, box []side) {
	n := 0
	box = box[:len(point)]
	for _, i := range o.low {
		o.low[n] = i
		n += b2i(point[i] < box[i][0])
	}
	o.low, n = o.low[:n], 0
	for _, i := range o.high {
		o.high[n] = i
		n += b2i(point[i] > box[i][1])
	}
	o.high = o.high[:n]
}

// distance is by how much box's span would grow if it had to enclose point. o is what it is for box.
func (o *beyond) distance(point []float32, box []side) float64 {
	var low, high float64
	box = box[:len(point)]
	for _, i := range o.low {
		low += float64(box[i][0]) - float64(point[i])
	}
	for _, i := range o.high {
		high += float64(point[i]) - float64(box[i][1])
	}
	return low + high
}

// climb is distance for box and stillOutside for the box above it at once.
func (o *beyond) climb(point []float32, box, above []side) float64 {
	var low, high float64
	n := 0
	box, above = box[:len(point)], above[:len(point)]
	for _, i := range o.low {
		x := point[i]
		low += float64(box[i][0]) - float64(x)
		o.low[n] = i
		n += b2i(x < above[i][0])
	}
	o.low, n = o.low[:n], 0
	for _, i := range o.high {
		x := point[i]
		high += float64(x) - float64(box[i][1])
		o.high[n] = i
		n += b2i(x > above[i][1])
	}
	o.high = o.high[:n]
	return low + high
}

// enclose extends box to contain point. o is what it is for box.
func (o *beyond) enclose(box []side, point []float32) {
	for _, i := range o.low {
		box[i][0] = point[i]
	}
	for _, i := range o.high {
		box[i][1] = point[i]
	}
}

// touching lists in out the coordinates in which point is on the border of box, which contains it.
func touching(point []float32, box []side, out []uint16) int {
	n := 0
	box, out = box[:len(point)], out[:len(point)]
	for i, x := range point {
		out[n] = uint16(i)
		n += box[i].touches(x)
	}
	return n
}

// stillTouching keeps of the coordinates in out those in which point is on the border of box.
func stillTouching(point []float32, box []side, out []uint16) int {
	n := 0
	box = box[:len(point)]
	for _, i := range out {
		x := point[i]
		out[n] = i
		n += box[i].touches(x)
	}
	return n
}

// distanceToBox is by how much the box's span would grow if it had to enclose point; 0 if it does already.
func distanceToBox(point []float32, box []side) float64 {
	var sum float64
	for i, x := range point {
		sum += box[i].distance(x)
	}
	return sum
}

// distanceToPoint is distanceToBox for the box of a single point.
func distanceToPoint(point, other []float32) float64 {
	var sum float64
	other = other[:len(point)]
	for i, x := range point {
		sum += math.Abs(float64(x) - float64(other[i]))
	}
	return sum
}

// equal says whether two points are the same.
func equal(a, b []float32) bool {
	b = b[:len(a)]
	for i, x := range a {
		if x != b[i] {
			return false
		}
	}
	return true
}

// pointBox makes box the box of a single point.
func pointBox(box []side, point []float32) {
	for i, x := range point {
		box[i] = side{x, x}
	}
}

// pairBox makes box the box of two points.
func pairBox(box []side, a, b []float32) {
	a, b = a[:len(box)], b[:len(box)]
	for i := range box {
		box[i] = side{min(a[i], b[i]), max(a[i], b[i])}
	}
}

// enclose extends box to contain point.
func enclose(box []side, point []float32) {
	for i, x := range point {
		box[i][0] = min(box[i][0], x)
		box[i][1] = max(box[i][1], x)
	}
}

// encloseBox extends box to contain another.
func encloseBox(box, other []side) {
	other = other[:len(box)]
	for i := range box {
		box[i][0] = min(box[i][0], other[i][0])
		box[i][1] = max(box[i][1], other[i][1])
	}
}

// placeCut turns a place within the outside of box, 0 <= offset < distanceToBox, counted over the coordinates
// in order, into a cut between point and box. below says that the point lies on the cut's lower side.
func placeCut(point []float32, box []side, offset float64) (dim int, cut float32, below bool) {
	passed := 0.0
	for i, x := range point {
		distance := box[i].distance(x)
		if distance == 0 {
			continue
		}
		// Rounding may leave an offset beyond the last coordinate that is outside; that one is taken then.
		offset -= passed
		dim, passed = i, distance
		if offset < distance {
			break
		}
	}
	x, s := point[dim], box[dim]
	if x < s[0] {
		cut = float32(float64(x)+offset) + 0 // no negative zero
		if !(cut >= x && cut < s[0]) {
			cut = x
		}
		return dim, cut, true
	}
	cut = float32(float64(s[1])+offset) + 0
	if !(cut >= s[1] && cut < x) {
		cut = s[1]
	}
	return dim, cut, false
}

// b2i is 1 for true; the compiler makes no branch of it.
func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
