package rcf

// Boxes are most of a tree's memory, and half of them are low in the tree, where the box of a few points is soon
// computed. So a tree can keep the boxes of a part of its nodes only: those with at least some number of leaves under
// them. A random tree of n leaves has about 2n/m nodes with m leaves or more, and somewhat more if the points have many
// coordinates. A computed box has the same bits as a kept one, so that results do not depend on which are kept.

// boxedShare returns the part of the nodes that keep their boxes.
func (c Config) boxedShare() float64 {
	switch {
	case c.Compact && c.coordinates() == 1:
		return 0 // on a line the ends of a subtree are quickly found
	case c.Compact && c.coordinates() < 16:
		return 0.07
	case c.Compact:
		return 0.15
	case c.coordinates() == 1:
		return 1
	}
	return 0.66
}

// nodes returns how many nodes a tree with that many places has, and how many of them keep their boxes. If some do and
// some do not, there are more than can be in use, for the numbers of either that are wanted vary; but never more
// than a ref can name.
func (c Config) nodes(places int) (boxed, all int) {
	boxed = int(float64(c.boxedShare() * float64(places)))
	if boxed > 0 && boxed < places {
		return boxed, min(places+places/8, boxed+places, int(leafBit))
	}
	return boxed, places
}

// leastBoxed returns how many leaves a node must have under it to keep its box, if there is room for it.
func (c Config) leastBoxed() int {
	share := c.boxedShare()
	if share == 0 {
		return MaxSampleSize + 1
	}
	return int(2.4 / share)
}

// keepsBox reports whether a node has its box in t.box.
func (t *tree) keepsBox(node int) bool { return node < int(t.boxed) }

// boxOf returns the bounding box of an inner node that keeps it.
func (t *tree) boxOf(node, coordinates int) []side {
	at := node * coordinates
	return t.box[at : at+coordinates : at+coordinates]
}

// makeBoxAt makes in in.box the box of the node at a level of a walk that has reached a leaf at depth, a node that
// keeps none. It does so from below, the box of the level below, which is ignored at the lowest level. It is valid
// until the next.
func (t *tree) makeBoxAt(in *surroundings, level, depth int, below []side) []side {
	node, box := in.at(level), in.box
	if level == depth-1 {
		t.boxOfNode(box, node.index(), in.store)
		return box
	}
	if &below[0] != &box[0] {
		copy(box, below)
	}
	t.encloseSibling(box, node, in.at(level+1), in.store)
	return box
}

// encloseSibling extends the box of a node's child to the box of the node.
func (t *tree) encloseSibling(box []side, node, child ref, s *store) {
	sibling := t.slots[node].child[0]
	if sibling == child {
		sibling = t.slots[node].child[1]
	}
	t.encloseChild(box, sibling, s)
}

// boxOfChild makes box the bounding box of a leaf or a node.
func (t *tree) boxOfChild(box []side, child ref, s *store) {
	switch {
	case child.isLeaf():
		pointBox(box, s.window(t.row(child.index())))
	case t.keepsBox(child.index()):
		copy(box, t.boxOf(child.index(), len(box)))
	default:
		t.boxOfNode(box, child.index(), s)
	}
}

// boxOfNode makes box the bounding box of a node, out of those of its children.
func (t *tree) boxOfNode(box []side, node int, s *store) {
	a, b := t.slots[node].child[0], t.slots[node].child[1]
	if a.isLeaf() && b.isLeaf() {
		pairBox(box, s.window(t.row(a.index())), s.window(t.row(b.index())))
		return
	}
	t.boxOfChild(box, a, s)
	t.encloseChild(box, b, s)
}

// encloseChild extends box to contain a leaf's point or a node's box.
func (t *tree) encloseChild(box []side, child ref, s *store) {
	switch {
	case child.isLeaf():
		enclose(box, s.window(t.row(child.index())))
	case t.keepsBox(child.index()):
		encloseBox(box, t.boxOf(child.index(), len(box)))
	case len(box) == 1:
		t.encloseSide(&box[0], child, s)
	default:
		children := t.slots[child].child
		t.encloseChild(box, children[0], s)
		t.encloseChild(box, children[1], s)
	}
}

// encloseSide is encloseChild on a line.
func (t *tree) encloseSide(to *side, child ref, s *store) {
	low, high := t.end(0, child, s), t.end(1, child, s)
	to[0], to[1] = min(to[0], low), max(to[1], high)
}

// end returns the lowest (which = 0) or highest (which = 1) point under a node or leaf on a line.
func (t *tree) end(which int, at ref, s *store) float32 {
	for !at.isLeaf() {
		if t.keepsBox(at.index()) {
			return t.box[at.index()][which]
		}
		at = t.slots[at].child[which] // the cuts have sorted them
	}
	return s.values[t.row(at.index())]
}

// count returns the number of leaves under a node or leaf, or some number from limit on if there are so many.
func (t *tree) count(at ref, limit int) int {
	n := 1
	for !at.isLeaf() && n < limit {
		children := &t.slots[at].child
		n += t.count(children[0], limit-n)
		at = children[1]
	}
	return n
}

// promoteAbove gives boxes to those of the walk's nodes above level that have none and now have enough leaves.
func (t *tree) promoteAbove(in *surroundings, level int) {
	for i := level - 1; i >= 0 && t.freeBoxed != noIndex; i-- {
		node := in.at(i)
		if t.keepsBox(node.index()) {
			return
		}
		if t.count(node, in.least) < in.least {
			continue
		}
		moved := t.move(node, true)
		t.replaceBelow(in, i, node, moved)
		t.fillBox(moved.index(), in.store)
	}
}

// demoteAbove takes the boxes from those of the walk's nodes above level that now have too few leaves for one.
func (t *tree) demoteAbove(in *surroundings, level int) {
	for i := level - 1; i >= 0 && t.freeOther != noIndex; i-- {
		node := in.at(i)
		if !t.keepsBox(node.index()) {
			continue
		}
		if t.count(node, in.least) >= in.least {
			return
		}
		t.replaceBelow(in, i, node, t.move(node, false))
	}
}

// move gives a node another index, one that keeps a box or one that does not, and returns it.
func (t *tree) move(node ref, boxed bool) ref {
	to := t.newNode(boxed)
	t.slots[to], t.cutDim[to] = t.slots[node], t.cutDim[node.index()]
	t.dropNode(node.index())
	return nodeRef(to)
}

// fillBox computes the box of a node that keeps it.
func (t *tree) fillBox(node int, s *store) {
	t.boxOfNode(t.boxOf(node, s.d*s.k), node, s)
}

// newNode takes a node, one that keeps its box or not as desired if there is one left; its contents are the
// caller's to fill.
func (t *tree) newNode(boxed bool) int {
	head := &t.freeOther
	if boxed && t.freeBoxed != noIndex || t.freeOther == noIndex {
		head = &t.freeBoxed
	}
	node := int(*head)
	*head = uint16(t.slots[node].child[0])
	return node
}

// dropNode adds a node to the free ones.
func (t *tree) dropNode(node int) {
	head := &t.freeOther
	if t.keepsBox(node) {
		head = &t.freeBoxed
	}
	t.slots[node].child[0], *head = ref(*head), uint16(node)
}
