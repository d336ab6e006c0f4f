package rcf

import (
	"math/rand/v2"
	"testing"
)

// TestACountByVectorsEqualsTheGeneric compares the count by vectors with the generic one.
func TestACountByVectorsEqualsTheGeneric(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	for n := range 70 {
		rows := make([]uint16, n+1)
		for range 50 {
			for i := range rows {
				rows[i] = uint16(r.IntN(3)) * 0x7fff
			}
			if got, want := count(rows[:n], rows[n]), countGeneric(rows[:n], rows[n]); got != want {
				t.Fatalf("%d of %v are %d, generic %d", got, rows[:n], rows[n], want)
			}
		}
	}
	same := make([]uint16, MaxSampleSize+1)
	if got := count(same, 0); got != len(same) {
		t.Errorf("%d of %d", got, len(same))
	}
}

// BenchmarkFewValues scores and learns points of which there are 64: most share their leaves, whose samples are
// counted.
func BenchmarkFewValues(b *testing.B) {
	for name, size := range map[string]int{"n256": 256, "n1024": 1024} {
		b.Run(name, func(b *testing.B) {
			f := newForest(b, Config{SampleSize: size, Seed: 1})
			r := rand.New(rand.NewPCG(1, 2))
			point := make([]float64, 1)
			next := func() {
				point[0] = float64(r.IntN(64))
				process(b, f, point)
			}
			for range 20 * size {
				next()
			}
			for b.Loop() {
				next()
			}
		})
	}
}
