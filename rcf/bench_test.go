package rcf

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

// BenchmarkScoreUpdate scores and learns points of independent normal values in a forest of 256 samples that
// has reached its full size.
func BenchmarkScoreUpdate(b *testing.B) {
	forEachSize(b, func(b *testing.B, f *Forest, points [][]float64) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := f.Process(points[i%len(points)]); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

// BenchmarkAllocs reports the allocations of the same per point.
func BenchmarkAllocs(b *testing.B) {
	forEachSize(b, func(b *testing.B, f *Forest, points [][]float64) {
		i := 0
		n := testing.AllocsPerRun(5000, func() {
			process(b, f, points[i%len(points)])
			i++
		})
		figure(b, n, "allocs")
	})
}

// BenchmarkHeap reports the memory that one forest keeps, scratch included: a quarter of what four do.
func BenchmarkHeap(b *testing.B) {
	forEachSize(b, func(b *testing.B, f *Forest, points [][]float64) {
		var forests [4]*Forest
		before := heap()
		for i := range forests {
			forests[i] = newForest(b, f.Config())
			for _, point := range points[:1<<14] {
				process(b, forests[i], point)
			}
		}
		figure(b, float64(heap()-before)/1000/float64(len(forests)), "KB")
		runtime.KeepAlive([]any{forests, f, points})
	})
}

// heap is how much of the heap is in use.
func heap() uint64 {
	var m runtime.MemStats
	for range 3 { // what pools hold goes with the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// figure reports a quantity that takes no loop to measure, and no time beside it.
func figure(b *testing.B, value float64, unit string) {
	for b.Loop() {
	}
	b.ReportMetric(value, unit)
	b.ReportMetric(0, "ns/op")
}

func BenchmarkAttribute(b *testing.B) {
	forEachSize(b, func(b *testing.B, f *Forest, points [][]float64) {
		i := 0
		for b.Loop() {
			if _, err := f.Attribute(points[i%len(points)]); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

// BenchmarkImpute imputes the last dimension's newest value.
func BenchmarkImpute(b *testing.B) {
	forEachSize(b, func(b *testing.B, f *Forest, points [][]float64) {
		missing := []int{f.config.Dimensions - 1}
		i := 0
		for b.Loop() {
			if _, err := f.Impute(points[i%len(points)], missing); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

// BenchmarkExpected includes the attribution that says which values to expect otherwise.
func BenchmarkExpected(b *testing.B) {
	forEachSize(b, func(b *testing.B, f *Forest, points [][]float64) {
		i := 0
		for b.Loop() {
			if _, err := f.Expected(points[i%len(points)]); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

// BenchmarkSnapshot reports the size of a snapshot; BenchmarkMarshal the time to take one.
func BenchmarkSnapshot(b *testing.B) {
	forEachSize(b, func(b *testing.B, f *Forest, _ [][]float64) {
		figure(b, float64(len(snapshotOf(b, f)))/1000, "KB")
	})
}

func BenchmarkMarshal(b *testing.B) {
	forEachSize(b, func(b *testing.B, f *Forest, _ [][]float64) {
		var data []byte
		for b.Loop() {
			data, _ = f.AppendBinary(data[:0])
		}
	})
}

func BenchmarkRestore(b *testing.B) {
	forEachSize(b, func(b *testing.B, f *Forest, _ [][]float64) {
		data, _ := f.MarshalBinary()
		for b.Loop() {
			var g Forest
			if err := g.UnmarshalBinary(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// forEachSize runs a benchmark for forests of several sizes, and for compact ones.
func forEachSize(b *testing.B, run func(b *testing.B, f *Forest, points [][]float64)) {
	for _, prefix := range []string{"", "compact."} {
		for _, size := range [][3]int{{1, 1, 50}, {1, 1, 100}, {2, 4, 50}, {4, 8, 50}} {
			b.Run(fmt.Sprintf("%sd%d.k%d.t%d", prefix, size[0], size[1], size[2]), func(b *testing.B) {
				f := newForest(b, Config{Dimensions: size[0], Shingle: size[1], Trees: size[2], Seed: 1, Compact: prefix != ""})
				r := rand.New(rand.NewPCG(1, 2))
				points := make([][]float64, 1<<16) // more than the forest remembers: no duplicates
				for i := range points {
					points[i] = make([]float64, size[0])
					for j := range points[i] {
						points[i][j] = r.NormFloat64()
					}
				}
				for i := range points {
					process(b, f, points[i])
				}
				run(b, f, points)
			})
		}
	}
}
