package rcf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// referenceEstimate is the definition of an estimate: leaves that agree with the query on the side of every cut in
// a known coordinate, of these the nearest third or as many points as there are trees, each written down as often
// as it counts. It knows no enoughReached.
func referenceEstimate(f *Forest, query []float32, unknown []bool, at int) (low, median, high float64) {
	type point struct {
		value    float64
		distance float32
	}
	var reached []point
	for i := range f.trees {
		t := &f.trees[i]
		var visit func(at ref, reachable bool)
		visit = func(r ref, reachable bool) {
			if !reachable {
				return
			}
			if r.isLeaf() {
				window, sum := f.store.window(t.row(r.index())), 0.0
				for j := range query {
					if !unknown[j] {
						sum += math.Abs(float64(query[j]) - float64(window[j]))
					}
				}
				for range t.mass(r.index()) {
					reached = append(reached, point{float64(window[at]), float32(sum)})
				}
				return
			}
			dim := t.cutDim[r.index()]
			left := query[dim] <= unsortable(t.slots[r].cut)
			visit(t.slots[r].child[0], unknown[dim] || left)
			visit(t.slots[r].child[1], unknown[dim] || !left)
		}
		visit(t.root, true)
	}
	slices.SortFunc(reached, func(a, b point) int { return cmp.Compare(a.distance, b.distance) })
	farthest := reached[max(len(reached)/3, min(len(f.trees), len(reached)))-1].distance
	var values []float64
	for _, p := range reached {
		if p.distance <= farthest {
			values = append(values, p.value)
		}
	}
	slices.Sort(values)
	tail := (len(values)+9)/10 - 1
	return values[tail], values[(len(values)-1)/2], values[len(values)-1-tail]
}

// Estimates are what their definition says, on every stream, whichever dimensions are missing.
func TestAnEstimateEqualsTheReference(t *testing.T) {
	each(t, func(t *testing.T, c Config, next func() []float64) {
		f := newForest(t, c)
		d := f.config.Dimensions
		for i := range 200 {
			point := next()
			var missing []int
			for dim := range d {
				if (i>>dim)&1 == 1 || dim == i%d {
					missing = append(missing, dim)
				}
			}
			before := snapshotOf(t, f)
			got, err := f.Impute(point, missing)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(before, snapshotOf(t, f)) {
				t.Fatal("Impute changed the forest")
			}
			if f.Ready() {
				checkAgainstReference(t, f, point, missing, got)
			} else if got.Dimensions != nil || got.Value != nil || got.Low != nil || got.High != nil {
				t.Fatalf("point %d: %+v from a forest that is not ready", i, got)
			}
			process(t, f, point)
		}
	})
}

func checkAgainstReference(t *testing.T, f *Forest, point []float64, missing []int, got Estimate) {
	t.Helper()
	if !slices.Equal(got.Dimensions, missing) {
		t.Fatalf("dimensions %v, missing %v", got.Dimensions, missing)
	}
	if err := f.take(point); err != nil {
		t.Fatal(err)
	}
	first := f.config.coordinates() - f.config.Dimensions
	unknown := make([]bool, f.config.coordinates())
	for _, dim := range missing {
		unknown[first+dim] = true
	}
	for i, dim := range missing {
		low, median, high := referenceEstimate(f, f.scratch.query, unknown, first+dim)
		if got.Low[i] != low || got.Value[i] != median || got.High[i] != high {
			t.Fatalf("point %d, dimension %d: %v in %v..%v, by definition %v in %v..%v", f.seen, dim,
				got.Value[i], got.Low[i], got.High[i], median, low, high)
		}
	}
}

