package rcf

import "math"

// growth is what a climb has found at a level: the span of the node's box and by how much it would grow to enclose the
// point.
type growth struct {
	span, distance float64
}

// mix is the value of a point at a node of whose box it tells: the part of the cuts that separate the point there
// gives it the value here, the others that of the node below.
func (g growth) mix(below, here float64) float64 {
	return below + float64(g.distance/(g.span+g.distance)*(here-below))
}

// growthOfSides is growthOf in Go. Four sums, of every fourth coordinate, are what a vector of four has, and keep a
// processor without vectors from waiting for each sum in turn.
func growthOfSides(box []side, point []float64) growth {
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

// outside is how far outside x is, 0 if it is inside.
func (s *side) outside(x float64) float64 { return max0(greater(float64(s[0])-x, x-float64(s[1]))) }

// max0 is d if that is positive, otherwise 0. Unlike max it takes no care of NaN, which makes it quicker.
func max0(d float64) float64 {
	return math.Float64frombits(uint64(max(0, int64(math.Float64bits(d)))))
}

// greater is the greater of two numbers of which at most one is positive, or either if neither is.
func greater(a, b float64) float64 {
	return math.Float64frombits(uint64(max(int64(math.Float64bits(a)), int64(math.Float64bits(b)))))
}

// spanOf is the span of a box, in the bits of growthOf.
func spanOf(box []side) float64 {
	var s [4]float64
	for i := range box {
		s[i%4] += box[i].length()
	}
	return (s[0] + s[2]) + (s[1] + s[3])
}
