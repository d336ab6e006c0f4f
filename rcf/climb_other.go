//go:build !amd64

package rcf

// climbFour decides nothing: without vectors each tree is climbed for itself.
func (f *Forest) climbFour(*[4]*tree, int, *[4]uint16, *[4]float64) (undecided uint32) {
	return 1<<4 - 1
}
