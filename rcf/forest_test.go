package rcf

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// configs are small forests of every kind, so that tests on each point of a stream stay quick.
var configs = []Config{
	{Trees: 3, SampleSize: 8, Seed: 1},
	{Trees: 3, SampleSize: 32, TimeDecay: NoTimeDecay, Seed: 2},
	{Trees: 2, SampleSize: 2, TimeDecay: 0.5, Seed: 3},
	{Dimensions: 3, Trees: 2, SampleSize: 16, InitialAcceptFraction: 0.125, Seed: 4},
	{Dimensions: 2, Shingle: 4, Trees: 3, SampleSize: 24, TimeDecay: 0.01, OutputAfter: 1, Seed: 5},
	{Shingle: 7, Trees: 2, SampleSize: 10, TimeDecay: 1, Seed: 6},
	{Trees: 3, SampleSize: 40, Compact: true, Seed: 7},
	{Dimensions: 2, Shingle: 2, Trees: 3, SampleSize: 60, TimeDecay: 0.01, Compact: true, Seed: 8},
}

// streams make points; each value is drawn from few or many, so that duplicates are rare, common or all there is.
var streams = map[string]func(r *rand.Rand, i int) float64{
	"normal":   func(r *rand.Rand, _ int) float64 { return r.NormFloat64() },
	"few":      func(r *rand.Rand, _ int) float64 { return float64(r.IntN(3)) },
	"constant": func(*rand.Rand, int) float64 { return 60 },
	"ramp":     func(_ *rand.Rand, i int) float64 { return float64(i) },
	"extreme": func(r *rand.Rand, _ int) float64 {
		return [...]float64{math.MaxFloat32, -math.MaxFloat32, 1e-45, -1e-45, 0, math.Copysign(0, -1), 1, 1e30}[r.IntN(8)]
	},
	"steps": func(r *rand.Rand, i int) float64 { return float64(i/40%3) + 0.01*r.Float64()*float64(i/80%2) },
}

// each runs a test for every config and stream.
func each(t *testing.T, test func(t *testing.T, c Config, next func() []float64)) {
	for i, c := range configs {
		for name, value := range streams {
			t.Run(fmt.Sprintf("%d/%s", i, name), func(t *testing.T) {
				r := rand.New(rand.NewPCG(7, uint64(i)))
				n := 0
				test(t, c, func() []float64 {
					point := make([]float64, max(1, c.Dimensions))
					for j := range point {
						point[j] = value(r, n)
					}
					n++
					return point
				})
			})
		}
	}
}

