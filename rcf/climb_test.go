package rcf

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAClimbByVectorsEqualsTheGeneric compares the climb by vectors with the generic one, bit by bit.
func TestAClimbByVectorsEqualsTheGeneric(t *testing.T) {
	climbed := 0
	for coordinates := 2; coordinates <= 13; coordinates++ {
		f := newForest(t, Config{Dimensions: coordinates, Trees: 9, SampleSize: 64, Seed: uint64(coordinates)})
		r := rand.New(rand.NewPCG(4, uint64(coordinates)))
		point := make([]float64, coordinates)
		for i := range 400 {
			for j := range point {
				point[j] = r.NormFloat64() * float64(1+r.IntN(3))
			}
			process(t, f, point)
			if i < 20 {
				continue
			}
			one := &f.trees[r.IntN(len(f.trees))]
			var trees [lanes]*tree
			var queries [lanes][]int32
			trees[0], queries[0] = one, f.scratch.keys
			depth, lane := f.walk(&trees, &queries, 1), r.IntN(lanes)
			in := f.around(lane)
			from := r.IntN(int(depth[lane]) + 1)
			below := r.Float64()
			clear(in.growth)
			value, top := one.climbBoxed(in, f.scratch.wide, f.scratch.unseen, below, from)
			found := slices.Clone(in.growth)
			clear(in.growth)
			wantValue, wantTop := one.climbBoxedGeneric(in, f.scratch.wide, f.scratch.unseen, below, from)
			if value != wantValue || top != wantTop || !slices.Equal(found, in.growth) {
				t.Fatalf("%d coordinates, from level %d: value %v to level %d, generic %v to level %d\n%v\n%v", coordinates, from,
					value, top,
					wantValue, wantTop, found, in.growth)
			}
			climbed += from - top
		}
	}
	if climbed < 1000 {
		t.Errorf("the test has climbed %d levels only", climbed)
	}
}
