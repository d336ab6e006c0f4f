package rcf

import (
	"math/rand/v2"
	"testing"
)

// TestWalksInSeveralTreesEqualWalksInOne compares walks in several trees, in assembly and generic, with a walk in one.
func TestWalksInSeveralTreesEqualWalksInOne(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {2, 1}, {3, 3}} {
		f := newForest(t, Config{Dimensions: size[0], Shingle: size[1], Trees: 13, SampleSize: 64, Seed: 5})
		r := rand.New(rand.NewPCG(2, 3))
		value := func() float64 { return r.NormFloat64() + float64(r.IntN(3)*100*r.IntN(2)) } // trees of several depths
		point := make([]float64, size[0])
		for range 600 {
			for i := range point {
				point[i] = value()
			}
			process(t, f, point)
			var trees [lanes]*tree
			var points [lanes][]float32
			var queries [lanes][]int32
			for lane := range lanes {
				trees[lane] = &f.trees[r.IntN(len(f.trees))]
				if trees[lane].leaves == 0 {
					trees[lane] = nil
					continue
				}
				for range size[0] * size[1] {
					v := float32(value())
					points[lane], queries[lane] = append(points[lane], v), append(queries[lane], sortable(v))
				}
			}
			if trees[0] == nil {
				continue
			}
			for lane := range lanes {
				if trees[lane] == nil {
					trees[lane], points[lane], queries[lane] = trees[0], points[0], queries[0]
				}
			}
			for name, walk := range map[string]func(*[lanes]*tree, *[lanes][]int32, []step, *[lanes]uint16) bool{"best": walk,
				"portable": walkGeneric} {
				checkWalk(t, name, walk, &trees, &points, &queries)
			}
		}
	}
}

func checkWalk(t *testing.T, name string, walk func(*[lanes]*tree, *[lanes][]int32, []step, *[lanes]uint16) bool,
	trees *[lanes]*tree, points *[lanes][]float32, queries *[lanes][]int32) {
	t.Helper()
	const beyond = 0x7777
	steps := make([]step, 70)
	for i := range steps {
		for lane := range lanes {
			steps[i][lane] = beyond
		}
	}
	var depth [lanes]uint16
	if !walk(trees, queries, steps[:66], &depth) {
		t.Fatalf("%s: 66 steps are too few for trees of 64 leaves", name)
	}
	deepest := 0
	for lane, tree := range trees {
		path := make([]ref, 70)
		leaf, d := tree.descend(points[lane], path)
		if int(depth[lane]) != d {
			t.Fatalf("%s: lane %d has depth %d, want %d", name, lane, depth[lane], d)
		}
		path[d] = leafRef(leaf)
		for i, at := range path[:d+1] {
			if steps[i][lane] != at {
				t.Fatalf("%s: lane %d is at %#x after %d steps, want %#x", name, lane, steps[i][lane], i, at)
			}
		}
		deepest = max(deepest, d)
	}
	for _, row := range steps[deepest+1:] {
		for _, at := range row {
			if at != beyond {
				t.Fatalf("%s: wrote behind the last step, %d", name, deepest)
			}
		}
	}
	if !walk(trees, queries, steps[:deepest+1], &depth) {
		t.Fatalf("%s: %d steps and the start were too few for depth %d", name, deepest, deepest)
	}
	for lane := range lanes {
		steps[deepest][lane] = beyond
	}
	if walk(trees, queries, steps[:deepest], &depth) {
		t.Fatalf("%s: depth %d found room in %d rows", name, deepest, deepest)
	}
	if steps[deepest][0] != beyond {
		t.Fatalf("%s: wrote behind the end", name)
	}
}

// BenchmarkWalk shows what the assembly is good for; a time is that of eight trees.
func BenchmarkWalk(b *testing.B) {
	for _, size := range []struct {
		name       string
		dimensions int
	}{{"line", 1}, {"space", 8}} {
		f := newForest(b, Config{Dimensions: size.dimensions, Trees: 48, Seed: 1})
		r := rand.New(rand.NewPCG(1, 2))
		point := make([]float64, size.dimensions)
		random := func() []float64 {
			for i := range point {
				point[i] = r.NormFloat64()
			}
			return point
		}
		for range 20000 {
			process(b, f, random())
		}
		var queries [1 << 10][]int32
		for i := range queries {
			for _, v := range random() {
				queries[i] = append(queries[i], sortable(float32(v)))
			}
		}
		for name, walk := range map[string]func(*[lanes]*tree, *[lanes][]int32, []step, *[lanes]uint16) bool{"best": walk,
			"portable": walkGeneric} {
			b.Run(name+"."+size.name, func(b *testing.B) {
				var trees [lanes]*tree
				var same [lanes][]int32
				var depth [lanes]uint16
				i := 0
				for b.Loop() {
					for lane := range lanes {
						trees[lane], same[lane] = &f.trees[(i*lanes+lane)%len(f.trees)], queries[i/6%len(queries)]
					}
					if !walk(&trees, &same, f.scratch.steps, &depth) {
						b.Fatal("the scratch is too short")
					}
					i++
				}
			})
		}
	}
}