func newForest(t testing.TB, c Config) *Forest {
	t.Helper()
	f, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func process(t testing.TB, f *Forest, point []float64) float64 {
	t.Helper()
	score, err := f.Process(point)
	if err != nil {
		t.Fatal(err)
	}
	return score
}

// The forest against a reference: after every operation the trees are what follows from the stream
// and the sample alone, and the score is what the definition says.
func TestAForestEqualsTheReference(t *testing.T) {
	each(t, func(t *testing.T, c Config, next func() []float64) {
		f := newForest(t, c)
		reference := referenceForest{config: f.config}
		for range 300 {
			point := next()
			want := reference.score(f, point)
			got := process(t, f, point)
			if !(math.Abs(got-want) <= 1e-9*math.Max(1, want)) || math.IsInf(got, 0) {
				t.Fatalf("point %d: score %v, by definition %v", f.seen, got, want)
			}
			reference.stream = append(reference.stream, point)
			reference.check(t, f)
			if t.Failed() {
				t.FailNow()
			}
		}
	})
}

func TestAttributionSumsToScore(t *testing.T) {
	each(t, func(t *testing.T, c Config, next func() []float64) {
		f := newForest(t, c)
		for i := range 300 {
			point := next()
			before, _ := f.MarshalBinary()
			a, err := f.Attribute(point)
			if err != nil {
				t.Fatal(err)
			}
			score, _ := f.Score(point)
			if after, _ := f.MarshalBinary(); !bytes.Equal(before, after) {
				t.Fatal("Attribute or Score changed the forest")
			}
			if math.Abs(a.Sum()-score) > 1e-9*score {
				t.Fatalf("point %d: parts sum to %v, score %v", i, a.Sum(), score)
			}
			for j := range a.High {
				if !(a.High[j] >= 0 && a.Low[j] >= 0) {
					t.Fatalf("point %d: negative part %v %v", i, a.High[j], a.Low[j])
				}
			}
			if folded := a.Fold(f.config.Dimensions); math.Abs(folded.Sum()-score) > 1e-9*score {
				t.Fatalf("point %d: folded parts sum to %v, score %v", i, folded.Sum(), score)
			}
			process(t, f, point)
		}
	})
}

// A forest restored at any point of the stream gives the same scores, bit for bit, and the same snapshots.
func TestResumeIsBitExact(t *testing.T) {
	each(t, func(t *testing.T, c Config, next func() []float64) {
		original := newForest(t, c)
		longest := []*Forest{newForest(t, c)} // restored at some points and never again
		for i := range 260 {
			point := next()
			data, err := original.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			var f Forest
			if err := f.UnmarshalBinary(data); err != nil {
				t.Fatalf("after %d points: %v", i, err)
			}
			want := process(t, original, point)
			snapshot, _ := original.MarshalBinary()
			// A snapshot is all of a forest's state: one that is restored at any point and has the same snapshot a
			// point later has the same scores for ever after.
			if got := process(t, &f, point); math.Float64bits(got) != math.Float64bits(want) {
				t.Fatalf("restored at point %d: score %x, original %x", i, got, want)
			}
			if again, _ := f.MarshalBinary(); !bytes.Equal(again, snapshot) {
				t.Fatalf("restored at point %d: snapshots differ a point later", i)
			}
			for j, f := range longest {
				if got := process(t, f, point); math.Float64bits(got) != math.Float64bits(want) {
					t.Fatalf("point %d, forest restored %d: score %x, original %x", i, j, got, want)
				}
			}
			if i%37 == 0 {
				longest = append(longest, &f)
			}
		}
	})
}

// Process is Score and Update, whatever else is scored in between.
func TestProcessIsScoreThenUpdate(t *testing.T) {
	each(t, func(t *testing.T, c Config, next func() []float64) {
		one, two := newForest(t, c), newForest(t, c)
		for i := range 200 {
			point := next()
			want := process(t, one, point)
			got, err := two.Score(point)
			if err != nil || math.Float64bits(got) != math.Float64bits(want) {
				t.Fatalf("point %d: Score gives %x (%v), Process %x", i, got, err, want)
			}
			if err := two.Update(point); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(snapshotOf(t, one), snapshotOf(t, two)) {
			t.Error("different forests")
		}
	})
}

func TestAttributionPointsAtTheCulprit(t *testing.T) {
	f := newForest(t, Config{Dimensions: 3, Seed: 1})
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		process(t, f, []float64{r.NormFloat64(), r.NormFloat64(), r.NormFloat64()})
	}
	a, err := f.Attribute([]float64{0, -12, 0})
	if err != nil {
		t.Fatal(err)
	}
	if a.Low[1] < 0.8*a.Sum() {
		t.Errorf("a low second value explains %v of %v", a.Low[1], a.Sum())
	}
	a, _ = f.Attribute([]float64{9, 0, 0})
	if a.High[0] < 0.8*a.Sum() {
		t.Errorf("a high first value explains %v of %v", a.High[0], a.Sum())
	}
}

func TestOutlierScoresHigher(t *testing.T) {
	f := newForest(t, Config{Seed: 3})
	r := rand.New(rand.NewPCG(2, 2))
	var usual float64
	for i := range 2000 {
		if score := process(t, f, []float64{1800 + 5*r.NormFloat64()}); i >= 1000 {
			usual += score / 1000
		}
	}
	odd, _ := f.Score([]float64{300})
	if usual < 0.5 || usual > 1.5 || odd < 4*usual {
		t.Errorf("usual points score %.2f on average, an outlier %.2f", usual, odd)
	}
}

// A stream that never changes scores 0.5: one leaf that is the whole tree.
func TestAConstantStreamScoresHalf(t *testing.T) {
	f := newForest(t, Config{})
	for range 500 {
		process(t, f, []float64{60})
	}
	if score, _ := f.Score([]float64{60}); math.Abs(score-0.5) > 1e-12 {
		t.Errorf("score %v", score)
	}
	if n := f.trees[0].leaves; n != 1 {
		t.Errorf("%d leaves for one distinct point", n)
	}
}

func TestScoresBeginAfterOutputAfter(t *testing.T) {
	for _, c := range []Config{{OutputAfter: 20}, {OutputAfter: 2, Shingle: 8}, {}} {
		f := newForest(t, c)
		first := max(f.Config().OutputAfter, f.Config().Shingle)
		for i := range 100 {
			if score := process(t, f, []float64{float64(i % 7)}); (score != 0) != (i >= first) {
				t.Errorf("%+v: point %d scores %v", c, i, score)
			}
		}
	}
}

func TestBadPointsChangeNothing(t *testing.T) {
	f := newForest(t, Config{Dimensions: 2, Shingle: 3})
	for i := range 50 {
		process(t, f, []float64{float64(i % 5), float64(i % 3)})
	}
	before, _ := f.MarshalBinary()
	for _, point := range [][]float64{
		nil, {1}, {1, 2, 3}, {1, math.NaN()}, {math.Inf(1), 1}, {1, math.Inf(-1)}, {1e39, 1}, {1, -3.5e38},
	} {
		if _, err := f.Score(point); !errors.Is(err, ErrPoint) {
			t.Errorf("Score(%v): %v", point, err)
		}
		if err := f.Update(point); !errors.Is(err, ErrPoint) {
			t.Errorf("Update(%v): %v", point, err)
		}
		if _, err := f.Process(point); !errors.Is(err, ErrPoint) {
			t.Errorf("Process(%v): %v", point, err)
		}
		if _, err := f.Attribute(point); !errors.Is(err, ErrPoint) {
			t.Errorf("Attribute(%v): %v", point, err)
		}
	}
	if after, _ := f.MarshalBinary(); !bytes.Equal(before, after) {
		t.Error("a bad point changed the forest")
	}
}

func TestAConfigHasDefaultsAndIsChecked(t *testing.T) {
	want := Config{Dimensions: 1, Shingle: 1, Trees: 50, SampleSize: 256, TimeDecay: 1. / 2560,
		InitialAcceptFraction: 1, OutputAfter: 64}
	if got := newForest(t, Config{}).Config(); got != want {
		t.Errorf("defaults %+v", got)
	}
	for _, c := range []Config{
		{Dimensions: -1}, {Shingle: -1}, {Trees: -1}, {SampleSize: -1}, {SampleSize: 1}, {TimeDecay: -0.5},
		{TimeDecay: 1.5}, {TimeDecay: math.NaN()}, {InitialAcceptFraction: 1.1}, {InitialAcceptFraction: math.NaN()},
		{OutputAfter: -1}, {Dimensions: 4097}, {Dimensions: 64, Shingle: 65}, {Trees: 10_001}, {SampleSize: 32768},
		{Dimensions: math.MaxInt, Shingle: math.MaxInt}, {SampleSize: math.MinInt},
	} {
		if err := c.Validate(); !errors.Is(err, ErrConfig) {
			t.Errorf("Validate of %+v: %v", c, err)
		}
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Errorf("New(%+v): %v", c, err)
		}
	}
}

