package rcf

// The score of a point in one tree is its expected displacement in the form that AWS's library settled on: the
// inverse of the depth at which a random cut separates the point, averaged over all cuts that could have been made
// with the point in the tree, and scaled by log2 of the tree's size. The forest's score is the mean over its trees.

// scoreIn is the score of the window in scratch.query in one tree, in which it has been walked to a leaf.
//
// At a node of depth i whose box does not contain the point, a random cut of the enlarged box separates the point
// with probability p = distance / (span + distance); the value is then unseen[i], and otherwise that of the node
// below. The walk goes up from the leaf and ends at the first box that contains the point, for all above do too.
func (f *Forest) scoreIn(t *tree, in *surroundings, depth int) float64 {
	s := &f.scratch
	box := t.firstBox(in, depth, s.query)
	if in.out.none() {
		return f.scoreInside(t, in.at(depth).index(), depth)
	}
	value := s.unseen[depth]
	for level := depth - 1; !in.out.none(); level-- {
		var distance float64
		span := t.spanOf(in.at(level).index(), box)
		distance, box = t.climbTo(in, level, depth, s.query, box)
		p := distance / (span + distance)
		value += float64(p * (s.unseen[level] - value))
	}
	return float64(value * f.log2(int(t.sample.n)+1))
}

// scoreOnLine is scoreIn for points of one coordinate.
func (f *Forest) scoreOnLine(t *tree, in *surroundings, depth int) float64 {
	s := &f.scratch
	x := float64(s.query[0])
	value := s.unseen[depth]
	level := depth - 1
	var box side
	if t.boxed == 0 {
		box = nowhere()
		t.encloseSide(&box, in.at(depth), 0, &f.store)
	}
	for ; level >= 0; level-- {
		if t.boxed > 0 {
			box = t.box[in.at(level).index()]
		} else if children := t.slots[in.at(level)].child; children[0] == in.at(level+1) {
			box[1] = t.end(1, children[1], 0, &f.store)
		} else {
			box[0] = t.end(0, children[0], 0, &f.store)
		}
		lo, hi := float64(box[0]), float64(box[1])
		distance := max(lo-x, x-hi)
		if distance <= 0 {
			break
		}
		p := distance / (hi - lo + distance)
		value += float64(p * (s.unseen[level] - value))
	}
	if level == depth-1 {
		return f.scoreInside(t, in.at(depth).index(), depth)
	}
	return float64(value * f.log2(int(t.sample.n)+1))
}

// scoreInside is the score where the lowest box contains the point: only then can the leaf equal it.
func (f *Forest) scoreInside(t *tree, leaf, depth int) float64 {
	value := f.scratch.unseen[depth]
	if equal(f.scratch.query, f.store.window(t.row(leaf))) {
		value = f.seenValue(depth, t.mass(leaf), int(t.sample.n))
	}
	return float64(value * f.log2(int(t.sample.n)+1))
}

// seenValue is the value of a point that equals a leaf. The more of the tree's points are that very point, the
// smaller; a point that makes up the whole tree has half the value of a new one.
func (f *Forest) seenValue(depth, mass, size int) float64 {
	if f.kinesis {
		return f.seenByKinesis(depth, mass)
	}
	damp := 1 - float64(mass)/float64(2*size)
	return damp / (float64(depth) + f.log2(mass+1))
}
