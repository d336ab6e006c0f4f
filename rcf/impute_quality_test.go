package rcf

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// series are streams with something to predict; noise is the standard deviation of what cannot be predicted.
var series = []struct {
	name   string
	noise  float64
	config Config
	point  func(r *rand.Rand, i int) []float64
}{
	{"sine", 0.1, Config{Shingle: 8, Seed: 1}, func(r *rand.Rand, i int) []float64 {
		return []float64{sine(i) +
			0.1*r.NormFloat64()}
	}},
	{"quiet sine", 0.02, Config{Shingle: 8, Seed: 2}, func(r *rand.Rand, i int) []float64 {
		return []float64{sine(i) +
			0.02*r.NormFloat64()}
	}},
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
func TestImputedValuesAreNearTheTruth(t *testing.T) {
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
		t.Logf("%-11s mean absolute error %.4f (best possible %.4f, last value %.4f, median of all %.4f); %.0f%% "+
			"within Low..High, %.2f deviations wide",
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
func TestImputedValuesAreNoWorseThanNearestNeighbours(t *testing.T) {
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
		for leaf := range leavesOf(&f.trees[i]) {
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
func TestAnEstimateFromNothingIsOfTheWholeSample(t *testing.T) {
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

// A spike's expected value is what the series would have had there, and so is that of the points after it.
func TestASpikeDoesNotSpoilExpectedValues(t *testing.T) {
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
		if at > 2 || after > 1.6 || after > spoiled || dim == 0 && after > 0.9*spoiled {
			t.Errorf("%s: expected is off by %.2f deviations at a spike, by %.2f just after (%.2f were the spike heeded)",
				s.name, at, after, spoiled)
		}
	}
}

// One value in ten is missing, and the anomalies still have the highest scores.
func TestAnomaliesStandOutInAStreamWithGaps(t *testing.T) {
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
