package rcf

import (
	"iter"
	"math"
	"slices"
	"testing"
)

// referenceForest computes from the definitions, with no cache and no cleverness, what a Forest must hold.
type referenceForest struct {
	config Config
	stream [][]float64 // all points so far
}

// score goes down every tree and follows the recurrence of the score, boxes computed from the leaves.
func (d *referenceForest) score(f *Forest, point []float64) float64 {
	if len(d.stream) < max(d.config.OutputAfter, d.config.Shingle) {
		return 0
	}
	var query []float32
	for _, p := range append(slices.Clone(d.stream[len(d.stream)+1-d.config.Shingle:]), point) {
		for _, v := range p {
			query = append(query, float32(v))
		}
	}
	var sum float64
	for i := range f.trees {
		t := &f.trees[i]
		size := float64(t.sample.n)
		sum += d.value(f, t, t.root, query, 0, size) * math.Log2(size+1)
	}
	return sum / float64(len(f.trees))
}

// value is the recurrence from a node downwards.
func (d *referenceForest) value(f *Forest, t *tree, at ref, query []float32, depth, size float64) float64 {
	points := d.pointsBelow(f, t, at)
	if at.isLeaf() {
		if slices.Equal(points[0], query) {
			mass := float64(d.massOf(f, t, points[0]))
			return (1 - mass/(2*size)) / (depth + math.Log2(mass+1))
		}
		return 1 / (depth + 1)
	}
	var span, distance float64
	for i, x := range query {
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, p := range points {
			lo, hi = math.Min(lo, float64(p[i])), math.Max(hi, float64(p[i]))
		}
		span += hi - lo
		distance += math.Max(0, math.Max(lo-float64(x), float64(x)-hi))
	}
	next := t.slots[at].child[0]
	if query[t.cutDim[at.index()]] > unsortable(t.slots[at].cut) {
		next = t.slots[at].child[1]
	}
	below := d.value(f, t, next, query, depth+1, size)
	p := distance / (distance + span)
	return p/(depth+1) + (1-p)*below
}

// massOf counts the samples with a point.
func (d *referenceForest) massOf(f *Forest, t *tree, point []float32) int {
	n := 0
	for place, key := range t.sample.held() {
		if key.held() && slices.Equal(f.store.window(t.row(place)), point) {
			n++
		}
	}
	return n
}

// pointsBelow lists the distinct points under a node or leaf.
func (d *referenceForest) pointsBelow(f *Forest, t *tree, at ref) [][]float32 {
	if at.isLeaf() {
		return [][]float32{f.store.window(t.row(at.index()))}
	}
	return append(d.pointsBelow(f, t, t.slots[at].child[0]), d.pointsBelow(f, t, t.slots[at].child[1])...)
}

// check compares everything that a forest keeps with what its trees and the stream say.
func (d *referenceForest) check(t *testing.T, f *Forest) {
	t.Helper()
	for i := range f.trees {
		d.checkTree(t, f, &f.trees[i])
		d.checkSample(t, f, &f.trees[i])
	}
	if len(f.store.values) != f.store.rows()*f.store.d || f.store.rows() > f.store.room {
		t.Errorf("%d values in %d of %d rows", len(f.store.values), f.store.rows(), f.store.room)
	}
	newest := f.store.values[max(0, len(f.store.values)-(d.config.Shingle-1)*d.config.Dimensions):]
	var want []float32
	for _, p := range d.stream[max(0, len(d.stream)-d.config.Shingle+1):] {
		for _, v := range p {
			want = append(want, float32(v))
		}
	}
	if !slices.Equal(newest, want) {
		t.Errorf("newest values %v, given %v", newest, want)
	}
}

// leavesOf gives the leaves of a tree.
func leavesOf(tr *tree) iter.Seq[int] {
	return func(yield func(leaf int) bool) {
		if tr.leaves == 0 {
			return
		}
		for _, r := range tr.order() {
			if r.isLeaf() && !yield(r.index()) {
				return
			}
		}
	}
}

