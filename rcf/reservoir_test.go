package rcf

import (
	"math"
	"testing"
)

// sampled runs one reservoir over a stream of n points and returns when the held ones arrived.
func sampled(seed uint64, n, size int, decay, fraction float64) []uint16 {
	r := reservoir{key: make([]sampleKey, size+1), random: splitMix(seed)}
	r.random.next()
	at := make([]uint16, size+1)
	c := newClock(decay)
	for i := range n {
		if age := c.set(uint64(i)); age != 1 {
			r.age(age, at)
		}
		v := r.offer(&c, size, fraction)
		if !v.accept {
			continue
		}
		at[r.spare] = uint16(i)
		r.put(v.key)
		if v.evict {
			r.evict(at)
		} else {
			r.push(at)
		}
		if r.full(size) {
			r.schedule(&c)
		}
	}
	var held []uint16
	for place, key := range r.key {
		if key.held() {
			held = append(held, at[place])
		}
	}
	return held
}

// referenceSample draws a key for every point and keeps those with the smallest.
func referenceSample(random *splitMix, n, size int, decay float64) []uint16 {
	keys := make([]float64, 0, size)
	held := make([]uint16, 0, size)
	for i := range n {
		key := math.Log(-math.Log(random.uniform())) - decay*float64(i)
		if len(keys) < size {
			keys, held = append(keys, key), append(held, uint16(i))
			continue
		}
		largest := 0
		for j := range keys {
			if keys[j] > keys[largest] {
				largest = j
			}
		}
		if key < keys[largest] {
			keys[largest], held[largest] = key, uint16(i)
		}
	}
	return held
}

// Without decay every point of the stream is equally likely to be held.
func TestReservoirIsUniform(t *testing.T) {
	const n, size, runs, bins = 600, 20, 3000, 30
	var counts [bins]float64
	for run := range runs {
		for _, at := range sampled(uint64(run), n, size, 0, 1) {
			counts[int(at)*bins/n]++
		}
	}
	var chi float64
	const expected = runs * size / bins
	for _, count := range counts {
		chi += (count - expected) * (count - expected) / expected
	}
	if chi > 58.3 { // 0.999 quantile for 29 degrees of freedom
		t.Errorf("chi-square %.1f, counts %v", chi, counts)
	}
}

// Under decay the ages of held points are distributed as when a key is drawn for every point.
func TestReservoirDecays(t *testing.T) {
	for _, decay := range []float64{0.001, 0.02, 0.7} {
		const n, size, runs, bins = 900, 16, 3000, 24
		var clever, reference [bins]float64
		random := splitMix(99)
		bin := func(at uint16) int {
			age := float64(n - 1 - int(at))
			return int(math.Min(bins-1, bins*math.Log1p(age)/math.Log(n)))
		}
		for run := range runs {
			for _, at := range sampled(uint64(run), n, size, decay, 1) {
				clever[bin(at)]++
			}
			for _, at := range referenceSample(&random, n, size, decay) {
				reference[bin(at)]++
			}
		}
		var chi float64
		free := -1.0
		for i := range bins {
			if sum := clever[i] + reference[i]; sum >= 10 {
				chi += (clever[i] - reference[i]) * (clever[i] - reference[i]) / sum
				free++
			}
		}
		// 0.999 quantile of chi-square by Wilson and Hilferty's approximation
		limit := free * math.Pow(1-2/(9*free)+3.09*math.Sqrt(2/(9*free)), 3)
		if chi > limit {
			t.Errorf("decay %v: chi-square %.1f over %.1f\n%v\n%v", decay, chi, limit, clever, reference)
		}
	}
}

// The mean age of held points approaches 1/decay, where the sample is small against it.
func TestTheMeanAgeOfSamplesIsTheInverseOfDecay(t *testing.T) {
	const n, size, decay = 40_000, 50, 1. / 2000
	var sum float64
	for run := range 60 {
		for _, at := range sampled(uint64(run), n, size, decay, 1) {
			sum += float64(n-1-int(at)) / (60 * size)
		}
	}
	if math.Abs(sum*decay-1) > 0.06 {
		t.Errorf("mean age %.0f, want about %.0f", sum, 1/decay)
	}
}

// A smaller initial fraction fills the reservoir over more points.
func TestASmallerInitialFractionFillsTheReservoirLater(t *testing.T) {
	filledAfter := func(fraction float64) int {
		for n := 64; ; n++ {
			if len(sampled(1, n, 64, 0.001, fraction)) == 64 {
				return n
			}
		}
	}
	if n := filledAfter(1); n != 64 {
		t.Errorf("full after %d points, fraction 1", n)
	}
	if n := filledAfter(0.125); n < 128 || n > 64*12 {
		t.Errorf("full after %d points, fraction 0.125", n)
	}
}
