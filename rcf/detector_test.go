package rcf

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func newDetectorOf(t testing.TB, c DetectorConfig) *Detector {
	t.Helper()
	d, err := NewDetector(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func judge(t testing.TB, d *Detector, point ...float64) Result {
	t.Helper()
	r, err := d.Process(point)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// referenceDetector is the recipe of the default detector over single numbers, spelled out: it keeps the whole stream,
// as differences to its first value.
type referenceDetector struct {
	values  []float64
	forests [2]*Forest
	scores  [2][]float64
	alert   int // when it was, or -1000
}

func (d *referenceDetector) level(t *testing.T) float64 {
	n := len(d.values)
	x, m, v := d.values[n-1], 0.0, 0.0
	for i, x := range d.values { // expanding, then exponential
		share := math.Max(1/float64(i+1), 1./2000)
		next := (1-share)*m + share*x
		v = (1 - share) * (v + share*(x-m)*(x-m))
		m = next
	}
	s := math.Sqrt(v)
	last := d.values[max(0, n-48):]
	mean48, square := 0.0, 0.0
	for _, x := range last {
		mean48 += x / float64(len(last))
	}
	for _, x := range last {
		square += (x - mean48) * (x - mean48) / float64(len(last))
	}
	round := func(x float64) float64 { return math.Round(x*1048576) / 1048576 }
	views := [2][]float64{{x}, {round((mean48 - m) / s), math.Log(round(math.Sqrt(square)/s) + 0.02)}}
	if n == 1 {
		views[1] = []float64{0, math.Log(0.02)}
	}
	var y, z float64
	for i, view := range views {
		ready := d.forests[i].Seen() >= 64
		score := process(t, d.forests[i], view) / math.Log2(1025)
		if ready {
			d.scores[i] = append(d.scores[i], score)
			y += standing(d.scores[i]) / 2
			z = max(z, standing(d.scores[i]))
		}
	}
	if len(d.scores[0]) <= 64 {
		return 0
	}
	return (2*y + z) / 3
}

// standing is how far the mean of the last three scores is above the earlier ones.
func standing(scores []float64) float64 {
	smooth := func(i int) float64 {
		last := scores[max(0, i-2) : i+1]
		return (last[0] + last[len(last)/2] + last[len(last)-1]) / 3 // of three, of two with one twice, or of one
	}
	m, v := 0.0, 0.0
	for i := range len(scores) - 1 {
		a := smooth(i)
		if i == 1 {
			a = (scores[0] + scores[1]) / 2
		}
		share := math.Max(1/float64(i+1), 1./8000)
		v = (1 - share) * (v + share*(a-m)*(a-m))
		m += share * (a - m)
	}
	return (smooth(len(scores)-1) - m) / math.Sqrt(v+0.002)
}

func TestDetectorIsItsRecipe(t *testing.T) {
	fast := newDetectorOf(t, DetectorConfig{Seed: 9})
	reference := &referenceDetector{alert: -1000}
	seeds := splitMix(9)
	for i := range reference.forests {
		reference.forests[i] = newForest(t, Config{Dimensions: i + 1, SampleSize: 1024, TimeDecay: 1e-5, OutputAfter: 64,
			Seed: seeds.next()})
	}
	r := rand.New(rand.NewPCG(1, 2))
	alerts, first := 0, 0.0
	for i := range 2500 {
		x := math.Round(100*math.Sin(float64(i)/30) + 20*r.NormFloat64())
		if i%500 > 480 {
			x += float64(i)
		}
		if i == 0 {
			first = x
		}
		reference.values = append(reference.values, x-first)
		got, want := judge(t, fast, x), reference.level(t)
		if math.Abs(got.Level-want) > 1e-6 {
			t.Fatalf("point %d: Level %v, want %v", i, got.Level, want)
		}
		alert := want >= 2 && i-reference.alert > 120
		if alert {
			reference.alert = i
			alerts++
		}
		if got.Alert != alert || (got.Grade > 0) != alert || alert && math.Abs(got.Grade-want/(want+2)) > 1e-6 {
			t.Fatalf("point %d: Alert %v, Grade %v at Level %v, %d points after the last", i, got.Alert, got.Grade, want,
				i-reference.alert)
		}
	}
	if alerts < 3 {
		t.Errorf("%d alerts: the stream does not test them", alerts)
	}
}

// Regression guard for issue 400 of aws/random-cut-forest-by-aws: streams that hardly change must not alarm.
// Noise has extremes of its own, which a forest cannot tell from anomalies: there, alerts must be rare.
func TestDetectorIsQuiet(t *testing.T) {
	const points = 3000
	var r *rand.Rand
	walk := 0.0
	for _, c := range []struct {
		name   string
		alerts int // allowed
		stream func(i int) float64
	}{
		{"constant zero", 0, func(int) float64 { return 0 }},
		{"constant 0.1", 0, func(int) float64 { return 0.1 }},
		{"constant large", 0, func(int) float64 { return -3e38 }},
		{"constant small", 0, func(int) float64 { return 1e-40 }},
		{"drift", 0, func(i int) float64 { return 20 + float64(i)*0.01 }},
		{"slow wave", 0, func(i int) float64 { return 100 * math.Sin(float64(i)/2000) }},
		{"period", 0, func(i int) float64 { return float64(i % 60) }},
		{"coin", 4, func(int) float64 { return float64(r.IntN(2)) }},
		{"noise", 3, func(int) float64 { return r.NormFloat64() }},
		{"noisy drift", 3, func(i int) float64 { return 20 + float64(i)*0.01 + r.NormFloat64() }},
		{"random walk", 6, func(int) float64 { walk += r.NormFloat64(); return walk }},
	} {
		for seed := range uint64(2) {
			r = rand.New(rand.NewPCG(seed, 3))
			d := newDetectorOf(t, DetectorConfig{Seed: seed})
			highest, alerts := 0.0, 0
			for i := range points {
				got := judge(t, d, c.stream(i))
				highest = max(highest, got.Level)
				alerts += b2i(got.Alert)
			}
			t.Logf("%-15s highest level %.2f, %d alerts", c.name, highest, alerts)
			if alerts > c.alerts || c.alerts == 0 && highest > 1 {
				t.Errorf("%s, seed %d: %d alerts, highest level %.2f", c.name, seed, alerts, highest)
			}
		}
	}
}

// The stream of issue 400 itself: what the first change ever means only its owner knows. With Tolerance it is
// nothing; without, it is graded once.
func TestATolerableChangeIsNoAlert(t *testing.T) {
	for _, tolerance := range [][]float64{nil, {0, 0, 1.5}} {
		d := newDetectorOf(t, DetectorConfig{Dimensions: 3, Tolerance: tolerance, Seed: 1})
		alerts := 0
		for i := range 3000 {
			point := []float64{5, 10, 2}
			if i >= 1500 && i%20 == 0 {
				point[2] = 3
			}
			alerts += b2i(judge(t, d, point...).Alert)
		}
		t.Logf("tolerance %v: %d alerts", tolerance, alerts)
		if tolerance != nil && alerts > 0 || tolerance == nil && (alerts < 1 || alerts > 3) {
			t.Errorf("Tolerance %v: %d alerts", tolerance, alerts)
		}
		if tolerance != nil && !judge(t, d, 5, 10, 9).Alert {
			t.Error("a change beyond the Tolerance is not seen")
		}
	}
}

// Regression guard for issue 359 of aws/random-cut-forest-by-aws: a second anomaly soon after a first, larger one.
// The Level shows it at any time; it is an alert of its own after the rest, or at once without one.
func TestDetectorSeesTheSecondAnomaly(t *testing.T) {
	for seed := range uint64(3) {
		for _, gap := range []int{4, 20, 130} {
			restless, patient := newDetectorOf(t, DetectorConfig{Seed: seed, Rest: NoRest}),
				newDetectorOf(t, DetectorConfig{Seed: seed})
			r := rand.New(rand.NewPCG(seed, 1))
			var second [2]Result
			alerts := 0
			for i := range 1001 + gap {
				x := 10 + r.NormFloat64()
				switch i {
				case 1000:
					x = 200
				case 1000 + gap:
					x = 100
				}
				second = [2]Result{judge(t, restless, x), judge(t, patient, x)}
				alerts += b2i(second[1].Alert && i >= 1000)
			}
			if !second[0].Alert || second[0].Grade <= 0.5 || second[1].Level != second[0].Level {
				t.Errorf("seed %d, %d points after the first: %+v", seed, gap, second[0])
			}
			if want := 1 + b2i(gap > 120); alerts != want {
				t.Errorf("seed %d, %d points after the first: %d alerts, want %d", seed, gap, alerts, want)
			}
		}
	}
}

// Each view sees what the others do not: unrest at a usual level, and a usual value at the wrong time.
func TestEachViewSeesItsKindOfAnomaly(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	square := func(i int) float64 { return float64(i/8%2)*10 + 0.1*r.NormFloat64() }
	for _, c := range []struct {
		name   string
		views  []View
		stream func(i int) float64
		seen   bool
	}{
		{"unrest", []View{PointView, RollingView}, func(i int) float64 {
			return 100*math.Floor(float64(i%96)/48) + (1+float64(3*b2i(i >= 2000)))*r.NormFloat64()
		}, true},
		{"stuck", []View{PointView}, func(i int) float64 { return square(min(i, 2000)) }, false},
		{"stuck", []View{ShingleView}, func(i int) float64 { return square(min(i, 2000)) }, true},
		{"stuck", []View{RollingView}, func(i int) float64 { return square(min(i, 2000)) }, true},
	} {
		d := newDetectorOf(t, DetectorConfig{Views: c.views, Seed: 2})
		var before, after int
		for i := range 2100 {
			if judge(t, d, c.stream(i)).Alert {
				before, after = before+b2i(i < 2000), after+b2i(i >= 2000)
			}
		}
		if before > 0 || after > 0 != c.seen {
			t.Errorf("%s by %v: %d alerts before and %d after, want it seen: %v", c.name, c.views, before, after, c.seen)
		}
	}
}

func TestADetectorSeesEveryDimension(t *testing.T) {
	for dim := range 3 {
		d := newDetectorOf(t, DetectorConfig{Dimensions: 3, Seed: 3})
		r := rand.New(rand.NewPCG(7, 8))
		scales := []float64{1, 1000, 1e-6}
		for i := range 1500 {
			point := []float64{r.NormFloat64(), 1e6 + 1000*r.NormFloat64(), 1e-6 * r.NormFloat64()}
			if i == 1499 {
				point[dim] += 30 * scales[dim]
			}
			if got := judge(t, d, point...); got.Alert != (i == 1499) {
				t.Errorf("dimension %d, point %d: %+v", dim, i, got)
			}
		}
	}
}

func TestDetectorConfidenceGrows(t *testing.T) {
	d := newDetectorOf(t, DetectorConfig{SampleSize: 256})
	for i := range 3000 {
		ready, r := d.Ready(), judge(t, d, float64(i%7))
		want := 0.0
		if ready {
			want = 1 - math.Exp2(-float64(i+1)/256)
		}
		if ready != (i >= 128) || math.Abs(r.Confidence-want) > 1e-12 || !ready && r.Level != 0 {
			t.Fatalf("point %d: ready %v, %+v, want confidence %v", i, ready, r, want)
		}
	}
}

func TestADetectorRefusesBadConfigsAndPoints(t *testing.T) {
	for want, c := range map[string]DetectorConfig{
		"Dimensions is -1":        {Dimensions: -1},
		"0 Views":                 {Views: []View{}},
		"no View(9)":              {Views: []View{9}},
		"Threshold is -1":         {Threshold: -1},
		"Threshold is NaN":        {Threshold: math.NaN()},
		"Rest is -2":              {Rest: -2},
		"Window is 1":             {Window: 1},
		"Trees is -1":             {Trees: -1},
		"SampleSize is 1":         {SampleSize: 1},
		"TimeDecay is 2":          {TimeDecay: 2},
		"1 Tolerances":            {Dimensions: 2, Tolerance: []float64{1}},
		"Tolerance 0 is -1":       {Tolerance: []float64{-1}},
		"Dimensions*Shingle is":   {Dimensions: 200, Views: []View{ShingleView}},
		"Dimensions is 6000":      {Dimensions: 3000},
		"the rolling view":        {Dimensions: 3000},
		"give 2 to 4096":          {Window: 5000},
		"TimeDecay is -2, give m": {TimeDecay: -2},
		"Learn is 127, give 0 to": {Learn: 127},
		"for ever, or 175 to 2":   {Views: []View{PointView, ShingleView}, Learn: 174},
		"Learn is -1":             {Learn: -1},
		"Normalize is 3":          {Normalize: 3},
	} {
		_, err := NewDetector(c)
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
		if v := c.Validate(); v == nil || v.Error() != err.Error() {
			t.Errorf("%+v: Validate says %v", c, v)
		}
	}
	d := newDetectorOf(t, DetectorConfig{Dimensions: 2, Views: []View{RollingView}})
	before, _ := d.MarshalBinary()
	for _, point := range [][]float64{nil, {1}, {1, 2, 3}, {1, math.NaN()}, {math.Inf(1), 1}, {1, 3.5e38}} {
		if _, err := d.Process(point); !errors.Is(err, ErrPoint) {
			t.Errorf("%v: %v", point, err)
		}
	}
	if after, _ := d.MarshalBinary(); !slices.Equal(before, after) {
		t.Error("refused points changed the detector")
	}
}

// A fan stands still, runs at another speed, or becomes restless. With and without an end of the learning State begins
// within three points of the trouble, and is true at all of it and for no more than Window points behind it.
func TestStateLastsAsLongAsTheTrouble(t *testing.T) {
	for name, odd := range map[string]func(usual float64, i int) float64{
		"still":    func(float64, int) float64 { return 0 },
		"slower":   func(usual float64, _ int) float64 { return usual - 200 },
		"restless": func(usual float64, i int) float64 { return usual + float64(i%2*400-200) },
	} {
		for _, learn := range []int{0, 500} {
			for _, length := range []int{60, 300, 900} {
				d := newDetectorOf(t, DetectorConfig{Seed: 1, Learn: learn})
				r := rand.New(rand.NewPCG(3, 4))
				alerts, within, behind, elsewhere := 0, 0, 0, 0
				for i := range 4000 {
					x := 1800 + 10*r.NormFloat64()
					if i >= 1000 && i < 1000+length {
						x = odd(x, i)
					}
					got := judge(t, d, x)
					if got.Alert {
						alerts++
					}
					switch {
					case !got.State:
					case i < 1000 || i >= 1000+length+48+2*calmPoints:
						elsewhere++
					case i < 1000+length:
						within++
					default:
						behind++
					}
				}
				t.Logf("%s, learn %d, %d points: state at %d of them, %d behind, %d elsewhere; %d alerts", name, learn, length,
					within, behind, elsewhere, alerts)
				if within < length-2 || elsewhere > 60 {
					t.Errorf("%s, learn %d, %d points: state at %d of them and at %d elsewhere", name, learn, length, within,
						elsewhere)
				}
			}
		}
	}
}

// A detector that goes on learning takes a new level for usual after SampleSize points and the Window: trouble ends.
func TestStateEndsWhereTheTroubleStays(t *testing.T) {
	d := newDetectorOf(t, DetectorConfig{Seed: 1, SampleSize: 256, Trees: 20})
	last := 0
	for i := range 4000 {
		if judge(t, d, float64(i*37%20+300*b2i(i >= 1000))).State {
			last = i
		}
	}
	if last < 1000+256 || last > 1000+256+2*calmPoints {
		t.Errorf("it lasts until point %d", last)
	}
}

// What comes behind the points to learn changes nothing that the detector goes by: a stall of any length is trouble to
// its end and one alert, and the same point has the same score after it as before.
func TestALearnedDetectorLearnsNoMore(t *testing.T) {
	for _, views := range [][]View{nil, {PointView, RollingView, ShingleView}} {
		d := newDetectorOf(t, DetectorConfig{Seed: 2, Learn: 500, Views: views, Window: 12, Trees: 20, SampleSize: 256})
		alerts, length := 0, 3000
		for i := range 500 + length {
			x := 1800 + float64(i*37%20)
			if i >= 500 {
				x = 0
			}
			got := judge(t, d, x)
			alerts += b2i(got.Alert)
			if got.State != (i >= 500) || i > 510 && got.Level < 3 {
				t.Fatalf("point %d: %+v", i, got)
			}
			if want := 1 - math.Exp2(-500./256); i >= 500 && math.Abs(got.Confidence-want) > 1e-12 {
				t.Fatalf("point %d: confidence %v, want %v", i, got.Confidence, want)
			}
		}
		if alerts != 1 {
			t.Errorf("%d alerts", alerts)
		}
		var scores [2]float64
		for i := range scores {
			for range 20 {
				scores[i] = judge(t, d, 1805).Score
			}
			for range 500 * (1 - i) {
				judge(t, d, 0)
			}
		}
		if scores[0] != scores[1] {
			t.Errorf("views %v: scores %v of the same point", views, scores)
		}
	}
}

// A column that was drifting while it was learned is not unusual from then on for good.
func TestALearnedDriftIsNoTrouble(t *testing.T) {
	d := newDetectorOf(t, DetectorConfig{Dimensions: 2, Learn: 500, Seed: 1})
	r := rand.New(rand.NewPCG(5, 6))
	troubled := 0
	for i := range 1000 {
		got := judge(t, d, r.NormFloat64(), 20+float64(i)/100+0.1*r.NormFloat64())
		troubled += b2i(got.State)
	}
	if troubled > 0 {
		t.Errorf("%d of 500 points that go on drifting", troubled)
	}
	if !judge(t, d, 40, 30).Alert {
		t.Error("a spike of the other column is not seen")
	}
}

// At any offset that float64 resolves the stream is judged as at 0.
func TestLargeOffsetsHideNothing(t *testing.T) {
	for _, offset := range []float64{0, 1.7e9, -1.7e12, 1e15} {
		for _, normalize := range []Normalization{NormalizeOff, NormalizeOn} {
			d := newDetectorOf(t, DetectorConfig{Normalize: normalize, Seed: 1})
			for i := range 1500 {
				x := float64(i * 37 % 20)
				if i == 1400 {
					x = 260
				}
				got := judge(t, d, offset+x)
				if got.Alert != (i == 1400) || got.Alert && got.Score < 5 {
					t.Errorf("offset %v, Normalize %d, point %d: %+v", offset, normalize, i, got)
				}
			}
		}
	}
}

// An event in a column of small numbers is one, unless Normalize says that the numbers' size counts.
func TestNormalizeDecidesWhetherSmallNumbersCount(t *testing.T) {
	for normalize, seen := range map[Normalization]bool{NormalizeAuto: true, NormalizeOn: true, NormalizeOff: false} {
		d := newDetectorOf(t, DetectorConfig{Dimensions: 2, Views: []View{PointView}, Normalize: normalize, Seed: 1})
		r := rand.New(rand.NewPCG(7, 8))
		var got Result
		for range 3000 {
			got = judge(t, d, 1800+5*r.NormFloat64(), 0.002+0.0003*r.NormFloat64())
		}
		got = judge(t, d, 1800, 0.09)
		if got.Alert != seen || got.Score > 5 != seen {
			t.Errorf("Normalize %d: %+v", normalize, got)
		}
		if point := d.Point(); normalize == NormalizeOff && math.Abs(point[1]-0.088) > 0.002 ||
			normalize != NormalizeOff && point[1] < 30 {
			t.Errorf("Normalize %d: the point is %v", normalize, point)
		}
	}
}

// Values at the ends of float32 and sudden changes of magnitude give finite results.
func TestDetectorStaysFinite(t *testing.T) {
	values := []float64{0, 3.4e38, -3.4e38, 1e-45, 1, -1e-30, 1e20}
	for _, dimensions := range []int{1, 2} {
		d := newDetectorOf(t, DetectorConfig{Dimensions: dimensions, Views: []View{PointView, RollingView, ShingleView},
			Window: 5, SampleSize: 32, Trees: 5})
		point := make([]float64, dimensions)
		for i := range 4000 {
			for j := range point {
				point[j] = values[(i*i/97+j+i/500)%len(values)]
			}
			r := judge(t, d, point...)
			for _, v := range []float64{r.Score, r.Level, r.Grade, r.Confidence} {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("point %d, %v: %+v", i, point, r)
				}
			}
		}
	}
}

func TestDetectorDoesNotAllocate(t *testing.T) {
	d := newDetectorOf(t, DetectorConfig{Dimensions: 2, SampleSize: 64, Trees: 5})
	r := rand.New(rand.NewPCG(1, 1))
	point := make([]float64, 2)
	step := func() {
		point[0], point[1] = r.NormFloat64(), r.NormFloat64()
		judge(t, d, point...)
	}
	for range 20_000 {
		step()
	}
	if n := testing.AllocsPerRun(2000, step); n != 0 {
		t.Errorf("%v allocations for a point", n)
	}
}

func BenchmarkDetector(b *testing.B) {
	for name, c := range map[string]DetectorConfig{"d1": {}, "d4": {Dimensions: 4}} {
		b.Run(name, func(b *testing.B) {
			d := newDetectorOf(b, c)
			r := rand.New(rand.NewPCG(1, 2))
			points := make([][]float64, 1<<14)
			for i := range points {
				for range d.Config().Dimensions {
					points[i] = append(points[i], r.NormFloat64())
				}
				judge(b, d, points[i]...)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				judge(b, d, points[i%len(points)]...)
				i++
			}
		})
	}
}

// BenchmarkDetectorMemory reports what one default detector keeps, and the size of its snapshot beside the time to
// take one.
func BenchmarkDetectorMemory(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d := newDetectorOf(b, DetectorConfig{})
	r := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		judge(b, d, r.NormFloat64())
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	var data []byte
	for b.Loop() {
		data, _ = d.AppendBinary(data[:0])
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc), "heap-bytes")
	b.ReportMetric(float64(len(data)), "snapshot-bytes")
}
