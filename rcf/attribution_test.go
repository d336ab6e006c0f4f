package rcf

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// attribution shares out the score by its definition, coordinate by coordinate: low and high of the first, and so on.
func (d *referenceForest) attribution(f *Forest, query []float32) []float64 {
	total, unexplained := make([]float64, 2*len(query)), 0.0
	for i := range f.trees {
		t := &f.trees[i]
		size := float64(t.sample.n)
		score := d.value(f, t, t.root, query, 0, size) * math.Log2(size+1) / float64(len(f.trees))
		if t.root.isLeaf() && slices.Equal(d.pointsBelow(f, t, t.root)[0], query) {
			unexplained += score
			continue
		}
		parts := d.parts(f, t, t.root, query, 0)
		sum := sumOf(parts)
		for j, part := range parts {
			total[j] += part / sum * score
		}
	}
	sum := sumOf(total)
	for i := range total {
		if sum == 0 {
			total[i] = unexplained / float64(len(total))
		} else {
			total[i] *= 1 + unexplained/sum
		}
	}
	return total
}

// parts is the recurrence of value, from a node downwards in the tree without the query itself, by coordinate.
func (d *referenceForest) parts(f *Forest, t *tree, at ref, query []float32, depth float64) []float64 {
	points := slices.DeleteFunc(d.pointsBelow(f, t, at), func(p []float32) bool { return slices.Equal(p, query) })
	parts := make([]float64, 2*len(query))
	var span, distance float64
	for i, x := range query {
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, p := range points {
			lo, hi = math.Min(lo, float64(p[i])), math.Max(hi, float64(p[i]))
		}
		span += hi - lo
		parts[2*i] = math.Max(0, lo-float64(x))
		parts[2*i+1] = math.Max(0, float64(x)-hi)
		distance += parts[2*i] + parts[2*i+1]
	}
	var below []float64
	if !at.isLeaf() {
		next := t.slots[at].child[0]
		if query[t.cutDim[at.index()]] > unsortable(t.slots[at].cut) {
			next = t.slots[at].child[1]
		}
		if !next.isLeaf() || !slices.Equal(d.pointsBelow(f, t, next)[0], query) {
			below = d.parts(f, t, next, query, depth+1)
		}
	}
	if below == nil { // what is below is the query alone, or nothing
		span = 0
	}
	for i := range parts {
		parts[i] /= (span + distance) * (depth + 1)
		if below != nil {
			parts[i] += (1 - distance/(span+distance)) * below[i]
		}
	}
	return parts
}

func sumOf(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}

// mixed are streams whose dimensions differ in kind.
var mixed = map[string]func(r *rand.Rand, i, dim int) float64{
	"normal":     func(r *rand.Rand, _, _ int) float64 { return r.NormFloat64() },
	"few values": func(r *rand.Rand, _, _ int) float64 { return float64(r.IntN(2)) },
	"one dimension moves": func(r *rand.Rand, _, dim int) float64 {
		return float64(dim) +
			float64(b2i(dim == 0))*r.Float64()
	},
	"rarely another": func(r *rand.Rand, _, dim int) float64 {
		return 7 + float64(b2i(dim == 0 && r.IntN(20) == 0))
	},
	"magnitudes": func(r *rand.Rand, _, dim int) float64 {
		return [...]float64{1e-30, 1, 1e30, 1e38}[dim%4] * (r.Float64() - 0.5)
	},
	"constant": func(_ *rand.Rand, _, dim int) float64 { return float64(dim) },
	"steps":    func(r *rand.Rand, i, dim int) float64 { return float64(i/30%3) + 0.01*r.Float64()*float64(dim%2) },
}

