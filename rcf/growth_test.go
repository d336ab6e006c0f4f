package rcf

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestGrowthByVectorsEqualsTheGeneric compares the quick sums with plain ones, and their bits with those of the
// portable sums.
func TestGrowthByVectorsEqualsTheGeneric(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	scales := []float64{1, 1e-44, 1e-3, 1e30, math.MaxFloat32}
	for n := 1; n <= 70; n++ {
		box, point := make([]side, n, n+1), make([]float64, n, n+1)
		box[:n+1][n], point[:n+1][n] = side{-7, 7}, 99 // must not count
		for round := range 200 {
			var span, distance float64
			for i := range box {
				scale := scales[r.IntN(len(scales))]
				value := func() float32 { return float32(scale*(2*r.Float64()-1)) + 0 }
				a, b, x := value(), value(), value()
				switch r.IntN(4) {
				case 0:
					b = a
				case 1:
					x = b
				}
				if round == 0 {
					a, b, x = 1, 1, 1
				}
				box[i], point[i] = side{min(a, b), max(a, b)}, float64(x)
				span += box[i].length()
				distance += box[i].distance(x)
			}
			got, portable := growthOf(box, point), growthOfGeneric(box, point)
			if got != portable || math.Float64bits(got.distance) != math.Float64bits(portable.distance) {
				t.Fatalf("%d coordinates: %v, portable %v", n, got, portable)
			}
			if math.Abs(got.span-span) > 1e-12*span || math.Abs(got.distance-distance) > 1e-12*distance {
				t.Fatalf("%d coordinates: %v, plainly summed %v and %v", n, got, span, distance)
			}
			if got.span != spanOf(box) {
				t.Fatalf("%d coordinates: span %v, spanOf says %v", n, got.span, spanOf(box))
			}
		}
	}
}

// BenchmarkGrowth shows what vectors are good for.
func BenchmarkGrowth(b *testing.B) {
	for _, n := range []int{2, 8, 32} {
		box, point := make([]side, n), make([]float64, n)
		for i := range box {
			box[i], point[i] = side{float32(i), float32(i + 1)}, float64(i)*1.1
		}
		for _, way := range []struct {
			name string
			of   func([]side, []float64) growth
		}{{"best", growthOf}, {"portable", growthOfGeneric}} {
			b.Run(fmt.Sprintf("%s.n%d", way.name, n), func(b *testing.B) {
				for b.Loop() {
					way.of(box, point)
				}
			})
		}
	}
}
