package rcf

import "math"

// A tree is a random cut tree over the distinct points of its sample (Guha et al., ICML 2016, section 2). An
// inner node cuts the box around its points in one coordinate: points with a coordinate at most cut are on
// its left. A leaf is a point with the number of times that the sample holds it, its mass.
type tree struct {
	slots  []slot
	cutDim []uint16  // per node: the coordinate that is cut
	box    []side    // per node and coordinate
	span   []float64 // per node: spanOf(box); nil if there is one coordinate, where it is no work
	mass   []uint16  // per leaf: how many samples it stands for; 0 marks a free slot

	root     ref
	leaves   int    // leaves in use; inner nodes in use are one fewer
	freeNode uint16 // head of the list of free nodes, linked through child[0]; noIndex ends it
	freeLeaf uint16 // likewise for leaves

	sample reservoir
}

// slot is a node or a leaf in 8 bytes. A leaf is its own child on both sides, so that a walk that has arrived may
// take further steps without harm: walks in several trees then need not ask each other.
type slot struct {
	cut   int32  // a node's cut as sortable gives it; a leaf's window in the store
	child [2]ref // left, right
}

// ref names the node or leaf with index i by the place of its slot: nodes are at even places 2i, leaves at odd
// places 2i+1.
type ref uint16

const noIndex uint16 = 1<<16 - 1

func nodeRef(index int) ref { return ref(index << 1) }
func leafRef(index int) ref { return ref(index<<1 | 1) }
func (r ref) isLeaf() bool  { return r&1 == 1 }
func (r ref) index() int    { return int(r >> 1) }

// sortable maps a float to an integer so that greater floats have greater integers; unsortable maps it back.
// Walks compare integers, which is quicker. There must be no NaN and no negative zero.
func sortable(v float32) int32 {
	b := int32(math.Float32bits(v))
	return b ^ int32(uint32(b>>31)>>1)
}

func unsortable(b int32) float32 {
	return math.Float32frombits(uint32(b ^ int32(uint32(b>>31)>>1)))
}

// surroundings is what a tree shares with the others of its forest.
type surroundings struct {
	store *store
	steps []step   // the walk that insert follows, in one lane
	lane  int      // that lane
	path  []ref    // scratch: the way from the root to a leaf
	dims  []uint16 // scratch: some coordinates
}

// at is where the walk was after some steps.
func (s *surroundings) at(level int) ref { return s.steps[level].lane(s.lane) }

// descend walks from the root to the leaf whose cell holds point. path[:depth] then are the nodes passed.
func (t *tree) descend(point []float32, path []ref) (leaf, depth int) {
	at := t.root
	for !at.isLeaf() {
		path[depth] = at
		depth++
		at = next(t.slots, at, sortable(point[t.cutDim[at>>1]]))
	}
	return at.index(), depth
}

// row is the window in the store of a leaf's point.
func (t *tree) row(leaf int) uint32 { return uint32(t.slots[leafRef(leaf)].cut) }

// boxOf returns the bounding box of an inner node.
func (t *tree) boxOf(node, coordinates int) []side {
	at := node * coordinates
	return t.box[at : at+coordinates : at+coordinates]
}

// spanOf is the span of a node's box.
func (t *tree) spanOf(node int, box []side) float64 {
	if len(box) == 1 {
		return box[0].length()
	}
	return t.span[node]
}

// keepSpan notes the span of a node's box after a change.
func (t *tree) keepSpan(node int, box []side) {
	if len(box) > 1 {
		t.span[node] = spanOf(box)
	}
}