// Attributions are what their definition says, for points that the sample holds and others.
func TestAnAttributionEqualsTheReference(t *testing.T) {
	for i, c := range configs {
		for name, value := range mixed {
			t.Run(fmt.Sprintf("%d/%s", i, name), func(t *testing.T) {
				f := newForest(t, c)
				reference := referenceForest{config: f.config}
				r := rand.New(rand.NewPCG(11, uint64(i)))
				for n := range 200 {
					point := make([]float64, f.config.Dimensions)
					for dim := range point {
						point[dim] = value(r, n, dim)
					}
					checkAttribution(t, f, &reference, point)
					if n%10 == 0 && n > 0 { // one from outside too, and an earlier one
						odd := slices.Clone(point)
						odd[r.IntN(len(odd))] += 3
						checkAttribution(t, f, &reference, odd)
						checkAttribution(t, f, &reference, reference.stream[r.IntN(n)])
					}
					if t.Failed() {
						t.FailNow()
					}
					process(t, f, point)
					reference.stream = append(reference.stream, point)
				}
			})
		}
	}
}

func checkAttribution(t *testing.T, f *Forest, reference *referenceForest, point []float64) {
	t.Helper()
	a, err := f.Attribute(point)
	if err != nil {
		t.Fatal(err)
	}
	score, _ := f.Score(point)
	if math.Abs(a.Sum()-score) > 1e-9*score {
		t.Errorf("point %d: parts sum to %v, score %v", f.seen, a.Sum(), score)
	}
	if !f.Ready() {
		return
	}
	want := reference.attribution(f, f.scratch.query)
	box, alone := boxOfSample(f)
	for i, x := range f.scratch.query {
		if low, high := a.Low[i], a.High[i]; !(low >= 0 && high >= 0) ||
			math.Abs(low-want[2*i]) > 1e-9*score || math.Abs(high-want[2*i+1]) > 1e-9*score {
			t.Errorf("point %d, coordinate %d: low %v, high %v, by definition %v and %v", f.seen, i, low, high, want[2*i],
				want[2*i+1])
		}
		// Of a point that is not below any other, no part is owed to its being low. Of a coordinate that is always
		// the same that means none at all.
		if explained := !alone || !slices.Equal(f.scratch.query, corner(box)); explained &&
			(x >= box[i][1] && a.Low[i] != 0 || x <= box[i][0] && a.High[i] != 0) {
			t.Errorf("point %d, coordinate %d: %v in a sample from %v: low %v, high %v", f.seen, i, x, box[i], a.Low[i],
				a.High[i])
		}
	}
}

// boxOfSample is the bounding box of all trees' points; alone says that it is a single point.
func boxOfSample(f *Forest) (box []side, alone bool) {
	box = make([]side, f.config.coordinates())
	for i := range box {
		box[i] = nowhere()
	}
	for i := range f.trees {
		for leaf := range leavesOf(&f.trees[i]) {
			enclose(box, f.store.window(f.trees[i].row(leaf)))
		}
	}
	return box, spanOf(box) == 0
}

// corner is a box's lowest point.
func corner(box []side) (point []float32) {
	for _, s := range box {
		point = append(point, s[0])
	}
	return point
}

// Trees that hold nothing but the point follow those that know others: the coordinate that never changes has no part.
func TestTreesOfOnePointFollowTheOthersAttribution(t *testing.T) {
	f := newForest(t, Config{Dimensions: 2, Trees: 20, SampleSize: 8, Seed: 1})
	for i := range 100 {
		process(t, f, []float64{7, 7 + float64(b2i(i == 90))})
	}
	lonely := 0
	for i := range f.trees {
		lonely += b2i(f.trees[i].leaves == 1)
	}
	if lonely == 0 || lonely == len(f.trees) {
		t.Fatalf("%d of %d trees have a single leaf: the test needs both kinds", lonely, len(f.trees))
	}
	a, err := f.Attribute([]float64{7, 7})
	if err != nil {
		t.Fatal(err)
	}
	if a.High[0] != 0 || a.Low[0] != 0 || a.High[1] != 0 || !(a.Low[1] > 0) {
		t.Errorf("%d of %d trees know the higher second value: high %v, low %v", len(f.trees)-lonely, len(f.trees), a.High,
			a.Low)
	}
}