func expected(t *testing.T, f *Forest, point []float64) Estimate {
	t.Helper()
	e, err := f.Expected(point)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Whatever the stream, the values that stand out are those of the largest attribution, and their estimate is in
// order and made of values that the stream has had.
func TestExpectedIsInOrder(t *testing.T) {
	each(t, func(t *testing.T, c Config, next func() []float64) {
		f := newForest(t, c)
		d := f.config.Dimensions
		had := map[float64]bool{}
		for i := range 200 {
			point := next()
			before := snapshotOf(t, f)
			e := expected(t, f, point)
			if !bytes.Equal(before, snapshotOf(t, f)) {
				t.Fatal("Expected changed the forest")
			}
			if f.Ready() {
				a, _ := f.Attribute(point)
				parts := make([]float64, d)
				for j := range parts {
					parts[j] = a.High[len(a.High)-d+j] + a.Low[len(a.Low)-d+j]
				}
				for j, part := range parts {
					if slices.Contains(e.Dimensions, j) != (part >= slices.Max(parts)/2) {
						t.Fatalf("point %d: dimensions %v, parts %v", i, e.Dimensions, parts)
					}
				}
				for j := range e.Dimensions {
					if !(e.Low[j] <= e.Value[j] && e.Value[j] <= e.High[j] && had[e.Low[j]] && had[e.Value[j]] && had[e.High[j]]) {
						t.Fatalf("point %d: %v in %v..%v", i, e.Value[j], e.Low[j], e.High[j])
					}
				}
			} else if e.Dimensions != nil {
				t.Fatalf("point %d: %+v from a forest that is not ready", i, e)
			}
			for _, v := range point {
				had[float64(float32(v))] = true
			}
			process(t, f, point)
		}
	})
}

// A stream with gaps keeps a forest whole, and one restored at any point of it stays the same in every bit.
func TestAStreamWithGapsKeepsAForestWhole(t *testing.T) {
	each(t, func(t *testing.T, c Config, next func() []float64) {
		f := newForest(t, c)
		d := f.config.Dimensions
		reference := referenceForest{config: f.config}
		gaps := rand.New(rand.NewPCG(8, 8))
		for i := range 250 {
			point := next()
			var missing []int
			for dim := range d {
				if gaps.IntN(4) == 0 || i/20%5 == 4 {
					missing = append(missing, dim)
					point[dim] = math.NaN()
				}
			}
			var again Forest
			if err := again.UnmarshalBinary(snapshotOf(t, f)); err != nil {
				t.Fatalf("point %d: %v", i, err)
			}
			for _, forest := range []*Forest{f, &again} {
				if err := forest.UpdateMissing(point, missing); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(snapshotOf(t, f), snapshotOf(t, &again)) {
				t.Fatalf("point %d: the restored forest differs", i)
			}
			if int(f.seen) > len(reference.stream) {
				var learned []float64
				for j, v := range f.scratch.query[f.config.coordinates()-d:] {
					if !math.IsNaN(point[j]) && float32(point[j]) != v {
						t.Fatalf("point %d: %v became %v", i, point, f.scratch.query)
					}
					learned = append(learned, float64(v))
				}
				reference.stream = append(reference.stream, learned)
			} else if len(reference.stream) > 0 || len(missing) == 0 {
				t.Fatalf("point %d was passed over", i)
			}
			reference.check(t, f)
			if t.Failed() {
				t.FailNow()
			}
		}
	})
}

// Without gaps UpdateMissing is Update.
func TestUpdateMissingWithoutGapsIsUpdate(t *testing.T) {
	each(t, func(t *testing.T, c Config, next func() []float64) {
		one, two := newForest(t, c), newForest(t, c)
		for range 100 {
			point := next()
			if err := one.Update(point); err != nil {
				t.Fatal(err)
			}
			if err := two.UpdateMissing(point, nil); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(snapshotOf(t, one), snapshotOf(t, two)) {
			t.Error("different forests")
		}
	})
}

// The trees take no sample during a long gap.
func TestLongGapIsNotLearned(t *testing.T) {
	f := newForest(t, Config{Shingle: 8, Seed: 1})
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 2000 {
		process(t, f, series[0].point(r, i))
	}
	held := func() (windows [][]float32) {
		for i := range f.trees {
			for leaf := range leavesOf(&f.trees[i]) {
				windows = append(windows, slices.Clone(f.store.window(f.trees[i].row(leaf))))
			}
		}
		return windows
	}
	before := held()
	for range 5000 {
		if err := f.UpdateMissing([]float64{math.NaN()}, []int{0}); err != nil {
			t.Fatal(err)
		}
	}
	if f.Seen() != 7000 {
		t.Errorf("%d points seen of 7000", f.Seen())
	}
	if !slices.EqualFunc(before, held(), func(a, b []float32) bool { return slices.Equal(a, b) }) {
		t.Error("the sample has changed")
	}
}

// Gaps do not favour the points after them: every point that is offered to the trees has the same chance. Were the
// acceptance that falls into a gap put off to the first point behind, that one would have six times the chance.
func TestGapsLeaveTheSampleUniform(t *testing.T) {
	const cycle, gap, cycles, trees = 20, 5, 40, 400
	f := newForest(t, Config{Trees: trees, SampleSize: 32, TimeDecay: NoTimeDecay, Seed: 1})
	for i := range cycle * cycles {
		if i%cycle >= cycle-gap {
			if err := f.UpdateMissing([]float64{0}, []int{0}); err != nil {
				t.Fatal(err)
			}
		} else {
			process(t, f, []float64{float64(i)})
		}
	}
	var count [cycle - gap]float64
	for i := range f.trees {
		for leaf := range leavesOf(&f.trees[i]) {
			count[int(f.store.window(f.trees[i].row(leaf))[0])%cycle]++
		}
	}
	want, chi2 := float64(trees*32)/float64(len(count)), 0.0
	for _, n := range count {
		chi2 += (n - want) * (n - want) / want
	}
	if chi2 > 36.1 { // 14 degrees of freedom: one seed in a thousand
		t.Errorf("chi-square %.1f of %v, expected %.0f each", chi2, count, want)
	}
}

func TestBadGapsChangeNothing(t *testing.T) {
	f := newForest(t, Config{Dimensions: 2, Shingle: 3})
	for i := range 100 {
		process(t, f, []float64{float64(i % 5), float64(i % 3)})
	}
	before := snapshotOf(t, f)
	for _, bad := range []struct {
		point   []float64
		missing []int
	}{
		{[]float64{1, 2}, []int{2}}, {[]float64{1, 2}, []int{-1}}, {[]float64{1}, []int{1}}, {nil, []int{0, 1}},
		{[]float64{1, math.NaN()}, []int{0}}, {[]float64{math.Inf(1), 1}, nil}, {[]float64{1, 2, 3}, []int{2}},
	} {
		if _, err := f.Impute(bad.point, bad.missing); !errors.Is(err, ErrPoint) {
			t.Errorf("Impute(%v, %v): %v", bad.point, bad.missing, err)
		}
		if err := f.UpdateMissing(bad.point, bad.missing); !errors.Is(err, ErrPoint) {
			t.Errorf("UpdateMissing(%v, %v): %v", bad.point, bad.missing, err)
		}
	}
	if _, err := f.Expected([]float64{1, math.NaN()}); !errors.Is(err, ErrPoint) {
		t.Errorf("Expected of NaN: %v", err)
	}
	if !bytes.Equal(before, snapshotOf(t, f)) {
		t.Error("a bad point changed the forest")
	}
	if e, err := f.Impute([]float64{1, 2}, nil); err != nil || len(e.Value) != 0 {
		t.Errorf("nothing missing: %+v, %v", e, err)
	}
	if e, err := f.Impute([]float64{1, 2}, []int{1, 1}); err != nil || e.Value[0] != e.Value[1] {
		t.Errorf("missing twice: %+v, %v", e, err)
	}
}

// TestEstimatesAreTheRecordedBits is TestScoresAreTheRecordedBits for estimates: they are the same bits on every
// platform.
func TestEstimatesAreTheRecordedBits(t *testing.T) {
	for _, golden := range []struct {
		config Config
		all    uint32 // CRC32C of all estimates
	}{
		{Config{Seed: 1}, 0x8252663d},
		{Config{Dimensions: 3, Trees: 10, SampleSize: 100, TimeDecay: 0.01, Seed: 3}, 0xedb114d5},
		{Config{Dimensions: 2, Shingle: 5, Trees: 10, SampleSize: 128, Seed: 4}, 0x9313d6bc},
	} {
		f := newForest(t, golden.config)
		random := splitMix(golden.config.Seed)
		point := make([]float64, f.config.Dimensions)
		var all []byte
		for i := range 2000 {
			for j := range point {
				point[j] = goldenValue(&random, i)
			}
			e, _ := f.Impute(point, []int{i % f.config.Dimensions})
			x := expected(t, f, point)
			for _, v := range slices.Concat(e.Value, e.Low, e.High, x.Value, x.Low, x.High) {
				all = binary.LittleEndian.AppendUint64(all, math.Float64bits(v))
			}
			if i%7 == 0 {
				if err := f.UpdateMissing(point, []int{i % f.config.Dimensions}); err != nil {
					t.Fatal(err)
				}
			} else {
				process(t, f, point)
			}
		}
		if got := checksum(all); got != golden.all {
			t.Errorf("%+v: got %#08x, want %#08x", golden.config, got, golden.all)
		}
	}
}

// quantile against sorting.
func TestQuantilesAreThoseOfTheSortedKeys(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		items := make([]weighted, 1+r.IntN(30))
		var keys []int32
		for i := range items {
			items[i] = weighted{int32(r.IntN(20) - 10), int32(1 + r.IntN(4))}
			for range items[i].mass {
				keys = append(keys, items[i].key)
			}
		}
		slices.Sort(keys)
		for rank := 1; rank <= len(keys); rank++ {
			if got := quantile(items, rank); got != keys[rank-1] {
				t.Fatalf("rank %d of %v: %d, want %d", rank, keys, got, keys[rank-1])
			}
		}
	}
}
