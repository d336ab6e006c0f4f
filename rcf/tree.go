package rcf

import "math"

// A tree is a random cut tree over the distinct points of its sample (Guha et al., ICML 2016, section 2). An
// inner node cuts the box around its points in one coordinate: points with a coordinate at most cut are on
// its left. A leaf is a point; its mass is the number of samples with that very point.
//
// A leaf is named by the place in the reservoir of one of its samples. Nodes with an index below boxed keep their
// bounding boxes; the box of another is computed from those of its children when it is needed (see cache.go).
type tree struct {
	slots  []slot   // the inner nodes; no fewer than places, so that a walk may look at a leaf's index too
	cutDim []uint16 // per node: the coordinate that is cut
	rows   []uint16 // per place: the sample's window in the store, see rowAt
	box    []side   // per node that keeps its box, and coordinate

	root      ref
	leaves    uint16 // leaves in use; inner nodes in use are one fewer
	boxed     uint16 // how many nodes can keep their boxes
	freeBoxed uint16 // head of the list of free nodes below boxed, linked through child[0]; noIndex ends it
	freeOther uint16 // head of the list of free nodes from boxed on

	sample reservoir
}

// slot is an inner node in 8 bytes.
type slot struct {
	cut   int32  // as sortable gives it
	child [2]ref // left, right
}

// ref names a node or, with leafBit, a leaf.
type ref uint16

const (
	leafBit ref    = 1 << 15
	noIndex uint16 = 1<<16 - 1
)

func nodeRef(index int) ref { return ref(index) }
func leafRef(index int) ref { return ref(index) | leafBit }
func (r ref) isLeaf() bool  { return r >= leafBit }
func (r ref) index() int    { return int(r &^ leafBit) }

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
	store  *store
	steps  []step   // the walk that insert and remove follow, in one lane
	lane   int      // that lane
	growth []growth // per level: what a climb has found
	box    []side   // scratch: the box of a node that keeps none
	least  int      // how many leaves a node should have under it to keep its box
}

// at returns where the walk was after some steps.
func (in *surroundings) at(level int) ref { return in.steps[level][in.lane&(lanes-1)] }

// descend walks from the root to the leaf whose cell holds point. path[:depth] then are the nodes passed.
func (t *tree) descend(point []float32, path []ref) (leaf, depth int) {
	at := t.root
	for !at.isLeaf() {
		path[depth] = at
		depth++
		at = next(t.slots, at, sortable(point[t.cutDim[at.index()]]))
	}
	return at.index(), depth
}

// rowAt returns the number in rows at a place. There are that many places; rows has the lower halves of the numbers and
// then, if the store is so large, the upper halves.
func rowAt(rows []uint16, places, place int) uint32 {
	row := uint32(rows[place])
	if len(rows) > places {
		row |= uint32(rows[places+place]) << 16
	}
	return row
}

// row returns the window in the store of the point of a leaf or of any sample.
func (t *tree) row(place int) uint32 { return rowAt(t.rows, len(t.sample.key), place) }

// setRow notes a sample's window.
func (t *tree) setRow(place int, row uint32) {
	t.rows[place] = uint16(row)
	if places := len(t.sample.key); len(t.rows) > places {
		t.rows[places+place] = uint16(row >> 16)
	}
}

// mass returns how many samples have the point of a leaf.
func (t *tree) mass(leaf int) int {
	if !t.sample.key[leaf].shared() {
		return 1
	}
	return t.samplesOf(t.row(leaf))
}

// samplesOf returns how many samples have the window at row.
func (t *tree) samplesOf(row uint32) int {
	places := len(t.sample.key)
	held, spare := t.rows[:min(places, int(t.sample.n)+1)], int(t.sample.spare)
	n := -b2i(spare < len(held) && t.row(spare) == row) // what is there has gone
	if len(t.rows) == places {
		return n + count(held, uint16(row))
	}
	for place := range held {
		n += b2i(t.row(place) == row)
	}
	return n
}

// countGeneric returns how many of rows are row.
func countGeneric(rows []uint16, row uint16) (n int) {
	for _, r := range rows {
		n += b2i(r == row)
	}
	return n
}

