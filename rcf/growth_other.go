//go:build !amd64

package rcf

// growthOf is the span of a box, and by how much it would grow to enclose point.
func growthOf(box []side, point []float64) growth { return growthOfSides(box, point) }

// climbBoxed is climbBoxedInGo.
func (t *tree) climbBoxed(in *surroundings, point, unseen []float64, below float64, from int) (value float64, top int) {
	return t.climbBoxedInGo(in, point, unseen, below, from)
}
