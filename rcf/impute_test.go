package rcf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// dumbEstimate is the definition of an estimate: leaves that agree with the query on the side of every cut in a known
// coordinate, of these the nearest third or as many points as there are trees, each written down as often as it counts.
func dumbEstimate(f *Forest, query []float32, unknown []bool, at int) (low, median, high float64) {
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
				for range t.mass[r.index()] {
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
	slices.SortFunc(reached, func(a, b point) int { return compare(float64(a.distance), float64(b.distance)) })
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

func compare(a, b float64) int { return b2i(a > b) - b2i(a < b) }

// Estimates are what their definition says, on every stream, whichever dimensions are missing.
func TestImputeAgainstDumb(t *testing.T) {
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
				checkAgainstDumb(t, f, point, missing, got)
			} else if got.Dimensions != nil || got.Value != nil || got.Low != nil || got.High != nil {
				t.Fatalf("point %d: %+v from a forest that is not ready", i, got)
			}
			process(t, f, point)
		}
	})
}

func checkAgainstDumb(t *testing.T, f *Forest, point []float64, missing []int, got Estimate) {
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
		low, median, high := dumbEstimate(f, f.scratch.query, unknown, first+dim)
		if got.Low[i] != low || got.Value[i] != median || got.High[i] != high {
			t.Fatalf("point %d, dimension %d: %v in %v..%v, by definition %v in %v..%v", f.seen, dim,
				got.Value[i], got.Low[i], got.High[i], median, low, high)
		}
	}
}

// series are streams with something to predict; noise is the standard deviation of what cannot be predicted.
var series = []struct {
	name   string
	noise  float64
	config Config
	point  func(r *rand.Rand, i int) []float64
}{
	{"sine", 0.1, Config{Shingle: 8, Seed: 1}, func(r *rand.Rand, i int) []float64 { return []float64{sine(i) + 0.1*r.NormFloat64()} }},
	{"quiet sine", 0.02, Config{Shingle: 8, Seed: 2}, func(r *rand.Rand, i int) []float64 { return []float64{sine(i) + 0.02*r.NormFloat64()} }},
	{"sawtooth", 0.05, Config{Shingle: 8, Seed: 3}, func(r *rand.Rand, i int) []float64 {
		return []float64{float64(i%24)/24 + 0.05*r.NormFloat64()}
	}},
	{"sines", 0.1, Config{Dimensions: 4, Shingle: 8, Seed: 4}, func(r *rand.Rand, i int) []float64 {
		point := make([]float64, 4)
		for j := range point {
			point[j] = sine(i+7*j) + 0.1*r.NormFloat64()
		}
		return point
	}},
	{"correlated", math.Sqrt(1 - 0.81), Config{Dimensions: 2, Seed: 5}, func(r *rand.Rand, _ int) []float64 {
		x := r.NormFloat64()
		return []float64{x, 0.9*x + math.Sqrt(1-0.81)*r.NormFloat64()}
	}},
	{"white noise", 1, Config{Seed: 6}, func(r *rand.Rand, _ int) []float64 { return []float64{r.NormFloat64()} }},
}

func sine(i int) float64 { return math.Sin(2 * math.Pi * float64(i) / 50) }

// The last dimension's newest value is imputed with an error near that of the best possible estimate, far from that of
// the naive ones where there is something to predict, and about four in five values are in the range.
func TestImputeQuality(t *testing.T) {
	const begin, end = 3000, 9000
	meanAbsolute := math.Sqrt(2 / math.Pi) // of a normal value with deviation 1: what the true mean would err
	for _, s := range series {
		f := newForest(t, s.config)
		r := rand.New(rand.NewPCG(1, 2))
		dim := f.config.Dimensions - 1
		var values []float64
		var own, naive, global, covered, width float64
		for i := range end {
			point := s.point(r, i)
			value := point[dim]
			if i >= begin {
				point[dim] = math.NaN()
				e, err := f.Impute(point, []int{dim})
				if err != nil {
					t.Fatal(err)
				}
				point[dim] = value
				own += math.Abs(value-e.Value[0]) / (end - begin)
				naive += math.Abs(value-values[i-1]) / (end - begin)
				covered += float64(b2i(e.Low[0] <= value && value <= e.High[0])) / (end - begin)
				width += (e.High[0] - e.Low[0]) / (end - begin)
			}
			values = append(values, value)
			process(t, f, point)
		}
		sorted := slices.Sorted(slices.Values(values[begin:]))
		for _, v := range sorted {
			global += math.Abs(v-sorted[len(sorted)/2]) / (end - begin)
		}
		best := s.noise * meanAbsolute
		t.Logf("%-11s mean absolute error %.4f (best possible %.4f, last value %.4f, median of all %.4f); %.0f%% within Low..High, %.2f deviations wide",
			s.name, own, best, naive, global, 100*covered, width/s.noise)
		if own > 1.5*best {
			t.Errorf("%s: mean absolute error %.4f, the best possible is %.4f", s.name, own, best)
		}
		if s.name != "white noise" && (own > 0.8*naive || own > 0.65*global) {
			t.Errorf("%s: mean absolute error %.4f, naive estimates have %.4f and %.4f", s.name, own, naive, global)
		}
		if covered < 0.75 || covered > 0.95 {
			t.Errorf("%s: %.3f of the values are in the range", s.name, covered)
		}
	}
}