// insert adds the sample at a place with its point, which is the store's window at row. The tree has been walked
// for point, to a leaf at depth, and climbed to top. If that leaf's point is the same, the sample joins it;
// otherwise it gets a leaf of its own.
//
// The leaf's position is drawn as if the tree had been cut with the point in it from the start (Guha et al., algorithm
// 2): the topmost node at which a cut of the box enlarged by the point falls between the two. The way is
// upwards, for a box that contains the point ends it: all boxes above contain it too.
func (t *tree) insert(place int, point []float32, row uint32, depth, top int, in *surroundings) {
	if t.leaves == 0 {
		t.setRow(place, row)
		t.root = leafRef(place)
		t.leaves = 1
		return
	}
	old := in.at(depth).index()
	distance := distanceToPoint(point, in.store.window(t.row(old)))
	if distance == 0 {
		t.setRow(place, t.row(old))
		t.sample.key[old].share()
		t.sample.key[place].share()
		return
	}
	level, offset := depth, float64(t.sample.random.uniform()*distance)
	for i := depth - 1; i >= top; i-- {
		g := in.growth[i]
		if u := float64(t.sample.random.uniform() * (g.span + g.distance)); u < g.distance {
			level, offset = i, u
		}
	}
	t.setRow(place, row)
	t.leaves++
	t.split(in, level, place, offset, point)
	t.encloseAbove(in, point, top, level)
	t.promoteAbove(in, level)
}

// split puts a new node over the node or leaf at a level of the walk, with a new leaf as its other child. offset is the
// cut's place within the outside of the box, counted over the coordinates in order.
func (t *tree) split(in *surroundings, level, leaf int, offset float64, point []float32) {
	sibling := in.at(level)
	t.boxOfChild(in.box, sibling, in.store)
	dim, cut, below := placeCut(point, in.box, offset)
	s := slot{cut: sortable(cut), child: [2]ref{sibling, leafRef(leaf)}}
	if below {
		s.child[0], s.child[1] = s.child[1], s.child[0]
	}
	added := t.newNode(t.freeBoxed != noIndex && t.count(sibling, in.least)+1 >= in.least)
	t.slots[added], t.cutDim[added] = s, uint16(dim)
	if t.keepsBox(added) {
		box := t.boxOf(added, len(point))
		copy(box, in.box)
		enclose(box, point)
	}
	t.replaceBelow(in, level, sibling, nodeRef(added))
}

// replaceBelow makes after the root or the child of the walk's node above level, where before was.
func (t *tree) replaceBelow(in *surroundings, level int, before, after ref) {
	if level == 0 {
		t.root = after
		return
	}
	t.replaceChild(in.at(level-1), before, after)
}

// encloseAbove extends the boxes of the walk's levels from top to before level, none of which contains point.
func (t *tree) encloseAbove(in *surroundings, point []float32, top, level int) {
	for i := level - 1; i >= top; i-- {
		if node := in.at(i).index(); t.keepsBox(node) {
			enclose(t.boxOf(node, len(point)), point)
		}
	}
}

// remove takes a sample that has left the reservoir out of the tree, which has been walked for its point to a leaf at
// depth. shared says that the leaf may have other samples.
func (t *tree) remove(place int, shared bool, depth int, in *surroundings) {
	leaf := in.at(depth).index()
	if shared && t.leave(place, leaf, depth, in) {
		return
	}
	t.leaves--
	if depth == 0 {
		return
	}
	parent := in.at(depth - 1)
	sibling := t.slots[parent].child[0]
	if sibling == leafRef(leaf) {
		sibling = t.slots[parent].child[1]
	}
	t.dropNode(parent.index())
	t.replaceBelow(in, depth-1, parent, sibling)
	t.shrinkAbove(in, depth-1)
	t.demoteAbove(in, depth-1)
}

// leave takes a sample out of its leaf and reports whether the leaf stays, because it has other samples.
func (t *tree) leave(place, leaf, depth int, in *surroundings) bool {
	row := t.row(place)
	n := t.samplesOf(row)
	if n == 0 {
		return false
	}
	heir := len(t.sample.held()) - 1
	for !t.sample.key[heir].held() || t.row(heir) != row {
		heir--
	}
	if n == 1 {
		t.sample.key[heir].ownLeaf()
	}
	if leaf == place {
		t.replaceBelow(in, depth, leafRef(leaf), leafRef(heir))
	}
	return true
}

// shrinkAbove makes the boxes of the walk's levels before level right again after a point that was under all of
// them has gone.
func (t *tree) shrinkAbove(in *surroundings, level int) {
	for i := level - 1; i >= 0; i-- {
		node := in.at(i).index()
		if !t.keepsBox(node) {
			continue
		}
		t.boxOfNode(in.box, node, in.store)
		if !replaceBox(t.boxOf(node, len(in.box)), in.box) {
			return // no box above depends on the point either
		}
	}
}

// replaceChild makes a node have child after where it had before.
func (t *tree) replaceChild(node, before, after ref) {
	if s := &t.slots[node]; s.child[0] == before {
		s.child[0] = after
	} else {
		s.child[1] = after
	}
}