// The largest sample still has a name for every leaf.
func TestTheLargestSampleNamesEveryLeaf(t *testing.T) {
	f := newForest(t, Config{Trees: 1, SampleSize: MaxSampleSize})
	r := rand.New(rand.NewPCG(1, 1))
	for range MaxSampleSize + 5000 {
		if err := f.Update([]float64{r.Float64()}); err != nil {
			t.Fatal(err)
		}
	}
	(&referenceForest{config: f.config}).checkTree(t, f, &f.trees[0])
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for _, c := range []Config{{}, {Dimensions: 2, Shingle: 4}} {
		f := newForest(t, c)
		r := rand.New(rand.NewPCG(1, 1))
		point := make([]float64, f.config.Dimensions)
		step := func() {
			for i := range point {
				point[i] = r.NormFloat64()
			}
			process(t, f, point)
		}
		for range 40_000 {
			step()
		}
		if n := testing.AllocsPerRun(2000, step); n != 0 {
			t.Errorf("%+v: %v allocations per point", c, n)
		}
	}
}

// Which boxes a forest keeps is a matter of cost: a compact one gives the same scores, and snapshots but for the
// setting.
func TestCompactIsTheSame(t *testing.T) {
	for _, c := range []Config{
		{Trees: 6, SampleSize: 64, Seed: 1},
		{Dimensions: 2, Shingle: 4, Trees: 6, SampleSize: 128, Seed: 2},
		{Dimensions: 5, Trees: 5, SampleSize: 100, TimeDecay: 0.01, InitialAcceptFraction: 0.25, Seed: 3},
	} {
		for name, value := range streams {
			r := rand.New(rand.NewPCG(3, c.Seed))
			compact := c
			compact.Compact = true
			one, two := newForest(t, c), newForest(t, compact)
			point := make([]float64, one.config.Dimensions)
			for i := range 1500 {
				for j := range point {
					point[j] = value(r, i)
				}
				want, got := process(t, one, point), process(t, two, point)
				if math.Float64bits(got) != math.Float64bits(want) {
					t.Fatalf("%+v, %s: point %d scores %x, in a compact forest %x", c, name, i, want, got)
				}
			}
			const compactAt = snapshotHeader - 4 - 2*8 - 1
			a, b := snapshotOf(t, one), snapshotOf(t, two)
			if a[compactAt] != 0 || b[compactAt] != 1 {
				t.Fatalf("the snapshots say that compact is %d and %d", a[compactAt], b[compactAt])
			}
			b[compactAt] = 0
			if !bytes.Equal(a, sealed(b)) {
				t.Errorf("%+v, %s: different forests", c, name)
			}
		}
	}
}

// Follow scores as Process does and moves the window on, but what it has seen is not in the trees.
func TestFollowLearnsNothing(t *testing.T) {
	for _, shingle := range []int{1, 3} {
		follower := newForest(t, Config{Trees: 10, SampleSize: 32, Shingle: shingle, Seed: 1})
		r := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			process(t, follower, []float64{r.NormFloat64()})
		}
		var scores []float64
		for i := range 3000 {
			score, err := follower.Follow([]float64{100 * float64(i/1000%2)})
			if err != nil {
				t.Fatal(err)
			}
			scores = append(scores, score)
		}
		if scores[500] != scores[2500] || scores[1003] != scores[1999] || scores[1500] < 2*scores[500] {
			t.Errorf("shingle %d: scores %v %v, %v %v", shingle, scores[500], scores[2500], scores[1003], scores[1999])
		}
		if _, err := follower.Follow([]float64{math.NaN()}); !errors.Is(err, ErrPoint) || follower.Seen() != 3200 {
			t.Errorf("%v, %d points seen", err, follower.Seen())
		}
	}
}