// checkTree checks masses, boxes and their spans, cuts and the lists of free nodes against the points of the leaves.
func (d *referenceForest) checkTree(t *testing.T, f *Forest, tr *tree) {
	t.Helper()
	nodes, leaves, mass := 0, 0, 0
	used := make([]bool, len(tr.slots))
	if tr.leaves > 0 {
		for _, r := range tr.order() {
			if r.isLeaf() {
				leaves++
				mass += tr.mass(r.index())
				if !tr.sample.key[r.index()].held() {
					t.Errorf("leaf %d is named by a place without a sample", r.index())
				}
				continue
			}
			nodes++
			used[r.index()] = true
			if tr.leaves <= 64 || nodes%512 == 1 { // the reference is quadratic
				d.checkNode(t, f, tr, r)
			}
		}
	}
	if leaves != int(tr.leaves) || nodes != max(0, leaves-1) || mass != int(tr.sample.n) {
		t.Errorf("%d nodes, %d leaves (counted %d) of mass %d for %d samples", nodes, leaves, tr.leaves, mass, tr.sample.n)
	}
	for _, head := range []uint16{tr.freeBoxed, tr.freeOther} {
		for node := head; len(used) > 0 && node != noIndex; node = uint16(tr.slots[node].child[0]) {
			if used[node] || tr.keepsBox(int(node)) != (head == tr.freeBoxed) {
				t.Fatalf("node %d is in the wrong list of free nodes, or in use", node)
			}
			used[node] = true
		}
	}
	if slices.Contains(used, false) {
		t.Errorf("nodes are lost: %v", used)
	}
}

func (d *referenceForest) checkNode(t *testing.T, f *Forest, tr *tree, r ref) {
	t.Helper()
	left, right := d.pointsBelow(f, tr, tr.slots[r].child[0]), d.pointsBelow(f, tr, tr.slots[r].child[1])
	dim, cut := tr.cutDim[r.index()], unsortable(tr.slots[r].cut)
	for _, p := range left {
		if p[dim] > cut {
			t.Errorf("%v is left of cut %v in %d", p, cut, dim)
		}
	}
	for _, p := range right {
		if p[dim] <= cut {
			t.Errorf("%v is right of cut %v in %d", p, cut, dim)
		}
	}
	box := make([]side, d.config.coordinates())
	var span float64
	for i := range d.config.coordinates() {
		box[i] = side{left[0][i], left[0][i]}
		for _, p := range append(left, right...) {
			box[i] = side{min(box[i][0], p[i]), max(box[i][1], p[i])}
		}
		span += float64(box[i][1]) - float64(box[i][0])
	}
	got := make([]side, d.config.coordinates())
	tr.boxOfChild(got, r, &f.store)
	if !slices.Equal(got, box) {
		t.Errorf("box %v, points say %v", got, box)
	}
	if got := spanOf(got); math.Abs(got-span) > 1e-12*span {
		t.Errorf("span %v, points say %v", got, span)
	}
	if len(box) == 1 {
		if lo, hi := tr.end(0, r, &f.store), tr.end(1, r, &f.store); lo != box[0][0] || hi != box[0][1] {
			t.Errorf("ends %v and %v, points say %v", lo, hi, box[0])
		}
	}
}

// checkSample checks that the reservoir knows its largest key, and that every held window is a part of the stream.
func (d *referenceForest) checkSample(t *testing.T, f *Forest, tr *tree) {
	t.Helper()
	n := 0
	for place, key := range tr.sample.key {
		if !key.held() {
			continue
		}
		n++
		if key.value() > tr.sample.largest() {
			t.Errorf("key %v, the largest is %v", key.value(), tr.sample.largest())
		}
		if !d.inStream(f.store.window(tr.row(place))) {
			t.Errorf("window %v is not in the stream", f.store.window(tr.row(place)))
		}
		if !key.shared() && d.massOf(f, tr, f.store.window(tr.row(place))) > 1 {
			t.Errorf("place %d shares its leaf and does not know", place)
		}
	}
	if n != int(tr.sample.n) || n > d.config.SampleSize {
		t.Errorf("%d samples, counted %d of %d", n, tr.sample.n, d.config.SampleSize)
	}
}

func (d *referenceForest) inStream(window []float32) bool {
	for i := 0; i+d.config.Shingle <= len(d.stream); i++ {
		same := true
		for j, v := range window {
			same = same && v == float32(d.stream[i+j/d.config.Dimensions][j%d.config.Dimensions])
		}
		if same {
			return true
		}
	}
	return false
}
