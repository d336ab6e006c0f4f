package rcf

// The score of a point in one tree is its expected displacement in the form that AWS's library settled on: the
// inverse of the depth at which a random cut separates the point, averaged over all cuts that could have been made
// with the point in the tree, and scaled by log2 of the tree's size. The forest's score is the mean over its trees.

// scoreIn is the score of the window in scratch.query in one tree, in which it has been walked to a leaf.
//
// At a node of depth i whose box does not contain the point, a random cut of the enlarged box separates the point
// with probability p = distance / (span + distance); the value is then unseen[i], and otherwise that of the node
// below. The walk goes up from the leaf and ends at the first box that contains the point, for all above do too.
func (f *Forest) scoreIn(t *tree, lane, depth int) float64 {
	s := &f.scratch
	n, level := 0, depth-1
	if level >= 0 {
		n = outside(s.query, t.boxOf(s.steps[level].lane(lane).index(), len(s.query)), s.dims)
	}
	if n == 0 {
		return f.scoreInside(t, s.steps[depth].lane(lane).index(), depth)
	}
	value := s.unseen[depth]
	for ; n > 0; level-- {
		node := s.steps[level].lane(lane).index()
		box, out := t.boxOf(node, len(s.query)), s.dims[:n]
		var distance float64
		if level > 0 {
			distance, n = climb(s.query, box, t.boxOf(s.steps[level-1].lane(lane).index(), len(s.query)), out)
		} else {
			distance, n = distanceIn(s.query, box, out), 0
		}
		p := distance / (t.span[node] + distance)
		value += float64(p * (s.unseen[level] - value))
	}
	return float64(value * s.log2[len(t.sample.key)+1])
}

// scoreOnLine is scoreIn for points of one coordinate.
func (f *Forest) scoreOnLine(t *tree, lane, depth int) float64 {
	s := &f.scratch
	x := float64(s.query[0])
	value := s.unseen[depth]
	level := depth - 1
	for ; level >= 0; level-- {
		box := t.box[s.steps[level].lane(lane).index()]
		lo, hi := float64(box[0]), float64(box[1])
		distance := max(lo-x, x-hi)
		if distance <= 0 {
			break
		}
		p := distance / (hi - lo + distance)
		value += float64(p * (s.unseen[level] - value))
	}
	if level == depth-1 {
		return f.scoreInside(t, s.steps[depth].lane(lane).index(), depth)
	}
	return float64(value * s.log2[len(t.sample.key)+1])
}

// scoreInside is the score where the lowest box contains the point: only then can the leaf equal it.
func (f *Forest) scoreInside(t *tree, leaf, depth int) float64 {
	value := f.scratch.unseen[depth]
	if equal(f.scratch.query, f.store.window(t.row(leaf))) {
		value = f.seenValue(depth, int(t.mass[leaf]), len(t.sample.key))
	}
	return float64(value * f.scratch.log2[len(t.sample.key)+1])
}

// seenValue is the value of a point that equals a leaf. The more of the tree's points are that very point, the
// smaller; a point that makes up the whole tree has half the value of a new one.
func (f *Forest) seenValue(depth, mass, size int) float64 {
	if f.kinesis {
		return f.seenByKinesis(depth, mass)
	}
	damp := 1 - float64(mass)/float64(2*size)
	return damp / (float64(depth) + f.scratch.log2[mass+1])
}