// Nearest neighbours among all sampled points, found by brute force, err no less than what the walks find.
func TestImputeAgainstNearestNeighbours(t *testing.T) {
	s := series[0]
	f := newForest(t, s.config)
	r := rand.New(rand.NewPCG(3, 4))
	var own, brute, apart float64
	n := 0.0
	for i := range 4000 {
		point := s.point(r, i)
		if i >= 3000 && i%5 == 0 {
			e, err := f.Impute(point, []int{0})
			if err != nil {
				t.Fatal(err)
			}
			neighbour := nearestNeighbours(t, f, point)
			own += math.Abs(e.Value[0] - point[0])
			brute += math.Abs(neighbour - point[0])
			apart += math.Abs(neighbour - e.Value[0])
			n++
		}
		process(t, f, point)
	}
	t.Logf("mean absolute error %.4f, of nearest neighbours %.4f, %.4f apart", own/n, brute/n, apart/n)
	if own > 1.15*brute || apart > own {
		t.Errorf("mean absolute error %.4f, of nearest neighbours %.4f, %.4f apart", own/n, brute/n, apart/n)
	}
}

// nearestNeighbours is the median of the last values of the windows, one of each tree, that are nearest in all others.
func nearestNeighbours(t *testing.T, f *Forest, point []float64) float64 {
	if err := f.take(point); err != nil {
		t.Fatal(err)
	}
	known := len(f.scratch.query) - 1
	var values []float32
	for i := range f.trees {
		best, value := math.Inf(1), float32(0)
		for leaf, mass := range f.trees[i].mass {
			if mass == 0 {
				continue
			}
			window := f.store.window(f.trees[i].row(leaf))
			if distance := distanceToPoint(f.scratch.query[:known], window[:known]); distance < best {
				best, value = distance, window[known]
			}
		}
		values = append(values, value)
	}
	slices.Sort(values)
	return float64(values[len(values)/2])
}

// With nothing known the estimate is about the sample, which is about the stream.
func TestImputeFromNothing(t *testing.T) {
	f := newForest(t, Config{Dimensions: 2, TimeDecay: NoTimeDecay, Seed: 1})
	r := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		process(t, f, []float64{r.Float64(), 10 * r.Float64()})
	}
	e, err := f.Impute([]float64{math.NaN(), math.Inf(1)}, []int{1, 0})
	if err != nil {
		t.Fatal(err)
	}
	for i, scale := range []float64{10, 1} {
		low, value, high := e.Low[i]/scale, e.Value[i]/scale, e.High[i]/scale
		if math.Abs(low-0.1) > 0.05 || math.Abs(value-0.5) > 0.05 || math.Abs(high-0.9) > 0.05 {
			t.Errorf("dimension %d: %.3f in %.3f..%.3f of a uniform distribution", e.Dimensions[i], value, low, high)
		}
	}
}