// insert adds one occurrence of point, which is the store's window at row, and returns its leaf. The tree has been
// walked for point, to a leaf at depth. If that leaf's point is the same, its mass grows; otherwise point gets a
// leaf of its own, which holds the window.
//
// The place is drawn as if the tree had been cut with the point in it from the start (Guha et al., algorithm
// 2): the topmost node at which a cut of the box enlarged by the point falls between the two. The way is
// upwards, for a box that contains the point ends it: all boxes above contain it too.
func (t *tree) insert(point []float32, row uint32, depth int, in *surroundings) (leaf int) {
	if t.leaves == 0 {
		in.store.refs[row]++
		leaf = t.newLeaf(row)
		t.root = leafRef(leaf)
		return leaf
	}
	old := in.at(depth).index()
	distance := distanceToPoint(point, in.store.window(t.row(old)))
	if distance == 0 {
		t.mass[old]++
		return old
	}
	level, offset := depth, float64(t.sample.random.uniform()*distance)
	top, n := depth, 0 // boxes from top down to the leaf do not contain the point
	if depth > 0 {
		n = outside(point, t.boxOf(in.at(depth-1).index(), len(point)), in.dims)
	}
	for n > 0 {
		top--
		node := in.at(top).index()
		box, out := t.boxOf(node, len(point)), in.dims[:n]
		if top > 0 {
			distance, n = climb(point, box, t.boxOf(in.at(top-1).index(), len(point)), out)
		} else {
			distance, n = distanceIn(point, box, out), 0
		}
		if u := float64(t.sample.random.uniform() * (t.spanOf(node, box) + distance)); u < distance {
			level, offset = top, u
		}
	}
	in.store.refs[row]++
	leaf = t.newLeaf(row)
	t.split(in, level, leaf, offset, point)
	t.encloseAbove(in, point, top, level)
	return leaf
}

// split puts a new node over the node or leaf at a level of the walk, with leaf as its other child. offset is the
// cut's place within the outside of the box, counted over the coordinates in order.
func (t *tree) split(in *surroundings, level, leaf int, offset float64, point []float32) {
	added, sibling := t.newNode(), in.at(level)
	box := t.boxOf(added, len(point))
	t.boxOfChild(box, sibling, in.store)
	dim, cut, below := placeCut(point, box, offset)
	s := slot{cut: sortable(cut), child: [2]ref{sibling, leafRef(leaf)}}
	if below {
		s.child[0], s.child[1] = s.child[1], s.child[0]
	}
	t.slots[nodeRef(added)] = s
	t.cutDim[added] = uint16(dim)
	enclose(box, point)
	t.keepSpan(added, box)
	if level == 0 {
		t.root = nodeRef(added)
		return
	}
	t.replaceChild(in.at(level-1), sibling, nodeRef(added))
}

// encloseAbove extends the boxes of the walk's levels from top to before level, none of which contains point.
func (t *tree) encloseAbove(in *surroundings, point []float32, top, level int) {
	n := 0
	for i := level - 1; i >= top; i-- {
		node := in.at(i).index()
		box := t.boxOf(node, len(point))
		if i == level-1 {
			n = outside(point, box, in.dims)
		} else {
			n = stillOutside(point, box, in.dims[:n])
		}
		encloseIn(box, point, in.dims[:n])
		t.keepSpan(node, box)
	}
}

// remove takes one occurrence of a leaf's point out of the tree.
func (t *tree) remove(leaf int, in *surroundings) {
	t.mass[leaf]--
	if t.mass[leaf] > 0 {
		return
	}
	row := t.row(leaf)
	point := in.store.window(row)
	_, depth := t.descend(point, in.path)
	t.dropLeaf(leaf)
	in.store.refs[row]--
	if depth == 0 {
		return
	}
	parent := in.path[depth-1]
	sibling := t.slots[parent].child[0]
	if sibling == leafRef(leaf) {
		sibling = t.slots[parent].child[1]
	}
	t.dropNode(parent.index())
	if depth == 1 {
		t.root = sibling
		return
	}
	t.replaceChild(in.path[depth-2], parent, sibling)
	t.shrinkAbove(in, point, depth-1)
}

// shrinkAbove makes the boxes of path[:level] right again after point, which was under all of them, has gone.
func (t *tree) shrinkAbove(in *surroundings, point []float32, level int) {
	n := 0
	for i := level - 1; i >= 0; i-- {
		node := in.path[i]
		box := t.boxOf(node.index(), len(point))
		if i == level-1 {
			n = touching(point, box, in.dims)
		} else {
			n = stillTouching(point, box, in.dims[:n])
		}
		if n == 0 || !t.reboxIn(node, box, in.dims[:n], in.store) {
			return // neither this box nor any above depends on the point
		}
		t.keepSpan(node.index(), box)
	}
}

