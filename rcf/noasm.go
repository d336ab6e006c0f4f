//go:build !amd64

package rcf

// Processors without assembly of this package's run its generic functions.

func enclose(box []side, point []float32) { encloseGeneric(box, point) }

func encloseBox(box, other []side) { encloseBoxGeneric(box, other) }

func pairBox(box []side, a, b []float32) { pairBoxGeneric(box, a, b) }

func replaceBox(box, by []side) (changed bool) { return replaceBoxGeneric(box, by) }

func count(rows []uint16, row uint16) int { return countGeneric(rows, row) }

func growthOf(box []side, point []float64) growth { return growthOfGeneric(box, point) }

func (t *tree) climbBoxed(in *surroundings, point, unseen []float64, below float64, from int) (value float64, top int) {
	return t.climbBoxedGeneric(in, point, unseen, below, from)
}

// climbFour decides nothing: without vectors each tree is climbed by itself.
func (f *Forest) climbFour(*[4]*tree, int, *[4]uint16, *[4]float64) (undecided uint32) {
	return 1<<4 - 1
}

func walk(trees *[lanes]*tree, queries *[lanes][]int32, path []step, depth *[lanes]uint16) bool {
	return walkGeneric(trees, queries, path, depth)
}