// The expected value follows a level shift: with a shingle as soon as a few points of the new level are in the sample,
// without one when they are the larger part of it.
func TestExpectedFollowsALevelShift(t *testing.T) {
	for _, c := range []struct {
		config Config
		points int // that it takes
	}{
		{Config{Shingle: 8, Seed: 1}, 60},
		{Config{SampleSize: 64, TimeDecay: 0.01, Seed: 1}, 150},
	} {
		f := newForest(t, c.config)
		r := rand.New(rand.NewPCG(1, 1))
		expectedAfter := func(points int, level float64) Estimate {
			for range points {
				process(t, f, []float64{level + 0.5*r.NormFloat64()})
			}
			return expected(t, f, []float64{level})
		}
		if e := expectedAfter(2000, 10); math.Abs(e.Value[0]-10) > 0.5 {
			t.Errorf("shingle %d: expected %v at level 10", f.config.Shingle, e.Value[0])
		}
		if e := expected(t, f, []float64{20}); math.Abs(e.Value[0]-10) > 0.5 || e.High[0] > 12 {
			t.Errorf("shingle %d: expected %v to %v on the first point of level 20", f.config.Shingle, e.Value[0], e.High[0])
		}
		if e := expectedAfter(c.points, 20); math.Abs(e.Value[0]-20) > 0.5 {
			t.Errorf("shingle %d: expected %v after %d points at level 20", f.config.Shingle, e.Value[0], c.points)
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

// A spike's expected value is what the series would have had there, and so is that of the points after it.
func TestExpectedOfASpike(t *testing.T) {
	for _, s := range series[:4] {
		f := newForest(t, s.config)
		r := rand.New(rand.NewPCG(1, 1))
		dim := f.config.Dimensions - 1
		var at, after, spoiled, spikes float64
		since := 0
		for i := range 6000 {
			point := s.point(r, i)
			ordinary := point[dim]
			since++
			if i >= 3000 && i%97 == 0 {
				point[dim] += 4
				since, spikes = 0, spikes+1
				e := expected(t, f, point)
				if !slices.Equal(e.Dimensions, []int{dim}) {
					t.Fatalf("%s: %v stand out in a spike of dimension %d", s.name, e.Dimensions, dim)
				}
				at += math.Abs(e.Value[0] - ordinary)
			} else if i >= 3000 && since < f.config.Shingle {
				e := expected(t, f, point)
				last := len(e.Dimensions) - 1
				after += math.Abs(e.Value[last]-point[e.Dimensions[last]]) / float64(f.config.Shingle-1)
				i, err := f.Impute(point, e.Dimensions)
				if err != nil {
					t.Fatal(err)
				}
				spoiled += math.Abs(i.Value[last]-point[e.Dimensions[last]]) / float64(f.config.Shingle-1)
			}
			process(t, f, point)
		}
		at, after, spoiled = at/spikes/s.noise, after/spikes/s.noise, spoiled/spikes/s.noise
		t.Logf("%-11s expected is off by %.2f deviations at a spike, by %.2f just after (%.2f were the spike heeded)",
			s.name, at, after, spoiled)
		if at > 1.3 || after > 1.6 || after > spoiled || dim == 0 && after > 0.9*spoiled {
			t.Errorf("%s: expected is off by %.2f deviations at a spike, by %.2f just after (%.2f were the spike heeded)",
				s.name, at, after, spoiled)
		}
	}
}

// Whatever the stream, the values that stand out are those of the largest attribution, and their estimate is in order and
// made of values that the stream has had.
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
func TestUpdateMissing(t *testing.T) {
	each(t, func(t *testing.T, c Config, next func() []float64) {
		f := newForest(t, c)
		d := f.config.Dimensions
		dumb := dumbForest{config: f.config}
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
			if int(f.seen) > len(dumb.stream) {
				var learned []float64
				for j, v := range f.scratch.query[f.config.coordinates()-d:] {
					if !math.IsNaN(point[j]) && float32(point[j]) != v {
						t.Fatalf("point %d: %v became %v", i, point, f.scratch.query)
					}
					learned = append(learned, float64(v))
				}
				dumb.stream = append(dumb.stream, learned)
			} else if len(dumb.stream) > 0 || len(missing) == 0 {
				t.Fatalf("point %d was passed over", i)
			}
			dumb.check(t, f)
			if t.Failed() {
				t.FailNow()
			}
		}
	})
}

// Without gaps UpdateMissing is Update.
func TestUpdateMissingNothing(t *testing.T) {
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
			for leaf, mass := range f.trees[i].mass {
				if mass > 0 {
					windows = append(windows, slices.Clone(f.store.window(f.trees[i].row(leaf))))
				}
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
		for leaf, mass := range f.trees[i].mass {
			if mass > 0 {
				count[int(f.store.window(f.trees[i].row(leaf))[0])%cycle]++
			}
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

// One value in ten is missing, and the anomalies still have the highest scores.
func TestAnomaliesInAStreamWithGaps(t *testing.T) {
	f := newForest(t, Config{Shingle: 8, Seed: 1})
	r := rand.New(rand.NewPCG(9, 9))
	usual, anomalous := 0.0, math.Inf(1)
	since := 0
	for i := range 6000 {
		value := sine(i) + 0.05*r.NormFloat64()
		since++
		if i >= 2000 && i%601 == 0 {
			value += 1
			since = 0
		} else if r.IntN(10) == 0 {
			if err := f.UpdateMissing([]float64{math.NaN()}, []int{0}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		score := process(t, f, []float64{value})
		if since == 0 {
			anomalous = min(anomalous, score)
		} else if i >= 2000 && since >= 8 {
			usual = max(usual, score)
		}
	}
	t.Logf("lowest score of an anomaly %.3f, highest of the others %.3f", anomalous, usual)
	if anomalous < 1.1*usual {
		t.Errorf("lowest score of an anomaly %.3f, highest of the others %.3f", anomalous, usual)
	}
}

func TestBadMissing(t *testing.T) {
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

// TestGoldenEstimates is TestGolden for estimates: they are the same bits on every platform.
func TestGoldenEstimates(t *testing.T) {
	for _, golden := range []struct {
		config Config
		all    uint32 // CRC32C of all estimates
	}{
		{Config{Seed: 1}, 0xa76b43c4},
		{Config{Dimensions: 3, Trees: 10, SampleSize: 100, TimeDecay: 0.01, Seed: 3}, 0x9db8879c},
		{Config{Dimensions: 2, Shingle: 5, Trees: 10, SampleSize: 128, Seed: 4}, 0x3d78612b},
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
func TestQuantile(t *testing.T) {
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
