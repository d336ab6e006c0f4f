package rcf

// A climb goes back up the way of a walk, from the leaf to the first box that contains the point: all boxes above do
// too. It is what scoring and inserting have in common, so that doing both climbs once.

// climb goes up from the leaf at depth that the window in scratch.query has been walked to. Boxes of the levels from top on
// do not contain the point; in.growth tells of them. If there are any, the point is not in the tree, and value is its score
// there before it is scaled by the tree's size.
func (f *Forest) climb(t *tree, in *surroundings, depth int) (value float64, top int) {
	switch {
	case len(f.scratch.query) > 1:
		return f.climbInSpace(t, in, depth)
	case t.boxed > 0:
		return f.climbOnLine(t, in, depth)
	}
	return f.climbOnBareLine(t, in, depth)
}

// climbOnLine is climb for one coordinate. Where the point is below a box it can only be below or within the box above.
func (f *Forest) climbOnLine(t *tree, in *surroundings, depth int) (value float64, top int) {
	query, unseen := f.scratch.query[0], f.scratch.unseen[:depth+1]
	x := float64(query)
	value = unseen[depth]
	if depth == 0 {
		return value, 0
	}
	shift := 16 * in.lane & 63
	steps, growths := in.steps[:depth], in.growth[:depth]
	top = depth
	box := &t.box[ref(steps[top-1]>>shift).index()]
	if query < box[0] {
		for {
			top--
			lo := float64(box[0])
			span, distance := float64(box[1])-lo, lo-x
			growths[top] = growth{span, distance}
			p := distance / (span + distance)
			value += float64(p * (unseen[top] - value))
			if top == 0 {
				return value, 0
			}
			if box = &t.box[ref(steps[top-1]>>shift).index()]; query >= box[0] {
				return value, top
			}
		}
	}
	if query > box[1] {
		for {
			top--
			hi := float64(box[1])
			span, distance := hi-float64(box[0]), x-hi
			growths[top] = growth{span, distance}
			p := distance / (span + distance)
			value += float64(p * (unseen[top] - value))
			if top == 0 {
				return value, 0
			}
			if box = &t.box[ref(steps[top-1]>>shift).index()]; query <= box[1] {
				return value, top
			}
		}
	}
	return value, top
}

// climbOnBareLine is climbOnLine in a tree that keeps no boxes.
func (f *Forest) climbOnBareLine(t *tree, in *surroundings, depth int) (value float64, top int) {
	x, unseen := float64(f.scratch.query[0]), f.scratch.unseen
	value = unseen[depth]
	box := nowhere()
	t.encloseSide(&box, in.at(depth), 0, &f.store)
	for top = depth; top > 0; top-- {
		if children := t.slots[in.at(top-1)].child; children[0] == in.at(top) {
			box[1] = t.end(1, children[1], 0, &f.store)
		} else {
			box[0] = t.end(0, children[0], 0, &f.store)
		}
		lo, hi := float64(box[0]), float64(box[1])
		distance := greater(lo-x, x-hi)
		if distance <= 0 {
			break
		}
		in.growth[top-1] = growth{hi - lo, distance}
		p := distance / (hi - lo + distance)
		value += float64(p * (unseen[top-1] - value))
	}
	return value, top
}

// climbInSpace is climb for several coordinates.
func (f *Forest) climbInSpace(t *tree, in *surroundings, depth int) (value float64, top int) {
	point, unseen := f.scratch.wide, f.scratch.unseen
	value = unseen[depth]
	var box []side
	for top = depth; top > 0; top-- {
		if node := in.at(top - 1).index(); t.keepsBox(node) {
			box = t.boxOf(node, len(point))
		} else {
			box = t.boxAt(in, top-1, depth, box)
		}
		g := growthOf(box, point)
		if g.distance == 0 {
			break
		}
		in.growth[top-1] = g
		p := g.distance / (g.span + g.distance)
		value += float64(p * (unseen[top-1] - value))
	}
	return value, top
}
