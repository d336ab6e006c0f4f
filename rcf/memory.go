package rcf

import "unsafe"

// The trees of a forest grow together, and those that do share slabs: many small allocations would waste up to a sixth
// of their memory.

// smallestTree is the number of places that a tree has at first.
const smallestTree = 16

// makeRoom makes the store able to take a row: it drops rows that no tree holds, and grows the store if few are.
func (f *Forest) makeRoom() {
	s := &f.store
	if !s.full() {
		return
	}
	if kept := f.markRows(); kept < s.rows() {
		for i := range f.trees {
			t := &f.trees[i]
			for place, key := range t.sample.held() {
				if key.held() {
					t.setRow(place, s.newRow(t.row(place)))
				}
			}
		}
		s.compact()
	}
	// A compaction costs as much as some ten points; that much room makes it rare enough. It looks at all samples,
	// however few rows they share.
	spare := s.rows() / 10
	if f.config.Compact {
		spare = s.rows() / 32
	}
	spare = max(spare, f.config.SampleSize/2)
	if s.room-s.rows() <= spare {
		s.grow(max(smallestTree, s.k+1, s.rows()+spare+max(1, spare/4)))
		f.widen()
	}
}

// markRows finds the rows of the store that are needed, and returns their number.
func (f *Forest) markRows() int {
	f.store.unmark()
	for i := range f.trees {
		t := &f.trees[i]
		for place, key := range t.sample.held() {
			if key.held() {
				f.store.mark(t.row(place))
			}
		}
	}
	return f.store.settle()
}

// makeRoomIn makes a tree able to take another sample before it gives one up.
func (f *Forest) makeRoomIn(t *tree) {
	if int(t.sample.spare) < len(t.sample.key) {
		return
	}
	places := min(f.config.SampleSize+1, max(smallestTree, 2*len(t.sample.key)))
	lacking := make([]*tree, 0, len(f.trees))
	for i := range f.trees {
		if len(f.trees[i].sample.key) < places {
			lacking = append(lacking, &f.trees[i])
		}
	}
	f.resize(lacking, places)
}

// resize gives trees more places, from slabs that they share, and nodes for as many leaves.
func (f *Forest) resize(trees []*tree, places int) {
	coordinates, halves := f.config.coordinates(), f.halves()
	boxed, nodes := f.config.nodes(places)
	if coordinates == 1 && len(f.line) < nodes {
		f.line = make([]uint16, nodes)
	}
	var slots []slot
	var keys []sampleKey
	var rows, cutDim []uint16
	var box []side
	for i, t := range trees {
		left := len(trees) - i
		take(&slots, &t.slots, nodes, left)
		t.takeRows(&rows, places, halves, left)
		take(&keys, &t.sample.key, places, left)
		t.sample.regroup(t.rows)
		take(&box, &t.box, boxed*coordinates, left)
		if coordinates > 1 {
			take(&cutDim, &t.cutDim, nodes, left)
		} else {
			t.cutDim = f.line[:nodes]
		}
		t.addNodes(boxed, &f.store)
	}
	f.fitScratch(places)
}

// take moves what is in field to the front of slab and gives it that length; the slab goes on behind. A slab that
// is used up is followed by another, for all trees that are left or for some: allocations beyond largeObject are
// rounded up to whole pages, smaller ones to less, and what that adds is used too.
func take[E any](slab, field *[]E, length, left int) {
	const largeObject = 32 << 10
	if len(*slab) < length {
		size := length * int(unsafe.Sizeof(*new(E)))
		n := left
		if some := largeObject / size; some >= 16 { // fewer leave more unused than the rounding to pages does
			n = min(left, some)
		}
		*slab = append([]E(nil), make([]E, n*length)...)
		*slab = (*slab)[:cap(*slab)]
	}
	copy((*slab)[:length], *field)
	*field, *slab = (*slab)[:length:length], (*slab)[length:]
}

// halves returns the number of parts in which trees keep the numbers of rows, see rowAt.
func (f *Forest) halves() int {
	if f.store.room > 1<<16 {
		return 2
	}
	return 1
}

// takeRows is take for rows, whose halves have to be moved apart.
func (t *tree) takeRows(slab *[]uint16, places, halves, left int) {
	before, old := len(t.sample.key), t.rows
	t.rows = nil
	take(slab, &t.rows, places*halves, left)
	for i := 0; before > 0 && i < len(old)/before; i++ {
		copy(t.rows[i*places:], old[i*before:(i+1)*before])
	}
}

// widen gives the trees room for larger row numbers if the store has them.
func (f *Forest) widen() {
	for i := range f.trees {
		t := &f.trees[i]
		if places := len(t.sample.key); len(t.rows) < places*f.halves() {
			t.rows = enlarged(t.rows, places*f.halves())
		}
	}
}

// enlarged returns a copy of s with the given length.
func enlarged[E any](s []E, length int) []E {
	return append(make([]E, 0, length), s...)[:length]
}

// addNodes fits the tree to more nodes, of which those below boxed keep their boxes: it computes the boxes of nodes
// that kept none and lists the free nodes.
func (t *tree) addNodes(boxed int, s *store) {
	keptBefore := int(t.boxed)
	t.boxed = uint16(boxed)
	used := make([]bool, len(t.slots))
	if t.leaves > 1 {
		order := t.order()
		for i := len(order) - 1; i >= 0; i-- { // children first
			if r := order[i]; !r.isLeaf() {
				used[r.index()] = true
				if node := r.index(); node >= keptBefore && node < boxed {
					t.fillBox(node, s)
				}
			}
		}
	}
	t.freeBoxed, t.freeOther = noIndex, noIndex
	for i := len(t.slots) - 1; i >= 0; i-- { // lowest on top
		if !used[i] {
			t.dropNode(i)
		}
	}
}

// fitScratch makes scratch memory fit trees of that many places. It keeps a walk's steps.
func (f *Forest) fitScratch(places int) {
	s := &f.scratch
	if len(s.path) < places {
		s.path = make([]ref, places)
	}
	f.deepen(min(places, 48))
}

// deepen makes scratch memory fit walks of that many steps.
func (f *Forest) deepen(steps int) {
	s := &f.scratch
	if before := len(s.steps); before < steps {
		s.steps, s.growth, s.unseen = enlarged(s.steps, steps), enlarged(s.growth, steps), enlarged(s.unseen, steps)
		for i := range s.unseen[before:] {
			s.unseen[before+i] = 1 / float64(before+i+1)
		}
	}
	f.in = surroundings{store: &f.store, steps: s.steps, lane: f.in.lane, growth: s.growth,
		box: s.box, least: f.config.leastBoxed()}
}
