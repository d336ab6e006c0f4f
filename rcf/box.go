package rcf

import "math"

// A box has one side per coordinate. A span is the sum of its side lengths, the
// quantity by which cuts are chosen. Differences are taken in float64, where those of float32 cannot overflow.

// side is a box's lowest and highest value in one coordinate.
type side [2]float32

// nowhere returns the empty side: the first value that extends it is its lowest and highest.
func nowhere() side { return side{math.MaxFloat32, -math.MaxFloat32} }

// length returns the side's length.
func (s *side) length() float64 { return float64(s[1]) - float64(s[0]) }

// distance returns how far x is outside the side, 0 if it is inside.
func (s *side) distance(x float32) float64 {
	return max(float64(s[0])-float64(x), float64(x)-float64(s[1]), 0)
}

// distanceToBox returns by how much the box's span would grow if it had to enclose point; 0 if it does already.
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

// equal reports whether two points are the same.
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
		box[i][0], box[i][1] = x, x
	}
}

// pairBoxGeneric makes box the box of two points.
func pairBoxGeneric(box []side, a, b []float32) {
	a, b = a[:len(box)], b[:len(box)]
	for i := range box {
		box[i][0], box[i][1] = min(a[i], b[i]), max(a[i], b[i])
	}
}

// encloseGeneric extends box to contain point.
func encloseGeneric(box []side, point []float32) {
	for i, x := range point {
		box[i][0] = min(box[i][0], x)
		box[i][1] = max(box[i][1], x)
	}
}

// encloseBoxGeneric extends box to contain another.
func encloseBoxGeneric(box, other []side) {
	other = other[:len(box)]
	for i := range box {
		box[i][0] = min(box[i][0], other[i][0])
		box[i][1] = max(box[i][1], other[i][1])
	}
}

// replaceBoxGeneric copies by to box and reports whether that has changed box.
func replaceBoxGeneric(box, by []side) (changed bool) {
	by = by[:len(box)]
	for i := range box {
		changed = changed || box[i] != by[i]
		box[i] = by[i]
	}
	return changed
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

// b2i returns 1 for true; the compiler makes no branch of it.
func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
