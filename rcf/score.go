package rcf

// The score of a point in one tree is its expected displacement in the form that AWS's library settled on: the
// inverse of the depth at which a random cut separates the point, averaged over all cuts that could have been made
// with the point in the tree, and scaled by log2 of the tree's size. The forest's score is the mean over its trees.
//
// At a node of depth i whose box does not contain the point, a random cut of the enlarged box separates the point
// with probability p = distance / (span + distance); the value is then unseen[i], and otherwise that of the node
// below. climb.go goes the way up.

// scoreIn returns the score of the window in scratch.query in one tree, in which it has been walked to a leaf at depth
// and climbed to top with that value.
func (f *Forest) scoreIn(t *tree, in *surroundings, depth, top int, value float64) float64 {
	if top == depth {
		value = f.valueInside(t, in.at(depth).index(), depth)
	}
	return f.scaled(value, t)
}

// valueInside returns the value where the lowest box contains the point: only then can the leaf equal it.
func (f *Forest) valueInside(t *tree, leaf, depth int) float64 {
	if equal(f.scratch.query, f.store.window(t.row(leaf))) {
		return f.seenValue(depth, t.mass(leaf), int(t.sample.n))
	}
	return f.scratch.unseen[depth]
}

// scaled returns value scaled by the tree's size: a score.
func (f *Forest) scaled(value float64, t *tree) float64 {
	return float64(value * f.log2(int(t.sample.n)+1))
}

// seenValue returns the value of a point that equals a leaf. The more of the tree's points are that very point, the
// smaller; a point that makes up the whole tree has half the value of a new one.
func (f *Forest) seenValue(depth, mass, size int) float64 {
	if f.kda {
		return f.seenByKDA(depth, mass)
	}
	damp := 1 - float64(mass)/float64(2*size)
	return damp / (float64(depth) + f.log2(mass+1))
}
