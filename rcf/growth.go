package rcf

import "math"

// growth is the span of a node's box and by how much that would grow if the box enclosed the point.
type growth struct {
	span, distance float64
}

// mix returns the value of a point at the node: here for the part of the cuts that separate the point at the node, and
// below, the value of the node below, for the others.
func (g growth) mix(below, here float64) float64 {
	return below + float64(g.distance/(g.span+g.distance)*(here-below))
}

// growthOfGeneric is growthOf without vectors. It has four sums, of every fourth coordinate, as a vector of four has; a
// processor without vectors then does not wait for each sum in turn.
func growthOfGeneric(box []side, point []float64) growth {
	var s0, s1, s2, s3, d0, d1, d2, d3 float64
	for len(point) >= 4 && len(box) >= 4 {
		a, b, c, d := &box[0], &box[1], &box[2], &box[3]
		s0, d0 = s0+a.length(), d0+a.outside(point[0])
		s1, d1 = s1+b.length(), d1+b.outside(point[1])
		s2, d2 = s2+c.length(), d2+c.outside(point[2])
		s3, d3 = s3+d.length(), d3+d.outside(point[3])
		box, point = box[4:], point[4:]
	}
	for i, x := range point {
		length, outside := box[i].length(), box[i].outside(x)
		switch i {
		case 0:
			s0, d0 = s0+length, d0+outside
		case 1:
			s1, d1 = s1+length, d1+outside
		default:
			s2, d2 = s2+length, d2+outside
		}
	}
	return growth{(s0 + s2) + (s1 + s3), (d0 + d2) + (d1 + d3)}
}

// outside returns how far x is outside the side, 0 if it is inside.
func (s *side) outside(x float64) float64 { return max0(greater(float64(s[0])-x, x-float64(s[1]))) }

// max0 returns d if that is positive, otherwise 0. Unlike max it does not handle NaN, which makes it quicker.
func max0(d float64) float64 {
	return math.Float64frombits(uint64(max(0, int64(math.Float64bits(d)))))
}

// greater returns the greater of two numbers of which at most one is positive, or either if neither is.
func greater(a, b float64) float64 {
	return math.Float64frombits(uint64(max(int64(math.Float64bits(a)), int64(math.Float64bits(b)))))
}

// spanOf returns the span of a box, in the bits of growthOf.
func spanOf(box []side) float64 {
	var s [4]float64
	for i := range box {
		s[i%4] += box[i].length()
	}
	return (s[0] + s[2]) + (s[1] + s[3])
}
