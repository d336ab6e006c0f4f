package rcf

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFourClimbsAtOnceEqualOneByOne compares climbs in four trees at once with one after the other, in all bits,
// and sees that few are left undecided.
func TestFourClimbsAtOnceEqualOneByOne(t *testing.T) {
	if !hasAVX {
		t.Skip("this processor has no AVX")
	}
	f := newForest(t, Config{Dimensions: 1, Trees: 9, SampleSize: 64, Seed: 3})
	r := rand.New(rand.NewPCG(5, 6))
	decided, equals := 0, 0
	for i := range 3000 {
		x := r.NormFloat64()
		if i%3 == 0 {
			x = float64(r.IntN(50))
		}
		process(t, f, []float64{x})
		if i < 20 {
			continue
		}
		var trees [lanes]*tree
		var queries [lanes][]int32
		for lane := range lanes {
			trees[lane], queries[lane] = &f.trees[r.IntN(len(f.trees))], f.scratch.keys
		}
		depth := f.walk(&trees, &queries, lanes)
		for first := 0; first < lanes; first += 4 {
			var values [4]float64
			undecided := f.climbFour((*[4]*tree)(trees[first:]), first, (*[4]uint16)(depth[first:]), &values)
			for lane := first; lane < first+4; lane++ {
				tree, in, d := trees[lane], f.around(lane), int(depth[lane])
				value, top := f.climb(tree, in, d)
				leaf := in.at(d).index()
				isLeaf := equal(f.scratch.query, f.store.window(tree.row(leaf)))
				equals += b2i(isLeaf)
				if undecided>>(lane-first)&1 != 0 {
					continue
				}
				decided++
				if value != values[lane-first] || isLeaf || d-top >= 4 {
					t.Fatalf("lane %d of depth %d: value %v, climb to level %d says %v, at the leaf %v", lane, d, values[lane-first],
						top, value, isLeaf)
				}
			}
		}
	}
	if equals < 100 {
		t.Errorf("only %d points were in the tree", equals)
	}
	if want := 3000 * lanes / 2; decided < want {
		t.Errorf("%d climbs are decided, want %d", decided, want)
	}
}

// BenchmarkClimbFour shows what four climbs at once are good for.
func BenchmarkClimbFour(b *testing.B) {
	f := newForest(b, Config{Dimensions: 1, Trees: 48, Seed: 1})
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		process(b, f, []float64{r.NormFloat64()})
	}
	// The walks are not what is measured: many are made before.
	type walked struct {
		x     float64
		trees [lanes]*tree
		steps []step
		depth [lanes]uint16
	}
	var walks [1 << 9]walked
	for i := range walks {
		w := &walks[i]
		if err := f.take([]float64{r.NormFloat64()}); err != nil {
			b.Fatal(err)
		}
		f.scratch.keys[0], w.x = sortable(f.scratch.query[0]), float64(f.scratch.query[0])
		var queries [lanes][]int32
		for lane := range lanes {
			w.trees[lane], queries[lane] = &f.trees[(i*lanes+lane)%len(f.trees)], f.scratch.keys
		}
		w.depth = f.walk(&w.trees, &queries, lanes)
		w.steps = slices.Clone(f.scratch.steps)
	}
	each := func(b *testing.B, climb func(w *walked)) {
		i := 0
		for b.Loop() {
			w := &walks[i%len(walks)]
			f.scratch.query[0], f.scratch.wide[0] = float32(w.x), w.x
			f.scratch.steps, f.in.steps = w.steps, w.steps
			climb(w)
			i++
		}
	}
	var sum float64
	alone := func(w *walked, lane int) {
		in := f.around(lane)
		value, top := f.climb(w.trees[lane], in, int(w.depth[lane]))
		sum += f.scoreIn(w.trees[lane], in, int(w.depth[lane]), top, value)
	}
	b.Run("alone", func(b *testing.B) {
		each(b, func(w *walked) {
			for lane := range 4 {
				alone(w, lane)
			}
		})
	})
	b.Run("four", func(b *testing.B) {
		each(b, func(w *walked) {
			var values [4]float64
			undecided := f.climbFour((*[4]*tree)(w.trees[:]), 0, (*[4]uint16)(w.depth[:]), &values)
			for lane := range 4 {
				if undecided>>lane&1 != 0 {
					alone(w, lane)
				} else {
					sum += f.scaled(values[lane], w.trees[lane])
				}
			}
		})
	})
}
