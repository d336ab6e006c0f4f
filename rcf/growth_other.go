//go:build !amd64

package rcf

// growthOf is the span of a box, and by how much it would grow to enclose point.
func growthOf(box []side, point []float64) growth { return growthOfSides(box, point) }

// climbBoxed is climbBoxedInGo.
func (t *tree) climbBoxed(in *surroundings, point, unseen []float64, below float64, from int) (value float64, top int) {
	return t.climbBoxedInGo(in, point, unseen, below, from)
}

// climbFour decides nothing: without vectors each tree is climbed for itself.
func (f *Forest) climbFour(*[4]*tree, int, *[4]uint16, *[4]float64) (undecided uint32) {
	return 1<<4 - 1
}

// count is countInGo.
func count(rows []uint16, row uint16) int { return countInGo(rows, row) }