// reboxIn computes a node's box anew from its children in some coordinates, and says whether it has changed.
func (t *tree) reboxIn(node ref, box []side, dims []uint16, s *store) bool {
	children, changed := t.slots[node].child, false
	for _, i := range dims {
		now := nowhere()
		t.encloseSide(&now, children[0], int(i), s)
		t.encloseSide(&now, children[1], int(i), s)
		changed = changed || now != box[i]
		box[i] = now
	}
	return changed
}

// boxOfChild makes box the bounding box of a leaf or a node.
func (t *tree) boxOfChild(box []side, child ref, s *store) {
	if child.isLeaf() {
		pointBox(box, s.window(t.row(child.index())))
		return
	}
	copy(box, t.boxOf(child.index(), len(box)))
}

// encloseChild extends box to contain a leaf's point or a node's box.
func (t *tree) encloseChild(box []side, child ref, s *store) {
	for i := range box {
		t.encloseSide(&box[i], child, i, s)
	}
}

// encloseSide is encloseChild for coordinate i.
func (t *tree) encloseSide(to *side, child ref, i int, s *store) {
	var from side
	if child.isLeaf() {
		x := s.values[int(t.row(child.index()))*s.d+i]
		from = side{x, x}
	} else {
		from = t.box[child.index()*s.d*s.k+i]
	}
	to[0], to[1] = min(to[0], from[0]), max(to[1], from[1])
}

// replaceChild makes a node have child after where it had before.
func (t *tree) replaceChild(node, before, after ref) {
	if s := &t.slots[node]; s.child[0] == before {
		s.child[0] = after
	} else {
		s.child[1] = after
	}
}

// newLeaf takes a leaf for one occurrence of the window at row.
func (t *tree) newLeaf(row uint32) int {
	leaf := int(t.freeLeaf)
	r := leafRef(leaf)
	t.freeLeaf = uint16(t.slots[r].child[0])
	t.slots[r] = slot{cut: int32(row), child: [2]ref{r, r}}
	t.mass[leaf] = 1
	t.leaves++
	return leaf
}

// dropLeaf gives a leaf back.
func (t *tree) dropLeaf(leaf int) {
	t.mass[leaf] = 0
	t.slots[leafRef(leaf)].child[0] = ref(t.freeLeaf)
	t.freeLeaf = uint16(leaf)
	t.leaves--
}

// newNode takes a node; its contents are the caller's to fill.
func (t *tree) newNode() int {
	node := int(t.freeNode)
	t.freeNode = uint16(t.slots[nodeRef(node)].child[0])
	return node
}

// dropNode gives a node back.
func (t *tree) dropNode(node int) {
	t.slots[nodeRef(node)].child[0] = ref(t.freeNode)
	t.freeNode = uint16(node)
}

// reserve makes room for that many leaves. newLeaf relies on there being a free one.
func (t *tree) reserve(leaves, coordinates int) {
	before := len(t.mass)
	t.slots = enlarged(t.slots, 2*leaves)
	t.mass = enlarged(t.mass, leaves)
	t.cutDim = enlarged(t.cutDim, leaves)
	if coordinates > 1 {
		t.span = enlarged(t.span, leaves-1)
	}
	t.box = enlarged(t.box, (leaves-1)*coordinates)
	for i := leaves - 1; i >= before; i-- { // lowest on top
		t.slots[leafRef(i)].child[0], t.freeLeaf = ref(t.freeLeaf), uint16(i)
		if i < leaves-1 {
			t.dropNode(i)
		}
	}
	if before > 0 {
		t.dropNode(before - 1)
	}
}

// enlarged returns a copy of s with the given length.
func enlarged[E any](s []E, length int) []E {
	return append(make([]E, 0, length), s...)[:length]
}
