package rcf

// climbFour climbs in four trees on a line at once, from leaves at depth, whose walks have the lanes from first on.
// It makes values what climb and valueInside find before they scale it, except in the trees whose bits are set in
// undecided: those in which the climb passes four levels or the point is at the end of a side and so perhaps the
// leaf's. It finds no growth.
func (f *Forest) climbFour(trees *[4]*tree, first int, depth *[4]uint16, values *[4]float64) (undecided uint32) {
	if !hasAVX {
		return 1<<4 - 1
	}
	return climbFourVector(trees, &f.scratch.steps[0][first], depth, &f.scratch.unseen[0], f.scratch.wide[0], values)
}

// climbFourVector is climbFour by AVX, which decides nothing if a leaf is at a depth of less than four. All levels
// must keep their boxes.
//
//go:noescape
func climbFourVector(trees *[4]*tree, steps *ref, depth *[4]uint16, unseen *float64, x float64,
	values *[4]float64) (undecided uint32)
