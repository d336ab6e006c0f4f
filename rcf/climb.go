package rcf

// A climb goes back up the way of a walk, from the leaf to the first box that contains the point: all boxes above do
// too. It is what scoring and inserting have in common, so that doing both climbs once.

// climb goes up from the leaf at depth that the window in scratch.query has been walked to. Boxes of the levels
// from top on do not contain the point; in.growth tells of them. If there are any, the point is not in the tree,
// and value is its score there before it is scaled by the tree's size.
func (f *Forest) climb(t *tree, in *surroundings, depth int) (value float64, top int) {
	switch {
	case len(f.scratch.query) > 1:
		return f.climbInSpace(t, in, depth)
	case t.boxed > 0:
		return f.climbOnLine(t, in, depth)
	}
	return f.climbOnBareLine(t, in, depth)
}

// climbOnLine is climb for one coordinate. Nine climbs in ten end within three levels, but where cannot be
// predicted, and a misprediction costs more than three levels. So it always looks at the lowest four: a box that
// contains the point leaves the value unchanged.
func (f *Forest) climbOnLine(t *tree, in *surroundings, depth int) (value float64, top int) {
	const ahead = 4
	x, unseen := float64(f.scratch.query[0]), f.scratch.unseen[:depth+1]
	growths, steps, lane := in.growth[:depth], in.steps[:depth], in.lane&(lanes-1)
	value, top = unseen[depth], depth
	if depth >= ahead {
		outside := 0
		for level := depth - 1; level >= depth-ahead; level-- {
			box := &t.box[steps[level][lane]]
			g := growth{box.length(), box.outside(x)}
			growths[level], value = g, g.mix(value, unseen[level])
			outside += b2i(g.distance > 0)
		}
		if top -= outside; outside < ahead {
			return value, top
		}
	}
	for ; top > 0; top-- {
		box := &t.box[steps[top-1][lane]]
		g := growth{box.length(), box.outside(x)}
		if g.distance == 0 {
			break
		}
		growths[top-1], value = g, g.mix(value, unseen[top-1])
	}
	return value, top
}

// climbOnBareLine is climbOnLine in a tree that keeps no boxes.
func (f *Forest) climbOnBareLine(t *tree, in *surroundings, depth int) (value float64, top int) {
	x, unseen := float64(f.scratch.query[0]), f.scratch.unseen
	value = unseen[depth]
	box := nowhere()
	t.encloseSide(&box, in.at(depth), &f.store)
	for top = depth; top > 0; top-- {
		if children := t.slots[in.at(top-1)].child; children[0] == in.at(top) {
			box[1] = t.end(1, children[1], &f.store)
		} else {
			box[0] = t.end(0, children[0], &f.store)
		}
		lo, hi := float64(box[0]), float64(box[1])
		distance := greater(lo-x, x-hi)
		if distance <= 0 {
			break
		}
		g := growth{hi - lo, distance}
		in.growth[top-1], value = g, g.mix(value, unseen[top-1])
	}
	return value, top
}

// climbInSpace is climb for several coordinates.
func (f *Forest) climbInSpace(t *tree, in *surroundings, depth int) (value float64, top int) {
	point, unseen := f.scratch.wide, f.scratch.unseen
	value, top = unseen[depth], depth
	var box []side
	for top > 0 {
		if node := in.at(top - 1).index(); t.keepsBox(node) {
			value, top = t.climbBoxed(in, point, unseen, value, top)
			if top == 0 || t.keepsBox(in.at(top-1).index()) {
				break
			}
			box = t.boxOf(in.at(top).index(), len(point))
		}
		box = t.makeBoxAt(in, top-1, depth, box)
		g := growthOf(box, point)
		if g.distance == 0 {
			break
		}
		in.growth[top-1], value = g, g.mix(value, unseen[top-1])
		top--
	}
	return value, top
}

// climbBoxedGeneric goes up from a level while the nodes keep their boxes and do not contain point. Below is the value
// at that level.
func (t *tree) climbBoxedGeneric(in *surroundings, point, unseen []float64, below float64, from int) (value float64,
	top int) {
	value, top = below, from
	for ; top > 0; top-- {
		node := in.at(top - 1).index()
		if !t.keepsBox(node) {
			break
		}
		g := growthOf(t.boxOf(node, len(point)), point)
		if g.distance == 0 {
			break
		}
		in.growth[top-1], value = g, g.mix(value, unseen[top-1])
	}
	return value, top
}
