//go:build !amd64

package rcf

// growthOf is the span of a box, and by how much it would grow to enclose point.
func growthOf(box []side, point []float64) growth { return growthOfSides(box, point) }
